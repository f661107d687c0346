"""MiniWoB++: 130 small tasks on one page each, from the pages of the `miniwob` distribution."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from agentgym.envs.browsing import Browsing
from agentgym.errors import ConfigError, EnvError, TaskError, did_you_mean
from agentgym.sandboxes.host import host
from agentgym.sandboxes.page import PageSettings, PageState
from agentgym.sandboxes.serving import Folder
from agentgym.sandboxes.session import Session
from agentgym.tasks import miniwob as tasks
from agentgym.types import Outcome, Task

_VIEWPORT = (500, 320)
_UNLIMITED_MS = 1_000_000
_SERVED: list[Folder] = []


class MiniWoB(Browsing):
    """Tasks of MiniWoB++ with the goals that BrowserGym has for the same seed.

    Passed if the page's own raw reward reaches the task's threshold, 1 unless
    `agentgym.tasks.miniwob.THRESHOLDS` says otherwise; the raw reward, from -1 to 1, is
    `outcome.parts["score"]`.

    Args:
        task: One task's name, such as `"click-test"`; all if empty.
        limit_s: Seconds of the page's time that an episode may last; time passes only by steps.
        attributes: Attributes of elements that are shown, besides roles and names.
        **kwargs: Of `Browsing` and `Env`.

    Raises:
        ConfigError: No such task, or an argument is wrong.
    """

    provides = Browsing.provides | {"score"}
    splits: ClassVar[tuple[str, ...]] = tuple(tasks.FIRST_SEED)
    instructions = "A web page with a task. Do what the goal says; the page says when it is done."
    max_turns = 20

    def __init__(
        self,
        *,
        task: str = "",
        limit_s: float | None = None,
        attributes: Sequence[str] = tasks.ATTRIBUTES,
        **kwargs: Any,
    ) -> None:
        known = tasks.names()
        if not isinstance(task, str) or (task and task not in known):
            raise ConfigError(f"task is {task!r}: give one of MiniWoB's{did_you_mean(task, known)}")
        number = isinstance(limit_s, int | float) and not isinstance(limit_s, bool)
        if limit_s is not None and not (number and 0 < limit_s <= 10_000):
            raise ConfigError(f"limit_s is {limit_s!r}: give seconds, up to 10000, or None")
        named = isinstance(attributes, list | tuple)
        if not named or not all(isinstance(name, str) for name in attributes):
            raise ConfigError(f"attributes is {attributes!r}: give a list of names")
        super().__init__(**kwargs)
        self.task_name = task
        self.limit_ms = _UNLIMITED_MS if limit_s is None else round(limit_s * 1000)
        self.attributes = tuple(attributes)

    def tasks(self) -> Sequence[str]:
        """Each task with the listed seeds of the split."""
        return tasks.listed(self.split, self.task_name)

    def find_task(self, task_id: str) -> Task:
        """Any seed of the split's own million, listed or not."""
        found, first = tasks.TASK_ID.fullmatch(task_id), tasks.FIRST_SEED[self.split]
        known = [self.task_name] if self.task_name else tasks.names()
        if found is None or found[1] not in known:
            hint = did_you_mean(task_id.partition(":")[0], known)
            raise TaskError(
                f"{self._name} has no task {task_id!r}: give one like {known[0]}:seed={first}{hint}"
            )
        if not first <= int(found[2]) < first + tasks.SEEDS:
            told = f"seeds are {first} to {first + tasks.SEEDS - 1}"
            raise TaskError(f"{self._name} has no task {task_id!r} in split {self.split!r}: {told}")
        return Task(task_id, self._name, self.split)

    def settings(self, task: Task) -> PageSettings:
        """One small page, and no way out."""
        return PageSettings(
            viewport=_VIEWPORT,
            hosts=(tasks.HOST,),
            attributes=self.attributes,
            shapes=tasks.SHAPED.search(task.id) is not None,
            silent=tasks.SILENT,
            probe=tasks.PROBE,
            css=tasks.CSS,
            popups=2,
        )

    def again(self, before: Task | None, task: Task) -> bool:
        """Where an episode starts alike on a page that was used before."""
        name = task.id.partition(":")[0]
        return before is not None and before.id.partition(":")[0] == name not in tasks.RELOADED

    async def prepare(self, task: Task, session: Session) -> str:
        """Open the page unless it is open, and start an episode with the seed."""
        name, _, seed = task.id.partition(":seed=")
        url = f"http://{tasks.HOST}/miniwob/{name}.html"
        if session.page.url != url or not self._kept(session):
            if not _SERVED:
                _SERVED.append(Folder(tasks.folder()))
            host().serve(tasks.HOST, _SERVED[0])
            await session.goto(url)
            await session.forget_history()
        else:
            await session.page.read("forget()")
        goal = await session.evaluate(tasks.start(name, int(seed), self.limit_ms))
        await session.settle(known=True)
        for _ in range(20):
            if session.probed and session.probed[3]:
                return str(goal).strip()
            await session.wait(100)
        raise EnvError(f"{task.id} does not become ready")

    def _kept(self, session: Session) -> bool:
        """Whether `again` kept the page; a renewed session still shows the old one."""
        return session.page.now > 0

    async def check(self, session: Session, page: PageState, answer: str | None) -> Outcome | None:
        """What the page says; before it says anything, the agent's word is no success."""
        name, _, asked = ("" if self.task is None else self.task.id).partition(":seed=")
        done, raw, reason, _, seed = page.probe or (False, 0.0, "", True, asked)
        here = done or page.url == f"http://{tasks.HOST}/miniwob/{name}.html"
        if str(seed) != asked or not (here or answer is not None):
            return Outcome(0.0, False, "left", {"score": 0.0})
        if not done and answer is None:
            return None
        raw = float(raw or 0.0) if done else 0.0
        passed = done and raw >= tasks.THRESHOLDS.get(name, 1.0)
        label = "solved" if passed else "failed" if done else "unfinished"
        if done and reason == "timed out":
            label = "timed out"
        return Outcome(float(passed), passed, label, {"score": raw})
