"""Grounding tasks: a screenshot, an instruction, and the box that it means.

They are drawn from our own sites by seed (`draw`), made into a set on disk (`make`), or read from
one (`load`). Eight seeds in a row share a screen, so that taking them in order costs an eighth.
"""

from __future__ import annotations

import functools
import hashlib
import json
import os
import random
import re
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

from agentgym.errors import ConfigError, TaskError, did_you_mean
from agentgym.tasks.grounding_pages import Element, put_away, shoot
from agentgym.tasks.grounding_sets import Example, load
from agentgym.tasks.grounding_words import instruct, refer
from agentgym.tasks.sites.core import DATABASES, site_names

__all__ = ["Example", "draw", "find", "labelled", "listed", "load", "make", "put_away"]

FIRST_SEED: Mapping[str, int] = {"train": 0, "valid": 1_000_000, "test": 2_000_000}
SEEDS = 1_000_000
"""Of each split, from its first on."""
LISTED = 400
"""Seeds of each site that are listed."""
SHARE = 8
"""Seeds that share a screen."""
FILE = "screenspot_web.json"
JOURNAL = "screens.jsonl"
VERSION = 1
"""Of what a seed gives."""
_ID = re.compile(r"([a-z0-9]+):seed=(0|[1-9][0-9]{0,7})")
_AT_ONCE = max(2, min(8, os.cpu_count() or 2))
_MOST_BARREN = 500
"""Screens in a row that were there already."""
_SAME_DATABASE = 60
"""Screens in a row that show the same data: what pages there are is looked up once."""

Progress = Callable[[str, int, int], None]
"""Told what is being done, how far it is, and of how much."""


class Labelled(NamedTuple):
    """A screen with an instruction for each element that one can be given for."""

    png: bytes
    size: tuple[int, int]
    targets: tuple[tuple[str, Element], ...]
    """In an order of no meaning."""
    elements: tuple[Element, ...]
    """All that can be pointed at, whole."""


# ------------------------------------------------------------------------------------ by the seed


@functools.lru_cache(maxsize=64)
def labelled(site: str, seed: int) -> Labelled:
    """The screen that a seed draws, with its instructions.

    Raises:
        TaskError: There is no such site.
        SandboxError: No browser can be started, or the page died.
        RegistryError: A package is missing.
    """
    screen = shoot(site, seed)
    rng = random.Random(f"labels:{site}:{seed}")
    whole = tuple(element for element in screen.elements if element.whole)
    found = []
    for target in whole:
        reference = refer(target, screen, rng)
        if reference is not None:
            found.append((instruct(reference, target.role, rng), target))
    rng.shuffle(found)
    return Labelled(screen.png, screen.size, tuple(found), whole)


def listed(split: str, sites: Sequence[str]) -> Sequence[str]:
    """Ids of the tasks of a split: the first seeds of each site."""
    first = FIRST_SEED[split]
    return [f"{site}:seed={first + i}" for i in range(LISTED) for site in sites]


def find(task_id: str, split: str, sites: Sequence[str]) -> tuple[str, int]:
    """The site and the seed that an id names: any of the split's own million.

    Raises:
        TaskError: It is no task of the split.
    """
    first, found = FIRST_SEED[split], _ID.fullmatch(task_id)
    if found is None or found[1] not in sites:
        hint = did_you_mean(task_id.partition(":")[0], sites)
        raise TaskError(f"no task {task_id!r}: give one like {sites[0]}:seed={first}{hint}")
    if not first <= int(found[2]) < first + SEEDS:
        told = f"seeds are {first} to {first + SEEDS - 1}"
        raise TaskError(f"no task {task_id!r} in split {split!r}: {told}")
    return found[1], int(found[2])


