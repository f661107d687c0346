"""MiniWoB in a real browser: goals, outcomes, resets, what is shown, and policies that solve it."""

from __future__ import annotations

import asyncio
import contextlib
import random
import time

import gymnasium as gym
import numpy as np
import pytest
from browsing import need_browser
from miniwob_policies import POLICIES, Seen

from agentgym.actions import Action
from agentgym.errors import ConfigError, RewardError, TaskError
from agentgym.rewards import bind, parse
from agentgym.sandboxes.host import host
from agentgym.tasks import miniwob


@pytest.fixture(autouse=True)
def _browser():
    need_browser()


@pytest.fixture(scope="module")
def env():
    need_browser()
    made = gym.make("agentgym/MiniWoB-v0")
    yield made
    made.close()


def start(env, name, seed=3, hints=()):
    task = f"{name}:seed={seed}"
    return env.reset(seed=seed, options={"task": task, "hints": list(hints)})


def play(env, name, seed, policy):
    shown, info = start(env, name, seed)
    memory, seen = {}, [shown]
    while True:
        shown, reward, terminated, truncated, info = env.step(policy(Seen(shown, memory)))
        seen.append(shown)
        if terminated or truncated:
            return reward, info, seen


# ---------------------------------------------------------------------------- tasks and goals


def test_all_tasks_of_the_wheel_are_there(env):
    assert len(miniwob.names()) == 130
    assert len(env.tasks()) == 130 * 20
    assert env.tasks()[0] == "ascending-numbers:seed=0"


GOALS = {
    "click-test": "Click the button.",
    "click-checkboxes": "Select Gh and click Submit.",
    "login-user": 'Enter the username "kenda" and the password "Ttlh" into the text fields'
    " and press login.",
    "enter-date": "Enter 01/29/2010 as the date and hit submit.",
    "email-inbox-nl-turk": "Forward Anitra's e-mail to Loralyn.",
}
"""What BrowserGym's seed 3 asks for."""


@pytest.mark.parametrize("name", GOALS)
def test_goals_are_those_of_the_seed(env, name):
    shown, _ = start(env, name)
    assert shown.splitlines()[0] == f"Goal: {GOALS[name]}"
    assert start(env, name)[0] == shown


def test_the_seed_of_the_page_is_the_one_that_browsergym_draws():
    assert miniwob.page_seed(3) == np.random.RandomState(3).randint(0, 1_000_000) == 71530
    assert "Math.seedrandom(71530)" in miniwob.start("click-test", 3, 1000)


@pytest.mark.parametrize(
    "task", ["nope:seed=1", "click-test", "click-test:seed=01", "click-test:seed=1000000", ""]
)
def test_a_task_that_does_not_exist_is_refused(env, task):
    with pytest.raises(TaskError):
        env.reset(options={"task": task})


def test_arguments_that_make_no_sense_are_refused():
    for wrong in (
        {"task": "click-tets"},
        {"limit_s": 0},
        {"obs": "video"},
        {"actions": "wep"},
        {"coords": "percent"},
        {"view": "xml"},
        {"reset": "never"},
        {"speaks": "klingon"},
        {"max_chars": 10},
    ):
        with pytest.raises(ConfigError):
            gym.make("agentgym/MiniWoB-v0", **wrong)


WRONG_TYPES = {
    "obs": [3, None, ["text"]], "actions": [3, [3], {"click": 1}, [["click"]]],
    "coords": [3, None], "view": [3, []], "max_chars": ["500", None, 500.5, True],
    "viewport_only": ["no", 1], "boxes": ["no", 1], "headed": ["no", 1], "reset": [True],
    "speaks": [3], "max_calls": ["2", 0, 2.5, True], "task": [3, None, ["click-test"]],
    "limit_s": ["5", [5], True, float("nan")], "attributes": ["id", 3, None, [3]],
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG_TYPES)
def test_an_argument_of_a_wrong_type_is_refused_by_name(name):
    for value in WRONG_TYPES[name]:
        with pytest.raises(ConfigError, match=rf"^{name} is .*give"):
            gym.make("agentgym/MiniWoB-v0", **{name: value})


