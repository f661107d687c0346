"""ALFWorld's oracle is exact: against brute force, on whole splits, and in what it says of play."""

from __future__ import annotations

import itertools
import math
import random
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from typing import Any

import pytest
from households import Player, choose, random_room, real, real_game, real_rows, room

from agentgym.envs.alfworld_engine import Board, State
from agentgym.envs.alfworld_facts import Track, oracle_facts, state_key
from agentgym.envs.alfworld_oracle import Oracle, solvable
from agentgym.tasks.alfworld_game import TASK_TYPES, Game
from agentgym.tasks.alfworld_generate import generate

ROOMS = 36
"""Of each task type, to be played in every way there is."""
MOST_STATES = 5_000
DO_NOTHING = ("look", "inventory", "help", "examine", "slice")

FITS_NOWHERE = room(
    {"shelf_bar_1": "loc_bar_1", "drawer_bar_1": "loc_bar_2"},
    {"mug_bar_1": "drawer_bar_1", "book_bar_1": "shelf_bar_1"},
    fits={"shelf": ["mug"], "drawer": ["mug"]},
)
"""The book can be taken, and then there is no winning."""


def position(state: State) -> tuple[Any, ...]:
    """All that is true."""
    return (
        *(state.location, state.held, state.opened, tuple(state.within)),
        *(state.clean, state.hot, state.cool, state.on, state.sliced),
    )


# -------------------------------------------------------------------------------- brute force


def every_state(game: Game) -> tuple[dict[Any, State], dict[Any, int]]:
    """All that can come about, and how far each is from a win, by trying everything.

    Nothing is returned where that would be too much.
    """
    play = Player(game)
    states = {position(play.state): play.state}
    before, waiting = defaultdict(list), [play.state]
    for state in waiting:
        if state.won:
            continue
        if len(states) > MOST_STATES:
            return {}, {}
        for command in play.board.admissible(state):
            if not command.startswith(DO_NOTHING):
                after = state.copy()
                assert play.board.act(after, command) is not None
                if position(after) not in states:
                    states[position(after)] = after
                    waiting.append(after)
                before[position(after)].append(position(state))
    layer = [key for key, state in states.items() if state.won]
    far = dict.fromkeys(layer, 0)
    for steps in itertools.count(1):
        layer = [key for each in layer for key in before[each] if key not in far]
        far.update(dict.fromkeys(layer, steps))
        if not layer:
            return states, far
    raise AssertionError


@pytest.mark.parametrize("kind", TASK_TYPES)
def test_the_oracle_and_keys_of_positions_are_exact(kind: str) -> None:
    """By brute force, in every state of small rooms, dead ends among them."""
    seen: Counter[str] = Counter()
    for seed in range(ROOMS):
        game = random_room(random.Random(f"{kind} {seed}"), kind)
        states, far = every_state(game)
        play = Player(game)
        oracle = Oracle(play.board)
        for key, state in states.items():
            assert oracle.remaining(state) == far.get(key), (seed, key)
            plan = oracle.plan(state)
            assert (None if plan is None else len(plan)) == far.get(key)
            assert oracle.next_command(state) == (plan[0] if plan else None)
            seen["dead ends" if plan is None else "won" if not plan else "to be won"] += 1
        assert len({state_key(state) for state in states.values()}) == len(states)
        seen["rooms"] += bool(states)
        assert not states or solvable(game) == (position(play.state) in far)
    assert seen["rooms"] >= ROOMS // 2
    assert min(seen["dead ends"], seen["won"]) >= 50
    assert seen["to be won"] >= 1_000


# -------------------------------------------------------------------------------- winning


def see_it_win(game: Game, version: str = "2.1.2") -> int:
    """Follow a shortest plan to its end; how long that is."""
    play = Player(game, version)
    oracle = Oracle(play.board)
    plan = oracle.plan(play.state)
    assert plan, game.id
    for left, command in zip(range(len(plan), 0, -1), plan, strict=True):
        assert oracle.remaining(play.state) == left, game.id
        assert oracle.next_command(play.state) == command, game.id
        assert command in play.admissible, game.id
        assert not play.won, game.id
        play(command)
    assert play.won, game.id
    assert oracle.remaining(play.state) == 0
    assert oracle.plan(play.state) == []
    assert oracle.next_command(play.state) is None
    return len(plan)


@pytest.mark.parametrize("kind", TASK_TYPES)
def test_the_oracle_wins_generated_games(kind: str) -> None:
    lengths = [
        see_it_win(
            generate(kind, seed, size=("small", "full")[seed % 2], held_out=seed % 3 == 0),
            ("2.1.2", "2.1.1")[seed % 5 == 0],
        )
        for seed in range(100)
    ]
    assert min(lengths) >= 3
    assert max(lengths) <= 12


@real
@pytest.mark.parametrize(("split", "every"), [("valid_seen", 1), ("valid_train", 1), ("train", 5)])
def test_the_oracle_wins_real_games(split: str, every: int) -> None:
    for row in real_rows(split, every):
        assert 3 <= see_it_win(real_game(row), "2.1.1") <= 10


