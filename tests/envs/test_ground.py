"""GUIGround: answers about one screenshot, in every convention, and what they are paid."""

from __future__ import annotations

import subprocess
import sys

import gymnasium as gym
import numpy as np
import pytest
from browsing import need_browser
from hypothesis import given, settings
from hypothesis import strategies as st
from screens import BOX, OTHER, picture, spot, write_spot

from agentgym.actions import Action
from agentgym.collector import Collector, episode_keys
from agentgym.errors import ConfigError, TaskError
from agentgym.policy.basic import ScriptedPolicy
from agentgym.rewards import bind, parse
from agentgym.sandboxes.picture import decode

ID = "agentgym/GUIGround-v0"
CENTRE = (140.0, 230.0)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Two targets on one picture."""
    return str(write_spot(tmp_path_factory.mktemp("spot")))


def begin(data, **arguments):
    env = gym.make(ID, data=data, **arguments)
    hints = {"hints": ["oracle", "admissible"]}
    return env, *env.reset(seed=0, options={"task": "screenspot_web:1", **hints})


def answer(data, said, **arguments):
    env, *_ = begin(data, **arguments)
    return env.step(said)


# ---- what is shown


def test_an_episode_is_a_picture_and_an_instruction(data):
    env, shown, info = begin(data)
    assert shown["text"] == "Instruction: close this window\nImage: 400 x 300 pixels"
    assert np.array_equal(shown["image"], decode(picture()))
    assert shown in env.observation_space
    assert info["facts"] == {
        "target_box": list(BOX),
        "image_size": [400, 300],
        "elements": [list(BOX), list(OTHER)],
        "expected": {"type": "click", "box": list(BOX)},
        "kind": "icon",
        "source": "windows",
        "state_key": "0,0,400,300",
    }


def test_worlds_of_larger_images_have_another_space(data):
    space = gym.make(ID, data=data).observation_space
    assert space == gym.make(ID, data=data, split="test").observation_space
    assert space != gym.make("agentgym/MiniWoB-v0", obs="image").observation_space


def test_the_answer_is_nowhere_in_what_the_model_reads(data):
    env, shown, info = begin(data)
    assert dict(info["task"].data) == {}
    for number in map(str, BOX):
        assert number not in env.instructions + shown["text"]


def test_a_picture_that_was_shown_can_be_drawn_on_without_harm(data):
    env, shown, _ = begin(data)
    shown["image"][:] = 0
    again, _ = env.reset(options={"task": "screenspot_web:1"})
    assert np.array_equal(again["image"], decode(picture()))


@pytest.mark.parametrize(
    ("coords", "scale"), [("pixel", "pixels"), ("norm1000", "0 to 1000"), ("norm1", "0 to 1 ")]
)
def test_the_model_is_told_how_points_are_said(data, coords, scale):
    assert scale in begin(data, coords=coords)[0].instructions


# ---- outcomes


@pytest.mark.parametrize(
    ("said", "label", "parts"),
    [
        ("click_at(140, 230)", "hit", {}),
        ("click_at(100, 200)", "hit", {}),  # edges belong to boxes
        ("click_at(180, 260)", "hit", {}),
        ("click_at(99.9, 230)", "miss", {}),
        ("click_at(0, 0)", "miss", {}),
        ("click_at(400, 300)", "miss", {}),
        ('click_at(140, 230, button="right", n=2)', "hit", {}),
        ("box(100, 200, 180, 260)", "hit", {"iou": 1.0}),
        ("box(100, 200, 140, 260)", "hit", {"iou": 0.5}),
        ("box(0, 0, 400, 300)", "miss", {"iou": 0.04}),
        ("box(10, 20, 60, 40)", "miss", {"iou": 0.0}),
        ("box(180, 260, 100, 200)", "inverted", {"iou": 0.0}),
        ("box(140, 230, 140, 230)", "inverted", {"iou": 0.0}),
        ("done()", "no_answer", {}),
        ('done("there is none")', "no_answer", {}),
    ],
)
def test_an_answer_ends_the_episode_and_is_judged_by_where_it_points(data, said, label, parts):
    _, reward, terminated, truncated, info = answer(data, said)
    outcome = info["outcome"]
    assert (terminated, truncated) == (True, False)
    assert (outcome.label, outcome.passed) == (label, label == "hit")
    assert reward == outcome.score == float(label == "hit")
    assert outcome.parts == pytest.approx(parts)


MISTAKES = {
    "click_at(401, 10)": "out_of_bounds",
    "click_at(10, -1)": "out_of_bounds",
    "click_at(1e300, 10)": "out_of_bounds",
    "box(0, 0, 500, 20)": "out_of_bounds",
    "click_at(nan, 10)": "arguments",
    "click_at(1e999, 10)": "arguments",
    'click_at("left", 10)': "arguments",
    "click_at(10)": "arguments",
    "click_at()": "arguments",
    "box(1, 2, 3)": "arguments",
    "box([1, 2, 3, 4])": "arguments",
    "click_at(1, 2, n=9)": "arguments",
    "click(3)": "unknown_verb",
    "zoom(0, 0, 10, 10)": "unknown_verb",
    "": "empty",
    "the button on the left": "parse",
    "click_at(1, 2": "arguments",
}


@pytest.mark.parametrize("said", MISTAKES)
def test_what_cannot_be_an_answer_is_an_observation_that_says_why(data, said):
    shown, reward, terminated, truncated, info = answer(data, said, max_turns=2)
    assert info["invalid"] == MISTAKES[said], shown
    assert isinstance(shown, str)
    assert (reward, terminated, truncated) == (0.0, False, False)
    _, reward, terminated, truncated, info = answer(data, said)
    assert (reward, terminated, truncated) == (0.0, False, True), "one try, if nothing is said"
    assert info["outcome"].label == "limit"


def test_the_oracle_answers_with_the_target_and_its_like_are_all_possible(data):
    for coords in ("pixel", "norm1000", "norm1"):
        for actions in ("ground", ["click_at"], ["box"], ["click_at", "zoom", "unzoom"]):
            env, _, info = begin(data, coords=coords, actions=actions)
            for said in [*info["admissible"], info["oracle"]]:
                env.reset(seed=0, options={"task": "screenspot_web:1"})
                _, reward, *_, told = env.step(said)
                assert told["invalid"] is None
            assert reward == 1.0


def test_where_no_elements_are_known_answers_are_tried_over_a_grid(tmp_path):
    folder = write_spot(tmp_path, [spot()])
    _, _, info = begin(str(folder))
    assert len(info["admissible"]) == 2 * 64 + 1


# ---- points: conventions, parts of the picture


@pytest.mark.parametrize(
    ("coords", "said"),
    [
        ("pixel", "click_at(140, 230)"),
        ("norm1000", "click_at(350, 766.6667)"),
        ("norm1", "click_at(0.35, 0.7666667)"),
    ],
)
def test_points_are_recorded_in_pixels_however_they_are_said(data, coords, said):
    *_, info = answer(data, said, coords=coords)
    assert info["facts"]["point"] == pytest.approx(CENTRE, abs=1e-2)
    assert info["outcome"].passed


ZOOM = ["click_at", "box", "zoom", "unzoom"]
corner = st.tuples(st.floats(0, 0.4), st.floats(0.6, 1))
share = st.floats(0, 1)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(corner, corner), min_size=1, max_size=2), share, share)
@pytest.mark.parametrize("coords", ["pixel", "norm1000", "norm1"])
def test_a_point_of_a_part_is_the_same_point_of_the_whole(data, coords, zooms, u, v):
    """However often it was zoomed, each time by points of the last image."""
    env, shown, _ = begin(data, coords=coords, actions=ZOOM, max_turns=9)
    left, top, width, height = 0.0, 0.0, 400.0, 300.0
    for across, down in zooms:
        tall, wide = shown["image"].shape[:2]
        extent = {"pixel": (wide, tall), "norm1000": (1000, 1000), "norm1": (1, 1)}[coords]
        x1, x2 = (part * extent[0] for part in across)
        y1, y2 = (part * extent[1] for part in down)
        shown, *_, info = env.step(f"zoom({x1!r}, {y1!r}, {x2!r}, {y2!r})")
        assert info["invalid"] is None
        left, width = left + across[0] * width, (across[1] - across[0]) * width
        top, height = top + down[0] * height, (down[1] - down[0]) * height
    assert max(wide, tall) <= 400
    tall, wide = shown["image"].shape[:2]
    extent = {"pixel": (wide, tall), "norm1000": (1000, 1000), "norm1": (1, 1)}[coords]
    *_, info = env.step(f"click_at({u * extent[0]!r}, {v * extent[1]!r})")
    assert info["facts"]["point"] == pytest.approx([left + u * width, top + v * height], abs=1e-3)


def test_a_part_is_shown_larger_and_the_whole_again(data):
    env, shown, _ = begin(data, actions=ZOOM)
    part, *_, info = env.step("zoom(300, 200, 100, 100)")  # corners in any order
    assert part["text"].endswith("Image: 400 x 200 pixels, a part of the screenshot")
    assert part["image"].shape == (200, 400, 3)
    assert info["facts"]["state_key"] == "100,100,200,100"
    inner = decode(picture())[100:200, 100:300].repeat(2, axis=0).repeat(2, axis=1)
    assert np.abs(part["image"].astype(int) - inner)[4:-4, 4:-4].mean() < 20
    whole, *_ = env.step("unzoom()")
    assert np.array_equal(whole["image"], shown["image"])


def test_the_oracle_looks_at_the_whole_where_the_target_is_out_of_view(data):
    env, *_ = begin(data, actions=ZOOM)
    *_, info = env.step("zoom(0, 0, 50, 50)")
    assert info["oracle"] == "unzoom()"
    *_, info = env.step(info["oracle"])
    assert env.step(info["oracle"])[1] == 1.0


def test_nothing_is_zoomed_into_that_is_nothing(data):
    *_, info = answer(data, "zoom(10, 10, 12, 200)", actions=ZOOM)
    assert info["invalid"] == "out_of_bounds"


def test_a_zoom_that_is_refused_leaves_what_is_shown(data):
    env, *_ = begin(data, actions=ZOOM, max_turns=9)
    env.step("zoom(100, 100, 300, 250)")
    *_, info = env.step("zoom(1, 1, 2, 2)")
    assert info["invalid"] == "out_of_bounds"
    *_, info = env.step("click_at(200, 150)")
    assert info["facts"]["point"] == [200, 175]
    assert info["facts"]["state_key"] == "100,100,200,150"


@pytest.mark.parametrize(
    ("speaks", "said"),
    [
        ("ui-tars", "Thought: there. Action: click(point='<point>140 230</point>')"),
        ("coordinates", "<think>It is a box.</think> [100, 200, 180, 260]"),
        ("coordinates", "<answer>(140, 230)</answer>"),
    ],
)
def test_models_may_speak_as_they_were_taught(data, speaks, said):
    assert answer(data, said, speaks=speaks)[1] == 1.0


@pytest.mark.parametrize("speaks", ["", "coordinates", "computer_13"])
def test_one_answer_is_asked_for_and_more_are_refused_rather_than_forgotten(data, speaks):
    env, *_ = begin(data, speaks=speaks)
    assert "Answer with one action" in env.grammar.instructions()
    *_, info = env.step(Action("click_at(0, 0)\nclick_at(140, 230)"))
    assert info["invalid"] == "parse"


# ---- rewards


def paid(data, reward, said):
    player = Collector(lambda: gym.make(ID, data=data), ScriptedPolicy([said]))
    played = player.run(episode_keys(ID, ["screenspot_web:1"], seeds=[0]))
    return bind(parse(reward), gym.make(ID, data=data)).score(played)[0].total


@pytest.mark.parametrize(
    ("said", "point", "coverage"),
    [
        ("box(100, 200, 180, 260)", 1.0, 1.0),
        ("box(120, 215, 160, 245)", 1.0, 0.8),  # half the size, each way
        ("box(180, 200, 260, 260)", np.exp(-2), np.exp(-0.5)),  # a width to the right
        ("box(180, 260, 100, 200)", 0.0, 0.0),
    ],
)
def test_gui_g2_pays_for_the_point_and_for_the_coverage(data, said, point, coverage):
    assert paid(data, "gaussian_point(of='box')", said) == pytest.approx(point)
    assert paid(data, "gaussian_coverage", said) == pytest.approx(coverage)
    assert paid(data, "gui-g2", said) == pytest.approx(point + coverage)


@pytest.mark.parametrize(
    ("reward", "said", "worth"),
    [
        ("gaussian_point", "click_at(180, 230)", np.exp(-0.5)),
        ("point_in_box", "click_at(180, 230)", 1.0),
        ("neg_distance", "click_at(140, 230)", 0.0),
        ("box_iou", "box(100, 200, 140, 260)", 0.5),
        ("action_match('ui-r1')", "click_at(140, 230)", 3.0),
        ("action_match('ui-r1')", "click_at(10, 10)", 2.0),
        ("action_match('gui-r1')", "box(100, 200, 180, 260)", 1.0),
        ("action_match('gui-r1')", "box(180, 260, 100, 200)", 0.2),  # inverted
        ("action_match('gui-r1')", "done()", 0.2),
    ],
)
def test_other_rewards_read_the_same_facts(data, reward, said, worth):
    assert paid(data, reward, said) == pytest.approx(worth)


# ---- tasks


def test_each_row_of_a_set_is_a_task_in_every_split(data):
    for split in ("train", "valid", "test"):
        env = gym.make(ID, data=data, split=split)
        assert env.tasks() == ("screenspot_web:1", "screenspot_web:2")
    with pytest.raises(TaskError, match="has no example 'screenspot_web:9'; did you mean"):
        env.reset(options={"task": "screenspot_web:9"})
    boxes = {tuple(env.reset(seed=s)[1]["facts"]["target_box"]) for s in range(12)}
    assert boxes == {BOX, OTHER}


def test_a_set_is_played_without_a_browser(data):
    program = f"""
