"""Index folders: a corpus and its indexes on disk, checked when opened, read as needed.

::

    FOLDER/CURRENT          the name of the version to read
    FOLDER/<version>/       named by its manifest's hash: never changed, replaced as a whole
        manifest.json       what is in it, made how; size and CRC-32 of each file
        passages.jsonl      a passage a line, [id, title, [sentence, ...]]
        offsets.npy         where each line begins, and where the last ends
        ids.npy, places.npy hashes of ids, ascending, and the places of their passages
        terms.npy, numbers.npy  hashes of terms, ascending, and their numbers in the index
        bm25/               the index as bm25s saves it
        vectors.npy         where it was built with a model: a unit vector for each passage

A new version is built beside the old one, by one process at a time, and becomes current in one
step. Whoever has the old one open keeps it: its files live until they are closed.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import os
import threading
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import orjson

from agentgym.errors import ConfigError, RetrievalError
from agentgym.retrieval.analysis import ANALYSIS, import_search
from agentgym.retrieval.base import Passage, load_passage
from agentgym.retrieval.bm25 import BM25Index, BM25Parameters

FORMAT = 1
MANIFEST = "manifest.json"
CURRENT = "CURRENT"
_CHUNK = 2**20
_sharing = threading.RLock()
_shared: dict[Path, IndexFolder] = {}
"""Open indexes of this process that several may use, by their folders."""
_opening = threading.Lock()
"""numpy parses the heads of arrays by `ast`, which Python 3.11 gets wrong in several threads."""


@dataclass(frozen=True, slots=True)
class Manifest:
    """What is in a version of an index folder."""

    name: str
    """Of the corpus."""
    passages: int
    corpus: str
    """The corpus's fingerprint."""
    analysis: str
    bm25: dict[str, Any]
    """The parameters."""
    terms: int
    model: str
    """Fingerprint of the model that made the vectors; empty where there are none."""
    model_name: str
    files: dict[str, list[int]]
    """Size in bytes and CRC-32 of each."""
    format: int = FORMAT


def open_index(folder: str | Path, *, check: bool = True) -> IndexFolder:
    """Open a folder's current version.

    Args:
        folder: Where `build_index` built it.
        check: Compare every file with its CRC-32 (a second or so a gigabyte); else only sizes.

    Raises:
        ConfigError: There is no index, or of a format or an analysis of another version of this.
        RetrievalError: It is damaged; says which file, and how to build it again.
    """
    folder = Path(folder)
    for attempt in range(5):
        version = current(folder)
        try:
            manifest = _read_manifest(version)
            if check:
                _verify(version, manifest)
            with _opening:
                return IndexFolder(version, manifest)
        except FileNotFoundError as error:
            if attempt == 4 or current(folder) == version:
                raise _damaged(version, f"{Path(error.filename or '').name} is missing") from error
    raise AssertionError("unreachable")


def share_index(folder: str | Path, *, check: bool = True) -> IndexFolder:
    """Open a folder's current version as `open_index` does, or as this process has it open.

    Each use is given back by `close`.
    """
    version = current(Path(folder)).resolve()
    with _sharing:
        index = _shared.get(version)
        if index is None:
            index = open_index(version.parent, check=check)
            _shared[index.path] = index
        else:
            index.users += 1
        return index


def verify_index(folder: str | Path) -> Manifest:
    """Check every file of a folder's current version.

    Raises:
        ConfigError: There is no index.
        RetrievalError: It is damaged; says which file, and how to build it again.
    """
    with contextlib.closing(open_index(folder)) as index:
        return index.manifest


def is_index(folder: str | Path) -> bool:
    """Whether an index folder is there."""
    return (Path(folder) / CURRENT).is_file()


