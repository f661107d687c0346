"""Actions in a user interface against the expected one, as four papers count."""

from __future__ import annotations

import pytest
from episodes import episode, paid, turn, unhurried
from hypothesis import given
from hypothesis import strategies as st

from agentgym.errors import RewardError
from agentgym.rewards import parse
from agentgym.rewards.action_match import VARIANTS, shared_words

CLICK = {"type": "click", "box": [10, 10, 50, 30]}
INSIDE = {"type": "click", "point": [20, 20]}
OUTSIDE = {"type": "click", "point": [200, 20]}
LOOKED = {"regions": [[10, 10, 50, 30]]}
variants = pytest.mark.parametrize


def value(variant, expected, performed, invalid=None, **facts):
    seen = turn(invalid, expected=expected, performed=performed, **facts)
    [found] = paid(f"action_match(variant={variant!r})", episode([seen]))
    return found


@variants(("variant", "worth"), [("ui-r1", 3), ("gui-r1", 1), ("btl-ui", 1), ("mobile-r1", 2)])
def test_the_right_click_is_worth_all_there_is(variant, worth):
    assert value(variant, CLICK, {**INSIDE, **LOOKED}) == pytest.approx(worth)


@variants(("variant", "worth"), [("ui-r1", 2), ("gui-r1", 0.2), ("btl-ui", 0.4), ("mobile-r1", 1)])
def test_the_right_type_with_a_click_outside_is_worth_what_the_papers_say(variant, worth):
    assert value(variant, CLICK, {**OUTSIDE, **LOOKED}) == pytest.approx(worth)


def test_without_having_looked_btl_ui_pays_a_tenth_for_a_click_outside():
    assert value("btl-ui", CLICK, OUTSIDE) == pytest.approx(0.1)


def test_ui_r1_counts_an_argument_as_right_where_no_click_is_expected():
    assert value("ui-r1", {"type": "back"}, {"type": "home"}) == 2
    assert value("ui-r1", {"type": "back"}, {"type": "back"}) == 3


def test_a_text_needs_half_its_words_or_every_letter():
    typed = {"type": "type", "text": "red wool shoes"}
    half = {"type": "type", "text": "Red shoes cheap"}
    assert value("gui-r1", typed, half) == pytest.approx(1.0)
    assert value("mobile-r1", typed, half) == 1
    assert value("mobile-r1", typed, typed) == 2
    assert shared_words("a b c d", "a e f g") == 0.25


def test_directions_are_equal_whatever_their_case():
    down = {"type": "scroll", "direction": "down"}
    for variant in ("gui-r1", "mobile-r1"):
        full = value(variant, down, {"type": "Scroll", "direction": "DOWN"})
        none = value(variant, down, {"type": "scroll", "direction": "up"})
        assert full > none


def test_gui_r1_takes_a_click_near_a_point_where_there_is_no_box():
    point = {"type": "click", "point": [500, 500]}
    assert value("gui-r1", point, {"type": "click", "point": [600, 500]}) == pytest.approx(1.0)
    assert value("gui-r1", point, {"type": "click", "point": [640, 500]}) == pytest.approx(0.2)


def test_btl_ui_wants_a_click_near_the_point_as_well_as_in_the_box():
    wide = {"type": "click", "box": [0, 0, 1000, 100], "point": [100, 50]}
    looked = {"regions": [[0, 0, 1000, 100]]}
    size = {"image_size": [1000, 1000]}
    near = {"type": "click", "point": [200, 50], **looked}
    far = {"type": "click", "point": [300, 50], **looked}
    assert value("btl-ui", wide, near, **size) == pytest.approx(1.0)
    assert value("btl-ui", wide, far, **size) == pytest.approx(0.4)
    with pytest.raises(RewardError, match="record the fact 'image_size'"):
        value("btl-ui", wide, near)


def test_looking_everywhere_is_not_looking_there():
    overlapping = {"regions": [[10, 10, 50, 30], [11, 10, 50, 30]]}
    inverted = {"regions": [[10, 10, 50, 30], [90, 90, 80, 80]]}
    many = {"regions": [[i, 0, i + 1, 1] for i in range(2, 200)] + LOOKED["regions"]}
    for regions in (overlapping, inverted, many, {}):
        assert value("btl-ui", CLICK, {**INSIDE, **regions}) == pytest.approx(0.7)
    assert value("btl-ui", {"type": "home"}, {"type": "home"}) == pytest.approx(1.0)


