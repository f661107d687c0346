"""A real language model searches, is recorded to the token, and is asked what it learned."""

from __future__ import annotations

import pytest

from agentgym import cli
from agentgym.rewards import bind, parse
from agentgym.rewards.rescore import rescore
from agentgym.rewards.scorer_llamacpp import LlamaScorer
from agentgym.store import Store
from agentgym.types import Stop

ID = "agentgym/Search-v0"


@pytest.fixture(scope="module")
def run(model_path, tmp_path_factory):
    """A group of two episodes of a question, by SmolLM2, from the command line."""
    out = tmp_path_factory.mktemp("search") / "run"
    args = [
        "eval", ID, "--arg", "task_set=world:hops=1,docs=60,worlds=1", "--arg", "dialect=search_r1",
        "--arg", "topk=2", "--arg", "doc_chars=200", "--arg", "obs_chars=500", "--max-turns", "2",
        "--policy", f"llamacpp:{model_path}", "--limit", "1", "--group", "2",
        "--temperature", "0.8", "--max-tokens", "24", "--out", str(out),
    ]  # fmt: skip
    assert cli.main(args) == 0
    return Store.open(out)


def test_a_real_model_plays_from_the_command_line(run):
    episodes = list(run.episodes())
    assert len(episodes) == 2
    for episode in episodes:
        assert episode.stop in (Stop.TERMINATED, Stop.TURNS), episode.error
        assert episode.scored
        assert episode.task.data["evidence"]
        for turn in episode.turns:
            assert len(turn.completion.prompt_ids) > 0
            assert len(turn.completion.completion_ids) == len(turn.completion.logprobs)


def test_what_it_learned_can_be_asked_of_the_same_model(run, model_path):
    """IGPO: how much likelier each turn made the reference answer, normalised over the group."""
    with LlamaScorer(model_path) as scorer:
        found = list(rescore(run, bind(parse("igpo"), run.manifest, scorer)))
        gains = list(rescore(run, bind(parse("info_gain"), run.manifest, scorer)))
    assert len(found) == 2
    for episode, gain in zip(run.episodes(), gains, strict=True):
        told = gain.available["info_gain"]
        assert told.tolist() == [True] * (len(episode.turns) - 1) + [False]
        assert abs(gain.total) < 50