class IndexFolder:
    """An open version of an index folder: a corpus whose passages are read when asked for.

    Args:
        version: Its folder.
        manifest: What is in it.

    Raises:
        FileNotFoundError: A file of it is gone.
    """

    def __init__(self, version: Path, manifest: Manifest) -> None:
        self.path = version
        self.users = 1
        self.manifest = manifest
        self.name = manifest.name
        self._file = os.open(version / "passages.jsonl", os.O_RDONLY | os.O_CLOEXEC)
        # All at once: a build may remove the folder any time, but not what is mapped.
        self._offsets = _load(version / "offsets.npy")
        self._ids = _load(version / "ids.npy")
        self._places = _load(version / "places.npy")
        self._vectors = _load(version / "vectors.npy") if manifest.model else None
        self._terms = Terms(version) if manifest.terms else None
        self._scores = {
            name: _load(version / "bm25" / f"{name}.csc.index.npy")
            for name in (("data", "indices", "indptr") if manifest.terms else ())
        }

    @property
    def fingerprint(self) -> str:
        """Of the corpus."""
        return self.manifest.corpus

    def __len__(self) -> int:
        return self.manifest.passages

    def __iter__(self) -> Iterator[Passage]:
        for place in range(len(self)):
            yield self[place]

    def __getitem__(self, place: int) -> Passage:
        start, end = int(self._offsets[place]), int(self._offsets[place + 1])
        return load_passage(os.pread(self._file, end - start, start))

    def get(self, id: str) -> Passage | None:
        """The passage of that id."""
        at = int(np.searchsorted(self._ids, np.uint64(hash64(id))))
        if at == len(self) or int(self._ids[at]) != hash64(id):
            return None
        passage = self[int(self._places[at])]
        return passage if passage.id == id else None

    @functools.cached_property
    def bm25(self) -> BM25Index:
        """Its BM25 index, mapped into memory."""
        parameters = BM25Parameters(**self.manifest.bm25)
        fingerprint = parameters.fingerprint(self.manifest.corpus)
        if self._terms is None:
            return BM25Index(None, {}, len(self), fingerprint)
        bm25s = import_search("bm25s")
        engine = bm25s.BM25(k1=parameters.k1, b=parameters.b, method="lucene")
        engine.scores = {**self._scores, "num_docs": len(self)}
        engine.nonoccurrence_array = None  # as bm25s' own loader leaves it, which opens files again
        return BM25Index(engine, self._terms, len(self), fingerprint)

    def vectors(self) -> np.ndarray[Any, Any]:
        """Its vectors, one row a passage, mapped into memory.

        Raises:
            ConfigError: It was built without.
        """
        if self._vectors is None:
            raise ConfigError(
                f"index {str(self.path.parent)!r} has no vectors: build it with --dense MODEL"
            )
        return self._vectors

    def close(self) -> None:
        """Let go of the passages' file, unless others share it."""
        with _sharing:
            self.users -= 1
            if self.users > 0:
                return
            if _shared.get(self.path) is self:
                del _shared[self.path]
        self._close()

    def _close(self) -> None:
        file, self._file = self._file, -1
        if file >= 0:
            os.close(file)

    def __del__(self) -> None:
        if hasattr(self, "_file"):
            self._close()


class Terms:
    """The numbers of an index's terms, found on disk by the terms' hashes."""

    def __init__(self, version: Path) -> None:
        self.hashes = _load(version / "terms.npy")
        self.numbers = _load(version / "numbers.npy")
        self.get = functools.lru_cache(2**16)(self._find)

    def _find(self, term: str) -> int | None:
        hashed = hash64(term)
        at = int(np.searchsorted(self.hashes, np.uint64(hashed)))
        if at == len(self.hashes) or int(self.hashes[at]) != hashed:
            return None
        return int(self.numbers[at])


# -------------------------------------------------------------------------------- checking


def current(folder: Path) -> Path:
    """The folder of the current version, as CURRENT names it."""
    try:
        name = (folder / CURRENT).read_text(encoding="utf-8", errors="replace").strip()
    except (FileNotFoundError, NotADirectoryError) as error:
        raise ConfigError(
            f"no index at {str(folder)!r}: agentgym corpus build SOURCE --out {folder}"
        ) from error
    if not name.isalnum():
        raise _damaged(folder / CURRENT, "it names no version")
    return folder / name


def _read_manifest(version: Path) -> Manifest:
    raw = (version / MANIFEST).read_bytes()
    if version_name(raw) != version.name:
        raise _damaged(version, f"{MANIFEST} is not what was written")
    fields = orjson.loads(raw)
    if fields.get("format") != FORMAT or fields.get("analysis") != ANALYSIS:
        raise ConfigError(
            f"index {str(version.parent)!r} is of another version of agentgym: build it again, "
            f"agentgym corpus build SOURCE --out {version.parent}"
        )
    manifest = Manifest(**fields)
    for name, (size, _) in manifest.files.items():
        found = (version / name).stat().st_size
        if found != size:
            raise _damaged(version, f"{name} has {found} bytes, not {size}")
    return manifest


def _verify(version: Path, manifest: Manifest) -> None:
    for name, (_, crc) in manifest.files.items():
        if crc32(version / name) != crc:
            raise _damaged(version, f"the bytes of {name} are not those that were written")


def _damaged(version: Path, what: str) -> RetrievalError:
    folder = version.parent
    return RetrievalError(
        "index",
        f"index {str(folder)!r} is damaged: {what}; build it again: "
        f"agentgym corpus build SOURCE --out {folder}",
    )


def crc32(path: Path) -> int:
    """CRC-32 of a file, which is read, not mapped: mapped, it would count as this process's."""
    crc = 0
    with path.open("rb", buffering=0) as file:
        while chunk := file.read(_CHUNK):
            crc = zlib.crc32(chunk, crc)
    return crc


def version_name(manifest: bytes) -> str:
    """What a version with this manifest is called."""
    return hashlib.blake2b(manifest, digest_size=8).hexdigest()


def _load(path: Path) -> np.ndarray[Any, Any]:
    """An array on disk, mapped: the plain array below the memmap, which is cheaper to slice."""
    try:
        return np.asarray(np.load(path, mmap_mode="r"))
    except ValueError as error:
        raise RetrievalError("index", f"{path} is no array: {error}") from error


def hash64(text: str) -> int:
    """64 bits of BLAKE2b: ids and terms as an index folder knows them."""
    raw = text.encode("utf-8", "surrogatepass")
    return int.from_bytes(hashlib.blake2b(raw, digest_size=8).digest(), "big")