def test_weights_can_be_set_by_hand():
    reward = "action_match(type_weight=0.5, argument_weight=2, format_weight=0)"
    assert paid(reward, episode([turn(expected=CLICK, performed=INSIDE)])) == [2.5]
    assert str(parse(reward)) == "action_match(type_weight=0.5, argument_weight=2, format_weight=0)"


def test_an_unreadable_reply_is_worth_nothing_and_an_impossible_one_its_format():
    for variant in VARIANTS:
        assert value(variant, {"type": "home"}, None, "parse") == 0.0
    assert value("gui-r1", CLICK, None, "inadmissible") == pytest.approx(0.2)
    unsaid = episode([turn("inadmissible", expected=CLICK)])
    assert paid("action_match(variant='gui-r1')", unsaid) == pytest.approx([0.2])


def test_where_nothing_is_expected_there_is_no_value():
    assert value("ui-r1", None, INSIDE) is None


actions = st.fixed_dictionaries(
    {"type": st.sampled_from(["click", "type", "scroll"])},
    optional={
        "point": st.lists(st.integers(0, 60), min_size=2, max_size=2),
        "text": st.sampled_from(["a b", "a", "c"]),
        "direction": st.sampled_from(["up", "down"]),
        "regions": st.lists(
            st.tuples(*[st.integers(0, 20)] * 2, *[st.integers(21, 60)] * 2), max_size=3
        ),
    },
)
expectations = st.fixed_dictionaries(
    {"type": st.sampled_from(["click", "type", "scroll"])},
    optional={
        "box": st.tuples(*[st.integers(0, 20)] * 2, *[st.integers(20, 60)] * 2),
        "text": st.sampled_from(["a b", "c d"]),
        "direction": st.sampled_from(["up", "down"]),
    },
)


@unhurried
@given(wanted=expectations, done=actions, variant=st.sampled_from(sorted(VARIANTS)))
def test_the_value_lies_between_nothing_and_the_sum_of_the_weights(wanted, done, variant):
    paper = VARIANTS[variant]
    most = paper.type + paper.argument + paper.format + paper.region
    assert 0.0 <= value(variant, wanted, done) <= most + 1e-12


@unhurried
@given(wanted=expectations, variant=st.sampled_from(sorted(VARIANTS)))
def test_doing_what_was_expected_gets_all_there_is(wanted, variant):
    done = {key: wanted[key] for key in ("type", "text", "direction") if key in wanted}
    if "box" in wanted:
        left, top, right, bottom = wanted["box"]
        done["point"] = [(left + right) / 2, (top + bottom) / 2]
        done["regions"] = [wanted["box"]]
    paper = VARIANTS[variant]
    looked = "box" not in wanted or (right > left and bottom > top) or not paper.region
    most = paper.type + paper.argument + paper.format + paper.region * looked
    assert value(variant, wanted, done) == pytest.approx(most)


@variants(
    ("expected", "performed", "message"),
    [
        ({"type": "click", "box": [5, 5, 1, 1]}, INSIDE, "x1 <= x2"),
        ({"type": "click", "box": [5, 5, 9]}, INSIDE, "4 finite"),
        ({"type": "click", "box": [5, 5, 9, float("nan")]}, INSIDE, "4 finite"),
        ({"box": [5, 5, 9, 9]}, INSIDE, "a text"),
        ({"type": "type", "text": " "}, {"type": "type", "text": "x"}, "leave it out"),
        ("click", INSIDE, "a mapping"),
        (CLICK, {"type": "click", "point": [1, float("inf")]}, "2 finite"),
        (CLICK, {"type": "click", "point": [1, 10**400]}, "2 finite"),
        (CLICK, ["click"], "a mapping"),
    ],
)
def test_what_the_environment_wrote_down_wrongly_is_an_error(expected, performed, message):
    with pytest.raises(RewardError, match=rf"action_match.*turn 1 .*{message}"):
        value("gui-r1", expected, performed)


def test_what_the_environment_did_not_write_down_is_an_error():
    with pytest.raises(RewardError, match=r"turn 2 .* no fact 'expected': record it"):
        paid("action_match", episode([turn(expected=None), turn(performed=INSIDE)]))
    with pytest.raises(RewardError, match=r"turn 1 .* no fact 'performed': record"):
        paid("action_match", episode([turn(expected=CLICK)]))


def test_text_that_would_do_harm_if_it_were_run_is_compared_as_text():
    payload = "__import__('os').abort()"
    said = {"type": payload, "text": payload, "point": [1, 1]}
    assert value("gui-r1", CLICK, said) == pytest.approx(0.2)


def test_an_unknown_variant_is_refused():
    with pytest.raises(RewardError, match="did you mean 'gui-r1'"):
        parse("action_match(variant='gui-r2')")
