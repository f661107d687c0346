"""The sites from pixels: an expert by points, where it would point, and what signals make of it."""

from __future__ import annotations

import random

import gymnasium as gym
import numpy as np
import pytest
from browsing import need_browser
from site_worlds import PLAIN, Worlds, every_template, play, task_of

from agentgym.collector import Collector, episode_keys
from agentgym.errors import ConfigError, RewardError
from agentgym.policy import open_policy
from agentgym.rewards import bind, parse

ID = "agentgym/GUI-v0"


@pytest.fixture(scope="module")
def worlds():
    need_browser()
    made = Worlds(ID)
    yield made
    made.close()


@pytest.fixture
def admin(worlds):
    return worlds(site="admin", **PLAIN)


# ---------------------------------------------------------------------------- solving

QUICK = ("shop/buy", "shop/write-review", "shop/wish-list", "admin/restock", "admin/change-role")


@pytest.mark.parametrize("name", QUICK)
def test_an_expert_passes_by_points_and_keys(worlds, name):
    _, reward, terminated, _, info = play(worlds(), task_of(name, seed=2))
    assert (reward, terminated, info["outcome"].label) == (1.0, True, "solved")


@pytest.mark.slow
@every_template
def test_an_expert_passes_every_template_by_points_and_keys(worlds, name, held_out):
    for seed in (0, 1):
        assert play(worlds.of(held_out), task_of(name, held_out, seed))[1] == 1.0


SIZES = [
    {"viewport": (800, 600), "layout": "compact", "language": "de"},
    {"viewport": (390, 844), "layout": "mirrored", "language": "fr"},
    {"viewport": (1920, 1080), "theme": "contrast", "language": "es"},
]


@pytest.mark.parametrize(("name", "look"), [*zip(QUICK[2:], SIZES, strict=True)])
def test_an_expert_passes_on_screens_of_other_sizes(worlds, name, look):
    env = worlds(interruptions=True, **look)
    assert play(env, task_of(name, seed=3))[1] == 1.0


@pytest.mark.slow
@pytest.mark.parametrize("look", SIZES, ids=lambda look: str(look["viewport"][0]))
@every_template
def test_an_expert_passes_every_template_on_screens_of_other_sizes(worlds, name, held_out, look):
    env = worlds.of(held_out, interruptions=True, **look)
    assert play(env, task_of(name, held_out, 4))[1] == 1.0


@pytest.mark.parametrize("coords", ["norm1000", "norm1"])
def test_an_expert_points_in_any_convention(worlds, coords):
    assert play(worlds(coords=coords, **PLAIN), "admin/restock:seed=1")[1] == 1.0


def test_a_list_drops_down_in_the_picture_and_is_chosen_from_by_points(admin):
    """Lists of options are part of the page: visible, and with boxes."""
    admin.reset(options={"task": "admin/restock:seed=0"})
    while admin.guide.step.verb != "select":
        admin.step(admin.oracle())
    step = admin.guide.step
    closed = admin.step("wait(0)")
    assert not [one for one in closed[4]["facts"]["elements"] if one["role"] == "option"]

    opened = admin.step(admin.oracle())
    options = {
        one["name"]: one["box"] for one in opened[4]["facts"]["elements"] if one["role"] == "option"
    }
    assert step.value in options
    left, top, right, bottom = map(int, options[step.value])
    assert (opened[0]["image"] != closed[0]["image"])[top:bottom, left:right].any()
    admin.step(admin.oracle())
    chosen = next(
        row for row in admin.page.rows if row.role == "combobox" and row.name == step.name
    )
    assert chosen.value == step.value


# ---------------------------------------------------------------------------- what it shows


def test_it_shows_an_image_and_the_goal_and_not_the_text_of_the_page(admin):
    shown, info = admin.reset(options={"task": "admin/restock:seed=0"})
    assert shown in admin.observation_space
    assert shown["image"].shape == (720, 1280, 3)
    assert shown["text"] == f"Goal: {admin.episode.goal}"
    assert info["facts"]["image_size"] == [1280, 720]


@pytest.mark.parametrize("wrong", [{"obs": "text"}, {"obs": "pixels"}])
def test_a_world_of_pixels_shows_pixels(wrong):
    with pytest.raises(ConfigError, match=r"give image, both, som; agentgym/Web-v0 shows text"):
        gym.make(ID, **wrong)


def test_addresses_cannot_be_typed(admin):
    admin.reset(options={"task": "admin/restock:seed=0"})
    for said in ('goto("http://admin.test/orders")', "click(3)", 'new_tab("http://admin.test/")'):
        assert admin.step(said)[4]["invalid"] == "unknown_verb"


def test_elements_are_those_that_a_click_would_meet(admin):
    _, info = admin.reset(options={"task": "admin/restock:seed=0"})
    elements = info["facts"]["elements"]
    names = {(one["role"], one["name"]) for one in elements}
    assert {("link", "Products"), ("link", "Orders")} <= names
    for one in elements:
        left, top, right, bottom = one["box"]
        assert 0 <= left < right <= 1280
        assert 0 <= top < bottom <= 720
    target = next(one for one in elements if one["name"] == "Orders")
    x, y = np.array(target["box"]).reshape(2, 2).mean(axis=0)
    *_, info = admin.step(f"click_at({x}, {y})")
    assert info["facts"]["url"] == "http://admin.test/orders"


