"""TextWorld from a shared memo: what it tells is what the engines tell, whoever asked before."""

from __future__ import annotations

import json
import os
import pickle
import random
import subprocess
import sys
import threading
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gymnasium as gym
import pytest

pytest.importorskip("textworld", reason="needs agentgym-env[textworld]")

from agentgym.envs import textworld_interpreter, textworld_shelf
from agentgym.envs.textworld import TextWorld
from agentgym.envs.textworld_engine import (
    _APART,
    _END,
    _INNER,
    _MENU,
    _STATUS,
    _TRACE,
    Cartridge,
    Heard,
)
from agentgym.envs.textworld_grounding import Grounding
from agentgym.envs.textworld_interpreter import Interpreter
from agentgym.tasks.textworld_games import import_engine, load_game

FAMILIES = {
    "coin": "coin:level=110:seed=0",
    "treasure": "treasure:level=21:seed=1",
    "simple": "simple:level=1:seed=0",
    "cooking": "cooking:level=8:seed=0",
    "custom": "custom:level=3:seed=1",
}
NOT_UNDERSTOOD = ("xyzzy", "frobnicate the lamp", "take", "go", "open nothing", "look under zzz")
ODD = (
    *("look", "wait", "score", "goal", "inventory", "take it", "examine it", "drop them"),
    *("take all", "drop all", "unlock", "insert", "put", "examine me", "go", "open it"),
    *("yes", "no", "x north", "get up", "jump", "sing", "eat", "cook", "listen", "take two"),
    *("take its handle", "put it on table", "enter door", "smell", "read cookbook"),
)


