"""ALFWorld's episodes kept, forked, and the same in every process, engine and vector."""

from __future__ import annotations

import copy
import os
import pickle
import random
import subprocess
import sys
from pathlib import Path

import gymnasium as gym
import numpy as np
import pytest
from households import ALFWORLD, choose, make, need_alfworld, play, start

from agentgym.envs.alfworld_text import VERSIONS
from agentgym.errors import ConfigError
from agentgym.tasks.alfworld_game import TASK_TYPES

GAME = "heat:size=small:seed=1"

# -------------------------------------------------------------------------------- snapshots


def test_what_is_restored_goes_on_alike() -> None:
    env = make()
    start(env, GAME)
    play(env, 2, 6)
    here = env.snapshot()
    pickled = pickle.dumps(here)
    assert len(pickled) <= 8_000
    first = play(env, 3, 25)
    assert len(first) > 3
    start(env, "look:seed=9")
    for saved in (here, pickle.loads(pickled), copy.deepcopy(here)):
        for world in (env, make()):
            world.restore(saved)
            assert play(world, 3, 25) == first


@pytest.mark.parametrize("kind", TASK_TYPES)
def test_snapshots_of_full_games_stay_small(kind: str) -> None:
    env = make()
    for seed in range(5):
        start(env, f"{kind}:seed={seed}")
        play(env, seed, 45, skill=0.0)
        assert len(pickle.dumps(env.snapshot())) <= 8_000


def test_a_fork_goes_its_own_way() -> None:
    env = make()
    start(env, GAME, "admissible", "oracle")
    play(env, 4, 5)
    here = env.snapshot()
    twin = env.fork()
    assert play(twin, 5, 20) != play(env, 6, 20)
    env.restore(here)
    third = env.fork()
    assert play(third, 5, 20) == play(env, 5, 20)


def test_the_words_of_a_restored_game_are_those_it_was_begun_with() -> None:
    env = make(goal="human")
    start(env, GAME, seed=3)
    here = env.snapshot()
    start(env, GAME, seed=4)
    env.restore(here)
    assert env.save_state().task == here.world.task


# -------------------------------------------------------------------------------- anywhere the same

DIGEST = """
import hashlib, pickle, random, sys
import gymnasium as gym
import agentgym
said = []
for arguments in ({}, {"version": "2.1.1", "parity": "relaxed", "goal": "human", "size": "small"}):
    env = gym.make("agentgym/ALFWorld-v0", **arguments)
    for seed in range(12):
        rng = random.Random(seed)
        said.append(repr(env.reset(seed=seed, options={"hints": ["admissible", "oracle"]})))
        command, ended = "look", False
        while not ended:
            *told, info = env.step(command)
            ended = told[2] or told[3]
            said.append(repr((told, info)))
            if not ended:
                command = info["oracle"] if rng.random() < 0.3 else rng.choice(info["admissible"])
print(hashlib.sha256("".join(said).encode()).hexdigest(), len(said))
"""


