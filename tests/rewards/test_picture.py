"""What a reward paid, as a picture: a real file of each kind, and what it says."""

from __future__ import annotations

import html
import re
import sys
from pathlib import Path

import numpy as np
import pytest
from episodes import episode, turn

from agentgym.errors import ConfigError, RegistryError
from agentgym.rewards import Scored, bind, parse
from agentgym.rewards.picture import save_picture

pytest.importorskip("matplotlib", reason="needs agentgym-env[plot]")

REWARD = "outcome + 0.5 * fact('a').sum() - 0.1 * fact('b').sum()"
PARTS = ("outcome", "0.5 * fact(key='a').sum()", "-(0.1 * fact(key='b').sum())")


def scored(turns: int) -> Scored:
    """`a` is worth -1, 0 and 1 in turn, and there is no `b` in every fourth."""
    facts = [{"a": i % 3 - 1, **({} if i % 4 == 0 else {"b": 1})} for i in range(turns)]
    ended = episode([turn(**each) for each in facts], 1.0)
    return bind(parse(REWARD), {"a", "b"}).score([ended])[0]


def texts(path: Path) -> list[str]:
    """What is written in an SVG."""
    return [html.unescape(each) for each in re.findall(r"<text[^>]*>([^<]*)<", path.read_text())]


def bars(path: Path) -> list[tuple[str, float, float]]:
    """Colour, top and bottom of each bar in an SVG, which counts from above."""
    found = []
    for ends, color in re.findall(
        r'<path d="([^"]*)z\s*" clip-path[^>]*style="fill: (#\w+)"', path.read_text()
    ):
        heights = [float(y) for y in re.findall(r"[ML] \S+ (\S+)", ends)]
        found.append((color, min(heights), max(heights)))
    return found


@pytest.mark.parametrize(
    ("ending", "starts"), [("svg", b"<?xml"), ("png", b"\x89PNG"), ("pdf", b"%PDF")]
)
def test_the_ending_says_what_the_file_is(tmp_path, ending, starts):
    path = tmp_path / f"paid.{ending}"
    save_picture(scored(3), path)
    once = path.read_bytes()
    assert once.startswith(starts)
    save_picture(scored(3), path)
    assert path.read_bytes() == once  # the same numbers, the same file


@pytest.mark.parametrize("turns", [1, 8, 50])
def test_it_names_every_part_and_every_turn_and_marks_what_has_no_value(tmp_path, turns):
    path, seen = tmp_path / "paid.svg", scored(turns)
    save_picture(seen, path)
    written = texts(path)
    for name in (*PARTS, "paid", "turn"):
        assert name in written
    for number in range(1, turns + 1):
        assert str(number) in written
    assert f"{seen.key}: outcome 1, paid {seen.total:+.4f}" in " ".join(written)
    assert written.count("–") == sum(int((~there).sum()) for there in seen.available.values()) > 0


def test_what_is_negative_hangs_below_zero(tmp_path):
    path, seen = tmp_path / "paid.svg", scored(3)
    save_picture(seen, path)
    drawn = bars(path)
    assert len(drawn) == 3 * len(PARTS)
    outcome, a, b = (drawn[i : i + 3] for i in range(0, 9, 3))
    zero, unit = outcome[-1][2], outcome[-1][2] - outcome[-1][1]
    for (_, top, bottom), value in zip(a, seen.parts[PARTS[1]], strict=True):
        start = zero - unit if value > 0 else zero  # the last is stacked on the outcome
        assert sorted([start, start - value * unit]) == pytest.approx([top, bottom], abs=1e-3)
    assert [bottom > zero for _, _, bottom in b] == [False, True, True]
    assert len({color for color, *_ in drawn}) == len(PARTS)


def test_an_episode_that_is_not_scored_and_parts_without_gaps_can_be_drawn(tmp_path):
    path = tmp_path / "paid.svg"
    there, values = np.ones(2, dtype=np.bool_), np.array([0.5, -0.5])
    seen = Scored(episode([turn()] * 2).key, values, {"$x$": values}, {"$x$": there}, None)
    save_picture(seen, path)
    assert "–" not in texts(path)
    assert "$x$" in texts(path)
    assert any("not scored" in each for each in texts(path))


def test_other_endings_and_a_missing_matplotlib_are_said(tmp_path, monkeypatch):
    with pytest.raises(ConfigError, match=r"a picture ends in .svg, .png, .pdf, unlike 'a.gif'"):
        save_picture(scored(1), Path("a.gif"))
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(RegistryError, match=r"pip install 'agentgym-env\[plot\]'"):
        save_picture(scored(1), tmp_path / "a.svg")
    assert not (tmp_path / "a.svg").exists()
