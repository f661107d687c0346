"""What worlds of pages share: a browser's session, the grammar, what is shown and recorded.

A world says where to start (`prepare`) and judges (`check`). Its coroutines run on the loop of the
browser host, which all worlds of the process share, and must not block it.
"""

from __future__ import annotations

import asyncio
import re
import weakref
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import Any, ClassVar, cast

import gymnasium as gym
import numpy as np

from agentgym.actions import Action, Call
from agentgym.actions.pointing import CONVENTIONS, Convention, View, on_page
from agentgym.actions.spellings import SPELLINGS, SpokenGrammar
from agentgym.actions.web import COORDINATES, grammar
from agentgym.env import Env
from agentgym.envs.screen import Screen, possible
from agentgym.errors import ConfigError, EnvError, InvalidAction, did_you_mean
from agentgym.sandboxes.browser import need_display
from agentgym.sandboxes.host import host
from agentgym.sandboxes.openpage import Asked, Hung
from agentgym.sandboxes.page import BrowserError, PageSettings, PageState
from agentgym.sandboxes.picture import Pixels, decode, with_cursor, with_marks
from agentgym.sandboxes.render import VIEWS, render
from agentgym.sandboxes.session import Session
from agentgym.types import Observation, Outcome, Reply, Task

SHOWN = ("text", "image", "both", "som")
"""What `obs` may be: `som` is text and an image with numbered marks."""
RESET_S, STEP_S = 60.0, 45.0
_MOST_SESSION_EPISODES = 200
"""A context is replaced after so many episodes."""
_QUOTED = re.compile(r'"([^"\n]{1,200})"')
_MOST_QUOTED = 4
_MOST_CALLS = 100


