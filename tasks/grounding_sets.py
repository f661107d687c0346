"""Sets of labelled screenshots on disk: ScreenSpot, ScreenSpot-v2, ScreenSpot-Pro, and our own.

What is read, and how it says where the target is:

- ScreenSpot, v2 and our own: JSON with `img_filename`, `instruction`, `data_type`, `data_source`
  and `bbox`, which is left, top, width and height in pixels.
- ScreenSpot-Pro: JSON with `img_filename`, `img_size`, `instruction`, `ui_type`, `application`,
  `platform` and `bbox`, which is left, top, right and bottom in pixels.
- Either as parquet of the Hugging Face hub, with the picture in the column `image`; there a box
  whose numbers are at most 1 is left, top, right and bottom as shares of the picture.

A row says which it is: with `img_size` or `ui_type` it is Pro's. Boxes that reach beyond their
picture are cut at its edge.
"""

from __future__ import annotations

import functools
import io
import math
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple, TypeAlias

from agentgym.errors import ConfigError, RegistryError, TaskError
from agentgym.tasks.swe_rows import read_rows

Box: TypeAlias = tuple[float, float, float, float]
"""Left, top, right, bottom in pixels of the picture; edges belong to it."""
ANNOTATIONS = (".json", ".jsonl", ".parquet")
_PLACES = ("", "annotations", "data")
"""Folders of a set that may hold its annotations."""


class Packed(NamedTuple):
    """A picture in a parquet file."""

    file: Path
    row: int
    """From 0."""


Source: TypeAlias = bytes | Path | Packed
"""Where a picture is: its bytes, its file, or its row."""


@dataclass(frozen=True, slots=True)
class Example:
    """A screenshot and what is to be found on it."""

    id: str
    instruction: str
    image: Source
    box: Box
    """Of the target."""
    size: tuple[int, int]
    """Width and height of the picture, in pixels."""
    kind: str = ""
    """`text` or `icon`."""
    source: str = ""
    """Which site, application or platform it shows."""
    elements: tuple[Box, ...] = ()
    """What else is known to be on it, the target included."""

    def read(self) -> bytes:
        """The picture, encoded.

        Raises:
            TaskError: It cannot be read.
        """
        return read_source(self.image)


def load(path: Path | str) -> Sequence[Example]:
    """The examples of a set.

    Args:
        path: A folder as it was downloaded or made, or one file of annotations.

    Raises:
        ConfigError: There is nothing to read.
        TaskError: A row is wrong or its picture is missing: says which row of which file.
        RegistryError: pyarrow or Pillow is missing.
    """
    path = Path(path).expanduser().resolve()
    files = list(_annotations(path))
    if not files:
        kinds = ", ".join(ANNOTATIONS)
        raise ConfigError(f"no annotations at {str(path)!r}: give a folder with {kinds} files")
    stamp = tuple((str(file), file.stat().st_mtime_ns) for file in files)
    return _load(stamp, str(_root(path)))


@functools.lru_cache(maxsize=8)
def _load(files: tuple[tuple[str, int], ...], root: str) -> Sequence[Example]:
    found: list[Example] = []
    for name, _ in files:
        read = _parquet if name.endswith(".parquet") else _plain
        found += read(Path(name), Path(root))
    if not found:
        raise ConfigError(f"the annotations in {root!r} are empty: get or make the set again")
    return tuple(_together(found))


def _annotations(path: Path) -> Iterator[Path]:
    if path.is_file():
        if path.suffix not in ANNOTATIONS:
            raise ConfigError(f"{str(path)!r} is none of {', '.join(ANNOTATIONS)}")
        yield path
        return
    for place in _PLACES:
        here = path / place
        named = sorted(here.glob("*")) if here.is_dir() else []
        found = [each for each in named if each.suffix in (".json", ".parquet") and each.is_file()]
        if found:
            yield from found
            return


