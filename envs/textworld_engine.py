"""One game for all who play it in this process: interpreter, grounded rules, planner, and a memo.

The interpreter writes a text once. What it printed is kept by where the game was and what was typed
(`Node` and `Edge`), and printed again for whoever comes that way, in this world or another. Where
the game was is known to the byte: a node is a digest of what later texts depend on (see
`agentgym.envs.textworld_interpreter`) and of the facts. So a world is a pointer to a node, a count
of turns and the commands that led there, and a thousand of them share one interpreter.

Two things are not printed from memory. Commands with a pronoun ask what was last spoken of: the
world's own commands are played again for them, from the start. And where a text counts turns, it is
kept with a gap for the number, if it is the last line of a game, or if the interpreter prints it
the same but for the number when asked twice; if not, it is never kept.

The interpreter is asked to trace actions (`[opening the door - succeeded]`); from that trace, taken
out of the text again, the facts are kept up to date, as TextWorld itself does it, but also for what
it misses (`get lamp` off a table, `enter door`).
"""

from __future__ import annotations

import hashlib
import re
import threading
from collections.abc import Sequence
from typing import NamedTuple

from agentgym.envs.textworld_grounding import Grounding, Position, View
from agentgym.envs.textworld_interpreter import Image, Interpreter
from agentgym.envs.textworld_oracle import Planner

MEMO_BYTES = 64 << 20
"""What a game's memo may take; past it everything is forgotten but where worlds are."""

_BANNER = re.compile(r"\A(?:[ |\\/$_>]*\n)+")
_STATUS = re.compile(r"\n>\s*-= ([^\n]*) =-\s*(-?\d+)/\d+\s*\Z")
_EVENT = re.compile(r"\[(?:\(\d+\) )?([^]]+) - succeeded\]")
_CLOSES = r"[^]]* - (?:succeeded|failed|ended)[^]]*\]\n{0,2}"
_INNER = re.compile(r"\[\(\d+\) " + _CLOSES)
_APART = re.compile(r"(?<=\n\n)\[" + _CLOSES)
_TRACE = re.compile(r"\[[^]]+\]\n?")
_END = re.compile(r"^ *\*\*\* (The End|You lost!) \*\*\*$", re.MULTILINE)
_FINAL = re.compile(r"^You scored (-?\d+) out of", re.MULTILINE)
_FINAL_TURNS = re.compile(r"^You scored .*, in (\d+) turns\.?$", re.MULTILINE)
_MENU = re.compile(r"\n+Would you like to RESTART,[^\n]*\Z")
_ENDINGS = {"The End": "won", "You lost!": "lost"}
_COUNTS = re.compile(r"\d|turn")
"""What a text that tells the time has."""
_TURNS = re.compile(r"(?<= in )\d+(?= turns)")
_PRONOUN = re.compile(r"\b(?:it|its|him|his|her|hers|them|their|theirs)\b", re.IGNORECASE)
_TRACING = "tw-trace-actions"


class Node:
    """Somewhere a game can be; worlds share it."""

    __slots__ = (
        "_admissible",
        "_key",
        "_sight",
        "digest",
        "edges",
        "ending",
        "image",
        "position",
        "score",
    )

    def __init__(
        self, digest: bytes, image: Image, position: Position, score: int, ending: str
    ) -> None:
        self.digest = digest
        self.image = image
        self.position = position
        self.score = score
        """Points so far."""
        self.ending = ending
        """`"won"`, `"lost"`, or nothing yet."""
        self.edges: dict[str, Edge] = {}
        self._key = ""
        self._admissible: tuple[str, ...] | None = None
        self._sight: tuple[int, int, int] | None = None

    @property
    def state_key(self) -> str:
        """Digest of the facts that can change: the position, without how it was reached."""
        if not self._key:
            facts, hands, _ = self.position
            self._key = hashlib.blake2b(b"%x %d" % (facts, hands), digest_size=8).hexdigest()
        return self._key

    def admissible(self, view: View) -> tuple[str, ...]:
        """Commands that do something here, sorted."""
        if self._admissible is None:
            self._admissible = view.admissible(self.position)
        return self._admissible

    def sight(self, view: View) -> tuple[int, int, int]:
        """What is seen here, as bits: the room, containers looked into, things."""
        if self._sight is None:
            self._sight = view.sight(self.position)
        return self._sight


class Edge(NamedTuple):
    """What a command at a node printed, and where it led."""

    text: str
    after: str | None
    """Of a text that counts turns what follows the number, `text` being what comes before."""
    turns: int
    """The number, less what the clock said."""
    node: Node
    ticks: int
    """By how much the clock went on."""


class Heard(NamedTuple):
    """One answer of the interpreter."""

    text: str
    node: Node
    clock: int


