"""GUICursor: a cursor that is seen, moved and stopped, and what the way there is paid."""

from __future__ import annotations

import gymnasium as gym
import numpy as np
import pytest
from browsing import need_browser
from hypothesis import given, settings
from hypothesis import strategies as st
from screens import BOX, picture, pro, spot, write_pro, write_spot

from agentgym.collector import Collector, episode_keys
from agentgym.errors import ConfigError
from agentgym.policy.basic import ScriptedPolicy
from agentgym.rewards import bind, parse
from agentgym.sandboxes.picture import decode

ID = "agentgym/GUICursor-v0"
TASK = "screenspot_web:1"


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return str(write_spot(tmp_path_factory.mktemp("spot")))


def begin(data, seed=0, task=TASK, **arguments):
    env = gym.make(ID, data=data, **arguments)
    hints = {"hints": ["oracle", "admissible"]}
    return env, *env.reset(seed=seed, options={"task": task, **hints})


def drawn(image, plain):
    """Where a cursor was drawn: the corners of all that differs."""
    rows, columns = np.nonzero((image != plain).any(axis=2))
    return columns.min(), rows.min(), columns.max(), rows.max()


# ---- the cursor


def test_the_cursor_is_seen_where_it_is_with_its_tip_at_the_point(data):
    plain = decode(picture())
    env, shown, _ = begin(data)
    for x, y in ((50, 60), (200, 100), (0, 0)):
        shown, *_, info = env.step(f"move({x}, {y})")
        left, top, right, bottom = drawn(shown["image"], plain)
        assert (left, top) == (x, y)
        assert right - left <= 12
        assert bottom - top <= 19
        assert info["facts"]["pointer"] == info["facts"]["point"] == [x, y]


def test_it_starts_anywhere_but_on_the_target_by_the_seed(data):
    starts = [begin(data, seed)[2]["facts"]["point"] for seed in range(30)]
    assert starts == [begin(data, seed)[2]["facts"]["point"] for seed in range(30)]
    assert len(set(map(tuple, starts))) == 30
    for x, y in starts:
        assert 0 <= x < 400
        assert 0 <= y < 300
        assert not (BOX[0] <= x <= BOX[2] and BOX[1] <= y <= BOX[3])


def test_it_starts_in_the_middle_if_asked_as_in_the_paper(data):
    _, shown, info = begin(data, start="centre")
    assert info["facts"]["point"] == [200, 150]
    assert drawn(shown["image"], decode(picture()))[:2] == (200, 150)


def test_where_everything_is_target_it_starts_there_too(tmp_path):
    folder = write_spot(tmp_path, [spot((0, 0, 400, 300))])
    _, _, info = begin(str(folder))
    assert info["oracle"] == "click()"


@pytest.mark.parametrize(
    ("said", "where"),
    [
        ("move_by(10, -20)", [210, 130]),
        ("move_by(-1000, 0)", [0, 150]),  # no further than the edge
        ("move_by(1000, 1000)", [399, 299]),
        ("move(400, 300)", [399, 299]),
        ("move(0.25, 7.125)", [0.25, 7.125]),
    ],
)
def test_moves_are_to_a_point_or_by_so_much_and_end_at_the_edge(data, said, where):
    env, *_ = begin(data, start="centre")
    *_, info = env.step(said)
    assert info["facts"]["point"] == where


@pytest.mark.parametrize(
    ("coords", "moved", "by"),
    [
        ("pixel", "move(100, 75)", "move_by(40, 30)"),
        ("norm1000", "move(250, 250)", "move_by(100, 100)"),
        ("norm1", "move(0.25, 0.25)", "move_by(0.1, 0.1)"),
    ],
)
def test_points_are_said_in_the_convention_that_was_asked_for(data, coords, moved, by):
    env, *_ = begin(data, coords=coords)
    *_, info = env.step(moved)
    assert info["facts"]["point"] == [100, 75]
    *_, info = env.step(by)
    assert info["facts"]["point"] == pytest.approx([140, 105])


# ---- outcomes


@pytest.mark.parametrize("stop", ["click()", "done()", 'click(button="right")'])
def test_stopping_on_the_target_passes_and_elsewhere_does_not(data, stop):
    for where, passed in (((140, 230), True), ((100, 200), True), ((99, 230), False)):
        env, *_ = begin(data)
        _, reward, terminated, _, _ = env.step(f"move{where}")
        assert (reward, terminated) == (0.0, False)
        _, reward, terminated, _, info = env.step(stop)
        outcome = info["outcome"]
        assert terminated
        assert (reward, outcome.passed) == (float(passed), passed)
        assert outcome.label == ("inside" if passed else "outside")
        assert outcome.parts["inside"] == float(passed)
        assert outcome.parts["distance"] == pytest.approx(0 if passed else 1 / 400)


