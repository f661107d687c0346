"""ALFWorld's rules and words on the native engine, one by one."""

from __future__ import annotations

import pytest
from households import Player, room
from hypothesis import given, settings
from hypothesis import strategies as st

from agentgym.envs.alfworld_text import DIALECTS, VERSIONS, listed
from agentgym.tasks.alfworld_game import names

NOTHING = "Nothing happens."

KITCHEN = room(
    {
        "cabinet_bar_1": "loc_bar_1",
        "shelf_bar_1": "loc_bar_2",
        "shelf_bar_2": "loc_bar_2",
        "microwave_bar_1": "loc_bar_3",
        "fridge_bar_1": "loc_bar_4",
        "sink_bar_1_bar_sinkbasin": "loc_bar_5",
    },
    {"mug_bar_1": "shelf_bar_1", "knife_bar_1": "shelf_bar_2", "apple_bar_1": "cabinet_bar_1"},
    goal="heat mug cabinet",
)
"""Names: of two shelves, the first by id is shelf 2."""


def test_of_one_kind_the_first_by_id_has_the_highest_number() -> None:
    ids = ["cup_bar_c", "cup_bar_a", "mug_bar_z", "cup_bar_b"]
    expected = {"cup_bar_a": "cup 3", "cup_bar_b": "cup 2", "cup_bar_c": "cup 1"}
    assert names(ids) == {**expected, "mug_bar_z": "mug 1"}


def test_basins_are_numbered_as_a_kind_of_their_own() -> None:
    ids = ["sink_bar_1", "sink_bar_1_bar_sinkbasin", "sink_bar_2_bar_sinkbasin"]
    assert names(ids) == {
        "sink_bar_1": "sink 1",
        "sink_bar_1_bar_sinkbasin": "sinkbasin 2",
        "sink_bar_2_bar_sinkbasin": "sinkbasin 1",
    }


@given(ids=st.sets(st.from_regex(r"(mug|cup|sink)_bar_[a-z0-9_]{1,6}", fullmatch=True)))
@settings(deadline=None, derandomize=True)
def test_no_two_of_a_kind_have_one_number(ids: set[str]) -> None:
    named = names(ids)
    assert named.keys() == ids
    assert len(set(named.values())) == len(ids)
    by_kind: dict[str, list[int]] = {}
    for id in sorted(ids):
        kind, number = named[id].rsplit(" ", 1)
        by_kind.setdefault(kind, []).append(int(number))
    for numbers in by_kind.values():
        assert numbers == [*range(len(numbers), 0, -1)]


@pytest.mark.parametrize(
    ("things", "told"),
    [
        ([], "nothing"),
        (["mug 1"], "a mug 1"),
        (["mug 1", "apple 2"], "a mug 1, and a apple 2"),
        (["mug 1", "pen 2", "cup 1"], "a mug 1, a pen 2, and a cup 1"),
    ],
)
def test_lists_have_an_article_each_and_a_comma_before_the_and(things: list, told: str) -> None:
    assert listed(things) == told


# -------------------------------------------------------------------------------- looking about


def test_the_opening_lists_the_receptacles_and_tells_the_task() -> None:
    assert Player(KITCHEN).intro == (
        "-= Welcome to TextWorld, ALFRED! =-\n\n"
        "You are in the middle of a room. Looking quickly around you, you see a cabinet 1, "
        "a fridge 1, a microwave 1, a shelf 2, a shelf 1, and a sinkbasin 1.\n\n"
        "Your task is to: do as you are told."
    )


def test_looking_from_the_start_sees_nothing() -> None:
    play = Player(KITCHEN)
    told = "You are in the middle of a room. Looking quickly around you, you see nothing."
    assert play("look") == told
    assert [each for each in play.admissible if not each.startswith("go to ")] == [
        "help",
        "inventory",
        "look",
    ]


def test_who_starts_at_a_receptacle_faces_it() -> None:
    play = Player(
        room({"shelf_bar_1": "loc_bar_1", "drawer_bar_1": "loc_bar_2"}, start="loc_bar_1")
    )
    told = "You are facing the shelf 1. Next to it, you see nothing."
    assert play.intro.split("\n\n")[1] == play("look") == told
    assert play.can("go to ") == ["go to drawer 1"]


