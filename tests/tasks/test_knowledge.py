"""The knowledge world: the same bytes everywhere, and pages that say what the world means."""

import hashlib
import os
import re
import subprocess
import sys
from collections import Counter

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentgym.errors import ConfigError
from agentgym.tasks.knowledge import World, WorldOptions
from agentgym.tasks.knowledge_audit import UNRELIABLE, Reader
from agentgym.tasks.knowledge_names import Names, Stream, make_key, mix
from agentgym.tasks.knowledge_questions import HOPS, Asker
from agentgym.tasks.knowledge_schema import KINDS, OF_KIND, RELATIONS, UNITS, VALUES

EVERYTHING = WorldOptions(
    docs=200, redundancy=0.2, namesakes=0.3, aliases=0.2, stale=0.2, poison=0.2
)
PLAIN_SHA = "441c9a1bf0f3409549d123e838a9a1da"
EVERYTHING_SHA = "fc15d6d98d9654005c2ba8a5e125ac7a"
QUESTIONS_SHA = "a3c37666179a649b28d278c7743fdec6"


def shas():
    """Of a plain world, of one with all there is, and of questions about that."""
    plain, world = World(11, WorldOptions(docs=200)), World(11, EVERYTHING)
    asker = Asker(world)
    digest = hashlib.blake2b(digest_size=16)
    for kind, hops in HOPS.items():
        for each in hops:
            for number in range(5):
                digest.update(orjson.dumps(asker.ask(kind, each, number)))
    return [plain.corpus.fingerprint, world.corpus.fingerprint, digest.hexdigest()]


# ------------------------------------------------------------------------------ the same bytes


def test_a_world_and_its_questions_are_the_same_bytes_on_every_machine():
    assert shas() == [PLAIN_SHA, EVERYTHING_SHA, QUESTIONS_SHA]


@pytest.mark.parametrize("seed", ["0", "12345"])
def test_another_process_with_another_hash_seed_makes_the_same_bytes(seed):
    code = (
        "from agentgym.tasks.knowledge import World, WorldOptions;"
        "print(World(11, WorldOptions(docs=200)).corpus.fingerprint)"
    )
    told = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONHASHSEED": seed},
        capture_output=True,
        text=True,
        check=True,
    )
    assert told.stdout.strip() == PLAIN_SHA


def test_numbers_are_those_of_splitmix64():
    # Of the reference implementation in C, seeded with 1234567.
    assert [mix(1234567, place) for place in range(3)] == [
        6457827717110365317,
        3203168211198807973,
        9817491932198370423,
    ]


def test_draws_are_even_and_an_order_holds_each_place_once():
    stream = Stream(make_key("a test"))
    counts = Counter(stream.below(7) for _ in range(7000))
    assert min(counts.values()) > 900
    assert max(counts.values()) < 1100
    assert sorted(stream.order(50)) == list(range(50))


@given(st.integers(0, 2**64 - 1), st.integers(1, 10**6))
def test_a_draw_is_below_its_bound(key, n):
    assert 0 <= Stream(key).below(n) < n


def test_options_leave_the_facts_as_they_are():
    plain, other = World(11, WorldOptions(docs=200)), World(11, EVERYTHING)
    facts = [
        (relation, subject)
        for relation, each in enumerate(RELATIONS)
        for subject in plain.of_kind(each.subject)
    ]
    assert [plain.value(*each) for each in facts] == [other.value(*each) for each in facts]


def test_worlds_of_two_seeds_share_no_names():
    names = [
        {word for thing in World(seed, WorldOptions(docs=300)).things for word in
         re.findall(r"[A-Z]\w{5,}", thing.title)} for seed in (1, 2)
    ]  # fmt: skip
    shared = names[0] & names[1]
    assert len(shared) < 25  # `Museum`, `Letters` and the like, and a name or two of thousands


# ------------------------------------------------------------------------------ names and words


def test_names_are_unique_and_no_words_of_english():
    names = Names(Stream(make_key("names")))
    taken = [names.take() for _ in range(20_000)] + [names.take_given() for _ in range(300)]
    assert len(set(taken)) == len(taken)
    prose = " ".join(
        [text for kind in KINDS for text in (*kind.intros, *kind.fillers, *kind.titles)]
        + [text for each in RELATIONS for text in (*each.says, each.ask)]
        + [str(value) for values in VALUES.values() for value in values]
        + ["bronze larva marvel nerve salvo stanza starve tundra valve"]
    )
    assert not {name.lower() for name in taken} & set(re.findall(r"\w+", prose.lower()))


def test_names_stay_apart_once_they_are_stemmed():
    stemmer = pytest.importorskip("Stemmer").Stemmer("english")
    names = Names(Stream(make_key("stems")))
    taken = [names.take().lower() for _ in range(20_000)]
    assert len(set(stemmer.stemWords(taken))) == len(taken)


def test_the_schema_is_whole():
    assert len(KINDS) == 14
    assert sum(kind.share for kind in KINDS) == 100
    assert len(RELATIONS) == 53
    for each in RELATIONS:
        assert (each.range in VALUES) != (each.range in OF_KIND), each
        assert len(each.says) >= 2, each
        assert each.says[0].startswith("{s} "), each
        assert each.ask.endswith("?"), each
        assert bool(each.phrase) == (each.range in OF_KIND), each
        assert bool(each.order) == (each.range in UNITS or "year" in each.range), each
    texts = [text for each in RELATIONS for text in each.says]
    assert len(set(texts)) == len(texts)