@real
@pytest.mark.slow
def test_the_oracle_wins_every_game_to_train_on() -> None:
    won = [see_it_win(real_game(row), "2.1.1") for row in real_rows("train")]
    assert len(won) == 3553


# -------------------------------------------------------------------------------- facts of play


def play_at_random(
    game: Game, seed: int, turns: int = 40
) -> Iterator[tuple[Player, Oracle, dict[str, Any]]]:
    """The facts at the start and after each command, some of them nonsense, up to a win."""
    rng = random.Random(seed)
    play = Player(game)
    oracle = Oracle(play.board)
    facts, track = oracle_facts(play.board, oracle, play.state, Track(), 0)
    yield play, oracle, facts
    for turn in range(1, turns + 1):
        command = choose(rng, play.admissible, 0.05)
        if rng.random() < 0.15:
            command = oracle.next_command(play.state) or command
        play.board.act(play.state, command)
        facts, track = oracle_facts(play.board, oracle, play.state, track, turn)
        yield play, oracle, facts
        if play.won:
            return


def games_to_play() -> Iterable[Game]:
    for kind in TASK_TYPES:
        for seed in range(12):
            yield generate(kind, 600 + seed, size=("small", "full")[seed % 2])
        for seed in range(20):
            yield random_room(random.Random(f"facts {kind} {seed}"), kind)
    yield FITS_NOWHERE


@pytest.mark.parametrize("kind", TASK_TYPES)
def test_the_oracle_can_win_ten_thousand_generated_games(kind: str) -> None:
    for seed in range(1_667):
        size, held_out = ("small", "full")[seed % 2], seed % 4 > 1
        game = generate(kind, 5_000 + seed, size=size, held_out=held_out)
        board = Board(game)
        start = board.start()
        plan = Oracle(board).plan(start)
        assert plan, f"{game.id} is won already, or cannot be"
        for command in plan:
            assert board.act(start, command) is not None
        assert start.won


def test_what_facts_say_of_the_way_adds_up() -> None:
    ended: Counter[str] = Counter()
    for number, game in enumerate(games_to_play()):
        start = before = None
        for turn, (play, oracle, facts) in enumerate(play_at_random(game, number)):
            remaining = oracle.remaining(play.state)
            assert facts["remaining"] == remaining
            assert facts["dead_end"] == (remaining is None)
            assert facts["score"] == float(play.won)
            assert (remaining == 0) == play.won
            if turn == 0:
                start = before = remaining
            if remaining is None:
                assert facts["progress"] is None
                assert facts["regret"] is None
                ended["dead"] += 1
            else:
                assert before is not None, "no way leads out of a dead end"
                assert start is not None
                assert remaining >= before - 1, "a step is worth no more than one"
                assert facts["progress"] == (before > remaining) - (before < remaining)
                assert facts["regret"] == turn + remaining - start >= 0
            before = remaining
        ended["won" if play.won else "not won"] += 1
    assert min(ended.values()) >= 10
    assert len(ended) == 3


def test_subgoals_are_reached_once_and_for_all() -> None:
    for number, game in enumerate(games_to_play()):
        earlier: dict[str, int | None] = {}
        for turn, (_, _, facts) in enumerate(play_at_random(game, number)):
            reached = facts["subgoals"]
            assert not earlier or earlier.keys() == reached.keys()
            for name, when in reached.items():
                assert when in (earlier.get(name), turn)
                assert when is not None or earlier.get(name) is None
            earlier = dict(reached)


@pytest.mark.parametrize(
    ("kind", "names"),
    [
        ("pick", "found held placed"),
        ("look", "found held lit looked"),
        ("clean", "found held cleaned placed"),
        ("heat", "found held heated placed"),
        ("cool", "found held cooled placed"),
        ("pick2", "found held placed_one placed"),
    ],
)
def test_subgoals_of_each_task_come_in_their_order_on_a_shortest_way(kind: str, names: str) -> None:
    for seed in range(20):
        play = Player(generate(kind, 700 + seed, size="small"))
        oracle = Oracle(play.board)
        facts, track = oracle_facts(play.board, oracle, play.state, Track(), 0)
        assert list(facts["subgoals"]) == names.split()
        plan = oracle.plan(play.state)
        assert plan is not None
        for turn, command in enumerate(plan, 1):
            play(command)
            facts, track = oracle_facts(play.board, oracle, play.state, track, turn)
        reached = facts["subgoals"]
        assert None not in reached.values()
        assert reached["found"] <= reached["held"] <= turn
        assert reached[names.split()[-1]] == turn == facts["subgoals"][list(reached)[-1]]


def test_entropy_never_rises_and_is_none_once_all_is_found() -> None:
    gone = 0
    for number, game in enumerate(games_to_play()):
        needed = 2 if game.task_type == "pick2" else 1
        entropy = math.inf
        for play, oracle, facts in play_at_random(game, number):
            assert 0.0 <= facts["target_entropy"] <= entropy
            entropy = facts["target_entropy"]
            if oracle.found(play.state) >= needed:
                assert entropy == 0.0
                gone += 1
    assert gone >= 500


