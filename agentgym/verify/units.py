"""Units that numbers may be given in: each a dimension and an exact factor."""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction
from typing import NamedTuple


class Unit(NamedTuple):
    """What a number is multiplied by to compare it with others of its dimension."""

    dimension: str
    factor: Fraction


PLAIN = Unit("number", Fraction(1))
_TABLE = """
number   1/100          % percent
length   1              m metre metres meter meters
length   1000           km Km KM kilometre kilometres kilometer kilometers
length   1/100          cm centimetre centimetres centimeter centimeters
length   1/1000         mm millimetre millimetres millimeter millimeters
length   1/1000000      um μm micrometre micrometres micrometer micrometers micron microns
length   1/1000000000   nm nanometre nanometres nanometer nanometers
length   1609344/1000   mi mile miles
length   9144/10000     yd yard yards
length   3048/10000     ft foot feet
length   254/10000      in inch inches
mass     1              g gram grams
mass     1000           kg Kg KG kilogram kilograms
mass     1/1000         mg milligram milligrams
mass     1000000        t tonne tonnes
mass     45359237/100000    lb lbs pound pounds
mass     45359237/1600000   oz ounce ounces
time     1              s sec second seconds
time     1/1000         ms millisecond milliseconds
time     1/1000000      us μs microsecond microseconds
time     1/1000000000   ns nanosecond nanoseconds
time     60             min minute minutes
time     3600           h hr hour hours
time     86400          d day days
time     604800         week weeks
volume   1              L l litre litres liter liters
volume   1/1000         mL ml millilitre millilitres milliliter milliliters
area     1              m^2
area     1000000        km^2
area     1/10000        cm^2
area     10000          ha hectare hectares
speed    1              m/s
speed    1000/3600      km/h kph
speed    1609344/3600000    mph
frequency 1             Hz hertz
frequency 1000          kHz kilohertz
frequency 1000000       MHz megahertz
frequency 1000000000    GHz gigahertz
energy   1              J joule joules
energy   1000           kJ kilojoule kilojoules
energy   3600000        kWh
power    1              W watt watts
power    1000           kW kilowatt kilowatts
power    1000000        MW megawatt megawatts
data     1              B byte bytes
data     1000           kB KB kilobyte kilobytes
data     1000000        MB megabyte megabytes
data     1000000000     GB gigabyte gigabytes
data     1/8            bit bits
data     125            kbit kb Kb
data     125000         Mbit Mb
data     125000000      Gbit Gb
data     1024           KiB
data     1048576        MiB
data     1073741824     GiB
angle    1              ° deg degree degrees
celsius  1              °C celsius
fahrenheit 1            °F fahrenheit
kelvin   1              K kelvin kelvins
dollar   1              $ USD dollar dollars
dollar   1/100          cent cents
euro     1              € EUR euro euros
pound    1              £ GBP
yen      1              ¥ JPY yen
"""


def _read_table() -> tuple[dict[str, Unit], dict[str, Unit]]:
    exact: dict[str, Unit] = {}
    words: dict[str, Unit] = {}
    for line in _TABLE.strip().splitlines():
        dimension, factor, *names = line.split()
        unit = Unit(dimension, Fraction(factor))
        for name in names:
            exact[name] = unit
            if len(name) > 2 and name.isalpha() and name.islower():
                words[name] = unit
    return exact, words


UNITS: Mapping[str, Unit]
UNITS, _WORDS = _read_table()
"""By every name and symbol, in its own case."""

SCALES: Mapping[str, int] = {
    **{"hundred": 10**2, "thousand": 10**3, "million": 10**6, "billion": 10**9},
    **{"trillion": 10**12, "dozen": 12},
}
"""Words that multiply the number before them."""


def find_unit(name: str) -> Unit | None:
    """A unit by its name or symbol; a word in any case, a symbol (mW, MW) in its own."""
    return UNITS.get(name) or _WORDS.get(name.casefold())
