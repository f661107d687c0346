"""What a search brought to light: evidence, beliefs, the answer, repeats, costs, citations."""

from __future__ import annotations

import itertools
import math

import pytest
from episodes import episode, paid, told, turn, unhurried
from hypothesis import given
from hypothesis import strategies as st

from agentgym.errors import RewardError
from agentgym.rewards import bind, parse
from agentgym.rewards.evidence import answer_potential, chain_belief
from agentgym.rewards.expression import Stage

NEAR = 5e-7
OPTIONS = (45, 60, 5)
"""Of a chain of three facts, the last of them one of few."""


def units(*options):
    return [{"doc": f"p{i}", "sentence": 0, "options": each} for i, each in enumerate(options)]


def searched(*found, options=OPTIONS, kind="chain", **more):
    """An episode whose turns first showed these units; None is a turn that says nothing of them."""
    turns = [turn() if each is None else turn(evidence_found=each) for each in found]
    return episode(turns, data={"evidence": units(*options), "kind": kind}, **more)


some_options = st.lists(st.integers(2, 500), min_size=1, max_size=6)


@st.composite
def searches(draw):
    """Options of some units, and an order in which turns showed some of them."""
    options = draw(some_options)
    order = draw(st.permutations(range(len(options))))[: draw(st.integers(0, len(options)))]
    turns = draw(st.integers(1, 6))
    found = [[] for _ in range(turns)]
    for unit in order:
        found[draw(st.integers(0, turns - 1))].append(unit)
    return options, found


# ------------------------------------------------------------------------------------- evidence


def test_units_weigh_what_they_might_have_said():
    whole = math.log(45 * 60 * 5)
    found = paid("evidence", searched([0], [], [2, 1]))
    assert found == pytest.approx([math.log(45) / whole, 0.0, math.log(300) / whole])
    assert paid("evidence(weights='equal')", searched([0], None, [2, 1])) == pytest.approx(
        [1 / 3, 0.0, 2 / 3]
    )


def test_units_of_unknown_options_weigh_the_same():
    assert paid("evidence", searched([1], [0], options=(9, 1, 4))) == pytest.approx([1 / 3, 1 / 3])


@unhurried
@given(searches(), st.sampled_from(["information", "equal"]))
def test_evidence_is_paid_once_and_sums_to_what_was_found_of_it(searched_for, weights):
    options, found = searched_for
    values = paid(f"evidence(weights={weights!r})", searched(*found, options=options))
    assert all(value >= 0 for value in values)
    logs = [math.log(each) if weights == "information" else 1.0 for each in options]
    recall = sum(logs[unit] for new in found for unit in new) / sum(logs)
    assert sum(values) == pytest.approx(recall, abs=1e-9)
    assert sum(values) <= 1 + 1e-9
    again = paid("evidence", searched(*found, [], [], options=options))
    assert again[len(found) :] == [0.0, 0.0]


@unhurried
@given(some_options, st.randoms(use_true_random=False))
def test_the_order_of_discovery_changes_no_total(options, random):
    order = list(range(len(options)))
    random.shuffle(order)
    one = paid("evidence", searched(*[[unit] for unit in order], options=options))
    assert sum(one) == pytest.approx(1.0)
    assert [one[order.index(unit)] for unit in range(len(options))] == pytest.approx(
        paid("evidence", searched(*[[unit] for unit in range(len(options))], options=options))
    )


@unhurried
@given(searches())
def test_information_on_the_proof_path_is_the_weighted_evidence(searched_for):
    options, found = searched_for
    seen = searched(*found, options=options)
    whole = sum(map(math.log, options))
    nats = paid("proof_gain", seen)
    assert nats == pytest.approx([whole * each for each in paid("evidence", seen)], abs=1e-9)
    assert paid("proof_gain(bits=True)", seen) == pytest.approx(
        [each / math.log(2) for each in nats], abs=1e-9
    )


def test_information_on_the_proof_path_is_counted_over_all_paths():
    """ln p(path | shown) - ln p_0(path), by listing every path there might be."""
    options = (2, 3, 4)
    truth = (1, 0, 2)
    every = list(itertools.product(*map(range, options)))
    for shown in itertools.chain.from_iterable(
        itertools.combinations(range(3), n) for n in range(4)
    ):
        left = [p for p in every if all(p[unit] == truth[unit] for unit in shown)]
        gained = math.log(1 / len(left)) - math.log(1 / len(every))
        (value,) = paid("proof_gain", searched(list(shown), options=options))
        assert value == pytest.approx(gained, abs=1e-9)


def test_where_no_evidence_is_known_there_is_no_value():
    for name in ("evidence", "proof_gain", "answer_gain"):
        assert paid(name, searched(None, [], options=())) == [None, None]


