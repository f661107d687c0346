"""The conformance kit: sound worlds pass, and for each check there is a world that fails it."""

import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import gymnasium as gym
import pytest
from broken import BREAKS

import agentgym
from agentgym import registry
from agentgym.errors import ConfigError, RegistryError
from agentgym.testing import Check, Report, conform
from agentgym.testing.checks import CHECKS
from agentgym.testing.rehearsal import Subject, mean_score

EXAMPLE = Path(__file__).parent.parent / "examples" / "guess_number.py"


@pytest.mark.parametrize(
    ("id", "skipped"),
    [
        ("counting/Counter-v0", set()),
        ("counting/ThreadCounter-v0", set()),
        ("counting/ProcessCounter-v0", set()),
        ("counting/AsyncCounter-v0", {"snapshots", "hosts"}),
    ],
)
def test_a_sound_world_passes(id: str, skipped: set[str]) -> None:
    report = conform(id, seeds=8)
    assert not report.failures
    assert report.ok
    assert {check.name for check in report.checks if check.status == "skip"} == skipped
    assert [check.name for check in report.checks] == list(CHECKS)


@pytest.mark.parametrize("dialect", ["call", "tags", "json", "tools"])
def test_the_example_passes_in_every_dialect(dialect: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", list(sys.path))
    costly = {"leaks", "other process", "hosts"} if dialect != "call" else set()
    report = conform(
        registry.load_file(EXAMPLE), dialect=dialect, only=[c for c in CHECKS if c not in costly]
    )
    report.require()
    assert [c.name for c in report.checks if c.status == "skip"] == ["admissible"]


def test_the_example_is_short_enough_to_be_read_at_once() -> None:
    assert len(EXAMPLE.read_text().splitlines()) < 60


@pytest.mark.parametrize("id", BREAKS)
def test_a_broken_world_fails(id: str) -> None:
    check, told = BREAKS[id]
    report = conform(id, seeds=4, only=[check])
    assert [(c.name, c.status) for c in report.checks] == [(check, "fail")]
    assert told in report.checks[0].detail
    assert "\n" not in report.checks[0].detail


def test_every_check_has_a_world_that_fails_it() -> None:
    assert {check for check, _ in BREAKS.values()} == set(CHECKS)


def test_every_check_says_what_it_asks() -> None:
    abouts = [Check(name, "pass").about for name in CHECKS]
    assert all(about.endswith(".") and "\n" not in about for about in abouts)
    assert len(set(abouts)) == len(CHECKS)


def test_a_world_that_raises_fails_with_the_line_that_raised() -> None:
    report = conform("broken/CountsWithInt-v0", seeds=1, only=["determinism"])
    assert report.ok  # nothing but letters was said
    report = conform("counting/Trouble-v0", start="fail key", only=["determinism"])
    assert report.checks[0].status == "fail"
    assert "KeyError: 'x' (counting.py:" in report.checks[0].detail


def test_a_world_of_a_package_whose_name_begins_like_ours_is_not_ours() -> None:
    file = Path(agentgym.__file__).parent.with_name("agentgym_worlds") / "rooms.py"
    theirs: dict[str, Any] = {}
    exec(compile("def fail():\n    raise KeyError('x')\n", file, "exec"), theirs)

    class Rooms(agentgym.Env):
        def begin(self, task: agentgym.Task) -> str:
            return str(theirs["fail"]())

    agentgym.register("broken/Rooms-v0", Rooms)
    report = conform("broken/Rooms-v0", only=["determinism"])
    assert "KeyError: 'x' (rooms.py:2)" in report.checks[0].detail


def test_a_world_that_exits_fails_and_does_not_take_the_kit_along() -> None:
    class Exits(agentgym.Env):
        def begin(self, task: agentgym.Task) -> str:
            sys.exit(3)

    agentgym.register("broken/Exits-v0", Exits)
    report = conform("broken/Exits-v0", only=["determinism", "oracle"])
    assert [check.status for check in report.checks] == ["fail", "fail"]
    assert "SystemExit: 3 (test_testing.py:" in report.checks[0].detail


def test_what_a_world_left_running_where_it_raised_is_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "litter.py").write_text(
        "import os, subprocess\n"
        "import agentgym\n"
        "from counting import Counter\n\n"
        "class Litter(Counter):\n"
        "    def begin(self, task):\n"
        "        if 'AGENTGYM_LEAK_CHECK' in os.environ:\n"
        "            left = subprocess.Popen(['sleep', '300'])\n"
        "            open(os.environ['LITTER'], 'w').write(str(left.pid))\n"
        "            raise RuntimeError('and off')\n"
        "        return super().begin(task)\n\n"
        "agentgym.register('broken/Litter-v0', Litter)\n"
    )
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setenv("LITTER", str(tmp_path / "pid"))
    report = conform(registry.load_file(tmp_path / "litter.py"), seeds=1, only=["leaks"])
    assert "RuntimeError: and off" in report.checks[0].detail
    status = Path("/proc") / (tmp_path / "pid").read_text() / "stat"

    def running() -> bool:
        with suppress(OSError):
            return ") Z " not in status.read_text()  # killed, and nobody asked for it yet
        return False

    until = time.monotonic() + 10
    while running() and time.monotonic() < until:
        time.sleep(0.01)
    assert not running()


