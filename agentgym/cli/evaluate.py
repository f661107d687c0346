r"""Play one or more policies in an environment, record every episode, and report the score.

Every episode is on disk the moment it ends: a run that was interrupted or killed goes on with
--resume, without repeating what was scored. With several policies each has a folder of its own in
OUT, all play the same tasks and seeds, and the report compares them.

Policies: oracle (the world's own expert), random (over the admissible actions), smollm2 (a small
model inside this process), llamacpp:PATH (any GGUF file), transformers:MODEL (a folder, or a hub's
name), openai:MODEL@URL (any OpenAI-compatible server), openai:MODEL (at $OPENAI_BASE_URL, with
$OPENAI_API_KEY), or module:Class.

Examples:
agentgym eval agentgym/TextWorld-v0 --policy oracle --policy random --limit 20
agentgym eval examples/guess_number.py --policy random --seeds 0-99 --out runs/guess
agentgym eval agentgym/TextWorld-v0 --split test --group 4 --temperature 0.7 \
    --policy openai:Qwen/Qwen3-8B@http://127.0.0.1:8000/v1 --concurrency 64
agentgym eval --config run.toml --limit 5
agentgym eval --resume --out runs/guess
"""

from __future__ import annotations

import argparse
import re
import shlex
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agentgym import registry
from agentgym.cli.parsing import (
    add_environment,
    add_sampling,
    pair,
    read_environment,
    read_sampling,
    real,
    seeds,
    whole,
)
from agentgym.cli.text import resume_command
from agentgym.errors import ConfigError, RegistryError, StoreError

if TYPE_CHECKING:
    from agentgym.cli.session import Job, Pace
    from agentgym.evaluate import Plan

_PLANNED = (
    "arg", "split", "max_turns", "dialect", "limit", "task", "seeds", "group", "seed", "history",
    "show_admissible", "reward", "constrain", "policy_arg", "temperature", "top_p", "top_k",
    "max_tokens", "stop",
)  # fmt: skip
"""Arguments that decide what happens in a run: resumed alone, it has them from its manifest."""

_SECRET = re.compile(r"(^|_)(api_?key|key|token|secret|password)$")


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    add_environment(parser, optional=True)
    parser.add_argument(
        "--config",
        metavar="FILE",
        type=Path,
        help='a run file: these options in TOML, as in policy = ["oracle"]; what is given here '
        "as well replaces what it says",
    )
    _add_what(parser)
    _add_policy(parser)
    add_sampling(parser)
    _add_how(parser)
    _add_output(parser)
    unset = vars(parser.parse_args([]))
    parser.set_defaults(unset={name: unset[name] for name in _PLANNED})