def test_one_faces_all_that_is_at_a_place() -> None:
    places = {f"shelf_bar_{n}": "loc_bar_1" for n in (1, 2, 3)}
    play = Player(room({**places, "drawer_bar_1": "loc_bar_2"}))
    assert play("go to shelf 2") == "You arrive at shelf 2. On the shelf 2, you see nothing."
    expected = "You are facing the shelf 3, shelf 2, and shelf 1. Next to it, you see nothing."
    assert play("look") == expected


def test_arriving_shows_what_lies_there_but_not_behind_a_door() -> None:
    play = Player(KITCHEN)
    assert play("go to shelf 1") == "You arrive at shelf 1. On the shelf 1, you see a knife 1."
    assert play("go to cabinet 1") == "You arrive at cabinet 1. The cabinet 1 is closed."


def test_in_the_older_version_one_arrives_at_a_location() -> None:
    play = Player(KITCHEN, "2.1.1")
    assert play("go to cabinet 1") == "You arrive at loc 6. The cabinet 1 is closed."
    assert play("go to shelf 1") == "You arrive at loc 5. On the shelf 1, you see a knife 1."


def test_hands_are_empty_or_hold_one_thing() -> None:
    play = Player(KITCHEN)
    assert play("inventory") == "You are not carrying anything."
    assert play("go to shelf 2", "take mug 1 from shelf 2") == (
        "You pick up the mug 1 from the shelf 2."
    )
    assert play("inventory") == "You are carrying: a mug 1."
    assert play.can("take ") == []
    assert play("take knife 1 from shelf 1") == NOTHING


def test_things_put_down_lie_in_the_order_of_their_ids() -> None:
    play = Player(KITCHEN)
    play("go to shelf 2", "take mug 1 from shelf 2", "move mug 1 to shelf 1")
    assert play("examine shelf 1") == "On the shelf 1, you see a knife 1, and a mug 1."
    play("take knife 1 from shelf 1", "move knife 1 to shelf 1")
    assert play("examine shelf 1") == "On the shelf 1, you see a knife 1, and a mug 1."


def test_what_was_taken_here_and_put_elsewhere_here_lies_next_to_it() -> None:
    play = Player(KITCHEN)
    play("go to shelf 2", "take mug 1 from shelf 2", "move mug 1 to shelf 1")
    facing = "You are facing the shelf 2, and shelf 1. Next to it, you see {}."
    assert play("look") == facing.format("a mug 1")
    play("take mug 1 from shelf 1")
    assert play("look") == facing.format("nothing")
    play("move mug 1 to shelf 2")
    assert play("look") == facing.format("a mug 1")  # next to shelf 1 this time
    play("take mug 1 from shelf 2", "go to cabinet 1", "open cabinet 1", "move mug 1 to cabinet 1")
    assert play("look") == "You are facing the cabinet 1. Next to it, you see nothing."
    assert play("go to shelf 1", "look") == facing.format("nothing")


# -------------------------------------------------------------------------------- going


def test_one_cannot_go_to_what_shares_the_spot() -> None:
    play = Player(KITCHEN)
    assert len(play.can("go to ")) == 6
    play("go to shelf 1")
    assert "go to shelf 2" not in play.admissible
    assert play("go to shelf 2") == NOTHING
    assert play("go to shelf 1") == NOTHING
    assert play("examine shelf 2") == "On the shelf 2, you see a mug 1."


def test_in_relaxed_games_one_can_go_anywhere() -> None:
    play = Player(KITCHEN, parity="relaxed")
    play("go to shelf 1")
    assert play("go to shelf 2") == "You arrive at shelf 2. On the shelf 2, you see a mug 1."
    assert play("go to shelf 2") == "You arrive at shelf 2. On the shelf 2, you see a mug 1."
    assert len(play.can("go to ")) == 6


# -------------------------------------------------------------------------------- doors


def test_doors_open_and_close_and_hide_what_is_behind() -> None:
    play = Player(KITCHEN)
    play("go to cabinet 1")
    assert play("take apple 1 from cabinet 1") == NOTHING
    assert play("close cabinet 1") == NOTHING
    assert play("examine cabinet 1") == "The cabinet 1 is closed."
    opened = "The cabinet 1 is open. In it, you see a apple 1."
    assert play("open cabinet 1") == "You open the cabinet 1. " + opened
    assert play("examine cabinet 1") == opened
    assert play("open cabinet 1") == NOTHING
    assert play.can("take ") == ["take apple 1 from cabinet 1"]
    assert play("close cabinet 1") == "You close the cabinet 1."
    assert play.can("take ") == []