def test_entropy_is_that_of_the_places_left() -> None:
    """By hand: shelf and three drawers take mugs, the cabinet does not."""
    receptacles = {f"drawer_bar_{n}": f"loc_bar_{n}" for n in (1, 2, 3)}
    receptacles |= {"shelf_bar_1": "loc_bar_4", "cabinet_bar_1": "loc_bar_5"}
    game = room(
        receptacles,
        {"mug_bar_1": "drawer_bar_1"},
        fits={"drawer": ["mug"], "shelf": ["mug"]},
    )
    play = Player(game)
    oracle = Oracle(play.board)
    entropies = []
    for command in (
        "look",
        "go to cabinet 1",
        "open cabinet 1",
        "go to shelf 1",  # nothing there
        "go to drawer 2",  # closed
        "open drawer 2",
        "go to drawer 3",
        "open drawer 3",  # drawer_bar_1, with the mug
        "close drawer 3",
    ):
        play(command)
        entropies.append(oracle.target_entropy(play.state, oracle.found(play.state)))
    expected = [4, 4, 4, 3, 3, 2, 2, 1, 1]
    assert entropies == pytest.approx([math.log(each) for each in expected])


# -------------------------------------------------------------------------------- dead ends


def test_holding_what_fits_nowhere_is_a_dead_end_for_good() -> None:
    play = Player(FITS_NOWHERE)
    oracle = Oracle(play.board)
    assert oracle.remaining(play.state) == 5
    play("go to shelf 1")
    assert oracle.remaining(play.state) == 5  # a detour of no consequence
    play("take book 1 from shelf 1")
    assert oracle.remaining(play.state) is None
    assert oracle.plan(play.state) is None
    assert oracle.next_command(play.state) is None
    for command in ("go to drawer 1", "open drawer 1", "look"):
        play(command)
        assert oracle.remaining(play.state) is None
    assert play.can("move ") == []


def test_what_cannot_be_won_is_known_from_the_start() -> None:
    receptacles = {"shelf_bar_1": "loc_bar_1", "drawer_bar_1": "loc_bar_2"}
    things = {"mug_bar_1": "drawer_bar_1"}
    assert solvable(room(receptacles, things))
    assert not solvable(room(receptacles, things, fits={"drawer": ["mug"]}))
    assert not solvable(room(receptacles, things, traits={"mug_bar_1": []}))
    assert not solvable(room(receptacles, things, goal="heat mug shelf"))  # no microwave
    assert not solvable(room(receptacles, things, goal="pick2 mug shelf"))
    assert not solvable(room(receptacles, things, goal="look mug desklamp"))


def test_a_lamp_may_itself_have_to_be_put_down() -> None:
    receptacles = {"shelf_bar_1": "loc_bar_1", "drawer_bar_1": "loc_bar_2"}
    things = {"mug_bar_1": "drawer_bar_1", "desklamp_bar_1": "shelf_bar_1"}
    having = {"desklamp_bar_1": ["toggleable", "pickupable"]}
    play = Player(room(receptacles, things, goal="look mug desklamp", traits=having))
    play("go to shelf 1", "take desklamp 1 from shelf 1")
    oracle = Oracle(play.board)
    plan = oracle.plan(play.state)
    assert plan is not None
    assert sorted(each.split()[0] for each in plan) == ["go", "move", "open", "take", "use"]
    play(*plan)
    assert play.won


@real
def test_real_games_have_dead_ends_too() -> None:
    """What can be taken and fits nowhere, such as a roll of paper towels."""
    met: Counter[bool] = Counter()
    for row in real_rows("valid_seen", 4):
        game = real_game(row)
        kept = {each for kinds in game.can_contain.values() for each in kinds}
        play = Player(game, "2.1.1")
        oracle = Oracle(play.board)
        for place in play.can("go to "):
            play.board.act(play.state, place)
            for door in play.can("open "):
                play(door)
            for command in play.can("take "):
                lost = command.split()[1] not in kept
                after = play.state.copy()
                assert play.board.act(after, command) is not None
                assert (oracle.remaining(after) is None) == (lost and not after.won), command
                met[lost] += 1
    assert min(met.values()) >= 10
    assert len(met) == 2


# -------------------------------------------------------------------------------- keys of positions


def test_two_ways_to_a_position_give_one_key() -> None:
    game = generate("pick", 0, size="small")
    ways = []
    for seed in range(30):
        for play, _, facts in play_at_random(game, seed):
            ways.append((position(play.state), facts["state_key"]))
    keys: dict[Any, set[str]] = defaultdict(set)
    for where, key in ways:
        keys[where].add(key)
    assert len(keys) < len(ways) - 100  # often met again
    assert all(len(each) == 1 for each in keys.values())
    assert len(set(itertools.chain(*keys.values()))) == len(keys)


def test_looking_about_does_not_change_the_key() -> None:
    play = Player(FITS_NOWHERE)
    play("go to drawer 1")
    key = state_key(play.state)
    play("look", "inventory", "examine drawer 1", "open drawer 1")
    assert state_key(play.state) != key
    play("take mug 1 from drawer 1", "move mug 1 to drawer 1", "close drawer 1")
    assert state_key(play.state) == key
