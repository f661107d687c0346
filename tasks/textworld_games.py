"""TextWorld games: made once by TextWorld's own makers, then read from a cache on disk.

A cached game is one zip file with the compiled game and its description. It is written beside its
place and renamed into it, and zip checksums what it holds: a game is there whole or not at all,
whatever was killed when, and one that no longer reads is made again. Makers of the same game wait
for each other by a file lock, which a killed process gives back.

TextWorld seeds and draws from global generators (numpy's and its own) and parses with one global
parser, so everything of it runs under one lock here and puts the generators back.
"""

from __future__ import annotations

import fcntl
import functools
import hashlib
import importlib
import importlib.metadata
import json
import logging
import os
import random
import re
import shutil
import sys
import tempfile
import threading
import warnings
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from agentgym import cache
from agentgym.errors import ConfigError, TaskError
from agentgym.tasks.textworld import GameId, game_path, parse_id

logger = logging.getLogger(__name__)

RECIPE = 1
"""Part of every cache path: raise it when the same id should make another game."""
_ATTEMPTS = 20
_WORKSHOP = "agentgym-textworld-"
_TRIES = 5_000
_NEXT_ATTEMPT = 7_654_321
_UNREADABLE = (zipfile.BadZipFile, KeyError, EOFError, ValueError, NotImplementedError, zlib.error)

engine = threading.RLock()
"""Held by whoever is inside TextWorld's generators and parsers."""


class GameFile(NamedTuple):
    """A game as TextWorld plays it."""

    rom: bytes
    """Compiled Z-machine code."""
    description: dict[str, Any]
    """TextWorld's own record of the game; JSON."""


@contextmanager
def _undisturbed() -> Iterator[None]:
    """Alone in TextWorld, its warnings ignored, the global random generators left as they were."""
    with engine:
        numpy_state, python_state = np.random.get_state(), random.getstate()
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                yield
        finally:
            np.random.set_state(numpy_state)
            random.setstate(python_state)


def import_engine() -> None:
    """Import TextWorld and Jericho (1 s), without a trace in the global random generators."""
    if "textworld.challenges" not in sys.modules or "jericho" not in sys.modules:
        with _undisturbed():
            importlib.import_module("textworld.challenges")
            importlib.import_module("jericho")


def cache_folder() -> Path:
    """Where games are kept: under `$AGENTGYM_CACHE`, else `~/.cache/agentgym`."""
    return cache.cache_folder("textworld", f"{_engine_version()}-{RECIPE}")


@functools.cache
def _engine_version() -> str:
    return importlib.metadata.version("textworld")


def load_game(task_id: str) -> GameFile:
    """The game of a task id, made if it is not in the cache.

    Raises:
        TaskError: The id names no game, or its file cannot be read.
        ConfigError: The cache cannot be written.
    """
    kind, _, path = task_id.partition(":")
    if kind == "game":
        return _own_game(game_path(path))
    game = parse_id(task_id)
    place = cache_folder() / cache_name(game)
    with _on_disk(place.parent):
        cached = _read(place)
        if cached is None:
            place.parent.mkdir(parents=True, exist_ok=True)
    if cached is None:
        with _lock_file(place):
            cached = _read(place)
            if cached is None:
                cached = make_game(game)
                with _on_disk(place.parent):
                    _write(place, cached)
    return cached


def cache_name(game: GameId) -> str:
    """File name of a game: its id, and a digest of the settings that it stands for."""
    settings = json.dumps([game.family.maker, game.settings, game.seed, game.goal], sort_keys=True)
    digest = hashlib.sha256(settings.encode()).hexdigest()[:12]
    return f"{str(game).replace(':', '-')}-{digest}.zip"


def make_game(game: GameId) -> GameFile:
    """Make a game: 0.3 to 1 s to lay it out, 0.6 s to compile it.

    Raises:
        TaskError: TextWorld finds no game for these settings and seed.
    """
    import_engine()
    with _undisturbed():
        from textworld.generator import QuestGenerationError
        from textworld.generator.inform7 import CouldNotCompileGameError

        for attempt in range(_ATTEMPTS):
            try:
                return _make(game, game.seed + attempt * _NEXT_ATTEMPT)
            except QuestGenerationError:
                logger.debug("%s: no quest with attempt %d", game, attempt)
            except CouldNotCompileGameError as error:
                raise TaskError(f"TextWorld cannot compile {str(game)!r}: {error}") from error
        raise TaskError(f"TextWorld finds no game for {str(game)!r}: take another seed")


