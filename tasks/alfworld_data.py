"""Where ALFWorld's games are: looked for in what the user names, read once, then kept as packs.

Games are looked for in the argument `data`, else in `$ALFWORLD_DATA`, else among the packs that
`agentgym data alfworld` left in the cache. The first of these that is given decides: a split that
it does not hold is an error, not a reason to look further.

What is not a pack already is made into one in the cache, under a name that changes with the source.
Packs appear whole or not at all; makers of the same one wait for each other by a file lock, which a
killed process gives back.
"""

from __future__ import annotations

import fcntl
import hashlib
import logging
import os
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from agentgym import cache
from agentgym.errors import ConfigError, TaskError, did_you_mean
from agentgym.tasks.alfworld_game import Game
from agentgym.tasks.alfworld_pack import (
    FORMAT,
    SPLITS,
    Pack,
    Row,
    half,
    read_pack,
    to_row,
    write_pack,
)
from agentgym.tasks.alfworld_sources import Folder, Lines, Source

__all__ = ["SPLITS", "Pack", "cache_folder", "find_sources", "open_pack"]

logger = logging.getLogger(__name__)

Progress = Callable[[str, int, int], None]
"""Told what is being done, how far it is, and of how much (0: nobody knows)."""

_NAMED = 3
"""Damaged games that a message names."""
_FORMS = "json_2.1.1/SPLIT/, SPLIT/, alfworld-SPLIT-*.jsonl[.xz|.gz] and SPLIT.sqlite"
_HOW = (
    "set ALFWORLD_DATA to the folder that alfworld-download filled, or run `agentgym data "
    "alfworld`, or take split='generated', which needs no data"
)

_packs: dict[tuple[str, str, Path], Pack] = {}


def open_pack(split: str, data: str | os.PathLike[str] | None = None) -> Pack:
    """The games of a split, read at most once a process.

    Args:
        split: One of `SPLITS`.
        data: A folder as `alfworld-download` leaves it, a folder with packs or packed JSON lines,
            or one such file; None: `$ALFWORLD_DATA`, else what `agentgym data alfworld` fetched.

    Raises:
        TaskError: No such split.
        ConfigError: Its games are not here or cannot be read, and how to get them.
    """
    if split not in SPLITS:
        raise TaskError(
            f"ALFWorld has no split {split!r}: it has {', '.join(SPLITS)}"
            f"{did_you_mean(split, SPLITS)}"
        )
    place = named_place(data)
    key = (split, "" if place is None else str(place.absolute()), cache_folder().absolute())
    pack = _packs.get(key)
    if pack is None:
        found = _open_fetched(split) if place is None else _open_named(split, place)
        pack = _packs.setdefault(key, found)  # of several threads' the first one's
    return pack


def forget() -> None:
    """Look again where games are, when next asked."""
    _packs.clear()


def named_place(data: str | os.PathLike[str] | None = None) -> Path | None:
    """What the user named: `data`, else `$ALFWORLD_DATA`, else nothing."""
    named = os.environ.get("ALFWORLD_DATA") if data is None else os.fspath(data)
    return Path(os.path.expanduser(named)) if named else None


def cache_folder() -> Path:
    """Where packs are kept: under `$AGENTGYM_CACHE`, else `~/.cache/agentgym`."""
    return cache.cache_folder("alfworld")


def fetched(split: str) -> Path:
    """Where `agentgym data alfworld` keeps a split's pack."""
    return cache_folder() / f"{split}.sqlite"


def kept(source: Source | Path) -> Path:
    """Where the pack of a source is; packs stay where they are."""
    if isinstance(source, Path):
        return source
    where = hashlib.sha256(os.fsencode(os.path.realpath(source.name))).hexdigest()[:12]
    made_of = source.fingerprint()[:16]
    return cache_folder() / "read" / f"{source.split}-{where}-{FORMAT}-{made_of}.sqlite"


def find_sources(place: Path) -> dict[str, Source | Path]:
    """What there is at a place, by split: packs by their paths, else where games can be read.

    Raises:
        ConfigError: There is nothing, or nothing that holds ALFWorld games.
    """
    if not place.exists():
        raise ConfigError(f"no ALFWorld games at {str(place)!r}: it is not there")
    try:
        found = _in_folder(place) if place.is_dir() else _in_files([place])
        if not found and place.suffix == ".sqlite" and place.is_file():
            found = {read_pack(place).split: place}
    except OSError as error:
        raise ConfigError(f"cannot look through {str(place)!r}: {error.strerror}") from error
    if not found:
        form = "a folder" if place.is_dir() else "a file"
        raise ConfigError(
            f"no ALFWorld games at {str(place)!r}, which is {form}: looked for {_FORMS}, with "
            f"SPLIT one of {', '.join(SPLITS)}"
        )
    return {split: found[split] for split in SPLITS if split in found}


def _in_folder(place: Path) -> dict[str, Source | Path]:
    found = _in_files(sorted(path for path in place.iterdir() if path.is_file()))
    for root in (place, *sorted(place.glob("json_2.*"))):
        for split in SPLITS:
            if split not in found and (root / split).is_dir():
                found[split] = Folder(root / split, split)
    return found


