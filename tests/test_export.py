"""Recorded episodes as demonstrations, held against what a policy was shown as it played."""

from __future__ import annotations

import asyncio
import copy
import importlib.util
import json
import os
import sys
from contextlib import aclosing, closing
from pathlib import Path

import counting  # noqa: F401 - registers the ids
import numpy as np
import pytest
import worlds  # registers the ids

import agentgym
from agentgym import Argument, Grammar, InvalidAction, Outcome, Reply, Verb, cli, registry
from agentgym.actions import Action
from agentgym.errors import ConfigError, ContextOverflow, RegistryError, StoreError
from agentgym.evaluate import Plan, Run
from agentgym.export import Choice, Demonstrations, export_messages, messages_of
from agentgym.policy.basic import OraclePolicy, RandomPolicy, ScriptedPolicy
from agentgym.rollout import play
from agentgym.store import Store
from agentgym.types import Completion, Stop, ToolCall

TESTS = Path(__file__).parent
GUESS = TESTS.parent / "examples" / "guess_number.py"
GUESS_ID = registry.load_file(GUESS)
COUNT = "tests/Count-v0"
COUNTER = "counting/Counter-v0"
SEEDS = tuple(range(6))


class Rooms(agentgym.Env):
    """Two rooms, up to two moves a turn, of verbs with all sorts of arguments."""

    instructions = "Find the way out."
    grammar = Grammar(
        Verb("go", "Walk", Argument("where"), Argument("times", int, default=1)),
        Verb("wait", "Do nothing"),
        max_calls=2,
    )
    max_turns = 6

    def begin(self, task):
        self.said = 0
        return "A hall."

    def respond(self, action):
        self.said += 1
        if action.verb == "wait":
            raise InvalidAction("inadmissible", "There is no time.")
        if self.said == 4:
            return Reply("Out.", Outcome(1.0, True, "out"))
        return Reply(f"You said {len(action.calls)} of {action!s}")

    def admissible(self):
        return ['go("<east>")', 'go("east", times=2)\ngo("a\\"b")', "wait()"]


class Looking(agentgym.Env):
    """Shows pictures."""

    max_turns = 2

    def begin(self, task):
        return {"text": "Look.", "image": np.zeros((2, 2, 3), np.uint8)}

    def respond(self, action):
        return Reply({"text": "Again.", "image": np.ones((2, 2, 3), np.uint8)})


class Drifting(agentgym.Env):
    """Never begins the same twice."""

    starts = 0

    def begin(self, task):
        Drifting.starts += 1
        return f"Start {Drifting.starts}"

    def respond(self, action):
        return Reply("Over.", Outcome(1.0, True, "over"))


class Unprepared(agentgym.Env):
    """May be asked, but not begun."""

    instructions = "Do as you are told."

    def begin(self, task):
        if sys.modules[__name__].FORBIDDEN:
            raise AssertionError("it was reset")
        return "Go."

    def respond(self, action):
        return Reply("Done.", Outcome(1.0, True, "done"))


FORBIDDEN = False
for world in (Rooms, Looking, Drifting, Unprepared):
    agentgym.register(f"export/{world.__name__}-v0", world)


class Watched:
    """A policy that keeps what it is shown; `say` turns its actions into what a model says."""

    def __init__(self, policy, say=None):
        self.policy, self.say = policy, say
        self.wants = getattr(policy, "wants", "")
        self.seen = {}

    async def act(self, messages, *, session, **kwargs):
        seen = self.seen.setdefault(session.rpartition("@")[0], [])
        seen.append(copy.deepcopy(list(messages)))
        completion = await self.policy.act(messages, session=session, **kwargs)
        return completion if self.say is None else self.say(completion.text, len(seen) - 1)


