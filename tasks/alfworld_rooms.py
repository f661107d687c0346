"""What homes are furnished with and what lies about in them: the tables of the ALFWorld generator.

The names of types and the traits of objects are ALFWorld's, because its commands and rules go by
them. How many there are of what, and what may lie where, is this project's own. Whatever is changed
here, be it the order, makes other games of the same seeds: a new version of the environment's id.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from agentgym.tasks.alfworld_game import TRAIT

# ---------------------------------------------------------------------------------------- Objects


@dataclass(frozen=True, slots=True)
class Item:
    """A type of object that can be carried."""

    where: tuple[str, ...]
    """Types of receptacles that it lies in, and that take it."""
    traits: int
    """Bits of `TRAIT`."""


def _item(where: str, traits: str = "") -> Item:
    return Item(
        tuple(sorted(set(where.split()))),
        sum(TRAIT[name] for name in ("pickupable", *traits.split())),
    )


_TOPS = "coffeetable countertop desk diningtable dresser shelf sidetable"
_SEATS = "armchair bed ottoman sofa"
_KITCHEN_TOPS = "countertop diningtable sidetable"
_PANTRY = f"{_KITCHEN_TOPS} fridge garbagecan"
_WASH = "bathtubbasin cabinet cart countertop drawer shelf sinkbasin toilet"

_FRUIT = "cleanable heatable coolable sliceable"
_DISH = "cleanable heatable coolable isreceptacleobject"
_POT = "cleanable coolable isreceptacleobject"

ITEMS: Mapping[str, Item] = {
    # Food.
    "apple": _item(f"{_PANTRY} microwave sinkbasin", _FRUIT),
    "bread": _item(f"{_PANTRY} microwave toaster", "heatable coolable sliceable"),
    "egg": _item(f"{_PANTRY} microwave sinkbasin", _FRUIT),
    "lettuce": _item(f"{_PANTRY} sinkbasin", "cleanable coolable sliceable"),
    "potato": _item(f"{_PANTRY} microwave sinkbasin", _FRUIT),
    "tomato": _item(f"{_PANTRY} microwave sinkbasin", _FRUIT),
    "glassbottle": _item(f"{_PANTRY} cabinet shelf sinkbasin"),
    "winebottle": _item(f"{_PANTRY} cabinet shelf", "coolable"),
    # Dishes and cutlery.
    "bowl": _item(f"{_TOPS} cabinet fridge microwave sinkbasin", _POT),
    "cup": _item(f"{_KITCHEN_TOPS} cabinet fridge microwave shelf sinkbasin", _DISH),
    "mug": _item(f"{_TOPS} cabinet coffeemachine microwave sinkbasin", _DISH),
    "plate": _item(f"{_KITCHEN_TOPS} cabinet coffeetable fridge microwave shelf sinkbasin", _DISH),
    "butterknife": _item(f"{_KITCHEN_TOPS} drawer sinkbasin", "cleanable"),
    "fork": _item(f"{_KITCHEN_TOPS} drawer sinkbasin", "cleanable"),
    "knife": _item(f"{_KITCHEN_TOPS} drawer sinkbasin", "cleanable"),
    "spoon": _item(f"{_KITCHEN_TOPS} drawer sinkbasin", "cleanable"),
    # Cooking.
    "kettle": _item(f"{_KITCHEN_TOPS} cabinet shelf sinkbasin stoveburner", "cleanable"),
    "ladle": _item("cabinet countertop diningtable drawer sinkbasin", "cleanable"),
    "pan": _item("cabinet countertop diningtable fridge sinkbasin stoveburner", _POT),
    "pot": _item("cabinet countertop diningtable fridge shelf sinkbasin stoveburner", _POT),
    "peppershaker": _item(f"{_KITCHEN_TOPS} cabinet drawer shelf"),
    "saltshaker": _item(f"{_KITCHEN_TOPS} cabinet drawer shelf"),
    "spatula": _item("countertop diningtable drawer sinkbasin", "cleanable"),
    # Washing.
    "cloth": _item(f"{_WASH} dresser garbagecan laundryhamper", "cleanable"),
    "dishsponge": _item(f"{_WASH} garbagecan", "cleanable"),
    "handtowel": _item("cabinet cart countertop handtowelholder shelf sinkbasin"),
    "papertowelroll": _item(f"{_KITCHEN_TOPS} cabinet cart garbagecan shelf toilet"),
    "plunger": _item("bathtubbasin cabinet cart"),
    "scrubbrush": _item("bathtubbasin cabinet cart countertop sinkbasin"),
    "soapbar": _item(f"{_WASH} garbagecan", "cleanable"),
    "soapbottle": _item(f"{_WASH} garbagecan sidetable"),
    "spraybottle": _item("cabinet cart countertop drawer garbagecan shelf sidetable toilet"),
    "toiletpaper": _item(
        "cabinet cart countertop drawer garbagecan shelf toilet toiletpaperhanger"
    ),
    "towel": _item("bathtubbasin cabinet cart shelf towelholder"),
    # Reading, writing, electronics.
    "alarmclock": _item("desk drawer dresser shelf sidetable"),
    "book": _item(f"{_TOPS} {_SEATS} drawer"),
    "cd": _item("cabinet desk drawer dresser garbagecan safe shelf sidetable tvstand"),
    "cellphone": _item(f"{_TOPS} armchair bed drawer safe sofa"),
    "laptop": _item(f"{_SEATS} coffeetable desk diningtable dresser sidetable"),
    "newspaper": _item(
        "armchair coffeetable diningtable drawer garbagecan ottoman sidetable sofa tvstand"
    ),
    "pen": _item(f"{_TOPS} drawer garbagecan"),
    "pencil": _item(f"{_TOPS} drawer garbagecan"),
    "remotecontrol": _item("armchair coffeetable drawer dresser ottoman sidetable sofa tvstand"),
    # Belongings.
    "baseballbat": _item("bed desk sofa"),
    "basketball": _item("armchair bed dresser laundryhamper sofa"),
    "boots": _item("armchair cabinet ottoman shelf"),
    "box": _item(
        f"{_SEATS} cabinet coffeetable desk diningtable dresser shelf sidetable",
        "isreceptacleobject",
    ),
    "creditcard": _item(f"{_TOPS} armchair drawer safe tvstand"),
    "keychain": _item(f"{_TOPS} armchair drawer ottoman safe sofa tvstand"),
    "teddybear": _item("armchair bed dresser shelf sofa"),
    "tennisracket": _item("bed desk dresser sofa"),
    "watch": _item("coffeetable desk drawer dresser safe shelf sidetable tvstand"),
    # Decoration and comfort.
    "candle": _item(f"{_TOPS} bathtubbasin cabinet cart drawer toilet"),
    "pillow": _item(_SEATS),
    "statue": _item(f"{_TOPS} safe tvstand"),
    "tissuebox": _item(f"{_TOPS} cabinet cart drawer toilet tvstand"),
    "vase": _item(f"{_TOPS} cabinet tvstand"),
    "wateringcan": _item("cabinet diningtable drawer shelf sidetable"),
}
"""What can be carried, by type."""

LAMPS = ("desklamp", "floorlamp")
"""What can be switched on. They lie in a receptacle and cannot be carried."""

COMPANIONS: Mapping[str, str] = {
    "bathtubbasin": "bathtub",
    "laundryhamper": "laundryhamperlid",
    "sinkbasin": "sink",
    "stoveburner": "stoveknob",
}
"""Types of receptacles, and the fixed thing that comes with each."""

# ------------------------------------------------------------------------------------------ Rooms

OPENABLE = frozenset({"cabinet", "drawer", "fridge", "microwave", "safe"})
"""Types of receptacles that hide what lies in them until they are opened."""

APPLIANCES: Mapping[str, tuple[str, str]] = {
    "clean": ("sinkbasin", "cleanable"),
    "heat": ("microwave", "heatable"),
    "cool": ("fridge", "coolable"),
}
"""Task types with a treatment: the type of receptacle it is done at, and what can be treated."""


@dataclass(frozen=True, slots=True)
class Fixture:
    """Something that stays where it is."""

    least: int
    most: int
    where: tuple[str, ...] = ()
    """Types of receptacles that it may lie in; none if it stands or hangs on its own."""


@dataclass(frozen=True, slots=True)
class RoomKind:
    """What rooms of a kind have in common."""

    receptacles: Mapping[str, tuple[int, int]]
    """Type to the least and the highest number."""
    fixtures: Mapping[str, Fixture]
    usual: tuple[str, ...]
    """Types of items that there are often several of."""
    occasional: tuple[str, ...]
    """Types of items that there is one of now and then."""
    items: tuple[int, int]
    """How many items lie about, beside those the task is about."""


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.split())


_STANDS = ("desk", "dresser", "shelf", "sidetable")

ROOM_KINDS: Mapping[str, RoomKind] = {
    "kitchen": RoomKind(
        receptacles={
            "countertop": (1, 3),
            "cabinet": (5, 15),
            "drawer": (3, 10),
            "sinkbasin": (1, 1),
            "stoveburner": (4, 4),
            "fridge": (1, 1),
            "microwave": (1, 1),
            "toaster": (1, 1),
            "coffeemachine": (1, 1),
            "diningtable": (0, 1),
            "sidetable": (0, 1),
            "shelf": (0, 3),
            "garbagecan": (1, 1),
        },
        fixtures={
            "lightswitch": Fixture(1, 1),
            "window": Fixture(0, 2),
            "chair": Fixture(0, 4),
            "blinds": Fixture(0, 1),
            "houseplant": Fixture(0, 1, ("countertop", "diningtable", "shelf")),
        },
        usual=_words(
            "apple bowl bread butterknife cup dishsponge egg fork knife lettuce mug pan "
            "peppershaker plate pot potato saltshaker soapbottle spatula spoon tomato"
        ),
        occasional=_words(
            "book cellphone creditcard glassbottle kettle ladle papertowelroll pen pencil "
            "spraybottle statue vase winebottle"
        ),
        items=(30, 52),
    ),
    "bedroom": RoomKind(
        receptacles={
            "bed": (1, 2),
            "desk": (0, 1),
            "dresser": (0, 2),
            "drawer": (5, 12),
            "sidetable": (1, 2),
            "shelf": (2, 7),
            "cabinet": (0, 3),
            "armchair": (0, 1),
            "laundryhamper": (0, 1),
            "safe": (0, 1),
            "garbagecan": (1, 1),
        },
        fixtures={
            "desklamp": Fixture(1, 2, _STANDS),
            "floorlamp": Fixture(0, 1, ("dresser", "sidetable")),
            "lightswitch": Fixture(1, 1),
            "mirror": Fixture(1, 1),
            "window": Fixture(1, 3),
            "blinds": Fixture(0, 2),
            "chair": Fixture(0, 2),
            "painting": Fixture(0, 2),
            "poster": Fixture(0, 2),
            "television": Fixture(0, 1, ("desk", "dresser")),
            "houseplant": Fixture(0, 1, _STANDS),
        },
        usual=_words("alarmclock book cd cellphone creditcard keychain laptop pen pencil pillow"),
        occasional=_words(
            "baseballbat basketball bowl box candle cloth mug remotecontrol statue teddybear "
            "tennisracket tissuebox vase watch"
        ),
        items=(16, 32),
    ),
    "bathroom": RoomKind(
        receptacles={
            "countertop": (1, 2),
            "sinkbasin": (1, 2),
            "cabinet": (3, 7),
            "drawer": (0, 6),
            "shelf": (0, 3),
            "cart": (0, 1),
            "toilet": (1, 1),
            "toiletpaperhanger": (1, 1),
            "bathtubbasin": (0, 1),
            "towelholder": (1, 2),
            "handtowelholder": (1, 3),
            "garbagecan": (1, 1),
        },
        fixtures={
            "lightswitch": Fixture(1, 1),
            "mirror": Fixture(1, 2),
            "window": Fixture(0, 2),
            "showerdoor": Fixture(0, 1),
            "painting": Fixture(0, 1),
            "houseplant": Fixture(0, 1, ("countertop", "shelf")),
        },
        usual=_words("candle cloth handtowel soapbar soapbottle spraybottle toiletpaper towel"),
        occasional=_words("dishsponge papertowelroll plunger scrubbrush tissuebox"),
        items=(16, 24),
    ),
    "livingroom": RoomKind(
        receptacles={
            "sofa": (1, 2),
            "armchair": (1, 2),
            "coffeetable": (1, 2),
            "sidetable": (2, 4),
            "diningtable": (0, 1),
            "tvstand": (0, 1),
            "dresser": (0, 1),
            "drawer": (3, 10),
            "shelf": (1, 6),
            "cabinet": (0, 5),
            "ottoman": (0, 1),
            "garbagecan": (1, 1),
        },
        fixtures={
            "floorlamp": Fixture(1, 1, ("dresser", "sidetable", "tvstand")),
            "desklamp": Fixture(0, 1, _STANDS),
            "lightswitch": Fixture(1, 1),
            "window": Fixture(1, 4),
            "curtains": Fixture(0, 2),
            "painting": Fixture(1, 3),
            "chair": Fixture(0, 5),
            "television": Fixture(0, 1, ("dresser", "shelf", "tvstand")),
            "houseplant": Fixture(1, 2, ("diningtable", *_STANDS)),
        },
        usual=_words("box creditcard keychain laptop newspaper pillow remotecontrol statue vase"),
        occasional=_words(
            "book boots bowl candle cellphone cup pen pencil plate tissuebox watch wateringcan"
        ),
        items=(15, 30),
    ),
}
"""The kinds of rooms by name."""

ROOMS_OF_A_KIND = 30
"""Rooms of each kind, numbered from 1."""
HELD_OUT_OF_A_KIND = 4
"""How many of them, the last ones, are held out."""

# ---------------------------------------------------------------------------------------- Wording

SENTENCES: Mapping[str, tuple[str, str]] = {
    "pick": ("put a {0} in {1}", "put some {0} on {1}"),
    "look": ("look at {0} under the {1}", "examine the {0} with the {1}"),
    "clean": ("put a clean {0} in {1}", "clean some {0} and put it in {1}"),
    "heat": ("put a hot {0} in {1}", "heat some {0} and put it in {1}"),
    "cool": ("put a cool {0} in {1}", "cool some {0} and put it in {1}"),
    "pick2": ("put two {0} in {1}", "find two {0} and put them in {1}"),
}
"""ALFWorld's two ways to say each goal, of a target and a destination."""