def _root(path: Path) -> Path:
    folder = path.parent if path.is_file() else path
    return folder.parent if folder.name in _PLACES[1:] else folder


def _together(found: Sequence[Example]) -> Iterator[Example]:
    """Each example told of the other targets on its picture."""
    boxes: dict[Path, list[Box]] = {}
    for each in found:
        if isinstance(each.image, Path):
            boxes.setdefault(each.image, []).append(each.box)
    for each in found:
        known = boxes.get(each.image, []) if isinstance(each.image, Path) else []
        yield replace(each, elements=tuple(dict.fromkeys(known)))


# ------------------------------------------------------------------------------------------- files


def _plain(file: Path, root: Path) -> Iterator[Example]:
    sizes: dict[Path, tuple[int, int]] = {}
    folders = [root / "images", root, *sorted(each for each in root.iterdir() if each.is_dir())]
    for number, row in read_rows(str(file), None, ()):
        where = f"{str(file)!r}, row {number}"
        known = _known(row, where)
        name = _text(row, where, "img_filename", "file_name")
        image = _find_image(folders, name, where)
        if image not in sizes:
            sizes[image] = _size(image, where)
        size = sizes[image]
        told = row.get("img_size")
        if told not in (None, list(size)):
            given = "x".join(map(str, size))
            raise TaskError(f"{where}: img_size is {told!r}, and {name!r} is {given} pixels")
        box = to_pixels(row["bbox"], size, corners=_is_pro(row), where=where)
        yield replace(known, id=f"{file.stem}:{number}", image=image, box=box, size=size)


def _known(row: Any, where: str) -> Example:
    """What a row says besides the picture."""
    if not isinstance(row, Mapping):
        raise TaskError(f"{where}: is {type(row).__name__}: give an object with keys")
    if "bbox" not in row:
        raise TaskError(f"{where}: has no 'bbox'")
    kind, source = row.get("data_type", row.get("ui_type")), row.get("data_source")
    source = source or row.get("application") or row.get("platform")
    instruction = _text(row, where, "instruction")
    return Example("", instruction, b"", (0, 0, 0, 0), (0, 0), str(kind or ""), str(source or ""))


def _is_pro(row: Mapping[str, Any]) -> bool:
    return row.get("img_size") is not None or row.get("ui_type") is not None


def _text(row: Mapping[str, Any], where: str, *names: str) -> str:
    value = next((row[name] for name in names if row.get(name) is not None), None)
    if not isinstance(value, str) or not value.strip():
        raise TaskError(f"{where}: {names[0]!r} is {value!r:.80}: give a text")
    return value.strip()


def _find_image(folders: Sequence[Path], name: str, where: str) -> Path:
    """The picture of that name, in one of these folders."""
    parts = PurePosixPath(name.replace("\\", "/"))
    if parts.is_absolute() or ".." in parts.parts:
        raise TaskError(f"{where}: image {name!r} lies outside of the set")
    for folder in folders:
        if (folder / parts).is_file():
            return folder / parts
    raise TaskError(f"{where}: there is no image {name!r} in {str(folders[1])!r} or a folder of it")


def _size(image: Path | bytes, where: str) -> tuple[int, int]:
    """Width and height, from a picture's first bytes."""
    try:
        from PIL import Image
    except ImportError as error:
        advice = "pip install 'agentgym-env[image]'"
        raise RegistryError(f"reading screenshots needs Pillow: {advice}") from error
    try:
        with Image.open(io.BytesIO(image) if isinstance(image, bytes) else image) as opened:
            width, height = opened.size
    except (OSError, ValueError, Image.DecompressionBombError) as error:
        what = "its image" if isinstance(image, bytes) else f"image {image.name!r}"
        raise TaskError(f"{where}: {what} cannot be read: {error}") from error
    return width, height


