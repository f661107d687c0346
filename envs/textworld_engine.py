"""TextWorld's real engine, thin: the Z-machine that writes the text, and the facts behind it.

Imported only when a game starts: it needs `textworld` and `jericho`. The interpreter is asked to
trace actions (`[opening the door - succeeded]`); from that trace, taken out of the text again, the
facts are kept up to date, as TextWorld itself does it, but also for what it misses (`get lamp` off
a table, `enter door`). What is costly is worked out when asked for: admissible commands and plans
cost nothing in a turn that does not want them.

Each `Machine` loads its own copy of the interpreter (jericho copies the library for that, and
removes the copy at once), so machines in different threads do not meet.
"""

from __future__ import annotations

import hashlib
import itertools
import re
from collections.abc import Iterator
from typing import Any, NamedTuple

import jericho
from textworld.generator.game import Game
from textworld.generator.inform7 import Inform7Game
from textworld.logic import Placeholder, Proposition, State, Variable

from agentgym.envs.textworld_oracle import Planner, Position, is_hand
from agentgym.tasks.textworld_games import GameFile, engine

_SEED = 1
"""Of the interpreter's dice; TextWorld's games throw none."""
_BANNER = re.compile(r"\A(?:[ |\\/$_>]*\n)+")
_STATUS = re.compile(r"\n>\s*-= ([^\n]*) =-\s*(-?\d+)/\d+\s*\Z")
_EVENT = re.compile(r"\[(?:\(\d+\) )?([^]]+) - succeeded\]")
_CLOSES = r"[^]]* - (?:succeeded|failed|ended)[^]]*\]\n{0,2}"
_INNER = re.compile(r"\[\(\d+\) " + _CLOSES)
_APART = re.compile(r"(?<=\n\n)\[" + _CLOSES)
_TRACE = re.compile(r"\[[^]]+\]\n?")
_END = re.compile(r"^ *\*\*\* (The End|You lost!) \*\*\*$", re.MULTILINE)
_FINAL = re.compile(r"^You scored (-?\d+) out of", re.MULTILINE)
_MENU = re.compile(r"\n+Would you like to RESTART,[^\n]*\Z")

Fact = tuple[str, tuple[tuple[str, str], ...]]


class Saved(NamedTuple):
    """A point of a game; picklable."""

    machine: tuple[Any, ...]
    facts: tuple[Fact, ...]
    done: frozenset[int]
    score: int
    ending: str


class _Frotz(jericho.FrotzEnv):  # type: ignore[misc]  # untyped
    """Jericho's interpreter on a game in memory, without its warnings about unsupported games.

    It plays `rom`; the path it insists on opening too (for its own saves, and to recognise famous
    games) is that of a file that is surely there, since it ends the *process* where there is none.
    """

    def __init__(self, rom: bytes) -> None:
        self._rom = rom
        super().__init__(jericho.__file__, _SEED)

    def load(self, story_file: str, seed: int | None = None) -> None:
        self.story_file = story_file.encode()
        self._set_up()  # it crashes when it is shut down before it was ever set up

    def _set_up(self) -> str:
        text: bytes = self.frotz_lib.setup(self.story_file, _SEED, self._rom, len(self._rom))
        return text.decode("cp1252", "replace")

    def reset(self) -> str:
        self.frotz_lib.shutdown()
        return self._set_up()

    def step(self, action: str) -> str:
        text: bytes = self.frotz_lib.step(action.encode("ascii") + b"\n")
        return text.decode("cp1252", "replace")


