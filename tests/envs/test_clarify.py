"""Clarify: a user whose wishes are found out by asking, with beliefs that are exact."""

from __future__ import annotations

import json
import math
from itertools import combinations

import gymnasium as gym
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agentgym.actions import Action
from agentgym.envs.clarify import DOMAINS, MOST_OFFERED, SPLITS, find_wish
from agentgym.errors import TaskError

TASKS = [f"{domain}:seed={seed}" for seed in range(60) for domain in DOMAINS]


@pytest.fixture
def env():
    made = gym.make("agentgym/Clarify-v0")
    yield made
    made.close()


def start(env, task):
    shown, info = env.reset(seed=0, options={"task": task, "hints": ["admissible", "oracle"]})
    return shown, info


def ask(env, name, *options):
    offered = f", options={json.dumps(options)}" if options else ""
    shown, _, _, _, info = env.step(Action(f"ask({json.dumps(name)}{offered})"))
    return shown, info["facts"]


def commit(env, chosen):
    choices = [f"{name}={value}" for name, value in chosen.items()]
    return env.step(Action(f"commit({json.dumps(choices)})"))


def entropy(facts):
    return math.fsum(math.log(len(facts["belief"][name])) for name in facts["relevant"])


def a_task(wanted):
    """The first task whose wish is as wanted."""
    return next(task for task in TASKS if wanted(find_wish(task)))


def plain(wish):
    return [name for name in wish.intent if name not in wish.vague]


# ---------------------------------------------------------------------------- wishes


def test_phrases_part_the_options_so_that_what_is_left_is_equally_likely():
    for attributes in DOMAINS.values():
        for phrases in attributes.values():
            listed = [option for left in phrases.values() for option in left]
            assert len(listed) == len(set(listed))
            assert len(phrases) == 2
            assert all(2 <= len(left) <= MOST_OFFERED for left in phrases.values())


def test_every_wish_has_something_vague_something_untold_and_something_that_does_not_matter():
    for task in TASKS:
        wish = find_wish(task)
        assert 1 <= len(wish.vague) <= 2
        assert plain(wish)
        assert wish.vague.keys() < wish.intent.keys() < wish.options.keys()
        for name, option in wish.intent.items():
            assert option in wish.options[name]
        for name, phrase in wish.vague.items():
            assert wish.intent[name] in DOMAINS[task.partition(":")[0]][name][phrase]


def test_every_option_is_wanted_about_equally_often():
    wishes = [find_wish(f"trip:seed={seed}") for seed in range(3_000)]
    for name in wishes[0].options:
        wanted = [wish.intent[name] for wish in wishes if name in wish.intent]
        for option in wishes[0].options[name]:
            share = wanted.count(option) / len(wanted)
            assert abs(share - 1 / len(wishes[0].options[name])) < 0.04


def test_the_first_text_tells_the_phrases_and_the_options_but_no_vague_wish(env):
    for task in TASKS[:30]:
        shown, info = start(env, task)
        wish = find_wish(task)
        said, _, listed = shown.partition("\n\n")
        for name, phrase in wish.vague.items():
            assert phrase in said.casefold()
            assert wish.intent[name] not in said
        for name, options in wish.options.items():
            assert f"- {name}: {', '.join(options)}" in listed
        assert info["facts"]["shown"] == list(wish.vague)


# ---------------------------------------------------------------------------- beliefs


def test_entropy_falls_by_exactly_what_was_learned(env):
    task = a_task(lambda wish: len(plain(wish)) >= 2)
    wish = find_wish(task)
    _, info = start(env, task)
    before = info["facts"]
    assert before["target_entropy"] == pytest.approx(entropy(before), abs=1e-12)
    for name in plain(wish):
        shown, facts = ask(env, name)
        assert wish.intent[name] in shown
        assert facts["belief"][name] == [wish.intent[name]]
        fell = before["target_entropy"] - facts["target_entropy"]
        assert fell == pytest.approx(math.log(len(wish.options[name])), abs=1e-12)
        before = facts


def test_a_phrase_is_worth_what_it_leaves_and_asking_openly_again_nothing(env):
    task = a_task(lambda wish: len(wish.vague) == 1)
    wish = find_wish(task)
    (name,) = wish.vague
    left = DOMAINS[task.partition(":")[0]][name][wish.vague[name]]
    _, info = start(env, task)
    assert info["facts"]["belief"][name] == list(left)
    shown, facts = ask(env, name)
    assert wish.vague[name] in shown
    assert facts["target_entropy"] == info["facts"]["target_entropy"]
    assert facts["cost"] == 2
    _, facts = ask(env, name, *left)
    fell = info["facts"]["target_entropy"] - facts["target_entropy"]
    assert fell == pytest.approx(math.log(len(left)), abs=1e-12)


