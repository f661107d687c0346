"""What a world of web pages costs: beside BrowserGym on the same tasks, and many at once.

    python benchmarks/web.py [--quick] [--json] [--browsergym PYTHON]

Needs `pip install 'agentgym-env[web,image]'` and a Chromium. BrowserGym is measured where PYTHON
is the interpreter of an environment that holds it, which cannot be this one, as it needs an old
Playwright:

    uv venv --python 3.11 peer
    VIRTUAL_ENV=peer uv pip install browsergym-miniwob==0.14.3 playwright==1.44

Both sides use the same browser (unless `--peer-browser` says otherwise), tasks, seeds and policies
and take turns, task by task; goals must be equal and every episode solved. Both write the page as
text, with boxes, and give a picture as an array; a reset is the way from one task to another, with
what the last one leaves closed. Times are medians of a round; figures are medians of three.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import _measure
import gymnasium as gym
from _measure import Figure
from _web_policy import POLICIES, Element, Move

import agentgym  # noqa: F401 - registers the environment
from agentgym.envs.browsing import Browsing
from agentgym.sandboxes.browser import find_browser
from agentgym.sandboxes.host import BrowserHost, host
from agentgym.sandboxes.page import PageSettings
from agentgym.sandboxes.picture import decode
from agentgym.sandboxes.render import render
from agentgym.sandboxes.serving import respond
from agentgym.sandboxes.session import Session
from agentgym.tasks import grounding, miniwob
from agentgym.tasks.sites.core import find_site, make_image, site_names
from agentgym.tasks.sites.database import restore
from agentgym.types import Task

ROUNDS = 3
SEEDS = 10
TRIES = 5
SITE = "bench.test"
WORLDS = 8
"""Further worlds whose memory is measured."""
MOST_ROWS = 1000
MOST_TARGETS = 2000
LOOKS = 10
"""How often we look at it for each two times that BrowserGym does."""
Taken = dict[str, list[float]]
"""What was measured, and the seconds it took."""


def main() -> int:
    """Measure and print the figures."""
    parser = _measure.parser(__doc__.partition("\n")[0])
    parser.add_argument("--browsergym", metavar="PYTHON", help="where BrowserGym is installed")
    parser.add_argument("--peer-browser", metavar="PATH", help="another Chromium for BrowserGym")
    options = parser.parse_args()
    figures = {**start(), **memory(), **many_at_once(1.0 if options.quick else 5.0), **hung_page()}
    figures |= {**sites(), **labelled_targets(200 if options.quick else MOST_TARGETS)}
    with contextlib.ExitStack() as stack:
        peer = None
        if options.browsergym:
            peer = stack.enter_context(_Peer.started(options.browsergym, options.peer_browser))
        else:
            print("without BrowserGym: see --browsergym in the head of this file", file=sys.stderr)
        tasks = list(POLICIES)[:: 2 if options.quick else 1]
        figures |= side_by_side(tasks, 1 if options.quick else ROUNDS, peer)
        figures |= large_page(MOST_ROWS // 5 if options.quick else MOST_ROWS, peer)
    figures["load average"] = Figure(os.getloadavg()[0], "")
    return _measure.report(figures, as_json=options.json)


# -------------------------------------------------------------------------------- side by side


class _Peer:
    """BrowserGym's process."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process

    @classmethod
    @contextlib.contextmanager
    def started(cls, python: str, browser: str | None = None) -> Iterator[_Peer]:
        pages = (miniwob.folder() / "miniwob").as_uri() + "/"
        script = str(Path(__file__).with_name("_browsergym.py"))
        command = [python, script, browser or str(find_browser()), pages]
        pipe = subprocess.PIPE
        with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True) as process:
            peer = cls(process)
            yield peer
            peer("close")
            process.communicate()

    def __call__(self, do: str, **told: Any) -> Any:
        if self.process.stdin is None or self.process.stdout is None:
            raise SystemExit("BrowserGym's process has no pipes")
        self.process.stdin.write(json.dumps({"do": do, **told}) + "\n")
        self.process.stdin.flush()
        answer = self.process.stdout.readline()
        if not answer:
            raise SystemExit(f"BrowserGym ended with code {self.process.wait()}")
        return json.loads(answer)