def run(code: str, hash_seed: str, *arguments: str) -> str:
    environ = {**os.environ, "PYTHONHASHSEED": hash_seed}
    command = [sys.executable, "-c", code, *arguments]
    done = subprocess.run(command, env=environ, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_episodes_are_the_same_in_every_process() -> None:
    first, second = (run(DIGEST, hash_seed) for hash_seed in ("0", "4242"))
    assert first == second
    assert int(first.split()[1]) > 300


RESTORE = """
import pickle, sys
import gymnasium as gym
import agentgym
snapshot, commands = pickle.load(open(sys.argv[1], "rb"))
env = gym.make("agentgym/ALFWorld-v0")
env.restore(snapshot)
print(repr([(env.step(command), env.admissible()) for command in commands]))
"""


def test_a_snapshot_is_restored_in_another_process(tmp_path: Path) -> None:
    env = make()
    start(env, GAME, seed=5)
    play(env, 7, 10, skill=0.0)
    here = env.snapshot()
    told = play(env, 8, 15, skill=0.0)
    commands = [command for command, *_ in told]
    (tmp_path / "saved").write_bytes(pickle.dumps((here, commands)))
    expected = [(tuple(step[:5]), listed) for _, *step, listed in told]
    assert run(RESTORE, "7", str(tmp_path / "saved")).strip() == repr(expected)


def test_global_random_generators_are_left_alone() -> None:
    random.seed(1)
    np.random.seed(1)
    before, python = pickle.dumps(np.random.get_state()), random.getstate()
    env = make(goal="human")
    start(env, "cool:seed=77", "oracle", "admissible")
    env.step("look")
    assert random.getstate() == python
    assert pickle.dumps(np.random.get_state()) == before


@pytest.mark.parametrize("share", [True, False])
def test_a_vector_of_them_is_like_each_alone(share: bool) -> None:
    """Also where all play one game, whose board they share."""
    tasks = [f"{[*TASK_TYPES][0 if share else i % 6]}:seed={0 if share else i}" for i in range(8)]
    vector = gym.make_vec(ALFWORLD, num_envs=8, max_turns=12)
    alone = [make(max_turns=12) for _ in tasks]
    texts, infos = vector.reset(seed=10, options={"task": tasks, "hints": ["admissible"]})
    started = [start(env, task, "admissible", seed=10 + i)
               for i, (env, task) in enumerate(zip(alone, tasks, strict=True))]  # fmt: skip
    assert list(texts) == [text for text, _ in started]
    listed = [info["admissible"] for _, info in started]
    assert list(infos["admissible"]) == listed
    rng = random.Random(0)
    for turn in range(12):
        commands = [rng.choice(each) if rng.random() > 0.1 else "dance" for each in listed]
        texts, rewards, terminated, truncated, infos = vector.step(commands)
        steps = [env.step(command) for env, command in zip(alone, commands, strict=True)]
        assert list(texts) == [step[0] for step in steps]
        assert list(rewards) == [step[1] for step in steps]
        assert list(terminated) == [step[2] for step in steps]
        assert list(truncated) == [step[3] for step in steps] == [turn == 11] * 8
        keys = [step[4]["facts"]["state_key"] for step in steps]
        assert [facts["state_key"] for facts in infos["facts"]] == keys
        if turn < 11:
            listed = [step[4]["admissible"] for step in steps]
    vector.close()


# -------------------------------------------------------------------------------- the other engine


@pytest.mark.parametrize("version", VERSIONS)
def test_the_reference_plays_an_episode_as_the_native_engine_does(version: str) -> None:
    need_alfworld()
    reference = make(backend="reference", version=version, goal="human", max_turns=25)
    native = make(version=version, goal="human", max_turns=25)
    assert reference.provides == {"score"}
    assert reference.oracle() is None
    for world in (native, reference):
        assert not world.can_snapshot or world is native
    rng = random.Random(3)
    (text, info), (other, theirs) = (
        start(world, GAME, "admissible", seed=1) for world in (native, reference)
    )
    assert text == other
    ended = False
    while not ended:
        assert list(info["admissible"]) == list(theirs["admissible"])
        command = choose(rng, info["admissible"]) or "look"
        if rng.random() < 0.4:
            command = native.oracle() or command
        *told, info = native.step(command)
        *answered, theirs = reference.step(command)
        assert answered == told
        for name in ("action", "invalid", "outcome"):
            assert theirs.get(name) == info.get(name)
        assert theirs["facts"] == {name: info["facts"][name] for name in ("score", "valid")}
        ended = told[2] or told[3]
    with pytest.raises(ConfigError, match="has no snapshots"):
        reference.snapshot()


def test_the_reference_tells_each_episode_its_own_goal() -> None:
    need_alfworld()
    native, reference = (make(backend=each, goal="human") for each in ("native", "reference"))
    openings = [
        [start(env, GAME, seed=seed)[0] for seed in (1, 2, 3)] for env in (native, reference)
    ]
    assert openings[0] == openings[1]
    assert len(set(openings[0])) > 1
