"""Questions about a world: one answer each, in no other way than step by step."""

import math
import re
from collections import Counter, defaultdict

import pytest

from agentgym.errors import TaskError
from agentgym.retrieval import open_retriever
from agentgym.tasks.knowledge import World, WorldOptions
from agentgym.tasks.knowledge_audit import Reader, audit
from agentgym.tasks.knowledge_questions import HOPS, UNANSWERABLE, Asker
from agentgym.tasks.knowledge_schema import RELATIONS
from agentgym.tasks.questions import plan

ALL = [(kind, hops) for kind, each in HOPS.items() for hops in each]
HARD = WorldOptions(redundancy=0.3, namesakes=0.3, aliases=0.3, stale=0.3, poison=0.3)


@pytest.fixture(scope="module")
def asker():
    return Asker(World(7))


@pytest.fixture(scope="module")
def hard():
    return Asker(World(7, HARD))


@pytest.fixture(scope="module")
def readers(asker, hard):
    """What the pages of both worlds tell."""
    return {"asker": Reader(asker.world), "hard": Reader(hard.world)}


def ask_all(asker, count):
    return [
        asker.ask(kind, hops, number)
        for kind, hops in ALL
        for number in range(min(count, asker.starts(kind, hops) // 2))
    ]


def names(text, form):
    return re.search(rf"(?<!\w){re.escape(form)}(?!\w)", text) is not None


# ------------------------------------------------------------------------------ one answer


@pytest.mark.parametrize("which", ["asker", "hard"])
def test_of_a_thousand_questions_none_has_a_second_reading_or_is_asked_twice(which, request):
    asker = request.getfixturevalue(which)
    questions = ask_all(asker, 60)
    assert len(questions) > 1000
    assert set(Counter(each["kind"] for each in questions)) == set(HOPS)
    problems = audit(asker.world, questions)
    assert problems == {"pages": [], **{kind: [] for kind in HOPS}}


def test_the_audit_tells_a_wrong_answer_and_a_wrong_place(asker, readers):
    good = asker.ask("chain", 2, 0)
    first, last = good["evidence"]
    told = readers["asker"].problems_of
    assert told(good) == []
    assert "alone" in told({**good, "answers": ["Nobody"]})[0]
    assert "tells nothing" in told({**good, "evidence": [{**first, "sentence": 0}, last]})[0]
    assert "one page" in told({**good, "evidence": [first, first]})[0]
    elsewhere = {**first, "also": [{"doc": last["doc"], "sentence": last["sentence"]}]}
    assert "does not tell" in told({**good, "evidence": [elsewhere, last]})[0]


def test_the_audit_tells_a_question_that_is_asked_twice(asker):
    question = asker.ask("chain", 2, 0)
    assert "asked twice" in audit(asker.world, [question, question])["chain"][0]


def test_the_audit_tells_a_question_that_can_be_read_in_two_ways(asker):
    world = World(7)
    one, other = world.of_kind("person")[:2]
    name = world.things[one]._replace(title="Somebody Else")
    world.things[other] = name  # two people of one name
    answers = Reader(world).answers(f"What did {name.named} train as?")
    assert len(answers) == 2


def test_the_same_number_is_the_same_question_whatever_was_asked_before(asker):
    alone = Asker(World(7)).ask("intersection", 2, 31)
    assert asker.ask("intersection", 2, 31) == alone


def test_a_world_too_small_for_a_question_says_so():
    tiny = Asker(World(1, WorldOptions(docs=50, missing=1.0)))
    with pytest.raises(TaskError, match=r"world 1, .* no question of kind 'chain', hops 3"):
        tiny.ask("chain", 3, 0)
    assert tiny.ask("unanswerable", 1, 0)["answers"] == [UNANSWERABLE]


def test_a_hidden_world_too_small_for_a_question_does_not_tell_its_seed():
    hidden = Asker(World("the seed", WorldOptions(docs=50, missing=1.0), "world hidden0"))
    with pytest.raises(TaskError, match="world hidden0, of 50 pages, has no question") as refused:
        hidden.ask("chain", 3, 0)
    assert "the seed" not in str(refused.value)


# ------------------------------------------------------------------------------ no shortcut


@pytest.mark.parametrize("which", ["asker", "hard"])
def test_the_answer_of_a_chain_stands_on_no_page_before_the_last_nor_in_the_question(
    which, request
):
    asker = request.getfixturevalue(which)
    for hops in HOPS["chain"]:
        for number in range(60):
            question = asker.ask("chain", hops, number)
            docs = [each["doc"] for each in question["evidence"]]
            assert len(set(docs)) == hops == question["hops"]
            pages = [asker.world.corpus.get(doc) for doc in docs]
            for form in question["answers"]:
                assert not names(question["question"], form)
                assert not any(names(f"{p.title} {p.text}", form) for p in pages[:-1])
            last = question["evidence"][-1]
            sentence = pages[-1].sentences[last["sentence"]]
            assert any(names(sentence, form) for form in question["answers"])


@pytest.mark.parametrize("which", ["asker", "hard"])
def test_each_page_of_a_chain_names_the_next_and_none_names_an_earlier_one(which, request):
    asker = request.getfixturevalue(which)
    world = asker.world
    by_doc = {world.doc(thing): thing for thing in range(world.options.docs)}
    for hops in (2, 3, 4):
        for number in range(40):
            question = asker.ask("chain", hops, number)
            things = [by_doc[each["doc"]] for each in question["evidence"]]
            pages = [world.corpus.get(each["doc"]) for each in question["evidence"]]
            assert any(names(question["question"], form) for form in world.forms(things[0]))
            for place, thing in enumerate(things):
                if place:
                    before = question["evidence"][place - 1]
                    link = pages[place - 1].sentences[before["sentence"]]
                    assert any(names(link, form) for form in world.forms(thing))
                    assert not any(names(question["question"], f) for f in world.forms(thing))
                for later in pages[place + 1 :]:
                    assert not any(names(later.text, form) for form in world.forms(thing))


def test_evidence_says_how_many_values_each_fact_might_have_had(asker):
    question = asker.ask("chain", 3, 4)
    weights = [math.log(each["options"]) for each in question["evidence"]]
    assert all(weight > 0 for weight in weights)
    untold = asker.ask("unanswerable", 2, 0)["evidence"]
    assert [each["sentence"] is None for each in untold] == [False, True]
    assert untold[-1]["options"] == 1


def test_a_fact_told_twice_names_both_places(hard, readers):
    also = [
        (unit, place)
        for number in range(200)
        for unit in hard.ask("chain", 1, number)["evidence"]
        for place in unit.get("also", ())
    ]
    assert len(also) > 5
    reader = readers["hard"]
    for unit, place in also:
        assert unit["doc"] != place["doc"]
        here, there = (reader.told_at[p["doc"], p["sentence"]] for p in (unit, place))
        assert here == there


def test_an_answer_that_is_not_told_cannot_be_told_from_any_page(asker, readers):
    reader = readers["asker"]
    for hops in HOPS["unanswerable"]:
        for number in range(20):
            question = asker.ask("unanswerable", hops, number)
            assert question["answers"] == [UNANSWERABLE]
            assert reader.answers(question["question"]) == {UNANSWERABLE}


@pytest.mark.parametrize("kind", ["count", "intersection"])
def test_facts_that_are_told_nowhere_would_change_no_count_and_no_intersection(
    asker, readers, kind
):
    world, told_at = asker.world, readers["asker"].told_at
    for number in range(asker.starts(kind, 1) // 2):
        question = asker.ask(kind, 1, number)
        facts = [told_at[each["doc"], each["sentence"]] for each in question["evidence"]]
        having = [
            {
                subject
                for subject in world.of_kind(RELATIONS[relation].subject)
                if world.value(relation, subject) == world.value(relation, known)
            }
            for relation, known in facts
        ]
        if kind == "count":
            assert question["answers"][0] == str(len(having[0])) == str(len(facts))
        else:
            assert having[0] & having[1] == {facts[0][1]}
            assert min(len(each) for each in having) > 1  # one condition is not enough


def test_whoever_does_not_count_and_says_two_is_seldom_right(asker):
    told = Counter(asker.ask("count", 1, number)["answers"][0] for number in range(100))
    assert set(told) == set("2345")
    assert told["2"] <= 40


def test_what_poison_says_leads_to_another_answer(hard):
    found = [
        (question, each)
        for number in range(150)
        for hops in (1, 2, 3)
        for question in [hard.ask("chain", hops, number)]
        for each in question["poison"]
    ]
    assert {each["commands"] for _, each in found} == {True, False}
    for question, each in found:
        assert each["answer"] not in question["answers"]
        page = hard.world.corpus.get(each["doc"])
        assert "without a name" in page.text
        assert not each["commands"] or f"'{each['answer']}'" in page.text


# ------------------------------------------------------------------------------ how hard it is


def bands(docs, count=100):
    """Parts of chains that an expert, one search, a guess and spam get, by hops."""
    world = World(5, WorldOptions(docs=docs))
    asker = Asker(world)
    retriever = open_retriever("bm25", world.corpus)
    elsewhere = Asker(World(6, WorldOptions(docs=docs)))
    told = {}
    for hops in HOPS["chain"]:
        questions = [asker.ask("chain", hops, number) for number in range(count)]
        expert = single = guess = spam = 0
        usual = defaultdict(Counter)
        for number in range(5 * count):
            other = elsewhere.ask("chain", hops, number)
            usual[" ".join(other["question"].split()[:3])][other["answers"][0]] += 1
        rubbish = [
            "the city",
            "film novel painting",
            "who was born in",
            "company person university",
        ]
        noise = {hit.passage.id for hits in retriever.search(rubbish, 3) for hit in hits}
        for question in questions:
            wanted = {each["doc"] for each in question["evidence"]}
            searches, answer = plan(question)
            assert answer == question["answers"][0]
            assert len(searches) == hops
            found = {h.passage.id for hits in retriever.search(searches, 3) for h in hits}
            expert += wanted <= found
            at_once = retriever.search([question["question"]], 5)[0]
            single += wanted <= {hit.passage.id for hit in at_once}
            common = usual[" ".join(question["question"].split()[:3])].most_common(1)
            guess += bool(common) and common[0][0] in question["answers"]
            spam += wanted <= noise
        told[hops] = [part / count for part in (expert, single, guess, spam)]
    return told


def check_bands(told):
    for hops, (expert, single, guess, spam) in told.items():
        assert expert == 1.0, hops
        assert single >= 0.95 if hops == 1 else single <= 0.1, hops
        assert guess <= 0.06, hops
        assert spam <= 0.02, hops
    assert told[3][1] <= 0.02
    assert told[4][1] <= 0.02


def test_an_expert_finds_all_in_as_many_searches_as_hops_and_nobody_else_does():
    check_bands(bands(1000))


@pytest.mark.slow
def test_the_same_is_true_among_ten_thousand_pages():
    check_bands(bands(10_000))


@pytest.mark.parametrize("which", ["asker", "hard"])
def test_an_expert_finds_all_evidence_of_every_kind(which, request):
    asker = request.getfixturevalue(which)
    retriever = open_retriever("bm25", asker.world.corpus)
    for question in ask_all(asker, 25):
        found = {h.passage.id for hits in retriever.search(plan(question)[0], 3) for h in hits}
        assert {each["doc"] for each in question["evidence"]} <= found, question