def record(path, plan, policy):
    """Play a plan's episodes one after the other, with a policy of ours, into a run folder."""
    with closing(plan.make_env()) as env, Store.create(path, plan.manifest(env)) as store:
        for key in plan.keys(env):
            options = {"history": plan.history, "show_admissible": plan.show_admissible}
            sampling = plan.sampling._replace(seed=100 * key.seed)
            store.append(asyncio.run(play(env, policy, key, sampling=sampling, **options)))
    return Store.open(path)


def say_in(grammar):
    """What a model says in a grammar's dialect instead of a canonical action."""

    def say(action, turn):
        if grammar.dialect != "tools":
            return Completion(grammar.render(action))
        understood = grammar.parse(action)
        calls = understood.calls or [agentgym.actions.Call("act", {"command": action})]
        return Completion(
            "",
            tuple(
                ToolCall(
                    name,
                    json.dumps(grammar.verbs[name].told(given), ensure_ascii=False),
                    f"call_{turn}_{i}",
                )
                for i, (name, given) in enumerate(calls)
            ),
        )

    return say


def rows_of(store, **choice):
    return list(Demonstrations(store, Choice(**choice)))


def assert_as_shown(rows, seen):
    """The messages before each answer are those that the policy was given, and nothing follows."""
    assert len(rows) == len(seen)
    for row in rows:
        shown = seen[f"{row['task_id']}#{row['seed']}.{row['sample']}"]
        answers = [i for i, m in enumerate(row["messages"]) if m["role"] == "assistant"]
        assert [row["messages"][:i] for i in answers] == shown
        assert answers[-1] == len(row["messages"]) - 1
        assert row["turns"] == len(shown)


@pytest.fixture
def run(capsys, monkeypatch, tmp_path):
    """`agentgym …` in this process, in an empty folder."""
    monkeypatch.chdir(tmp_path)

    def call(*words):
        capsys.readouterr()
        code = cli.main([str(word) for word in words])
        return code, *capsys.readouterr()

    return call


def mixed(path):
    """A run of `Counter`: 2 passed, 1 failed after an invalid action, 1 failed, 2 unscored."""
    plan = Plan(COUNTER, "scripted", seeds=SEEDS, tasks=("to:5",))
    with closing(plan.make_env()) as env, Store.create(path, plan.manifest(env)) as store:
        for key in plan.keys(env):
            script = {1: ["jump", "submit"], 2: ["submit"]}.get(key.seed)
            policy = ScriptedPolicy(script) if script else OraclePolicy()
            trajectory = asyncio.run(play(env, policy, key))
            if key.seed > 3:
                trajectory.stop, trajectory.error = Stop.ERROR, "policy: gone"
                trajectory.outcome = Outcome(0.0, False, "unscored", available=False)
            store.append(trajectory)
    return Store.open(path)


# ---------------------------------------------------------------------------- the messages


@pytest.mark.parametrize("policy", [OraclePolicy, RandomPolicy])
@pytest.mark.parametrize("env", [GUESS_ID, COUNTER, COUNT, "counting/AsyncCounter-v0"])
def test_an_episode_is_exported_as_it_was_shown(tmp_path, env, policy):
    watched = Watched(policy())
    store = record(tmp_path / "run", Plan(env, "ours", seeds=SEEDS, group=2), watched)
    rows = rows_of(store)
    assert_as_shown(rows, watched.seen)
    assert any(len(row["messages"]) > 3 for row in rows)


@pytest.mark.parametrize(
    ("env", "dialect"),
    [
        *((GUESS_ID, dialect) for dialect in ("call", "tags", "json", "tools")),
        *((COUNTER, dialect) for dialect in ("text", "call", "tags", "json", "tools")),
        *(("export/Rooms-v0", dialect) for dialect in ("call", "tags", "json", "tools")),
    ],
)
def test_canonical_actions_are_exported_as_what_a_model_says(tmp_path, env, dialect):
    plan = Plan(env, "ours", seeds=SEEDS, env_args={"dialect": dialect})
    with closing(plan.make_env()) as made:
        model = Watched(RandomPolicy(), say_in(made.grammar))
        grammar = made.grammar
    spoken = record(tmp_path / "model", plan, model)
    canonical = record(tmp_path / "random", plan, RandomPolicy())
    assert_as_shown(rows_of(canonical), model.seen)
    assert rows_of(canonical) == rows_of(spoken)
    for row in rows_of(canonical):
        if dialect == "tools":
            assert json.loads(row["tools"]) == grammar.tools()
        else:
            assert "tools" not in row
            texts = [m["content"] for m in row["messages"] if m["role"] == "assistant"]
            turns = turns_of(canonical, row)
            assert [str(grammar.parse(text)) for text in texts] == [str(t.action) for t in turns]


