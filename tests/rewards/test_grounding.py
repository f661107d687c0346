"""GUI grounding: Gaussians, boxes, distances, and a cursor's path."""

from __future__ import annotations

import math

import pytest
from episodes import episode, paid, turn, unhurried
from hypothesis import assume, given
from hypothesis import strategies as st

from agentgym.errors import RewardError
from agentgym.rewards import PRESETS, bind, parse
from agentgym.rewards.expression import Stage
from agentgym.types import Stop

TARGET = [100, 200, 300, 260]
NEAR = 5e-7


def boxed(box, target=TARGET):
    return episode([turn(box=box, target_box=target)])


def pointed(point, target=TARGET, **facts):
    return episode([turn(point=point, target_box=target, **facts)])


coordinates = st.integers(-500, 1500)


@st.composite
def boxes(draw):
    x, y = draw(coordinates), draw(coordinates)
    return [x, y, x + draw(st.integers(2, 400)), y + draw(st.integers(2, 400))]


# ------------------------------------------------------------------------------- golden numbers


@pytest.mark.parametrize(
    ("box", "point", "coverage"),
    [
        ([100, 200, 300, 260], 1.0, 1.0),
        ([120, 205, 320, 265], 0.966679, 0.991564),
        ([150, 215, 250, 245], 1.0, 0.8),
        ([200, 230, 400, 290], 0.367879, 0.778801),
        ([200, 200, 400, 260], 0.606531, 0.882497),
    ],
)
def test_gui_g2_of_a_box_is_as_in_the_paper(box, point, coverage):
    assert paid("gaussian_point(of='box')", boxed(box)) == pytest.approx([point], abs=NEAR)
    assert paid("gaussian_coverage", boxed(box)) == pytest.approx([coverage], abs=NEAR)


def test_gui_g2_in_all_is_point_and_coverage_together():
    [scored] = bind(parse("gui-g2"), {"box", "target_box"}).score([boxed([120, 205, 320, 265])])
    assert scored.total == pytest.approx(1.958242, abs=1e-6)


def test_a_click_is_worth_its_gaussian():
    assert paid("gaussian_point", pointed([260, 245])) == pytest.approx([0.737123], abs=NEAR)


def test_the_middle_of_an_edge_is_one_sigma_off_and_a_corner_is_one_each_way():
    assert paid("gaussian_point", pointed([300, 230])) == pytest.approx([0.606531], abs=NEAR)
    assert paid("gaussian_point", pointed([300, 260])) == pytest.approx([0.367879], abs=NEAR)


# ----------------------------------------------------------------------------------- invariants


@unhurried
@given(target=boxes(), angle=st.floats(0, 2 * math.pi), steps=st.tuples(*[st.floats(0, 3)] * 2))
def test_the_gaussian_is_1_at_the_centre_and_falls_along_every_ray(target, angle, steps):
    x, y = (target[0] + target[2]) / 2, (target[1] + target[3]) / 2
    size = min(target[2] - target[0], target[3] - target[1])
    near, far = sorted(steps)
    assume(far - near > 1e-3)

    def at(step):
        point = [x + step * size * math.cos(angle), y + step * size * math.sin(angle)]
        return paid("gaussian_point", pointed(point, target))[0]

    assert at(0.0) == 1.0
    assert 0.0 <= at(far) <= at(near) <= 1.0
    assert at(far) < at(near) or at(near) < 1e-12


@unhurried
@given(box=boxes(), target=boxes(), by=st.integers(-900, 900), times=st.integers(1, 5))
def test_grounding_does_not_depend_on_where_the_image_begins_nor_on_its_scale(
    box, target, by, times
):
    moved = [[times * (side + by) for side in each] for each in (box, target)]
    for reward in (
        "gaussian_point(of='box')",
        "gaussian_coverage",
        "box_iou",
        "point_in_box(of='box')",
    ):
        assert paid(reward, boxed(box, target)) == pytest.approx(
            paid(reward, boxed(*moved)), abs=1e-9
        )


@unhurried
@given(box=boxes(), target=boxes())
def test_coverage_and_iou_are_symmetric_at_most_1_and_1_only_of_equal_boxes(box, target):
    for reward in ("gaussian_coverage", "box_iou"):
        [ours], [theirs] = paid(reward, boxed(box, target)), paid(reward, boxed(target, box))
        assert ours == pytest.approx(theirs, abs=1e-12)
        assert 0.0 <= ours <= 1.0 + 1e-12
        assert (ours > 1 - 1e-12) == (box == target)


