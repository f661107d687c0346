"""The contract of `Env`: turns and tasks, both faces, snapshots, several at once."""

import asyncio
import multiprocessing
import warnings
from typing import Any

import counting
import gymnasium as gym
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env
from gymnasium.vector import AsyncVectorEnv, AutoresetMode, SyncVectorEnv

import agentgym
from agentgym import Action, Argument, Grammar, Outcome, Reply, Task, Verb
from agentgym.errors import (
    AgentGymError,
    ConfigError,
    EnvError,
    ResetNeeded,
    StageTimeout,
    TaskError,
)
from agentgym.vector import ThreadVectorEnv

COUNTERS = [
    f"counting/{name}-v0" for name in ("Counter", "ThreadCounter", "ProcessCounter", "AsyncCounter")
]
SAID = ["up", "", "drift", "sideways", "drift", "drift", "submit"]


def make(id: str = COUNTERS[0], **kwargs: Any) -> Any:
    return gym.make(id, **kwargs)


def play(env: Any, seed: int = 3, said: list[str] = SAID) -> list[Any]:
    """Everything an episode shows, for comparison."""
    return [env.reset(seed=seed), *(env.step(action) for action in said)]


# ---------------------------------------------------------------- Gymnasium's face


@pytest.mark.parametrize("id", COUNTERS)
def test_gymnasium_finds_nothing_to_warn_about(id: str) -> None:
    env = make(id)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check_env(env)
    env.close()


def test_make_returns_the_environment_itself() -> None:
    env = make()
    assert type(env) is counting.Counter
    assert env.unwrapped is env


def test_a_seed_fixes_task_start_and_chance() -> None:
    assert play(make()) == play(make())
    assert {play(make(), seed)[0][1]["task"].id for seed in range(20)} == {"to:5", "to:6", "to:7"}


def test_a_task_starts_alike_whether_drawn_or_named() -> None:
    drawn = play(make(), seed=5)
    task = drawn[0][1]["task"]
    env = make()
    named = [env.reset(seed=5, options={"task": task.id}), *(env.step(a) for a in SAID)]
    assert named == drawn


def test_reset_without_a_seed_goes_on_drawing() -> None:
    env = make()
    env.reset(seed=1)
    assert len({env.reset()[0] for _ in range(30)}) > 3


def test_the_split_decides_which_tasks_there_are() -> None:
    env = make(split="test")
    assert env.reset(seed=0)[1]["task"].split == "test"
    with pytest.raises(TaskError, match=r"has no task 'to:5' in split 'test'"):
        env.reset(options={"task": "to:5"})


@pytest.mark.parametrize(
    ("arguments", "error", "told"),
    [
        ({"split": "trian"}, TaskError, "did you mean 'train'"),
        ({"max_turns": 0}, ConfigError, "max_turns is 0"),
        ({"max_turns": True}, ConfigError, "max_turns is True"),
        ({"max_turns": np.float64(3)}, ConfigError, "max_turns is"),
        ({"dialect": "morse"}, ConfigError, "no dialect 'morse'"),
    ],
)
def test_a_wrong_argument_is_refused_at_once(
    arguments: dict[str, Any], error: type[AgentGymError], told: str
) -> None:
    with pytest.raises(error, match=told):
        make(**arguments)


def test_whole_numbers_may_be_numpys() -> None:
    env = make(max_turns=np.int64(9))
    assert type(env.max_turns) is int
    assert play(env, seed=np.int64(3)) == play(make(max_turns=9), seed=3)


