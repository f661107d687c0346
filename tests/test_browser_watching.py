"""Pages are watched: in the terminal, in a window, as pixels; and their pictures are kept."""

from __future__ import annotations

import asyncio
import base64
import io
import json
import os
import pty
import shutil
import struct
import subprocess
import sys
from contextlib import aclosing, contextmanager

import gymnasium as gym
import numpy as np
import pytest
from browsing import need_browser
from rich.console import Console

from agentgym.cli import main
from agentgym.cli.picture import print_pixels
from agentgym.errors import ConfigError
from agentgym.evaluate import Plan, Run
from agentgym.store import Store

ENV = "agentgym/MiniWoB-v0"
TASK = "click-test:seed=1"


@pytest.fixture(autouse=True)
def _browser():
    need_browser()


# ---------------------------------------------------------------------------- in the terminal

PLAY = [sys.executable, "-m", "agentgym.cli", "play", "--policy", "random", "--task", TASK]


def on_a_terminal(command, **env):
    """What a command writes to a terminal of 80 columns."""
    ours, theirs = pty.openpty()
    told = {**os.environ, "TERM": "xterm-256color", "COLUMNS": "80", **env}
    told.pop("NO_COLOR", None)
    process = subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=theirs, env=told)
    os.close(theirs)
    written = b""
    while True:
        try:
            part = os.read(ours, 65536)
        except OSError:  # the last one who had it open has ended
            break
        if not part:
            break
        written += part
    os.close(ours)
    assert process.wait() in (0, 1), written.decode()[-800:]
    return written.decode()


def test_a_page_is_shown_in_the_terminal_as_text_and_as_a_small_picture():
    shown = on_a_terminal([*PLAY, f"{ENV}?obs=both"], COLORTERM="truecolor")
    assert '[1] button "Click Me!"' in shown
    assert "── turn 1" in shown
    assert shown.count("▀") >= 80 * 20
    assert "\x1b[38;2;" in shown
    assert "stop: " in shown


def test_where_there_is_no_terminal_the_picture_is_named_not_drawn(capsys):
    code = main(["play", f"{ENV}?obs=both", "--policy", "random", "--task", TASK])
    shown = capsys.readouterr().out
    assert code == 0
    assert "[image 320×500×3]" in shown
    assert "▀" not in shown
    assert "\x1b" not in shown


def test_a_picture_is_drawn_with_two_pixels_a_character():
    image = np.zeros((4, 4, 3), dtype=np.uint8)
    image[:2], image[2:] = (255, 0, 0), (0, 0, 255)
    file = io.StringIO()
    target = Console(file=file, force_terminal=True, color_system="truecolor", width=4)
    print_pixels(image, target)
    lines = file.getvalue().splitlines()
    assert [line.count("▀") for line in lines] == [4, 4]
    assert "38;2;255;0;0" in lines[0]
    assert "48;2;0;0;255" in lines[1]


def test_an_episode_is_rendered_as_pixels_and_as_text():
    pixels = gym.make(ENV, render_mode="rgb_array", obs="both")
    text = gym.make(ENV, render_mode="ansi")
    try:
        shown, _ = pixels.reset(seed=1, options={"task": TASK})
        assert pixels.render().dtype == np.uint8
        assert np.array_equal(pixels.render(), shown["image"])
        after, *_ = pixels.step("wait()")
        assert np.array_equal(pixels.render(), after["image"])
        shown, _ = text.reset(seed=1, options={"task": TASK})
        assert text.render() == shown
        assert "[1] button" in shown
    finally:
        pixels.close()
        text.close()


# ---------------------------------------------------------------------------- in a window


def test_a_window_needs_a_display_and_the_error_names_it(monkeypatch, capsys):
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    with pytest.raises(ConfigError, match="DISPLAY is not set"):
        gym.make(ENV, headed=True)
    assert main(["play", ENV, "--headed", "--policy", "random"]) == 2
    told = capsys.readouterr()
    assert told.out == ""
    assert "DISPLAY" in told.err
    assert len(told.err.splitlines()) == 1


def test_a_headless_shell_opens_no_window_and_the_error_says_so(monkeypatch):
    from agentgym.sandboxes import browser

    shell = browser.Path("/usr/bin/chromium-headless-shell")
    monkeypatch.setenv("DISPLAY", ":99")
    monkeypatch.delenv("AGENTGYM_CHROMIUM", raising=False)
    monkeypatch.setattr(browser, "_candidates", lambda: iter([shell]))
    with pytest.raises(ConfigError, match="apt-get install chromium"):
        gym.make(ENV, headed=True)


def test_a_world_without_pages_has_no_window(capsys):
    assert main(["play", "agentgym/TextWorld-v0", "--headed", "--policy", "random"]) == 2
    assert "agentgym/TextWorld-v0 has no pages to show" in capsys.readouterr().err