class Browsing(Env):
    """A world of pages.

    Args:
        obs: What is shown, one of `SHOWN`.
        actions: Which verbs there are: a name of `agentgym.actions.web.SUBSETS`, or a list.
        coords: How points are said: `pixel`, `norm1000` or `norm1`, of the last image.
        view: How a page is written, one of `agentgym.sandboxes.render.VIEWS`.
        max_chars: Longest text of a page.
        viewport_only: Leave out what is out of view.
        boxes: Say where elements are.
        reset: `auto` keeps the browser context between episodes where that is exact; `fresh`
            takes a new one each time.
        speaks: A spelling of `agentgym.actions.spellings.SPELLINGS` that models use; ours if "".
        max_calls: Most actions of one reply.
        headed: Show the browser in a window: to watch, where there is a display.
        **kwargs: Of `Env`.

    Raises:
        ConfigError: An argument is wrong.
    """

    metadata: ClassVar[dict[str, Any]] = {"render_modes": ["ansi", "rgb_array"], "render_fps": 2}  # type: ignore[misc]
    provides = frozenset({"url", "state_key", "events", "point", "box", "image_size", "pointer"})
    max_turns = 30
    actions: ClassVar[str] = "web"
    deadline_s: ClassVar[float] = 120.0

    def __init__(
        self,
        *,
        obs: str = "text",
        actions: str | Sequence[str] | None = None,
        coords: str = "pixel",
        view: str = "tree",
        max_chars: int = 20_000,
        viewport_only: bool = False,
        boxes: bool = False,
        reset: str = "auto",
        speaks: str = "",
        max_calls: int = 1,
        headed: bool = False,
        **kwargs: Any,
    ) -> None:
        choices: Sequence[tuple[str, str, Sequence[str]]] = (
            ("obs", obs, SHOWN),
            ("coords", coords, CONVENTIONS),
            ("view", view, tuple(VIEWS)),
            ("reset", reset, ("auto", "fresh")),
            ("speaks", speaks, ("", *SPELLINGS)),
        )
        for name, value, known in choices:
            if value not in known:
                told = ", ".join(repr(each) for each in known)
                raise ConfigError(f"{name} is {value!r}: give {told}{did_you_mean(value, known)}")
        for name, flag in (("viewport_only", viewport_only), ("boxes", boxes), ("headed", headed)):
            if not isinstance(flag, bool):
                raise ConfigError(f"{name} is {flag!r}: give True or False")
        longest = self.max_observation_chars - 10_000
        for name, number, least, most in (
            ("max_chars", max_chars, 200, longest),
            ("max_calls", max_calls, 1, _MOST_CALLS),
        ):
            if type(number) is not int or not least <= number <= most:
                raise ConfigError(f"{name} is {number!r}: give {least} to {most}")
        base = grammar(self.actions if actions is None else actions, max_calls=max_calls)
        spoken = SpokenGrammar(*base.verbs.values(), max_calls=max(max_calls, 8 if speaks else 1))
        spoken.spelling = speaks
        self.grammar = spoken
        super().__init__(**kwargs)
        self.provides = self.provides - _unsaid(obs, spoken.verbs)
        self.obs, self.coords = obs, cast("Convention", coords)
        self.view, self.max_chars, self.viewport_only, self.boxes = (
            view,
            max_chars,
            viewport_only,
            boxes,
        )
        self.fresh = reset == "fresh"
        self.headed = headed
        if headed:
            need_display()
        if obs != "text":
            space = Screen(self.max_observation_chars)
            self.observation_space = cast("gym.Space[Observation]", space)
        self.goal = ""
        """What the agent is asked to do."""
        self.gave_up = ""
        """What it said with `fail`."""
        self.page: PageState | None = None
        """The last observation."""
        self._session: Session | None = None
        self._finalizer: weakref.finalize[Any, Any] | None = None
        self._served = 0
        self._held = False
        """Whether the mouse's button is held down."""
        self._task_before: Task | None = None
        """What the session's page was opened for."""
        self._picture: Pixels | None = None

    # ---------------------------------------------------------------- what a world of pages writes

    def settings(self, task: Task) -> PageSettings:
        """What the browser shows and may do in an episode; a plain function."""
        return PageSettings()

    async def prepare(self, task: Task, session: Session) -> str:
        """Go to the first page, and return the goal."""
        raise NotImplementedError(f"{type(self).__name__} must define prepare(task, session)")

    async def check(self, session: Session, page: PageState, answer: str | None) -> Outcome | None:
        """Judge after a turn; None where the episode goes on.

        Args:
            session: The browser.
            page: What the agent is about to be shown.
            answer: What it said with `done`; `""` also when it gave up (`self.gave_up`) or ran out
                of turns; None while it goes on.
        """
        return None if answer is None else Outcome(0.0, False, "unjudged")

    def tell(self, page: PageState) -> Mapping[str, Any]:
        """More facts of a turn."""
        return {}

    def release(self) -> None:
        """Let go of what belongs to the episode; before the next, and at the end."""

    def again(self, before: Task | None, task: Task) -> bool:
        """Whether the page that is open can be kept as it is; `prepare` then starts from it."""
        return False

    # ---------------------------------------------------------------- the hooks of `Env`

    async def begin(self, task: Task) -> Reply:
        """Prepare, and show the first page."""
        return await host().run(self._begin(task), RESET_S, f"reset of {task.id}")

    async def respond(self, action: Action) -> Reply:
        """Carry out, and show what came of it."""
        return await host().run(self._respond(action), STEP_S, f"step {str(action)[:60]!r}")

    async def judge(self) -> Outcome:
        """Ask `check` as if the agent had said that it is done."""
        return await host().run(self._judge(), STEP_S, "judging")

    async def aclose(self) -> None:
        """Close the browser context."""
        await super().aclose()
        self.release()
        if self._session is not None:
            session, self._session = self._session, None
            if self._finalizer is not None:
                self._finalizer.detach()
            host().let_go(session)

    def render(self) -> Any:
        """The last image in mode `rgb_array`, text in mode `ansi`."""
        if self.render_mode == "rgb_array":
            if self._picture is None and self._session is not None and self.page is not None:
                if self.page.dialog:
                    self._picture = self._grey(self._session)
                else:
                    png = host().run_now(self._session.screenshot(), STEP_S, "a picture")
                    self._picture = decode(png)
            return self._picture
        return super().render()

    # ---------------------------------------------------------------- on the host's loop

    async def _begin(self, task: Task) -> Reply:
        self.release()
        self.gave_up = ""
        before, self._task_before = self._task_before, None
        session = await self._ready(task, before)
        session.coords = self.coords
        session.show(None)
        try:
            self.goal = await self.prepare(task, session)
            with suppress(Asked):  # it is shown, and can be answered
                await session.point_home()
                await session.settle(0, known=True)
        except Hung as error:
            raise BrowserError("page_hung", f"the first page of {task.id} hangs") from error
        except InvalidAction as error:
            raise EnvError(f"the first page of {task.id} cannot be opened: {error}") from error
        self._task_before = task
        self._served += 1
        return Reply(await self._look(session, ()), facts=self._facts(session, ()))

    async def _ready(self, task: Task, before: Task | None) -> Session:
        """A session for the episode: the one that is there, or another."""
        settings = replace(self.settings(task), headed=self.headed)
        session = self._session
        if session is not None:
            worn = self.fresh or session.closed or self._served >= _MOST_SESSION_EPISODES
            worn = worn or self._held
            kept = session.settings
            alike = kept.hosts == settings.hosts and kept.viewport == settings.viewport
            alike = alike and (kept.clock, kept.css, kept.seed) == (
                settings.clock,
                settings.css,
                settings.seed,
            )
            if not worn and alike and not (session.pages and session.page.broken.done()):
                if self.again(before, task) and len(session.pages) == 1 and not session.dialog:
                    session.begin_anew()
                    return session
                try:
                    await session.renew(settings)
                except Exception:
                    worn = True
                else:
                    return session
            self._session = None
            await session.close()
        session = await host().lease(settings)
        self._served, self._held = 0, False
        self._session = session
        if self._finalizer is not None:
            self._finalizer.detach()
        self._finalizer = weakref.finalize(self, _let_go, weakref.ref(session))
        self._finalizer.atexit = False
        return session

    async def _respond(self, action: Action) -> Reply:
        session = self._need_session()
        told: list[str] = []
        answer: str | None = None
        said: Mapping[str, Any] = {}
        view = session.view  # of the image that the model saw, whatever it has shown since
        for done, call in enumerate(action.calls):
            try:
                said = _pointed(call, view) or said
                told += await session.act(on_page(call, view))
            except InvalidAction as error:
                if not done:
                    facts = {**self._facts(session, told), **error.facts}
                    raise InvalidAction(error.kind, error.message, facts) from error
                told.append(f"{call.verb}: {error.message}")
                break
            if call.verb in ("mouse_down", "mouse_up"):
                self._held = call.verb == "mouse_down"
            if call.verb in ("done", "fail", "box"):
                answer = call.arguments.get("answer", "")
                self.gave_up = call.arguments.get("reason", "") or (
                    "gave up" if call.verb == "fail" else ""
                )
                break
        shown = await self._look(session, told)
        page = cast("PageState", self.page)
        outcome = await self.check(session, page, answer)
        facts = {**self._facts(session, told), **said}
        return Reply(shown, outcome, facts, {"page": page})

    def _need_session(self) -> Session:
        if self._session is None:
            raise ConfigError("the world was closed: reset it first")
        return self._session

    async def _look(self, session: Session, told: Sequence[str]) -> Observation:
        page = await session.observe(viewport=self.viewport_only, image=self.obs != "text")
        self.page, self._picture = page, None
        text = self._text(page, told)
        if self.obs == "text":
            return text
        if page.dialog and session.last is None:
            return text
        if not page.dialog:
            png = await session.screenshot()
            whole = session.view.region[2:] == session.settings.viewport
            marked = self.obs == "som" and whole
            drawing = partial(with_marks, png, page.rows) if marked else partial(decode, png)
            picture = await asyncio.to_thread(drawing)
            if "move" in self.grammar.verbs:
                x, y = session.view.to_pixels(*session.pointer)
                picture = with_cursor(picture, x, y)
            self._picture = picture
        else:
            self._picture = self._grey(session)
        return {"text": text, "image": self._picture}

    @staticmethod
    def _grey(session: Session) -> Pixels:
        """Instead of a picture, which cannot be taken while a question is open."""
        width, height = session.settings.viewport
        return np.full((height, width, 3), 128, dtype=np.uint8)

    def _text(self, page: PageState, told: Sequence[str]) -> str:
        parts = [f"Goal: {self.goal}"] if self.goal else []
        if len(page.tabs) > 1:
            listed = (f"{i}{'*' if i == page.tab else ''} {t.url}" for i, t in enumerate(page.tabs))
            parts.append(f"Tabs: {'; '.join(listed)}")
        parts += [*page.events, *told]
        if page.dialog:
            parts.append(f"A question is open: {page.dialog}")
        elif self.obs != "image":
            _, down, width, height = page.scroll
            title = f" {page.title}" if page.title else ""
            parts.append(f"Page:{title} {page.url}")
            if height > page.size[1] + 1 or width > page.size[0] + 1:
                seen = f"{down} to {down + page.size[1]} of {height}"
                parts.append(f"Scrolled: {seen} pixels")
            parts.append(render(page, self.view, max_chars=self.max_chars, boxes=self.boxes))
        text = "\n".join(parts)
        return text.encode("utf-8", "replace").decode()[: self.max_observation_chars]

    def _facts(self, session: Session, told: Sequence[str]) -> dict[str, Any]:
        page = self.page
        if page is None:
            return {}
        facts: dict[str, Any] = {"url": page.url, "state_key": page.digest}
        if page.events or told:
            facts["events"] = [*page.events, *told]
        if self.obs != "text":
            facts["image_size"] = list(session.view.size)
            facts["pointer"] = [round(v, 2) for v in session.view.to_pixels(*session.pointer)]
        return {**facts, **self.tell(page)}

    async def _judge(self) -> Outcome:
        if self._session is None or self.page is None:
            return Outcome(0.0, False, "limit")
        outcome = await self.check(self._session, self.page, "")
        return outcome or Outcome(0.0, False, "limit")

    # ---------------------------------------------------------------- hints

    def admissible(self) -> list[Action]:
        """Calls that can be carried out on the page that is shown.

        Of what may be typed, there is what the goal quotes.
        """
        if self.page is None or self._session is None:
            return []
        quoted = list(dict.fromkeys(_QUOTED.findall(self.goal)))[:_MOST_QUOTED]
        view = self._session.view
        return list(possible(self.page, self.grammar, view, quoted or ["text"]))


def _unsaid(obs: str, verbs: Collection[str]) -> set[str]:
    """Facts that there will be none of."""
    unsaid = {"image_size", "pointer"} if obs == "text" else set()
    if not any(verb in verbs for verb in COORDINATES if verb not in ("zoom", "box")):
        unsaid.add("point")
    return unsaid if "box" in verbs else unsaid | {"box"}


def _pointed(call: Call, view: View) -> dict[str, Any]:
    """Where the model pointed, in pixels of the image it saw."""
    pairs = COORDINATES.get(call.verb)
    if not pairs or call.verb == "zoom":
        return {}
    points = [view.to_pixels(*view.to_page(call.arguments[x], call.arguments[y])) for x, y in pairs]
    flat = [round(value, 3) for point in points for value in point]
    return {"box": flat} if call.verb == "box" else {"point": flat[-2:]}


def _let_go(kept: weakref.ref[Session]) -> None:
    session = kept()
    if session is not None:
        host().let_go(session)