def test_nothing_is_put_behind_a_closed_door() -> None:
    play = Player(KITCHEN)
    play("go to shelf 2", "take mug 1 from shelf 2", "go to cabinet 1")
    assert play("move mug 1 to cabinet 1") == NOTHING
    play("open cabinet 1")
    assert play("move mug 1 to cabinet 1") == "You move the mug 1 to the cabinet 1."


def test_what_does_not_close_is_never_opened() -> None:
    play = Player(KITCHEN)
    play("go to shelf 1")
    assert play.can("open ") == play.can("close ") == []
    assert play("open shelf 1") == play("close shelf 1") == NOTHING


# -------------------------------------------------------------------------------- taking, putting


def test_only_what_fits_is_put_there() -> None:
    receptacles = {"shelf_bar_1": "loc_bar_1", "drawer_bar_1": "loc_bar_1"}
    play = Player(room(receptacles, {"mug_bar_1": "shelf_bar_1"}, fits={"shelf": ["mug"]}))
    play("go to shelf 1", "open drawer 1", "take mug 1 from shelf 1")
    assert play.can("move ") == ["move mug 1 to shelf 1"]
    assert play("move mug 1 to drawer 1") == NOTHING


def test_what_is_fixed_is_not_taken() -> None:
    play = Player(room({"shelf_bar_1": "loc_bar_1"}, {"window_bar_1": "shelf_bar_1"}))
    assert play("go to shelf 1").endswith("you see a window 1.")
    assert play.can("take ") == []


def test_a_thing_in_two_receptacles_is_taken_out_of_one() -> None:
    receptacles = {"shelf_bar_1": "loc_bar_1", "shelf_bar_2": "loc_bar_2"}
    play = Player(room(receptacles, {"mug_bar_1": ["shelf_bar_1", "shelf_bar_2"]}))
    play("go to shelf 1", "take mug 1 from shelf 1")
    assert play("examine shelf 1") == "On the shelf 1, you see nothing."
    assert play("go to shelf 2") == "You arrive at shelf 2. On the shelf 2, you see a mug 1."
    assert play("inventory") == "You are carrying: a mug 1."
    assert play("move mug 1 to shelf 2") == "You move the mug 1 to the shelf 2."
    assert play("examine shelf 2") == "On the shelf 2, you see a mug 1."


@pytest.mark.parametrize(
    ("version", "put"), [("2.1.2", "move {} to {}"), ("2.1.1", "put {} in/on {}")]
)
def test_each_version_has_its_own_way_to_say_put(version: str, put: str) -> None:
    play = Player(KITCHEN, version)
    play("go to shelf 2", "take mug 1 from shelf 2")
    command = put.format("mug 1", "shelf 1")
    assert command in play.admissible
    other = DIALECTS[next(each for each in VERSIONS if each != version)].put
    assert play(other.format("mug 1", "shelf 1")) == NOTHING
    assert play(command) == f"You {put.format('the mug 1', 'the shelf 1')}."


# -------------------------------------------------------------------------------- examining


def test_a_thing_is_examined_only_in_the_hand() -> None:
    play = Player(KITCHEN)
    play("go to shelf 2")
    assert "examine mug 1" not in play.admissible
    assert play("examine mug 1") == NOTHING
    play("take mug 1 from shelf 2")
    assert play("examine mug 1") == "There's nothing special about mug 1."


@pytest.mark.parametrize(
    ("traits", "told"),
    [
        ("", "There's nothing special about mug 1."),
        ("isclean", "This is a clean mug 1."),
        ("ishot", "This is a hot mug 1."),
        ("iscool", "This is a cold mug 1."),
        ("iscool isclean", "This is a cool and clean mug 1."),
        ("ishot isclean", "This is a hot and clean mug 1."),
        ("sliceable issliced", "This is a sliced mug 1."),
        ("issliced", "There's nothing special about mug 1."),
        ("iscool issliced", "This is a cool sliced mug 1."),
        ("ishot issliced", "This is a hot sliced mug 1."),
        ("isclean issliced", "This is a clean sliced mug 1."),
        ("ishot isclean issliced", "This is a hot and clean sliced mug 1."),
        ("iscool isclean issliced", "This is a cool and clean sliced mug 1."),
        ("toggleable istoggled", "This mug 1 is on."),
        ("toggleable", "There's nothing special about mug 1."),
        ("toggleable istoggled ishot", "This is a hot mug 1."),
        ("ishot isreceptacleobject", "This is a normal mug 1. In it, you see nothing."),
    ],
)
def test_what_was_done_to_a_thing_is_seen_of_it(traits: str, told: str) -> None:
    having = {"mug_bar_1": ["pickupable", *traits.split()]}
    play = Player(room({"shelf_bar_1": "loc_bar_1"}, {"mug_bar_1": "shelf_bar_1"}, traits=having))
    assert play("go to shelf 1", "take mug 1 from shelf 1", "examine mug 1") == told