def test_offering_what_is_not_wanted_rules_it_out(env):
    task = a_task(lambda wish: any(len(wish.options[name]) == 5 for name in plain(wish)))
    wish = find_wish(task)
    name = next(name for name in plain(wish) if len(wish.options[name]) == 5)
    _, info = start(env, task)
    before = info["facts"]["target_entropy"]
    wrong = [option for option in wish.options[name] if option != wish.intent[name]]
    shown, facts = ask(env, name, *wrong[:3])
    assert shown == "None of these."
    assert len(facts["belief"][name]) == 2
    assert before - facts["target_entropy"] == pytest.approx(math.log(5 / 2), abs=1e-12)
    _, facts = ask(env, name, wrong[3])
    assert facts["belief"][name] == [wish.intent[name]]
    assert before - facts["target_entropy"] == pytest.approx(math.log(5), abs=1e-12)


def test_a_repeated_question_gains_nothing_and_costs_twice(env):
    task = TASKS[0]
    wish = find_wish(task)
    start(env, task)
    for name in wish.options:
        _, first = ask(env, name)
        shown, second = ask(env, name)
        assert second["target_entropy"] == first["target_entropy"]
        assert second["belief"] == first["belief"]
        assert second["state_key"] == first["state_key"]
        assert (second["asked"], second["cost"]) == (first["asked"] + 1, 2)
        assert shown


def test_what_the_user_does_not_mind_teaches_nothing_about_what_matters(env):
    task = TASKS[1]
    wish = find_wish(task)
    _, info = start(env, task)
    for name in wish.options.keys() - wish.intent.keys():
        shown, facts = ask(env, name)
        assert "do not mind" in shown
        assert facts["target_entropy"] == info["facts"]["target_entropy"]
        assert facts["belief"][name] == list(wish.options[name])
        assert facts["state_key"] != info["facts"]["state_key"]
        assert (facts["shown"], facts["cost"]) == ([name], 1)


@settings(deadline=None, max_examples=60)
@given(st.sampled_from(TASKS), st.data())
def test_beliefs_hold_the_truth_and_only_ever_narrow(task, data):
    env = gym.make("agentgym/Clarify-v0")
    wish = find_wish(task)
    _, info = start(env, task)
    before = info["facts"]
    for turn in range(1, 12):
        action = data.draw(st.sampled_from(info["admissible"][1:]))  # all but committing
        _, _, _, _, info = env.step(action)
        facts = info["facts"]
        assert info["invalid"] is None
        assert facts["asked"] == turn
        assert facts["target_entropy"] == pytest.approx(entropy(facts), abs=1e-12)
        assert facts["target_entropy"] <= before["target_entropy"]
        for name, left in facts["belief"].items():
            assert set(left) <= set(before["belief"][name])
            assert wish.intent.get(name, left[0]) in left
        news = facts["state_key"] != before["state_key"]
        assert facts["cost"] == (1 if news else 2)
        before = facts
    env.close()


# ---------------------------------------------------------------------------- outcomes


def test_only_what_matters_has_to_be_right_and_questions_cost_no_score(env):
    for task in TASKS[:12]:
        wish = find_wish(task)
        for name, wanted in [(None, None), *wish.intent.items()]:
            start(env, task)
            for _ in range(3):
                ask(env, next(iter(wish.options)))
            chosen = {other: options[-1] for other, options in wish.options.items()} | wish.intent
            if name:
                chosen[name] = next(o for o in wish.options[name] if o != wanted)
            _, reward, terminated, truncated, info = commit(env, chosen)
            assert (reward, terminated, truncated) == (0.0 if name else 1.0, True, False)
            assert info["outcome"].passed is (name is None)
            right = len(wish.intent) - bool(name)
            assert info["outcome"].parts == {"matched": right / len(wish.intent)}


def test_the_turn_limit_is_a_failure(env):
    start(env, TASKS[0])
    for _ in range(20):
        _, reward, terminated, truncated, info = env.step("")
    assert (reward, terminated, truncated) == (0.0, False, True)
    assert info["outcome"].label == "limit"


@pytest.mark.parametrize(
    ("action", "kind"),
    [
        ('ask("colour of the sky")', "unknown"),
        ('ask("travl")', "unknown"),
        ('ask("place", options=["the moon"])', "unknown"),
        ('ask("place", options=["beach", "island", "lake", "city"])', "arguments"),
        ('commit(["place=beach"])', "choices"),
        ('commit(["place=beach", "place=lake"])', "choices"),
        ('commit(["place=nowhere"])', "unknown"),
        ('commit(["place"])', "unknown"),
        ("commit([])", "arguments"),
    ],
)
def test_what_makes_no_sense_is_an_observation_and_no_question(env, action, kind):
    _, info = start(env, "trip:seed=0")
    shown, _, terminated, _, told = env.step(action)
    assert (told["invalid"], terminated) == (kind, False)
    assert shown
    if kind != "arguments":
        facts = {**told["facts"]}
        assert facts.pop("valid") is False
        assert facts == {**info["facts"], "shown": []}