@pytest.mark.parametrize("seed", ["3", 1.5, -1, True])
def test_a_seed_that_is_no_whole_number_is_refused_and_nothing_is_touched(seed: Any) -> None:
    env, other = make(), make()
    for world in (env, other):
        world.reset(seed=1)
    with pytest.raises(ConfigError, match=f"seed is {seed!r}: give a whole number"):
        env.reset(seed=seed)
    assert env.step("drift") == other.step("drift")


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"tusk": "to:5"}, "knows no option 'tusk'"),
        ({1: "to:5", "tusk": 2}, "knows no option 1"),
        ({"task": 3}, "the task is 3: give its id"),
        ({"hints": ["answers"]}, r"hints are \['answers'\]: give a list, of"),
        ({"hints": "oracle"}, "hints are 'oracle': give a list"),
        ({"hints": [["oracle"]]}, "give a list"),
        ({"hints": None}, "hints are None: give a list"),
        ("task", "options are 'task': give a dict"),
    ],
)
def test_an_unknown_option_is_refused_and_nothing_is_touched(options: Any, told: str) -> None:
    env, other = make(), make()
    for world in (env, other):
        world.reset(seed=1)
    with pytest.raises(ConfigError, match=told):
        env.reset(seed=2, options=options)
    assert env.step("drift") == other.step("drift")


@pytest.mark.parametrize("id", COUNTERS)
@pytest.mark.parametrize("action", [None, b"look", 3])
def test_an_action_that_is_no_text_is_refused_and_nothing_is_touched(id: str, action: Any) -> None:
    env, other = make(id), make(id)
    for world in (env, other):
        world.reset(seed=1)
    with pytest.raises(ConfigError, match=f"the action is {action!r}: give what the model said"):
        env.step(action)
    assert env.step("drift") == other.step("drift")


def test_a_turn_tells_what_was_understood() -> None:
    env = make()
    env.reset(seed=3)
    shown, reward, terminated, truncated, info = env.step("> up")
    assert (reward, terminated, truncated) == (0.0, False, False)
    assert info == {
        "action": "up",
        "invalid": None,
        "facts": {"valid": True, "count": env.count},
        "extra": 1,
    }
    assert type(info["action"]) is Action
    assert shown == f"{env.count} of {env.target}"


@pytest.mark.parametrize(("said", "kind"), [("", "empty"), ("sideways", "unknown_word")])
def test_a_mistake_is_an_observation_and_costs_a_turn(said: str, kind: str) -> None:
    env = make()
    env.reset(seed=0)
    before = env.count
    shown, reward, terminated, truncated, info = env.step(said)
    assert (reward, terminated, truncated) == (0.0, False, False)
    assert info == {"action": said, "invalid": kind, "facts": {"valid": False}}
    assert shown
    assert (env.count, env.turn) == (before, 1)


def test_the_step_that_ends_the_episode_pays_the_outcome() -> None:
    env = make()
    env.reset(seed=0)
    while env.oracle() != "submit":
        assert env.step("up")[1:4] == (0.0, False, False)
    _, reward, terminated, truncated, info = env.step("submit")
    assert (reward, terminated, truncated) == (1.0, True, False)
    assert info["outcome"] == Outcome(1.0, True, "counted", {"off": 0.0})


def test_the_turn_limit_truncates_and_judges_the_world_as_it_stands() -> None:
    env = make(max_turns=8)
    env.reset(seed=0)
    for _ in range(env.target - env.count):
        env.step("up")
    result = [env.step("") for _ in range(8 - env.turn)][-1]
    assert result[1:4] == (1.0, False, True)
    assert result[4]["outcome"].passed


def test_a_world_that_ends_in_its_last_turn_is_terminated_not_truncated() -> None:
    env = make(max_turns=1)
    env.reset(seed=0)
    assert env.step("submit")[2:4] == (True, False)


def test_steps_out_of_order_say_what_to_do() -> None:
    env = make(max_turns=1)
    with pytest.raises(ResetNeeded, match="call reset\\(\\) first"):
        env.step("up")
    env.reset()
    env.step("up")
    with pytest.raises(ResetNeeded, match="after the episode ended"):
        env.step("up")


