"""Fetching ALFWorld's games: its release archives made into packs, and then removed.

Two of the project's archives are needed: the one with trajectories (for scenes, task types and what
people called the goals) and the one with games. The third that `alfworld-download` takes holds the
planner's view of the same games, and the detector's weights are for the visual world only.

Whatever is on its way lies in one folder beside the packs, which goes when the fetch ends, however
it ends; only a killed one leaves it, for the next to remove.
"""

from __future__ import annotations

import fcntl
import http.client
import shutil
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, BinaryIO

from agentgym.errors import ConfigError, did_you_mean
from agentgym.tasks.alfworld_data import (
    Progress,
    build,
    cache_folder,
    fetched,
    find_sources,
    forget,
    kept,
    named_place,
)
from agentgym.tasks.alfworld_pack import SPLITS, read_pack, to_row, write_pack
from agentgym.tasks.alfworld_sources import Archives, Source

RELEASES = "https://github.com/alfworld/alfworld/releases/download"
ARCHIVES = ("0.2.2/json_2.1.1_json.zip", "0.4.0/json_2.1.2_tw-pddl.zip")
"""Tag and file, below `RELEASES` or a mirror of it: 72 MB and 36 MB."""
_KINDS = ("*_json.zip", "*_tw-pddl.zip")
_OFFICIAL = SPLITS[:3]

ATTEMPTS = 3
PAUSE_S = 2.0
"""Between attempts."""
TIMEOUT_S = 60.0
"""Without a byte."""
_LARGEST = 2**31
_UNDER_WAY = ".fetching-"


@dataclass(frozen=True, slots=True)
class Status:
    """What is here of one split."""

    split: str
    games: int | None
    """None where they are found, but not read yet, or not found at all."""
    skipped: dict[str, int]
    size: int
    """Of the pack, in bytes."""
    path: str
    """Where the games come from; `""`: they are not here."""
    problem: str = ""


def status() -> list[Status]:
    """What is here of each split, in the place that environments look at."""
    place = named_place()
    sources: dict[str, Source | Path]
    if place is None:
        sources = {split: fetched(split) for split in SPLITS if fetched(split).exists()}
    else:
        try:
            sources = find_sources(place)
        except ConfigError as error:
            return [Status(split, None, {}, 0, "", str(error)) for split in SPLITS]
    return [_status(split, sources.get(split)) for split in SPLITS]


def _status(split: str, source: Source | Path | None) -> Status:
    if source is None:
        return Status(split, None, {}, 0, "")
    path = kept(source)
    name = str(source) if isinstance(source, Path) else source.name
    if not path.exists():
        return Status(split, None, {}, 0, name)
    try:
        pack = read_pack(path)
    except ConfigError as error:
        return Status(split, None, {}, 0, name, str(error))
    return Status(split, len(pack), dict(pack.skipped), path.stat().st_size, name)


def fetch(
    source: str | None = None,
    splits: Sequence[str] = (),
    *,
    force: bool = False,
    progress: Progress | None = None,
) -> list[Status]:
    """Have packs of these splits in the cache.

    Args:
        source: A folder with the archives, anything `open_pack` takes as `data`, or the URL of a
            mirror of the releases; None: the releases themselves.
        splits: Which; empty: all that the source has.
        force: Make packs anew that are there.
        progress: Told how far it is.

    Raises:
        ConfigError: No such split, or the source does not have it, or cannot be had or read.
    """
    for split in splits:
        if split not in SPLITS:
            raise ConfigError(
                f"ALFWorld has no split {split!r}: it has {', '.join(SPLITS)}"
                f"{did_you_mean(split, SPLITS)}"
            )
    told = progress or (lambda what, done, total: None)
    remote = source is None or source.startswith(("http://", "https://"))
    try:
        with _alone(), ExitStack() as stack:
            if remote:
                here = [*splits] or [*_OFFICIAL]
                if not force and not _missing(here):
                    return _kept(here)
                folder = stack.enter_context(_folder_under_way())
                base = (source or RELEASES).rstrip("/")
                for file in ARCHIVES:
                    download(f"{base}/{file}", folder / Path(file).name, told)
                sources = _open_archives(folder, stack, told)
            else:
                sources = _open_local(Path(source or "").expanduser(), stack, told)
            wanted = _wanted(splits, sources, source or RELEASES)
            for split in wanted if force else _missing(wanted):
                _keep(split, sources[split], told)
    except OSError as error:
        raise ConfigError(f"cannot fetch ALFWorld's games: {error}") from error
    finally:
        forget()
    return _kept(wanted)


def _kept(splits: Sequence[str]) -> list[Status]:
    named = named_place()
    note = f"ALFWORLD_DATA={str(named)!r} comes before these: unset it to play them"
    found = [_status(split, fetched(split)) for split in splits]
    return found if named is None else [replace(each, problem=note) for each in found]


def _missing(splits: Sequence[str]) -> list[str]:
    return [split for split in splits if _status(split, fetched(split)).games is None]