@pytest.mark.parametrize(
    ("found", "data"),
    [([3], units(2, 2)), ([0, 0], units(2, 2)), (["0"], units(2)), ([True], units(2, 2)),
     ("0", units(2)), ([-1], units(2, 2))],
)  # fmt: skip
def test_places_that_are_none_are_an_error_that_says_which_there_are(found, data):
    seen = episode([turn(evidence_found=found)], data={"evidence": data})
    with pytest.raises(RewardError, match=r"'evidence_found' of turn 1 .*: give the places \(0 to"):
        paid("evidence", seen)


def test_what_was_found_before_is_not_found_again():
    with pytest.raises(RewardError, match=r"of turn 2 .* each once"):
        paid("evidence", searched([0], [0]))


@pytest.mark.parametrize("evidence", [None, "p0", [{"doc": "p0"}], [{"options": 0}], [7]])
def test_a_task_that_does_not_say_what_its_evidence_is_is_refused(evidence):
    seen = episode([turn(evidence_found=[])], data={"evidence": evidence})
    with pytest.raises(RewardError, match="give a list of units, each with 'options'"):
        paid("proof_gain", seen)


# ----------------------------------------------------------------------------------- answer gain


def test_in_order_only_the_closing_fact_tells_the_answer():
    values = paid("answer_gain", searched([0], [1], [2]))
    assert values == pytest.approx([0.0, 0.0, 1.0], abs=1e-9)


def test_in_the_reverse_order_it_is_guessed_a_little_before():
    potentials = list(itertools.accumulate(paid("answer_gain", searched([2], [1], [0]))))
    assert potentials == pytest.approx([0.04, 0.09, 1.0], abs=0.005)
    by_hand = 1 + math.log(1 / 60 + 59 / 60 / 5) / math.log(5)
    assert potentials[0] == pytest.approx(by_hand, abs=1e-12)
    second = 1 / 45 + 44 / 45 / 60
    assert potentials[1] == pytest.approx(1 + math.log(second + (1 - second) / 5) / math.log(5))


def brute_force_belief(options, known):
    """The probability of the chain's last value, over every table the relations might be.

    Value 0 is the true one everywhere; a relation maps each subject to a value, all equally likely.
    """
    count = matching = 0
    sizes = [1, *options]
    tables = [
        list(itertools.product(range(sizes[i + 1]), repeat=sizes[i])) for i in range(len(options))
    ]
    for world in itertools.product(*tables):
        if any(world[place][0] != 0 for place in known):
            continue
        at = 0
        for table in world:
            at = table[at]
        count += 1
        matching += at == 0
    return matching / count


@pytest.mark.parametrize("options", [(2, 2), (2, 3), (3, 2), (2, 2, 2), (3, 2, 2)])
def test_the_belief_is_that_of_one_who_lists_every_world(options):
    for n in range(len(options) + 1):
        for known in itertools.combinations(range(len(options)), n):
            assert chain_belief(options, known) == pytest.approx(brute_force_belief(options, known))


@unhurried
@given(searches())
def test_gains_on_the_answer_telescope_and_are_bounded(searched_for):
    options, found = searched_for
    values = paid("answer_gain", searched(*found, options=options))
    known = {unit for new in found for unit in new}
    assert sum(values) == pytest.approx(answer_potential(options, known), abs=1e-9)
    assert all(-1 - 1e-9 <= value <= 1 + 1e-9 for value in values)
    if len(known) == len(options):
        assert sum(values) == pytest.approx(1.0)


def test_only_chains_of_known_options_have_a_gain_on_the_answer():
    assert paid("answer_gain", searched([0], kind="comparison")) == [None]
    assert paid("answer_gain", searched([0], options=(3, 1))) == [None]


# ----------------------------------------------------------------------------------- answer seen


@unhurried
@given(st.integers(0, 5), st.integers(1, 6))
def test_the_answer_is_seen_once(at, turns):
    seen = [turn_number >= at for turn_number in range(turns)]
    values = paid("answer_seen", told("answer_seen", seen, start={"answer_seen": False}))
    assert values == [float(place == at) for place in range(turns)]


def test_an_answer_that_stood_in_the_question_is_not_seen_again():
    assert paid("answer_seen", told("answer_seen", [True, True], start={"answer_seen": True})) == [
        0.0,
        0.0,
    ]


# ----------------------------------------------------------------- repeats, costs, citations, NDCG


def test_asking_again_costs_as_much_as_it_is_alike():
    asked = episode([turn(repeat=0.0, redundant=0.0), turn(), turn(repeat=0.9, redundant=0.5),
                     turn(repeat=0.7, redundant=1.0), turn(repeat=1.0, redundant=1.0)])  # fmt: skip
    assert paid("repeat", asked) == [0.0, None, -0.9, 0.0, -1.0]
    assert paid("repeat(threshold=0.5)", asked) == [0.0, None, -0.9, -0.7, -1.0]
    assert paid("repeat(of='results', threshold=0.5)", asked) == [0.0, None, -0.5, -1.0, -1.0]