def test_a_reset_that_fails_leaves_no_episode_behind() -> None:
    env = make()
    env.reset(seed=0)
    with pytest.raises(TaskError):
        env.reset(options={"task": "to:99"})
    with pytest.raises(ResetNeeded):
        env.step("up")
    assert play(env) == play(make())


def test_closing_twice_is_fine_and_reset_opens_again() -> None:
    env = make()
    env.reset()
    env.close()
    env.close()
    with pytest.raises(ResetNeeded):
        env.step("up")
    assert play(env) == play(make())


def test_conclude_judges_now() -> None:
    env = make()
    env.reset(seed=0)
    assert env.conclude() == Outcome(0.0, False, "counted", {"off": float(env.target - env.count)})
    with pytest.raises(ResetNeeded):
        env.conclude()


def test_hints_come_with_every_observation_when_asked_for() -> None:
    env = make()
    assert env.reset(seed=0)[1].keys() == {"task"}
    _, info = env.reset(seed=0, options={"hints": ["oracle", "admissible"]})
    for _ in range(3):
        assert info["oracle"] == "up"
        assert info["admissible"] == ["up", "down", "drift", "submit"]
        assert {type(action) for action in info["admissible"]} == {Action}
        info = env.step("up")[4]
    assert "oracle" not in env.step("submit")[4]


def test_admissible_actions_are_sampled_where_the_world_cannot_list_them() -> None:
    env = gym.make("counting/Trouble-v0")
    _, info = env.reset(seed=0, options={"hints": ["admissible", "oracle"]})
    assert len(info["admissible"]) == 8
    assert info["oracle"] is None
    assert info == env.reset(seed=0, options={"hints": ["admissible", "oracle"]})[1]


def test_sampled_hints_tell_nothing_of_what_the_seed_decided() -> None:
    class Hiding(agentgym.Env):
        grammar = Grammar(Verb("guess", "", Argument("number", int, minimum=1, maximum=100)))

        def begin(self, task: Task) -> str:
            self.number = int(self.np_random.integers(1, 101))
            self.child = int(self.np_random.spawn(1)[0].integers(1, 101))
            return "Guess."

        def respond(self, action: Action) -> Reply:
            return Reply("No.")

    env = Hiding()
    hits = np.zeros((2, 2, 8), dtype=int)  # which turn, of what, by which hint
    for seed in range(500):
        _, info = env.reset(seed=seed, options={"hints": ["admissible"]})
        for turn in hits:
            guesses = [action.arguments["number"] for action in map(env._read, info["admissible"])]
            turn += np.equal.outer([env.number, env.child], guesses)
            info = env.step("guess(1)")[4]
    assert hits.max() <= 20  # of 500; 5 by chance


def test_ansi_renders_the_last_observation() -> None:
    env = make(render_mode="ansi")
    shown, _ = env.reset(seed=0)
    assert env.render() == shown
    assert env.step("up")[0] == env.render()
    assert make().render() is None


def test_sampled_actions_are_understood_in_every_dialect() -> None:
    for dialect in ("text", "call", "tags", "json", "tools"):
        env = make(dialect=dialect)
        env.reset(seed=0)
        env.action_space.seed(0)
        info = env.step(env.action_space.sample())[4]
        assert info["invalid"] == "unknown_word"  # the grammar took it, the world did not


# ---------------------------------------------------------------- coroutines, and the other face


def test_coroutine_hooks_work_from_plain_code() -> None:
    assert play(make(COUNTERS[3])) == _renamed(play(make()), COUNTERS[3])


async def test_coroutine_hooks_work_from_plain_code_inside_a_running_loop() -> None:
    assert play(make(COUNTERS[3])) == _renamed(play(make()), COUNTERS[3])


def test_a_coroutine_hook_that_hangs_is_given_up() -> None:
    env = make(COUNTERS[3])
    env.reset(seed=0)
    with pytest.raises(StageTimeout, match=r"took longer than 0\.5 s"):
        env.step("hang")


async def later() -> Reply:
    return Reply("late")


