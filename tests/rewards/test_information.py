"""What a turn was worth knowing: IGPO's and InfoPO's signals, by a table and by a real model."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentgym.errors import RewardError
from agentgym.policy.llamacpp import LlamaCppPolicy
from agentgym.prompt import Conversation
from agentgym.rewards import Batch, Form, Stage, bind, parse
from agentgym.rewards.information import MASK, FeedbackGain, InfoGain
from agentgym.rewards.scorer import TableScorer
from agentgym.rewards.scorer_llamacpp import LlamaScorer
from agentgym.types import Completion, EpisodeKey, Outcome, Sampling, Task, Trajectory, Turn


def episode(feedback, scorer=None, score=0.0, sample=0, task="t", **data):
    """`feedback` is what each turn saw; replies are `say 1`, `say 2`, ...

    As an engine would, with `scorer` as its tokenizer: each prompt is all that was said before.
    """
    turns, seen = [], ()
    for i, observation in enumerate(feedback):
        completion = Completion(f" say {i + 1} .")
        if scorer is not None:
            seen += scorer.tokenize(f" <user> {observation} <agent>")
            said = scorer.tokenize(completion.text)
            completion.prompt_ids = np.array(seen, dtype=np.int32)
            completion.completion_ids = np.array(said, dtype=np.int32)
            seen += said
        turns.append(Turn(observation, completion, completion.text, None, 0.0, {}))
    outcome = Outcome(score, score == 1.0)
    return Trajectory(EpisodeKey("e", task, 0, sample), Task(task, data=data), turns, "", outcome)


def likelihoods(by_turns):
    """A table: the log-probability of one word, by how many turns were seen and which task."""

    def table(context, target):
        (task,) = [name for name in by_turns if name in context]
        return [by_turns[task][context.count("<user>") - 1]] * len(target.split())

    return TableScorer(table)


def values(signal, trajectories, scorer):
    found = signal.on(Batch(trajectories, scorer))
    offsets = Batch(trajectories).offsets
    listed = [
        float(value) if there else None
        for value, there in zip(found.values, found.available, strict=True)
    ]
    return [listed[a:b] for a, b in itertools.pairwise(offsets)]


# ------------------------------------------------------------------------------------- IGPO

LP = {"taskA": [-3, -1.2, -1.5, -0.2], "taskB": [-3, -2.5, -2.4]}


def igpo_group(scorer):
    return [
        episode(["taskA", "x", "y", "z"], scorer, 0.8, 0, answer="gold"),
        episode(["taskB", "x", "y"], scorer, 0.0, 1, answer="gold"),
    ]


def test_the_gain_is_what_the_answers_likelihood_grew_by():
    scorer = likelihoods(LP)
    a, b = values(InfoGain(), igpo_group(scorer), scorer)
    assert a == [*map(pytest.approx, [1.8, -0.3, 1.3]), None]
    assert b == [*map(pytest.approx, [0.5, 0.1]), None]
    a, _ = values(InfoGain(kind="prob"), igpo_group(scorer), scorer)
    assert a[:3] == pytest.approx([0.251407, -0.078064, 0.595601], abs=5e-7)
    assert sum(a[:3]) == pytest.approx(0.768944, abs=5e-7)


def test_the_preset_is_igpos_return():
    scorer = likelihoods(LP)
    (a, b) = bind(parse("igpo"), set(), scorer).score(igpo_group(scorer))
    assert a.per_turn == pytest.approx([1.986431, 0.532743, 1.80472, 1], abs=1e-5)  # eps 1e-6
    assert b.per_turn == pytest.approx([-1.98643, -1.752802, -1], abs=1e-5)


def test_a_joint_pool_is_one_sum_set_against_the_group():
    scorer = likelihoods(LP)
    bound = bind(parse("(info_gain + outcome).group(zscore(eps=0.0))"), set(), scorer)
    found = np.concatenate([each.per_turn for each in bound.score(igpo_group(scorer))])
    pool = np.array([1.8, -0.3, 1.3, 0.8, 0.5, 0.1, 0.0])
    assert found == pytest.approx((pool - pool.mean()) / pool.std())


def test_all_trajectories_are_asked_about_in_one_call():
    calls = []

    class Counting(TableScorer):
        def logprobs(self, requests):
            calls.append(len(requests))
            return super().logprobs(requests)

    scorer = Counting(likelihoods(LP).table)
    values(InfoGain(), igpo_group(scorer), scorer)
    assert calls == [7]


def test_the_likeliest_reference_counts_or_the_first():
    table = TableScorer(lambda _, target: [-1.0] if target == "b" else [-4.0])
    table.table = lambda context, target: [
        -1.0 if target == "b" and "clue" in context else -4.0 if target == "b" else -3.0
    ]
    played = [episode(["q", "clue"], table, answers=["a", "b"])]
    assert values(InfoGain(), played, table) == [[2.0, None]]
    assert values(InfoGain(reference="first"), played, table) == [[0.0, None]]


def test_the_answer_is_asked_for_after_the_prompt_and_the_template():
    asked = []
    scorer = TableScorer(lambda context, target: asked.append((context, target)) or [-1.0])
    played = [episode(["q", "clue"], scorer, answer="gold")]
    values(InfoGain(prefix=" It is"), played, scorer)
    assert sorted(asked) == [
        (" <user> q <agent> It is", "gold"),
        (" <user> q <agent> say 1 . <user> clue <agent> It is", "gold"),
    ]
    asked.clear()
    values(InfoGain(prefix="", history="text"), [episode(["q", "clue"], answer="gold")], scorer)
    assert sorted(asked) == [("q\n\n", "gold"), ("q\n\n say 1 .\n\nclue\n\n", "gold")]


def test_an_episode_of_one_turn_has_no_gain_and_needs_no_reference():
    scorer = TableScorer({})
    assert values(InfoGain(), [episode(["q"], scorer)], scorer) == [[None]]


gains = st.lists(st.floats(-8, 0, allow_nan=False), min_size=1, max_size=6)


@given(gains)
def test_gains_sum_to_what_was_gained_in_all(logprobs):
    scorer = likelihoods({"taskA": logprobs})
    played = [episode(["taskA", *"x" * (len(logprobs) - 1)], scorer, answer="gold")]
    for kind, last, first in (
        ("logprob", logprobs[-1], logprobs[0]),
        ("prob", np.exp(logprobs[-1]), np.exp(logprobs[0])),
    ):
        (found,) = values(InfoGain(kind=kind), played, scorer)
        assert sum(found[:-1]) == pytest.approx(last - first, abs=1e-9)
        assert found[-1] is None
        assert kind == "logprob" or all(-1 <= each <= 1 for each in found[:-1])


@given(gains, st.integers(0, 5))
def test_feedback_that_leaves_the_scorer_as_it_was_gains_exactly_nothing(logprobs, place):
    place = min(place, len(logprobs) - 1)
    logprobs = [*logprobs[: place + 1], *logprobs[place:]]
    scorer = likelihoods({"taskA": logprobs})
    played = [episode(["taskA", *"x" * (len(logprobs) - 1)], scorer, answer="gold")]
    assert values(InfoGain(), played, scorer)[0][place] == 0.0


# ----------------------------------------------------------------------------------- InfoPO

FULL, MASKED = [-0.5, -0.2, -1.0, -0.3], [-1.5, -0.4, -1.1, -0.3]


def test_feedback_is_worth_what_it_makes_the_next_action_likelier():
    scorer = TableScorer(lambda context, target: FULL if "the key is here" in context else MASKED)
    played = episode(["q", "the key is here"], scorer)
    said = scorer.tokenize(" go and take it")
    played.turns[1].completion.completion_ids = np.array(said, dtype=np.int32)
    assert values(FeedbackGain(), [played], scorer) == [[pytest.approx(0.325), None]]


def test_the_mask_takes_the_place_of_the_feedback_alone_and_is_as_long():
    asked = []
    scorer = TableScorer(lambda context, target: asked.append(context) or [-1.0] * 3)
    for feedback, masked in {
        "one two three": "No information found.",
        "one two": "No information",
        "one two three four five": "No information found. found. found.",
    }.items():
        asked.clear()
        values(FeedbackGain(mask=" " + MASK), [episode(["q", feedback], scorer)], scorer)
        before = " <user> q <agent> say 1 . <user> "
        assert sorted(asked) == sorted([f"{before}{feedback} <agent>", f"{before}{masked} <agent>"])


def test_in_text_the_mask_is_as_long_as_well():
    asked = []
    scorer = TableScorer(lambda context, target: asked.append(context) or [-1.0] * 3)
    values(FeedbackGain(history="text"), [episode(["q", "one two"])], scorer)
    assert sorted(asked) == ["q\n\n say 1 .\n\nNo information\n\n", "q\n\n say 1 .\n\none two\n\n"]


def test_prompts_that_show_less_than_before_are_masked_where_the_feedback_is():
    asked = []
    scorer = TableScorer(lambda context, target: asked.append(context) or [-1.0] * 3)
    played = episode(["q", "one two"], scorer)
    cut = scorer.tokenize(" <user> q <user> one two <agent>")  # the reply is not shown again
    played.turns[1].completion.prompt_ids = np.array(cut, dtype=np.int32)
    values(FeedbackGain(mask=" " + MASK), [played], scorer)
    assert " <user> q <user> No information <agent>" in asked


def test_feedback_that_is_the_mask_is_worth_exactly_nothing_and_no_feedback_has_no_worth():
    scorer = TableScorer(lambda context, target: [-float(len(context))] * 3)
    played = episode(["q", MASK, "  ", "else", {"image": None}], scorer)
    (found,) = values(FeedbackGain(), [played], scorer)
    assert found[0] == 0.0
    assert found[1] is None
    assert found[2] is not None
    assert found[3:] == [None, None]


def test_the_preset_speaks_up_in_dead_groups_only():
    scorer = TableScorer(
        lambda context, target: (FULL if "the key is here" in context else MASKED)[:3]
    )
    for scores, factor in (([0.0, 0.0], 0.5), ([1.0, 0.0], 4.539787e-5)):
        group = [
            episode(["q", "the key is here", "x"], scorer, scores[0], 0),
            episode(["q", "no", "x"], scorer, scores[1], 1),
        ]
        first = values(FeedbackGain(), group, scorer)
        pool = np.array([each for one in first for each in one if each is not None])
        z = (pool - pool.mean()) / (pool.std() + 1e-6)
        found = bind(parse("infopo"), set(), scorer).score(group)
        outcome = np.array([1, -1]) / (1 + 2e-6) if scores[0] else np.zeros(2)
        assert found[0].per_turn == pytest.approx(
            outcome[0] + 0.1 * factor * np.array([z[0], z[1], 0]), abs=1e-9
        )
        assert found[1].per_turn[2] == pytest.approx(outcome[1])


# ----------------------------------------------------------------------------------- errors


def test_what_is_missing_is_named_with_the_signal_the_turn_and_the_remedy():
    scorer = likelihoods(LP)
    plain = episode(["taskA", "x"], answer="gold")
    with pytest.raises(RewardError, match=r"info_gain: turn 1 of episode t#0.0 .*history='text'"):
        values(InfoGain(), [plain], scorer)
    with pytest.raises(RewardError, match=r"feedback_gain: turn 1 .*history='text'"):
        values(FeedbackGain(), [plain], scorer)
    played = episode(["taskA", "x", "y"], scorer, answer="gold")
    played.turns[2].completion.prompt_ids = None
    with pytest.raises(RewardError, match=r"info_gain: turn 3 of episode t#0.0 has no prompt"):
        values(InfoGain(), [played], scorer)
    played = episode(["taskA", "x"], scorer, answer="gold")
    played.turns[1].completion.completion_ids = None
    with pytest.raises(RewardError, match=r"feedback_gain: turn 2 .* has no completion tokens"):
        values(FeedbackGain(), [played], scorer)
    with pytest.raises(RewardError, match="info_gain asks a model: give a scorer"):
        bind(parse("info_gain"), set())
    with pytest.raises(RewardError, match="info_gain asks a model: give a scorer"):
        values(InfoGain(), [played], None)


@pytest.mark.parametrize(
    "data", [{}, {"answer": ""}, {"answers": []}, {"answer": 3 * [1]}, {"answer": 42}]
)
def test_a_task_without_reference_is_refused(data):
    scorer = likelihoods(LP)
    with pytest.raises(RewardError, match="info_gain: task 't' has no reference answer"):
        values(InfoGain(), [episode(["taskA", "x"], scorer, **data)], scorer)


def test_a_scorer_that_comes_back_short_is_named_with_the_turn():
    scorer = TableScorer(lambda context, target: [-1.0] if "clue" in context else [-1.0, -1.0])
    with pytest.raises(RewardError, match=r"info_gain: turn 2 of episode t#0.0: .* 1 log-prob"):
        values(InfoGain(), [episode(["q", "clue"], scorer, answer="New York")], scorer)


def test_a_scorer_that_answers_no_numbers_is_refused():
    class Talkative(TableScorer):
        def logprobs(self, requests):
            return ["likely"] * len(requests)

    scorer = Talkative(lambda context, target: [-1.0])
    with pytest.raises(RewardError, match="info_gain: the scorer answered other things than log-"):
        values(InfoGain(), [episode(["q", "clue"], scorer, answer="New York")], scorer)


def test_tokens_of_another_model_are_noticed():
    scorer, other = (TableScorer(lambda context, target: [-1.0]) for _ in range(2))
    played = [episode(["some question", "x"], scorer, answer="gold")]
    with pytest.raises(RewardError, match=r"info_gain: turn 1 .* make ids with its tokenize"):
        values(InfoGain(), played, other)
    other.tokenize("a b c d e f g h i j k l")
    with pytest.raises(RewardError, match=r"turn 1 .* do not read 'some question'.* that played"):
        values(InfoGain(), played, other)


def test_feedback_that_is_not_in_the_prompt_is_named():
    scorer = TableScorer(lambda context, target: [-1.0] * 3)
    played = episode(["q", "clue"], scorer)
    played.turns[1].observation = "something else"
    with pytest.raises(RewardError, match=r"feedback_gain: turn 1 .*'something else' is not in"):
        values(FeedbackGain(), [played], scorer)


@pytest.mark.parametrize(
    "wrong",
    [
        "info_gain(kind='nats')",
        "info_gain(reference='best')",
        "info_gain(history='all')",
        "feedback_gain(mask=' ')",
    ],
)
def test_what_cannot_be_asked_is_refused(wrong):
    with pytest.raises(RewardError, match=r"info_gain: |feedback_gain: "):
        parse(wrong)


def test_neither_is_causal_and_only_gains_of_the_answer_add_up():
    assert InfoGain().stage is Stage.FINISHED
    assert FeedbackGain().stage is Stage.FINISHED
    assert InfoGain().form is Form.FULL
    assert FeedbackGain().form is Form.TURNS
    assert parse(str(InfoGain(kind="prob", prefix="A:\n"))) == InfoGain(kind="prob", prefix="A:\n")


# ------------------------------------------------------------------------------- real model

FACTS = [  # question, answer, the document that holds it, one that does not
    (
        "Who founded the Velden Observatory?",
        "Lutz Marrow",
        "The Velden Observatory was founded in 1911 by Lutz Marrow.",
        "The Velden Observatory stands on a hill and has two domes.",
    ),
    (
        "Who discovered the comet Aldane?",
        "Tom Okafor",
        "The comet Aldane was discovered by Tom Okafor in the winter of 1954.",
        "The comet Aldane returns every 71 years and has a short tail.",
    ),
    (
        "What is the capital of the island of Brevik?",
        "Sandholm",
        "The capital of the island of Brevik is Sandholm, a fishing port.",
        "The island of Brevik has 4000 inhabitants and mild winters.",
    ),
    (
        "Which metal is mined at Korrin?",
        "palladium",
        "The mine at Korrin produces palladium, which is shipped by rail.",
        "The mine at Korrin is 900 metres deep and employs 300 people.",
    ),
    (
        "Who wrote the novel The Glass Orchard?",
        "Mira Tannenbaum",
        "The Glass Orchard is a novel written by Mira Tannenbaum.",
        "The Glass Orchard is a novel in three parts, set in a village.",
    ),
    (
        "In which year did the Harrow Bridge open?",
        "1987",
        "The Harrow Bridge opened in 1987 after six years of work.",
        "The Harrow Bridge is made of steel and is painted green.",
    ),
]


async def play(policy, question, answer, document, sample):
    conversation, turns = Conversation("Answer the question. You may search first."), []
    for observation in (question, document):
        conversation.observe(observation)
        said = await policy.act(
            conversation.messages,
            sampling=Sampling(max_tokens=12, seed=sample),
            session=f"{question}{sample}",
        )
        conversation.answer(said)
        turns.append(Turn(observation, said, said.text, None, 0.0, {}))
    key = EpisodeKey("e", question, 0, sample)
    return Trajectory(key, Task(question, data={"answer": answer}), turns, "", Outcome(0.0, False))


async def test_a_real_model_gains_more_from_the_document_that_holds_the_answer(model_path):
    policy = LlamaCppPolicy(model_path, context=512, parallel=1)
    try:
        played = [
            await play(policy, question, answer, document, sample)
            for question, answer, right, wrong in FACTS
            for sample, document in enumerate((right, wrong))
        ]
    finally:
        await policy.aclose()
    with LlamaScorer(model_path, context=640) as scorer:
        for signal in (InfoGain(), InfoGain(kind="prob")):
            found = [each[0] for each in values(signal, played, scorer)]
            assert all(right > wrong for right, wrong in zip(found[::2], found[1::2], strict=True))
            assert min(found[::2]) > 0
        asked = scorer.asked
        again = [each[0] for each in values(InfoGain(kind="prob"), played, scorer)]
        assert again == found
        assert scorer.asked == asked  # and every answer was kept
        gains = [each[0] for each in values(FeedbackGain(), played, scorer)]
        assert all(np.isfinite(gains))
        assert np.mean(gains) > 0  # what was said next was said of the document
