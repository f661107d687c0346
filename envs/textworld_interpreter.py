"""The Z-machine that writes TextWorld's text, and its memory: what of it later texts depend on.

After a command most of what an Inform game leaves in memory is scratch: input buffers, the parser's
tables, lists that were printed. Two histories that lead to the same world differ there, and later
texts do not. `Interpreter.digest` is of the rest:

* the object table: what is in what, in which order (lists are printed in it), what was visited,
  handled, opened;
* object properties, but for the record of which action was ever done to which object, which none
  of TextWorld's texts asks for;
* the globals named in `_LIVE`: where the player is, and the score.

Kept apart from it are the clock, which the interpreter is told anew before each command, and what
`it` and `them` stand for, which only commands with such a word read. This holds of what Inform 7
build 6M62, the compiler that comes with TextWorld, makes of TextWorld's own source: its template
layer lays down the globals and attributes used here. Of anything else, and of a game that is in the
middle of a question ("Which do you mean ...?"), the digest is of all memory and the stack.

Each `Interpreter` loads its own copy of the library (jericho copies the file for that, and removes
the copy at once).
"""

from __future__ import annotations

import hashlib
from ctypes import POINTER, c_ubyte
from typing import NamedTuple

import jericho
import numpy as np
import numpy.typing as npt

Bytes = npt.NDArray[np.uint8]

_SEED = 1
"""Of the interpreter's dice; TextWorld's games throw none."""
_COMPILER = b"6.33"
"""What Inform 7 6M62's back end writes into the header."""
_GLOBALS, _OBJECTS, _VERSION = 0x0C, 0x0A, 0x3C
"""Addresses in a story file's header."""
_CLOCKS = (15, 36)
"""Globals that count turns."""
_LIVE = (13, 39, 40, 45, 189, 236)
"""Globals that texts depend on: of the others each command sets what it reads."""
_SCRATCH = (30, 31, 35, 36)
"""Attributes that each command clears before it reads them: what a listing has dealt with."""
_OBJECT_BYTES = 14
_TABLE_OF_OWN = 3
"""The property that points to an object's individual properties."""
_BITMAP_BYTES = 12
_AN_ACTION = "examine me"
"""Done once to see which property keeps a record of actions."""


class Image(NamedTuple):
    """The interpreter at a point, as the difference from the start; picklable."""

    where: npt.NDArray[np.uint16]
    what: Bytes
    registers: tuple[int, ...]
    """Program counter, stack pointer, frame pointer, frames, opcode."""
    clock: int

    @property
    def size(self) -> int:
        """Bytes it takes, about."""
        return 300 + 3 * len(self.what)


