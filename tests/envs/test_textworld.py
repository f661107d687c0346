"""TextWorld on its real engine: games, texts, ends, hostile commands, the oracle, snapshots."""

from __future__ import annotations

import json
import os
import pickle
import random
import subprocess
import sys
import tempfile
import threading
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest

import agentgym
from agentgym.errors import ConfigError, InvalidAction, TaskError

pytest.importorskip("textworld", reason="needs agentgym-env[textworld]")

from agentgym.envs.textworld import TextWorld, check_command
from agentgym.envs.textworld_grounding import Position
from agentgym.tasks import textworld_games
from agentgym.tasks.textworld import FAMILIES, SEEDS, GameIds, parse_id
from agentgym.tasks.textworld_games import (
    GameFile,
    cache_folder,
    cache_name,
    import_engine,
    load_game,
)

COOKING = "cooking:level=8:seed=0"
FOR_EVERY_FAMILY = ("coin:level=4", "treasure:level=21", "simple:level=1", "cooking:level=3")
FOR_EVERY_FAMILY += ("custom:level=3",)


@pytest.fixture(scope="module", autouse=True)
def _cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """One cache for the module, unless the caller keeps one."""
    with pytest.MonkeyPatch.context() as patch:
        if "AGENTGYM_CACHE" not in os.environ:
            patch.setenv("AGENTGYM_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture
def env() -> Iterator[TextWorld]:
    made = gym.make("agentgym/TextWorld-v0")
    assert isinstance(made, TextWorld)
    yield made
    made.close()


def start(env: TextWorld, task: str, *hints: str, seed: int = 0) -> tuple[str, dict[str, Any]]:
    text, info = env.reset(seed=seed, options={"task": task, "hints": hints})
    assert isinstance(text, str)
    return text, info


def follow_oracle(env: TextWorld, info: dict[str, Any]) -> tuple[float, bool, int]:
    """Play what the oracle says to the end: reward, terminated, turns."""
    reward, terminated, truncated = 0.0, False, False
    while not (terminated or truncated):
        assert info["oracle"] is not None
        _, reward, terminated, truncated, info = env.step(info["oracle"])
        assert info["invalid"] is None
    return reward, terminated, env.turn


# -------------------------------------------------------------------------------- games and tasks


@pytest.mark.parametrize("kind", FOR_EVERY_FAMILY)
@pytest.mark.parametrize("seed", [0, 1, SEEDS["test"].start])
def test_the_oracle_wins_every_family(kind: str, seed: int) -> None:
    task = f"{kind}:seed={seed}"
    env = gym.make("agentgym/TextWorld-v0", split=parse_id(task).split)
    _, info = env.reset(options={"task": task, "hints": ["oracle"]})
    reward, terminated, turns = follow_oracle(env.unwrapped, info)  # type: ignore[arg-type]
    assert (reward, terminated) == (1.0, True)
    assert turns <= 40
    env.close()


def test_the_oracle_fetches_cooks_and_cuts_with_few_hands(env: TextWorld) -> None:
    _, info = start(env, COOKING, "oracle")
    assert follow_oracle(env, info)[:2] == (1.0, True)


@pytest.mark.parametrize("task", ["simple:level=1:seed=1", COOKING, "treasure:level=21:seed=1"])
def test_the_oracle_wins_after_random_detours(env: TextWorld, task: str) -> None:
    rng = random.Random(1)
    _, info = start(env, task, "admissible", "oracle")
    for _ in range(25):
        before = env.snapshot()
        *_, terminated, _, info = env.step(rng.choice(info["admissible"]))
        if terminated:  # lost: not this way
            env.restore(before)
            info = {"admissible": env.admissible()}
    _, _, _, _, info = env.step("look")
    reward, terminated, _ = follow_oracle(env, info)
    assert (reward, terminated) == (1.0, True)


def test_the_oracle_says_nothing_where_nothing_helps(env: TextWorld) -> None:
    start(env, "treasure:level=21:seed=1")
    world = env._at_work
    planner = world.cartridge.planner
    assert planner.route(Position(0, 0, 0)) is None
    assert planner.route(world.node.position) is not None


def test_families_take_turns() -> None:
    ids = GameIds("coin, cooking", {"cooking": 2}, "valid")
    first = SEEDS["valid"].start
    assert list(ids[:3]) == [
        f"coin:level=5:seed={first}",
        f"cooking:level=2:seed={first}",
        f"coin:level=5:seed={first + 1}",
    ]
    assert len(ids) == 200
    assert ids[-1] == f"cooking:level=2:seed={first + 99}"
    with pytest.raises(IndexError):
        ids[200]


def test_ids_rebuild_what_they_name() -> None:
    for name, family in FAMILIES.items():
        for goal in ("detailed", "brief", "none"):
            for task in GameIds(name, None, "test", goal)[:3]:
                game = parse_id(task)
                assert str(game) == task
                assert game.family is family
                assert game.split == "test"
    assert parse_id("coin:level=5:goal=brief:seed=7").goal == "brief"


def test_splits_are_disjoint() -> None:
    seeds = list(SEEDS.values())
    for i, some in enumerate(seeds):
        for other in seeds[i + 1 :]:
            assert not set(some).intersection((other.start, other.stop - 1))
            assert some.stop <= other.start
    listed = [set(GameIds("custom", 1, split)) for split in SEEDS]
    assert not listed[0] & listed[1] | listed[0] & listed[2] | listed[1] & listed[2]
    assert parse_id("cooking:level=1:seed=1000000").settings["split"] == "valid"


def test_a_task_of_another_split_is_refused(env: TextWorld) -> None:
    with pytest.raises(TaskError, match="belongs to split 'test', not 'train'"):
        start(env, f"coin:level=4:seed={SEEDS['test'].start}")


@pytest.mark.parametrize(
    ("task", "message"),
    [
        ("coin:level=5", "ids read 'coin:level=5:seed=123'"),
        ("coins:level=5:seed=1", "did you mean 'coin'"),
        ("coin:level=0:seed=1", "has no level 0: it has 1-100"),
        ("coin:level=99:seed=9999999", "no such seed"),
        ("coin:level=05:seed=1", "did you mean 'coin:level=5:seed=1'"),
        ("cooking:level=1:goal=none:seed=1", "no such goal"),
        ("coin:level=1:goal=breif:seed=1", "did you mean 'brief'"),
        ("game:/nowhere/x.z8", "x.z8 is missing"),
        ("game:/etc/passwd", "give a .z8 file"),
        ("", "no TextWorld task ''"),
    ],
)
def test_a_wrong_task_is_told_in_one_line(env: TextWorld, task: str, message: str) -> None:
    with pytest.raises(TaskError) as caught:
        start(env, task)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"family": "coins"}, "has no family 'coins'"),
        ({"family": "simple", "level": 4}, "has no level 4: it has 1-3"),
        ({"family": "coin", "level": "5"}, "has no level '5'"),
        ({"family": "coin,coin"}, "only once"),
        ({"family": "coin", "level": {"simple": 1}}, "not among the families"),
        ({"goal": "short"}, "goal is 'short'"),
        ({"game": "missing.z8"}, "missing.z8 is missing"),
        ({"game": "missing.z8", "level": 1}, "leave out family, level and goal"),
    ],
)
def test_a_wrong_argument_is_told_in_one_line(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        gym.make("agentgym/TextWorld-v0", **arguments)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_making_one_neither_imports_the_engine_nor_writes_a_file(tmp_path: Path) -> None:
    script = (
        "import sys, gymnasium, agentgym; e = gymnasium.make('agentgym/TextWorld-v0');"
        "e.tasks()[5]; e.close(); assert not {'textworld', 'jericho'} & set(sys.modules)"
    )
    subprocess.run(
        [sys.executable, "-c", script],
        check=True,
        env={**os.environ, "AGENTGYM_CACHE": str(tmp_path)},
    )
    assert not list(tmp_path.iterdir())


def test_a_game_of_ones_own_is_played(env: TextWorld, tmp_path: Path) -> None:
    game = load_game("custom:level=3:seed=0")
    (tmp_path / "mine.z8").write_bytes(game.rom)
    (tmp_path / "mine.json").write_text(json.dumps(game.description))
    for name in ("mine.z8", "mine.json"):
        own = gym.make("agentgym/TextWorld-v0", game=str(tmp_path / name), split="test")
        text, info = own.reset(options={"hints": ["oracle"]})
        assert info["task"].id == f"game:{tmp_path / name}"
        assert text == start(env, "custom:level=3:seed=0")[0]
        assert follow_oracle(own.unwrapped, info)[:2] == (1.0, True)  # type: ignore[arg-type]
        own.close()
    (tmp_path / "mine.z8").write_bytes(b"no game")
    with pytest.raises(TaskError, match="no game that tw-make wrote"):
        start(env, f"game:{tmp_path}/mine.z8")


# -------------------------------------------------------------------------------- what is seen


@pytest.mark.parametrize("kind", FOR_EVERY_FAMILY)
def test_the_opening_has_the_goal_once_and_no_decoration(env: TextWorld, kind: str) -> None:
    text, _ = start(env, f"{kind}:seed=0")
    goal, *_ = env.step("goal")
    assert isinstance(goal, str)
    assert len(goal) > 20
    assert text.startswith(goal)
    assert text.count(goal) == 1
    assert text.count("-= ") == 1
    assert "$$" not in text
    assert ">" not in text
    assert text == text.strip()


def test_goals_can_be_brief_or_untold() -> None:
    openings = {}
    for goal in ("detailed", "brief", "none"):
        env = gym.make("agentgym/TextWorld-v0", family="coin", level=4, goal=goal)
        openings[goal], _ = env.reset(options={"task": env.unwrapped.tasks()[0]})  # type: ignore[attr-defined]
        env.close()
    assert len(openings["detailed"]) > len(openings["brief"]) > len(openings["none"])
    assert "coin" in openings["brief"]
    assert openings["none"].startswith("-= ")


def test_texts_are_the_bare_interpreters(env: TextWorld) -> None:
    from agentgym.envs.textworld_engine import _STATUS
    from agentgym.envs.textworld_interpreter import Interpreter

    _, info = start(env, COOKING, "admissible", "oracle")
    bare = Interpreter(load_game(COOKING).rom)
    bare.reset()
    rng = random.Random(3)
    awkward = ["take all", "drop all", "get it", "take", "n", "wait", "prepare meal", "xyzzy"]
    for turn in range(60):
        harmless = [
            c
            for c in info["admissible"]
            if c.split()[0] not in ("cook", "dice", "slice", "chop", "eat")
        ]
        command = rng.choice([info["oracle"], rng.choice(harmless), rng.choice(awkward)])
        text, _, terminated, _, info = env.step(command)
        plain = _STATUS.sub("", bare.step(command)).partition("\n\n\nWould you like to RESTART")[0]
        assert text == plain.strip(), (turn, command)
        if terminated:
            break
    assert turn > 10


def test_the_same_task_and_seed_give_the_same_text(env: TextWorld) -> None:
    commands = ["look", "inventory", "open fridge", "go north", "take knife", "xyzzy"]

    def play() -> list[Any]:
        return [start(env, COOKING)[0], *(env.step(c)[0] for c in commands)]

    first = play()
    start(env, "coin:level=4:seed=0")
    assert play() == first
    other = gym.make("agentgym/TextWorld-v0")
    env = other.unwrapped  # type: ignore[assignment]
    assert play() == first
    other.close()


@pytest.mark.parametrize("kind", FOR_EVERY_FAMILY)
def test_admissible_commands_are_understood(env: TextWorld, kind: str) -> None:
    start(env, f"{kind}:seed=1")
    here = env.snapshot()
    listed = env.admissible()
    assert list(listed) == sorted(set(listed))
    for command in listed:
        env.restore(here)
        text, _, _, _, info = env.step(command)
        assert info["invalid"] is None
        assert not str(text).startswith(("That's not a verb", "You can't see", "I only understood"))


def test_facts_hold_the_score_and_a_key_of_the_position(env: TextWorld) -> None:
    start(env, COOKING)
    *_, info = env.step("look")
    assert set(info["facts"]) == {"valid", *TextWorld.provides} - {"max_score"}
    assert info["facts"]["score"] == 0
    key = info["facts"]["state_key"]
    keys = [env.step(c)[-1]["facts"]["state_key"] for c in ("inventory", "xyzzy", "wait")]
    assert keys == [key] * 3
    env.reset(options={"task": COOKING, "hints": ["oracle"]})
    ids = []
    *_, info = env.step("look")
    while "outcome" not in info:
        *_, info = env.step(info["oracle"])
        ids.append(info["facts"]["state_key"])
    assert len(set(ids)) == len(ids)
    assert info["facts"]["score"] == 11


def test_the_position_is_known_however_things_are_taken(env: TextWorld) -> None:
    """`get` is not traced as TextWorld expects, and which hand holds a thing is of no matter."""
    start(env, "cooking:level=3:seed=1")
    knife = next(c for c in env.admissible() if c.startswith("take knife"))
    keys = []
    for commands in ([knife], ["get knife"], ["pick up knife"], [knife, "drop knife", "get knife"]):
        start(env, "cooking:level=3:seed=1")
        for command in commands:
            *_, info = env.step(command)
        keys.append(info["facts"]["state_key"])
        assert "drop knife" in env.admissible()
    assert len(set(keys)) == 1


# -------------------------------------------------------------------------------- how it ends


def test_losing_ends_the_episode_and_pays_nothing(env: TextWorld) -> None:
    _, info = start(env, COOKING, "oracle")
    while not info["oracle"].startswith("cook "):
        *_, info = env.step(info["oracle"])
    env.step(info["oracle"])
    text, reward, terminated, truncated, info = env.step(info["oracle"])  # burnt
    assert (reward, terminated, truncated) == (0.0, True, False)
    outcome = info["outcome"]
    assert (outcome.score, outcome.passed, outcome.label) == (0.0, False, "lost")
    assert 0 < outcome.parts["score"] < 1
    assert "*** You lost! ***" in text
    with pytest.raises(agentgym.errors.ResetNeeded):
        env.step("look")


def test_winning_pays_one(env: TextWorld) -> None:
    _, info = start(env, "simple:level=1:seed=0", "oracle")
    while "outcome" not in info:
        text, reward, terminated, truncated, info = env.step(info["oracle"])
    assert (reward, terminated, truncated) == (1.0, True, False)
    assert info["outcome"].label == "won"
    assert info["outcome"].parts == {"score": 1.0}
    assert "RESTART" not in text


def test_the_turn_limit_is_no_loss() -> None:
    env = gym.make("agentgym/TextWorld-v0", max_turns=3)
    env.reset(options={"task": "simple:level=1:seed=0"})
    env.step("look")
    env.step("look")
    _, reward, terminated, truncated, info = env.step("look")
    assert (reward, terminated, truncated) == (0.0, False, True)
    assert info["outcome"].label == "limit"
    assert info["outcome"].parts == {"score": 0.0}
    env.close()


# -------------------------------------------------------------------------------- hostile commands

HOSTILE = [
    *("save", "SAVE", "restore", "restart", "quit", "q", "undo", "script", "script on"),
    *("transcript", "transcripts", "transcript off", "oops save", "o quit", "then save"),
    *("look then save", "look. save", "look, save", "me, save", "look; save", '"save"'),
    *("tw-extra-infos description", "tw-extrapolate score", "tw-trace-actions", "tw-print version"),
    *("print_state", "enable print state option", "restrict commands", "verbose", "superbriefly"),
    *("\\s", "\\help", "\\x", "look\\", "look\\nsave", "look\x00save", "look\rsave", "look\tsave"),
    *("#random", "$ve", "*save", "/save", "@save", "[save]", "{save}", "a" * 5000, "go " * 60),
    *("éàü", "看", "\u202esave", "\ud800", "🍎", "\x1b[2J", "%s%s%n", "again", "g", "verify"),
]


@pytest.mark.parametrize("command", HOSTILE)
def test_hostile_commands_reach_nothing(
    command: str,
    env: TextWorld,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    start(env, "coin:level=4:seed=0")
    monkeypatch.chdir(tmp_path)
    world = env._at_work
    before = pickle.dumps(world.save())
    text, reward, terminated, truncated, info = env.step(command)
    if info["invalid"] is None:  # what was left of it speaks to the world
        assert info["action"].split()[0] == "look"
        assert "then" not in info["action"]
    else:
        assert pickle.dumps(world.save()) == before
    assert isinstance(text, str)
    assert (reward, terminated, truncated) == (0.0, False, False)
    assert env.step("look")[0].startswith("-= ")  # type: ignore[union-attr]
    assert not list(tmp_path.iterdir())
    assert capfd.readouterr() == ("", "")


def test_random_bytes_reach_nothing(env: TextWorld, tmp_path: Path) -> None:
    start(env, "coin:level=4:seed=0")
    rng = np.random.default_rng(0)
    for _ in range(300):
        if env.turn == env.max_turns - 1:
            start(env, "coin:level=4:seed=0")
        env.step("".join(map(chr, rng.integers(1, 300, size=rng.integers(1, 30)))))
    assert str(env.step("look")[0]).startswith("-= ")


def test_every_command_out_of_the_world_is_refused() -> None:
    """By the dictionary of a real game: whatever is no verb of the world must not get through."""
    import_engine()
    import jericho

    game = load_game(COOKING)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "game.z8"
        path.write_bytes(game.rom)
        with pytest.warns(jericho.jericho.UnsupportedGameWarning):
            words = {word.word for word in jericho.FrotzEnv(str(path)).get_dictionary()}
    out_of_world = {
        *("save", "restore", "restart", "quit", "q", "script", "transcrip", "verify", "version"),
        *("notify", "brief", "normal", "long", "verbose", "short", "superbrie", "print_st"),
        *("enable", "disable", "restrict", "tw-extra", "tw-trace", "tw-print"),
    }
    assert out_of_world <= words
    for word in out_of_world | {"undo", "oops", "again"}:
        for command in (word, f"{word} all", word.upper()):
            with pytest.raises(InvalidAction):
                check_command(command)


def test_commands_are_tidied() -> None:
    assert check_command("Take  the lamp. ") == "Take the lamp"
    assert check_command("open Henderson's non-euclidean box!") == (
        "open Henderson's non-euclidean box"
    )
    with pytest.raises(InvalidAction) as caught:
        check_command("x" * 121)
    assert caught.value.kind == "too_long"


# -------------------------------------------------------------------------------- snapshots


def test_a_restored_snapshot_goes_on_alike_to_the_byte(env: TextWorld) -> None:
    _, info = start(env, COOKING, "oracle", "admissible")
    for _ in range(5):
        *_, info = env.step(info["oracle"])
    here = env.snapshot()

    def go_on(world: TextWorld) -> list[Any]:
        rng = random.Random(5)
        steps = []
        info: dict[str, Any] = {"oracle": "look"}
        for turn in range(25):
            command = info["oracle"] if turn % 3 else rng.choice(world.admissible())
            text, reward, terminated, _, info = world.step(command)
            steps.append((command, text, reward, info))
            if terminated:
                break
        return steps

    first = go_on(env)
    assert len(first) > 5
    env.restore(here)
    assert go_on(env) == first
    start(env, "coin:level=4:seed=0", "oracle", "admissible")
    env.restore(pickle.loads(pickle.dumps(here)))
    assert go_on(env) == first
    env.restore(here)
    twin = env.fork()
    env.step("look")
    assert go_on(twin) == first
    twin.close()


# -------------------------------------------------------------------------------- the cache


def load(place: Path, task: str, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, GameFile]:
    monkeypatch.setenv("AGENTGYM_CACHE", str(place))
    return cache_folder() / cache_name(parse_id(task)), load_game(task)


def test_a_cached_game_is_not_made_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place, made = load(tmp_path, "coin:level=2:seed=5", monkeypatch)
    written = place.stat().st_mtime_ns
    monkeypatch.setattr(textworld_games, "make_game", None)
    assert load(tmp_path, "coin:level=2:seed=5", monkeypatch) == (place, made)
    assert place.stat().st_mtime_ns == written


def test_a_broken_cached_game_is_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place, made = load(tmp_path, "coin:level=2:seed=5", monkeypatch)
    whole = place.read_bytes()
    with zipfile.ZipFile(tmp_path / "no-description.zip", "w") as archive:
        archive.writestr("game.z8", made.rom)
        archive.writestr("game.json", "{")
    for broken in (
        b"",
        whole[: len(whole) // 2],
        whole[:5000] + bytes([whole[5000] ^ 1]) + whole[5001:],
        (tmp_path / "no-description.zip").read_bytes(),
        b"\0" * len(whole),
    ):
        place.write_bytes(broken)
        assert textworld_games._read(place) is None
    _, again = load(tmp_path, "coin:level=2:seed=5", monkeypatch)
    assert again.description["world"] == made.description["world"]
    assert textworld_games._read(place) == again


def test_two_processes_may_make_the_same_game(tmp_path: Path) -> None:
    script = (
        "from agentgym.tasks.textworld_games import load_game; import hashlib;"
        "print(hashlib.sha256(load_game('custom:level=2:seed=3').rom).hexdigest())"
    )
    variables = {**os.environ, "AGENTGYM_CACHE": str(tmp_path)}
    both = [
        subprocess.Popen(
            [sys.executable, "-W", "error", "-c", script],
            env={**variables, "PYTHONHASHSEED": hash_seed},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        for hash_seed in "12"
    ]
    answers = [process.communicate() for process in both]
    assert answers[0] == answers[1]
    assert answers[0][1] == b""
    games = list(tmp_path.rglob("*.zip"))
    assert len(games) == 1
    assert zipfile.ZipFile(games[0]).testzip() is None


def test_a_cache_that_cannot_be_written_is_a_clear_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match="set AGENTGYM_CACHE to a folder"):
        load(tmp_path / "file", "coin:level=2:seed=5", monkeypatch)


# -------------------------------------------------------------------------------- good manners


def test_global_random_generators_are_left_alone(
    env: TextWorld, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AGENTGYM_CACHE", str(tmp_path))  # so that it is made
    np.random.seed(1)
    random.seed(1)
    before, python = np.random.get_state(), random.getstate()
    start(env, "simple:level=1:seed=4", "oracle")
    env.step("look")
    after = np.random.get_state()
    assert all(np.array_equal(x, y) for x, y in zip(before, after, strict=True))
    assert random.getstate() == python


def test_nothing_is_left_after_close(env: TextWorld, capfd: pytest.CaptureFixture[str]) -> None:
    def held() -> tuple[int, int, set[str]]:
        interpreters = Path("/proc/self/maps").read_text().count("libfrotz")
        made_here = {n for n in os.listdir(tempfile.gettempdir()) if n.startswith(("tmp", "tw_"))}
        return len(os.listdir("/proc/self/fd")), interpreters, made_here

    def play(times: int) -> None:
        for task in (COOKING, "coin:level=4:seed=0", "simple:level=1:seed=0") * times:
            start(env, task, "oracle")
            env.step("look")
        env.close()

    play(1)  # what is loaded once stays
    before, threads = held(), threading.active_count()
    play(3)
    env.close()
    files, interpreters, made_here = held()
    assert (files, interpreters) == before[:2]
    assert not made_here - before[2]
    assert threading.active_count() == threads
    assert capfd.readouterr() == ("", "")


def test_instances_play_in_threads_without_meeting() -> None:
    tasks = [COOKING, "simple:level=1:seed=0", "coin:level=4:seed=0", COOKING]
    results: dict[int, tuple[float, bool, int]] = {}

    def play(number: int) -> None:
        env = gym.make("agentgym/TextWorld-v0").unwrapped
        assert isinstance(env, TextWorld)
        _, info = start(env, tasks[number], "oracle", "admissible")
        results[number] = follow_oracle(env, info)
        env.close()

    threads = [threading.Thread(target=play, args=(number,)) for number in range(len(tasks))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [results[n][:2] for n in range(4)] == [(1.0, True)] * 4
    assert results[0] == results[3]


def test_what_a_killed_maker_left_is_removed_by_the_next(tmp_path, monkeypatch):
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    left = tmp_path / f"agentgym-textworld-{dead.pid}-abc"
    ours = tmp_path / f"agentgym-textworld-{os.getpid()}-abc"
    for folder in (left, ours):
        folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    textworld_games.make_game(parse_id("coin:level=1:seed=77"))
    assert list(tmp_path.glob("agentgym-*")) == [ours]