def _wanted(splits: Sequence[str], sources: dict[str, Source | Path], name: str) -> list[str]:
    for split in splits:
        if split not in sources:
            there = ", ".join(sources) or "none"
            raise ConfigError(f"{name!r} has no ALFWorld split {split!r}: there is {there}")
    return [*dict.fromkeys(splits or sources)]


def _keep(split: str, source: Source | Path, told: Progress) -> None:
    """Have the pack in the cache; one that is a pack already is read and written again."""
    if not isinstance(source, Path):
        build(source, fetched(split), again=True, progress=told)
        return
    pack = read_pack(source)
    if pack.split != split:
        raise ConfigError(f"pack {str(source)!r} holds split {pack.split!r}, not {split!r}")
    rows = [to_row(pack.game(id)) for id in pack.ids()]
    write_pack(fetched(split), split, pack.source, pack.skipped, rows)


def _open_local(place: Path, stack: ExitStack, told: Progress) -> dict[str, Source | Path]:
    """Games in any form, else the archives of a folder."""
    try:
        return find_sources(place)
    except ConfigError:
        if not any(any(place.glob(kind)) for kind in _KINDS):
            raise
    return _open_archives(place, stack, told)


def _open_archives(folder: Path, stack: ExitStack, told: Progress) -> dict[str, Source | Path]:
    found = [sorted(folder.glob(kind)) for kind in _KINDS]
    for kind, paths in zip(_KINDS, found, strict=True):
        if not paths:
            raise ConfigError(f"{str(folder)!r} has no archive {kind}: both kinds are needed")
    archives = stack.enter_context(Archives([paths[-1] for paths in found]))
    archives.check(told)
    if not archives.splits:
        raise ConfigError(f"there are no ALFWorld games in {archives.name}")
    return {split: archives.source(split) for split in archives.splits}


@contextmanager
def _alone() -> Iterator[None]:
    """Let one process fetch at a time; the kernel lets go when it ends, however it ends."""
    cache_folder().mkdir(parents=True, exist_ok=True)
    with (cache_folder() / ".lock-fetch").open("wb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        for left_by_a_killed_fetch in cache_folder().glob(f"{_UNDER_WAY}*"):
            shutil.rmtree(left_by_a_killed_fetch, ignore_errors=True)
        yield


@contextmanager
def _folder_under_way() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix=_UNDER_WAY, dir=cache_folder()) as folder:
        yield Path(folder)


# ------------------------------------------------------------------------------------- downloading


class _Transfer:
    """One file on its way, and what must be known to go on where a connection broke off."""

    def __init__(self, url: str, file: BinaryIO, progress: Progress) -> None:
        self._url = url
        self._file = file
        self._progress = progress
        self._tag = ""

    def attempt(self) -> None:
        """Get what is missing of the file.

        Raises:
            OSError: Not all of it came.
            http.client.HTTPException: The server does not speak properly.
        """
        have = self._file.tell()
        headers = {"User-Agent": "agentgym", "Accept-Encoding": "identity"}
        if have and self._tag:
            headers |= {"Range": f"bytes={have}-", "If-Range": self._tag}
        request = urllib.request.Request(self._url, headers=headers)
        with urllib.request.urlopen(request, timeout=TIMEOUT_S) as answer:
            goes_on = answer.status == 206 and answer.headers.get("Content-Range", "").startswith(
                f"bytes {have}-"
            )
            if not goes_on:
                have = self._file.seek(0)
                self._file.truncate()
                if answer.status != 200:
                    raise ConnectionError(f"the server answered {answer.status}")
            tag = answer.headers.get("ETag", "")
            self._tag = "" if tag.startswith("W/") else tag
            length = answer.headers.get("Content-Length", "")
            self._copy(answer, have, have + int(length) if length.isdecimal() else 0)

    def _copy(self, answer: Any, have: int, total: int) -> None:
        what = f"fetching {self._url.rpartition('/')[2]}"
        while chunk := answer.read(2**18):
            have += self._file.write(chunk)
            self._progress(what, have, total)
            if have > _LARGEST:
                raise ConnectionError(f"more than {_LARGEST} bytes came")
        if total and have != total:
            raise ConnectionError(f"{have} of {total} bytes came")


def download(url: str, place: Path, progress: Progress) -> None:
    """Get a file whole; a connection that breaks is taken up again where it broke, if it can be.

    Raises:
        ConfigError: It cannot be had.
    """
    problem = ""
    with place.open("wb") as file:
        transfer = _Transfer(url, file, progress)
        for attempt in range(ATTEMPTS):
            try:
                time.sleep(PAUSE_S * (attempt > 0))
                return transfer.attempt()
            except urllib.error.HTTPError as error:
                error.close()
                problem = f"{error.code} {error.reason}"
                if error.code < 500:
                    break
            except (OSError, http.client.HTTPException, ValueError) as error:
                reason = getattr(error, "reason", None) or error
                problem = str(reason) or type(reason).__name__
    raise ConfigError(
        f"cannot get {url!r}: {problem}; --from takes a mirror, or a folder with the archives"
    )
