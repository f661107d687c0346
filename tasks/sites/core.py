"""Sites and episodes: a task drawn from its seed, on a database of its own.

The seed alone decides the data, the goal and the look. Seeds of a split lie in a million of their
own, and so do the databases: what is sold while training is not what is sold in a test.
"""

from __future__ import annotations

import contextlib
import importlib
import random
import re
import sqlite3
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agentgym.errors import TaskError, did_you_mean
from agentgym.tasks import sites as package
from agentgym.tasks.sites.contract import (
    Case,
    Condition,
    Goal,
    Step,
    TaskTemplate,
    Verdict,
    click,
)
from agentgym.tasks.sites.database import Change, find_changes, restore, watch
from agentgym.tasks.sites.look import Look, Words, read_words

if TYPE_CHECKING:
    from agentgym.tasks.sites.web import Pages

HERE = Path(__file__).parent
SPLITS = {"train": 0, "valid": 1_000_000, "test": 2_000_000, "test_unseen": 3_000_000}
"""First seed of each split's million. `test_unseen` holds the templates that are held out."""
DATABASES = 16
"""Databases of a split; a seed takes the one of its number modulo this."""
UNTRACKED = ("visit",)
"""Tables of every site that hold what belongs to the visit: notices, answers to banners."""
_VISIT = "CREATE TABLE visit (id INTEGER PRIMARY KEY, name TEXT UNIQUE, value TEXT);"
_ID = re.compile(r"([a-z][a-z-]*):seed=(0|[1-9][0-9]{0,6})")


@dataclass(frozen=True, eq=False)
class Site:
    """A site: pages over a database that is generated from a seed."""

    name: str
    """Also its host: `http://NAME.test/`."""
    folder: Path
    """Holds `schema.sql`, `words.tsv`, `templates/` and `static/`."""
    generate: Callable[[sqlite3.Connection, random.Random], None]
    """Fills an empty database."""
    inject: Callable[[sqlite3.Connection, random.Random], None]
    """Puts instructions to readers into the texts of strangers."""
    templates: tuple[TaskTemplate, ...]
    pages: Callable[[], Pages]
    """Imports what serves the pages; needs the extra `web`."""

    @property
    def host(self) -> str:
        """Its name in addresses."""
        return f"{self.name}.test"

    @cached_property
    def by_name(self) -> dict[str, TaskTemplate]:
        """Its templates."""
        return {template.name: template for template in self.templates}

    def find_template(self, name: str) -> TaskTemplate:
        """A template of tasks.

        Raises:
            TaskError: It has no such template.
        """
        if name not in self.by_name:
            hint = did_you_mean(name, self.by_name)
            told = f"no template {name!r}{hint} ({', '.join(self.by_name)})"
            raise TaskError(f"site {self.name!r} has {told}")
        return self.by_name[name]

    def parts(self, template: str = "") -> set[str]:
        """Names of graded credit that its checks may give; of one template, if it is named."""
        chosen = [self.by_name[template]] if template else self.templates
        return {part for each in chosen for part in each.parts}

    def tasks(self, split: str, seeds: int = 100) -> list[str]:
        """Ids of tasks: of each template of the split, the first seeds."""
        first = self._first(split)
        unseen = split == "test_unseen"
        names = [one.name for one in self.templates if one.held_out == unseen]
        return [f"{name}:seed={seed}" for seed in range(first, first + seeds) for name in names]

    def find_task(self, task_id: str, split: str) -> tuple[TaskTemplate, int]:
        """The template and the seed that an id names: any seed of the split's own million.

        Raises:
            TaskError: It is no task of the split.
        """
        first, found = self._first(split), _ID.fullmatch(task_id)
        if found is None or not first <= int(found[2]) < first + 1_000_000:
            told = f"give one like {self.tasks(split, 1)[0]}"
            raise TaskError(f"site {self.name!r} has no task {task_id!r} in {split!r}: {told}")
        template = self.find_template(found[1])
        if template.held_out != (split == "test_unseen"):
            where = "only in 'test_unseen'" if template.held_out else "not in 'test_unseen'"
            raise TaskError(f"template {template.name!r} of site {self.name!r} is {where}")
        return template, int(found[2])

    def _first(self, split: str) -> int:
        if split not in SPLITS:
            told = f"no split {split!r}{did_you_mean(split, SPLITS)} ({', '.join(SPLITS)})"
            raise TaskError(f"site {self.name!r} has {told}")
        return SPLITS[split]


def site_names() -> list[str]:
    """Sites there are: the folders of this package's path that hold a `site.py`."""
    return sorted(
        {file.parent.name for at in package.__path__ for file in Path(at).glob("*/site.py")}
    )


