"""One episode, whatever happens in it."""

from __future__ import annotations

import asyncio
import threading

import gymnasium as gym
import numpy as np
import pytest
from worlds import Count, Counting, Saying

import agentgym
from agentgym import Completion, EpisodeKey, Outcome, Sampling, Stop
from agentgym.errors import ConfigError, ContextOverflow, PolicyError, TaskError
from agentgym.policy import open_policy
from agentgym.rollout import Deadlines, play
from agentgym.types import Task, Trajectory

KEY = EpisodeKey("tests/Count-v0", "count:1", 5)


def make(name="Count", **kwargs):
    return gym.make(f"tests/{name}-v0", **kwargs)


async def played(env, policy, key=KEY, **kwargs):
    try:
        return await play(env, policy, key, **kwargs)
    finally:
        if isinstance(env, agentgym.Env):
            await env.aclose()


@pytest.mark.parametrize("world", ["Count", "CountInThread", "CountInProcess", "CountAsync"])
async def test_an_episode_is_the_same_wherever_its_environment_runs(world):
    task = "default" if world == "CountAsync" else "count:1"
    trajectory = await played(make(world), Counting(), KEY._replace(task_id=task))
    assert trajectory.error is None
    assert (trajectory.stop, trajectory.outcome.label) == (Stop.TERMINATED, "won")
    assert [turn.action for turn in trajectory.turns] == [
        str(n + 1) for n in range(len(trajectory.turns))
    ]
    assert trajectory.reward == trajectory.outcome.score == 1.0
    expected = await played(make(), Counting())
    assert len(trajectory.turns) == len(expected.turns)
    assert trajectory.turns[0].observation == expected.turns[0].observation


async def test_a_turn_holds_what_was_seen_said_understood_and_paid():
    trajectory = await played(make(), Counting())
    first = trajectory.turns[0]
    assert first.observation.startswith("Count to")
    assert first.completion.text == first.action == "1"
    assert first.facts == {"valid": True, "score": 1}
    assert first.invalid is None
    assert set(first.timings) == {"policy_s", "env_s"}
    assert trajectory.task == Task("count:1", "tests/Count-v0")
    assert trajectory.final_observation == "Done"
    assert trajectory.provenance["wall_s"] > 0


async def test_what_the_model_does_wrong_is_an_observation():
    trajectory = await played(make(), Saying("I do not know"))
    assert trajectory.stop is Stop.TURNS
    assert trajectory.scored
    assert trajectory.outcome.label == "limit"
    assert {turn.invalid for turn in trajectory.turns} == {"parse"}
    assert trajectory.turns[1].observation == "'I do not know' is not a number"
    assert trajectory.turns[0].facts == {"valid": False}


async def test_actions_replay_to_the_same_trajectory():
    before = await played(make(), Counting())
    env = make()
    env.reset(seed=KEY.seed, options={"task": KEY.task_id})
    for turn, following in zip(before.turns, before.turns[1:], strict=False):
        assert env.step(turn.action)[0] == following.observation
    assert env.step(before.turns[-1].action)[2]


async def test_each_turn_has_a_seed_of_its_own_derived_from_the_first():
    seeds = []

    class Asking(Counting):
        async def act(self, messages, *, sampling, **kwargs):
            seeds.append(sampling.seed)
            return await super().act(messages, sampling=sampling, **kwargs)

    await played(make(), Asking(), sampling=Sampling(seed=2**31 - 1))
    assert seeds[:2] == [2**31 - 1, 0]


@pytest.mark.parametrize("stage", ["reset", "step"])
async def test_a_world_that_raises_is_an_unscored_error_that_names_it(stage):
    trajectory = await played(make(fault=f"{stage} raises"), Counting())
    assert trajectory.stop is Stop.ERROR
    assert not trajectory.scored
    assert trajectory.error.startswith(f"environment: env.{stage}: RuntimeError: the world broke")


@pytest.mark.timeout(30)  # what hangs does so for a minute
@pytest.mark.parametrize("world", ["CountInThread", "CountInProcess"])
@pytest.mark.parametrize("stage", ["reset", "step"])
async def test_a_world_that_hangs_is_given_up_at_its_deadline(world, stage):
    deadlines = Deadlines(**{f"{stage}_s": 1.5 if world == "CountInProcess" else 0.3})
    env = make(world, fault=f"{stage} hangs")
    trajectory = await play(env, Counting(), KEY, deadlines=deadlines)
    env.close()
    assert trajectory.stop is Stop.ERROR
    assert trajectory.error.startswith(f"deadline: {stage} took longer than")


