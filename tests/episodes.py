"""Episodes made by hand, for tests of rewards."""

from __future__ import annotations

import numpy as np
from hypothesis import settings

from agentgym.rewards import Batch, parse
from agentgym.types import Completion, EpisodeKey, Outcome, Stop, Task, Trajectory, Turn

unhurried = settings(deadline=None)
"""For properties: a busy machine is no failure."""


def turn(invalid=None, *, tokens=None, **facts):
    """One turn; `tokens` is how many were counted."""
    usage = {} if tokens is None else {"completion_tokens": tokens}
    return Turn("", Completion("", usage=usage), "", invalid, 0.0, facts)


def episode(turns, score=0.0, *, sample=0, start=None, data=None, stop=Stop.TURNS):
    """An episode that has ended, with facts about its start and data of its task."""
    return Trajectory(
        EpisodeKey("tests/Made-v0", "made", 0, sample),
        Task("made", data=data or {}),
        list(turns),
        outcome=Outcome(score, score == 1.0),
        stop=stop,
        facts=start or {},
    )


def told(name, values, **kwargs):
    """An episode whose turns have one fact each; None: they have none."""
    return episode([turn() if v is None else turn(**{name: v}) for v in values], **kwargs)


def paid(reward, *episodes):
    """What a reward says of each turn, laid end to end; None where it has no value."""
    reward = parse(reward) if isinstance(reward, str) else reward
    found = reward.plain().on(Batch(episodes))
    assert found.values.shape == found.available.shape
    assert found.values.dtype == np.float64
    assert np.isfinite(found.values).all()
    assert (found.values[~found.available] == 0).all()
    return [
        float(value) if there else None
        for value, there in zip(found.values, found.available, strict=True)
    ]
