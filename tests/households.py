"""ALFWorld games that tests share: hand-made rooms of a few things, odd ones, and real ones."""

from __future__ import annotations

import hashlib
import json
import lzma
import os
import random
import sys
from collections.abc import Iterator, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import gymnasium as gym
import pytest

from agentgym.envs.alfworld import ALFWorld
from agentgym.envs.alfworld_engine import Board
from agentgym.envs.alfworld_reference import PACKAGE
from agentgym.tasks.alfworld_game import TASK_TYPES, TRAIT, Game, Receptacle, Thing, read_problem
from agentgym.tasks.alfworld_generate import generate

ALFWORLD = "agentgym/ALFWorld-v0"
TEST_DATA = os.environ.get("AGENTGYM_TEST_DATA", "")
real = pytest.mark.skipif(not TEST_DATA, reason="AGENTGYM_TEST_DATA names no folder of real games")

TRANSCRIPTS = Path(__file__).parent / "envs" / "data" / "alfworld_transcripts.jsonl"

OPENABLE = {"drawer", "cabinet", "fridge", "microwave"}
APPLIANCES = {"clean": "sinkbasin", "heat": "microwave", "cool": "fridge"}
MUG = ("pickupable", "cleanable", "heatable", "coolable")
TRAITS = {
    "mug": MUG,
    "book": ("pickupable",),
    "apple": (*MUG, "sliceable"),
    "knife": ("pickupable", "cleanable"),
    "butterknife": ("pickupable", "cleanable"),
    "plate": (*MUG, "isreceptacleobject"),
    "desklamp": ("toggleable",),
    "window": (),
}
WORDS = ("dance", "", "go to nowhere 1", "take  x", "look ", "LOOK", "examine mug 1", "go to")
WORDS += ("put a in/on b", "move a to b", "help", "use shelf 1", "open", "take mug 1 from shelf 1")


def kind_of(id: str) -> str:
    """Type of a receptacle or thing: `sink_bar_1_bar_sinkbasin` is a basin."""
    first, *_, last = id.split("_bar_")
    return last if last.endswith("basin") else first


def room(
    receptacles: Mapping[str, str],
    things: Mapping[str, str | Sequence[str]] | None = None,
    *,
    goal: str = "pick mug shelf",
    start: str = "loc_bar_99",
    fits: Mapping[str, Sequence[str]] | None = None,
    opened: Sequence[str] = (),
    traits: Mapping[str, Sequence[str]] | None = None,
    places: Mapping[str, Sequence[str]] | None = None,
    inside: Sequence[tuple[str, str]] = (),
) -> Game:
    """A room in a few words.

    Args:
        receptacles: Id to location.
        things: Id to the receptacles (or the one) that it lies in.
        goal: Task type, target and destination.
        fits: Receptacle type to what it takes; every type takes every other if None.
        opened: Receptacles that start open.
        traits: Id to traits that the type alone does not give it.
        places: Id to locations, where a thing is not where its receptacles are.
        inside: Pairs of the inner thing and the outer.
    """
    within = {t: (r,) if isinstance(r, str) else tuple(r) for t, r in (things or {}).items()}
    task_type, target, destination = goal.split()
    kinds = {kind_of(each) for each in within}
    made = []
    for id, into in sorted(within.items()):
        at = (places or {}).get(id, {receptacles[r] for r in into})
        having = (traits or {}).get(id, TRAITS[kind_of(id)])
        bits = sum(TRAIT[name] for name in having)
        made.append(Thing(id, kind_of(id), tuple(sorted(at)), tuple(sorted(into)), bits))
    return Game(
        id="room",
        task_type=task_type,
        target=target,
        destination=destination,
        task="do as you are told",
        start=start,
        receptacles=tuple(
            Receptacle(id, kind_of(id), at, kind_of(id) in OPENABLE, id in opened)
            for id, at in sorted(receptacles.items())
        ),
        things=tuple(made),
        can_contain={
            kind: tuple(sorted(kinds if fits is None else fits.get(kind, ())))
            for kind in sorted({kind_of(each) for each in receptacles})
        },
        inside=tuple(sorted(inside)),
    )