def turns_of(store, row):
    (found,) = (t for t in store.episodes() if str(t.key) == f"{row['task_id']}#{row['seed']}.0")
    return found.turns


@pytest.mark.parametrize("dialect", ["call", "tags", "json", "tools"])
def test_another_dialect_is_what_a_run_in_it_would_have_been(tmp_path, dialect):
    plan = Plan("export/Rooms-v0", "ours", seeds=SEEDS, env_args={"dialect": dialect})
    with closing(plan.make_env()) as env:
        model = Watched(RandomPolicy(), say_in(env.grammar))
    record(tmp_path / "model", plan, model)
    store = record(tmp_path / "run", Plan("export/Rooms-v0", "random", seeds=SEEDS), RandomPolicy())
    assert_as_shown(rows_of(store, dialect=dialect), model.seen)


def test_what_a_model_said_is_kept_word_for_word(tmp_path):
    said = ["<think>low?</think>\nguess(1) it is", "guess(", "`guess(2)`", "", "guess(500)"]
    watched = Watched(ScriptedPolicy(said))
    rows = rows_of(record(tmp_path / "run", Plan(GUESS_ID, "ours"), watched))
    assert_as_shown(rows, watched.seen)
    answers = [m["content"] for m in rows[0]["messages"] if m["role"] == "assistant"]
    assert answers == [*said, "", ""]


def test_of_what_a_model_said_another_dialect_keeps_the_actions(tmp_path):
    said = ["<think>low?</think>\nguess(1) it is", "guess(2)"]
    plan = Plan(GUESS_ID, "ours", env_args={"max_turns": 2})
    store = record(tmp_path / "run", plan, ScriptedPolicy(said))
    (row,) = rows_of(store, dialect="json")
    answers = [m["content"] for m in row["messages"] if m["role"] == "assistant"]
    assert answers == [f'{{"name": "guess", "arguments": {{"number": {n}}}}}' for n in (1, 2)]


def test_what_was_not_understood_has_no_other_dialect(tmp_path):
    plan = Plan(GUESS_ID, "ours", env_args={"max_turns": 2})
    store = record(tmp_path / "run", plan, ScriptedPolicy(["I guess 1", "guess(2)"]))
    with pytest.raises(StoreError, match="1 with words that no other dialect has"):
        rows_of(store, dialect="json")
    assert rows_of(store, dialect="call") == rows_of(store)


def test_an_action_that_is_none_of_the_grammars_stays_as_it_is(tmp_path):
    plan = Plan(GUESS_ID, "ours", env_args={"max_turns": 1, "dialect": "tags"})
    store = record(tmp_path / "run", plan, ScriptedPolicy([Action("dance()")]))
    assert rows_of(store)[0]["messages"][-1] == {"role": "assistant", "content": "dance()"}


def test_the_environment_is_asked_and_not_reset(tmp_path, monkeypatch):
    store = record(tmp_path / "run", Plan("export/Unprepared-v0", "ours"), ScriptedPolicy(["go"]))
    monkeypatch.setattr(sys.modules[__name__], "FORBIDDEN", True)
    (row,) = rows_of(store)
    assert row["messages"][0]["content"].startswith("Do as you are told.")