# ---------------------------------------------------------------------------- outcomes


def test_the_page_decides_and_pays_once(env):
    _, info = start(env, "click-test", hints=["admissible"])
    assert info["admissible"] == ["click(1)", "wait()", "done()"]
    _, reward, terminated, truncated, info = env.step("click(1)")
    assert (reward, terminated, truncated) == (1.0, True, False)
    assert info["outcome"].label == "solved"
    assert info["outcome"].parts == {"score": 1.0}


def test_a_wrong_click_is_paid_nothing_and_scored_minus_one(env):
    start(env, "click-test-2")
    _, reward, terminated, _, info = env.step("click(2)")
    assert (reward, terminated) == (0.0, True)
    assert info["outcome"].parts == {"score": -1.0}


@pytest.mark.parametrize("times", [2, 3])
def test_a_click_too_many_decides_nothing_and_starts_no_other_task(env, times):
    for task, number, score in (("click-test", 1, 1.0), ("click-test-2", 2, -1.0)):
        start(env, task)
        _, reward, terminated, _, info = env.step(f"click({number}, n={times})")
        assert (reward, terminated) == (max(score, 0.0), True)
        assert info["outcome"].parts == {"score": score}


def test_no_other_task_is_started_in_the_same_reply():
    with contextlib.closing(gym.make("agentgym/MiniWoB-v0", actions="all", max_calls=3)) as world:
        start(world, "click-test-2")
        wrong, right = next(world.page.find("button", "TWO")), next(world.page.find("button", "ON"))
        said = "click_at({}, {})".format(*right.box[:2])
        _, reward, terminated, _, info = world.step(f"click({wrong.id})\n{said}\n{said}")
        assert (reward, terminated, info["outcome"].label) == (0.0, True, "failed")


def test_saying_that_it_is_done_does_not_make_it_so(env):
    for said in ("done()", 'fail("too hard")', 'done("yes")'):
        start(env, "click-test")
        _, reward, terminated, _, info = env.step(said)
        assert (reward, terminated, info["outcome"].label) == (0.0, True, "unfinished")


def test_a_part_of_the_reward_is_no_success(env):
    shown, _ = start(env, "click-checkboxes-soft", 5)
    boxes = [x.id for x in Seen(shown, {}).all("checkbox")]
    for box in boxes[:1]:
        env.step(f"click({box})")
    _, reward, terminated, _, info = env.step(Seen(shown, {}).submit())
    raw = info["outcome"].parts["score"]
    assert terminated
    assert reward == (1.0 if raw >= 1 else 0.0)


def test_time_passes_only_by_steps():
    env = gym.make("agentgym/MiniWoB-v0", limit_s=2)
    try:
        start(env, "click-test")
        time.sleep(2.5)
        assert env.step("wait(100)")[2] is False
        _, _, terminated, _, info = env.step("wait(2000)")
        assert terminated
        assert info["outcome"].label == "timed out"
    finally:
        env.close()


def test_turns_run_out(env):
    short = gym.make("agentgym/MiniWoB-v0", max_turns=2)
    try:
        start(short, "click-test")
        short.step("wait()")
        _, reward, terminated, truncated, info = short.step("wait()")
        assert (reward, terminated, truncated) == (0.0, False, True)
        assert info["outcome"].label == "unfinished"
    finally:
        short.close()


def test_a_page_cannot_be_left(env):
    start(env, "click-test")
    for said, kind in (
        ('goto("http://example.com/")', "blocked_url"),
        ('goto("file:///etc/passwd")', "blocked_url"),
        ("back()", "no_history"),
        ('new_tab("file:///etc/passwd")', "blocked_url"),
    ):
        _, _, terminated, _, info = env.step(said)
        assert (info["invalid"], terminated) == (kind, False)
        assert info["facts"]["url"] == "http://miniwob.test/miniwob/click-test.html"


def test_leaving_for_another_task_ends_the_episode(env):
    start(env, "click-test")
    out = env.step('goto("http://miniwob.test/miniwob/click-test-2.html")')
    assert out[2]
    assert out[4]["outcome"].label == "left"


