"""Chance that is the same on every Python, and invented names.

Nothing here uses `random` or `hash`: numbers come from SplitMix64 over keys that BLAKE2b makes, in
integer arithmetic alone.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import TypeVar

_MASK = (1 << 64) - 1
_GAMMA = 0x9E3779B97F4A7C15
_T = TypeVar("_T")


def make_key(*parts: object) -> int:
    """A key of 64 bits for anything that prints the same everywhere."""
    text = "\x1f".join(str(part) for part in parts)
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big")


def mix(key: int, place: int = 0) -> int:
    """64 even bits for a place under a key: the `place`-th output of SplitMix64.

    Source: Steele, Lea & Flood, "Fast splittable pseudorandom number generators", 2014, section 3.
    """
    z = (key + (place + 1) * _GAMMA) & _MASK
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & _MASK
    return z ^ (z >> 31)


class Stream:
    """Draws in a row, from a key."""

    __slots__ = ("_key", "_place")

    def __init__(self, key: int) -> None:
        self._key = key
        self._place = -1

    def below(self, n: int) -> int:
        """An integer of 0..n-1, each as likely (up to n / 2**64)."""
        self._place += 1
        return mix(self._key, self._place) * n >> 64

    def pick(self, choices: Sequence[_T]) -> _T:
        """One of several."""
        return choices[self.below(len(choices))]

    def chance(self, rate: float) -> bool:
        """True in that part of all draws; decided in millionths."""
        return self.below(1_000_000) < round(rate * 1_000_000)

    def order(self, n: int) -> list[int]:
        """0..n-1, shuffled."""
        places = list(range(n))
        for i in range(n - 1, 0, -1):
            j = self.below(i + 1)
            places[i], places[j] = places[j], places[i]
        return places


# Syllables that keep names apart from English: each name has a cluster in it that the language does
# without. No ending is one that stemmers cut off.
_SYLLABLES = """
b-br-d-dr-f-fl-g-gr-j-k-kl-kr-l-m-mr-n-p-pr-r-s-sk-sl-sn-st-t-tr-v-vr-y-z-zl
a-a-a-e-e-e-i-i-i-o-o-o-u-u-u-ae-ei-ia-io-ou
bz-dr-dv-dzh-fr-gv-gz-kv-kz-lv-lz-mr-mz-ndr-nv-nz-pr-rv-rz-sv-tv-vd-vl-vn-vr-zb-zd-zg-zl-zm-zn-zr-zv
b-d-g-k-l-m-n-p-r-t-v-z-ld-lm-rd-rn
a-o-u
k-m-n-r-x-lk-nd-nk-rk-rm-rn-rt-sk-th
a-e-i-o-en-in-el-is-ek-im
"""
_ONSETS, _VOWELS, _CLUSTERS, _MIDDLES, _LAST, _ENDS, _GIVEN_ENDS = (
    line.split("-") for line in _SYLLABLES.strip().splitlines()
)

_BLOCKED = """
balza barvel belve benzo beprank bidri bonze bronze bronzen delve dendron dervis diadrom dolven
donzel fervor furze furzen gadre ganza goudron granza grivna guzman jarvis karvel kelvin kerve
kirve kodro konze kudrun larva larve lepra lepre litvak livre lorenzan louvre malva mandra mandrel
mandrin marvel marvin mazda melodram minervan mirza monodram morvin mudra murva murza murzim
napron nerve nozle nuprin padre paraprax parvis pedro pelvis pervis pipra poudre prendre ranzan
ravindran sabzi salva salve salvo salvor sandra sandre sarzan selva selve senza serve servo silva
silvan slavdom sofron solve sopra sorva sovran stanza stanze starve sterve storven stuprum sudra
sundra sundri supra tarve tarzan tendre tendron terzo tirve torve tundra tuzla valva valvar valve
varve varvel vedro verve vervel vivda volva volvox vulva vulvar yezdi yuzluk zanze zinzar
"""
"""Words and well-known names that the syllables make all the same."""


class Names:
    """Invented names, no two alike.

    Args:
        stream: Where chance comes from.
    """

    def __init__(self, stream: Stream) -> None:
        self._stream = stream
        self._used: set[str] = set(_BLOCKED.split())

    def take(self) -> str:
        """A name that has not been taken: two or three syllables, capitalised."""
        while True:
            name = self._syllables(3 if self._stream.below(4) == 0 else 2, _LAST, _ENDS)
            if len(name) > 4 and name not in self._used:
                self._used.add(name)
                return name.capitalize()

    def take_given(self) -> str:
        """A given name that has not been taken."""
        while True:
            name = self._syllables(2, _GIVEN_ENDS, ("",))
            if len(name) > 3 and name not in self._used:
                self._used.add(name)
                return name.capitalize()

    def _syllables(self, count: int, vowels: Sequence[str], ends: Sequence[str]) -> str:
        draw = self._stream.pick
        start = draw(_ONSETS) + draw(_VOWELS)
        if count > 2:
            start += draw(_MIDDLES) + draw(_VOWELS)
        return start + draw(_CLUSTERS) + draw(vowels) + draw(ends)