def test_a_world_that_cannot_even_close_still_gets_its_report() -> None:
    class Clings(agentgym.Env):
        def close(self) -> None:
            raise OSError("stuck")

    agentgym.register("broken/Clings-v0", Clings)
    report = conform("broken/Clings-v0", only=["closing"])
    assert "OSError: stuck (test_testing.py:" in report.checks[0].detail


def test_a_report_can_be_required() -> None:
    passed, failed = Check("one", "pass"), Check("two", "fail", "it fell over: prop it up")
    Report("a/B-v0", [passed]).require()
    with pytest.raises(AssertionError) as caught:
        Report("a/B-v0", [passed, failed]).require()
    assert str(caught.value) == "a/B-v0 fails 1 of 2 checks:\n  two: it fell over: prop it up"


def test_checks_are_told_as_they_are_done() -> None:
    seen: list[Check] = []
    report = conform(
        "counting/Counter-v0?max_turns=9", seeds=1, only=["order"], on_check=seen.append
    )
    assert seen == report.checks == [Check("order", "pass")]
    assert report.env == "counting/Counter-v0?max_turns=9"


@pytest.mark.parametrize(
    ("id", "arguments", "error", "told"),
    [
        ("counting/Countre-v0", {}, RegistryError, "did you mean"),
        ("counting/Counter-v0", {"seeds": 0}, ConfigError, "seeds is 0"),
        ("counting/Counter-v0", {"only": ["oracel"]}, ConfigError, "did you mean 'oracle'"),
        ("counting/Counter-v0", {"colour": "red"}, ConfigError, "colour"),
        ("CartPole-v1", {}, ConfigError, "not an agentgym.Env: check it with gymnasium"),
    ],
)
def test_what_cannot_be_checked_is_refused(
    id: str, arguments: dict[str, Any], error: type[Exception], told: str
) -> None:
    with pytest.raises(error, match=told):
        conform(id, **arguments)


async def test_it_runs_inside_an_event_loop() -> None:
    conform("counting/Counter-v0", seeds=1, only=["asynchronous", "hosts"]).require()


def test_a_class_that_cannot_be_imported_elsewhere_is_checked_here_only() -> None:
    class Local(agentgym.Env):
        def begin(self, task: agentgym.Task) -> str:
            return "Hello."

        def respond(self, action: agentgym.Action) -> agentgym.Reply:
            return agentgym.Reply("Bye.", agentgym.Outcome(0.0, False))

    agentgym.register("broken/Local-v0", Local)
    report = conform("broken/Local-v0", only=["other process", "hosts", "leaks", "oracle"])
    assert [check.status for check in report.checks] == ["skip"] * 4
    assert "define it in a module" in report.checks[0].detail
    assert "no oracle()" in report.checks[3].detail


def test_who_plays_by_chance_draws_nothing_that_the_world_drew() -> None:
    class Doors(agentgym.Env):
        max_turns = 3

        def begin(self, task: agentgym.Task) -> str:
            self.prize = str(self.np_random.integers(8))
            return "Which?"

        def admissible(self) -> list[str]:
            return list("01234567")

        def respond(self, action: agentgym.Action) -> agentgym.Reply:
            won = agentgym.Outcome(1.0, True) if action == self.prize else None
            return agentgym.Reply("There." if won else "No.", won)

    agentgym.register("broken/Doors-v0", Doors)
    played = Subject("broken/Doors-v0", 400, {}, {}).played("chance")
    assert 0.25 < mean_score(played) < 0.41  # 1 - (7 / 8) ** 3 = 0.33


def test_the_kit_is_loaded_only_when_asked_for() -> None:
    code = "import agentgym, sys; print('agentgym.testing' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


def test_conform_leaves_no_environment_open() -> None:
    opened, closed = [], []

    class Watched(agentgym.Env):
        def begin(self, task: agentgym.Task) -> str:
            opened.append(id(self))
            return "Hello."

        def respond(self, action: agentgym.Action) -> agentgym.Reply:
            raise KeyError(action)

        def close(self) -> None:
            closed.append(id(self))
            super().close()

    agentgym.register("broken/Watched-v0", Watched)
    assert isinstance(gym.make("broken/Watched-v0"), Watched)
    assert not conform("broken/Watched-v0").ok
    assert set(opened) <= set(closed)
