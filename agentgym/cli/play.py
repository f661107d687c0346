"""Play one episode yourself, or watch a policy play it, turn by turn.

You type what a model would write; Tab completes the admissible actions, Ctrl-D leaves.

Examples:
agentgym play agentgym/TextWorld-v0 --hint
agentgym play examples/guess_number.py --seed 3
agentgym play 'agentgym/TextWorld-v0?family=coin' --policy oracle
agentgym play 'agentgym/MiniWoB-v0?task=login-user&obs=both'
agentgym play agentgym/MiniWoB-v0 --policy random --headed
"""

from __future__ import annotations

import argparse
import asyncio
from collections.abc import Sequence
from contextlib import closing
from typing import TYPE_CHECKING, Any

from agentgym import registry
from agentgym.cli.parsing import (
    add_environment,
    add_sampling,
    pair,
    read_environment,
    read_sampling,
    whole,
)
from agentgym.env import Env
from agentgym.errors import ConfigError
from agentgym.types import Completion, EpisodeKey, Message, Policy, Sampling, Task, Trajectory

if TYPE_CHECKING:
    from agentgym.rollout import AnyEnv


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    add_environment(parser)
    parser.add_argument("--task", metavar="ID", help="which task (one drawn by the seed if unset)")
    parser.add_argument("--seed", metavar="N", type=whole(0), default=0, help="of the environment")
    parser.add_argument("--policy", metavar="SPEC", default="human", help="who plays")
    parser.add_argument(
        "--policy-arg",
        metavar="NAME=VALUE",
        type=pair,
        action="append",
        default=[],
        help="an argument of the policy, JSON or text; may be repeated",
    )
    parser.add_argument(
        "--hint", action="store_true", help="list the admissible actions with each observation"
    )
    parser.add_argument(
        "--headed", action="store_true", help="show a world of pages in a window, too"
    )
    add_sampling(parser)


def run(args: argparse.Namespace) -> int:
    """Play the episode; 1 if it could not be scored."""
    from agentgym.cli import render, say
    from agentgym.cli.text import several
    from agentgym.cli.transcript import print_end, print_understood
    from agentgym.policy import open_policy
    from agentgym.prompt import system_message

    id, given = read_environment(args)
    policy = open_policy(args.policy, **dict(args.policy_arg))
    human = args.policy == "human"
    with closing(_make(id, given, args.policy, headed=args.headed)) as env:
        key = EpisodeKey(registry.key(id, given), args.task or "", args.seed)
        trajectory = Trajectory(key, Task(key.task_id))
        player: Policy = (_Pictured if human else _Watched)(policy, trajectory)
        render.print_line(system_message(env))
        try:
            asyncio.run(_play(env, player, policy, trajectory, args))
        except KeyboardInterrupt:
            say(f"left after {several(len(trajectory.turns), 'turn')}, before the end")
            return 130
    if trajectory.turns and not human:
        print_understood(trajectory.turns[-1])
    print_end(trajectory)
    return 0 if trajectory.scored else 1


async def _play(
    env: AnyEnv, player: Policy, opened: Policy, into: Trajectory, args: argparse.Namespace
) -> None:
    from agentgym.rollout import Deadlines, play

    patience = None if args.policy == "human" else Deadlines().policy_s
    try:
        await play(
            env,
            player,
            into.key,
            sampling=read_sampling(args),
            show_admissible=args.hint,
            deadlines=Deadlines(policy_s=patience),
            into=into,
        )
    finally:
        if isinstance(env, Env):
            await env.aclose()
        close = getattr(opened, "aclose", None)
        if close is not None:
            await close()


def _make(id: str, given: dict[str, Any], policy: str, *, headed: bool) -> AnyEnv:
    """The environment; a person is not asked to write JSON unless the dialect was chosen.

    Raises:
        ConfigError: It cannot be shown in a window, or is not about text.
    """
    from agentgym.evaluate import Plan

    given = {**given, "headed": True} if headed else given
    try:
        env = Plan(id, policy, env_args=given).make_env()
    except ConfigError as error:
        if headed and "argument 'headed'" in str(error):
            raise ConfigError(f"{id} has no pages to show: leave --headed out") from error
        raise
    world = env.unwrapped
    if policy == "human" and isinstance(world, Env) and "dialect" not in given:
        given = {**given, "dialect": "text" if world.grammar.plain else "call"}
        if world.grammar.dialect != given["dialect"]:
            env.close()
            env = registry.make(id, **given)
    return env


class _Pictured:
    """A policy that is shown the picture, where the world gives one: a person."""

    def __init__(self, policy: Policy, trajectory: Trajectory) -> None:
        self.wants = getattr(policy, "wants", "")
        self._policy = policy
        self._trajectory = trajectory

    async def act(
        self,
        messages: Sequence[Message],
        *,
        sampling: Sampling,
        session: str,
        admissible: Sequence[str] | None = None,
    ) -> Completion:
        """Show the picture, and let the policy act."""
        from agentgym.cli.picture import print_picture

        print_picture(self._trajectory.final_observation)
        return await self._policy.act(
            messages, sampling=sampling, session=session, admissible=admissible
        )


class _Watched(_Pictured):
    """A policy that shows what it sees and says, and what came of its turn before."""

    async def act(
        self,
        messages: Sequence[Message],
        *,
        sampling: Sampling,
        session: str,
        admissible: Sequence[str] | None = None,
    ) -> Completion:
        """Let the policy act, and show it."""
        from agentgym.cli.transcript import print_said, print_seen, print_understood
        from agentgym.prompt import IGNORED

        turns = self._trajectory.turns
        if turns:
            print_understood(turns[-1])
        # with the admissible actions, if they are listed
        told = next(m["content"] for m in reversed(messages) if m["content"] != IGNORED)
        seen = told if isinstance(told, str) else self._trajectory.final_observation
        print_seen(len(turns) + 1, seen)
        completion = await self._policy.act(
            messages, sampling=sampling, session=session, admissible=admissible
        )
        print_said(completion)
        return completion
