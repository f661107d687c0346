"""Attribution by a head on a language model: a tiny one, in process and from a folder."""

import json
import sys
from dataclasses import replace

import numpy as np
import pytest
from causal import smollm2, tiny

from agentgym.errors import RegistryError, RewardError
from agentgym.policy.causal_lm import CausalLM
from agentgym.policy.transformers import TransformersPolicy
from agentgym.prompt import Conversation
from agentgym.rewards import Stage, bind, parse
from agentgym.rewards.attribution import ProgressEstimator, Spa, _load
from agentgym.rewards.attribution_hf import LanguageModelEstimator, _model_at, hidden_states
from agentgym.types import Completion, EpisodeKey, Outcome, Sampling, Task, Trajectory, Turn

PLANS = [  # the lamp decides, wherever it comes
    (["open the door", "take the lamp", "wait"], 1.0),
    (["wait", "open the door", "wait"], 0.0),
    (["take the lamp", "open the door"], 1.0),
    (["open the door", "wait"], 0.0),
    (["wait", "wait", "take the lamp"], 1.0),
    (["wait"], 0.0),
    (["open the door", "open the door", "wait", "wait"], 0.0),
    (["wait", "take the lamp", "wait", "open the door"], 1.0),
]


def episode(actions, score, sample=0):
    turns = [Turn("A hall.", Completion(action), action, None, 0.0, {}) for action in actions]
    outcome = None if score is None else Outcome(score, score == 1.0)
    return Trajectory(EpisodeKey("e", "t", 0, sample), Task("t"), turns, outcome=outcome)


def played():
    return [episode(actions, score, i) for i, (actions, score) in enumerate(PLANS)]


def recorded(lm, actions, *, ids=lambda ids: np.array(ids, np.int32)):
    """An episode with the tokens an engine would tell, by the model's chat template."""
    conversation, turns, seen, before = Conversation("You are in a house."), [], [], ""
    for action in actions:
        conversation.observe("A hall.")
        text = lm.render(conversation.messages)
        seen += lm.tokenize(text[len(before) :])
        said = Completion(action, prompt_ids=ids(seen), completion_ids=ids(lm.tokenize(action)))
        seen, before = [*seen, *lm.tokenize(action)], text + action
        conversation.answer(said)
        turns.append(Turn("A hall.", said, action, None, 0.0, {}))
    return Trajectory(EpisodeKey("e", "t", 0), Task("t"), turns)


def states_one_by_one(lm, sequences):
    """float64[T, H]: of the last token of each, by a pass of its own."""
    import torch

    with torch.inference_mode():
        told = [lm.model(torch.tensor([list(ids)]), output_hidden_states=True) for ids in sequences]
    return np.array([each.hidden_states[-1][0, -1].double().numpy() for each in told])


@pytest.fixture(scope="module")
def head():
    return LanguageModelEstimator.fit(played(), model=tiny(), ridge=0.1)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("models") / "tiny"
    tiny().model.save_pretrained(path)
    tiny().tokenizer.save_pretrained(path)
    return path


@pytest.fixture
def file(folder, tmp_path):
    path = tmp_path / "head.json"
    LanguageModelEstimator.fit(played(), model=folder, ridge=0.1).save(path)
    return path


# ------------------------------------------------------------------------------------- credit


def test_the_turn_whose_text_decides_is_credited_most(head):
    assert head.loss(played()) < 0.01
    for each in played():
        credit = head.predict(each)
        assert credit.sum() == pytest.approx(each.outcome.score, abs=0.2)
        if each.outcome.passed:
            assert each.turns[int(credit.argmax())].action == "take the lamp"
    assert (head.episodes, head.successes, head.features) == (8, 4, ("hidden",))


def test_without_standardising_it_is_fitted_too():
    plain = LanguageModelEstimator.fit(played(), model=tiny(), ridge=1e-3, standardize=False)
    assert plain.loss(played()) < 0.01


def test_no_bit_of_a_turns_credit_depends_on_later_turns(head):
    actions = ["wait", "take the lamp", "open the door", "wait"]
    for whole in (episode(actions, None), recorded(tiny(), actions)):
        credit = head.predict(whole)
        for turns in range(5):
            beginning = replace(whole, turns=whole.turns[:turns])
            assert head.predict(beginning).tolist() == credit[:turns].tolist()


def test_the_same_episodes_in_any_order_give_the_same_file(head, tmp_path):
    again = LanguageModelEstimator.fit(
        [*played()[::-1], episode(["wait"], None, 9)], model=tiny(), ridge=0.1
    )
    assert head.save(tmp_path / "a.json") == again.save(tmp_path / "b.json")
    assert head.predict(played()[0]).tolist() == again.predict(played()[0]).tolist()


# --------------------------------------------------------------------------------- what is read