def random_room(rng: random.Random, task_type: str) -> Game:
    """Four receptacles at up to four places, few things: small enough to try everything.

    Objects may lie in two receptacles, or fit nowhere; the lamp may be one to take along.
    """
    kinds = [APPLIANCES[task_type]] if task_type in APPLIANCES else []
    kinds += [rng.choice(["shelf", "drawer", "cabinet"]) for _ in range(4 - len(kinds))]
    ids = [
        f"sink_bar_{i:02}_bar_sinkbasin" if kind == "sinkbasin" else f"{kind}_bar_{i:02}"
        for i, kind in enumerate(kinds)
    ]
    receptacles = {id: f"loc_bar_{rng.randrange(4)}" for id in ids}
    names = ["mug"] * (rng.choice([2, 2, 3]) if task_type == "pick2" else rng.choice([1, 2]))
    names += ["book", "desklamp"] if task_type == "look" else ["book"]
    things, traits = {}, {}
    for i, name in enumerate(names):
        id = f"{name}_bar_{i:02}"
        things[id] = rng.sample(ids, 2 if rng.random() < 0.15 and name != "desklamp" else 1)
        if name == "desklamp" and rng.random() < 0.2:
            traits[id] = ["toggleable", "pickupable"]
    fitting = ("desklamp", "mug") if rng.random() < 0.2 else ("book", "desklamp", "mug")
    fits = {kind: [name for name in fitting if rng.random() < 0.7] for kind in sorted(set(kinds))}
    destination = "desklamp" if task_type == "look" else rng.choice(kinds)
    opened = [id for id in ids if rng.random() < 0.15]
    goal = f"{task_type} mug {destination}"
    return room(receptacles, things, goal=goal, fits=fits, opened=opened, traits=traits)


def odd_room(rng: random.Random) -> Game:
    """A room with all that ALFWorld's rules allow and its games hardly have."""
    task_type = rng.choice([*TASK_TYPES])
    kinds = ["sinkbasin", "microwave", "fridge"] if rng.random() < 0.5 else ["shelf"]
    if task_type in APPLIANCES:
        kinds.append(APPLIANCES[task_type])
    kinds += [rng.choice(["shelf", "drawer", "cabinet"]) for _ in range(rng.randrange(1, 4))]
    ids = [
        f"sink_bar_{i:02}_bar_sinkbasin" if kind == "sinkbasin" else f"{kind}_bar_{i:02}"
        for i, kind in enumerate(kinds)
    ]
    locations = [f"loc_bar_{i}" for i in range(4)]
    receptacles = {id: rng.choice(locations) for id in ids}
    things, traits, places = {}, {}, {}
    for i in range(rng.randrange(3, 8)):
        kind = rng.choice([*TRAITS, "mug", "mug"])
        id = f"{kind}_bar_{rng.randrange(10)}{i}"
        things[id] = rng.sample(ids, rng.choice([0, 1, 1, 1, 1, 2]))
        if rng.random() < 0.2:
            places[id] = rng.sample(locations, rng.choice([0, 1, 2]))
        if rng.random() < 0.4:
            more = [name for name in TRAIT if rng.random() < 0.25]
            traits[id] = sorted({*TRAITS[kind], *more} - {"isreceptacleobject"})
    if task_type == "look":
        things["desklamp_bar_9"] = rng.sample(ids, rng.choice([1, 1, 2]))
        if rng.random() < 0.3:
            traits["desklamp_bar_9"] = ["toggleable", "pickupable"]
    fits = {kind: [name for name in TRAITS if rng.random() < 0.75] for kind in sorted(set(kinds))}
    destination = "desklamp" if task_type == "look" else rng.choice(kinds)
    holders = [id for id in things if kind_of(id) == "plate"]
    inside = [(rng.choice([*things]), outer) for outer in holders if rng.random() < 0.7]
    return room(
        receptacles,
        things,
        goal=f"{task_type} {rng.choice(['mug', 'apple'])} {destination}",
        start=rng.choice(["loc_bar_99", *locations]),
        fits=fits,
        opened=[id for id in ids if rng.random() < 0.3],
        traits=traits,
        places=places,
        inside=[pair for pair in inside if pair[0] != pair[1]],
    )