def _make(game: GameId, seed: int) -> GameFile:
    import textworld
    from textworld.challenges import CHALLENGES
    from textworld.generator import compile_game, make_game

    textworld.g_rng.set_seed(seed)
    options = _options()
    options.seeds = seed
    options.grammar.only_last_action = game.goal == "brief"
    settings = game.settings
    if game.family.maker:
        made = CHALLENGES[game.family.maker][1](settings, options)
    else:
        options.nb_rooms, options.nb_objects = settings["rooms"], settings["objects"]
        options.quest_length = settings["quest"]
        made = make_game(options)
    if game.goal == "none":
        made.objective = ""
    _sweep()
    with tempfile.TemporaryDirectory(prefix=f"{_WORKSHOP}{os.getpid()}-") as folder:
        options.path = os.path.join(folder, "game.z8")
        compiled = Path(compile_game(made, options))
        description = compiled.with_suffix(".json").read_text()
        return GameFile(compiled.read_bytes(), json.loads(description))


def _sweep() -> None:
    """Remove the folders of makers that were killed."""
    for folder in Path(tempfile.gettempdir()).glob(f"{_WORKSHOP}*-*"):
        maker = folder.name.removeprefix(_WORKSHOP).partition("-")[0]
        if maker.isdigit() and not Path(f"/proc/{maker}").exists() and Path("/proc/self").exists():
            shutil.rmtree(folder, ignore_errors=True)


def _options() -> Any:
    """TextWorld's options, with the search for a quest cut short in two ways.

    It no longer checks after each step of a quest whether rooms and doors still fit together: steps
    build nothing, games come out the same to the byte, and it took nearly all of the time. And it
    gives up after `_TRIES` steps tried, where hard treasure hunts would take minutes.
    """
    import textworld
    from textworld.generator import ChainingOptions, QuestGenerationError

    class Chaining(ChainingOptions):  # type: ignore[misc]  # untyped
        tries = 0

        def check_action(self, state: Any, action: Any) -> Any:
            self.tries += 1
            if self.tries > _TRIES:
                raise QuestGenerationError(f"no quest in {_TRIES} tries")
            return super().check_action(state, action)

    class Options(textworld.GameOptions):  # type: ignore[misc]  # untyped
        @property
        def kb(self) -> Any:
            return super().kb

        @kb.setter
        def kb(self, value: Any) -> None:
            constraints = value.logic.constraints
            for name in [n for n, rule in constraints.items() if _about_the_map(rule)]:
                del constraints[name]
            self._kb = self.chaining.kb = value

    options = Options()
    options.chaining = Chaining()
    return options


def _about_the_map(rule: Any) -> bool:
    return all(
        re.fullmatch(r"link|free|(north|south|east|west)_of(/d)?", p.name)
        for p in rule.preconditions
    )


def _own_game(path: Path) -> GameFile:
    try:
        description = json.loads(path.with_suffix(".json").read_bytes())
        rom = path.read_bytes()
    except (OSError, ValueError) as error:
        raise TaskError(f"cannot read the TextWorld game {str(path)!r}: {error}") from error
    if not isinstance(description, dict) or "quests" not in description or rom[:1] != b"\x08":
        raise TaskError(f"{str(path)!r} is no game that tw-make wrote (a .z8 and its .json)")
    return GameFile(rom, description)


def _read(place: Path) -> GameFile | None:
    """The cached game, None if it is not there or not whole."""
    try:
        with zipfile.ZipFile(place) as archive:
            return GameFile(archive.read("game.z8"), json.loads(archive.read("game.json")))
    except FileNotFoundError:
        return None
    except _UNREADABLE as error:
        logger.warning("cached game %s cannot be read (%s): making it again", place, error)
        return None


def _write(place: Path, game: GameFile) -> None:
    handle, beside = tempfile.mkstemp(prefix=".making-", suffix=".zip", dir=place.parent)
    try:
        with (
            os.fdopen(handle, "wb") as file,
            zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive,
        ):
            archive.writestr("game.z8", game.rom)
            archive.writestr("game.json", json.dumps(game.description))
        os.replace(beside, place)
    except BaseException:
        os.unlink(beside)
        raise


@contextmanager
def _lock_file(place: Path) -> Iterator[None]:
    """Held while the game is made; one lock serves a sixteenth of all games."""
    bucket = hashlib.sha256(place.name.encode()).hexdigest()[0]
    with _on_disk(place.parent):
        file = open(place.parent / f".lock-{bucket}", "wb")  # noqa: SIM115 - closed below
    with file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


@contextmanager
def _on_disk(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise ConfigError(
            f"cannot keep TextWorld games in {str(folder)!r} ({error.strerror}): "
            "set AGENTGYM_CACHE to a folder that can be written"
        ) from error
