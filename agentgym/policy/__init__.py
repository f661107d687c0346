"""Policies: the agent side of an episode, from a spec such as `openai:Qwen/Qwen3-8B@http://…/v1`.

==================================  ================================================================
spec                                policy
==================================  ================================================================
``oracle``                          the world's own expert
``random``                          uniform over the admissible actions
``human``                           a person at the terminal
``llamacpp:PATH``, ``llamacpp``     a GGUF model inside this process; SmolLM2 by default
``smollm2``                         the same
``transformers:MODEL``              a model of Hugging Face transformers inside this process: a
                                    folder, a GGUF file, a name on the Hub, or ``smollm2``
``openai:MODEL@URL``                a model behind an OpenAI-compatible server
``openai:MODEL``                    the same, at ``$OPENAI_BASE_URL`` or the OpenAI API
``module:Class``                    your own: anything with `async def act(messages, *, …)`
==================================  ================================================================

Engines and HTTP clients are imported by the policy that needs them.
"""

from __future__ import annotations

import importlib
import inspect
import os
import re
from collections.abc import Callable
from typing import Any, cast

from agentgym import models
from agentgym.errors import ConfigError, did_you_mean
from agentgym.types import Policy

NAMES = ("oracle", "random", "human", "llamacpp", "transformers", "openai", *models.MODELS)
"""Built-in policies, as a spec begins."""

_OPENAI_API = "https://api.openai.com/v1"
_WITH_URL = re.compile(r"(?P<model>.+?)@(?P<url>https?://.*)", re.DOTALL)


def open_policy(spec: str, **options: Any) -> Policy:
    """Make the policy that `spec` names; `options` go to its constructor.

    Whoever opens a policy awaits its `aclose()`, if it has one.

    Raises:
        ConfigError: There is no such policy, or it does not take the options.
    """
    name, colon, rest = spec.partition(":")
    if name == "openai":
        return _openai(rest, options)
    if name == "llamacpp":
        from agentgym.policy.llamacpp import LlamaCppPolicy

        return _construct(LlamaCppPolicy, spec, {**({"path": rest} if rest else {}), **options})
    if name == "transformers":
        from agentgym.policy.transformers import TransformersPolicy

        return _construct(
            TransformersPolicy, spec, {**({"model": rest} if rest else {}), **options}
        )
    if spec in models.MODELS:
        return open_policy("llamacpp", path=models.find(spec), **options)
    if spec in ("oracle", "random", "human"):
        from agentgym.policy import basic

        kinds = {
            "oracle": basic.OraclePolicy,
            "random": basic.RandomPolicy,
            "human": basic.HumanPolicy,
        }
        return _construct(kinds[spec], spec, options)
    if colon and name not in NAMES and rest:
        return _own(spec, name, rest, options)
    raise ConfigError(
        f"no policy {spec!r}: give one of oracle, random, human, {', '.join(models.MODELS)}, "
        "llamacpp:PATH, transformers:MODEL, openai:MODEL@URL, or module:Class"
        f"{did_you_mean(name, NAMES)}"
    )


def describe(policy: Policy) -> dict[str, Any]:
    """What a manifest records of a policy: its `provenance`, JSON, or else its class."""
    given = getattr(policy, "provenance", None)
    if isinstance(given, dict):
        return given
    kind = type(policy)
    return {"policy": f"{kind.__module__}:{kind.__qualname__}"}


def _openai(rest: str, options: dict[str, Any]) -> Policy:
    from agentgym.policy.openai import OpenAIPolicy

    if found := _WITH_URL.fullmatch(rest):
        model, url = found["model"], found["url"]
    else:
        model, url = rest, os.environ.get("OPENAI_BASE_URL") or _OPENAI_API
        name, at, host = rest.rpartition("@")
        if at and re.search(r"[:/]", host):
            raise ConfigError(f"{host!r} is not a URL: write 'openai:{name}@http://{host}'")
    if not model:
        raise ConfigError("'openai' needs a model: write 'openai:MODEL@http://127.0.0.1:8000/v1'")
    key = options.pop("api_key", None) or os.environ.get("OPENAI_API_KEY") or None
    if key is None and url == _OPENAI_API:
        raise ConfigError(
            f"'openai:{model}' means the OpenAI API, and $OPENAI_API_KEY is not set: set it, or "
            f"name a server of your own: 'openai:{model}@http://127.0.0.1:8000/v1'"
        )
    merged = {"model": model, "base_url": url, "api_key": key, **options}
    return _construct(OpenAIPolicy, f"openai:{model}", merged)


def _own(spec: str, module_name: str, path: str, options: dict[str, Any]) -> Policy:
    """Somebody's own class."""
    try:
        found: Any = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name and (module_name == error.name or module_name.startswith(f"{error.name}.")):
            raise ConfigError(
                f"policy {spec!r}: there is no module {module_name!r}"
                f"{did_you_mean(module_name, NAMES)}: is it installed, or on PYTHONPATH?"
            ) from error
        raise ConfigError(
            f"policy {spec!r}: importing {module_name!r} needs {error.name!r}, which is not "
            "installed"
        ) from error
    except (Exception, SystemExit) as error:
        raise ConfigError(
            f"policy {spec!r}: importing {module_name!r} failed: {type(error).__name__}: {error}"
        ) from error
    for part in path.split("."):
        if not hasattr(found, part):
            known = [name for name, value in vars(found).items() if hasattr(value, "act")]
            raise ConfigError(
                f"policy {spec!r}: {module_name!r} has no {path!r}{did_you_mean(part, known)}"
            )
        found = getattr(found, part)
    if not isinstance(found, type) or not inspect.iscoroutinefunction(getattr(found, "act", None)):
        raise ConfigError(
            f"policy {spec!r} is not a policy: it must be a class with `async def act(self, "
            "messages, *, sampling, session, admissible=None)`"
        )
    policy = _construct(found, spec, options)
    wants = getattr(policy, "wants", "")
    if wants not in ("", None, "admissible", "oracle"):
        raise ConfigError(
            f"policy {spec!r}: wants is {wants!r}: give 'admissible', 'oracle', or leave it out"
        )
    return policy


def _construct(kind: Callable[..., Any], spec: str, options: dict[str, Any]) -> Policy:
    try:
        signature = inspect.signature(kind)
        signature.bind(**options)
    except TypeError as error:
        known = [name for name in signature.parameters if name not in ("args", "kwargs")]
        takes = f"it takes {', '.join(known)}" if known else "it takes none"
        given = sorted(options)
        raise ConfigError(f"policy {spec!r}, options {given}: {error}; {takes}") from error
    return cast("Policy", kind(**options))