class Player:
    """Someone who plays a game on the native engine."""

    def __init__(self, game: Game, version: str = "2.1.2", parity: str = "strict") -> None:
        self.board = Board(game, version, parity == "relaxed")
        self.state = self.board.start()
        self.intro = self.board.intro(self.state, game.task)

    def __call__(self, *commands: str) -> str:
        """The answer to the last of these; all before it must be possible."""
        said = None
        for command in commands:
            assert said != "Nothing happens.", command
            if self.board.relaxed:
                command = self.board.meant(command)
            said = self.board.act(self.state, command) or "Nothing happens."
        assert said is not None
        return said

    @property
    def admissible(self) -> list[str]:
        """What can be done now."""
        return [str(each) for each in self.board.admissible(self.state)]

    def can(self, start: str) -> list[str]:
        """What of it starts so."""
        return [each for each in self.admissible if each.startswith(start)]

    @property
    def won(self) -> bool:
        """Whether the goal holds."""
        return self.state.won


def choose(rng: random.Random, admissible: Sequence[str], nonsense: float = 0.04) -> str:
    """A command of a player who likes to handle things, and now and then talks nonsense."""
    if rng.random() < nonsense:
        return rng.choice(WORDS)
    handling = ("take", "move", "put", "open", "slice", "heat", "cool", "clean", "use")
    weights = [
        5 if each.startswith(handling) else 0.3 if each in ("help", "inventory") else 1
        for each in admissible
    ]
    return rng.choices(admissible, weights)[0]


def make(**arguments: Any) -> ALFWorld:
    """The environment."""
    made = gym.make(ALFWORLD, **arguments)
    assert isinstance(made, ALFWorld)
    return made


def start(env: ALFWorld, task: str, *hints: str, seed: int = 0) -> tuple[str, dict[str, Any]]:
    """Begin an episode."""
    text, info = env.reset(seed=seed, options={"task": task, "hints": hints})
    assert isinstance(text, str)
    return text, info


def play(env: ALFWorld, seed: int, turns: int, skill: float = 0.2) -> list[Any]:
    """A running episode's next turns, mostly at random, and all that is told of them."""
    rng, told = random.Random(seed), []
    for _ in range(turns):
        command = choose(rng, env.admissible()) or "look"
        if rng.random() < skill:
            command = env.oracle() or command
        told.append((command, *env.step(command), env.admissible()))
        if told[-1][3] or told[-1][4]:
            break
    return told


def real_rows(split: str, every: int = 1) -> Iterator[dict[str, Any]]:
    """Lines of a real split."""
    path = Path(TEST_DATA) / "alfworld" / f"alfworld-{split}-2.1.1.jsonl.xz"
    with lzma.open(path, "rt") as lines:
        for number, line in enumerate(lines):
            if number % every == 0:
                yield json.loads(line)


def real_game(row: Mapping[str, Any]) -> Game:
    """The game of a line."""
    return read_problem(
        row["pddl_problem"],
        id=row["id"],
        task=row["task"],
        human_goals=row["human_goals"],
        scene=row["scene"],
    )


def digest(admissible: Sequence[str]) -> str:
    """A few digits that differ where lists do."""
    return hashlib.sha256("\n".join(admissible).encode()).hexdigest()[:8]


def read_transcripts() -> list[dict[str, Any]]:
    """What ALFWorld's own engine said: `game`, `version`, and of each step command, text (None if
    nothing happened), digest of what was admissible then, and whether it was won.
    """
    read = []
    for line in TRANSCRIPTS.read_text().splitlines():
        transcript = json.loads(line)
        kind, size, seed = transcript["made"]
        transcript["game"] = generate(kind, seed, size=size)
        read.append(transcript)
    return read


def need_alfworld() -> None:
    """Skip where ALFWorld's own engine cannot run, or is not installed; CI must have it."""
    if sys.version_info >= (3, 13):
        pytest.skip("TextWorld's PDDL engine fails on Python 3.13")
    if find_spec("alfworld") is None:
        what = f"alfworld is not installed: pip install '{PACKAGE}'"
        if os.environ.get("CI") == "true":
            pytest.fail(what)
        pytest.skip(what)
