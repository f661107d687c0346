"""A small language model plays pages: sixteen worlds at once, in one browser, to the token."""

from __future__ import annotations

from contextlib import aclosing

import gymnasium as gym
import numpy as np
import pytest
from browsing import need_browser

from agentgym import Sampling, Stop
from agentgym.collector import Collector, episode_keys
from agentgym.policy import open_policy
from agentgym.policy.llamacpp import LlamaCppPolicy
from agentgym.store import Store
from agentgym.tokens import token_spans

ENV = "agentgym/MiniWoB-v0"
WORLDS = 16
VERBS = ["click", "done"]
MORE_VERBS = ["click", "fill", "select", "done"]
QUICK = ["click-test", "focus-text", "click-link", "click-dialog"]
LONG = [*QUICK, "click-button", "click-tab", "choose-list", "enter-text"]


@pytest.fixture(autouse=True)
def _one_browser(monkeypatch):
    """One browser is to hold all of them, whatever is usual."""
    need_browser()
    from agentgym.sandboxes import host

    monkeypatch.setattr(host, "CONTEXTS", WORLDS)


class Player(LlamaCppPolicy):
    """SmolLM2, noting how many pages are open while it is asked."""

    most_pages = most_browsers = 0

    async def act(self, messages, **kwargs):
        from agentgym.sandboxes.host import host

        running = [each for each in host()._running if each.sessions]
        self.most_browsers = max(self.most_browsers, len(running))
        self.most_pages = max(self.most_pages, sum(len(each.sessions) for each in running))
        return await super().act(messages, **kwargs)


def world(**options):
    return gym.make(ENV, **{"actions": VERBS, "attributes": (), "max_turns": 2, **options})


async def collected(policy, names, seeds, record=None, **options):
    ids = [f"{name}:seed={seed}" for seed in range(seeds) for name in names]
    collector = Collector(
        lambda: world(**options),
        policy,
        concurrency=WORLDS,
        sampling=Sampling(temperature=0.7, max_tokens=32),
        show_admissible=True,
        record=record,
    )
    try:
        async with aclosing(collector.stream(episode_keys(ENV, ids))) as stream:
            return [trajectory async for trajectory in stream]
    finally:
        if hasattr(policy, "aclose"):
            await policy.aclose()


def played_properly(episode):
    """It ended, was judged by the page, and holds what was seen and sampled, and no mistake."""
    assert episode.stop in (Stop.TERMINATED, Stop.TURNS), episode.error
    assert episode.scored
    assert episode.outcome.label in ("solved", "failed", "unfinished")
    assert episode.turns
    for turn in episode.turns:
        said = turn.completion
        assert turn.invalid is None, turn.action
        assert turn.action == said.text
        assert turn.facts["url"].startswith("http://miniwob.test/miniwob/")
        assert len(said.prompt_ids) == said.usage["prompt_tokens"] > 0
        assert len(said.completion_ids) == len(said.logprobs) > 0
        assert np.all(said.logprobs <= 0)
    assert episode.reward == episode.outcome.score
    spans, places = token_spans(turn.completion for turn in episode.turns)
    assert None not in places
    assert len(spans) == 1, "every prompt extends the one before"
    sampled = sum(len(turn.completion.completion_ids) for turn in episode.turns)
    assert spans[0].mask.sum() == sampled


def replayed(episode):
    """What the recorded actions show and pay on a page of another browser context."""
    env = world(reset="fresh")
    try:
        shown, _ = env.reset(seed=episode.key.seed, options={"task": episode.key.task_id})
        seen, paid = [shown], 0.0
        for turn in episode.turns:
            shown, reward, *_ = env.step(turn.action)
            seen.append(shown)
            paid += reward
        return seen, paid
    finally:
        env.close()


@pytest.mark.timeout(600)  # half a minute of work
async def test_sixteen_worlds_are_played_by_a_model_in_one_browser(model_path, tmp_path):
    with Store.create(tmp_path / "run", {}) as store:
        policy = Player(model_path, constrain=True, context=1024, parallel=WORLDS)
        episodes = await collected(policy, QUICK, 4, store.append)
    assert len(episodes) == 16
    assert policy.most_pages == 16
    assert policy.most_browsers <= 2  # another where worlds of before are still being closed
    for episode in episodes:
        played_properly(episode)
    decided = [e for e in episodes if e.outcome.label in ("solved", "failed")]
    assert decided, "the page itself has judged some of them"
    assert any(e.outcome.passed for e in decided), "and some were solved"
    for episode in decided[:2]:
        seen, paid = replayed(episode)
        assert seen == [*[turn.observation for turn in episode.turns], episode.final_observation]
        assert paid == episode.outcome.score
    kept = {e.key: e for e in Store.open(tmp_path / "run").episodes()}
    for episode in episodes:
        again = kept[episode.key].turns
        assert [list(t.completion.completion_ids) for t in again] == [
            list(t.completion.completion_ids) for t in episode.turns
        ]


@pytest.mark.slow
async def test_a_model_and_chance_play_the_same_episodes(model_path, record_property):
    policy = Player(model_path, constrain=True, context=1024, parallel=WORLDS)
    model = await collected(policy, LONG, 8, actions=MORE_VERBS)
    chance = await collected(open_policy("random"), LONG, 8, actions=MORE_VERBS)
    for episode in model:
        played_properly(episode)
    assert {e.key for e in model} == {e.key for e in chance}
    solved = [sum(e.outcome.passed for e in played) for played in (model, chance)]
    record_property("solved by the model, by chance, of", (*solved, len(model)))
    assert solved[0] > 0