def test_a_page_that_is_loaded_again_starts_no_task_that_pays():
    """Its own tasks are the same every time: one could be learnt by heart and played for all."""
    with contextlib.closing(gym.make("agentgym/MiniWoB-v0", actions="all")) as world:
        start(world, "enter-text")
        for again in ("reload()", 'new_tab("http://miniwob.test/miniwob/enter-text.html")'):
            start(world, "enter-text")
            _, reward, terminated, _, info = world.step(again)
            assert (reward, terminated, info["outcome"].label) == (0.0, True, "left"), again


# ---------------------------------------------------------------------------- resets


def test_a_second_episode_on_the_same_page_starts_like_the_first(env):
    fresh = gym.make("agentgym/MiniWoB-v0", reset="fresh")
    try:
        for name in ("login-user", "click-checkboxes", "book-flight", "use-autocomplete"):
            expected, info = start(fresh, name, 7)
            start(env, name, 4, ["admissible"])
            env.step("click(1)")
            shown, again = start(env, name, 7)
            assert shown == expected, name
            assert again["facts"] == info["facts"]
    finally:
        fresh.close()


@pytest.mark.parametrize("left", ["click(1)", "hover(1)", "hover(1)\nmouse_down()"])
def test_where_the_pointer_was_left_is_forgotten(left):
    made = [gym.make("agentgym/MiniWoB-v0", obs="image", actions="all", max_calls=2, reset=reset)
            for reset in ("auto", "fresh")]  # fmt: skip
    listen = "(() => { onmousemove = (e) => { held = e.buttons; }; held = null; return 1; })()"
    seen = []
    try:
        start(made[0], "click-test", 7)
        made[0].step(left)
        for world in made:
            seen.append(start(world, "click-test", 7)[0]["image"].tobytes())
            host().run_now(world._session.evaluate(listen), 20, "listening")
            world.step("move(5, 5)")
            assert host().run_now(world._session.evaluate("held"), 20, "asking") == 0
    finally:
        for world in made:
            world.close()
    assert seen[0] == seen[1]


def test_the_same_actions_give_the_same_episode(env):
    def episode(seed):
        _, info = start(env, "login-user", seed, ["admissible"])
        rng, seen = random.Random(seed), []
        for _ in range(6):
            shown, _, terminated, _, info = env.step(rng.choice(info["admissible"]))
            seen.append((shown, info["facts"]))
            if terminated:
                break
        return seen

    assert episode(2) == episode(2)


# ---------------------------------------------------------------------------- what is shown


def test_an_image_world_shows_pixels_and_takes_points():
    env = gym.make(
        "agentgym/MiniWoB-v0", task="click-test", obs="both", actions="gui", coords="norm1000"
    )
    try:
        shown, info = env.reset(seed=1)
        assert shown in env.observation_space
        assert shown["image"].shape == (320, 500, 3)
        assert info["facts"]["image_size"] == [500, 320]
        row = next(env.page.find("button"))
        x, y = (row.box[0] + row.box[2]) / 2, (row.box[1] + row.box[3]) / 2
        said = f"click_at({x / 500 * 1000}, {y / 320 * 1000})"
        _, reward, *_, info = env.step(said)
        assert reward == 1.0
        assert info["facts"]["point"] == pytest.approx([x, y], abs=0.01)
    finally:
        env.close()


def test_points_after_a_zoom_are_points_of_the_part_that_is_shown():
    env = gym.make("agentgym/MiniWoB-v0", task="click-test", obs="image", actions="gui")
    try:
        env.reset(seed=1)
        left, top, right, bottom = next(env.page.find("button")).box
        shown, *_ = env.step(f"zoom({left - 10}, {top - 10}, {right + 10}, {bottom + 10})")
        height, width = shown["image"].shape[:2]
        assert (width, height) != (500, 320) or right - left > 400
        assert env.step(f"click_at({width / 2}, {height / 2})")[1] == 1.0
    finally:
        env.close()