def draw(site: str, seed: int) -> Example:
    """The example of a seed; the same wherever and whenever it is asked for.

    Raises:
        TaskError: There is no such site.
        SandboxError: No browser can be started, or the page died.
        RegistryError: A package is missing.
    """
    first, place = seed // SEEDS * SEEDS, seed % SEEDS
    for attempt in range(SHARE):  # a screen may show nothing that can be told apart
        screen = labelled(site, first + place // SHARE + attempt * (SEEDS // SHARE))
        if screen.targets:
            instruction, target = screen.targets[place % SHARE % len(screen.targets)]
            return Example(
                id=f"{site}:seed={seed}",
                instruction=instruction,
                image=screen.png,
                box=target.box,
                size=screen.size,
                kind=target.kind,
                source=site,
                elements=tuple(element.box for element in screen.elements),
            )
    raise TaskError(f"{site}:seed={seed} shows nothing to point at: take another seed")


# ----------------------------------------------------------------------------------------- on disk


def make(
    out: Path,
    *,
    count: int,
    seed: int = 0,
    split: str = "train",
    sites: Sequence[str] = (),
    resume: bool = False,
    force: bool = False,
    progress: Progress | None = None,
) -> int:
    """Write a set in the form of ScreenSpot: `screenspot_web.json` and `images/`.

    The same arguments give the same files. What is made is noted in `screens.jsonl` as it goes, so
    that a set can be resumed, or made larger.

    Args:
        out: The folder, made if it is not there.
        count: Targets in all.
        seed: Decides on the screens.
        split: Of whose seeds the screens are.
        sites: Which sites; all if empty.
        resume: Go on with what is there.
        force: Replace the set that is there.
        progress: Told how far it is.

    Returns:
        Targets that the set did not have before.

    Raises:
        ConfigError: The folder holds something else, an argument is wrong, or there are not that
            many targets.
        SandboxError: No browser can be started, or a page died.
    """
    known = site_names()
    for name in sites:
        if name not in known:
            raise ConfigError(f"no site {name!r}{did_you_mean(name, known)} ({', '.join(known)})")
    if split not in FIRST_SEED:
        raise ConfigError(f"split is {split!r}: give {', '.join(FIRST_SEED)}")
    if count < 1 or seed < 0:
        raise ConfigError(f"count is {count!r} and seed {seed!r}: give at least 1 and 0")
    chosen = list(sites or known)
    about = {"version": VERSION, "seed": seed, "split": split, "sites": chosen}
    say = progress or (lambda what, done, total: None)
    _admit(out, resume=resume, force=force)
    rows, screens = _read(out, about)
    names = {row["img_filename"] for row in rows}
    barren, held = 0, _held(out)
    say("taking screenshots", min(len(rows), count), count)
    with (out / JOURNAL).open("ab") as journal:
        if not screens and not journal.tell():
            journal.write(_line(about))
        for number, screen in _screens(chosen, split, seed, start=screens):
            if len(rows) >= count:
                break
            made = _write(out, screen, chosen[number % len(chosen)], names)
            barren = 0 if made else barren + 1
            if barren > _MOST_BARREN:
                raise ConfigError(f"there are no more than {len(rows)} targets: give a lower count")
            journal.write(_line({"screen": number, "rows": made}))
            journal.flush()
            rows += made
            say("taking screenshots", min(len(rows), count), count)
    text = json.dumps(rows[:count], indent=1, ensure_ascii=False) + "\n"
    _replace(out / FILE, text.encode())
    return max(0, count - held)


def _held(out: Path) -> int:
    """Targets of the set that is there; the journal may hold more."""
    try:
        return len(json.loads((out / FILE).read_bytes()))
    except (OSError, ValueError):
        return 0


def _line(value: object) -> bytes:
    return json.dumps(value, ensure_ascii=False).encode() + b"\n"


def _admit(out: Path, *, resume: bool, force: bool) -> None:
    """See to it that a set may be made there, and nothing else is touched."""
    if out.exists() and not out.is_dir():
        raise ConfigError(f"{str(out)!r} is a file: give a folder")
    if out.is_dir() and any(out.iterdir()):
        if not (resume or force):
            raise ConfigError(
                f"{str(out)!r} is not empty: give --resume to go on with the set in it, --force to "
                "replace that, or another folder"
            )
        if not (out / JOURNAL).is_file():
            raise ConfigError(f"{str(out)!r} holds no set that was made here: give another folder")
    if force and out.is_dir():
        for made in [*(out / "images").glob("web_*.png"), out / FILE, out / JOURNAL]:
            made.unlink(missing_ok=True)
    (out / "images").mkdir(parents=True, exist_ok=True)


def _read(out: Path, about: Mapping[str, Any]) -> tuple[list[dict[str, Any]], int]:
    """What is there already: its rows, and how many screens they took."""
    journal = out / JOURNAL
    if not journal.is_file():
        return [], 0
    read: list[Any] = []
    kept = 0
    for line in journal.read_bytes().splitlines(keepends=True):
        if not line.endswith(b"\n"):  # it was killed as it wrote
            break
        read.append(json.loads(line))
        kept += len(line)
    os.truncate(journal, kept)
    if read and read[0] != about:
        different = [name for name in about if read[0].get(name) != about[name]]
        told = ", ".join(f"{name} was {read[0].get(name)!r}" for name in different)
        advice = "give the same, or --force"
        raise ConfigError(f"the set in {str(out)!r} is another one: {told}; {advice}")
    rows = [row for each in read[1:] for row in each["rows"]]
    return rows, read[-1]["screen"] + 1 if len(read) > 1 else 0


def _screens(
    sites: Sequence[str], split: str, seed: int, *, start: int
) -> Iterator[tuple[int, Labelled]]:
    """Screens in order, a few of them under way at once."""
    number = start
    waiting: deque[tuple[int, Future[Labelled]]] = deque()
    pool = ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="agentgym-screens")
    try:
        while True:
            while len(waiting) <= _AT_ONCE:
                rng = random.Random(f"screens:{split}:{seed}:{number}")
                database = (seed + number // _SAME_DATABASE) % DATABASES
                drawn = rng.randrange(SEEDS // DATABASES) * DATABASES + database
                site = sites[number % len(sites)]
                take = pool.submit(labelled, site, FIRST_SEED[split] + drawn)
                waiting.append((number, take))
                number += 1
            first, taken = waiting.popleft()
            yield first, taken.result()
    finally:
        pool.shutdown(cancel_futures=True)
        put_away()


def _write(out: Path, screen: Labelled, site: str, names: set[str]) -> list[dict[str, Any]]:
    """Keep a screen's picture; its rows, none if the same picture is there already."""
    name = f"web_{hashlib.sha256(screen.png).hexdigest()[:32]}.png"
    if not screen.targets or name in names:
        return []
    names.add(name)
    image = out / "images" / name
    if not image.is_file():
        _replace(image, screen.png)
    return [
        {
            "img_filename": name,
            "bbox": [box[0], box[1], box[2] - box[0], box[3] - box[1]],
            "instruction": instruction,
            "data_type": element.kind,
            "data_source": site,
            "role": element.role,
            "name": element.name,
        }
        for instruction, element in screen.targets
        for box in [element.box]
    ]


def _replace(path: Path, content: bytes) -> None:
    """Write a file that is there whole, or not at all."""
    partial = path.with_name(f"{path.name}.{os.getpid()}.partial")
    partial.write_bytes(content)
    partial.replace(path)
