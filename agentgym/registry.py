"""Environment ids: registering, finding and making them.

Ids live in Gymnasium's own registry, so `gymnasium.make` works; here is what it lacks: errors that
say what to do, plugins through the entry-point group `agentgym.envs` (name: the id, value:
`module:Class`), environments in a file of one's own, and the text form of an id with its arguments
that names episodes.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import importlib.util
import json
import logging
import sys
from collections.abc import Callable, Mapping
from operator import index
from pathlib import Path
from types import ModuleType
from typing import Any
from urllib.parse import parse_qsl, quote, urlencode

import gymnasium as gym
from gymnasium.envs.registration import EnvSpec

from agentgym.errors import AgentGymError, ConfigError, RegistryError, did_you_mean

logger = logging.getLogger(__name__)

GROUP = "agentgym.envs"

_ours: dict[str, str] = {}
"""Registered here: id -> one line about it."""
_files: dict[str, Path] = {}
"""Registered by a file that `load_file` imported: id -> the file."""


def register(id: str, entry_point: str | type[gym.Env[Any, Any]], description: str = "") -> None:
    """Register an environment under `id`, as in `"name/World-v0"`.

    `gymnasium.make(id)` then returns the environment itself (an `agentgym.Env` enforces order and
    limits by itself), and `gymnasium.make_vec(id)` several of them in threads.

    Args:
        id: Namespace, name and version; registering it again replaces it.
        entry_point: `"module:Class"`, or the class.
        description: One line; the first of the class's docstring when a class is given.

    Raises:
        ConfigError: The id has no version.
    """
    if "-v" not in id:
        raise ConfigError(f"environment id {id!r} has no version: call it {id + '-v0'!r}")
    creator: str | Callable[..., gym.Env[Any, Any]] = entry_point
    if not isinstance(entry_point, str):
        description = description or (entry_point.__doc__ or "").strip().partition("\n")[0]
        if entry_point.__module__ != "__main__" and "<" not in entry_point.__qualname__:
            creator = f"{entry_point.__module__}:{entry_point.__qualname__}"
    gym.registry.pop(id, None)
    gym.register(
        id,
        creator,
        order_enforce=False,
        disable_env_checker=True,
        vector_entry_point=f"agentgym.vector:{id}",
    )
    _ours[id] = description


def register_plugins() -> None:
    """Register what installed packages announce in the entry-point group; none is imported."""
    for point in importlib.metadata.entry_points(group=GROUP):
        if point.name in _ours or "-v" not in point.name:
            logger.warning(
                "plugin %r (%s) is ignored: %s",
                point.name,
                point.value,
                "the id is taken" if point.name in _ours else "the id has no version",
            )
            continue
        register(point.name, point.value, f"plugin {point.value.partition(':')[0]}")


def ids() -> dict[str, str]:
    """Ids registered here with a line about each, sorted."""
    return dict(sorted(_ours.items()))


def make(id: str, **kwargs: Any) -> gym.Env[Any, Any]:
    """`gymnasium.make` with errors that say what to do.

    Raises:
        RegistryError: No such id, or its extra is not installed.
        ConfigError: It does not take these arguments.
    """
    spec = find_spec(id)
    try:
        return gym.make(spec, **kwargs)
    except AgentGymError:
        raise
    except ImportError as error:
        raise RegistryError(f"{id} cannot be imported: {error}") from error
    except TypeError as error:
        told = str(error).partition(" was raised from the environment creator")[0]
        raise ConfigError(f"{id}: {told.rpartition('__init__() ')[2]}") from error
    except gym.error.Error as error:
        raise RegistryError(f"{id}: {error}") from error


def find_spec(id: str) -> EnvSpec:
    """The Gymnasium spec of an id.

    Raises:
        RegistryError: No such id.
    """
    module, _, name = id.rpartition(":")
    try:
        if module:
            importlib.import_module(module)
        return gym.spec(name)
    except ImportError as error:
        raise RegistryError(f"{module!r} cannot be imported: {error}") from error
    except gym.error.Error as error:
        raise RegistryError(
            f"no environment {name!r}{did_you_mean(name, [*_ours, *gym.registry])}"
            " (`agentgym list` shows them)"
        ) from error


def need(module: str, *, extra: str, what: str) -> None:
    """Check that an optional package is there.

    Raises:
        RegistryError: It is not; says which extra to install.
    """
    if importlib.util.find_spec(module) is None:
        raise RegistryError(f"{what} needs {module}: pip install 'agentgym-env[{extra}]'")


def load_file(path: Path) -> str:
    """Import a file that registers an environment, and return the id it registered.

    Its folder joins `sys.path`, so that worker processes can import it too.

    Raises:
        RegistryError: The file cannot be imported, or does not register exactly one id.
    """
    if not path.is_file():
        raise RegistryError(f"no file {str(path)!r}: give an environment id or a Python file")
    if "." in path.stem:
        name = path.stem.replace(".", "_")
        raise RegistryError(
            f"{path} cannot be imported, for the dot in its name: rename it, to {name}.py say"
        )
    folder = str(path.resolve().parent)
    if folder not in sys.path:
        sys.path.insert(0, folder)
    before = dict(_ours)
    try:
        module = importlib.import_module(path.stem)
    except (Exception, SystemExit) as error:
        raise RegistryError(
            f"{path} cannot be imported: {type(error).__name__}: {error}"
        ) from error
    if Path(str(module.__file__)).resolve() != path.resolve():
        raise RegistryError(f"{path}: a module {path.stem!r} is imported already: rename the file")
    found = [id for id in _ours if id not in before] or _registered_by(module)
    if len(found) != 1:
        raise RegistryError(
            f"{path} registers {len(found)} environments: give the file one agentgym.register(...)"
        )
    _files[found[0]] = path.resolve()
    return found[0]


def file_of(id: str) -> Path | None:
    """The file that `load_file` has an id from."""
    return _files.get(id)


def _registered_by(module: ModuleType) -> list[str]:
    prefix = f"{module.__name__}:"
    return [id for id in _ours if str(gym.spec(id).entry_point).startswith(prefix)]


def key(id: str, kwargs: Mapping[str, Any]) -> str:
    """Id and arguments as one string, e.g. `"agentgym/TextWorld-v0?family=coin&level=5"`.

    Raises:
        ConfigError: An argument is not JSON.
    """
    if not kwargs:
        return id
    try:
        pairs = {
            k: v
            if isinstance(v, str) and parse_value(v) == v
            else json.dumps(v, sort_keys=True, default=index)
            for k, v in sorted(kwargs.items())
        }
    except TypeError as error:
        raise ConfigError(f"an argument of {id} cannot be recorded: {error}") from error
    return f"{id}?{urlencode(pairs, safe='/,:', quote_via=quote)}"


def parse_key(text: str) -> tuple[str, dict[str, Any]]:
    """Take `key` apart again; values that read as JSON become what they say.

    Raises:
        ConfigError: An argument has no value.
    """
    id, _, query = text.partition("?")
    bare = next((part for part in query.split("&") if part and "=" not in part), None)
    if bare is not None:
        raise ConfigError(f"{text!r}: argument {bare!r} has no value: write {bare}=VALUE")
    return id, {
        name: parse_value(value) for name, value in parse_qsl(query, keep_blank_values=True)
    }


def parse_value(text: str) -> Any:
    """Read a value from a command line or key: JSON where it is JSON, else the text itself."""
    try:
        return json.loads(text, parse_constant=_refuse)
    except ValueError:
        return text


def _refuse(constant: str) -> Any:
    raise ValueError(f"{constant} is not JSON")