@unhurried
@given(point=st.tuples(coordinates, coordinates), target=boxes())
def test_the_distance_is_in_minus_1_to_0_and_0_only_at_the_centre(point, target):
    [value] = paid("neg_distance", pointed(point, target, image_size=[1000, 800]))
    centre = ((target[0] + target[2]) / 2, (target[1] + target[3]) / 2)
    assert -1.0 <= value <= 0.0
    assert (value == 0.0) == (point == centre)


@unhurried
@given(
    point=st.tuples(coordinates, coordinates),
    target=boxes(),
    more=st.lists(st.tuples(coordinates, coordinates), max_size=3),
)
def test_what_later_turns_point_at_changes_nothing(point, target, more):
    turns = [turn(point=p, target_box=target, image_size=[900, 900]) for p in [point, *more]]
    for reward in ("gaussian_point", "point_in_box", "neg_distance", "cursor_place"):
        assert parse(reward).stage is Stage.CAUSAL
        assert paid(reward, episode(turns))[:1] == paid(reward, episode(turns[:1]))


# ------------------------------------------------------------------- what is wrong, or not there


@pytest.mark.parametrize("box", [[300, 200, 100, 260], [100, 260, 300, 200], [100, 200, 100, 260]])
def test_an_inverted_or_empty_predicted_box_is_the_models_mistake_and_gets_the_lowest(box):
    seen = episode([turn(box=box, target_box=TARGET, image_size=[640, 480])])
    for reward in ("gaussian_point(of='box')", "gaussian_coverage", "box_iou"):
        assert paid(reward, seen) == [0.0]
    assert paid("point_in_box(of='box')", seen) == [0.0]
    assert paid("neg_distance(of='box')", seen) == [-1.0]


@pytest.mark.parametrize(
    "reward", ["gaussian_point", "point_in_box", "neg_distance", "cursor_place"]
)
def test_an_inverted_target_is_an_error_that_names_signal_turn_and_remedy(reward):
    seen = pointed([1, 1], [300, 200, 100, 260], image_size=[9, 9])
    with pytest.raises(RewardError, match=rf"{reward}.*turn 1 .*inverted: give .*x1 <= x2"):
        paid(reward, seen)


def test_a_target_without_extent_is_a_gaussian_of_one_pixel():
    point = [50, 50, 50, 50]
    assert paid("gaussian_point", pointed([50, 50], point)) == [1.0]
    assert paid("gaussian_point", pointed([51, 50], point)) == pytest.approx([math.exp(-0.5)])
    assert paid("point_in_box", pointed([50, 50], point)) == [1.0]
    assert paid("box_iou", boxed([49, 49, 51, 51], point)) == [0.0]
    assert 0 < paid("gaussian_coverage", boxed([49, 49, 51, 51], point))[0] <= 1


@pytest.mark.parametrize(
    "bad", [[math.nan, 1], [math.inf, 1], [10**400, 1], [1], [1, 2, 3], ["1", 2], "12", 7]
)
def test_what_is_no_point_is_an_error_that_names_signal_turn_and_remedy(bad):
    turns = [turn(), turn(point=bad, target_box=TARGET)]
    with pytest.raises(RewardError, match=r"gaussian_point: .*'point'.*turn 2 .*: give 2 finite"):
        paid("gaussian_point", episode(turns))


@pytest.mark.parametrize("bad", [[True, False], [True, 1]])
def test_truth_values_are_no_coordinates(bad):
    with pytest.raises(RewardError, match="2 finite"):
        paid("gaussian_point", pointed(bad))


def test_a_turn_without_prediction_or_target_has_no_value_and_a_forgotten_target_is_an_error():
    turns = [turn(target_box=TARGET), turn(point=[200, 230], target_box=None)]
    assert paid("gaussian_point", episode(turns)) == [None, None]
    with pytest.raises(RewardError, match=r"turn 1 .* no fact 'target_box': record it"):
        paid("gaussian_point", episode([turn(point=[1, 2])]))


def test_a_target_that_is_the_same_in_all_turns_may_stand_at_the_start_or_in_the_task():
    turns = [turn(point=[200, 230])]
    assert paid("gaussian_point", episode(turns, start={"target_box": TARGET})) == [1.0]
    assert paid("gaussian_point", episode(turns, data={"target_box": TARGET})) == [1.0]