class Machine:
    """One game being played.

    Args:
        file: The game.
    """

    def __init__(self, file: GameFile) -> None:
        self._frotz: _Frotz | None = _Frotz(file.rom)
        with engine:  # TextWorld parses the rules with a global parser
            self._game = Game.deserialize(file.description)
            self._inform = Inform7Game(self._game)
        self._state: State = self._game.world.state.copy()
        self._rules = list(self._game.kb.rules.values())
        self._constants = self._game.kb.types.constants_mapping
        self._named: dict[str, list[Variable]] = {}
        for info in self._game.infos.values():
            if info.name:
                self._named.setdefault(info.name.lower(), []).append(Variable(info.id, info.type))
        changing = [rule for rule in self._rules if rule.added or rule.removed]
        self._heard = [self._matcher(rule) for rule in changing]
        self._moving = {p.name for rule in changing for p in (*rule.added, *rule.removed)}
        self._planner: Planner | None = None
        self._done: frozenset[int] = frozenset()
        self.max_score = float(self._game.max_score)
        """May be infinite, and 0."""
        self.score = 0
        """Points so far."""
        self.ending = ""
        """`"won"`, `"lost"`, or nothing yet."""

    def close(self) -> None:
        """Unload the interpreter."""
        self._frotz = None

    def start(self) -> str:
        """Start the game over; the opening text."""
        text = self._engine.reset()
        self._engine.step("tw-trace-actions")
        self._state = self._game.world.state.copy()
        self._done = frozenset()
        self.score, self.ending = 0, ""
        return _STATUS.sub("", _BANNER.sub("", text)).strip()

    def send(self, command: str) -> str:
        """Play one command (ASCII); what the game answers."""
        raw = self._engine.step(command)
        status = _STATUS.search(raw)
        if status:
            raw, self.score = raw[: status.start()], int(status[2])
        for event in _EVENT.findall(raw):
            self._apply(event.lower())
        text = _TRACE.sub("", _APART.sub("", _INNER.sub("", raw)))
        end = _END.search(text)
        final = _FINAL.search(text, end.end()) if end else None
        if end and final:  # the status line is a turn behind
            self.ending, self.score = _ENDINGS[end[1]], int(final[1])
            text = _MENU.sub("", text)
        elif status:
            self._locate(status[1])
        self._done |= self._completed()
        return text.strip()

    def admissible(self) -> list[str]:
        """Commands that do something now, sorted."""
        actions = self._state.all_applicable_actions(self._rules, self._constants)
        return sorted(set(self._inform.gen_commands_from_actions(list(actions))))

    def state_key(self) -> str:
        """Digest of the facts that can change: the position, without how it was reached."""
        facts = [
            f.name if is_hand(f) else str(f) for f in self._state.facts if f.name in self._moving
        ]
        facts.sort()
        return hashlib.blake2b("\n".join(facts).encode(), digest_size=8).hexdigest()

    @property
    def planner(self) -> Planner:
        """The expert for this game; made when first asked for."""
        if self._planner is None:
            self._planner = Planner(self._game)
        return self._planner

    @property
    def position(self) -> Position:
        """The state as the planner sees it."""
        return self.planner.position(self._state.facts, self._done)

    def save(self) -> Saved:
        """This point of the game, to come back to."""
        facts = ((f.name, tuple((v.name, v.type) for v in f.arguments)) for f in self._state.facts)
        machine = self._engine.get_state()
        return Saved(machine, tuple(sorted(facts)), self._done, self.score, self.ending)

    def load(self, saved: Saved) -> None:
        """Go back to a point of this game."""
        self._engine.set_state(saved.machine)
        facts = [Proposition(name, [Variable(*v) for v in of]) for name, of in saved.facts]
        self._state = State(self._game.kb.logic, facts)
        self._done, self.score, self.ending = saved.done, saved.score, saved.ending

    # ---------------------------------------------------------------- what the trace says

    @property
    def _engine(self) -> _Frotz:
        if self._frotz is None:
            raise RuntimeError("this machine is closed")
        return self._frotz

    def _matcher(self, rule: Any) -> tuple[re.Pattern[str], Any, list[Placeholder]]:
        """How the action of a rule is traced, and which of its placeholders the trace names."""
        pieces = re.split(r"\{([^}]*)\}", self._game.kb.inform7_events.get(rule.name, ""))
        text = "".join("(.+)" if i % 2 else re.escape(p.lower()) for i, p in enumerate(pieces))
        placeholders = {placeholder.name: placeholder for placeholder in rule.placeholders}
        return re.compile(text), rule, [placeholders[name] for name in pieces[1::2]]

    def _apply(self, event: str) -> None:
        """Change the facts as the action behind `event` did."""
        actions = self._behind(event)
        if not actions and event.startswith("taking the "):  # the game knows where from
            holders = itertools.chain(*self._named.values())
            for holder in holders:
                name = self._game.infos[holder.name].name.lower()
                actions = self._behind(f"removing the {event[11:]} from the {name}")
                if actions:
                    break
        if actions:
            self._state.apply(min(actions, key=lambda a: (-len(a.preconditions), str(a))))

    def _behind(self, event: str) -> list[Any]:
        """Applicable actions that are traced as `event`."""
        return [a for a in self._read(event) if self._state.is_applicable(a)]

    def _read(self, event: str) -> Iterator[Any]:
        for pattern, rule, placeholders in self._heard:
            match = pattern.fullmatch(event)
            if match is None:
                continue
            for variables in itertools.product(*(self._named.get(n, ()) for n in match.groups())):
                mapping = dict(self._constants)
                mapping.update(zip(placeholders, variables, strict=True))
                yield from self._state.all_instantiations(rule, mapping)

    def _locate(self, room_name: str) -> None:
        """Believe the status line on where the player is (`enter door` is not traced as going)."""
        rooms = [v for v in self._named.get(room_name.lower(), ()) if v.type == "r"]
        if len(rooms) != 1:
            return
        here = Proposition("at", [Variable("P", "P"), rooms[0]])
        if not self._state.is_fact(here):
            for fact in self._state.facts_with_signature(here.signature).copy():
                self._state.remove_fact(fact)
            self._state.add_fact(here)

    def _completed(self) -> frozenset[int]:
        return frozenset(
            number
            for number, quest in enumerate(self._game.quests)
            if number not in self._done and quest.is_winning(self._state)
        )


_ENDINGS = {"The End": "won", "You lost!": "lost"}