def test_being_there_when_the_turns_run_out_is_not_stopping_and_is_told(data):
    env, *_ = begin(data)
    ends = [env.step("move(140, 230)") for _ in range(4)]
    assert [truncated for *_, truncated, _ in ends] == [False, False, False, True]
    _, reward, terminated, _, info = ends[-1]
    assert (reward, terminated) == (0.0, False)
    assert (info["outcome"].label, info["outcome"].parts["inside"]) == ("limit", 1.0)


@pytest.mark.parametrize(
    ("said", "kind"),
    [
        ("move(401, 10)", "out_of_bounds"),
        ("move(-1, 10)", "out_of_bounds"),
        ("move(nan, 10)", "arguments"),
        ('move("a", 10)', "arguments"),
        ("move(10)", "arguments"),
        ("move_by(1e999, 0)", "arguments"),
        ("zoom(10, 10, 11, 11)", "out_of_bounds"),
        ("click(3)", "arguments"),
        ("click_at(140, 230)", "unknown_verb"),
        ("box(100, 200, 180, 260)", "unknown_verb"),
        ("", "empty"),
    ],
)
def test_what_cannot_be_done_says_why_and_moves_nothing(data, said, kind):
    env, *_ = begin(data)
    env.step("move(7, 9)")
    shown, _, terminated, _, info = env.step(said)
    assert (info["invalid"], terminated) == (kind, False), shown
    *_, info = env.step("move_by(0, 0)")
    assert info["facts"]["point"] == [7, 9]


# ---- parts of the picture


corner = st.tuples(st.floats(0, 0.4), st.floats(0.6, 1))


@settings(max_examples=40, deadline=None)
@given(corner, corner, st.floats(0, 0.99), st.floats(0, 0.99))
def test_a_move_in_a_part_is_the_same_move_in_the_whole(data, across, down, u, v):
    env, *_ = begin(data, coords="norm1")
    env.step(f"zoom({across[0]!r}, {down[0]!r}, {across[1]!r}, {down[1]!r})")
    *_, info = env.step(f"move({u!r}, {v!r})")
    wanted = [
        400 * (across[0] + u * (across[1] - across[0])),
        300 * (down[0] + v * (down[1] - down[0])),
    ]
    assert info["facts"]["point"] == pytest.approx(wanted, abs=1e-3)


def test_the_cursor_is_seen_in_a_part_and_looking_moves_nothing(data):
    env, *_ = begin(data, max_turns=9)
    env.step("move(150, 150)")
    part, *_, info = env.step("zoom(100, 100, 300, 250)")
    assert "point" not in info["facts"]
    assert info["facts"]["pointer"] == [150, 150]
    assert part["image"].shape == (300, 400, 3)
    away, *_ = env.step("move(300, 200)")  # of the part: it is shown still
    assert drawn(part["image"], away["image"])[:2] == (100, 100)
    *_, info = env.step("unzoom()")
    assert info["facts"]["pointer"] == [250, 200]


@pytest.fixture(scope="module")
def large(tmp_path_factory):
    """A screen of ScreenSpot-Pro's size."""
    size = (3840, 2160)
    row = pro((3000, 300, 3040, 330), img_size=list(size))
    folder = write_pro(tmp_path_factory.mktemp("pro"), [row])
    image = folder / "images" / "matlab_windows" / "screenshot_1.png"
    image.write_bytes(picture(size))
    return str(folder)


def test_of_a_large_screen_only_what_is_near_the_cursor_is_shown_once_it_was_moved(large):
    env, shown, info = begin(large, task="matlab_windows:1", focus=True, max_turns=9)
    assert shown["image"].shape == (2160, 3840, 3)
    shown, *_, info = env.step(info["oracle"])
    assert shown["image"].shape == (1080, 1920, 3), "1920 x 1080 pixels, in its proportions"
    assert info["facts"]["state_key"] == "3020,315,1920,0,1920,1080", "within the screen"
    *_, info = env.step("move(10, 20)")
    assert info["facts"]["point"] == [1930, 20], "of what is shown"
    *_, info = env.step("move_by(-5, 0)")
    assert info["facts"]["point"] == [1925, 20]
    shown, *_, info = env.step("unzoom()")
    assert shown["image"].shape == (2160, 3840, 3)
    *_, info = env.step(info["oracle"])
    assert env.step(info["oracle"])[1] == 1.0