@pytest.mark.parametrize(
    ("began", "replied", "told"),
    [
        (None, None, r"Wrong\.begin\(\) returned None: return text"),
        ("Hello.", "text", r"Wrong\.respond\(\) returned 'text': return Reply"),
        ("Hello.", ("text", 1.0), r"Wrong\.respond\(\) returned \('text', 1\.0\)"),
        ("Hello.", later, r"Wrong\.respond\(\) returned a coroutine: make it `async def`"),
    ],
)
def test_a_hook_that_returns_something_else_is_told_what_to_return(
    began: Any, replied: Any, told: str
) -> None:
    class Wrong(agentgym.Env):
        def begin(self, task: Task) -> Any:
            return began

        def respond(self, action: Action) -> Any:
            return replied() if callable(replied) else replied

    env = Wrong()
    with pytest.raises(EnvError, match=told):  # noqa: PT012 - whichever comes first
        env.reset()
        env.step("look")


@pytest.mark.parametrize("id", COUNTERS)
async def test_the_asynchronous_face_shows_the_same(id: str) -> None:
    env = make(id)
    seen = [await env.areset(seed=3), *[await env.astep(action) for action in SAID]]
    with pytest.raises(ResetNeeded):
        await env.astep("up")
    await env.areset(seed=0)
    outcome = await env.aconclude()
    await env.aclose()
    await env.aclose()
    assert seen == _renamed(play(make()), id)
    assert outcome.label == "counted"


@pytest.mark.parametrize("id", COUNTERS)
async def test_an_environment_closed_asynchronously_opens_again(id: str) -> None:
    env = make(id)
    for _ in range(2):
        assert (await env.areset(seed=3))[0] == make().reset(seed=3)[0]
        await env.aclose()


@pytest.mark.parametrize("id", COUNTERS)
async def test_an_unknown_task_is_refused_by_the_asynchronous_face_too(id: str) -> None:
    env = make(id)
    with pytest.raises(TaskError):
        await env.areset(options={"task": "to:99"})
    await env.aclose()


def _renamed(seen: list[Any], id: str) -> list[Any]:
    """A trajectory of `Counter` as the environment `id` would show it."""
    shown, info = seen[0]
    task = info["task"]
    return [(shown, {"task": Task(task.id, id, task.split, task.data)}), *seen[1:]]


# ---------------------------------------------------------------- snapshots


def test_a_restored_snapshot_goes_on_as_before() -> None:
    env = make()
    env.reset(seed=1, options={"hints": ["admissible"]})
    env.step("up")
    point = env.snapshot()
    first = [env.step("drift") for _ in range(6)]
    env.restore(point)
    assert [env.step("drift") for _ in range(6)] == first


def test_a_fork_goes_on_by_itself() -> None:
    env = make()
    env.reset(seed=1)
    env.step("up")
    twin = env.fork()
    moved = [env.step("drift") for _ in range(6)]
    assert [twin.step("drift") for _ in range(6)] == moved
    twin.step("submit")
    assert env.step("up")[4]["invalid"] is None


def test_a_fork_has_the_arguments_and_hints_of_its_origin() -> None:
    env = gym.make("counting/Counter-v0", max_turns=7, split="test")
    env.reset(seed=1, options={"hints": ["oracle"]})
    twin = env.fork()  # type: ignore[attr-defined]
    assert (twin.max_turns, twin.split) == (7, "test")
    assert twin.step("up") == env.step("up")


def test_sampled_hints_are_the_same_in_a_fork() -> None:
    class Blind(counting.Counter):
        def admissible(self) -> None:  # type: ignore[override]
            return None

    agentgym.register("counting/Blind-v0", Blind)
    env = make("counting/Blind-v0")
    env.reset(seed=1, options={"hints": ["admissible"]})
    assert env.fork().step("up") == env.step("up")