class Interpreter(jericho.FrotzEnv):  # type: ignore[misc]  # untyped
    """Jericho's interpreter on a game in memory, without its warnings about unsupported games.

    It plays `rom`; the path it insists on opening too (for its own saves, and to recognise famous
    games) is that of a file that is surely there, since it ends the *process* where there is none.
    """

    def __init__(self, rom: bytes) -> None:
        self._rom = rom
        super().__init__(jericho.__file__, _SEED)
        self._ram = int(self.frotz_lib.getRAMSize())
        self._memory = np.zeros(self._ram + int(self.frotz_lib.getStackSize()), np.uint8)
        pointer = self._memory.ctypes.data_as(POINTER(c_ubyte))
        self._at_ram = pointer
        self._at_stack = self._memory[self._ram :].ctypes.data_as(POINTER(c_ubyte))
        self._clocks: tuple[int, ...] = ()
        self._mask: Bytes | None = None
        library = self.frotz_lib
        self._dice = library.getRngA(), library.getRngInterval(), library.getRngCounter()
        self._look()
        self._first = self._memory.copy()
        self._waiting = self._registers()
        if rom[_VERSION : _VERSION + 4] == _COMPILER:
            self._lay_out()

    def load(self, story_file: str, seed: int | None = None) -> None:
        """Load the game; jericho calls it."""
        self.story_file = story_file.encode()
        self._opening = self._set_up()  # it crashes when shut down before it was ever set up

    def reset(self) -> str:
        """Start the game over; what it prints first."""
        self.frotz_lib.shutdown()
        return self._set_up()

    def step(self, action: str) -> str:
        """Play a command (ASCII); what the game prints."""
        text: bytes = self.frotz_lib.step(action.encode("ascii") + b"\n")
        return text.decode("cp1252", "replace")

    def rewind(self) -> str:
        """Go back to the start, which takes less than `reset`; what the game printed first."""
        nothing = Image(np.empty(0, np.uint16), np.empty(0, np.uint8), self._waiting, 0)
        self.show(nothing, 0)
        return self._opening

    # ---------------------------------------------------------------- points to come back to

    def image(self) -> Image:
        """This point."""
        self._look()
        where = np.flatnonzero(self._memory != self._first).astype(np.uint16)
        return Image(where, self._memory[where], self._registers(), self._clock())

    def show(self, image: Image, clock: int) -> None:
        """Go to a point, with another count of turns."""
        memory = self._memory
        memory[:] = self._first
        memory[image.where] = image.what
        if clock != image.clock:
            for address in self._clocks:
                told = self._word(address) + clock - image.clock & 0xFFFF
                memory[address], memory[address + 1] = divmod(told, 256)
        library = self.frotz_lib
        library.setRng(*self._dice)
        library.setRAM(self._at_ram)
        library.setStack(self._at_stack)
        counter, stack, frame, frames, opcode = image.registers
        library.setPC(counter)
        library.setSP(stack)
        library.setFP(frame)
        library.set_opcode(opcode)
        library.setFrameCount(frames)

    def digest(self) -> bytes:
        """Of what later texts depend on, at the point of the last `image`."""
        if self._mask is not None and self._registers() == self._waiting:
            kept = self._memory[: len(self._mask)] & self._mask
        else:
            kept = self._memory
        return hashlib.blake2b(kept.data, digest_size=12).digest()

    # ---------------------------------------------------------------- inside

    def _set_up(self) -> str:
        text: bytes = self.frotz_lib.setup(self.story_file, _SEED, self._rom, len(self._rom))
        return text.decode("cp1252", "replace")

    def _look(self) -> None:
        self.frotz_lib.getRAM(self._at_ram)
        self.frotz_lib.getStack(self._at_stack)

    def _registers(self) -> tuple[int, ...]:
        library = self.frotz_lib
        return (
            library.getPC(),
            library.getSP(),
            library.getFP(),
            library.getFrameCount(),
            library.get_opcode(),
        )

    def _word(self, address: int) -> int:
        return int(self._memory[address]) << 8 | int(self._memory[address + 1])

    def _clock(self) -> int:
        return self._word(self._clocks[0]) if self._clocks else 0

    def _lay_out(self) -> None:
        """Find what counts turns and what is scratch; leave it be where it is not as expected."""
        start = int.from_bytes(self._rom[_GLOBALS : _GLOBALS + 2], "big")
        clocks = tuple(start + 2 * number for number in _CLOCKS)
        before = [self._word(address) for address in clocks]
        first = self._memory.copy()
        self.step(_AN_ACTION)
        self._look()
        if [self._word(address) - 1 for address in clocks] != before:
            return
        mask = np.zeros(start + 480, np.uint8)
        mask[:start] = 255
        objects = int.from_bytes(self._rom[_OBJECTS : _OBJECTS + 2], "big") + 126
        properties = self._word(objects + 12)
        for attribute in _SCRATCH:
            mask[objects + attribute // 8 : properties : _OBJECT_BYTES] &= (
                ~(128 >> attribute % 8) & 255
            )
        for number in _LIVE:
            mask[start + 2 * number : start + 2 * number + 2] = 255
        own = self._own_properties(objects, (properties - objects) // _OBJECT_BYTES)
        changed = set(np.flatnonzero(first[:start] != self._memory[:start]).tolist())
        records = {n for n, at in own if changed.intersection(range(at, at + _BITMAP_BYTES))}
        for number, address in own:
            if number in records:
                mask[address : address + _BITMAP_BYTES] = 0
        self._clocks, self._mask = clocks, mask

    def _own_properties(self, objects: int, count: int) -> list[tuple[int, int]]:
        """Number and address of each individual property of the record's size."""
        memory, found = self._rom, []
        for header in range(objects, objects + _OBJECT_BYTES * count, _OBJECT_BYTES):
            at = int.from_bytes(memory[header + 12 : header + 14], "big")
            at += 1 + 2 * memory[at]
            while memory[at]:
                first = memory[at]
                size = (memory[at + 1] & 63 or 64) if first & 128 else 1 + (first >> 6)
                at += 2 if first & 128 else 1
                table = int.from_bytes(memory[at : at + 2], "big")
                while (
                    first & 63 == _TABLE_OF_OWN and table and (memory[table] or memory[table + 1])
                ):
                    number = int.from_bytes(memory[table : table + 2], "big") & 0x7FFF
                    if memory[table + 2] == _BITMAP_BYTES:
                        found.append((number, table + 3))
                    table += 3 + memory[table + 2]
                at += size
        return found
