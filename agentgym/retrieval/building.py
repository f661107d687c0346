"""Building index folders: beside what is there, by one process at a time, current in one step."""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import orjson

from agentgym.errors import ConfigError, RetrievalError
from agentgym.retrieval.analysis import ANALYSIS
from agentgym.retrieval.base import Passage, dump_passage, load_passage
from agentgym.retrieval.bm25 import BM25Index, BM25Parameters
from agentgym.retrieval.folder import (
    CURRENT,
    MANIFEST,
    Manifest,
    crc32,
    current,
    hash64,
    verify_index,
    version_name,
)
from agentgym.retrieval.sources import Progress

if TYPE_CHECKING:
    from agentgym.retrieval.dense import Embedder

_BUILDING = ".building-"


def build_index(
    passages: Iterable[Passage],
    out: str | Path,
    *,
    name: str = "",
    parameters: BM25Parameters | None = None,
    embedder: Embedder | None = None,
    progress: Progress | None = None,
) -> Path:
    """Build the index of a corpus in a folder, and make it the folder's current one.

    Any number of processes may build at once: one does, the others wait and find it there.

    Args:
        passages: In order, each with an id of its own; read once.
        out: The folder.
        name: Of the corpus; the folder's name if empty.
        parameters: Of BM25; the usual ones if None.
        embedder: Makes vectors too, for searching by meaning.
        progress: Told how far it is.

    Returns:
        The version's folder; the one that is there already where it would be the same.

    Raises:
        ConfigError: Two passages have one id, or there are none.
        OSError: The folder cannot be written.
    """
    out = Path(out)
    tell = progress or (lambda what, done, total: None)
    parameters = parameters or BM25Parameters()
    out.mkdir(parents=True, exist_ok=True)
    with _only_one(out):
        for left_by_a_killed_build in out.glob(_BUILDING + "*"):
            shutil.rmtree(left_by_a_killed_build, ignore_errors=True)
        with tempfile.TemporaryDirectory(prefix=_BUILDING, dir=out) as building:
            work = Path(building)
            fingerprint, offsets = _write_passages(passages, work)
            there = _same(out, fingerprint, parameters, embedder)
            if there is not None:
                return there
            _write_indexes(work, fingerprint, offsets, parameters, embedder, tell)
            tell("checking", 0, 0)
            terms = work / "terms.npy"
            manifest = Manifest(
                name=name or out.name,
                passages=len(offsets) - 1,
                corpus=fingerprint,
                analysis=ANALYSIS,
                bm25=asdict(parameters),
                terms=len(np.load(terms, mmap_mode="r")) if terms.exists() else 0,
                model=embedder.fingerprint if embedder else "",
                model_name=embedder.name if embedder else "",
                files=_measured(work),
            )
            return _install(out, work, manifest)


def _write_passages(passages: Iterable[Passage], work: Path) -> tuple[str, list[int]]:
    """Write the passages and where they are; their fingerprint, and the offsets."""
    digest = hashlib.blake2b(digest_size=16)
    offsets = [0]
    hashes = []
    with (work / "passages.jsonl").open("wb") as file:
        for passage in passages:
            line = dump_passage(passage) + b"\n"
            digest.update(line)
            file.write(line)
            offsets.append(offsets[-1] + len(line))
            hashes.append(hash64(passage.id))
    if not hashes:
        raise ConfigError("a corpus without a passage cannot be searched")
    ids, places = _sorted(hashes)
    twice = np.flatnonzero(ids[1:] == ids[:-1])
    np.save(work / "offsets.npy", np.array(offsets, np.uint64))
    np.save(work / "ids.npy", ids)
    np.save(work / "places.npy", places)
    if twice.size:
        id = _passage_at(work, offsets, int(places[twice[0]])).id
        raise ConfigError(f"passage {id!r} is there twice: give each its own id")
    return digest.hexdigest(), offsets


def _passage_at(work: Path, offsets: list[int], place: int) -> Passage:
    with (work / "passages.jsonl").open("rb") as file:
        file.seek(offsets[place])
        return load_passage(file.readline())


def _written(work: Path) -> Iterator[Passage]:
    with (work / "passages.jsonl").open("rb") as file:
        yield from map(load_passage, file)


def _write_indexes(
    work: Path,
    fingerprint: str,
    offsets: list[int],
    parameters: BM25Parameters,
    embedder: Embedder | None,
    tell: Progress,
) -> None:
    count = len(offsets) - 1
    index = BM25Index.build(
        _written(work), fingerprint, parameters, progress=lambda n: tell("indexing", n, count)
    )
    if index.scores is not None:
        tell("saving", 0, 0)
        vocabulary = index.scores.vocab_dict
        hashes, order = _sorted([hash64(term) for term in vocabulary])
        if (hashes[1:] == hashes[:-1]).any():
            raise AssertionError("two terms have one 64-bit hash")
        numbers = np.fromiter(vocabulary.values(), np.int32, len(vocabulary))
        np.save(work / "terms.npy", hashes)
        np.save(work / "numbers.npy", numbers[order])
        index.scores.vocab_dict = {}  # ours takes a tenth of the room, and none before it is used
        index.scores.save(work / "bm25", show_progress=False)
    if embedder is not None:
        from agentgym.retrieval.dense import embed

        np.save(work / "vectors.npy", embed(embedder, _written(work), count, tell))


def _sorted(hashes: list[int]) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    unsorted = np.array(hashes, np.uint64)
    order = np.argsort(unsorted, kind="stable").astype(np.int32)
    return unsorted[order], order


def _same(
    out: Path, fingerprint: str, parameters: BM25Parameters, embedder: Embedder | None
) -> Path | None:
    """The folder's current version, if it is undamaged and a new one would be the same."""
    try:
        manifest = verify_index(out)
    except (ConfigError, RetrievalError):
        return None
    made = manifest.corpus, manifest.bm25, manifest.model
    wanted = fingerprint, asdict(parameters), embedder.fingerprint if embedder else ""
    return current(out) if made == wanted else None


def _install(out: Path, work: Path, manifest: Manifest) -> Path:
    """Move a finished version in, point at it, and remove the others."""
    raw = _dump_manifest(manifest)
    (work / MANIFEST).write_bytes(raw)
    version = out / version_name(raw)
    if version.exists():  # damaged, or it would have been found to be the same
        version.rename(work / "damaged")
    (work / "new").mkdir()
    for entry in list(work.iterdir()):
        if entry.name not in ("damaged", "new"):
            entry.rename(work / "new" / entry.name)
    (work / "new").rename(version)
    pointer = work / CURRENT
    with pointer.open("w") as file:
        file.write(version.name + "\n")
        file.flush()
        os.fsync(file.fileno())
    pointer.replace(out / CURRENT)
    for other in out.iterdir():
        if other.is_dir() and other not in (version, work) and (other / MANIFEST).exists():
            shutil.rmtree(other, ignore_errors=True)
    return version


def _measured(work: Path) -> dict[str, list[int]]:
    files = sorted(each for each in work.rglob("*") if each.is_file())
    return {each.relative_to(work).as_posix(): [each.stat().st_size, crc32(each)] for each in files}


def _dump_manifest(manifest: Manifest) -> bytes:
    return orjson.dumps(asdict(manifest), option=orjson.OPT_SORT_KEYS | orjson.OPT_INDENT_2)


@contextlib.contextmanager
def _only_one(folder: Path) -> Iterator[None]:
    """Let one process build at a time. The kernel lets go when it ends, however it ends."""
    import fcntl  # Unix only, and only building needs it

    with (folder / ".lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
