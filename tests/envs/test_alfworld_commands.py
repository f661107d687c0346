"""What may be said to ALFWorld's native engine, and games that ALFWorld's own engine told."""

from __future__ import annotations

import random
import re
from collections.abc import Iterator
from itertools import pairwise

import pytest
from households import TRANSCRIPTS, Player, digest, odd_room, read_transcripts, room
from hypothesis import given, settings
from hypothesis import strategies as st

from agentgym.envs.alfworld_engine import State
from agentgym.envs.alfworld_text import DIALECTS, VERSIONS
from agentgym.tasks.alfworld_game import TASK_TYPES

NOTHING = "Nothing happens."
KITCHEN = room(
    {"shelf_bar_1": "loc_bar_2", "shelf_bar_2": "loc_bar_2", "drawer_bar_1": "loc_bar_1"},
    {"mug_bar_1": "shelf_bar_1", "knife_bar_1": "shelf_bar_2"},
)
"""Names: of two shelves, the first by id is shelf 2."""

# -------------------------------------------------------------------------------- saying it


def test_help_lists_the_commands_in_the_newer_version_only() -> None:
    new, old = Player(KITCHEN), Player(KITCHEN, "2.1.1")
    told = new("help")
    lines = told.splitlines()
    assert lines[0] == "Available commands:"
    assert lines[1] == "  look:                             look around your current location"
    assert len(lines) == 14
    assert told.endswith("slice an object using a sharp object\n")
    assert "help" not in old.admissible
    assert old("help") == NOTHING


RELAXED = [
    "take the mug 1 from the shelf 2",
    "TAKE Mug 1 FROM Shelf 2",
    "take  a mug 1  from shelf 2.",
]


@pytest.mark.parametrize("command", RELAXED)
def test_only_relaxed_games_mind_neither_case_nor_articles(command: str) -> None:
    strict, relaxed = Player(KITCHEN), Player(KITCHEN, parity="relaxed")
    strict("go to shelf 2")
    assert strict(command) == NOTHING
    relaxed("go to shelf 2")
    assert relaxed(command) == "You pick up the mug 1 from the shelf 2."


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize(
    "command",
    [
        "move mug 1 to shelf 1",
        "put mug 1 in/on shelf 1",
        "Put the mug 1 on the shelf 1!",
        "put mug 1 into shelf 1",
        "place mug 1 in shelf 1",
        "put a mug 1 onto shelf 1",
    ],
)
def test_relaxed_games_know_every_way_to_put(version: str, command: str) -> None:
    play = Player(KITCHEN, version, "relaxed")
    play("go to shelf 2", "take mug 1 from shelf 2")
    assert play(command) == f"You {DIALECTS[version].put.format('the mug 1', 'the shelf 1')}."


def test_space_around_a_command_does_no_harm() -> None:
    assert Player(KITCHEN)(" look\t\n") == Player(KITCHEN)("look")
    assert Player(KITCHEN)("go to  shelf 1") == NOTHING


@given(seed=st.integers(0, 10_000), data=st.data())
@settings(deadline=None, derandomize=True, max_examples=100)
def test_nothing_is_possible_but_what_is_listed(seed: int, data: st.DataObject) -> None:
    """Of all that verbs, names and joints can be put together to, in rooms of every kind."""
    play = Player(odd_room(random.Random(seed)), VERSIONS[seed % 2])
    for _ in range(data.draw(st.integers(0, 10))):
        play(data.draw(st.sampled_from(play.admissible)))
    before, listed_now = values(play.state), set(play.admissible)
    for command in all_commands(play):
        twin = play.state.copy()
        possible = play.board.act(twin, command) is not None
        assert possible == (command.strip() in listed_now), command
        if not possible:
            assert values(twin) == before


def values(state: State) -> list[object]:
    return [getattr(state, name) for name in State.__slots__]


def all_commands(play: Player) -> Iterator[str]:
    receptacles, objects = play.board.receptacle_names, play.board.object_names
    called = [*receptacles, *objects, "", "mug 99", "shelf", "1"]
    verbs = "look inventory help examine open close use take move put heat clean cool slice go"
    for verb in (*verbs.split(), "go to", "goto", "look at", ""):
        yield verb
        yield from (f"{verb} {name}" for name in called)
        for joint in ("from", "to", "in/on", "with"):
            yield f"{verb} {joint}"
            for first in called:
                yield from (f"{verb} {first} {joint} {second}" for second in called[::2])


@given(seed=st.integers(0, 10_000), choices=st.lists(st.integers(0, 1_000), max_size=30))
@settings(deadline=None, derandomize=True, max_examples=150)
def test_all_that_is_listed_is_possible_sorted_and_once(seed: int, choices: list[int]) -> None:
    game = odd_room(random.Random(seed))
    play = Player(game, VERSIONS[seed % 2])
    for choice in choices:
        listed_now = play.admissible
        assert all(one < other for one, other in pairwise(listed_now))
        for command in listed_now:
            twin = play.state.copy()
            assert play.board.act(twin, command) is not None
        assert play.admissible == listed_now  # copies are played apart
        play(listed_now[choice % len(listed_now)])


@given(seed=st.integers(0, 10_000), choices=st.lists(st.integers(0, 1_000), max_size=30))
@settings(deadline=None, derandomize=True, max_examples=100)
def test_words_alone_tell_the_two_versions_apart(seed: int, choices: list[int]) -> None:
    """What can be done, and what it does, is the same in both."""
    game = odd_room(random.Random(seed))
    new, old = Player(game), Player(game, "2.1.1")

    def older(text: str) -> str:
        text = re.sub(r"^move (.*) to (.*)$", r"put \1 in/on \2", text)
        text = re.sub(r"^You move the (.*) to the (.*)$", r"You put the \1 in/on the \2", text)
        return re.sub(r"^You arrive at [^.]*", "You arrive at SOMEWHERE", text)

    assert new.intro == old.intro
    for choice in choices:
        commands = [each for each in new.admissible if each != "help"]
        assert sorted(map(older, commands)) == old.admissible
        command = commands[choice % len(commands)]
        assert older(new(command)) == older(old(older(command)))
        assert new.won == old.won


# -------------------------------------------------------------------------------- whole games


@pytest.mark.parametrize(
    "transcript",
    read_transcripts(),
    ids=lambda each: "-".join(map(str, [*each["made"], each["version"]])),
)
def test_a_game_that_alfworld_told_is_told_again(transcript: dict) -> None:
    """Its own engine's words, recorded by make_alfworld_transcripts.py."""
    game = transcript["game"]
    play = Player(game, transcript["version"])
    said = [[play.intro, digest(play.admissible), play.won]]
    for command, *_ in transcript["steps"][1:]:
        told = play.board.act(play.state, command.strip())
        said.append([told, digest(play.admissible), play.won])
    assert said == [step[1:] for step in transcript["steps"]]


def test_the_transcripts_are_of_every_kind() -> None:
    found = read_transcripts()
    assert {each["game"].task_type for each in found} == set(TASK_TYPES)
    assert {each["version"] for each in found} == set(VERSIONS)
    assert len(found) >= 12
    assert sum(len(each["steps"]) for each in found) >= 360
    assert any(each["steps"][-1][-1] for each in found)  # some are won
    assert TRANSCRIPTS.stat().st_size <= 60_000
