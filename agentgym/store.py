"""A run on disk: a manifest and the episodes, append-only.

::

    RUN/manifest.json        what was run: environment, policy, sampling, seeds, versions
    RUN/episodes.jsonl       one line an episode (`agentgym.schema`), written the moment it ends
    RUN/rewards/NAME.jsonl   rewards computed from the episodes, one line an episode
    RUN/images/HASH.png      images of observations, by content

An episode is one `write`, so a killed process loses none that ended; data is forced to disk at
least once a second and at the end, so a machine that fails loses at most a second. One process
writes a run at a time. A key may occur again (an unscored episode that was run again): the last
line counts.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import json
import logging
import os
import threading
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import orjson

from agentgym import schema
from agentgym.errors import AgentGymError, StoreError
from agentgym.prompt import png
from agentgym.types import EpisodeKey, Outcome, Stop, Trajectory

logger = logging.getLogger(__name__)

MANIFEST = "manifest.json"
EPISODES = "episodes.jsonl"
KIND = "agentgym-run"
SYNC_EVERY_S = 0.5
_MANIFEST_OPTIONS = orjson.OPT_INDENT_2 | orjson.OPT_SERIALIZE_NUMPY


class StoredImage:
    """An image of a stored observation, decoded when asked for: `np.asarray(image)`."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> npt.NDArray[np.uint8]:
        """Decode to uint8[H, W, 3]."""
        from PIL import Image  # only runs with images need it

        with Image.open(self.path) as image:
            return np.asarray(image.convert("RGB"), dtype=dtype)


def _is_left_over(path: Path) -> bool:
    """Whether it is of a writer that was killed before there was a manifest."""
    empty = path.name == EPISODES and path.is_file() and path.stat().st_size == 0
    return empty or path.name == f".{MANIFEST}"


def _force(path: Path) -> None:
    """Have the disk hold what was written to a file."""
    file = os.open(path, os.O_RDONLY)
    try:
        os.fsync(file)
    finally:
        os.close(file)