def test_coordinates_out_of_all_bounds_are_worth_nothing_and_break_nothing():
    seen = episode([turn(box=[-1e300, -1e300, 1e300, 1e300], point=[1e300, 5], target_box=TARGET)])
    assert paid("gaussian_point", seen) == [0.0]
    assert paid("gaussian_coverage", seen)[0] < 1e-6
    assert paid("box_iou", seen)[0] < 1e-6


def test_a_grounding_signal_says_which_prediction_it_needs():
    assert parse("gaussian_point").needs == {"target_box", "point"}
    assert parse(PRESETS["gui-g2"]).needs == {"target_box", "box"}
    with pytest.raises(RewardError, match="needs the fact 'point'"):
        bind(parse("gaussian_point"), {"target_box", "box"})


@pytest.mark.parametrize(
    "text", ["gaussian_point(alpha=0)", "gaussian_coverage(alpha=-1)", "gaussian_point(of='pint')"]
)
def test_arguments_that_make_no_sense_are_refused(text):
    with pytest.raises(RewardError, match=r"(alpha|of) is .*: give"):
        parse(text)


# ------------------------------------------------------------------------------------- evidence

LINES = [[600, 200, 800, 225], [100, 230, 400, 255]]  # the end of one line, the start of the next


def cropped(box, lines=LINES):
    return episode([turn(box=box, evidence_boxes=lines)])


@pytest.mark.parametrize(
    ("box", "value"),
    [
        ([0, 0, 1000, 1400], (5000 + 7500) / 1_400_000),  # a whole page: all of it, loosely
        ([100, 200, 800, 255], 12500 / 38500),  # as tight as one box can be about both
        ([100, 230, 400, 255], 7500 / 12500),  # one line alone
        ([100, 230, 250, 255], (3750 / 12500) * 1.0),  # half a line alone
        ([0, 230, 800, 255], (7500 / 12500) * (7500 / 20000)),
        ([0, 0, 90, 90], 0.0),
        ([800, 255, 100, 200], 0.0),  # inverted
        ([100, 230, 100, 255], 0.0),  # empty
    ],
)
def test_a_crop_is_worth_its_recall_of_the_evidence_times_its_tightness(box, value):
    assert paid("evidence_box", cropped(box)) == [pytest.approx(value)]


@unhurried
@given(box=boxes(), lines=st.lists(boxes(), min_size=1, max_size=3), by=st.integers(-900, 900))
def test_evidence_is_worth_0_to_1_wherever_the_page_begins_and_1_for_its_very_box(box, lines, by):
    apart = [[x1, 2000 * i + y1, x2, 2000 * i + y2] for i, (x1, y1, x2, y2) in enumerate(lines)]
    [value] = paid("evidence_box", cropped(box, apart))
    assert 0.0 <= value <= 1.0
    moved = [[side + by for side in each] for each in (box, *apart)]
    assert paid("evidence_box", cropped(moved[0], moved[1:])) == [pytest.approx(value)]
    assert paid("evidence_box", cropped(box, [box])) == [pytest.approx(1.0)]


def test_evidence_has_no_value_where_there_is_none_or_nothing_was_cropped():
    turns = [
        turn(evidence_boxes=LINES),
        turn(box=[0, 0, 9, 9], evidence_boxes=[]),
        turn(box=[0, 0, 9, 9], evidence_boxes=None),
        turn(box=LINES[0], evidence_boxes=LINES[:1]),
    ]
    assert paid("evidence_box", episode(turns)) == [None, None, None, 1.0]
    assert parse("evidence_box").needs == {"box", "evidence_boxes"}


@pytest.mark.parametrize(
    ("lines", "reason"),
    [
        ([[5, 5, 1, 9]], "boxes that are not inverted"),
        ([[1, 2, 3]], "boxes of 4 finite numbers"),
        ([[1, 2, 3, math.nan]], "boxes of 4 finite numbers"),
        ([[1, 2, 3, True]], "boxes of 4 finite numbers"),
        ("p1", "a list of boxes"),
    ],
)
def test_evidence_that_is_written_down_wrongly_is_an_error_that_says_where(lines, reason):
    with pytest.raises(RewardError, match=f"'evidence_boxes' of turn 1 .*{reason}"):
        paid("evidence_box", cropped([0, 0, 9, 9], lines))
    with pytest.raises(RewardError, match=r"turn 1 .* no fact 'evidence_boxes': record it"):
        paid("evidence_box", episode([turn(box=[0, 0, 9, 9])]))