def test_every_call_has_its_price_and_its_sum_is_paid():
    played = told("cost", [1, 1, 0, None])
    assert paid("cost", played) == [-1.0, -1.0, 0.0, None]
    [scored] = bind(parse("outcome + 0.01 * cost"), {"cost"}).score([played])
    assert scored.total == pytest.approx(-0.02)


@unhurried
@given(st.lists(st.floats(0, 1), min_size=1, max_size=9), st.floats(0.01, 1))
def test_penalties_never_pay_for_more_turns(shares, threshold):
    values = paid(f"repeat(threshold={threshold!r})", told("repeat", shares))
    assert all(-1 <= value <= 0 for value in values)


@pytest.mark.parametrize("share", [-0.1, 1.5])
def test_a_share_is_a_share(share):
    with pytest.raises(RewardError, match="give a share, 0 to 1"):
        paid("repeat", told("repeat", [share]))
    with pytest.raises(RewardError, match="a cost is at least 0"):
        paid("cost", told("cost", [-1]))
    with pytest.raises(RewardError, match="threshold is"):
        parse("repeat(threshold=0)")


def test_citations_are_set_against_what_the_answer_rests_on():
    def value(cites, relevant=("a", "b")):
        turns = [turn(), turn() if cites is None else turn(cites=cites)]
        return paid("citation", episode(turns, start={"relevant": relevant}))

    assert value(["a", "b"]) == [None, 1.0]
    assert value(["b", "b"]) == [None, pytest.approx(2 / 3)]
    assert value(["a", "b", "c", "d"]) == [None, pytest.approx(2 / 3)]
    assert value([]) == value(["x"]) == value(None) == [None, 0.0]
    assert value(["a"], ()) == [None, None]
    assert value(["a"], {"a": 2, "b": 0}) == [None, 1.0]  # of grade 0: not relevant
    assert parse("citation").stage is Stage.FINISHED


@pytest.mark.parametrize("wrong", [None, 3, "ab", [["a"]], {"a"}])
def test_citations_that_are_no_list_of_ids_are_an_error_that_names_fact_and_turn(wrong):
    with pytest.raises(RewardError, match=r"'relevant' of turn 1 .* is absent"):
        paid("citation", episode([turn()]))
    with pytest.raises(RewardError, match=r"citation: fact 'cites' of turn 1 .*: give a list"):
        paid("citation", episode([turn(cites=wrong)], start={"relevant": ["a"]}))
    with pytest.raises(RewardError, match=r"citation: fact 'relevant' of turn 1 .*: give a list"):
        paid("citation", episode([turn(cites=["a"])], start={"relevant": wrong}))


def test_only_what_was_not_shown_before_is_ranked():
    seen = told("shown", [["a", "x"], ["a", "x"], None, ["x", "b"], ["a", "b"]],
                start={"relevant": ["a", "b"]})  # fmt: skip
    first = 1 / (1 + 1 / math.log2(3))
    values = paid("ndcg(unseen=True)", seen)
    assert values[2] is None
    assert [values[i] for i in (0, 1, 3, 4)] == pytest.approx([first, 0.0, 1 / math.log2(3), 0.0])
    assert paid("ndcg", seen)[1] == pytest.approx(first)  # as it is: the repeat is paid again


@unhurried
@given(st.lists(st.lists(st.sampled_from("abcxyz"), max_size=4), min_size=1, max_size=5))
def test_ranks_of_what_is_new_are_paid_at_most_once_for_each(shown):
    values = paid("ndcg(unseen=True)", told("shown", shown, start={"relevant": ["a", "b", "c"]}))
    new = set()
    for ids, value in zip(shown, values, strict=True):
        assert 0.0 <= value <= 1.0
        assert (value > 0) == bool(set(ids) & set("abc") - new)
        new |= set(ids)


def test_where_nothing_is_relevant_unseen_ranks_have_no_value():
    assert paid("ndcg(unseen=True)", told("shown", [["a"]], start={"relevant": []})) == [None]
    with pytest.raises(RewardError, match="unseen is True"):
        parse("ndcg(of='episode', unseen=True)")


# --------------------------------------------------------------------------------------- presets


def test_evidence_is_worth_less_than_the_answer_and_repeats_nothing():
    shown = searched([0], [1], [], [], [2])
    provided = {"evidence", "evidence_found"}
    [scored] = bind(parse("search-evidence"), provided).score([shown])
    assert scored.total == pytest.approx(0.2)
    assert scored.per_turn[2:4] == pytest.approx([0, 0])
    [right] = bind(parse("search-evidence"), provided).score([searched(None, score=1.0)])
    assert right.total == 1.0