def test_messages_of_one_trajectory(tmp_path):
    watched = Watched(OraclePolicy())
    store = record(tmp_path / "run", Plan(GUESS_ID, "ours"), watched)
    (trajectory,) = store.episodes()
    with closing(registry.make(GUESS_ID)) as env:
        messages = messages_of(trajectory, env)
    assert [{"messages": messages}] == [{"messages": r["messages"]} for r in rows_of(store)]
    assert messages[:-1] == watched.seen[str(trajectory.key)][-1]


def test_an_environment_of_others_has_no_system_message(tmp_path):
    watched = Watched(ScriptedPolicy(["yes"]))
    store = record(tmp_path / "run", Plan("tests/Foreign-v0", "ours"), watched)
    (row,) = rows_of(store)
    assert [m["role"] for m in row["messages"]] == ["user", "assistant"]
    assert row["messages"][:-1] == watched.seen["#0.0"][0]
    with pytest.raises(ConfigError, match="has no grammar"):
        rows_of(store, dialect="json")


def test_images_are_parts_of_the_messages(tmp_path):
    watched = Watched(ScriptedPolicy(["look", "look"]))
    store = record(tmp_path / "run", Plan("export/Looking-v0", "ours"), watched)
    rows = rows_of(store)
    assert_as_shown(rows, watched.seen)
    assert rows[0]["messages"][1]["content"][1]["type"] == "image_url"
    for image in (tmp_path / "run" / "images").iterdir():
        image.unlink()
    with pytest.raises(StoreError, match=r"an image of episode default#0\.0 cannot be read"):
        rows_of(store)


# ---------------------------------------------------------------------------- how it was shown


@pytest.mark.parametrize("history", [0, 1, 3])
def test_with_history_each_turn_is_a_prompt_of_its_own(tmp_path, history):
    watched = Watched(OraclePolicy())
    plan = Plan(GUESS_ID, "ours", seeds=SEEDS, history=history)
    store = record(tmp_path / "run", plan, watched)
    rows = rows_of(store)
    seen = [messages for shown in watched.seen.values() for messages in shown]
    assert [row["messages"][:-1] for row in rows] == seen
    assert {row["messages"][-1]["role"] for row in rows} == {"assistant"}
    first = [row for row in rows if row["seed"] == 0]
    assert [row["turn"] for row in first] == list(range(1, first[0]["turns"] + 1))


@pytest.mark.parametrize("env", [COUNTER, "counting/AsyncCounter-v0", COUNT, GUESS_ID])
def test_lists_of_admissible_actions_come_from_a_replay(tmp_path, env):
    watched = Watched(RandomPolicy() if env == COUNTER else OraclePolicy())
    plan = Plan(env, "ours", seeds=SEEDS, show_admissible=True)
    store = record(tmp_path / "run", plan, watched)
    with pytest.raises(ConfigError, match="--replay"):
        rows_of(store)
    rows = rows_of(store, replay=True)
    assert_as_shown(rows, watched.seen)
    assert "Possible actions:" in rows[0]["messages"][1]["content"]


def test_a_world_that_shows_something_else_in_the_replay_is_not_exported(tmp_path):
    plan = Plan("export/Drifting-v0", "ours", show_admissible=True)
    store = record(tmp_path / "run", plan, ScriptedPolicy(["go"]))
    with pytest.raises(StoreError, match="1 replayed differently"):
        rows_of(store, replay=True)


# ---------------------------------------------------------------------------- which episodes


def test_every_scored_episode_is_exported_and_the_others_are_counted(tmp_path):
    demonstrations = Demonstrations(mixed(tmp_path / "run"))
    rows = list(demonstrations)
    assert [row["seed"] for row in rows] == [0, 1, 2, 3]
    assert [row["passed"] for row in rows] == [True, False, False, True]
    assert [row["score"] for row in rows] == [1.0, 0.0, 0.0, 1.0]
    assert (demonstrations.episodes, demonstrations.rows) == (4, 4)
    assert demonstrations.skipped == {"unscored": 2}
    assert list(rows[0]) == ["messages", "env", "task_id", "seed", "sample", "score", "passed",
                             "turns"]  # fmt: skip
    assert len(list(demonstrations)) == demonstrations.episodes == 4  # read again, counted anew