def test_points_of_one_reply_are_all_of_the_image_that_was_seen():
    world = gym.make("agentgym/MiniWoB-v0", obs="image", actions="gui", max_calls=2)
    with contextlib.closing(world):
        start(world, "click-test")
        left, top, right, bottom = next(world.page.find("button")).box
        x, y = (left + right) / 2, (top + bottom) / 2
        _, reward, *_, info = world.step(f"zoom(0, 0, 60, 60)\nclick_at({x}, {y})")
        assert (reward, info["facts"]["point"]) == (1.0, [x, y])


@pytest.mark.parametrize("coords", ["pixel", "norm1000", "norm1"])
def test_hints_point_in_the_convention_of_the_world_and_hit(coords):
    env = gym.make("agentgym/MiniWoB-v0", obs="both", actions="gui", coords=coords)
    try:
        largest = {"pixel": 500, "norm1000": 1000, "norm1": 1}[coords]
        _, info = start(env, "click-test", 1, ["admissible"])
        (click,) = [text for text in info["admissible"] if text.startswith("click_at(")]
        x, y = (float(part) for part in click[9:-1].split(", "))
        assert 0 < min(x, y) < max(x, y) < largest
        assert env.step(click)[1] == 1.0

        _, info = start(env, "click-test", 1, ["admissible"])
        right, bottom = 0.8 * largest, 0.8 * (320 if coords == "pixel" else largest)
        _, _, _, _, info = env.step(f"zoom(0, 0, {right}, {bottom})")
        (closer,) = [text for text in info["admissible"] if text.startswith("click_at(")]
        assert closer != click, "points are of the part that is shown"
        assert env.step(closer)[1] == 1.0
    finally:
        env.close()


@pytest.mark.parametrize(("coords", "across", "down"), [("norm1000", 1000, 1000), ("norm1", 1, 1)])
def test_points_are_said_as_asked_for_where_no_image_is_shown(coords, across, down):
    world = gym.make("agentgym/MiniWoB-v0", actions="all", coords=coords)
    with contextlib.closing(world):
        start(world, "click-test")
        left, top, right, bottom = next(world.page.find("button")).box
        x, y = (left + right) / 2, (top + bottom) / 2

        *_, info = world.step(f"click_at({x / 500 * across}, {y / 320 * down})")

        assert info["outcome"].label == "solved"
        assert info["facts"]["point"] == pytest.approx([x, y], abs=1)


def test_hints_type_what_the_goal_quotes_and_choose_what_the_list_has(env):
    _, info = start(env, "login-user", 3, ["admissible"])
    filling = [text for text in info["admissible"] if text.startswith("fill(")]
    assert filling == [f'fill({i}, "{said}")' for i in (1, 2) for said in ("kenda", "Ttlh")]
    _, info = start(env, "choose-list", 3, ["admissible"])
    chosen = [text for text in info["admissible"] if text.startswith("select(")]
    assert len(chosen) >= 3
    for text in chosen:
        start(env, "choose-list", 3)
        assert env.step(text)[4]["invalid"] is None


def test_marks_are_drawn_where_elements_are():
    plain = gym.make("agentgym/MiniWoB-v0", task="click-test", obs="both")
    marked = gym.make("agentgym/MiniWoB-v0", task="click-test", obs="som")
    try:
        a, b = (each.reset(seed=1)[0]["image"] for each in (plain, marked))
        left, top, right, _ = next(marked.page.find("button")).box
        assert (a != b).any()
        ys, xs = np.nonzero((a != b).any(axis=2))
        assert left - 1 <= xs.min()
        assert xs.max() <= max(right, left + 20)
        assert top - 13 <= ys.min()
    finally:
        plain.close()
        marked.close()


def test_nothing_is_marked_on_a_part_of_the_page():
    made = [gym.make("agentgym/MiniWoB-v0", obs=obs, actions="all") for obs in ("both", "som")]
    try:
        for world in made:
            start(world, "click-test")
        plain, marked = (world.step("zoom(0, 0, 250, 160)")[0]["image"] for world in made)
        assert plain.shape == (320, 500, 3), "as large as the whole"
        assert np.array_equal(plain, marked)
    finally:
        for world in made:
            world.close()