def side_by_side(tasks: list[str], rounds: int, peer: _Peer | None) -> dict[str, Figure]:
    """Resets and steps of both, in turn, and their ratios."""
    envs: dict[str, Any] = {
        "image": gym.make("agentgym/MiniWoB-v0", obs="both", boxes=True),
        "image, fresh context": gym.make(
            "agentgym/MiniWoB-v0", obs="both", boxes=True, reset="fresh"
        ),
        "text": gym.make("agentgym/MiniWoB-v0"),
    }
    found: list[dict[str, float]] = []
    for turn in range(-1, rounds):  # the first to warm up, with two tasks
        taken: Taken = {}
        for task in tasks if turn >= 0 else tasks[:2]:
            goals = set()
            for name, env in envs.items():
                goals.add(_play(env, f"{task}:seed={turn + 1}", taken, name))
            goals.add(_play(envs["text"], f"{task}:seed={turn + 1}", taken, "in the page"))
            if peer is not None:
                for tuned in (False, True):
                    goals.add(_play_peer(peer, tuned, task, turn + 1, taken))
            if len(goals) != 1:
                raise SystemExit(f"the goals of {task} differ: {goals}")
        if turn >= 0:
            found.append({name: statistics.median(each) for name, each in taken.items()})
    for env in envs.values():
        env.close()
    return _compared(found)


def _compared(found: list[dict[str, float]]) -> dict[str, Figure]:
    """The medians over rounds, and of each round's ratios."""
    figures = {
        name: Figure(statistics.median(each[name] for each in found) * 1e3, "ms")
        for name in found[0]
    }
    bounds = (
        ("reset, image", "reset, BrowserGym", 25.0),
        ("reset, image, fresh context", "reset, BrowserGym", None),
        ("reset, text", "reset, BrowserGym", None),
        ("reset, in the page", "reset, BrowserGym", 100.0),
        ("step, image", "step, BrowserGym", 15.0),
        ("step, image", "step, BrowserGym without sleeps", 5.0),
        ("step, text", "step, BrowserGym", 40.0),
    )
    for own, other, bound in bounds:
        if other in found[0]:
            ratio = statistics.median(each[other] / each[own] for each in found)
            figures[f"{other} over ours: {own}"] = Figure(ratio, "x", bound, lower_is_better=False)
    return figures


def _play(env: Any, task: str, taken: Taken, name: str) -> str:
    """An episode of ours; returns its goal."""
    begun = time.perf_counter()
    env.reset(options={"task": task})
    _note(taken, f"reset, {name}", begun)
    goal, policy, over = env.goal, POLICIES[task.partition(":")[0]], False
    made = 0
    while not over:
        action = _said(policy(goal, _elements(env), made))
        made += 1
        begun = time.perf_counter()
        _, reward, terminated, truncated, _ = env.step(action)
        _note(taken, f"step, {name}", begun)
        over = terminated or truncated
    if not reward:
        raise SystemExit(f"{task} was not solved: nothing was measured")
    return str(goal)


def _elements(env: Any) -> list[Element]:
    return [
        Element(row.id, row.role, row.name, "checked" in row.states)
        for row in env.page.rows
        if row.clickable
    ]


def _said(move: Move) -> str:
    if move.verb == "click":
        return f"click({move.id})"
    text = json.dumps([move.text] if move.verb == "select" else move.text)
    return f"{move.verb}({move.id}, {text})"


def _play_peer(peer: _Peer, tuned: bool, task: str, seed: int, taken: Taken) -> str:
    """The same episode of BrowserGym; once more if an action of it ran into its time limit."""
    name = "BrowserGym without sleeps" if tuned else "BrowserGym"
    for _ in range(TRIES):
        told = peer("begin", tuned=tuned, task=task, seed=seed)
        reset, goal, steps = told["seconds"], str(told["goal"]), list[float]()
        while not told["over"] and not told.get("error"):
            page = [Element(*row) for row in told["rows"] if row[1] in _ROLES]
            action = _said_to_peer(POLICIES[task](goal, page, len(steps)))
            told = peer("step", tuned=tuned, action=action)
            steps.append(told["seconds"])
        reset += peer("end", tuned=tuned)["seconds"]  # it would be busy while others are measured
        if told["solved"]:
            taken.setdefault(f"reset, {name}", []).append(reset)
            taken.setdefault(f"step, {name}", []).extend(steps)
            return goal.strip()
    raise SystemExit(f"BrowserGym did not solve {task}: {told.get('error')}")


def _said_to_peer(move: Move) -> str:
    verb = "select_option" if move.verb == "select" else move.verb
    rest = f", {move.text!r}" if move.verb != "click" else ""
    return f"{verb}({move.id!r}{rest})"


_ROLES = ("button", "checkbox", "combobox", "link", "radio", "tab", "textbox")


def _note(taken: Taken, name: str, begun: float) -> None:
    taken.setdefault(name, []).append(time.perf_counter() - begun)


# -------------------------------------------------------------------------------- pages


