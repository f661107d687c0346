"""The cartridges of this process: one a game, kept while an environment may play it again."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import tempfile
import threading
import weakref
from collections.abc import Hashable
from pathlib import Path
from typing import TYPE_CHECKING

from agentgym.envs.textworld_grounding import Grounding, ground
from agentgym.tasks.textworld import game_path
from agentgym.tasks.textworld_games import (
    GameFile,
    cache_folder,
    engine,
    import_engine,
    load_game,
)

if TYPE_CHECKING:
    from agentgym.envs.textworld_engine import Cartridge

logger = logging.getLogger(__name__)

KEPT = 8
"""Cartridges that stay loaded, the last used last, beside those a world is on."""
_VERSION = 1
"""Part of a grounding's file name: raise it when the same game should be grounded otherwise."""

_lock = threading.RLock()
_loaded: dict[Hashable, Cartridge] = {}
_users: weakref.WeakSet[object] = weakref.WeakSet()


def take(task_id: str, user: object) -> Cartridge:
    """The cartridge of a task, loaded if it is not; kept at least until `user` leaves.

    Raises:
        TaskError: The id names no game, or its file cannot be read.
        ConfigError: The cache cannot be written.
    """
    name = _name(task_id)
    with _lock:
        _users.add(user)
        cartridge = _loaded.pop(name, None) or _load(task_id)
        _loaded[name] = cartridge
        while len(_loaded) > KEPT:
            del _loaded[next(iter(_loaded))]
    return cartridge


def leave(user: object) -> None:
    """`user` plays no more; the last to leave takes all cartridges off the shelf."""
    with _lock:
        _users.discard(user)
        if not _users:
            _loaded.clear()


def _name(task_id: str) -> Hashable:
    kind, _, path = task_id.partition(":")
    if kind != "game":
        return task_id, cache_folder()
    rom = game_path(path)
    stamps = (file.stat() for file in (rom, rom.with_suffix(".json")))
    return task_id, tuple((stamp.st_mtime_ns, stamp.st_size) for stamp in stamps)


def _load(task_id: str) -> Cartridge:
    file = load_game(task_id)
    grounding = load_grounding(file)
    from agentgym.envs.textworld_engine import Cartridge  # jericho is not everyone's

    return Cartridge(file.rom, grounding)


def load_grounding(file: GameFile) -> Grounding:
    """The rules of a game, grounded once and then read from the cache on disk."""
    digest = hashlib.blake2b(file.rom, digest_size=12)
    digest.update(json.dumps(file.description).encode())
    place = cache_folder() / f"grounded-{_VERSION}" / f"{digest.hexdigest()}.json"
    try:
        return Grounding.parse(place.read_bytes())
    except (OSError, ValueError) as error:
        logger.debug("%s: %s; grounding the game", place, error)
    import_engine()  # takes a second, and a game grounded before does without
    from textworld.generator.game import Game

    with engine:  # TextWorld parses the rules with a global parser
        grounding = ground(Game.deserialize(file.description))
    _write(place, grounding.dump())
    return grounding


def _write(place: Path, data: bytes) -> None:
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        handle, beside = tempfile.mkstemp(prefix=".making-", dir=place.parent)
        with os.fdopen(handle, "wb") as file:
            file.write(data)
        os.replace(beside, place)
    except OSError as error:  # it is played all the same
        logger.warning("cannot keep the grounded game in %s: %s", place.parent, error)