@contextmanager
def screen(folder):
    """A display without a monitor; gives its name and what looks at its pixels."""
    ours, theirs = os.pipe()
    command = ["Xvfb", "-displayfd", str(theirs), "-screen", "0", "800x600x24", "-fbdir", folder]
    process = subprocess.Popen(
        [*command, "-nolisten", "tcp"], pass_fds=[theirs], stderr=subprocess.DEVNULL
    )
    os.close(theirs)
    try:
        with os.fdopen(ours) as file:
            number = file.readline().strip()
        assert number, "Xvfb does not start"

        def look():
            data = (folder / "Xvfb_screen0").read_bytes()
            header = struct.unpack(">25I", data[:100])
            start = header[0] + 12 * header[19]
            width, height, line = header[4], header[5], header[12]
            rows = np.frombuffer(data[start : start + line * height], dtype=np.uint8)
            return rows.reshape(height, -1)[:, : 4 * width].reshape(height, width, 4)[:, :, 2::-1]

        yield f":{number}", look
    finally:
        process.kill()
        process.wait()


@pytest.mark.slow
def test_a_browser_shows_itself_where_there_is_a_display(monkeypatch, tmp_path):
    from agentgym.sandboxes.browser import find_browser

    if shutil.which("Xvfb") is None or find_browser(headed=True) is None:
        pytest.skip("needs Xvfb and a Chromium with windows: apt-get install xvfb chromium")
    with screen(tmp_path) as (display, look):
        before = look()
        assert len(np.unique(before.reshape(-1, 3), axis=0)) <= 2, "nothing is on the display"
        monkeypatch.setenv("DISPLAY", display)
        env = gym.make(ENV, headed=True, obs="both")
        try:
            shown, _ = env.reset(seed=1, options={"task": TASK})
            assert shown["image"].shape == (320, 500, 3)
            seen = look()
            yellow = (seen[:, :, 0] > 240) & (seen[:, :, 1] > 240) & (seen[:, :, 2] < 60)
            assert yellow.sum() > 2_000, "the goal's box is on the display"
            assert env.step("click(1)")[1] == 1.0
        finally:
            env.close()


# ---------------------------------------------------------------------------- pictures are kept


def played(plan, path, resume=False):
    async def all_of_it():
        run = Run(plan, path, resume=resume)
        try:
            async with aclosing(run.stream(concurrency=2)) as stream:
                return [trajectory async for trajectory in stream]
        finally:
            run.close()

    return asyncio.run(all_of_it())


def test_pictures_are_kept_once_each_and_found_again(tmp_path, capsys):
    plan = Plan(ENV, "random", env_args={"task": "click-test-2", "obs": "both", "max_turns": 3},
                limit=2, group=3)  # fmt: skip
    path = tmp_path / "run"
    episodes = played(plan, path)
    assert len(episodes) == 6

    def pictures(of):
        for episode in of:
            yield from (turn.observation["image"] for turn in episode.turns)
            yield episode.final_observation["image"]

    shown = [np.asarray(each) for each in pictures(episodes)]
    distinct = {each.tobytes() for each in shown}
    files = sorted((path / "images").iterdir())
    assert len(files) == len(distinct) < len(shown)
    assert all(file.suffix == ".png" for file in files)

    kept = {e.key: e for e in Store.open(path).episodes()}
    for episode in episodes:
        for one, other in zip(pictures([episode]), pictures([kept[episode.key]]), strict=True):
            assert np.array_equal(np.asarray(one), np.asarray(other))
            assert other.path in files

    assert played(plan, path, resume=True) == [], "nothing is left to play"
    assert sorted((path / "images").iterdir()) == files

    assert main(["show", str(path), "--episode", "1"]) == 0
    told = capsys.readouterr().out
    first = next(Store.open(path).episodes())
    for image in pictures([first]):
        assert str(image.path) in told
        assert image.path.is_file()
    assert main(["show", str(path), "--episode", "1", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["final_observation"]["image"] == str(first.final_observation["image"].path)

    assert main(["export", str(path), "--out", str(tmp_path / "x.jsonl")]) == 0
    row = json.loads((tmp_path / "x.jsonl").read_text().splitlines()[0])
    part = next(p for m in row["messages"] if m["role"] == "user" for p in m["content"]
                if p["type"] == "image_url")  # fmt: skip
    from PIL import Image

    sent = base64.b64decode(part["image_url"]["url"].partition(",")[2])
    pixels = np.asarray(Image.open(io.BytesIO(sent)).convert("RGB"))
    assert np.array_equal(pixels, np.asarray(first.turns[0].observation["image"]))


def test_a_picture_that_was_lost_is_named_and_the_rest_is_shown(tmp_path, capsys):
    plan = Plan(ENV, "random", env_args={"task": "click-test", "obs": "both"}, limit=1)
    played(plan, tmp_path / "run")
    shutil.rmtree(tmp_path / "run" / "images")
    assert main(["show", str(tmp_path / "run"), "--episode", "1"]) == 0
    assert "images" in capsys.readouterr().out