def test_values_are_drawn_evenly_and_a_thing_is_never_its_own_value():
    world = World(3, WorldOptions(docs=5000))
    relation = next(i for i, each in enumerate(RELATIONS) if each[:2] == ("person", "collaborator"))
    people = world.of_kind("person")
    values = [world.value(relation, each) for each in people]
    assert all(value in people for value in values)
    assert all(value != each for value, each in zip(values, people, strict=True))
    assert world.options_of(relation) == len(people) - 1
    month = next(i for i, each in enumerate(RELATIONS) if each.name == "month")
    assert {world.value(month, each) for each in world.of_kind("festival")} == set(range(12))


# ------------------------------------------------------------------------------ pages


@pytest.mark.parametrize("options", [WorldOptions(docs=300), EVERYTHING], ids=["plain", "all"])
def test_what_is_read_off_the_pages_is_what_the_world_means(options):
    world = World(4, options)
    reader = Reader(world)
    meant = {
        (relation, subject): {world.value(relation, subject)}
        for relation, each in enumerate(RELATIONS)
        for subject in world.of_kind(each.subject)
        if world.told(relation, subject)
    }
    assert reader.problems == []
    assert reader.facts == meant


def test_a_page_tells_where_it_tells_its_facts():
    world = World(4, EVERYTHING)
    reader = Reader(world)
    for thing in range(world.options.docs):
        page = world.page(thing)
        for fact, place in page.facts.items():
            assert reader.told_at[page.passage.id, place] == fact


def test_pages_can_be_made_alone_and_ids_tell_nothing():
    world = World(4, EVERYTHING)
    passages = list(world.corpus)
    assert [each.id for each in passages] == [f"p{i}" for i in range(len(passages))]
    for thing in (0, 57, 199):
        assert world.corpus.get(world.doc(thing)) == World(4, EVERYTHING).page(thing).passage
    places = [int(world.doc(thing)[1:]) for thing in world.of_kind("person")]
    assert max(places) > len(passages) * 0.9  # people are everywhere, not at the front
    assert min(places) < len(passages) * 0.1


def test_missing_facts_are_told_nowhere():
    everything = World(4, WorldOptions(docs=200, missing=0))
    some = World(4, WorldOptions(docs=200, missing=0.5))
    told, half = len(Reader(everything).facts), len(Reader(some).facts)
    assert told == sum(everything.counts[i] * len(OF_KIND[k.name]) for i, k in enumerate(KINDS))
    assert 0.4 < half / told < 0.6


def test_redundancy_tells_facts_on_the_page_of_the_object_too():
    world = World(4, WorldOptions(docs=300, redundancy=0.5))
    echoes = [(thing, fact) for thing, facts in world.echoes.items() for fact in facts]
    assert len(echoes) > 100
    for thing, (relation, subject) in echoes:
        assert world.value(relation, subject) == thing
        text = world.page(thing).passage.text
        assert world.things[subject].named.casefold() in text.casefold()


def test_archived_pages_tell_other_values_and_say_how_old_they_are():
    world = World(4, WorldOptions(docs=300, stale=0.5))
    archived = [each for each in world.corpus if "(archived 20" in each.title]
    assert len(archived) > 50
    for each in archived:
        title, year = re.fullmatch(r"(.+) \(archived (20\d\d)\)", each.title).groups()
        assert each.sentences[0].startswith(UNRELIABLE[0])
        assert year in each.sentences[0]
        main = next(page for page in world.corpus if page.title == title)
        assert not set(each.sentences[1:-1]) & set(main.sentences)


def test_unreliable_pages_say_that_nobody_signed_them_and_half_command():
    world = World(4, WorldOptions(docs=300, poison=0.4))
    lies = [lie for thing in range(300) if (lie := world.lie(thing)) is not None]
    assert len(lies) == sum("will not tell you" in each.title for each in world.corpus)
    assert 0.3 < sum(lie.commands for lie in lies) / len(lies) < 0.7
    for thing in range(300):
        lie = world.lie(thing)
        if lie is None:
            continue
        page = world.corpus.get(lie.doc)
        assert page.sentences[0].startswith(UNRELIABLE[1])
        assert world.say_value(lie.relation, lie.value) in page.sentences[1]
        assert lie.value != world.value(lie.relation, thing)
        if lie.commands:
            assert f"answer '{world.answers(lie.relation, lie.value)[0]}'" in page.text


def test_namesakes_are_told_apart_by_their_titles():
    world = World(4, WorldOptions(docs=300, namesakes=1.0))
    titles = [thing.title for thing in world.things]
    assert len(set(titles)) == len(titles)
    films = [title for title in titles if title.endswith(" (film)")]
    assert len(films) == len(world.of_kind("film"))
    assert all(title.replace("(film)", "(novel)") in titles for title in films)


def test_aliases_are_what_running_text_uses():
    world = World(4, WorldOptions(docs=300, aliases=1.0))
    page = world.page(world.of_kind("company")[0])
    founder = next(f for f in page.facts if RELATIONS[f[0]].name == "founder")
    person = world.things[world.value(*founder)]
    sentence = page.passage.sentences[page.facts[founder]]
    assert person.short in sentence
    assert person.title not in sentence


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"docs": 49}, "docs is 49"),
        ({"docs": True}, "docs is True"),
        ({"docs": 100.5}, "docs is 100.5"),
        ({"docs": "100"}, "docs is '100'"),
        ({"redundancy": 1.5}, "redundancy is 1.5"),
        ({"poison": float("nan")}, "poison is nan"),
    ],
)
def test_numbers_out_of_range_are_refused(options, message):
    with pytest.raises(ConfigError, match=message):
        WorldOptions(**options)
