"""Sets of questions by name: parameters, ids, splits and hidden worlds."""

import os
import subprocess
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agentgym.errors import ConfigError, TaskError
from agentgym.tasks.knowledge import WorldOptions
from agentgym.tasks.knowledge_questions import HOPS
from agentgym.tasks.questions import open_questions, plan
from agentgym.tasks.questions_world import (
    SECRET,
    SEEDS,
    WorldId,
    WorldIds,
    WorldQuestions,
    parse_id,
    parse_spec,
)

ID = "world:docs=200:kind=chain:hops=2:world=17:task=5"


# ------------------------------------------------------------------------------ ids


def test_an_id_alone_rebuilds_the_task():
    questions = open_questions("world:docs=200")
    task = questions.task(ID)
    assert task.id == ID
    assert task.split == "train"
    assert task.data["question"].endswith("?")
    # Another set of worlds finds the same: what a set lists is not what it knows.
    assert open_questions("world:hops=1,docs=1000").task(ID).data == task.data


def test_another_process_rebuilds_the_same_task():
    code = (
        "from agentgym.tasks.questions import open_questions;"
        f"print(open_questions('world').task({ID!r}).data['question'])"
    )
    told = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=os.environ
    )
    assert told.stdout.strip() == open_questions("world").task(ID).data["question"]


rates = st.one_of(st.sampled_from([0.0, 0.05, 0.1, 0.25, 1.0, 1e-05]), st.floats(0.0, 1.0))


@given(
    st.builds(
        WorldOptions,
        docs=st.integers(50, 1_000_000),
        redundancy=rates,
        namesakes=rates,
        aliases=rates,
        missing=rates,
        stale=rates,
        poison=rates,
    ),
    st.sampled_from([(kind, hops) for kind, each in HOPS.items() for hops in each]),
    st.one_of(st.integers(0, 2_999_999).map(str), st.integers(0, 999).map("hidden{}".format)),
    st.integers(0, 10**8),
)
def test_an_id_is_read_as_it_is_written(options, asked, world, task):
    written = WorldId(options, *asked, world, task)
    assert parse_id(str(written)) == written


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ("world:docs=200", "ids read 'world:docs=1000:kind=chain:hops=2:world=17:task=5'"),
        (ID.replace("chain", "chian"), "did you mean 'chain'"),
        (ID.replace("hops=2", "hops=5"), "chain has 1 to 4 hops"),
        (ID.replace("chain", "comparison").replace("hops=2", "hops=1"), "comparison has 2 to 4"),
        (ID.replace("=17", "=3000000"), "there is no such world"),
        (ID.replace("=17", "=017"), f"did you mean '{ID}'"),
        (ID.replace("200", "200:poision=0.1"), "did you mean 'poison'"),
        (ID.replace("200", "200:poison=7"), "poison is 7.0"),
        (ID.replace("200", "200:missing=0.05"), f"did you mean '{ID}'"),
        ("hotpotqa:5", "ids read"),
    ],
)
def test_a_wrong_id_says_what_is_wrong_with_it(wrong, message):
    with pytest.raises(TaskError, match=message):
        open_questions("world").task(wrong)


# ------------------------------------------------------------------------------ splits


def test_splits_are_worlds_that_do_not_meet():
    questions = open_questions("world:docs=200,worlds=3,tasks=40")
    assert questions.splits == ("train", "valid", "test")
    worlds = {}
    for split in questions.splits:
        ids = questions.ids(split)
        assert len(ids) == {"train": 120, "valid": 12, "test": 12}[split]
        assert len(set(ids)) == len(ids)
        worlds[split] = {int(parse_id(each).world) for each in ids}
        assert len(worlds[split]) == 3
        assert all(each in SEEDS[split] for each in worlds[split])
        assert questions.task(ids[-1]).split == split
    assert not worlds["train"] & worlds["valid"] | worlds["valid"] & worlds["test"]


def test_ids_are_a_lazy_sequence():
    ids = WorldIds(parse_spec("docs=50,worlds=1000000,tasks=1000000"), "train")
    assert len(ids) == 10**12
    assert ids[-1] == "world:docs=50:kind=chain:hops=4:world=999999:task=249999"
    assert ids[5:7] == [ids[5], ids[6]]
    with pytest.raises(IndexError):
        ids[10**12]


def test_kinds_and_hops_take_turns():
    ids = open_questions("world:docs=200,kinds=chain+comparison,hops=1-2,tasks=6").ids("train")
    asked = [(parse_id(each).kind, parse_id(each).hops, parse_id(each).task) for each in ids[:6]]
    each = [("chain", 1), ("chain", 2), ("comparison", 2)]
    assert asked == [(*one, 0) for one in each] + [(*one, 1) for one in each]