def _in_files(files: list[Path]) -> dict[str, Source | Path]:
    """Packs come before lines, and of several lines the last by name."""
    found: dict[str, Source | Path] = {}
    for path in files:
        name = Lines.PATTERN.fullmatch(path.name)
        if name and name[1] in SPLITS:
            found[name[1]] = Lines(path, name[1])
    for path in files:
        if path.suffix == ".sqlite" and path.stem in SPLITS:
            found[path.stem] = path
    return found


def _open_fetched(split: str) -> Pack:
    path = fetched(split)
    if path.exists():
        try:
            return read_pack(path)
        except ConfigError as error:
            raise ConfigError(f"{error}: agentgym data alfworld --splits {split}") from error
    others = [other for other in SPLITS if fetched(other).exists()]
    if others:
        raise ConfigError(
            f"ALFWorld split {split!r} is not here, only {', '.join(others)}: "
            f"agentgym data alfworld --splits {split}"
        )
    raise ConfigError(f"ALFWorld's games are not here: {_HOW}")


def _open_named(split: str, place: Path) -> Pack:
    sources = find_sources(place)
    if split not in sources:
        raise ConfigError(
            f"no ALFWorld split {split!r} at {str(place)!r}: there is {', '.join(sources)}"
        )
    source = sources[split]
    if not isinstance(source, Path):
        return build(source, kept(source))
    try:
        pack = read_pack(source)
    except ConfigError as error:
        raise ConfigError(f"{error}: replace it") from error
    if pack.split != split:
        raise ConfigError(f"pack {str(source)!r} holds split {pack.split!r}, not {split!r}")
    return pack


# ---------------------------------------------------------------------------------------- building


def build(
    source: Source, place: Path, *, again: bool = False, progress: Progress | None = None
) -> Pack:
    """The pack at that place; made of the source if it is not there, or does not read.

    Args:
        source: Where the games are.
        place: Where the pack belongs.
        again: Make it anew in any case.
        progress: Instead of a bar on standard error, which is shown where that is a terminal.

    Raises:
        ConfigError: The source holds no game that can be played, or the cache cannot be written.
    """
    pack = None if again else _read(place)
    if pack is not None:
        return pack
    with _on_disk(place.parent):
        place.parent.mkdir(parents=True, exist_ok=True)
        lock = open(place.parent / f".lock-{source.split}", "wb")  # noqa: SIM115 - closed below
    with lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        try:
            pack = None if again else _read(place)
            return _build(source, place, progress) if pack is None else pack
        finally:
            fcntl.flock(lock, fcntl.LOCK_UN)  # closing is not enough: a fork may hold it open


def _build(source: Source, place: Path, progress: Progress | None) -> Pack:
    logger.info("reading ALFWorld %s from %s: some seconds, once", source.split, source.name)
    with _meter(progress) as told:
        rows, skipped, damaged = _take_in(source, told)
    counts = ", ".join(f"{number} {reason}" for reason, number in skipped.items())
    if not rows:
        because = f": skipped {counts}" if counts else ""
        first = f"; first, {damaged[0]}" if damaged else ""
        raise ConfigError(f"no ALFWorld game to play in {source.name!r}{because}{first}")
    with _on_disk(place.parent):
        _sweep(source.split, place)
        write_pack(place, source.split, source.name, skipped, rows)
    summary = f"alfworld {source.split}: {len(rows)} games"
    if counts:
        named = f" ({'; '.join(damaged[:_NAMED])})" if damaged else ""
        logger.warning("%s; skipped %s%s", summary, counts, named)
    else:
        logger.info("%s", summary)
    return read_pack(place)


def _take_in(source: Source, told: Progress) -> tuple[list[Row], Mapping[str, int], list[str]]:
    from agentgym.envs.alfworld_oracle import solvable  # which is made of what is in here

    rows, skipped, damaged = [], Counter[str](), []
    doing, total = f"reading ALFWorld {source.split}", source.total()
    told(doing, 0, total)
    for done, found in enumerate(source.read(), 1):
        told(doing, done, total)
        if isinstance(found, Game) and solvable(found):
            rows.append(to_row(found))
        elif isinstance(found, Game):
            skipped["unsolvable"] += 1
        else:
            skipped[found.reason] += 1
            if found.detail:
                damaged.append(found.detail)
    return rows, dict(sorted(skipped.items())), damaged


def _read(place: Path) -> Pack | None:
    """The pack, None if it is not there or not whole."""
    if not place.exists():
        return None
    try:
        return read_pack(place)
    except ConfigError as error:
        logger.warning("%s: making it again", error)
        return None


def _sweep(split: str, place: Path) -> None:
    """Remove what killed makers left, and packs of what the same source was before."""
    former = place.stem.rpartition("-")[0]
    for path in place.parent.iterdir():
        outdated = former and path.suffix == ".sqlite" and path.stem.startswith(f"{former}-")
        if path.name.startswith(f"{half(split)}-") or (outdated and path != place):
            path.unlink(missing_ok=True)


@contextmanager
def _meter(progress: Progress | None) -> Iterator[Progress]:
    if progress is not None:
        yield progress
    elif sys.stderr is not None and sys.stderr.isatty():
        from agentgym.cli.data import Meter  # with rich, a tenth of a second to import

        with Meter() as meter:
            yield meter
    else:
        yield lambda what, done, total: None


@contextmanager
def _on_disk(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise ConfigError(
            f"cannot keep ALFWorld games in {str(folder)!r} ({error.strerror}): "
            "set AGENTGYM_CACHE to a folder that can be written"
        ) from error