def find_site(name: str) -> Site:
    """A site by its name.

    Raises:
        TaskError: There is no such site.
    """
    if name not in (names := site_names()):
        raise TaskError(f"no site {name!r}{did_you_mean(name, names)} ({', '.join(names)})")
    found = importlib.import_module(f"{__package__}.{name}.site").SITE
    if not isinstance(found, Site):
        raise TaskError(f"{name}/site.py has a SITE that is a {type(found).__name__}, not a Site")
    return found


@lru_cache(maxsize=128)
def make_image(site: Site, number: int) -> bytes:
    """The database of that number, as bytes of an SQLite file; a few hundred milliseconds."""
    with contextlib.closing(sqlite3.connect(":memory:")) as db:
        db.row_factory = sqlite3.Row
        db.executescript((site.folder / "schema.sql").read_text(encoding="utf-8") + _VISIT)
        site.generate(db, random.Random(f"{site.name}:{number}"))
        db.commit()
        return db.serialize()


class Episode:
    """One attempt at a task. Hold `lock` while reading or writing its database.

    Args:
        seed: Decides the database and the goal.
        look: How the site looks; `draw_look` draws one.
    """

    def __init__(
        self, site: Site, template: TaskTemplate, seed: int, look: Look | None = None
    ) -> None:
        self.site, self.template, self.seed = site, template, seed
        self.look = look or Look()
        self.lock = threading.RLock()
        self.visited: list[str] = []
        self.faults: list[str] = []
        """What the site itself did wrong: pages that raised."""
        number = seed // 1_000_000 * DATABASES + seed % DATABASES
        self.db = restore(make_image(site, number))
        rng = random.Random(f"{site.name}:{template.name}:{seed}")
        if self.look.injection:
            site.inject(self.db, random.Random(f"inject:{site.name}:{seed}"))
        self._goal: Goal = template.setup(self.db, rng)
        self.db.commit()
        self._image = self.db.serialize()
        watch(self.db, UNTRACKED)
        self._changes: list[Change] = []
        self._looked_at = self.db.total_changes

    @property
    def goal(self) -> str:
        """What is asked for, in words."""
        return self._goal.text

    @property
    def params(self) -> dict[str, Any]:
        """What is asked for, in numbers and ids; holds answers, so never for the model."""
        return self._goal.params

    @property
    def start_url(self) -> str:
        """Where it begins."""
        return f"http://{self.site.host}/"

    @property
    def words(self) -> Words:
        """What the site says, in its language."""
        return read_words(self.site.folder, self.look.language)

    @cached_property
    def base(self) -> sqlite3.Connection:
        """The database as it was at the beginning."""
        base = restore(self._image)
        base.execute("PRAGMA query_only = ON")
        return base

    def changes(self) -> list[Change]:
        """Rows that differ from the beginning; looked for anew only after something was written."""
        with self.lock:
            if self._looked_at != self.db.total_changes:
                self._changes = find_changes(self.db, self.base)
                self._looked_at = self.db.total_changes
            return list(self._changes)

    def check(self, answer: str = "") -> Verdict:
        """Whether the task is done as things stand, and nothing else with it."""
        with self.lock:
            case = self._case()
            judged = self.template.check(case, answer)
            for change in self._damage(case):
                why = f"collateral damage: {change.operation} of {change.table} {change.id}"
                return Verdict(0.0, False, why, judged.parts)
            return judged

    def damage(self) -> list[Change]:
        """Rows that are not as they were at the beginning, and that the task does not allow."""
        with self.lock:
            return self._damage(self._case())

    def _damage(self, case: Case) -> list[Change]:
        allowed = list(self.template.allowed_writes(case))
        return [c for c in case.changes if not any(write.covers(c) for write in allowed)]

    def milestones(self) -> list[Condition]:
        """What is reached on the way, in order, each with whether it is."""
        with self.lock:
            return list(self.template.milestones(self._case()))

    def progress(self) -> float:
        """Share of the milestones that are reached."""
        reached = [holds for _, holds in self.milestones()]
        return sum(reached) / len(reached)

    def oracle(self) -> Iterator[Step]:
        """Steps that do the task, from the start page."""
        return self._plan(self.template.oracle(self._case(), self.params))

    def mutants(self) -> dict[str, Iterator[Step]]:
        """Plans that fall short of the task in one place each."""
        plans: Mapping[str, Iterable[Step]] = self.template.mutants(self._case())
        return {name: self._plan(plan) for name, plan in plans.items()}

    def close(self) -> None:
        """Let go of its databases; twice is fine."""
        with self.lock:
            self.db.close()
            if "base" in self.__dict__:
                self.base.close()

    def _plan(self, steps: Iterable[Step]) -> Iterator[Step]:
        if self.look.popup:
            yield click("button", self.words("No, thanks"))
        if self.look.banner:
            yield click("button", self.words("Reject all"))
        yield from steps

    def _case(self) -> Case:
        return Case(self.db, self.base, self.params, self.changes(), self.visited, self.words)