def test_the_state_is_that_of_one_pass_over_what_the_engine_saw():
    lm = tiny()
    played = recorded(lm, ["wait", "take the lamp", "wait"])
    seen = [[*t.completion.prompt_ids, *t.completion.completion_ids] for t in played.turns]
    found = hidden_states(lm, played, 2048)
    assert found == pytest.approx(states_one_by_one(lm, seen), abs=1e-4)
    assert found.shape == (3, 16)


def test_no_token_is_computed_twice_while_prompts_extend_one_another():
    lm, computed = tiny(), []
    embedding = lm.model.get_input_embeddings()
    counting = embedding.register_forward_pre_hook(lambda _, ids: computed.append(ids[0].numel()))
    played = recorded(lm, ["wait", "take the lamp", "wait"])
    try:
        hidden_states(lm, played, 2048)
    finally:
        counting.remove()
    last = played.turns[-1].completion
    assert sum(computed) == len(last.prompt_ids) + len(last.completion_ids)
    assert len(computed) == 3


async def test_tokens_that_a_policy_sampled_are_read_as_they_are():
    policy = TransformersPolicy(tiny())
    conversation, turns = Conversation(), []
    for _ in range(3):
        conversation.observe("A hall.")
        said = await policy.act(
            conversation.messages, sampling=Sampling(max_tokens=4, seed=1), session="s"
        )
        conversation.answer(said)
        turns.append(Turn("A hall.", said, said.text, None, 0.0, {}))
    await policy.aclose()
    seen = [[*turn.completion.prompt_ids, *turn.completion.completion_ids] for turn in turns]
    played = Trajectory(EpisodeKey("e", "t", 0), Task("t"), turns)
    expected = states_one_by_one(tiny(), seen)
    assert hidden_states(tiny(), played, 2048) == pytest.approx(expected, abs=1e-4)


def test_tokens_of_another_model_are_not_read_and_the_text_is():
    lm, actions = tiny(), ["wait", "take the lamp"]
    expected = hidden_states(lm, episode(actions, None), 2048)
    others = [lambda ids: np.array(ids, np.int32) + 7, lambda ids: np.array(ids, np.int32) + 10**6]
    for ids in (*others, lambda ids: None):
        found = hidden_states(lm, recorded(lm, actions, ids=ids), 2048)
        assert found.tolist() == expected.tolist()
    text = ["A hall.\n\nwait", "A hall.\n\nwait\n\nA hall.\n\ntake the lamp"]
    assert expected == pytest.approx(states_one_by_one(lm, map(lm.tokenize, text)), abs=1e-4)


def test_prompts_that_do_not_extend_one_another_are_read_each_by_itself():
    lm = tiny()
    turns = [recorded(lm, [action]).turns[0] for action in ("wait", "take the lamp", "wait")]
    found = hidden_states(lm, Trajectory(EpisodeKey("e", "t", 0), Task("t"), turns), 2048)
    assert found[0].tolist() == found[2].tolist() != found[1].tolist()


def test_of_what_is_longer_than_the_context_the_end_is_read():
    lm = tiny()
    played = recorded(lm, ["wait", "take the lamp", "wait", "open the door"])
    seen = [[*t.completion.prompt_ids, *t.completion.completion_ids] for t in played.turns]
    context = len(seen[1]) + 2
    found = hidden_states(lm, played, context)
    expected = states_one_by_one(lm, [ids[-context:] for ids in seen])
    assert found == pytest.approx(expected, abs=1e-4)
    fitted = LanguageModelEstimator.fit([episode(["wait"], 1.0)], model=lm, context=10**9)
    assert fitted.context == 2048  # what the model can


def test_a_state_that_is_no_number_is_refused():
    import torch

    weight = tiny().model.model.norm.weight
    before = weight.detach().clone()
    with torch.no_grad():
        weight[0] = float("nan")
    try:
        with pytest.raises(RewardError, match=r"turn 1 of episode t#0\.0 is not finite"):
            hidden_states(tiny(), episode(["wait"], None), 2048)
    finally:
        with torch.no_grad():
            weight.copy_(before)


# --------------------------------------------------------------------------------------- files


def test_a_file_gives_back_the_same_head_to_the_bit(head, tmp_path):
    path = tmp_path / "head.json"
    loaded = LanguageModelEstimator.load(path, head.save(path))
    assert loaded.save(tmp_path / "again.json") == head.save(path)
    for each in played():
        assert loaded.using(tiny()).predict(each).tolist() == head.predict(each).tolist()
    with pytest.raises(RewardError, match="is not the estimator that was meant"):
        LanguageModelEstimator.load(path, "0" * 64)
    with pytest.raises(RewardError, match=r"'tiny-0' .* cannot be opened .*\.using\(lm\)"):
        loaded.predict(played()[0])  # the file cannot say where a model in memory is