def to_pixels(given: object, size: tuple[int, int], *, corners: bool, where: str) -> Box:
    """A box of a file as left, top, right and bottom in pixels, cut at the edges of the picture.

    Args:
        given: Four numbers; shares of the picture if none is above 1.
        size: Width and height of the picture.
        corners: It is left, top, right, bottom; else left, top, width, height.
        where: For the message.

    Raises:
        TaskError: It is no box, is empty, or lies outside of the picture.
    """
    values = list(given) if isinstance(given, Sequence) and not isinstance(given, str) else []
    numbers = [v for v in values if isinstance(v, int | float) and not isinstance(v, bool)]
    if len(values) != 4 or len(numbers) != 4 or not all(map(math.isfinite, numbers)):
        raise TaskError(f"{where}: bbox is {given!r:.80}: give four finite numbers")
    left, top, right, bottom = map(float, numbers)
    shares = max(numbers) <= 1
    if not shares and not corners:
        right, bottom = left + right, top + bottom
    if right <= left or bottom <= top:
        raise TaskError(f"{where}: bbox {given!r:.80} is empty")
    width, height = map(float, size)
    if shares:
        left, right, top, bottom = left * width, right * width, top * height, bottom * height
    if left >= width or top >= height or right <= 0 or bottom <= 0:
        inside = f"which is {size[0]}x{size[1]} pixels"
        raise TaskError(f"{where}: bbox {given!r:.80} lies outside of its image, {inside}")
    return max(left, 0.0), max(top, 0.0), min(right, width), min(bottom, height)


# ----------------------------------------------------------------------------------------- parquet


def _parquet(file: Path, root: Path) -> Iterator[Example]:
    opened = _open(file)
    names = set(opened.schema_arrow.names)
    for name in ("image", "bbox", "instruction"):
        if name not in names:
            raise TaskError(f"{str(file)!r} has no column {name!r}")
    with _reading:
        rows = opened.read(columns=sorted(names - {"image"})).to_pylist()
    for number, row in enumerate(rows, 1):
        where = f"{str(file)!r}, row {number}"
        known, image = _known(row, where), Packed(file, number - 1)
        size = _size(read_source(image), where)
        box = to_pixels(row["bbox"], size, corners=_is_pro(row), where=where)
        yield replace(known, id=f"{file.stem}:{number}", image=image, box=box, size=size)


_reading = threading.Lock()
"""An open file is read by one thread at a time."""


def _open(file: Path) -> Any:
    return _opened(file, file.stat().st_mtime_ns)


@functools.lru_cache(maxsize=8)
def _opened(file: Path, changed_ns: int) -> Any:
    try:
        from pyarrow import parquet
    except ImportError as error:
        advice = "pip install 'agentgym-env[parquet]'"
        raise RegistryError(f"reading {str(file)!r} needs pyarrow: {advice}") from error
    try:
        return parquet.ParquetFile(file, memory_map=True)
    except (OSError, ValueError) as error:  # which pyarrow's own errors are
        raise TaskError(f"{str(file)!r} is no parquet file: {error}") from error


@functools.lru_cache(maxsize=2)
def _images(opened: Any, group: int) -> Any:
    """The pictures of a row group."""
    return opened.read_row_group(group, columns=["image"]).column("image")


def read_source(image: Source) -> bytes:
    """A picture, encoded.

    Raises:
        TaskError: It cannot be read.
    """
    if isinstance(image, bytes):
        return image
    if isinstance(image, Path):
        try:
            return image.read_bytes()
        except OSError as error:
            raise TaskError(f"image {str(image)!r} cannot be read: {error.strerror}") from error
    row, group, opened = image.row, 0, _open(image.file)
    while row >= opened.metadata.row_group(group).num_rows:
        row -= opened.metadata.row_group(group).num_rows
        group += 1
    with _reading:
        images = _images(opened, group)
    told = images[row].as_py()
    found = told.get("bytes") if isinstance(told, Mapping) else told
    if not isinstance(found, bytes):
        raise TaskError(f"{str(image.file)!r}, row {image.row + 1}: has no image")
    return found