import sys, agentgym
env = agentgym.make({ID!r}, data={data!r})
shown, info = env.reset(seed=0, options={{"hints": ["oracle"]}})
assert env.step(info["oracle"])[1] == 1.0
assert not {{"playwright", "starlette", "uvicorn", "jinja2"}} & set(sys.modules)
"""
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"coords": "norm100"}, "coords is 'norm100': .*did you mean"),
        ({"speaks": "ui-tar"}, "speaks is 'ui-tar': .*did you mean 'ui-tars'"),
        ({"site": "shpo"}, "site is 'shpo': .*did you mean 'shop'"),
        ({"data": "/no/such/folder"}, "data is '/no/such/folder', which is not there"),
        ({"actions": "web"}, "actions has 'click': a screenshot knows box, click_at"),
        ({"actions": ["clik_at"]}, "there is no action"),
        ({"max_turns": 0}, "max_turns is 0"),
        ({"data": 3}, "data is 3, which is not there"),
        ({"site": 3}, "site is 3: give"),
        ({"coords": None}, "coords is None: give"),
        ({"actions": 3}, "actions is 3: give a subset's name, or a list of verbs"),
        ({"actions": []}, r"actions is \[\]: give a subset's name"),
    ],
)
def test_wrong_arguments_are_refused_when_it_is_made(wrong, told):
    with pytest.raises(ConfigError, match=told):
        gym.make(ID, **wrong)


def test_a_set_with_a_bad_row_is_refused_by_the_row(tmp_path):
    env = gym.make(ID, data=str(write_spot(tmp_path, [spot(), spot(bbox=[500, 1, 9, 9])])))
    with pytest.raises(TaskError, match=r"screenspot_web\.json', row 2: bbox"):
        env.reset(seed=0)


def test_a_picture_of_another_size_than_it_says_is_no_task(tmp_path):
    env = gym.make(ID, data=str(write_spot(tmp_path, [spot()])))
    assert len(env.tasks()) == 1
    (tmp_path / "screenspot_imgs" / "web_1.png").write_bytes(picture((200, 100), seed=1))
    with pytest.raises(TaskError, match="is 200x100 pixels: it should be 400x300"):
        env.reset(seed=0, options={"task": "screenspot_web:1"})


def test_a_picture_that_cannot_be_read_is_no_task(tmp_path):
    env = gym.make(ID, data=str(write_spot(tmp_path, [spot()], web_1=picture()[:2000])))
    with pytest.raises(TaskError, match=r"'screenspot_web:1' cannot be read: .*truncated"):
        env.reset(seed=0)


# ---- screens of our own sites


@pytest.fixture
def sites():
    need_browser()


def test_a_seed_gives_the_same_image_and_instruction_everywhere(sites):
    shown = []
    for other in ("shop:seed=90", "admin:seed=91"):
        env = gym.make(ID)
        env.reset(seed=1, options={"task": other})
        first, info = env.reset(seed=1, options={"task": "shop:seed=17"})
        shown.append((first["text"], first["image"].tobytes(), info["facts"]))
        env.close()
    assert shown[0] == shown[1]


def test_one_site_can_be_asked_for(sites):
    env = gym.make(ID, site="shop", split="test")
    _, info = env.reset(seed=3)
    assert info["task"].id.startswith("shop:seed=2000")
    assert info["facts"]["source"] == "shop"
    with pytest.raises(TaskError, match="give one like shop:seed=2000000"):
        env.reset(options={"task": "admin:seed=2000000"})
    env.close()


def test_an_expert_hits_and_its_neighbours_are_missed(sites):
    env = gym.make(ID)
    for seed in (0, 8, 16):
        task = {"task": f"shop:seed={seed}", "hints": ["oracle", "admissible"]}
        _, info = env.reset(seed=0, options=task)
        assert env.step(info["oracle"])[1] == 1.0
        hits = 0
        for said in info["admissible"]:
            if said.startswith("click_at"):
                env.reset(seed=0, options=task)
                hits += env.step(Action(said))[1]
        assert hits == 1.0, "elements do not lie upon each other"
    env.close()