class _Site(Browsing):
    """A world of one page of ours."""

    page_text = ""

    def settings(self, task: Task) -> PageSettings:
        return PageSettings(hosts=(SITE,))

    async def prepare(self, task: Task, session: Session) -> str:
        async def answer(scope: Any, receive: Any, send: Any) -> None:
            await respond(send, 200, self.page_text.encode(), "text/html; charset=utf-8")

        host().serve(SITE, answer)
        await session.goto(f"http://{SITE}/")
        return ""


def hung_page() -> dict[str, Figure]:
    """From a click that never ends to the next page that can be used."""
    env = _Site()
    env.page_text = "<button onclick='while(true){}'>Hang</button>"
    taken: Taken = {}
    for _ in range(ROUNDS):
        env.reset(seed=0)
        begun = time.perf_counter()
        *_, info = env.step("click(1)")
        shown, *_ = env.step("wait(1)")
        _note(taken, "hung", begun)
        if info["invalid"] != "timeout" or "Hang" not in str(shown):
            raise SystemExit("the page did not hang, or did not recover")
    env.close()
    return {"a hung page, until it can be used": Figure(statistics.median(taken["hung"]), "s", 2.0)}


def large_page(rows: int, peer: _Peer | None) -> dict[str, Figure]:
    """A table, observed: text, boxes and a picture."""
    env = _Site(boxes=True)
    env.page_text = _table(rows)
    env.reset(seed=0)
    session = env._need_session()
    own, theirs = [], []
    with tempfile.NamedTemporaryFile("w", suffix=".html") as file:
        file.write(env.page_text)
        file.flush()
        for _ in range(ROUNDS):
            for _ in range(LOOKS):
                begun = time.perf_counter()
                state = host().run_now(session.observe(image=True), 60, "observe")
                text = render(state, max_chars=10_000_000, boxes=True)
                decode(host().run_now(session.screenshot(), 60, "a picture"))
                own.append(time.perf_counter() - begun)
            if peer is not None:
                theirs += peer("observe", url=Path(file.name).as_uri(), count=2)["seconds"]
    env.close()
    name = f"{rows} rows observed"
    took = statistics.median(own)
    figures = {name: Figure(took * 1e3, "ms"), f"{name}, text": Figure(len(text) / 1e3, "kB")}
    if peer is not None:
        figures[f"{name}, BrowserGym"] = Figure(statistics.median(theirs) * 1e3, "ms")
        figures[f"{name}: BrowserGym over ours"] = Figure(
            statistics.median(theirs) / took,
            "x",
            50.0 if rows == MOST_ROWS else None,
            lower_is_better=False,
        )
    return figures


def _table(rows: int) -> str:
    cells = "".join(
        f"<tr><td>{i}</td><td><a href='#{i}'>Order {i}</a></td><td>Customer {i % 97}</td>"
        f"<td>{i * 1.25:.2f}</td><td><button>Edit</button></td></tr>"
        for i in range(rows)
    )
    head = "<tr><th>No</th><th>Order</th><th>Customer</th><th>Sum</th><th></th></tr>"
    return f"<title>Orders</title><h1>Orders</h1><table>{head}{cells}</table>"


# -------------------------------------------------------------------------------- machines


def start() -> dict[str, Figure]:
    """From nothing to a blank page, and a second one."""
    figures = {}
    own = BrowserHost()
    for name in ("a browser and its first page", "a further context with its page"):
        begun = time.perf_counter()
        own.run_now(own.lease(PageSettings(hosts=(SITE,))), 60, "a page")
        figures[f"start, {name}"] = Figure((time.perf_counter() - begun) * 1e3, "ms")
    own.close()
    return figures


def memory() -> dict[str, Figure]:
    """The share of memory of all our processes, with one world and with more."""
    task = "login-user:seed=1"
    with contextlib.ExitStack() as stack:
        held = []
        for _ in range(WORLDS + 1):
            env: Any = gym.make("agentgym/MiniWoB-v0", obs="both")
            stack.callback(env.close)
            _play(env, task, {}, "")
            env.reset(options={"task": task})
            held.append(sum(map(_share_mb, [os.getpid(), *_below(os.getpid())])))
    return {
        "memory, one world with browser and Python": Figure(held[0], "MB"),
        "memory, a further world": Figure((held[-1] - held[0]) / WORLDS, "MB", 30.0),
    }


def many_at_once(seconds: float) -> dict[str, Figure]:
    """Steps a second of worlds that play at once in one browser, and whose processor time it is."""
    figures = {}
    for obs in ("text", "both"):
        for worlds in (1, 4, 8, 16):
            steps = asyncio.run(_for_a_time(worlds, obs, seconds))
            name = f"{worlds} at once, {'image' if obs == 'both' else obs}"
            figures[f"{name}: steps"] = Figure(
                len(steps.taken) / steps.seconds, "1/s", lower_is_better=False
            )
            slowest = statistics.quantiles(steps.taken, n=20)[-1]
            figures[f"{name}: 19 of 20 steps in"] = Figure(slowest * 1e3, "ms")
            figures[f"{name}: processor time"] = Figure(
                1e3 * steps.cpu_s / len(steps.taken), "ms/step"
            )
            figures[f"{name}: of it Python's"] = Figure(100 * steps.own_s / steps.cpu_s, "%")
    return figures