async def test_a_coroutine_hook_that_hangs_is_cancelled_at_its_deadline():
    trajectory = await played(
        make("CountAsync", fault="step hangs"),
        Counting(),
        KEY._replace(task_id="default"),
        deadlines=Deadlines(step_s=0.2),
    )
    assert trajectory.error == "deadline: step took longer than 0.2 s"


async def test_a_worker_process_that_dies_is_an_error_of_the_environment():
    trajectory = await played(make("CountInProcess", fault="step dies"), Counting())
    assert trajectory.stop is Stop.ERROR
    assert trajectory.error == (
        "environment: the environment's worker process is gone: it died with exit status 3"
    )


async def test_a_policy_that_raises_stalls_or_fails_is_an_error_of_the_policy():
    class Broken:
        def __init__(self, error):
            self.error = error

        async def act(self, messages, **_):
            raise self.error

    trajectory = await played(make(), Broken(KeyError("choices")))
    assert trajectory.error == "policy: policy.act: KeyError: 'choices'"
    trajectory = await played(make(), Broken(PolicyError("the server is away")))
    assert trajectory.error == "policy: the server is away"
    trajectory = await played(make(), Saying(after_s=60), deadlines=Deadlines(policy_s=0.2))
    assert trajectory.error == "deadline: policy took longer than 0.2 s"
    assert not trajectory.scored


@pytest.mark.parametrize("stage", ["env.reset", "env.step"])
async def test_what_is_no_info_is_an_error_of_the_environment(stage):
    class Untold(gym.Wrapper):
        def reset(self, **kwargs):
            shown, info = self.env.reset(**kwargs)
            return shown, None if stage == "env.reset" else info

        def step(self, action):
            return *self.env.step(action)[:4], None

    trajectory = await played(Untold(make()), Counting())
    assert trajectory.error == f"environment: {stage}: TypeError: info is None: return a dict"


@pytest.mark.parametrize("world", ["Count", "CountInThread"])
async def test_a_cancellation_that_nobody_asked_for_is_an_error_of_who_raised_it(world):
    class Dropped(gym.Wrapper):
        def step(self, action):
            raise asyncio.CancelledError

    class Dropping(Counting):
        async def act(self, messages, **kwargs):
            raise asyncio.CancelledError

    trajectory = await played(make(world), Dropping())
    assert trajectory.error == "policy: policy.act: CancelledError: "
    trajectory = await played(Dropped(make(world)), Counting())
    assert trajectory.error == "environment: env.step: CancelledError: "
    assert trajectory.stop is Stop.ERROR


async def test_a_policy_may_want_nothing():
    class Plain(Counting):
        wants = None

    assert (await played(make(), Plain(), show_admissible=True)).outcome.passed


async def test_a_seed_of_numpys_reaches_the_policy_as_an_int():
    class Asking(Counting):
        async def act(self, messages, *, sampling, **kwargs):
            assert type(sampling.seed) is int
            return await super().act(messages, sampling=sampling, **kwargs)

    trajectory = await played(make(), Asking(), sampling=Sampling(seed=np.int64(3)))
    assert trajectory.outcome.passed


async def test_a_mistake_of_the_caller_is_raised():
    class Refused:
        async def act(self, messages, **_):
            raise ConfigError("no such model")

    with pytest.raises(ConfigError, match="no such model"):
        await played(make(), Refused())
    with pytest.raises(TaskError, match="did you mean 'count:1'"):
        await played(make(), Counting(), KEY._replace(task_id="count:11"))


async def test_a_conversation_that_no_longer_fits_is_judged_as_it_stands():
    class Short(Counting):
        async def act(self, messages, **kwargs):
            if len(messages) > 3:
                raise ContextOverflow("the prompt has 9,000 tokens, the model takes 8,192")
            return await super().act(messages, **kwargs)

    trajectory = await played(make(), Short())
    assert trajectory.stop is Stop.CONTEXT
    assert trajectory.scored
    assert trajectory.outcome.score == 0.0
    assert "9,000 tokens" in trajectory.error
    assert len(trajectory.turns) == 1


async def test_the_episode_deadline_ends_it_unscored():
    trajectory = await played(
        make(), Saying("x", after_s=0.15), deadlines=Deadlines(policy_s=60, episode_s=0.4)
    )
    assert trajectory.stop is Stop.DEADLINE
    assert not trajectory.scored
    assert 1 <= len(trajectory.turns) <= 3