def test_facts_are_promised_that_are_told_and_no_others():
    seen = {"point", "box", "pointer", "image_size"}
    for arguments, more in (({}, set()), ({"actions": "all", "obs": "image"}, seen)):
        with contextlib.closing(gym.make("agentgym/MiniWoB-v0", **arguments)) as world:
            assert world.provides == {"url", "state_key", "events", "score"} | more
            with pytest.raises(RewardError, match="needs the fact"):
                bind(parse("gaussian_point"), world)


def test_the_page_is_rendered_when_asked():
    env = gym.make("agentgym/MiniWoB-v0", task="click-test", render_mode="rgb_array")
    try:
        env.reset(seed=1)
        assert env.render().shape == (320, 500, 3)
    finally:
        env.close()


def test_others_spellings_play_too():
    env = gym.make("agentgym/MiniWoB-v0", task="click-test", speaks="webarena")
    try:
        env.reset(seed=1)
        _, _, _, _, info = env.step("I will ponder")
        assert info["invalid"] == "parse"
        _, reward, *_, info = env.step("```click [1]```")
        assert (reward, info["action"]) == (1.0, "click(1)")
        env.reset(seed=1)
        assert env.step(Action("click(1)"))[1] == 1.0
    finally:
        env.close()


# ---------------------------------------------------------------------------- many at once


def test_many_worlds_play_at_once_in_a_loop_that_runs():
    async def episode(seed):
        env = gym.make("agentgym/MiniWoB-v0", task="click-button")
        try:
            shown, _ = await env.areset(seed=seed)
            out = await env.astep(POLICIES["click-button"](Seen(shown, {})))
            return out[1]
        finally:
            await env.aclose()

    async def all_of_them():
        return await asyncio.gather(*[episode(seed) for seed in range(16)])

    assert asyncio.run(all_of_them()) == [1.0] * 16


def test_the_plain_face_works_inside_a_loop_that_runs(env):
    async def notebook():
        start(env, "click-test")
        return env.step("click(1)")[1]

    assert asyncio.run(notebook()) == 1.0


# ---------------------------------------------------------------------------- solving

QUICK = ["click-dialog", "login-user", "choose-list", "simple-algebra", "email-inbox-delete"]


@pytest.mark.parametrize("name", QUICK)
def test_a_policy_that_reads_the_text_solves_a_task(env, name):
    for seed in (0, 1):
        assert play(env, name, seed, POLICIES[name])[0] == 1.0


@pytest.mark.slow
def test_policies_that_read_the_text_solve_twenty_tasks_and_more(env):
    solved = [
        name
        for name, policy in POLICIES.items()
        if all(play(env, name, seed, policy)[0] == 1.0 for seed in (0, 1, 2))
    ]
    assert len(solved) >= 35, sorted(POLICIES.keys() - solved)


@pytest.mark.slow
@pytest.mark.parametrize("group", range(10))
def test_every_task_loads_and_ends(env, group):
    rng = random.Random(group)
    for name in miniwob.names()[group::10]:
        shown, info = start(env, name, 1, ["admissible"])
        assert shown.startswith("Goal: "), name
        terminated = truncated = False
        for turn in range(20):
            choice = rng.choice(info["admissible"]) if turn < 8 else Action("done()")
            shown, reward, terminated, truncated, info = env.step(choice)
            assert isinstance(shown, str)
            if terminated or truncated:
                break
        assert terminated, name
        assert 0 <= reward <= 1


@pytest.mark.slow
def test_a_reset_in_the_page_equals_a_fresh_one(env):
    fresh = gym.make("agentgym/MiniWoB-v0", reset="fresh")
    differing = []
    try:
        for name in [n for n in miniwob.names() if n not in miniwob.RELOADED][::4]:
            expected, info = start(fresh, name, 3)
            rng = random.Random(3)
            _, again = start(env, name, 5, ["admissible"])
            for _ in range(3):
                out = env.step(rng.choice(again["admissible"]))
                again = out[4]
                if out[2] or out[3]:
                    break
            shown, again = start(env, name, 3)
            if (shown, again["facts"]) != (expected, info["facts"]):
                differing.append(name)
    finally:
        fresh.close()
    assert differing == []