@pytest.fixture(scope="module", autouse=True)
def _cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """One cache for the module, unless the caller keeps one."""
    with pytest.MonkeyPatch.context() as patch:
        if "AGENTGYM_CACHE" not in os.environ:
            patch.setenv("AGENTGYM_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture
def env() -> Iterator[TextWorld]:
    made = gym.make("agentgym/TextWorld-v0", max_turns=500)
    assert isinstance(made, TextWorld)
    yield made
    made.close()


def cartridge_of(task: str, **arguments: Any) -> Cartridge:
    file = load_game(task)
    return Cartridge(file.rom, textworld_shelf.load_grounding(file), **arguments)


class Player:
    """Plays a cartridge, and beside it an interpreter that remembers nothing."""

    def __init__(self, cartridge: Cartridge, bare: Interpreter) -> None:
        self.cartridge, self.bare = cartridge, bare
        self.begin()

    def begin(self) -> None:
        self.at: Heard = self.cartridge.start()
        self.bare.reset()
        self.history: list[str] = []

    def play(self, command: str) -> tuple[str, str]:
        """What the one and the other answer."""
        node, clock = self.at.node, self.at.clock
        self.at = self.cartridge.play(node, clock, command, self.history)
        self.history.append(command)
        plain = _STATUS.sub("", self.bare.step(command))
        if _END.search(plain):
            plain = _MENU.sub("", plain)
        # The bare one does not trace; ours traces and takes that out again.
        return self.at.text, plain.strip()

    def some_command(self, rng: random.Random, odd: float) -> str:
        node = self.at.node
        route = self.cartridge.planner.route(node.position)
        draw = rng.random()
        if draw < odd:
            return rng.choice(ODD)
        if draw < 0.5 and route is not None:
            return self.cartridge.planner.command(route.step)
        if draw < 0.55 and self.history:
            return self.history[-1].split()[-1]  # an answer, where the game asked
        return rng.choice(node.admissible(self.cartridge.view))


def lines(text: str) -> list[str]:
    """What is printed, without TextWorld's traces and menus and the gaps that they leave."""
    text = _TRACE.sub("", _APART.sub("", _INNER.sub("", text)))
    return [line.strip() for line in _MENU.sub("", text).split("\n") if line.strip()]


# ---------------------------------------------------------------- against the engines


@pytest.mark.parametrize("task", FAMILIES.values(), ids=FAMILIES)
def test_texts_are_those_of_an_interpreter_that_remembers_nothing(task: str) -> None:
    cartridge = cartridge_of(task)
    player = Player(cartridge, Interpreter(load_game(task).rom))
    rng = random.Random(0)
    kept = games = 0
    for turn in range(400):
        command = player.some_command(rng, 0.12)
        kept += command in player.at.node.edges
        ours, bare = player.play(command)
        assert ours == bare, (turn, player.history[-5:])
        if player.at.node.ending or len(player.history) == 40:
            player.begin()
            games += 1
            rng = random.Random(games % 3)  # the same ways, and what was seen on others meanwhile
    assert kept > 30
    cartridge.close()


def test_games_of_an_unknown_compiler_are_told_apart_by_all_of_their_memory(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(textworld_interpreter, "_COMPILER", b"none")
    task = FAMILIES["custom"]
    cartridge = cartridge_of(task)
    player = Player(cartridge, Interpreter(load_game(task).rom))
    kept = 0
    for seed in (1, 1, 2):
        rng = random.Random(seed)
        player.begin()
        while len(player.history) < 30 and not player.at.node.ending:
            command = player.some_command(rng, 0.12)
            kept += command in player.at.node.edges
            ours, bare = player.play(command)
            assert ours == bare, player.history[-5:]
    assert kept > 0
    cartridge.close()


@pytest.mark.parametrize("task", FAMILIES.values(), ids=FAMILIES)
def test_texts_commands_points_and_ends_are_textworlds_own(
    task: str, env: TextWorld, tmp_path: Path
) -> None:
    import_engine()
    import textworld

    game = load_game(task)
    (tmp_path / "game.z8").write_bytes(game.rom)
    (tmp_path / "game.json").write_text(json.dumps(game.description))
    infos = textworld.EnvInfos(
        admissible_commands=True, score=True, won=True, lost=True, feedback=True
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # jericho's, about games it does not support
        theirs = textworld.start(str(tmp_path / "game.z8"), infos)
    rng = random.Random(2)
    played, over = 0, True
    while played < 210:
        if over:
            state = theirs.reset()
            _, info = env.reset(seed=0, options={"task": task, "hints": ["admissible"]})
            over = False
        assert sorted(set(state.admissible_commands)) == info["admissible"], played
        draw = rng.random()
        best = env.oracle()
        if draw < 0.1:
            command = rng.choice(NOT_UNDERSTOOD)
        elif draw < 0.6 and best is not None:
            command = best
        else:
            command = rng.choice(info["admissible"])
        state, score, over = theirs.step(command)
        text, reward, terminated, truncated, info = env.step(command)
        played += 1
        assert lines(text) == lines(_STATUS.sub("", state.feedback)), (played, command)
        assert (terminated, reward == 1.0) == (over, bool(state.won)), (played, command)
        assert (info["facts"]["dead_end"] and terminated) == bool(state.lost)
        if not over:
            assert info["facts"]["score"] == score
        over = over or truncated
    theirs.close()


# ---------------------------------------------------------------- one cartridge, many worlds


def play_out(env: TextWorld, task: str, seed: int, turns: int) -> list[Any]:
    """A play of oracle and chance; everything told."""
    rng = random.Random(seed)
    options = {"task": task, "hints": ["admissible", "oracle"]}
    text, info = env.reset(seed=seed, options=options)
    told: list[Any] = [(text, info["facts"], info["admissible"])]
    for _ in range(turns):
        best = info["oracle"]
        random_one = best is None or rng.random() < 0.5
        command = rng.choice([*info["admissible"], *ODD]) if random_one else best
        text, reward, terminated, _, info = env.step(command)
        told.append((command, text, reward, info["facts"], info.get("admissible")))
        if terminated:
            break
    return told


def test_worlds_of_one_game_do_not_meet(env: TextWorld) -> None:
    task = FAMILIES["cooking"]
    alone = [play_out(env, task, seed, 15) for seed in (1, 2)]
    env.close()
    worlds = [gym.make("agentgym/TextWorld-v0", max_turns=500).unwrapped for _ in range(2)]
    told: list[list[Any]] = [[], []]
    infos: list[Any] = [None, None]
    for number, world in enumerate(worlds):
        text, infos[number] = world.reset(seed=number, options={"task": task})
        told[number].append(text)
    for turn in range(1, 16):
        for number, world in enumerate(worlds):
            if turn < len(alone[number]):
                text, *_ = world.step(alone[number][turn][0])
                told[number].append(text)
    assert told == [[play[0][0], *(step[1] for step in play[1:])] for play in alone]
    assert worlds[0]._at_work.cartridge is worlds[1]._at_work.cartridge  # type: ignore[attr-defined]
    for world in worlds:
        world.close()


def test_worlds_of_one_game_play_in_threads(env: TextWorld) -> None:
    task = FAMILIES["simple"]
    alone = [play_out(env, task, seed, 30) for seed in range(4)]
    env.close()  # what was remembered is gone
    told: dict[int, list[Any]] = {}

    def play(seed: int) -> None:
        world = gym.make("agentgym/TextWorld-v0", max_turns=500).unwrapped
        assert isinstance(world, TextWorld)
        told[seed] = play_out(world, task, seed, 30)
        world.close()

    threads = [threading.Thread(target=play, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [told[seed] for seed in range(4)] == alone


def test_the_memo_is_bounded_and_texts_stay_right() -> None:
    task = FAMILIES["custom"]
    bound = 60_000
    small = cartridge_of(task, memo_bytes=bound)
    player = Player(small, Interpreter(load_game(task).rom))
    rng = random.Random(4)
    most = forgotten = 0
    for _ in range(300):
        before = small.used_bytes
        ours, bare = player.play(player.some_command(rng, 0.1))
        assert ours == bare
        most = max(most, small.used_bytes)
        forgotten += small.used_bytes < before
        if player.at.node.ending or len(player.history) == 40:
            player.begin()
    assert forgotten > 1
    assert most <= bound + 10_000
    small.close()


def test_cartridges_are_kept_while_someone_plays_and_no_longer() -> None:
    first, second = (gym.make("agentgym/TextWorld-v0").unwrapped for _ in range(2))
    first.reset(options={"task": FAMILIES["custom"]})
    cartridge = first._at_work.cartridge  # type: ignore[attr-defined]
    second.reset(options={"task": FAMILIES["coin"]})
    second.reset(options={"task": FAMILIES["custom"]})
    assert second._at_work.cartridge is cartridge  # type: ignore[attr-defined]
    first.close()
    second.reset(options={"task": FAMILIES["custom"]})
    assert second._at_work.cartridge is cartridge  # type: ignore[attr-defined]
    second.close()
    assert not textworld_shelf._loaded
    second.reset(options={"task": FAMILIES["custom"]})
    assert second._at_work.cartridge is not cartridge  # type: ignore[attr-defined]
    second.close()


# ---------------------------------------------------------------- snapshots, processes


GO_ON = """
import json, pickle, sys, gymnasium, agentgym
env = gymnasium.make("agentgym/TextWorld-v0", max_turns=500).unwrapped
env.reset(seed=9, options={"task": "custom:level=3:seed=1"})
snapshot, commands = pickle.load(open(sys.argv[1], "rb"))
env.restore(snapshot)
print(json.dumps([env.admissible(), [(*env.step(c)[:2], env.step("look")[-1]["facts"])
      for c in commands]]))
"""


def test_a_snapshot_is_small_and_goes_on_alike_in_another_process(
    env: TextWorld, tmp_path: Path
) -> None:
    told = play_out(env, FAMILIES["custom"], 3, 6)
    assert "outcome" not in told[-1][3]
    env.step("take it")
    env.step("unlock")  # the game asks with what
    here = env.snapshot()
    assert len(pickle.dumps(here)) < 4000
    commands = [step[0] for step in told[1:]] + ["examine it", "look"]

    def go_on() -> Any:
        steps = [(*env.step(c)[:2], env.step("look")[-1]["facts"]) for c in commands]
        return json.loads(json.dumps([admissible, steps]))

    admissible = env.admissible()
    ours = go_on()
    env.restore(here)
    assert go_on() == ours
    place = tmp_path / "snapshot"
    place.write_bytes(pickle.dumps((here, commands)))
    for hash_seed in ("1", "2"):
        done = subprocess.run(
            [sys.executable, "-c", GO_ON, str(place)],
            env={**os.environ, "PYTHONHASHSEED": hash_seed},
            check=True,
            capture_output=True,
        )
        assert json.loads(done.stdout) == ours


def test_what_is_told_does_not_hang_on_hash_seeds(tmp_path: Path) -> None:
    script = (
        "import hashlib, sys; sys.path.insert(0, sys.argv[1]);"
        "import gymnasium, agentgym, test_textworld_memo as t;"
        "env = gymnasium.make('agentgym/TextWorld-v0', max_turns=500).unwrapped;"
        "told = [t.play_out(env, t.FAMILIES[f], 5, 20) for f in ('cooking', 'treasure')];"
        "print(hashlib.sha256(repr(told).encode()).hexdigest())"
    )
    for task in (FAMILIES["cooking"], FAMILIES["treasure"]):
        load_game(task)
    answers = set()
    for hash_seed in ("1", "2"):
        for known in Path(os.environ["AGENTGYM_CACHE"]).rglob("grounded-*/*"):
            known.unlink()  # so that it is grounded anew
        done = subprocess.run(
            [sys.executable, "-c", script, str(Path(__file__).parent)],
            env={**os.environ, "PYTHONHASHSEED": hash_seed},
            check=True,
            capture_output=True,
        )
        answers.add(done.stdout)
    assert len(answers) == 1


@pytest.mark.parametrize("broken", [b"", b"{}", b"[1, 2]", b"[" + b"[]," * 13 + b"[]]"])
def test_a_broken_grounding_is_made_again(
    broken: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = load_game(FAMILIES["custom"])
    monkeypatch.setenv("AGENTGYM_CACHE", str(tmp_path))
    made = textworld_shelf.load_grounding(file).dump()
    (place,) = tmp_path.rglob("grounded-*/*.json")
    assert Grounding.parse(place.read_bytes()).dump() == made
    place.write_bytes(broken)
    assert textworld_shelf.load_grounding(file).dump() == made
    assert place.read_bytes() == made