def test_what_a_popup_covers_is_no_element(worlds):
    env = worlds(site="shop", **{**PLAIN, "interruptions": True})
    _, info = env.reset(options={"task": "shop/buy:seed=0"})
    names = {one["name"] for one in info["facts"]["elements"]}
    assert {"No, thanks", "Sign me up"} <= names
    assert not names & {"Account", "Orders", "Search", "Reject all"}


# ---------------------------------------------------------------------------- where to point


def test_the_target_of_a_turn_is_where_the_expert_pointed_in_the_image_it_saw(admin):
    _, info = admin.reset(options={"task": "admin/restock:seed=0"})
    pointed = 0
    start = info["facts"]
    assert start["expected"] == {"type": "click_at", "box": start["target_box"]}
    while "outcome" not in info:
        *_, info = admin.step(admin.oracle())
        facts = info["facts"]
        assert facts["expected"]["type"] == facts["performed"]["type"]
        if "point" in facts:
            pointed += 1
            left, top, right, bottom = facts["target_box"]
            assert (left + right) / 2 == pytest.approx(facts["point"][0], abs=1)
            assert (top + bottom) / 2 == pytest.approx(facts["point"][1], abs=1)
            assert facts["performed"]["point"] == pytest.approx(facts["point"], abs=0.1)
    assert pointed >= 5


@pytest.mark.parametrize(
    ("said", "way"),
    [
        ('scroll("UP")', "up"),
        ('scroll("right")', "right"),
        ("scroll(-30)", "up"),
        ("scroll_at(600, 400, 200)", "down"),
        ("scroll_at(600, 400, 0, dx=-300)", "left"),
        ("scroll_at(600, 400, 0, dx=300)", "right"),
        ("scroll_at(600, 400, -20, dx=300)", "up"),
    ],
)
def test_it_is_told_which_way_was_scrolled(admin, said, way):
    admin.reset(options={"task": "admin/restock:seed=0"})
    *_, info = admin.step(said)
    assert info["facts"]["performed"]["direction"] == way


def test_a_target_that_is_out_of_view_is_none_and_is_scrolled_to(worlds):
    env = worlds(viewport=(800, 400), **PLAIN)
    env.reset(options={"task": "admin/create-product:seed=0"})
    scrolled = 0
    while not (said := env.oracle()).startswith("done"):
        *_, info = env.step(said)
        if said.startswith("scroll"):
            assert info["facts"]["target_box"] is None
            assert info["facts"]["expected"]["direction"] in ("up", "down")
            scrolled += 1
    assert scrolled


def test_boxes_after_a_zoom_are_in_pixels_of_what_is_shown(admin):
    _, info = admin.reset(options={"task": "admin/restock:seed=0"})
    left, top, right, bottom = info["facts"]["target_box"]
    *_, info = admin.step(f"zoom({left - 10}, {top - 10}, {right + 10}, {bottom + 10})")
    assert info["invalid"] is None
    width, height = info["facts"]["image_size"]
    target = next(one for one in info["facts"]["elements"] if one["name"] == "Products")
    scale = width / (right - left + 20)
    assert target["box"] == pytest.approx(
        [10 * scale, 10 * scale, width - 10 * scale, height - 10 * scale], abs=2
    )
    x, y = np.array(target["box"]).reshape(2, 2).mean(axis=0)
    *_, info = admin.step(f"click_at({x}, {y})")
    assert info["facts"]["url"] == "http://admin.test/products"
    assert admin.oracle() == "unzoom()"


def test_the_same_actions_give_the_same_pixels(admin):
    def episode():
        rng = random.Random(3)
        shown, info = admin.reset(
            seed=1, options={"task": "admin/restock:seed=2", "hints": ["admissible"]}
        )
        seen = [shown["image"].tobytes()]
        for _ in range(5):
            listed = [one for one in info["admissible"] if not one.startswith("done")]
            shown, _, _, _, info = admin.step(rng.choice(listed))
            seen += [shown["image"].tobytes(), info["facts"]]
        return seen

    assert episode() == episode()


# ---------------------------------------------------------------------------- signals

POINTING = "outcome + 0.5 * gaussian_point.mean() + 0.1 * action_match(variant='gui-r1').mean()"


def test_signals_of_grounding_are_best_for_the_expert(worlds):
    env = worlds(site="admin", **PLAIN)
    task = "admin/restock:seed=0"
    collected = {
        name: Collector(lambda: gym.make(ID, site="admin", max_turns=12, **PLAIN), policy).run(
            episode_keys(ID, [task], seeds=[0])
        )[0]
        for name, policy in (("oracle", open_policy("oracle")), ("random", open_policy("random")))
    }
    bound = bind(parse(POINTING), env)
    scored = {name: bound.score([one])[0] for name, one in collected.items()}

    assert scored["oracle"].total == pytest.approx(1 + 0.5 + 0.1, abs=0.01)
    assert scored["random"].total < 0.8
    with pytest.raises(RewardError, match="needs the fact 'box'"):
        bind(parse("gui-g2"), env)  # nobody answers with a box here
