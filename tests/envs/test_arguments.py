"""Arguments of a wrong type are answered by the argument's name and what to give."""

from __future__ import annotations

from importlib.util import find_spec

import gymnasium as gym
import pytest

import agentgym  # noqa: F401 - registers the environments
from agentgym.errors import AgentGymError

WORLDS = [
    "agentgym/ALFWorld-v0",
    "agentgym/TextWorld-v0",
    "agentgym/Clarify-v0",
    "agentgym/Search-v0",
]
EVERYWHERE = {
    "split": [3, None, ["train"], [[]]],
    "max_turns": ["5", [5], 2.5, True, 0],
    "dialect": [3, ["json"], {}],
}
OWN = {
    "agentgym/ALFWorld-v0": {
        "task_types": [3, [3], 2.5, True, [["clean"]]],
        "data": [3, ["here"]],
        "size": [3, None, ["small"]],
        "version": [3, None, ["2.1.1"]],
        "parity": [3, None, ["strict"]],
        "goal": [3, None, ["human"]],
        "backend": [3, None, ["native"]],
        "oracle_facts": ["False", None, 0],
    },
    "agentgym/TextWorld-v0": {
        "family": [3, [3], True],
        "level": ["hard", [3], 2.5, {"coin": "5"}],
        "goal": [3, None, ["brief"]],
        "game": [3, ["a.z8"]],
        "oracle_facts": ["False", None, 0],
    },
    "agentgym/Clarify-v0": {},
    "agentgym/Search-v0": {
        "task_set": [3, None, ["world"]],
        "retriever": [3, None, ["bm25"]],
        "retriever_options": ["k1=2", [1], 3],
        "topk": ["3", None, 2.5, True, 0],
        "outcome": [3, None, ["exact"], "em"],
        "doc_chars": ["700", None, 50],
        "obs_chars": ["4000", None, 10**9],
    },
}


@pytest.mark.parametrize(
    ("world", "name", "value"),
    [
        (world, name, value)
        for world in WORLDS
        for name, values in {**EVERYWHERE, **OWN[world]}.items()
        for value in values
    ],
)
def test_an_argument_of_a_wrong_type_is_refused_by_name_and_says_what_to_give(world, name, value):
    if "TextWorld" in world and find_spec("textworld") is None:
        pytest.skip("needs agentgym-env[textworld]")
    with pytest.raises(AgentGymError) as caught:
        gym.make(world, **{name: value})
    told = str(caught.value)
    assert name in told
    assert "give" in told or "it has" in told or "use one of" in told, told