REQUESTS: Mapping[str, tuple[str, ...]] = {
    "pick": (
        "Put {one} {on} the {place}.",
        "Fetch {one} and leave it {on} the {place}.",
        "I would like to find {one} {on} the {place} later.",
        "There is {one} somewhere in here; it belongs {on} the {place}.",
    ),
    "look": (
        "Take {one} and switch on the {place} to see it better.",
        "Hold {one} under the {place} while that is on.",
        "I want to have a close look at {one}; use the {place} for light.",
        "Find {one}, carry it to the {place} and turn the light on.",
    ),
    "clean": (
        "Wash {one} and put it {on} the {place}.",
        "Take {one} to the sink, rinse it, and leave it {on} the {place}.",
        "I need a clean {name} {on} the {place}.",
        "Before you put {one} {on} the {place}, wash it.",
    ),
    "heat": (
        "Warm up {one} and put it {on} the {place}.",
        "Take {one} to the microwave, heat it, and leave it {on} the {place}.",
        "I need a hot {name} {on} the {place}.",
        "Before you put {one} {on} the {place}, heat it in the microwave.",
    ),
    "cool": (
        "Chill {one} and put it {on} the {place}.",
        "Take {one} to the fridge, cool it down, and leave it {on} the {place}.",
        "I need a cold {name} {on} the {place}.",
        "Before you put {one} {on} the {place}, cool it in the fridge.",
    ),
    "pick2": (
        "Put two {many} {on} the {place}.",
        "Find two {many} and leave both {on} the same {place}.",
        "I would like to find two {many} together {on} the {place}.",
        "Carry two {many} over, one by one, and put them {on} one {place}.",
    ),
}
"""Ways a person might say each goal."""