async def test_a_stage_deadline_counts_from_the_start_of_its_stage():
    trajectory = await played(make(), Saying("x", after_s=0.12), deadlines=Deadlines(policy_s=0.5))
    assert trajectory.stop is Stop.TURNS  # eight turns, each in time, together over the deadline


async def test_cancelling_raises_and_leaves_what_there_is():
    into = Trajectory(KEY, Task("count:1"))
    task = asyncio.create_task(played(make(), Saying("x", after_s=0.1), into=into))
    await asyncio.sleep(0.25)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert into.stop is Stop.CANCELLED
    assert not into.scored
    assert len(into.turns) >= 1


@pytest.mark.parametrize("reward", [float("nan"), float("inf")])
async def test_a_reward_that_is_not_finite_is_an_error_of_the_environment(reward):
    env = gym.make("tests/Foreign-v0", reward=reward)
    trajectory = await played(env, Saying("yes"), EpisodeKey("tests/Foreign-v0", "", 0))
    assert trajectory.stop is Stop.ERROR
    assert trajectory.error.startswith("environment: env.step paid")


@pytest.mark.parametrize(("paid", "score"), [(1.0, 1.0), (0.25, 0.25), (7.0, 1.0), (-3.0, 0.0)])
async def test_a_foreign_environment_is_scored_by_its_rewards_within_bounds(paid, score):
    env = gym.make("tests/Foreign-v0", reward=paid)
    trajectory = await played(env, Saying("yes"), EpisodeKey("tests/Foreign-v0", "", 0))
    assert trajectory.outcome.score == score
    assert trajectory.outcome.passed == (score == 1.0)
    assert trajectory.reward == paid


@pytest.mark.parametrize("world", ["Count", "CountInThread", "CountAsync"])
async def test_a_wrapper_around_an_environment_sees_every_call(world):
    class Doubled(gym.Wrapper):
        def step(self, action):
            shown, reward, *rest = self.env.step(action)
            return f"{shown}!", 2 * reward, *rest

    task = "default" if world == "CountAsync" else "count:1"
    env = Doubled(make(world))
    trajectory = await played(env, Counting(), KEY._replace(task_id=task))
    env.close()
    assert trajectory.final_observation.endswith("!")
    assert trajectory.turns[-1].reward == 2.0
    assert trajectory.outcome.score == 1.0


async def test_oracle_and_admissible_hints_reach_the_policies_that_want_them():
    assert (await played(make(), open_policy("oracle"))).outcome.passed
    trajectory = await played(make(), open_policy("random"), sampling=Sampling(seed=1))
    assert trajectory.scored


async def test_admissible_actions_are_shown_when_asked_for():
    prompts = []

    class Reading(Counting):
        async def act(self, messages, **kwargs):
            prompts.append(messages[-1]["content"])
            return await super().act(messages, **kwargs)

    class Listing(Count):
        def admissible(self):
            return ["1", "2"]

    await played(Listing(), Reading(), show_admissible=True)
    assert all("Possible actions:\n- 1\n- 2" in prompt for prompt in prompts)
    prompts.clear()
    await played(Listing(), Reading())
    assert not any("Possible actions" in prompt for prompt in prompts)


@pytest.mark.parametrize(
    "text", ["", " ", "x" * 2_000_000, "\x00\x01", "caf\ud800", "[" * 100_000, "```\n", "1\n" * 99]
)
async def test_any_reply_is_an_observation_and_can_be_recorded(text, tmp_path):
    from agentgym.store import Store

    trajectory = await played(make(), Saying(text))
    assert trajectory.stop in (Stop.TURNS, Stop.TERMINATED)
    with Store.create(tmp_path / "run", {}) as store:
        store.append(trajectory)
        (again,) = store.episodes()
    assert len(again.turns) == len(trajectory.turns)


async def test_token_ids_are_kept_as_the_engine_gave_them():
    class Counted(Counting):
        async def act(self, messages, **kwargs):
            said = await super().act(messages, **kwargs)
            ids = np.arange(len(messages), dtype=np.int32)
            return Completion(said.text, prompt_ids=ids, completion_ids=ids[:1])

    trajectory = await played(make(), Counted())
    assert [len(t.completion.prompt_ids) for t in trajectory.turns][:2] == [2, 4]


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        ("reset exits", "env.reset: SystemExit: 3"),
        ("step exits", "env.step: SystemExit: 3"),
        ("reset refuses", "env.reset: InvalidAction: no such thing"),
        ("shows nothing", "respond() returned None: return text"),
    ],
)
async def test_whatever_a_world_does_wrong_is_an_error_of_that_episode(fault, said):
    trajectory = await played(make(fault=fault), Counting())
    assert trajectory.stop is Stop.ERROR
    assert trajectory.error.startswith("environment: ")
    assert said in trajectory.error