def test_all_of_a_screen_is_shown_where_that_was_not_asked_for_or_it_is_small(large, data):
    env, *_ = begin(large, task="matlab_windows:1")
    assert env.step("move(10, 20)")[0]["image"].shape == (2160, 3840, 3)
    env, *_ = begin(data, focus=True)
    assert env.step("move(10, 20)")[0]["image"].shape == (300, 400, 3)


# ---- rewards


def played(data, *said):
    """An episode from the middle of the screen, and what `gui-cursor` pays for it."""
    player = Collector(
        lambda: gym.make(ID, data=data, start="centre"), ScriptedPolicy(said), concurrency=1
    )
    found = player.run(episode_keys(ID, [TASK], seeds=[0]))
    bound = bind(parse("gui-cursor"), gym.make(ID, data=data))
    return found[0], bound.score(found)[0].total


GOLDEN = {
    # (distance to the centre, half a diagonal) = .25: 1 + .1 * (1 - .25^5)
    ("move(150, 237.5)", "click()"): 0.9 * 1.0999023 + 0.1,
    # a fifth of the screen short of the box, and nearer than before
    ("move(4, 230)", "move(20, 230)", "click()"): 0.9 * 0.4 + 0.1,
    # the same, and further than before
    ("move(60, 230)", "move(20, 230)", "done()"): 0.9 * 0.1 + 0.1,
    # a tenth short when turns run out; was inside; twice at one place
    ("move(20, 230)", "move(140, 230)", "move(60, 230)", "move(60, 230)"): 0.9 * 0.6 + 0.1,
}


@pytest.mark.parametrize("said", GOLDEN)
def test_gui_cursor_pays_for_the_whole_way(data, said):
    assert played(data, *said)[1] == pytest.approx(GOLDEN[said], abs=1e-6)


def test_looking_closer_is_no_move(data):
    way = ("move(4, 230)", "move(20, 230)", "click()")
    assert (
        played(data, "zoom(0, 100, 200, 300)", "unzoom()", way[0], "click()")[1]
        == played(data, way[0], "click()")[1]
    )


def test_the_papers_spelling_is_understood(data):
    said = (
        "<think>The box is to the left.</think><answer>(60, 230)</answer>",
        "<answer>(140, 230)</answer>",
        "<answer>STOP</answer>",
    )
    env, *_ = begin(data, start="centre", speaks="gui-cursor")
    assert "click()" not in env.instructions
    for each in said:
        _, reward, terminated, _, info = env.step(each)
        assert info["invalid"] is None
    assert (reward, terminated, info["action"]) == (1.0, True, "done()")
    env, *_ = begin(data, start="centre", speaks="gui-cursor")
    *_, info = env.step("<answer>60 230</answer>")
    assert info["invalid"] == "parse"


def test_the_oracle_says_nothing_that_cannot_be_said(data):
    for actions in (["move_by", "unzoom", "done"], ["move_by", "zoom"]):
        assert begin(data, actions=actions)[2]["oracle"] is None
    env, _, info = begin(data, actions=["move", "zoom"])
    *_, info = env.step(info["oracle"])
    assert info["oracle"] is None, "it is there, and there is no way to stop"


# ---- the rest


def test_the_same_seed_and_moves_show_the_same(data):
    def seen():
        env, shown, info = begin(data, seed=3)
        steps = [env.step(said) for said in ("move(5, 5)", "zoom(0, 0, 90, 90)", "click()")]
        images = [shown["image"].tobytes(), *(step[0]["image"].tobytes() for step in steps)]
        return images, info["facts"], [step[4]["facts"] for step in steps]

    assert seen() == seen()


def test_the_model_is_told_what_it_needs_and_not_where_the_target_is(data):
    env, shown, _ = begin(data, coords="norm1000")
    assert "0 to 1000" in env.instructions
    assert "click()" in env.instructions
    for number in map(str, BOX):
        assert number not in shown["text"] + env.instructions.replace("1000", "")


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"start": "center"}, "start is 'center': give seeded or centre"),
        ({"focus": "yes"}, "focus is 'yes': give true or false"),
        ({"actions": "ground"}, "actions has 'click_at'"),
    ],
)
def test_wrong_arguments_are_refused_when_it_is_made(wrong, told):
    with pytest.raises(ConfigError, match=told):
        gym.make(ID, **wrong)


def test_an_expert_stops_on_targets_of_our_own_sites():
    need_browser()
    env = gym.make(ID)
    for task in ("shop:seed=3", "admin:seed=4"):
        _, info = env.reset(seed=0, options={"task": task, "hints": ["oracle"]})
        _, _, terminated, _, info = env.step(info["oracle"])
        assert not terminated
        assert env.step(info["oracle"])[1] == 1.0
    env.close()