def test_a_snapshot_of_an_ended_episode_is_still_over() -> None:
    env = make()
    env.reset(seed=0)
    env.step("submit")
    point = env.snapshot()
    env.reset(seed=1)
    env.restore(point)
    with pytest.raises(ResetNeeded):
        env.step("up")


def test_a_snapshot_of_another_world_is_refused_and_nothing_is_touched() -> None:
    env, other, stranger = make(), make(), make(COUNTERS[1])
    for world in (env, other, stranger):
        world.reset(seed=1)
    with pytest.raises(ConfigError, match=r"cannot restore a snapshot of counting/ThreadCounter"):
        env.restore(stranger.snapshot())
    with pytest.raises(ConfigError, match="None is no snapshot"):
        env.restore(None)
    assert env.step("drift") == other.step("drift")


def test_snapshots_are_refused_where_there_is_nothing_to_keep() -> None:
    with pytest.raises(ResetNeeded):
        make().snapshot()
    with pytest.raises(ConfigError, match="no snapshots"):
        gym.make("counting/Trouble-v0").snapshot()  # type: ignore[attr-defined]
    env = counting.Counter()
    env.reset()
    with pytest.raises(ConfigError, match=r"gymnasium\.make"):
        env.fork()


# ---------------------------------------------------------------- several at once


@pytest.mark.parametrize("id", COUNTERS)
def test_make_vec_steps_each_as_if_it_were_alone(id: str) -> None:
    vector = gym.make_vec(id, num_envs=3)
    assert isinstance(vector, ThreadVectorEnv)
    assert vector.metadata["autoreset_mode"] is AutoresetMode.DISABLED
    shown, infos = vector.reset(seed=10)
    alone = [play(make(id), 10 + i) for i in range(3)]
    assert shown == tuple(seen[0][0] for seen in alone)
    assert list(infos["task"]) == [seen[0][1]["task"] for seen in alone]
    for turn, action in enumerate(SAID, 1):
        shown, rewards, terminated, truncated, infos = vector.step([action] * 3)
        assert shown == tuple(seen[turn][0] for seen in alone)
        assert rewards.tolist() == [seen[turn][1] for seen in alone]
        assert terminated.tolist() == [seen[turn][2] for seen in alone]
        assert truncated.tolist() == [seen[turn][3] for seen in alone]
        assert list(infos["facts"]) == [seen[turn][4]["facts"] for seen in alone]
    vector.close()


def test_an_environment_that_ended_waits_for_its_reset() -> None:
    vector = gym.make_vec(COUNTERS[0], num_envs=2)
    vector.reset(seed=0)
    vector.step(["submit", "up"])
    shown, rewards, terminated, _, infos = vector.step([None, "up"])
    assert (shown[0], rewards[0]) == ("Submitted.", 0.0)
    assert terminated.tolist() == [True, False]
    assert infos["_facts"].tolist() == [False, True]
    with pytest.raises(ResetNeeded, match=r"\[0\]"):
        vector.step(["up", "up"])
    before = shown[1]
    shown, _ = vector.reset(seed=4, options={"reset_mask": np.array([True, False])})
    assert shown == (make().reset(seed=4)[0], before)
    vector.step(["up", "up"])
    vector.close()


def test_hooks_that_are_coroutines_are_awaited_side_by_side() -> None:
    met = 0

    class Meeting(agentgym.Env):
        deadline_s = 10.0

        async def begin(self, task: Task) -> str:
            return "Wait for each other."

        async def respond(self, action: Action) -> Reply:
            nonlocal met
            met += 1
            while met < 3:
                await asyncio.sleep(0.01)
            return Reply("All here.", Outcome(1.0, True))

    vector = ThreadVectorEnv(Meeting, 3)
    vector.reset(seed=0)
    assert vector.step(["wait"] * 3)[1].tolist() == [1.0] * 3
    vector.close()