def test_questions_of_one_world_are_asked_over_one_corpus():
    questions = open_questions("world:docs=100,worlds=2,tasks=10")
    ids = questions.ids("train")
    assert questions.corpus(ids[0]) is questions.corpus(ids[9])
    assert questions.corpus(ids[0]) is not questions.corpus(ids[10])
    assert len(questions.corpus(ids[0])) == 100
    docs = {each["doc"] for each in questions.task(ids[0]).data["evidence"]}
    assert all(questions.corpus(ids[0]).get(doc) for doc in docs)


def test_worlds_are_made_again_when_others_took_their_place():
    questions = open_questions("world:docs=50,worlds=40,tasks=1,hops=1")
    first = questions.corpus(questions.ids("train")[0])
    for each in questions.ids("train"):
        questions.task(each)
    again = questions.corpus(questions.ids("train")[0])
    assert again is not first
    assert again.fingerprint == first.fingerprint


# ------------------------------------------------------------------------------ hidden worlds


def test_hidden_worlds_come_from_the_secret_and_nothing_else(monkeypatch):
    spec = parse_spec("docs=100,hidden=true,tasks=10,worlds=2")
    one, same, other = (WorldQuestions(spec, secret) for secret in ("one", "one", "other"))
    id = one.ids("test")[0]
    assert id == "world:docs=100:kind=chain:hops=1:world=hidden0:task=0"
    assert one.task(id).split == "test"
    assert one.corpus(id).fingerprint == same.corpus(id).fingerprint
    assert one.corpus(id).fingerprint != other.corpus(id).fingerprint
    assert one.ids("train")[0].endswith("world=0:task=0")
    monkeypatch.setenv(SECRET, "one")
    assert open_questions("world:docs=100,hidden=true").task(id).data == one.task(id).data


def test_a_hidden_world_without_its_secret_says_which_variable_to_set(monkeypatch):
    monkeypatch.delenv(SECRET, raising=False)
    with pytest.raises(TaskError, match=f"set {SECRET}"):
        open_questions("world:docs=100,hidden=true,tasks=7")
    with pytest.raises(TaskError, match=f"set {SECRET}"):
        open_questions("world").task(ID.replace("=17", "=hidden1"))


def test_nothing_recorded_tells_the_seed_of_a_hidden_world():
    questions = WorldQuestions(parse_spec("docs=100,hidden=true"), "a secret")
    id = questions.ids("test")[0]
    assert str(questions.world(id).seed) not in f"{questions.task(id)}{questions.corpus(id).name}"
    assert questions.corpus(id).name == "world hidden0"


# ------------------------------------------------------------------------------ parameters


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("world:hop=2", "no parameter 'hop'; did you mean 'hops'"),
        ("world:kinds=chian", "no kind of question 'chian'; did you mean 'chain'"),
        ("world:hops=5", "hops is '5': give some of 1 to 4"),
        ("world:hops=3-2", "smaller number first"),
        ("world:hops=2+2", "once"),
        ("world:docs=many", "docs is 'many'"),
        ("world:docs=10", "docs is 10: give 50 to 1000000"),
        ("world:docs", "give docs once, as in docs=VALUE"),
        ("world:docs=100,docs=200", "give docs once"),
        ("world:worlds=0", "worlds is '0'"),
        ("world:poison=lots", "poison is 'lots'"),
        ("world:poison=1.5", "poison is 1.5"),
        ("world:hidden=yes", "hidden is 'yes'"),
        ("world:kinds=comparison,hops=1", "comparison has 2 to 4 hops"),
        ("world:kinds=unanswerable,missing=0", "give missing above 0"),
    ],
)
def test_a_wrong_parameter_says_what_is_wrong_with_it(spec, message):
    with pytest.raises(ConfigError, match=message):
        open_questions(spec)


@given(st.text(max_size=40))
@settings(max_examples=200)
def test_any_text_for_parameters_is_read_or_refused(text):
    refused = None
    try:
        spec = parse_spec(text)
    except ConfigError as error:
        refused = str(error)
    assert spec.asked if refused is None else refused.startswith("questions 'world:")


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("wrld:docs=100", "no set of questions 'wrld:docs=100'; did you mean 'world'"),
        ("", "no set of questions ''"),
        ("hotpotqa", "say where its files are, as hotpotqa:PATH"),
        ("nq:/no/such/file.jsonl", "no questions at '/no/such/file.jsonl'"),
    ],
)
def test_no_such_set_says_what_there_is(spec, message):
    with pytest.raises(TaskError, match=message):
        open_questions(spec)


def test_a_plan_is_what_an_expert_searches_for_and_the_usual_answer():
    question = open_questions("world:docs=200").task(ID).data
    searches, answer = plan(question)
    assert len(searches) == 2
    assert answer == question["answers"][0]
    assert plan({**question, "searches": []}) == ([], answer)