def test_the_signal_takes_a_head_and_loads_its_model_when_it_is_asked(file):
    _model_at.cache_clear()
    reward = parse(f"spa({str(file)!r})")
    assert parse(str(reward)) == reward
    assert reward.stage is Stage.CAUSAL
    assert _model_at.cache_info().misses == 0
    done = episode(["wait", "take the lamp"], 1.0)
    (found,) = bind(reward, set()).score([done])
    assert found.per_turn[1] > found.per_turn[0] + 0.5
    (shifted,) = bind(Spa(str(file), calibrate="shift"), set()).score([done])
    assert shifted.total == pytest.approx(1.0, abs=1e-12)
    assert _model_at.cache_info().misses == 1
    ridge = file.with_name("ridge.json")
    ProgressEstimator.fit(played()).save(ridge)
    assert type(Spa(str(ridge)).model) is ProgressEstimator


def test_a_head_is_of_one_version_of_its_model(head, file):
    lm = tiny()
    lm.weight_version = "tiny-1"
    try:
        with pytest.raises(RewardError, match=r"fitted on the model 'tiny-0', .* 'tiny-1': give"):
            head.predict(played()[0])
    finally:
        lm.weight_version = "tiny-0"
    document = json.loads(file.read_text())
    document["weight_version"] = "tiny:0123456789abcdef"
    file.write_text(json.dumps(document))
    with pytest.raises(RewardError, match=r"fitted on the model 'tiny:0123456789abcdef'"):
        Spa(str(file)).values(played()[0])


def test_a_model_that_has_gone_is_named_and_may_be_given(file, folder, tmp_path):
    document = json.loads(file.read_text())
    document["model"] = str(tmp_path / "gone")
    file.write_text(json.dumps(document))
    loaded = LanguageModelEstimator.load(file)
    with pytest.raises(RewardError, match=r"cannot be opened \('.*gone' is neither"):
        loaded.predict(played()[0])
    assert loaded.using(CausalLM(folder)).loss(played()) < 0.01


def test_a_damaged_file_is_refused(file, tmp_path):
    document = json.loads(file.read_text())
    broken = tmp_path / "broken.json"
    wrong = [
        {**document, "weights": [[1.0]]},
        {**document, "weights": ["one"]},
        {**document, "bias": None},
        {**document, "features": ["action"]},
        {name: value for name, value in document.items() if name != "weight_version"},
        {"kind": document["kind"]},
        {"kind": "other"},
        [],
    ]
    for each in wrong:
        broken.write_text(json.dumps(each))
        with pytest.raises(RewardError, match=r"is no head .* LanguageModelEstimator\.save wrote"):
            LanguageModelEstimator.load(broken)
    broken.write_text(json.dumps(wrong[0]))
    with pytest.raises(RewardError, match="is no head"):
        Spa(str(broken))


# ------------------------------------------------------------------------------------- refusals


def test_a_head_that_knows_failures_only_is_refused(tmp_path):
    path = tmp_path / "failures.json"
    failures = [episode(["wait", "look"], 0.0, i) for i in range(3)]
    assert LanguageModelEstimator.fit(failures, model=tiny()).save(path)
    with pytest.raises(RewardError, match=r"credits nothing .* 3 episodes of which 0 had"):
        Spa(str(path))


def test_nothing_to_fit_to_and_wrong_numbers_are_refused():
    with pytest.raises(RewardError, match="no scored episode"):
        LanguageModelEstimator.fit([episode(["a"], None), episode([], 1.0)], model=tiny())
    for wrong, says in ((dict(ridge=0.0), "above 0"), (dict(context=0), "at least 1")):
        with pytest.raises(RewardError, match=says):
            LanguageModelEstimator.fit(played(), model=tiny(), **wrong)


@pytest.mark.parametrize("part", ["torch", "transformers"])
def test_what_is_not_installed_is_named_with_the_remedy(monkeypatch, file, part):
    _model_at.cache_clear()
    _load.cache_clear()
    monkeypatch.setitem(sys.modules, part, None)
    remedy = rf"^{part} is not installed: pip install 'agentgym-env\[transformers\]'"
    with pytest.raises(RegistryError, match=remedy):
        LanguageModelEstimator.fit(played())
    spa = Spa(str(file))  # reading takes neither
    with pytest.raises(RegistryError, match=remedy):
        spa.values(played()[0])


# ---------------------------------------------------------------------------------- real model


@pytest.mark.slow
def test_the_real_model_knows_a_paraphrase():
    fitted = LanguageModelEstimator.fit(played(), model=smollm2(), ridge=100.0)
    credit = fitted.predict(episode(["wait", "grab the lamp", "close the door"], None))
    assert credit.argmax() == 1