@pytest.mark.parametrize(
    ("choice", "seeds", "skipped"),
    [
        ({"passed": True}, [0, 3], {"unscored": 2, "not passed": 2}),
        ({"drop_invalid": True}, [0, 2, 3], {"unscored": 2, "with an invalid action": 1}),
        ({"limit": 2}, [0, 1], {}),
        ({"passed": True, "limit": 2}, [0, 3], {"not passed": 2}),
    ],
)
def test_a_choice_of_episodes(tmp_path, choice, seeds, skipped):
    demonstrations = Demonstrations(mixed(tmp_path / "run"), Choice(**choice))
    assert [row["seed"] for row in demonstrations] == seeds
    assert demonstrations.skipped == skipped


@pytest.mark.parametrize("turns", [0, 2])
def test_an_episode_that_outgrew_the_model_ends_with_its_last_answer(tmp_path, turns):
    class Overflowing(Watched):
        async def act(self, messages, **kwargs):
            if sum(message["role"] == "assistant" for message in messages) == turns:
                raise ContextOverflow("too long")
            return await super().act(messages, **kwargs)

    watched = Overflowing(OraclePolicy())
    store = record(tmp_path / "run", Plan(GUESS_ID, "ours"), watched)
    if turns:
        assert_as_shown(rows_of(store), watched.seen)
    else:
        with pytest.raises(StoreError, match="its episodes are 1 without a turn"):
            rows_of(store)


def test_a_limit_below_one_is_refused():
    with pytest.raises(ConfigError, match="limit is 0"):
        Choice(limit=0)