def test_a_vector_of_none_is_refused() -> None:
    with pytest.raises(ConfigError, match="num_envs is 0: give a whole number of at least 1"):
        ThreadVectorEnv(counting.Counter, 0)


def test_every_copy_can_be_given_its_own_task_and_seed() -> None:
    vector = gym.make_vec(COUNTERS[0], num_envs=2, split="test")
    _, infos = vector.reset(seed=[7, 8], options={"task": ["to:9", "to:8"]})
    assert [task.id for task in infos["task"]] == ["to:9", "to:8"]
    for wrong in ({"seed": [1, 2, 3]}, {"options": {"task": ["to:8"]}}):
        with pytest.raises(ConfigError):
            vector.reset(**wrong)
    with pytest.raises(ConfigError):
        vector.step(["up"])
    vector.close()


def test_infos_may_differ_in_type_from_copy_to_copy() -> None:
    class Mixed(counting.Counter):
        def _facts(self) -> dict[str, Any]:
            return {"count": self.count if self.np_random.random() < 0.5 else None}

    agentgym.register("counting/Mixed-v0", Mixed)
    vector = gym.make_vec("counting/Mixed-v0", num_envs=8)
    vector.reset(seed=0)
    counts = [facts["count"] for facts in vector.step(["up"] * 8)[4]["facts"]]
    assert None in counts
    assert any(isinstance(count, int) for count in counts)
    vector.close()


def test_gymnasiums_own_vectors_work_without_shared_memory() -> None:
    makers = [lambda: gym.make(COUNTERS[0])] * 2
    expected = tuple(make().reset(seed=seed)[0] for seed in (0, 1))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a fork among threads
        vectors = [SyncVectorEnv(makers), AsyncVectorEnv(makers, shared_memory=False)]
    for vector in vectors:
        assert vector.reset(seed=0)[0] == expected
        assert vector.step(["up", "up"])[1].tolist() == [0.0, 0.0]
        vector.close()


def test_coroutine_hooks_survive_a_fork() -> None:
    make(COUNTERS[3]).reset(seed=0)  # the loop's thread runs here, and will not run there
    context = multiprocessing.get_context("fork")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a fork among threads
        child = context.Process(target=_reset_one)
        child.start()
    child.join(30)
    assert child.exitcode == 0


def _reset_one() -> None:
    make(COUNTERS[3]).reset(seed=0)


# ---------------------------------------------------------------- overhead of declaring little


def test_a_world_needs_two_methods() -> None:
    class Echo(agentgym.Env):
        grammar = Grammar.text()

        def begin(self, task: Task) -> str:
            return "Say something."

        def respond(self, action: Action) -> Reply:
            return Reply(action, Outcome(1.0, True))

    env = Echo()
    assert env.reset(seed=0) == ("Say something.", {"task": Task("default", "Echo", "train")})
    assert env.step("hello")[:4] == ("hello", 1.0, True, False)


def test_a_world_without_its_two_methods_is_told_which_is_missing() -> None:
    with pytest.raises(NotImplementedError, match=r"Env must define begin\(task\)"):
        agentgym.Env().reset()


def test_one_failing_environment_of_a_vector_leaves_the_others_as_they_are():
    import worlds

    envs = ThreadVectorEnv(lambda: worlds.Count(fault=""), 2)
    envs.reset(seed=np.int64(3), options={"task": "count:0"})
    envs.envs[1].fault = "step raises"
    target = envs.envs[0].target
    with pytest.raises(RuntimeError, match="the world broke"):
        envs.step(["1", "1"])
    for number in range(2, target + 1):
        _, rewards, terminated, truncated, _ = envs.step([str(number), None])
    assert (rewards[0], terminated[0], truncated[1]) == (1.0, True, True)
    envs.envs[1].fault = ""
    envs.reset(options={"reset_mask": np.array([False, True])})
    envs.step([None, "1"])
    with pytest.raises(ConfigError, match="give a list of 2 actions"):
        envs.step("12")
    envs.close()