# --------------------------------------------------------------------------------------- cursor


def walked(points, stop=Stop.TERMINATED, *, start=(500, 500), target=(0, 0, 200, 200), last=None):
    """A cursor's path in an image of 1000 pixels, then its stop if it was stopped."""
    turns = [turn(point=list(p)) for p in points]
    turns += [turn(last)] if stop is Stop.TERMINATED else []
    facts = {"target_box": list(target), "image_size": [1000, 1000]}
    return episode(turns, start={**facts, "point": list(start)}, stop=stop)


def total(path):
    return [value for value in paid("gui_cursor", path) if value is not None][-1]


def test_a_stop_inside_is_worth_more_than_1_the_nearer_to_the_centre_it_is():
    path = walked([(125, 100)], start=(0, 0))  # a quarter of half the diagonal, along x
    rho = 25 / math.hypot(100, 100)
    assert total(path) == pytest.approx(1 + 0.1 * (1 - rho**5))
    quarter = 100 + 0.25 * math.hypot(100, 100)
    assert total(walked([(quarter, 100)])) == pytest.approx(1.099902, abs=NEAR)


def test_the_papers_total_adds_a_tenth_for_the_format():
    quarter = 100 + 0.25 * math.hypot(100, 100)
    bound = bind(parse("gui-cursor"), {"point", "target_box", "image_size"})
    [scored] = bound.score([walked([(quarter, 100)])])
    assert scored.total == pytest.approx(1.089912, abs=NEAR)


def test_a_stop_outside_at_a_fifth_is_worth_4_tenths_if_it_came_nearer_and_1_if_not():
    assert total(walked([(600, 100), (400, 100)])) == pytest.approx(0.4)
    assert total(walked([(300, 100), (400, 100)])) == pytest.approx(0.1)
    assert total(walked([(400, 100)])) == pytest.approx(0.3)


def test_out_of_turns_pays_for_the_place_less_what_was_done_wrong():
    out = Stop.TURNS
    assert total(walked([(600, 100), (400, 100)], out)) == pytest.approx(0.8)
    assert total(walked([(400, 100), (600, 100)], out)) == pytest.approx(0.6 - 0.2)
    assert total(walked([(400, 100), (400, 100)], out)) == pytest.approx(0.8 - 0.2 - 0.2)
    assert total(walked([(400, 100), (100, 100)], out)) == pytest.approx(1.1)
    missed = walked([(600, 100), (100, 100), (400, 100)], out)
    assert total(missed) == pytest.approx(0.8 - 0.1)
    assert total(walked([(400, 100)], out)) == pytest.approx(0.8)


def test_an_episode_that_ended_for_an_unreadable_reply_is_worth_nothing():
    assert total(walked([(100, 100)], last="parse")) == 0.0


def test_the_path_is_valued_at_the_last_turn_and_its_places_at_each():
    path = walked([(600, 100), (400, 100)])
    assert paid("gui_cursor", path)[:-1] == [None, None]
    assert paid("cursor_place", path) == [pytest.approx(0.6), pytest.approx(0.8), None]
    assert parse("gui_cursor").stage is Stage.FINISHED


inside_image = st.tuples(st.integers(0, 1000), st.integers(0, 1000))


@unhurried
@given(
    right=st.lists(inside_image, max_size=3),
    wrong=st.lists(inside_image, min_size=1, max_size=4),
    inside=st.tuples(st.integers(0, 200), st.integers(0, 200)),
)
def test_every_stop_inside_beats_every_stop_outside(right, wrong, inside):
    assume(wrong[-1][0] > 200 or wrong[-1][1] > 200)
    assert total(walked([*right, inside])) >= 1.0
    assert total(walked(wrong)) < 0.6


def test_a_path_without_places_or_without_an_end_is_an_error_with_a_remedy():
    nowhere = episode([turn()], start={"target_box": TARGET, "image_size": [9, 9]}, stop=Stop.TURNS)
    with pytest.raises(RewardError, match="no fact 'point': record where the cursor is"):
        paid("gui_cursor", nowhere)
    running = walked([(1, 1)], stop=None)
    with pytest.raises(RewardError, match="not known: score it when it has"):
        paid("gui_cursor", running)
    flat = episode([turn(point=[1, 1], target_box=TARGET, image_size=[0, 5])])
    with pytest.raises(RewardError, match=r"'image_size' of turn 1 .* positive"):
        paid("cursor_place", flat)