def test_an_interrupted_run_exports_what_is_whole(tmp_path):
    run = Run(Plan(COUNT, "oracle", seeds=SEEDS), tmp_path / "run")

    async def part():
        count = 0
        async with aclosing(run.stream(concurrency=2)) as stream:
            async for _ in stream:
                count += 1
                if count == 5:
                    return

    asyncio.run(part())
    run.close()
    file = tmp_path / "run" / "episodes.jsonl"
    done = Store.open(tmp_path / "run").done()
    assert 5 <= len(done) < len(run.keys)
    lines = file.read_bytes().splitlines(keepends=True)
    whole = next(line for line in lines if b'"scored":true' in line)
    file.write_bytes(file.read_bytes() + whole.replace(b"count:", b"other:")[: len(whole) // 2])
    demonstrations = Demonstrations(Store.open(tmp_path / "run"))
    rows = list(demonstrations)
    assert {(row["env"], row["task_id"], row["seed"], row["sample"]) for row in rows} == done
    assert all(row["passed"] for row in rows)


def test_a_run_without_episodes_has_nothing_to_export(tmp_path):
    plan = Plan(COUNT, "oracle")
    with closing(plan.make_env()) as env:
        Store.create(tmp_path / "run", plan.manifest(env)).close()
    demonstrations = Demonstrations(Store.open(tmp_path / "run"))
    with pytest.raises(StoreError, match="no episode has ended in it"):
        export_messages(demonstrations, tmp_path / "demos.jsonl")
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


@pytest.mark.parametrize(
    ("env", "told"),
    [
        ("gone/World-v0", "no environment 'gone/World-v0'"),
        ("gone_module:gone/World-v0", "'gone_module' cannot be imported"),
        ("agentgym/TextWorld-v0?family=coin", r"pip install 'agentgym-env\[textworld\]'"),
    ],
)
def test_an_environment_that_is_not_installed_is_named(tmp_path, monkeypatch, env, told):
    monkeypatch.setitem(sys.modules, "textworld", None)
    (trajectory,) = record(tmp_path / "a", Plan(GUESS_ID, "ours"), OraclePolicy()).episodes()
    trajectory.key = trajectory.key._replace(env=env)
    with Store.create(tmp_path / "b", {}) as store:
        store.append(trajectory)
    with pytest.raises(RegistryError, match=f"is a run of {env.partition('?')[0]}.*{told}"):
        rows_of(store)


# ---------------------------------------------------------------------------- files


def test_a_file_reads_back_as_the_rows(tmp_path):
    store = mixed(tmp_path / "run")
    out = tmp_path / "new" / "demos.jsonl"
    assert export_messages(Demonstrations(store), out) == 4
    assert [json.loads(line) for line in out.read_text().splitlines()] == rows_of(store)
    assert [path.name for path in out.parent.iterdir()] == ["demos.jsonl"]


def test_a_file_is_not_replaced_unless_forced(tmp_path):
    store = mixed(tmp_path / "run")
    out = tmp_path / "demos.jsonl"
    out.write_text("mine")
    with pytest.raises(ConfigError, match="exists already"):
        export_messages(Demonstrations(store), out)
    with pytest.raises(StoreError, match="nothing to export"):
        export_messages(Demonstrations(empty(tmp_path)), out, force=True)
    assert out.read_text() == "mine"
    export_messages(Demonstrations(store), out, force=True)
    assert len(out.read_text().splitlines()) == 4


def empty(tmp_path):
    plan = Plan(COUNT, "oracle")
    with closing(plan.make_env()) as env:
        Store.create(tmp_path / "empty", plan.manifest(env)).close()
    return Store.open(tmp_path / "empty")


def test_the_run_itself_and_what_is_no_file_are_never_replaced(tmp_path):
    store = mixed(tmp_path / "run")
    before = (tmp_path / "run" / "episodes.jsonl").read_bytes()
    with pytest.raises(ConfigError, match="is the run itself"):
        export_messages(Demonstrations(store), tmp_path / "run" / "episodes.jsonl", force=True)
    with pytest.raises(ConfigError, match="is not a file"):
        export_messages(Demonstrations(store), tmp_path / "run", force=True)
    assert (tmp_path / "run" / "episodes.jsonl").read_bytes() == before


def test_a_place_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match=r"cannot write .*demos.jsonl: File exists"):
        export_messages(Demonstrations(mixed(tmp_path / "run")), tmp_path / "file" / "demos.jsonl")


def test_parquet_without_pyarrow_is_refused(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    store = mixed(tmp_path / "run")
    with pytest.raises(ConfigError, match="pip install pyarrow"):
        export_messages(Demonstrations(store), tmp_path / "demos.parquet")
    assert not (tmp_path / "demos.parquet").exists()


@pytest.mark.skipif(
    not importlib.util.find_spec("pyarrow") and os.environ.get("CI") != "true",
    reason="pip install pyarrow",
)
def test_parquet_holds_the_same_rows(tmp_path):
    import pyarrow.parquet

    store = mixed(tmp_path / "run")
    out = tmp_path / "demos.parquet"
    export_messages(Demonstrations(store), out)
    assert pyarrow.parquet.read_table(out).to_pylist() == rows_of(store)
    watched = record(
        tmp_path / "pictures", Plan("export/Looking-v0", "ours"), ScriptedPolicy(["look"])
    )
    with pytest.raises(ConfigError, match=r"write a \.jsonl file"):
        export_messages(Demonstrations(watched), tmp_path / "pictures.parquet")
    assert not (tmp_path / "pictures.parquet").exists()


# ---------------------------------------------------------------------------- the command


def test_the_command_exports_what_eval_recorded(run):
    words = ("--policy", "oracle", "--seeds", "0-4", "--out", "r", "--dialect", "tags")
    code, out, err = run("eval", GUESS, *words)
    assert code == 0, err
    code, out, err = run("export", "r", "--out", "demos.jsonl")
    assert (code, out) == (0, "")
    assert err.splitlines()[-1] == "agentgym: exported 5 episodes to demos.jsonl"
    rows = [json.loads(line) for line in Path("demos.jsonl").read_text().splitlines()]
    assert rows == rows_of(Store.open("r"))
    assert rows[0]["env"] == f"{GUESS_ID}?dialect=tags"
    answer = rows[0]["messages"][-1]["content"]
    assert answer.startswith("<action>guess(")


def test_the_command_finds_the_file_that_the_environment_is_in(tmp_path):
    """In a process of its own, where nothing has imported the file."""
    code = (
        "from agentgym import cli\n"
        f"a = cli.main(['eval', {str(GUESS)!r}, '--policy', 'oracle', '--out', 'r'])\n"
        "import sys, gymnasium\n"
        f"gymnasium.registry.pop({GUESS_ID!r}); sys.modules.pop('guess_number')\n"
        "b = cli.main(['export', 'r', '--out', '-'])\n"
        "print(a, b)"
    )
    out = worlds.fresh_python(f"import os\nos.chdir({str(tmp_path)!r})\n{code}")
    assert '"content":"guess(50)"' in out
    assert out.endswith("0 0\n")


def test_standard_output_holds_the_rows_and_nothing_else(run, tmp_path):
    store = mixed(tmp_path / "run")
    code, out, err = run("export", "run", "--out", "-", "--dialect", "json", "--passed")
    assert code == 0
    assert [json.loads(line) for line in out.splitlines()] == rows_of(
        store, dialect="json", passed=True
    )
    assert err.splitlines()[-1] == (
        "agentgym: exported 2 episodes to standard output; skipped 4: 2 not passed, 2 unscored"
    )


def test_every_option_reaches_the_library(run, tmp_path):
    plan = Plan(COUNTER, "ours", seeds=SEEDS, show_admissible=True, history=1)
    watched = Watched(OraclePolicy())
    record(tmp_path / "run", plan, watched)
    Path("demos.jsonl").write_text("mine")
    words = ("--passed", "--drop-invalid", "--limit", "2", "--replay", "--dialect", "tags")
    code, out, err = run("export", "run", *words, "--out", "demos.jsonl", "--force", "--json")
    rows = [json.loads(line) for line in Path("demos.jsonl").read_text().splitlines()]
    assert code == 0
    assert json.loads(out) == {"run": "run", "out": "demos.jsonl", "episodes": 2,
                               "rows": len(rows), "skipped": {}}  # fmt: skip
    assert {row["seed"] for row in rows} == {0, 1}
    assert rows[0]["messages"][-1]["content"] == "<action>up</action>"
    assert f"exported 2 episodes, a line a turn ({len(rows)}) to demos.jsonl" in err


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["nowhere", "--out", "a"], "nowhere is not a run folder: it does not exist"),
        ([".", "--out", "a"], "nor a folder of runs"),
        (["run"], "--out"),
        (["run", "--out", "taken"], "taken exists already: replace it with --force"),
        (["run", "--out", "run"], "run is not a file"),
        (["run", "--out", "-", "--json"], "--json would be among the episodes"),
        (["run", "--out", "a", "--limit", "0"], "'0' is not a whole number of at least 1"),
        (["run", "--out", "a", "--dialect", "jsno"], "did you mean 'json'?"),
        (["both", "--out", "a"], "both holds 2 runs"),
        (["empty", "--out", "a"], "empty has nothing to export: no episode has ended in it"),
    ],
)
def test_what_cannot_be_exported_is_said_on_one_line(run, tmp_path, words, told):
    Path("taken").write_text("")
    if words[0] == "run":
        mixed(tmp_path / "run")
    if words[0] == "both":
        for name in ("a", "b"):
            (tmp_path / "both" / name).mkdir(parents=True)
            (tmp_path / "both" / name / "manifest.json").write_text("{}")
    if words[0] == "empty":
        empty(tmp_path)
    code, out, err = run("export", *words)
    assert (code, out) == (2, "")
    assert told in err
    assert err.startswith("agentgym: error: ")
    assert err.count("\n") == 1
    assert not Path("a").exists()
