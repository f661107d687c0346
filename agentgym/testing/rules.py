"""What is looked at in every turn that anybody plays: each rule says what is wrong, or nothing."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

import orjson

from agentgym.env import Env
from agentgym.testing.rehearsal import Returned, Rule


def _rewards(env: Env, returned: Returned) -> str | None:
    if len(returned) == 2:
        return None
    _, reward, terminated, truncated, info = returned
    outcome = info.get("outcome")
    if not isinstance(reward, (int, float)) or not math.isfinite(reward) or not 0 <= reward <= 1:
        return f"the reward is {reward!r}: it must be a number in [0, 1]"
    if terminated and truncated:
        return "terminated and truncated are both true: the world ended, or the turns ran out"
    if not (terminated or truncated):
        if outcome is not None:
            return "info has an outcome before the end: return it in the Reply that ends it"
        return f"the reward is {reward:g} before the end: it must be 0" if reward else None
    if outcome is None:
        return "info has no outcome at the end"
    if reward != outcome.score:
        return f"the last reward is {reward:g} and outcome.score is {outcome.score:g}: they are one"
    return None


def _observations(env: Env, returned: Returned) -> str | None:
    shown = returned[0]
    if shown not in env.observation_space:
        size = f"{len(shown)} characters" if isinstance(shown, str) else repr(shown)[:80]
        return f"an observation ({size}) is not in {env.observation_space}"
    text = shown.get("text", "") if isinstance(shown, Mapping) else shown
    try:
        text.encode()
    except (AttributeError, UnicodeEncodeError) as error:
        return f"an observation is not text that can be encoded: {error}"
    if isinstance(shown, Mapping) and not {"text", "image"} & shown.keys():
        return f"an observation has neither 'text' nor 'image': {sorted(shown)}"
    return None


def _actions(env: Env, returned: Returned) -> str | None:
    if len(returned) == 2:
        return None
    info = returned[4]
    invalid, action = info.get("invalid", 0), info.get("action")
    if invalid is not None and not (isinstance(invalid, str) and invalid):
        return f"info['invalid'] is {invalid!r}: it must be None or the kind of mistake"
    if not isinstance(action, str):
        return f"info['action'] is {action!r}: it must be text"
    if invalid is None and action not in env.action_space:
        return f"info['action'] ({len(action)} characters) is not in {env.action_space}"
    return None


def _facts(env: Env, returned: Returned) -> str | None:
    at_start, info = len(returned) == 2, returned[-1]
    facts, outcome = info.get("facts", {} if at_start else None), info.get("outcome")
    if not isinstance(facts, Mapping):
        return f"info['facts'] is {facts!r}: it must be a mapping"
    unknown = facts.keys() - env.provides - {"valid", "ignored"}
    if unknown:
        return f"fact {sorted(unknown)[0]!r} is not in `provides`: add it"
    parts = outcome.parts if outcome else {}
    unknown = parts.keys() - env.provides
    if unknown:
        return f"outcome part {sorted(unknown)[0]!r} is not in `provides`: add it"
    data = env.task.data if at_start and env.task else {}
    return (
        _not_json("facts", facts)
        or _not_json("outcome parts", parts)
        or _not_json("task.data", data)
    )


def _not_json(name: str, value: Mapping[str, Any]) -> str | None:
    listed = _listed(value)
    try:
        text = json.dumps(listed, allow_nan=False)
        # as records are written: it refuses what has more than 64 bits, and lone surrogates
        orjson.dumps(listed, option=orjson.OPT_SERIALIZE_NUMPY | orjson.OPT_NON_STR_KEYS)
    except (TypeError, ValueError) as error:
        return f"{name} are not JSON: {error}"
    if json.loads(text) != listed:
        return f"{name} do not come back from JSON as they were: keys must be text"
    return None


def _listed(value: Any) -> Any:
    """`value` with tuples as the lists that JSON makes of them."""
    if isinstance(value, Mapping):
        return {name: _listed(item) for name, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_listed(item) for item in value]
    return value


RULES: Mapping[str, Rule] = {
    "rewards": _rewards,
    "observations": _observations,
    "actions": _actions,
    "facts": _facts,
}
"""What is looked at in every turn, by the check that reports it."""