def test_what_a_plate_holds_stays_told_wherever_it_is() -> None:
    things = {"plate_bar_1": "shelf_bar_1", "apple_bar_1": "shelf_bar_1"}
    inside = [("apple_bar_1", "plate_bar_1")]
    play = Player(room({"shelf_bar_1": "loc_bar_1"}, things, inside=inside))
    play("go to shelf 1", "take plate 1 from shelf 1")
    assert play("examine plate 1") == "This is a normal plate 1. In it, you see a apple 1."
    play("move plate 1 to shelf 1", "take apple 1 from shelf 1", "move apple 1 to shelf 1")
    assert play("take plate 1 from shelf 1", "examine plate 1").endswith("you see a apple 1.")


# -------------------------------------------------------------------------------- treating


def test_heating_and_cooling_undo_each_other_and_leave_it_clean() -> None:
    play = Player(KITCHEN)
    play("go to shelf 2", "take mug 1 from shelf 2", "go to sinkbasin 1")
    assert play("clean mug 1 with sinkbasin 1") == "You clean the mug 1 using the sinkbasin 1."
    play("go to fridge 1")
    assert play("cool mug 1 with fridge 1") == "You cool the mug 1 using the fridge 1."
    assert play("examine mug 1") == "This is a cool and clean mug 1."
    play("go to microwave 1")
    assert play("heat mug 1 with microwave 1") == "You heat the mug 1 using the microwave 1."
    assert play("examine mug 1") == "This is a hot and clean mug 1."
    play("go to fridge 1", "cool mug 1 with fridge 1")
    assert play("examine mug 1") == "This is a cool and clean mug 1."


def test_appliances_work_closed_and_only_on_what_is_held() -> None:
    play = Player(KITCHEN)
    play("go to microwave 1")
    assert play.can("heat ") == []
    play("go to shelf 1", "take knife 1 from shelf 1", "go to microwave 1")
    assert play.can("heat ") == []  # a knife is not to be heated
    play("go to shelf 1", "move knife 1 to shelf 1", "take mug 1 from shelf 2", "go to microwave 1")
    assert play.can("heat ") == ["heat mug 1 with microwave 1"]
    assert play("examine microwave 1") == "The microwave 1 is closed."
    assert play("heat mug 1 with microwave 1") == "You heat the mug 1 using the microwave 1."
    assert play("heat mug 1 with microwave 1") == "You heat the mug 1 using the microwave 1."


@pytest.mark.parametrize("knife", ["knife", "butterknife"])
def test_a_knife_slices_what_is_at_the_same_place(knife: str) -> None:
    receptacles = {
        "shelf_bar_1": "loc_bar_1",
        "drawer_bar_1": "loc_bar_1",
        "shelf_bar_2": "loc_bar_2",
    }
    things = {f"{knife}_bar_1": "shelf_bar_1", "apple_bar_1": "drawer_bar_1"}
    play = Player(room(receptacles, things))
    play("go to shelf 2")
    command = f"slice apple 1 with {knife} 1"
    assert play(command) == NOTHING
    play(f"take {knife} 1 from shelf 2")
    assert play(command) == f"You sliced the apple 1 with the {knife} 1."  # through the drawer
    play("go to shelf 1")
    assert play(command) == NOTHING
    play(f"move {knife} 1 to shelf 1", "go to drawer 1", "open drawer 1")
    assert play("take apple 1 from drawer 1", "examine apple 1") == "This is a sliced apple 1."


