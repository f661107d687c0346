"""Differences of facts: potentials, scores, entropies, novelty, and what they leave as it was."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest
from episodes import episode, paid, told, turn, unhurried
from hypothesis import given
from hypothesis import strategies as st

from agentgym import Env, InvalidAction, Outcome, Reply
from agentgym.errors import RewardError
from agentgym.rewards import bind, parse
from agentgym.rewards.expression import Stage
from agentgym.rewards.online import ShapedReward
from agentgym.rewards.shaping import entropy
from agentgym.types import Stop

NEAR = 5e-7


def discounted(values, gamma):
    return sum(gamma**t * value for t, value in enumerate(values))


levels = st.floats(-5, 5).map(lambda x: round(x, 3))
gammas = st.floats(0.05, 1.0)


# ------------------------------------------------------------------------------------- potential


def test_shaping_to_a_terminal_state_is_as_worked_by_hand_and_its_discounted_sum_is_0():
    seen = told("phi", [0.25, 0.25, 0.75, 9.0], start={"phi": 0}, stop=Stop.TERMINATED)
    values = paid("potential('phi', gamma=0.9)", seen)
    assert values == pytest.approx([0.225, -0.025, 0.425, -0.75], abs=NEAR)
    assert discounted(values, 0.9) == pytest.approx(0, abs=NEAR)


def test_shaping_of_a_truncated_episode_keeps_its_last_potential():
    values = paid("potential('phi', gamma=0.9)", told("phi", [0.5, 0.9], start={"phi": 0.2}))
    assert values == pytest.approx([0.25, 0.31], abs=NEAR)
    assert discounted(values, 0.9) == pytest.approx(0.529, abs=NEAR)
    assert discounted(values, 0.9) == pytest.approx(0.81 * 0.9 - 0.2)


@unhurried
@given(phi=st.lists(levels, min_size=2, max_size=9), gamma=gammas, ended=st.booleans())
def test_the_discounted_sum_is_the_last_potential_less_the_first(phi, gamma, ended):
    stop = Stop.TERMINATED if ended else Stop.TURNS
    seen = told("phi", phi[1:], start={"phi": phi[0]}, stop=stop)
    values = paid(f"potential('phi', gamma={gamma!r})", seen)
    kept = 0.0 if ended else gamma ** (len(phi) - 1) * phi[-1]
    assert discounted(values, gamma) == pytest.approx(kept - phi[0], abs=1e-9)


@unhurried
@given(phi=st.lists(levels, min_size=1, max_size=9))
def test_a_closed_loop_pays_nothing(phi):
    loop = {"score": 0, "target_entropy": 0, "dead_end": False, "phi": phi[0]}
    turns = [{"phi": x, "score": x, "target_entropy": abs(x), "dead_end": x > 0} for x in phi[1:]]
    seen = episode([turn(**facts) for facts in [*turns, loop]], start=loop)
    for reward in ("potential('phi')", "score_delta(1)", "entropy_reduction", "dead_end"):
        assert sum(paid(reward, seen)) == pytest.approx(0, abs=1e-9)


@unhurried
@given(phi=st.lists(levels, min_size=3, max_size=9))
def test_what_changes_pay_in_a_turn_does_not_depend_on_later_turns(phi):
    seen = [turn(phi=x, score=x, target_entropy=abs(x), dead_end=x > 0, state_key=f"{x}")
            for x in phi]  # fmt: skip
    start = {"phi": 0, "score": 0, "target_entropy": 1.5, "dead_end": False}
    for reward in (
        "potential('phi', gamma=0.9)",
        "score_delta(2)",
        "entropy_reduction",
        "dead_end",
        "novelty",
        "novelty('log')",
    ):
        assert parse(reward).stage is Stage.CAUSAL
        whole = paid(reward, episode(seen, start=start, stop=None))
        part = paid(reward, episode(seen[:-1], start=start, stop=None))
        assert whole[:-1] == part


def test_a_turn_that_was_refused_and_says_nothing_leaves_the_potential_as_it_was():
    seen = episode([turn(phi=2), turn("parse"), turn(phi=3)], start={"phi": 1})
    assert paid("potential('phi')", seen) == [1, 0, 1]


def test_a_potential_that_is_not_known_is_an_error_that_names_signal_turn_and_remedy():
    with pytest.raises(RewardError, match=r"potential.*start of .* no fact 'phi'.*record it at"):
        paid("potential('phi')", told("phi", [1]))
    for unknown in (turn(), turn(phi=None)):
        seen = episode([turn(phi=1), unknown], start={"phi": 0})
        with pytest.raises(RewardError, match=r"'phi' of turn 2 of .* missing=0.0"):
            paid("potential('phi')", seen)
    with pytest.raises(RewardError, match=r"^potential.* of turn 1 .* finite"):
        paid("potential('phi')", told("phi", [math.nan], start={"phi": 0}))


def test_what_a_dead_end_is_worth_can_be_said():
    seen = episode([turn(remaining=3), turn(remaining=None)], start={"remaining": 4})
    assert paid("-1 * potential('remaining', missing=10)", seen) == [1, -7]


@pytest.mark.parametrize("text", ["potential('x', gamma=0)", "potential('x', gamma=1.1)"])
def test_a_discount_out_of_bounds_is_refused(text):
    with pytest.raises(RewardError, match=r"gamma is .*: give"):
        parse(text)


# --------------------------------------------------------------------- invariance, in a tabular MDP

STATES, ACTIONS, GOAL = 6, 3, 5


def world(seed):
    """A random MDP whose state 5 is the goal: where actions lead, and what they pay."""
    rng = np.random.default_rng(seed)
    leads = rng.integers(0, STATES, (STATES, ACTIONS))
    leads[np.arange(GOAL), rng.integers(0, ACTIONS, GOAL)] = np.arange(1, STATES)
    return leads, (leads == GOAL) * 1.0 + rng.normal(0, 0.05, (STATES, ACTIONS))


def moved(reward, facts, before, after):
    """What a signal pays for one transition, as it would in an episode of one turn."""
    stop = Stop.TERMINATED if after == GOAL else None
    [value] = paid(reward, episode([turn(**facts(after))], start=facts(before), stop=stop))
    return value


def action_values(leads, rewards, gamma, sweeps=2000):
    values = np.zeros((STATES, ACTIONS))
    for _ in range(sweeps):
        best = values.max(axis=1)
        best[GOAL] = 0.0
        values = rewards + gamma * best[leads]
    return values


def shaped(reward, facts, leads, rewards):
    return rewards + np.array(
        [
            [moved(reward, facts, state, int(leads[state, action])) for action in range(ACTIONS)]
            for state in range(STATES)
        ]
    )


@pytest.mark.parametrize("seed", range(5))
def test_a_potential_lowers_every_action_value_by_itself_and_leaves_the_best_action(seed):
    leads, rewards = world(seed)
    phi = np.random.default_rng(seed + 100).normal(0, 1, STATES)
    plain = action_values(leads, rewards, 0.9)
    new = action_values(
        leads,
        shaped("potential('phi', gamma=0.9)", lambda s: {"phi": float(phi[s])}, leads, rewards),
        0.9,
    )
    assert np.abs(new - (plain - phi[:, None]))[:GOAL].max() < 1e-12
    assert (new.argmax(axis=1) == plain.argmax(axis=1))[:GOAL].all()


POTENTIAL_FORM = {
    "score_delta(4)": (lambda s: {"score": [1, 3, 0, 2, 1, 0][s]}, 1 / 4),
    "entropy_reduction": (lambda s: {"target_entropy": [2.0, 1.4, 1.1, 0.7, 1.9, 0.0][s]}, -1),
    "dead_end": (lambda s: {"dead_end": s == 2}, -1),
}


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("reward", POTENTIAL_FORM)
def test_without_discount_and_with_a_last_potential_of_0_the_others_leave_the_best_action(
    reward, seed
):
    leads, rewards = world(seed)
    rewards = rewards - 0.2  # so that going round without end does not pay
    facts, sign = POTENTIAL_FORM[reward]
    phi = np.array([sign * float(next(iter(facts(s).values()))) for s in range(STATES)])
    plain = action_values(leads, rewards, 1.0)
    new = action_values(leads, shaped(reward, facts, leads, rewards), 1.0)
    assert np.abs(new - (plain - phi[:, None]))[:GOAL].max() < 1e-9
    assert (new.argmax(axis=1) == plain.argmax(axis=1))[:GOAL].all()


def test_a_bonus_for_being_somewhere_changes_the_best_action():
    leads, rewards = world(0)
    phi = np.random.default_rng(100).normal(0, 1, STATES)
    plain = action_values(leads, rewards, 0.9)
    bonus = shaped("fact('phi')", lambda s: {"phi": float(phi[s])}, leads, rewards)
    new = action_values(leads, bonus, 0.9)
    assert (new.argmax(axis=1) != plain.argmax(axis=1))[:GOAL].any()


def test_novelty_is_worth_a_detour_and_so_changes_what_is_best():
    straight = told("state_key", ["goal"], start={"state_key": "a"}, score=1.0)
    detour = told("state_key", ["b", "c", "goal"], start={"state_key": "a"}, score=1.0)
    assert sum(paid("novelty", straight)) < sum(paid("novelty", detour))


# ------------------------------------------------------------------------------------- online


class Climb(Env):
    """Go up two steps; what is said otherwise cannot be carried out."""

    provides = frozenset({"score", "max_score", "state_key", "dead_end"})
    max_turns = 4

    def tasks(self):
        return ["climb"]

    def begin(self, task):
        self.height = 0
        return Reply("at 0", facts={**self.said(), "max_score": 2})

    def said(self):
        return {"score": self.height, "state_key": f"at {self.height}", "dead_end": False}

    def respond(self, action):
        if action not in ("up", "down"):
            raise InvalidAction("parse", "up or down")
        self.height += 1 if action == "up" else -1
        won = Outcome(1.0, True) if self.height == 2 else None
        return Reply(f"at {self.height}", won, facts=self.said())


@pytest.mark.parametrize("said", [["up", "what", "down", "up"], ["up", "what", "up"]])
def test_shaping_paid_while_the_episode_runs_is_that_of_the_whole_episode(said):
    env = ShapedReward(
        Climb(), "potential('score', gamma=0.9) + score_delta + novelty('log') + dead_end"
    )
    _, info = env.reset(seed=1)
    seen, online = episode([], start=info["facts"]), []
    for action in said:
        _, reward, terminated, truncated, info = env.step(action)
        online.append(reward)
        seen.turns.append(turn(info["invalid"], **info["facts"]))
    assert terminated or truncated
    seen.stop = Stop.TERMINATED if terminated else Stop.TURNS
    [scored] = bind(env.reward, env.unwrapped).score([seen])
    assert online == pytest.approx(scored.per_turn.tolist())


# --------------------------------------------------------------------------------------- score


def test_points_are_paid_as_a_share_of_all_points_when_they_are_made():
    seen = told("score", [1, 1, 2, 3, 4], start={"score": 0, "max_score": 4})
    assert paid("score_delta", seen) == [0.25, 0, 0.25, 0.25, 0.25]
    assert paid("score_delta(4)", seen) == [0.25, 0, 0.25, 0.25, 0.25]


@unhurried
@given(scores=st.lists(st.integers(0, 7), min_size=2, max_size=9))
def test_the_points_paid_sum_to_1_exactly_if_all_were_made(scores):
    seen = told("score", scores[1:], start={"score": 0}, data={"max_score": 7})
    assert sum(paid("score_delta", seen)) == pytest.approx(scores[-1] / 7)


def test_taking_and_dropping_again_pays_nothing():
    seen = told("score", [1, 0, 1, 0, 1, 0], start={"score": 0, "max_score": 1})
    values = paid("score_delta", seen)
    assert min(values) == -1
    assert sum(values) == 0


def test_a_turn_without_score_has_no_value_and_the_next_counts_since_the_last_known():
    seen = told("score", [1, None, 3], start={"score": 0})
    assert paid("score_delta(1)", seen) == [1, None, 2]


def test_a_missing_maximum_is_an_error_that_names_signal_turn_and_remedy():
    for most in ({}, {"max_score": 0}, {"max_score": None}, {"max_score": math.inf}):
        seen = told("score", [1], start={"score": 0, **most})
        with pytest.raises(RewardError, match=r"score_delta: .*'max_score' of turn 1.*give a numb"):
            paid("score_delta", seen)
    assert parse("score_delta").needs == {"score", "max_score"}
    assert parse("score_delta(10)").needs == {"score"}


# -------------------------------------------------------------------------------------- entropy


def uniform(*sizes):
    return entropy(*[[1.0] * size for size in sizes])


def test_bits_are_paid_for_what_was_ruled_out_and_none_for_a_repeated_question():
    known = [uniform(4, 8, 2), uniform(4, 1, 2), uniform(2, 1, 2), uniform(2, 1, 2)]
    assert known[0] / math.log(2) == pytest.approx(6)
    seen = told("target_entropy", known[1:], start={"target_entropy": known[0]})
    assert paid("entropy_reduction(bits=True)", seen) == pytest.approx([3, 1, 0], abs=NEAR)
    assert paid("entropy_reduction", seen) == pytest.approx([2.079442, 0.693147, 0], abs=NEAR)


def test_the_entropy_of_an_empirical_prior():
    assert entropy([0.7, 0.1, 0.1, 0.1], bits=True) == pytest.approx(1.35678, abs=5e-6)
    assert entropy([7, 1, 1, 1], [5.0]) == pytest.approx(1.35678 * math.log(2), abs=5e-6)
    for wrong in ([], [0, 0], [1, -1], [math.nan]):
        with pytest.raises(RewardError, match="give weights"):
            entropy(wrong)


@unhurried
@given(sizes=st.lists(st.integers(1, 50), min_size=2, max_size=8))
def test_what_was_learnt_in_all_is_at_most_what_was_unknown(sizes):
    known = [uniform(size) for size in sorted(sizes, reverse=True)]
    seen = told("target_entropy", known[1:], start={"target_entropy": known[0]})
    values = paid("entropy_reduction", seen)
    assert min(values) >= 0
    assert sum(values) == pytest.approx(known[0] - known[-1])
    assert sum(values) <= known[0] + 1e-12


def test_a_negative_entropy_or_none_at_the_start_is_an_error():
    with pytest.raises(RewardError, match=r"of turn 1 .* at least 0"):
        paid("entropy_reduction", told("target_entropy", [-0.1], start={"target_entropy": 1}))
    with pytest.raises(RewardError, match=r"start .* no fact 'target_entropy'.*record it"):
        paid("entropy_reduction", told("target_entropy", [1]))


# ------------------------------------------------------------------------- novelty and dead ends

VISITS = ["a", "b", "a", "c", "b"]


def test_visits_pay_their_gain_in_coverage_or_in_logarithms():
    seen = told("state_key", VISITS)
    assert paid("novelty", seen) == [1, 1, 0, 1, 0]
    logs = paid("novelty('log')", seen)
    assert logs == pytest.approx([0.693147, 0.693147, 0.405465, 0.693147, 0.405465], abs=NEAR)
    assert sum(logs) == pytest.approx(2.890372, abs=NEAR)


@unhurried
@given(visits=st.lists(st.sampled_from("abcd"), min_size=1, max_size=12))
def test_novelty_sums_to_its_function_is_never_negative_and_repeats_pay_no_more(visits):
    seen = told("state_key", visits)
    coverage, logs = paid("novelty", seen), paid("novelty('log')", seen)
    assert sum(coverage) == len(set(visits))
    counts = [visits.count(each) for each in set(visits)]
    assert sum(logs) == pytest.approx(sum(math.log1p(count) for count in counts))
    for values in (coverage, logs):
        assert min(values) >= 0
        for each in set(visits):
            its = [value for value, visit in zip(values, visits, strict=True) if visit == each]
            assert all(later <= earlier for earlier, later in pairwise(its))


def test_the_start_was_visited_and_a_list_is_visited_one_by_one():
    assert paid("novelty", told("state_key", VISITS, start={"state_key": "a"})) == [0, 1, 0, 1, 0]
    shown = told("shown", [["a", "b"], [], ["b", "c"], None])
    assert paid("novelty(fact='shown')", shown) == [2, 0, 1, None]
    with pytest.raises(RewardError, match=r"'state_key' of turn 1 .*: give a text"):
        paid("novelty", told("state_key", [{"x": 1}]))


def test_walking_into_a_dead_end_costs_1_once():
    seen = told("dead_end", [False, True, True], start={"dead_end": False})
    assert paid("dead_end", seen) == [0, -1, 0]


def test_what_telescopes_is_paid_in_full_and_not_averaged():
    seen = told("score", [1, 1, 2], start={"score": 0})
    [scored] = bind(parse("score_delta(4)"), {"score"}).score([seen])
    assert scored.total == 0.5
