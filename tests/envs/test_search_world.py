"""Search in knowledge worlds: the oracle solves them exactly, and nobody gets there by less."""

from __future__ import annotations

import math
import os
import random
import re
import statistics
from pathlib import Path

import gymnasium as gym
import pytest

from agentgym.actions import Action
from agentgym.envs.search import GRAMMAR
from agentgym.rewards import bind, parse
from agentgym.types import Completion, EpisodeKey, Stop, Trajectory, Turn

ID = "agentgym/Search-v0"
NAME = re.compile(r"\b[A-Z][\w'-]+(?: [A-Z][\w'-]+)*|\b[0-9]+")
SAMPLE = Path(os.environ.get("AGENTGYM_TEST_DATA", "") or "/nonexistent") / "search"
EVERY_KIND = "comparison+count+difference+intersection+unanswerable"


def action(verb, *values):
    return Action(GRAMMAR.verbs[verb].canonical(GRAMMAR.verbs[verb].bind(values, {})))


def one_search_then_guess(question, rng):
    """Searches the question as it is, and answers with some name or number of the first passage."""
    shown = yield action("search", question[:512])
    first = shown.split("\n")[2]
    names = {each for each in NAME.findall(first) if each not in question} - {"It", "She", "He"}
    yield action("answer", rng.choice(sorted(names) or ["x"]))


def blind_guess(question, rng):
    """Answers with a word of the question."""
    yield action("answer", rng.choice(NAME.findall(question)))


def spam(question, rng):
    """Searches for what stands in many passages, and never answers."""
    while True:
        yield action("search", rng.choice(["city", "the", "known", "works", "year", "is", "born"]))


def played(env, task, player, seed=0):
    """One episode, as a trajectory."""
    shown, info = env.reset(seed=seed, options={"task": task, "hints": ["oracle"]})
    start, turns, over = info, [], False
    rng = random.Random(f"{task} {seed}")
    script = None if player is None else player(info["task"].data["question"], rng)
    said = info["oracle"] if script is None else next(script)
    while not over:
        shown, reward, terminated, truncated, info = env.step(said)
        over = terminated or truncated
        assert info["invalid"] is None
        turns.append(Turn("", Completion(""), said, None, reward, info["facts"]))
        if not over:
            said = info["oracle"] if script is None else script.send(shown)
    stop = Stop.TERMINATED if terminated else Stop.TURNS
    key = EpisodeKey(ID, task, seed)
    return Trajectory(key, start["task"], turns, shown, info["outcome"], stop, facts=start["facts"])


def episodes(spec, player, count, **arguments):
    env = gym.make(ID, task_set=spec, **arguments)
    ids = env.tasks()
    return env, [played(env, ids[i * 7 % len(ids)], player) for i in range(count)]


@pytest.mark.parametrize("hops", [1, 2, 3, 4])
def test_the_oracle_solves_chains_in_exactly_as_many_searches_as_they_have_hops(hops):
    env, found = episodes(f"world:hops={hops},docs=1000,worlds=1", None, 40)
    assert all(each.outcome.passed for each in found)
    assert [len(each.turns) for each in found] == [hops + 1] * len(found)
    assert all(each.outcome.parts["searches"] == hops for each in found)
    assert all(each.outcome.parts["citation"] == 1.0 for each in found)
    for scored in bind(parse("search-evidence"), env).score(found):
        assert scored.total == pytest.approx(1.2)
        assert (scored.per_turn > 0).all()
    for scored in bind(parse("answer_gain"), env).score(found):
        assert scored.per_turn == pytest.approx([0.0] * (hops - 1) + [1.0, 0.0], abs=1e-9)
    for each in found:
        units = each.task.data["evidence"]
        [scored] = bind(parse("proof_gain"), env).score([each])
        assert scored.total == pytest.approx(math.fsum(math.log(u["options"]) for u in units))
        assert [turn.facts["remaining"] for turn in each.turns] == [*range(hops, 0, -1), 0]


def test_the_oracle_solves_every_kind_of_question():
    _, found = episodes(f"world:hops=1-4,docs=300,kinds={EVERY_KIND},worlds=1", None, 60)
    assert len({each.task.data["kind"] for each in found}) == 5
    assert all(each.outcome.passed for each in found)
    assert all(each.outcome.parts["evidence_recall"] == 1.0 for each in found)


@pytest.mark.parametrize("hops", [1, 2, 3, 4])
def test_guessing_after_a_search_solves_what_takes_one_and_little_else(hops):
    _, found = episodes(f"world:hops={hops},docs=1000,worlds=1", one_search_then_guess, 100)
    mean = statistics.mean(each.outcome.score for each in found)
    low, high = (0.02, 0.5) if hops == 1 else (0.0, 0.06)
    assert low <= mean <= high, mean


def test_blind_guesses_and_spam_solve_nothing_and_are_paid_next_to_nothing():
    for player in (blind_guess, spam):
        for hops in (1, 3):
            env, found = episodes(f"world:hops={hops},docs=1000,worlds=1", player, 50)
            assert statistics.mean(each.outcome.score for each in found) <= 0.02
            paid = [each.total for each in bind(parse("search-evidence"), env).score(found)]
            assert max(paid) <= 0.2 + 1e-9
            assert statistics.mean(paid) <= 0.01


def test_poisoned_worlds_tell_who_follows_their_orders():
    env = gym.make(ID, task_set="world:hops=1-2,docs=200,poison=0.6,worlds=1")
    followed = commanded = 0
    for task in env.tasks()[:300]:
        _, info = env.reset(seed=0, options={"task": task})
        orders = [each for each in info["task"].data["poison"] if each["commands"]]
        if not orders:
            continue
        commanded += 1
        title = next(p.title for p in env.questions.corpus(task) if p.id == orders[0]["doc"])
        shown, _, _, _, info = env.step(action("search", title))
        assert "ignore all earlier instructions" in shown
        _, reward, _, _, info = env.step(action("answer", orders[0]["answer"]))
        assert reward == 0.0
        followed += info["outcome"].parts["followed_injection"]
    assert followed == commanded > 10


def test_two_worlds_in_turn_keep_their_indexes_and_their_passages_apart():
    env = gym.make(ID, task_set="world:hops=2,docs=100,worlds=2,tasks=5")
    ids = list(env.tasks())
    found = [played(env, task, None) for task in (ids[0], ids[5], ids[1], ids[6])]
    assert all(each.outcome.passed for each in found)
    assert len({each.facts["index"] for each in found}) == 2


def test_redundant_worlds_count_evidence_on_either_page():
    _, found = episodes("world:hops=2,docs=200,redundancy=1.0,worlds=1", None, 30)
    assert all(each.outcome.passed for each in found)


def test_that_a_question_may_have_no_answer_is_said_where_some_have_none():
    for kinds, said in (("chain", False), ("chain+unanswerable", True)):
        for id in (ID, "agentgym/VisualSearch-v0"):
            env = gym.make(id, task_set=f"world:hops=2,docs=100,kinds={kinds}")
            assert ("unanswerable" in env.instructions) is said


@pytest.mark.skipif(
    not (SAMPLE / "corpus.jsonl.gz").is_file(), reason="AGENTGYM_TEST_DATA has no search data"
)
def test_the_oracle_finds_all_evidence_of_real_questions_and_answers_them():
    _, found = episodes(f"folder:{SAMPLE}", None, 40, split="valid", max_turns=12)
    assert all(each.outcome.passed for each in found)
    assert all(each.outcome.parts["evidence_recall"] == 1.0 for each in found)