class Store:
    """A run folder. Make one with `create`, `resume` or `open`; close it, or use it with `with`."""

    def __init__(self, path: Path, manifest: dict[str, Any]) -> None:
        self.path = path
        self.manifest = manifest
        self._file: int | None = None
        self._unsynced = threading.Event()
        self._closing = threading.Event()
        self._syncer: threading.Thread | None = None
        self._sync_error: OSError | None = None
        self._images: deque[Path] = deque()
        """Written, and not forced to disk yet."""

    # ---------------------------------------------------------------- opening

    @classmethod
    def create(cls, path: str | Path, manifest: Mapping[str, Any]) -> Self:
        """Start a run folder and lock it for writing.

        Raises:
            StoreError: There is something there already, or it cannot be written.
        """
        path = Path(path)
        used = StoreError(
            f"{path} exists already: continue it with --resume, or choose another folder"
        )
        if path.exists() and (not path.is_dir() or not all(map(_is_left_over, path.iterdir()))):
            raise used
        document = {"kind": KIND, "schema": schema.SCHEMA, **manifest}
        try:
            text = orjson.dumps(document, option=_MANIFEST_OPTIONS) + b"\n"
        except TypeError as error:
            raise StoreError(f"the manifest of {path} cannot be written: {error}") from error
        store = cls(path, document)
        try:
            path.mkdir(parents=True, exist_ok=True)
            store._lock()
            if (path / MANIFEST).exists():  # somebody was quicker
                store.close()
                raise used
            draft = path / f".{MANIFEST}"
            draft.write_bytes(text)
            _force(draft)
            draft.replace(path / MANIFEST)
        except OSError as error:
            if isinstance(error, StoreError):
                raise
            if store._file is not None:  # ours: nothing is in it yet
                store.close()
                for left in (f".{MANIFEST}", EPISODES):
                    (path / left).unlink(missing_ok=True)
            raise StoreError(f"cannot write {path}: {error.strerror}") from error
        return store

    @classmethod
    def open(cls, path: str | Path) -> Self:
        """Open a run for reading; it may be being written.

        Raises:
            StoreError: It is not a run folder, or one of a newer schema.
        """
        path = Path(path)
        try:
            manifest = orjson.loads((path / MANIFEST).read_bytes())
        except (FileNotFoundError, NotADirectoryError) as error:
            missing = "has no manifest.json" if path.is_dir() else "is a file"
            why = missing if path.exists() else "does not exist"
            raise StoreError(f"{path} is not a run folder: it {why}") from error
        except (OSError, ValueError) as error:
            raise StoreError(f"{path / MANIFEST} cannot be read: {error}") from error
        if not isinstance(manifest, dict) or manifest.get("kind") != KIND:
            raise StoreError(f"{path} is not a run folder: its manifest is not agentgym's")
        if not isinstance(manifest.get("schema"), int) or manifest["schema"] > schema.SCHEMA:
            raise StoreError(
                f"{path} has schema {manifest.get('schema')}, and this agentgym reads up to "
                f"{schema.SCHEMA}: upgrade agentgym-env"
            )
        return cls(path, manifest)

    @classmethod
    def resume(cls, path: str | Path) -> Self:
        """Open a run to go on with it: lock it, and drop a torn last line.

        Raises:
            StoreError: As `open`, or another process is writing it.
        """
        store = cls.open(path)
        store._lock()
        return store

    def _lock(self) -> None:
        flags = os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
        try:
            self._file = os.open(self.path / EPISODES, flags, 0o644)
        except OSError as error:
            raise StoreError(f"cannot write {self.path / EPISODES}: {error.strerror}") from error
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(self._file)
            self._file = None
            raise StoreError(f"another process is writing {self.path}: wait for it") from error
        self._drop_torn_line()
        self._syncer = threading.Thread(target=self._sync_regularly, daemon=True)
        self._syncer.start()

    def _drop_torn_line(self) -> None:
        """Cut what a killed writer left after the last newline."""
        assert self._file is not None
        end = os.fstat(self._file).st_size
        good = end
        while good > 0:
            start = max(0, good - 65536)
            found = os.pread(self._file, good - start, start).rfind(b"\n")
            if found >= 0:
                good = start + found + 1
                break
            good = start
        if good < end:
            logger.warning("%s: dropped a torn last line of %d bytes", self.path, end - good)
            os.ftruncate(self._file, good)

    # ---------------------------------------------------------------- writing

    def append(self, trajectory: Trajectory) -> None:
        """Write an episode.

        An episode that cannot be recorded as it is (a world's facts are not JSON) is kept as an
        error that says why.

        Raises:
            StoreError: The disk is full or failing; everything appended before is safe.
        """
        try:
            line = schema.encode(trajectory, self._save_image)
        except (TypeError, ValueError, RecursionError) as error:
            line = schema.encode(
                Trajectory(
                    trajectory.key,
                    replace(trajectory.task, data={}),
                    outcome=Outcome(0.0, False, "error", available=False),
                    stop=Stop.ERROR,
                    error=f"environment: cannot be recorded: {error}",
                )
            )
        self._write(line)

    def _write(self, line: bytes) -> None:
        if self._file is None:
            raise StoreError(f"{self.path} is not open for writing")
        self._check_disk()
        before = os.fstat(self._file).st_size
        try:
            view = memoryview(line)
            while view:  # a local file takes it in one write; a full disk may take a part
                view = view[os.write(self._file, view) :]
        except OSError as error:
            os.ftruncate(self._file, before)
            full = error.errno in (errno.ENOSPC, errno.EDQUOT)
            remedy = ": free some space and continue with --resume" if full else ""
            raise StoreError(
                f"cannot write {self.path / EPISODES}: {error.strerror}{remedy}"
                " (what was written before is safe)"
            ) from error
        self._unsynced.set()

    def _sync_regularly(self) -> None:
        while not self._closing.is_set():
            self._unsynced.wait()
            self._sync()
            self._closing.wait(SYNC_EVERY_S)

    def _sync(self) -> None:
        self._unsynced.clear()
        if self._file is None:
            return
        try:
            while self._images:  # before the episodes that show them
                _force(self._images.popleft())
            os.fsync(self._file)
        except OSError as error:
            self._sync_error = error

    def _save_image(self, image: Any) -> str:
        image = np.asarray(image)
        if image.dtype != np.uint8:
            raise TypeError(f"an image of {image.dtype}: give uint8[H, W, 3]")
        digest = hashlib.sha256(repr(image.shape).encode() + image.tobytes()).hexdigest()[:32]
        folder = self.path / "images"
        target = folder / f"{digest}.png"
        if not target.exists():
            folder.mkdir(exist_ok=True)
            draft = folder / f".{digest}.{os.getpid()}"
            encoded = png(image)
            try:
                draft.write_bytes(encoded)
                draft.replace(target)
            except OSError as error:
                draft.unlink(missing_ok=True)
                raise StoreError(f"cannot write {target}: {error.strerror}") from error
            self._images.append(target)
        return digest

    def write_rewards(self, name: str, rows: Iterable[Mapping[str, Any]]) -> Path:
        """Replace `rewards/NAME.jsonl` with one JSON line a row; the episodes stay as they are.

        Raises:
            StoreError: The disk is full or failing; the file is as it was.
        """
        target = self.path / "rewards" / f"{name}.jsonl"
        draft = target.with_name(f".{target.name}.{os.getpid()}")
        try:
            target.parent.mkdir(exist_ok=True)
            with draft.open("wb") as file:
                for row in rows:
                    file.write(orjson.dumps(row, option=orjson.OPT_SERIALIZE_NUMPY) + b"\n")
                file.flush()
                os.fsync(file.fileno())
            draft.replace(target)
        except OSError as error:
            if isinstance(error, AgentGymError):
                raise
            raise StoreError(f"cannot write {target}: {error.strerror}") from error
        finally:
            with suppress(OSError):
                draft.unlink()
        return target

    def close(self) -> None:
        """Force everything to disk and release the lock; closing twice is fine.

        Raises:
            StoreError: The disk is failing.
        """
        if self._file is None:
            return
        self._closing.set()
        self._unsynced.set()
        if self._syncer is not None:
            self._syncer.join()
        self._sync()
        os.close(self._file)
        self._file = None
        self._check_disk()

    def _check_disk(self) -> None:
        if self._sync_error is not None:
            raise StoreError(f"the disk under {self.path} fails: {self._sync_error.strerror}")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    # ---------------------------------------------------------------- reading

    def heads(self) -> dict[EpisodeKey, tuple[int, dict[str, Any]]]:
        """Key -> offset and head of the line that counts, in the order of first appearance.

        Lines that cannot be read (the torn last one of a killed writer) are skipped and reported to
        the log; those of a newer schema raise.

        Raises:
            StoreError: An episode is of a newer schema.
        """
        found: dict[EpisodeKey, tuple[int, dict[str, Any]]] = {}
        for number, (offset, line) in enumerate(self._lines(), 1):
            try:
                head = schema.head(line)
                if not line.endswith(b"\n"):
                    raise StoreError("it is torn")
                key = EpisodeKey(*head["key"])
            except (StoreError, TypeError) as error:
                if "upgrade" in str(error):
                    raise StoreError(f"{self.path / EPISODES} line {number}: {error}") from error
                logger.warning("%s line %d is skipped: %s", self.path / EPISODES, number, error)
                continue
            found[key] = (offset, head)
        return found

    def done(self) -> set[EpisodeKey]:
        """Keys of the episodes that were scored and need not be run again."""
        return {key for key, (_, head) in self.heads().items() if head["scored"]}

    def episodes(self, keys: Iterable[EpisodeKey] | None = None) -> Iterator[Trajectory]:
        """Read the episodes one at a time.

        Args:
            keys: Which, in this order; all, as they were played, if None.

        Raises:
            StoreError: One is of a newer schema.
        """
        heads = self.heads()
        if not heads:
            return
        with (self.path / EPISODES).open("rb") as file:
            for key in heads if keys is None else keys:
                file.seek(heads[key][0])
                try:
                    yield schema.decode(file.readline(), self._load_image)
                except StoreError as error:
                    logger.warning("%s: episode %s is skipped: %s", self.path, key, error)

    def episode(self, key: EpisodeKey) -> Trajectory:
        """Read one episode.

        Raises:
            StoreError: There is none of that key, or it cannot be read.
        """
        heads = self.heads()
        if key not in heads:
            raise StoreError(f"{self.path} has no episode {key}")
        with (self.path / EPISODES).open("rb") as file:
            file.seek(heads[key][0])
            return schema.decode(file.readline(), self._load_image)

    def rewards(self, name: str) -> Iterator[dict[str, Any]]:
        """Read `rewards/NAME.jsonl`.

        Raises:
            StoreError: There is none of that name.
        """
        path = self.path / "rewards" / f"{name}.jsonl"
        if not path.exists():
            raise StoreError(f"{self.path} has no rewards {name!r}")
        with path.open("rb") as file:
            for line in file:
                yield json.loads(line)

    def _load_image(self, name: str) -> StoredImage:
        return StoredImage(self.path / "images" / f"{name}.png")

    def _lines(self) -> Iterator[tuple[int, bytes]]:
        path = self.path / EPISODES
        if not path.exists():
            return
        offset = 0
        with path.open("rb") as file:
            for line in file:
                yield offset, line
                offset += len(line)