def test_a_mug_slices_nothing() -> None:
    things = {"mug_bar_1": "shelf_bar_1", "apple_bar_1": "shelf_bar_1"}
    play = Player(room({"shelf_bar_1": "loc_bar_1"}, things))
    play("go to shelf 1", "take mug 1 from shelf 1")
    assert play.can("slice ") == []


# -------------------------------------------------------------------------------- lamps and goals


def test_a_lamp_is_turned_on_and_never_off() -> None:
    receptacles = {"drawer_bar_1": "loc_bar_1", "shelf_bar_1": "loc_bar_1"}
    things = {"desklamp_bar_1": "drawer_bar_1", "mug_bar_1": "shelf_bar_1"}
    play = Player(room(receptacles, things, goal="look mug desklamp"))
    assert play.can("use ") == []
    play("go to shelf 1")
    assert play.can("use ") == ["use desklamp 1"]  # in a closed drawer
    assert play("use desklamp 1") == play("use desklamp 1") == "You turn on the desklamp 1."
    play("take mug 1 from shelf 1")
    assert play.won


def test_a_lamp_to_take_along_shows_only_that_it_is_on() -> None:
    having = {"desklamp_bar_1": ["pickupable", "toggleable"]}
    things = {"desklamp_bar_1": "shelf_bar_1"}
    play = Player(room({"shelf_bar_1": "loc_bar_1"}, things, traits=having))
    play("go to shelf 1", "take desklamp 1 from shelf 1")
    assert play.can("use ") == []
    assert play("examine desklamp 1") == "There's nothing special about desklamp 1."
    play("move desklamp 1 to shelf 1", "use desklamp 1", "take desklamp 1 from shelf 1")
    assert play("examine desklamp 1") == "This desklamp 1 is on."


def test_looking_in_light_needs_the_lamp_on_and_here_and_the_thing_in_hand() -> None:
    receptacles = {"drawer_bar_1": "loc_bar_1", "shelf_bar_1": "loc_bar_2"}
    things = {"desklamp_bar_1": "shelf_bar_1", "mug_bar_1": "shelf_bar_1"}
    play = Player(room(receptacles, things, goal="look mug desklamp"))
    trace = []
    for command in (
        "go to shelf 1",
        "use desklamp 1",
        "take mug 1 from shelf 1",
        "go to drawer 1",
        "go to shelf 1",
        "move mug 1 to shelf 1",
    ):
        play(command)
        trace.append(play.won)
    assert trace == [False, False, True, False, True, False]


@pytest.mark.parametrize("kind", ["heat", "cool", "clean"])
def test_a_treated_thing_counts_where_it_belongs_and_as_it_is_then(kind: str) -> None:
    appliance = {"heat": "microwave 1", "cool": "fridge 1", "clean": "sinkbasin 1"}[kind]
    home = {r.id: r.location for r in KITCHEN.receptacles}
    things = {"mug_bar_1": "shelf_bar_1"}
    play = Player(room(home, things, goal=f"{kind} mug shelf"))
    play("go to shelf 2", "take mug 1 from shelf 2", f"go to {appliance}")
    play(f"{kind} mug 1 with {appliance}")
    assert not play.won
    if kind != "clean":
        undo, other = {"heat": ("cool", "fridge 1"), "cool": ("heat", "microwave 1")}[kind]
        play(
            f"go to {other}", f"{undo} mug 1 with {other}", "go to shelf 1", "move mug 1 to shelf 1"
        )
        assert not play.won
        play("take mug 1 from shelf 1", f"go to {appliance}", f"{kind} mug 1 with {appliance}")
    play("go to shelf 1", "move mug 1 to shelf 1")
    assert play.won
    play("take mug 1 from shelf 1")
    assert not play.won


def test_two_things_count_only_in_one_receptacle() -> None:
    receptacles = {
        "shelf_bar_1": "loc_bar_1",
        "shelf_bar_2": "loc_bar_2",
        "drawer_bar_1": "loc_bar_3",
    }
    things = {"mug_bar_1": "drawer_bar_1", "mug_bar_2": "shelf_bar_1"}
    play = Player(room(receptacles, things, goal="pick2 mug shelf"))
    play("go to drawer 1", "open drawer 1", "take mug 2 from drawer 1")
    play("go to shelf 1", "move mug 2 to shelf 1")
    assert not play.won
    play("take mug 2 from shelf 1", "go to shelf 2", "move mug 2 to shelf 2")
    assert play.won