def _add_what(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("episodes: each task with each seed, GROUP times")
    which = group.add_mutually_exclusive_group()
    which.add_argument(
        "--limit", metavar="N", type=whole(1), help="only the first N tasks of the split"
    )
    which.add_argument(
        "--task", metavar="ID", action="append", default=[], help="only this; may be repeated"
    )
    group.add_argument(
        "--seeds",
        type=seeds,
        default="0",
        metavar="SEEDS",
        help="of the environment, as in 0,1,2 or 0-9",
    )
    group.add_argument(
        "--group", metavar="G", type=whole(1), default=1, help="samples of each task and seed"
    )


def _add_policy(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("policy")
    group.add_argument(
        "--policy", metavar="SPEC", action="append", default=[], help="who plays; may be repeated"
    )
    group.add_argument(
        "--policy-arg",
        metavar="NAME=VALUE",
        type=pair,
        action="append",
        default=[],
        help="an argument of the policy, JSON or text; may be repeated",
    )
    group.add_argument(
        "--constrain",
        action="store_true",
        help="llamacpp and its models: sample admissible actions only",
    )
    group.add_argument(
        "--seed", metavar="N", type=whole(0), default=0, help="of sampling, for the whole run"
    )
    group.add_argument(
        "--history",
        metavar="K",
        type=whole(0),
        help="show only the first observation and the last K exchanges (all if unset)",
    )
    group.add_argument(
        "--show-admissible",
        action="store_true",
        help="list the admissible actions with each observation",
    )
    group.add_argument(
        "--reward",
        metavar="EXPRESSION",
        help="also compute this reward of every episode, into OUT/rewards (`agentgym reward list` "
        "shows what there is)",
    )


def _add_how(parser: argparse.ArgumentParser) -> None:
    from agentgym.rollout import Deadlines

    default = Deadlines()
    group = parser.add_argument_group("how it is played")
    group.add_argument(
        "--concurrency", metavar="N", type=whole(1), default=16, help="most episodes at once"
    )
    group.add_argument(
        "--retries",
        metavar="N",
        type=whole(0),
        default=2,
        help="how often an episode that failed without the policy's fault is played again",
    )
    group.add_argument(
        "--give-up-after",
        metavar="N",
        type=whole(1),
        help="end the run when N episodes in a row failed so (twice the concurrency, and at least "
        "16, if unset)",
    )
    group.add_argument(
        "--workers",
        metavar="N",
        type=whole(1),
        help="most processes for environments that compute (one a core if unset)",
    )
    for stage, limit_s in (
        ("policy", default.policy_s),
        ("step", default.step_s),
        ("reset", default.reset_s),
        ("episode", default.episode_s),
    ):
        group.add_argument(
            f"--timeout-{stage}",
            metavar="S",
            type=real(0),
            default=limit_s or 0,
            help=f"longest {'an' if stage == 'episode' else 'a'} {stage} may take, in seconds; "
            "0: no limit",
        )


def _add_output(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("output")
    group.add_argument(
        "--out",
        metavar="DIR",
        type=Path,
        help="the run folder (runs/ENV-POLICY-TIME if unset)",
    )
    group.add_argument(
        "--resume",
        action="store_true",
        help="go on with the run in --out; without --policy as its manifest says",
    )
    group.add_argument("--json", action="store_true", help="print the report as JSON")


# -------------------------------------------------------------------------------- running


def run(args: argparse.Namespace) -> int:
    """Play what was asked for and report on it."""
    if args.resume and args.out is None:
        raise ConfigError("--resume needs --out RUN: which run to go on with")
    plans = _from_manifests(args) if args.resume and not args.policy else _from_arguments(args)
    from agentgym.cli.session import Interrupted, Job

    jobs: list[Job] = []
    try:
        for path, plan in plans:
            jobs.append(Job(plan, path, resume=args.resume))
        for job in jobs:
            job.play(_pace(args), resume_command(_folder(jobs)))
    except Interrupted as interrupted:
        return _interrupted(args, jobs, interrupted.code)
    except BaseException:
        for job in jobs:  # another one could not be opened: none of them has begun
            job.code = 2
        raise
    finally:
        for job in jobs:
            job.discard() if job.stillborn else job.close()
    return _report([job for job in jobs if not job.stillborn], jobs, args)


def _report(begun: list[Job], jobs: list[Job], args: argparse.Namespace) -> int:
    from agentgym.cli import render
    from agentgym.cli.runs import report_on

    code = max(job.code for job in jobs)
    if not begun:
        return code
    runs = report_on([job.run.store for job in begun])
    if args.json:
        render.print_json(render.reports_as_json(runs))
    else:
        render.print_reports(runs)
        episodes = (
            " --failed, or --episode N of one" if len(begun) > 1 else " --failed, or --episode N"
        )
        folder = shlex.quote(str(_folder(begun)))
        render.print_line(f"look at the episodes: agentgym show {folder}{episodes}")
    return code or (0 if all(run.summary.scored for run in runs) else 1)


def _interrupted(args: argparse.Namespace, jobs: list[Job], code: int) -> int:
    from agentgym.cli import say

    planned = sum(len(job.run.keys) for job in jobs)
    saved = sum(len(job.run.store.done()) for job in jobs)
    say(
        f"interrupted: {saved} of {planned} episodes are scored and saved in {_folder(jobs)}; "
        f"go on with: {resume_command(_folder(jobs))}"
    )
    return code


def _folder(jobs: list[Job]) -> Path:
    return jobs[0].path if len(jobs) == 1 else jobs[0].path.parent


def _pace(args: argparse.Namespace) -> Pace:
    from agentgym.cli.session import Pace
    from agentgym.rollout import Deadlines

    deadlines = Deadlines(
        reset_s=args.timeout_reset or None,
        policy_s=args.timeout_policy or None,
        step_s=args.timeout_step or None,
        episode_s=args.timeout_episode or None,
    )
    return Pace(args.concurrency, args.retries, args.give_up_after, args.workers, deadlines)


# -------------------------------------------------------------------------------- plans


def _from_manifests(args: argparse.Namespace) -> list[tuple[Path, Plan]]:
    """The plans of the runs in `--out`."""
    changed = [name for name, value in args.unset.items() if getattr(args, name) != value]
    if changed:
        option = "--" + changed[0].replace("_", "-")
        raise ConfigError(
            f"{option} is decided by the run's manifest: leave it out, or give ENV, --policy and "
            "everything else the run was started with"
        )
    from agentgym.cli.runs import find_runs
    from agentgym.evaluate import Plan
    from agentgym.store import Store

    env, given = (None, {}) if args.env is None else read_environment(args)
    plans = []
    for path in find_runs(args.out):
        manifest = Store.open(path).manifest
        plan = Plan.from_manifest(manifest)
        if env is not None and (env != plan.env or given not in ({}, plan.env_args)):
            played = registry.key(plan.env, plan.env_args)
            raise StoreError(
                f"{path} is a run of {played}, not {registry.key(env, given)}: leave ENV out"
            )
        try:
            if env is None and "file" in manifest:
                registry.load_file(Path(str(manifest["file"])))
            registry.find_spec(plan.env)
        except RegistryError as error:
            raise RegistryError(
                f"{path} is a run of {plan.env}: {error}; if it is in another file, agentgym eval "
                f"FILE --resume --out {args.out}"
            ) from error
        plans.append((path, plan))
    return plans


def _from_arguments(args: argparse.Namespace) -> list[tuple[Path, Plan]]:
    """A plan for each policy."""
    from agentgym.evaluate import Plan

    if args.env is None:
        raise ConfigError("which environment? Give ENV (`agentgym list` shows them)")
    if not args.policy:
        raise ConfigError("which policy? Give --policy oracle, random, smollm2 or another")
    options = _policy_options(args)
    env, env_args = read_environment(args)
    folders = _folders(args, env)
    return [
        (
            folders[policy],
            Plan(
                env=env,
                policy=policy,
                env_args=env_args,
                policy_args=options[policy],
                limit=args.limit,
                tasks=tuple(args.task),
                seeds=args.seeds,
                group=args.group,
                seed=args.seed,
                sampling=read_sampling(args),
                history=args.history,
                show_admissible=args.show_admissible,
                reward=args.reward,
            ),
        )
        for policy in args.policy
    ]


def _policy_options(args: argparse.Namespace) -> dict[str, dict[str, Any]]:
    """Arguments of each policy, tried on those that are built in: they are cheap to make."""
    from agentgym.models import MODELS
    from agentgym.policy import NAMES, open_policy

    given = dict(args.policy_arg)
    secret = next((name for name in given if _SECRET.search(name)), None)
    if secret is not None:
        raise ConfigError(
            f"--policy-arg {secret} would be written into the manifest: set $OPENAI_API_KEY instead"
        )
    twice = next((policy for policy in args.policy if args.policy.count(policy) > 1), None)
    if twice is not None:
        raise ConfigError(f"--policy {twice} is given twice: --group N plays every task N times")
    options: dict[str, dict[str, Any]] = {}
    for policy in args.policy:
        kind = policy.partition(":")[0]
        if policy == "human":
            raise ConfigError("a person plays one episode at a time: agentgym play ENV")
        constrained = args.constrain and kind in ("llamacpp", *MODELS)
        options[policy] = {**given, **({"constrain": True} if constrained else {})}
        if kind in NAMES or ":" not in policy:
            open_policy(policy, **options[policy])
    if args.constrain and not any("constrain" in given for given in options.values()):
        raise ConfigError(
            "--constrain is for llamacpp and its models: no other policy can be constrained"
        )
    return options


def _folders(args: argparse.Namespace, env: str) -> dict[str, Path]:
    """Where each policy's run goes."""
    from agentgym.cli.runs import slug
    from agentgym.store import MANIFEST

    names: dict[str, str] = {}
    for policy in args.policy:
        name = unique = slug(policy)
        number = 1
        while unique in names.values():
            number += 1
            unique = f"{name}-{number}"
        names[policy] = unique
    several = len(names) > 1
    if args.out is None:
        now = datetime.now().strftime("%Y%m%d-%H%M%S")
        named = [slug(env), *([] if several else names.values()), now]
        out = Path("runs") / "-".join(named)
    else:
        out = args.out
    if several and (out / MANIFEST).exists():
        raise StoreError(f"{out} is a run of one policy: choose another folder for several")
    inside = several or any((out / name / MANIFEST).exists() for name in names.values())
    return {policy: out / name if inside else out for policy, name in names.items()}
