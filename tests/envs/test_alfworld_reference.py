"""The native engine against ALFWorld's own, which is slow: word for word, and plan for plan."""

from __future__ import annotations

import random
import sys
from typing import Any

import pytest
from households import Player, choose, need_alfworld, odd_room, real, real_game, real_rows

from agentgym.envs.alfworld_oracle import Oracle
from agentgym.envs.alfworld_reference import Reference, check_reference
from agentgym.errors import RegistryError
from agentgym.tasks.alfworld_game import TASK_TYPES, Game, read_problem, write_problem
from agentgym.tasks.alfworld_generate import generate

GAMES = [
    (kind, size, seed + number, "2.1.1" if (number + seed) % 3 == 0 else "2.1.2")
    for number, kind in enumerate(TASK_TYPES)
    for size, seed in (("small", 0), ("small", 100), ("full", 210))
]
ODD_GAMES = 12
SHORT, LONG = 10, 40
"""Steps in real games: most are short, as it is their variety that counts."""


@pytest.fixture
def alfworld() -> None:
    need_alfworld()


def see_them_agree(
    game: Game, version: str, steps: int, *, problem: str | None = None, skill: float = 0.0
) -> bool:
    """Play a game on both, with nonsense among the commands; whether it was won on the way.

    Args:
        skill: How often what is done is what the oracle says, else it is random.
    """
    rng = random.Random(f"{game.id} {version} {game.start}")
    reference, native = Reference(game, version, problem=problem), Player(game, version)
    oracle, won = Oracle(native.board), False
    told, said = reference.start(game.task), native.intro
    for turn in range(steps + 1):
        where = (game.id, version, turn)
        assert said == told, where
        assert native.admissible == reference.admissible, where
        assert native.won == reference.won, where
        won = won or native.won
        command = choose(rng, reference.admissible)
        if rng.random() < skill:
            command = oracle.next_command(native.state) or command
        answer = reference.act(command)
        told = "Nothing happens." if answer is None else answer
        said = native.board.act(native.state, command) or "Nothing happens."
    return won


# -------------------------------------------------------------------------------- made games


@pytest.mark.parametrize(("kind", "size", "seed", "version"), GAMES)
def test_both_engines_agree_on_random_play(
    alfworld: None, kind: str, size: str, seed: int, version: str
) -> None:
    see_them_agree(generate(kind, seed, size=size), version, 40)


@pytest.mark.parametrize("kind", TASK_TYPES)
def test_both_engines_agree_on_what_wins_and_on_play_after_that(alfworld: None, kind: str) -> None:
    version = ("2.1.2", "2.1.1")[len(kind) % 2]
    assert see_them_agree(generate(kind, 300, size="small"), version, 40, skill=0.5)


@pytest.mark.parametrize("first", range(0, ODD_GAMES, 4))
def test_both_engines_agree_where_games_are_odd(alfworld: None, first: int) -> None:
    """Shared spots, things in two places or none, fixed mugs, mobile lamps, open doors."""
    seeds = iter(range(1000 * first, 1000 * first + 1000))
    played = 0
    while played < 4:
        game = odd_room(random.Random(next(seeds)))
        board = Player(game).board
        if Oracle(board).remaining(board.start()) is None:
            continue  # Fast Downward has another form for what cannot be won
        see_them_agree(game, ("2.1.2", "2.1.1")[played % 2], 25, skill=0.2)
        played += 1


@pytest.mark.parametrize("kind", TASK_TYPES)
def test_the_oracle_plans_as_short_as_fast_downward_and_wins(alfworld: None, kind: str) -> None:
    for seed in (400, 401):
        game = generate(kind, seed, size="small")
        version = ("2.1.2", "2.1.1")[seed % 2]
        reference = Reference(game, version)
        reference.start(game.task)
        player = Player(game, version)
        plan = Oracle(player.board).plan(player.state)
        assert plan is not None
        assert len(plan) == len(reference.plan())
        for command in plan:
            assert not reference.won
            assert reference.act(command) == player(command)
        assert reference.won


def test_a_game_starts_over(alfworld: None) -> None:
    game = generate("pick", 500, size="small")
    reference = Reference(game, "2.1.2")
    first = reference.start(game.task)
    listed = reference.admissible
    for command in Oracle(Player(game).board).plan(Player(game).state) or ():
        reference.act(command)
    assert reference.won
    assert reference.start(game.task) == first
    assert reference.admissible == listed
    assert not reference.won


@pytest.mark.skipif(sys.version_info < (3, 13), reason="older Pythons have the engine")
def test_the_reference_is_refused_where_it_cannot_run() -> None:
    with pytest.raises(RegistryError, match=r"needs Python 3\.11 or 3\.12"):
        check_reference()


def test_the_reference_says_what_to_install(
    alfworld: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "path", [])
    monkeypatch.delitem(sys.modules, "alfworld", raising=False)
    sys.path_importer_cache.clear()
    with pytest.raises(RegistryError, match=r"pip install 'alfworld==0\.4\.2'"):
        check_reference()


# -------------------------------------------------------------------------------- real games


@real
@pytest.mark.parametrize("first", range(8))
def test_both_engines_agree_on_real_games(alfworld: None, first: int) -> None:
    rows = [*real_rows("valid_seen")][first::28]
    assert len(rows) == 5
    for row in rows:
        agree_on(row, SHORT)


@real
@pytest.mark.parametrize("number", [20, 55, 90, 125])
def test_both_engines_agree_on_long_play_of_real_games(alfworld: None, number: int) -> None:
    agree_on([*real_rows("valid_seen")][number], LONG)


def agree_on(row: dict[str, Any], steps: int) -> None:
    game, problem = real_game(row), row["pddl_problem"]
    see_them_agree(game, "2.1.1", steps, problem=problem, skill=0.3)


@real
def test_what_is_written_of_a_real_game_plays_like_the_original(alfworld: None) -> None:
    row = min(real_rows("valid_seen", 10), key=lambda row: len(row["pddl_problem"]))
    game = real_game(row)
    assert (
        read_problem(
            write_problem(game),
            id=game.id,
            task=game.task,
            human_goals=game.human_goals,
            scene=game.scene,
        )
        == game
    )
    see_them_agree(game, "2.1.1", SHORT)


@real
@pytest.mark.parametrize("rank", range(6))
def test_the_oracle_plans_as_short_as_fast_downward_in_real_rooms(
    alfworld: None, rank: int
) -> None:
    """In the smallest ones: Fast Downward's search explodes elsewhere."""
    rows = sorted(real_rows("valid_seen"), key=lambda row: len(row["pddl_problem"]))
    row = rows[rank * 8]
    game = real_game(row)
    reference = Reference(game, "2.1.1", problem=row["pddl_problem"])
    reference.start(game.task)
    player = Player(game, "2.1.1")
    assert Oracle(player.board).remaining(player.state) == len(reference.plan())