def sites() -> dict[str, Figure]:
    """What an episode of our own sites costs: its database, its reset, its steps."""
    figures = {}
    for name in site_names():
        image = make_image(find_site(name), 0)
        env: Any = gym.make("agentgym/Web-v0", site=name, obs="both")
        resets, steps, restored = [], [], []
        for seed in range(SEEDS):
            begun = time.perf_counter()
            restore(image).close()
            restored.append(time.perf_counter() - begun)
            begun = time.perf_counter()
            _, info = env.reset(seed=seed, options={"hints": ["oracle"]})
            resets.append(time.perf_counter() - begun)
            over = False
            while not over:
                begun = time.perf_counter()
                _, _, terminated, truncated, info = env.step(info["oracle"])
                steps.append(time.perf_counter() - begun)
                over = terminated or truncated
            if not info["outcome"].passed:
                raise SystemExit(f"{name}, seed {seed}: the oracle failed")
        env.close()
        figures[f"{name}: database restored"] = Figure(_median_ms(restored), "ms", 1.0)
        figures[f"{name}: reset, text and picture"] = Figure(_median_ms(resets), "ms")
        figures[f"{name}: step, text and picture"] = Figure(_median_ms(steps), "ms")
    return figures


def labelled_targets(count: int) -> dict[str, Figure]:
    """How fast labelled grounding data is made, screenshots and files included."""
    with tempfile.TemporaryDirectory() as folder:
        grounding.make(Path(folder) / "warm", count=1)
        begun = time.perf_counter()
        grounding.make(Path(folder) / "set", count=count)
        seconds = time.perf_counter() - begun
    rate = Figure(count / seconds, "1/s", 200.0, lower_is_better=False)
    return {"labelled grounding targets": rate}


def _median_ms(seconds: list[float]) -> float:
    return statistics.median(seconds) * 1e3


class _Steps:
    """What a number of worlds did."""

    def __init__(self) -> None:
        self.taken: list[float] = []
        self.seconds = self.own_s = self.cpu_s = 0.0


async def _for_a_time(worlds: int, obs: str, seconds: float) -> _Steps:
    envs: list[Any] = [
        gym.make("agentgym/MiniWoB-v0", obs=obs, boxes=obs == "both") for _ in range(worlds)
    ]
    tasks = [list(POLICIES)[i % len(POLICIES)] for i in range(worlds)]
    await asyncio.gather(
        *(
            env.areset(options={"task": f"{task}:seed=1"})
            for env, task in zip(envs, tasks, strict=True)
        )
    )
    steps = _Steps()
    below, own, begun = _below_cpu_s(), time.process_time(), time.perf_counter()

    async def play(env: Any, task: str) -> None:
        seeds = itertools.cycle(range(SEEDS))
        while time.perf_counter() < begun + seconds:
            await env.areset(options={"task": f"{task}:seed={next(seeds)}"})
            over, made = False, 0
            while not over:
                action = _said(POLICIES[task](env.goal, _elements(env), made))
                made += 1
                started = time.perf_counter()
                _, _, terminated, truncated, _ = await env.astep(action)
                steps.taken.append(time.perf_counter() - started)
                over = terminated or truncated

    await asyncio.gather(*(play(env, task) for env, task in zip(envs, tasks, strict=True)))
    steps.seconds = time.perf_counter() - begun
    steps.own_s = time.process_time() - own
    steps.cpu_s = steps.own_s + _below_cpu_s() - below
    for env in envs:
        await env.aclose()
    return steps


def _below(process: int) -> Iterator[int]:
    """The processes below one."""
    for task in Path(f"/proc/{process}/task").iterdir():
        for child in map(int, (task / "children").read_text().split()):
            yield child
            yield from _below(child)


def _below_cpu_s() -> float:
    total = 0
    for process in _below(os.getpid()):
        total += sum(
            map(int, Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[11:13])
        )
    return total / os.sysconf("SC_CLK_TCK")


def _share_mb(process: int) -> float:
    """Its own memory, and its part of what it shares."""
    lines = Path(f"/proc/{process}/smaps_rollup").read_text().splitlines()
    return next(float(line.split()[1]) for line in lines if line.startswith("Pss:")) / 1024


if __name__ == "__main__":
    sys.exit(main())