def test_values_are_read_whatever_their_case_and_spacing(env):
    wish = find_wish("trip:seed=0")
    chosen = {name: options[0] for name, options in wish.options.items()} | wish.intent
    start(env, "trip:seed=0")
    _, reward, *_ = commit(
        env, {f" {name.upper()} ": f" {v.upper()}" for name, v in chosen.items()}
    )
    assert reward == 1.0


# ---------------------------------------------------------------------------- the oracle


def fewest_questions(wish, domain):
    """How many it takes to be sure of what matters: breadth first, over every answer's worst case.

    A question is about one attribute, and so is its answer: attributes add up. For each, the best
    question is searched for among all there are.
    """

    def needed(name, left):
        if len(left) == 1:
            return 0
        if name not in wish.vague:
            return 1  # asked openly; none settles more than one option
        offers = [o for n in range(1, MOST_OFFERED + 1) for o in combinations(left, n)]
        return 1 + min(
            needed(name, rest) if (rest := tuple(x for x in left if x not in offer)) else 0
            for offer in offers
        )

    return sum(
        needed(name, DOMAINS[domain][name][wish.vague[name]] if name in wish.vague else (1, 2))
        for name in wish.intent
    )


def test_the_oracle_asks_the_fewest_questions_that_make_sure(env):
    for task in TASKS:
        _, info = start(env, task)
        over = False
        while not over:
            asked = info["facts"]["asked"]
            _, _, over, _, info = env.step(info["oracle"])
        assert info["outcome"].passed
        assert info["facts"]["target_entropy"] == 0.0
        assert info["facts"]["asked"] == asked
        assert asked == fewest_questions(find_wish(task), task.partition(":")[0])
        assert asked == len(find_wish(task).intent)


def test_the_oracle_goes_on_from_wherever_it_is(env):
    task = a_task(lambda wish: len(wish.intent) == 4)
    _, info = start(env, task)
    for action in info["admissible"][1:]:
        _, _, _, _, info = env.step(action)
    while "outcome" not in info:
        _, _, _, _, info = env.step(info["oracle"])
    assert info["outcome"].passed


# ---------------------------------------------------------------------------- tasks, snapshots


def test_a_task_is_the_same_whatever_the_seed_of_the_episode(env):
    for task in TASKS[:9]:
        first = env.reset(seed=1, options={"task": task})
        assert env.reset(seed=2, options={"task": task}) == first


def test_splits_are_disjoint_and_unlisted_seeds_can_be_named():
    listed = {}
    for split in SPLITS:
        env = gym.make("agentgym/Clarify-v0", split=split)
        listed[split] = set(env.tasks())
        first = SPLITS[split][0]
        assert env.find_task(f"laptop:seed={first + 999_999}").split == split
        for wrong in (first + 1_000_000, first - 1):
            with pytest.raises(TaskError, match="give one like trip:seed="):
                env.find_task(f"laptop:seed={wrong}")
        for wrong in ("trip", "trip:seed=", "trip:seed=01", "moon:seed=1", "trip:seed=1:x", ""):
            with pytest.raises(TaskError):
                env.find_task(wrong)
        env.close()
    assert [len(ids) for ids in listed.values()] == [3_000, 300, 300]
    assert not any(one & other for one, other in combinations(listed.values(), 2))


def test_a_fork_learns_by_itself(env):
    task = TASKS[2]
    _, info = start(env, task)
    name = plain(find_wish(task))[0]
    twin = env.fork()
    _, told = ask(twin, name)
    assert told["target_entropy"] < info["facts"]["target_entropy"]
    _, other = ask(env, next(iter(find_wish(task).vague)))
    assert other["target_entropy"] == info["facts"]["target_entropy"]
    twin.close()


def test_entropy_reduction_pays_all_that_was_to_be_found_out():
    from agentgym.collector import Collector, episode_keys
    from agentgym.policy import open_policy
    from agentgym.rewards import bind, parse

    env = gym.make("agentgym/Clarify-v0")
    keys = episode_keys("agentgym/Clarify-v0", TASKS[:6], seeds=[0], group=1)
    collector = Collector(
        lambda: gym.make("agentgym/Clarify-v0"), open_policy("oracle"), concurrency=2
    )
    trajectories = list(collector.run(keys))
    scored = bind(parse("entropy_reduction()"), env).score(trajectories)
    for trajectory, paid in zip(trajectories, scored, strict=True):
        assert math.fsum(paid.per_turn) == pytest.approx(trajectory.facts["target_entropy"])
    env.close()