HOLLOW = OPENABLE | {
    *("bathtubbasin", "coffeemachine", "garbagecan", "laundryhamper", "sinkbasin", "toaster"),
}
"""Types of receptacles that people put things in, not on."""

SPOKEN: Mapping[str, str] = {
    "alarmclock": "alarm clock",
    "baseballbat": "baseball bat",
    "bathtubbasin": "bathtub",
    "boots": "pair of boots",
    "bread": "loaf of bread",
    "butterknife": "butter knife",
    "cd": "CD",
    "cellphone": "phone",
    "coffeemachine": "coffee machine",
    "coffeetable": "coffee table",
    "countertop": "counter",
    "creditcard": "credit card",
    "desklamp": "desk lamp",
    "diningtable": "dining table",
    "dishsponge": "sponge",
    "floorlamp": "floor lamp",
    "garbagecan": "garbage can",
    "glassbottle": "glass bottle",
    "handtowel": "hand towel",
    "handtowelholder": "hand towel holder",
    "keychain": "key chain",
    "laundryhamper": "laundry hamper",
    "lettuce": "head of lettuce",
    "papertowelroll": "roll of paper towels",
    "peppershaker": "pepper shaker",
    "remotecontrol": "remote control",
    "saltshaker": "salt shaker",
    "scrubbrush": "scrubbing brush",
    "sidetable": "side table",
    "sinkbasin": "sink",
    "soapbar": "bar of soap",
    "soapbottle": "bottle of soap",
    "spraybottle": "spray bottle",
    "stoveburner": "stove burner",
    "teddybear": "teddy bear",
    "tennisracket": "tennis racket",
    "tissuebox": "box of tissues",
    "toiletpaper": "roll of toilet paper",
    "toiletpaperhanger": "toilet paper holder",
    "towelholder": "towel holder",
    "tvstand": "TV stand",
    "wateringcan": "watering can",
    "winebottle": "bottle of wine",
}
"""What people call a type, where that is not its name."""

PLURALS: Mapping[str, str] = {
    "boots": "pairs of boots",
    "box": "boxes",
    "bread": "loaves of bread",
    "butterknife": "butter knives",
    "knife": "knives",
    "lettuce": "heads of lettuce",
    "papertowelroll": "rolls of paper towels",
    "potato": "potatoes",
    "scrubbrush": "scrubbing brushes",
    "soapbar": "bars of soap",
    "soapbottle": "bottles of soap",
    "tissuebox": "boxes of tissues",
    "toiletpaper": "rolls of toilet paper",
    "tomato": "tomatoes",
    "watch": "watches",
    "winebottle": "bottles of wine",
}
"""What people call several of a type, where that is not its spoken name and an s."""