class Cartridge:
    """One game, for any number of worlds and threads.

    Args:
        rom: Compiled code.
        grounding: Its rules.
        memo_bytes: What the memo may take.
    """

    def __init__(self, rom: bytes, grounding: Grounding, memo_bytes: int = MEMO_BYTES) -> None:
        self.grounding = grounding
        self.planner = Planner(grounding)
        self.view = View(grounding)
        self.memo_bytes = memo_bytes
        self.used_bytes = 0
        """What the memo takes, about."""
        self._lock = threading.Lock()
        self._interpreter: Interpreter | None = Interpreter(rom)
        self._nodes: dict[bytes, Node] = {}
        self._begun: Heard | None = None

    def close(self) -> None:
        """Unload the interpreter."""
        with self._lock:
            self._interpreter = None
            self._nodes = {}

    def start(self) -> Heard:
        """The start of the game."""
        with self._lock:
            if self._begun is None:
                text = _STATUS.sub("", _BANNER.sub("", self._restart())).strip()
                node, clock = self._arrive(self.grounding.position(), 0, "")
                self._begun = Heard(text, node, clock)
            return self._begun

    def play(self, node: Node, clock: int, command: str, history: Sequence[str]) -> Heard:
        """Play one command.

        Args:
            node: Where the world is.
            clock: What its clock says.
            command: ASCII; nothing that speaks to the interpreter itself.
            history: The commands that led there.
        """
        edge = node.edges.get(command)
        if edge is None:
            with self._lock:
                if _PRONOUN.search(command):
                    return self._replay(node, command, history)
                edge = node.edges.get(command)
                if edge is None:
                    return self._explore(node, clock, command)
        text = edge.text
        if edge.after is not None:
            if clock + edge.turns == 1:  # "1 turn"
                with self._lock:
                    return self._ask(node, clock, command)
            text = f"{text}{clock + edge.turns}{edge.after}"
        return Heard(text, edge.node, clock + edge.ticks)

    def find(self, history: Sequence[str]) -> Node:
        """Where a world is that played `history`."""
        _, node, clock = self.start()
        for number, command in enumerate(history):
            _, node, clock = self.play(node, clock, command, history[:number])
        return node

    def known(self, digest: bytes) -> Node | None:
        """The node of that digest, if it is in the memo."""
        return self._nodes.get(digest)

    # ---------------------------------------------------------------- the interpreter, locked

    @property
    def _engine(self) -> Interpreter:
        if self._interpreter is None:
            raise RuntimeError("this game is closed")
        return self._interpreter

    def _restart(self) -> str:
        text = self._engine.rewind()
        self._engine.step(_TRACING)
        return text

    def _explore(self, node: Node, clock: int, command: str) -> Heard:
        """Ask the interpreter, and remember what it said."""
        heard = self._ask(node, clock, command)
        text, then, later = heard
        edge: Edge | None = Edge(text, None, 0, then, later - clock)
        if _COUNTS.search(text):
            edge = self._counting(node, clock, command, heard)
        if edge is not None:
            node.edges[command] = edge
            self.used_bytes += 200 + len(text) + len(command)
            if self.used_bytes > self.memo_bytes:
                self._forget()
        return heard

    def _counting(self, node: Node, clock: int, command: str, heard: Heard) -> Edge | None:
        """What to keep of a text that may count turns: asked again when it is later."""
        ticks = heard.clock - clock
        final = _FINAL_TURNS.search(heard.text) if heard.node.ending else None
        if final is not None:  # the one line that counts turns at an end
            before, after = heard.text[: final.start(1)], heard.text[final.end(1) :]
            return Edge(before, after, int(final[1]) - clock, heard.node, ticks)
        again = self._ask(node, clock + 7, command)
        if (again.node, again.clock) != (heard.node, heard.clock + 7):
            return None
        if again.text == heard.text:
            return Edge(heard.text, None, 0, heard.node, ticks)
        found = _TURNS.search(heard.text)
        if found is None:
            return None
        before, after = heard.text[: found.start()], heard.text[found.end() :]
        if again.text != f"{before}{int(found[0]) + 7}{after}":
            return None
        return Edge(before, after, int(found[0]) - clock, heard.node, ticks)

    def _ask(self, node: Node, clock: int, command: str) -> Heard:
        self._engine.show(node.image, clock)
        return self._hear(node, self._engine.step(command))

    def _replay(self, node: Node, command: str, history: Sequence[str]) -> Heard:
        """Ask with the memory of this very history, to the last word."""
        self._restart()
        for past in history:
            self._engine.step(past)
        return self._hear(node, self._engine.step(command))

    def _hear(self, node: Node, raw: str) -> Heard:
        """Read what the interpreter printed at `node`."""
        score, ending, position = node.score, "", node.position
        status = _STATUS.search(raw)
        if status:
            raw, score = raw[: status.start()], int(status[2])
        for event in _EVENT.findall(raw):
            position = self.grounding.heard(position, event.lower())
        text = _TRACE.sub("", _APART.sub("", _INNER.sub("", raw)))
        end = _END.search(text)
        final = _FINAL.search(text, end.end()) if end else None
        if end and final:  # the status line is a turn behind
            ending, score = _ENDINGS[end[1]], int(final[1])
            text = _MENU.sub("", text)
        elif status:
            position = self.grounding.located(position, status[1])
        position = self.grounding.completed(position)
        return Heard(text.strip(), *self._arrive(position, score, ending))

    def _arrive(self, position: Position, score: int, ending: str) -> tuple[Node, int]:
        """The node the interpreter is at, and its clock."""
        image = self._engine.image()
        rest = repr((position, score, ending)).encode()
        memory = b"" if ending else self._engine.digest()  # nothing is played after the end
        digest = hashlib.blake2b(memory + rest, digest_size=12).digest()
        node = self._nodes.get(digest)
        if node is None:
            node = self._nodes[digest] = Node(digest, image, position, score, ending)
            self.used_bytes += 600 + image.size
        return node, image.clock

    def _forget(self) -> None:
        """Start the memo over. Worlds keep their nodes, but these lead nowhere yet."""
        for node in self._nodes.values():
            node.edges = {}
        self._nodes = {}
        self.used_bytes = 0
        self._begun = None