async def test_a_policy_that_exits_or_returns_something_else_is_an_error_of_the_policy():
    class Leaving:
        async def act(self, messages, **_):
            raise SystemExit(4)

    class Telling:
        async def act(self, messages, **_):
            return "1"

    assert (await played(make(), Leaving())).error == "policy: policy.act: SystemExit: 4"
    assert "it returned '1': return a Completion" in (await played(make(), Telling())).error


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"text": None}, "Completion.text is None: give a str"),
        ({"usage": {"prompt_tokens": None}}, "Completion.usage is {'prompt_tokens': None}"),
        ({"usage": {"prompt_tokens": "5"}}, "give whole numbers"),
        ({"usage": None}, "AttributeError"),
        ({"prompt_ids": [1, 2], "completion_ids": [3], "logprobs": [-0.1, -0.2]}, "1 completion"),
        ({"completion_ids": [3, 4, 5], "logprobs": [-0.1]}, "3 completion_ids but 1 logprobs"),
        ({"prompt_ids": ["a"], "completion_ids": [3]}, "Completion.prompt_ids is ['a']"),
        ({"completion_ids": [[3]]}, "Completion.completion_ids is [[3]]"),
        ({"completion_ids": [0.5]}, "Completion.completion_ids is [0.5]"),
        ({"completion_ids": 3}, "TypeError"),
        ({"completion_ids": [3], "logprobs": [None]}, "Completion.logprobs is [None]"),
        ({"tool_calls": [{"name": "count"}]}, "AttributeError"),
    ],
)
async def test_a_completion_that_could_not_be_recorded_is_an_error_of_the_policy(fields, told):
    class Telling:
        async def act(self, messages, **_):
            return Completion(**{"text": "1", **fields})

    trajectory = await played(make(), Telling())
    assert trajectory.stop is Stop.ERROR
    assert trajectory.error.startswith("policy: policy.act: ")
    assert told in trajectory.error


async def test_a_wrapped_environment_is_judged_too_when_the_context_is_full():
    class Judged(Count):
        def judge(self):
            return Outcome(0.5, False, "half")

    class Full:
        async def act(self, messages, **_):
            raise ContextOverflow("full")

    for env in (Judged(), gym.Wrapper(Judged())):
        trajectory = await play(env, Full(), KEY)
        assert (trajectory.stop, trajectory.outcome.label) == (Stop.CONTEXT, "half")


@pytest.mark.timeout(30)
def test_a_wrapped_environment_that_hangs_as_it_is_judged_holds_up_nothing():
    let_go = threading.Event()

    class Undecided(Count):
        def judge(self):
            let_go.wait(60)

    class Full:
        async def act(self, messages, **_):
            raise ContextOverflow("full")

    trajectory = asyncio.run(
        play(gym.Wrapper(Undecided()), Full(), KEY, deadlines=Deadlines(step_s=0.2))
    )
    let_go.set()
    assert trajectory.error == "deadline: step took longer than 0.2 s"


@pytest.mark.timeout(30)
@pytest.mark.parametrize("deadlines", [Deadlines(policy_s=0.2), Deadlines(episode_s=0.2)])
async def test_a_policy_that_swallows_its_cancellation_does_not_outlive_the_deadline(deadlines):
    class Stubborn:
        async def act(self, messages, **_):
            try:
                await asyncio.sleep(0.3)
            except asyncio.CancelledError:
                asyncio.current_task().uncancel()
            return Completion("x")

    trajectory = await played(make(), Stubborn(), deadlines=deadlines)
    assert trajectory.stop in (Stop.ERROR, Stop.DEADLINE)
    assert not trajectory.scored
    assert len(trajectory.turns) <= 1


async def test_closing_an_environment_of_coroutines_releases_what_they_hold():
    from worlds import CountAsync

    class Holding(CountAsync):
        held = False

        async def begin(self, task):
            self.held = True
            return await super().begin(task)

        async def aclose(self):
            await super().aclose()
            self.held = False

    env = Holding()
    env.reset(seed=0)
    assert env.held
    env.close()
    env.close()
    assert not env.held
