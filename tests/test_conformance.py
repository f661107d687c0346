"""Every environment of this project keeps the contract."""

from __future__ import annotations

import gymnasium as gym
import pytest

from agentgym import registry
from agentgym.testing import conform

SEEDS = {
    "agentgym/GUI-v0": 2,
    "agentgym/MiniWoB-v0": 6,
    "agentgym/SWE-v0": 2,
    "agentgym/Web-v0": 3,
}
"""Fewer episodes than 20, where each starts a sandbox or opens many pages."""

OPEN = {
    "agentgym/MiniWoB-v0": {"oracle", "chance", "snapshots", "hosts"},
    "agentgym/GUI-v0": {"hosts"},
    "agentgym/SWE-v0": {"admissible"},
    "agentgym/Search-v0": {"admissible"},
    "agentgym/VisualSearch-v0": {"admissible"},
    "agentgym/Web-v0": {"hosts"},
}
"""Checks that do not apply: nobody can list all commands or queries; what runs in a browser has
coroutines as hooks; MiniWoB's pages cannot be copied, and do not say how to solve them."""

ARGUMENTS = {
    "agentgym/ALFWorld-v0": [
        {},
        {"split": "generated_unseen", "size": "small", "version": "2.1.1"},
    ],
    "agentgym/SWE-v0": [{"backend": "local"}, {"backend": "docker"}],
    "agentgym/Search-v0": [
        {},
        {"task_set": "world:docs=200,kinds=comparison+count,worlds=2", "dialect": "search_r1"},
    ],
    "agentgym/TextWorld-v0": [{}, {"family": "cooking", "level": 1}],
    "agentgym/VisualSearch-v0": [
        {},
        {"task_set": "world:docs=200,kinds=count,worlds=2", "coords": "pixel", "page_chars": 1},
    ],
}
"""More than the defaults, where an environment has kinds."""

CASES = [
    pytest.param(id, arguments, id=registry.key(id, arguments))
    for id in registry.ids()
    if id.startswith("agentgym/")
    for arguments in ARGUMENTS.get(id, [{}])
]


@pytest.mark.parametrize(("id", "arguments"), CASES)
def test_an_environment_conforms(id, arguments):
    report = conform(id, seeds=SEEDS.get(id, 20), **arguments)
    report.require()
    skipped = {check.name for check in report.checks if check.status == "skip"}
    assert skipped == OPEN.get(id, set()), "every other check applies to our worlds"


def test_every_environment_is_made_by_gymnasium_itself():
    for id in registry.ids():
        if id.startswith("agentgym/"):
            env = gym.make(id)
            assert env.unwrapped is env
            env.close()
