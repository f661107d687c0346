"""The command `agentgym`, used as its users do: what it says, where, and with which exit code."""

from __future__ import annotations

import json
import os
import pty
import re
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path
from typing import NamedTuple

import orjson
import pytest

from agentgym import cli, registry
from agentgym.actions import DIALECTS
from agentgym.store import Store
from agentgym.types import Completion, EpisodeKey, Outcome, Stop, Task, Trajectory, Turn

TESTS = Path(__file__).parent
GUESS = TESTS.parent / "examples" / "guess_number.py"
COUNT = "worlds:tests/Count-v0"
HEAVY = {"rich", "aiohttp", "textworld", "xllamacpp", "agentgym.evaluate", "agentgym.testing"}

SLOW = """
import time
import agentgym
from agentgym import Outcome, Reply


class Slow(agentgym.Env):
    '''Takes its time.'''

    execution = "thread"

    def tasks(self):
        return [f"task {i}" for i in range(120)]

    def begin(self, task):
        return "Wait."

    def respond(self, action):
        time.sleep(0.05)
        return Reply("Thanks.", Outcome(1.0, True, "waited"))

    def oracle(self):
        return "wait"


agentgym.register("mine/Slow-v0", Slow)
"""


class Done(NamedTuple):
    code: int
    out: str
    err: str

    @property
    def json(self):
        return json.loads(self.out)


@pytest.fixture
def run(capsys, monkeypatch, tmp_path):
    """`agentgym …` in this process, in an empty folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(TESTS))

    def call(*words):
        capsys.readouterr()
        code = cli.main([str(word) for word in words])
        return Done(code, *capsys.readouterr())

    return call


def start(*words, cwd, **options):
    """`agentgym …` in a process of its own."""
    return subprocess.Popen(
        [sys.executable, "-m", "agentgym.cli", *map(str, words)],
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": str(TESTS)},
        text=True,
        **{"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **options},
    )


def execute(*words, cwd):
    process = start(*words, cwd=cwd)
    out, err = process.communicate(timeout=60)
    return Done(process.returncode, out, err)


def refused(done, *told, code=2):
    """One line on standard error that says what is wrong, and nothing on standard output."""
    assert (done.code, done.out) == (code, "")
    assert done.err.startswith("agentgym: error: "), done.err
    assert done.err.count("\n") == 1, done.err
    assert "Traceback" not in done.err
    for part in told:
        assert part in done.err
    return True


def recorded(path):
    lines = (path / "episodes.jsonl").read_bytes().splitlines()
    return [orjson.loads(line)["head"]["key"] for line in lines]


# ---------------------------------------------------------------------------- help


def test_help_lists_every_command_and_loads_none(tmp_path):
    code = (
        "import sys\nfrom agentgym import cli\n"
        "codes = [cli.main(['--help'])] + [cli.main([name, '--help']) for name in cli.COMMANDS]\n"
        f"print(codes, sorted(set(sys.modules) & {HEAVY!r}), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr.strip() == f"{[0] * (1 + len(cli.COMMANDS))} []"
    for name, command in cli.COMMANDS.items():
        assert re.search(rf"^  {name} +{re.escape(command.about)}$", done.stdout, re.MULTILINE)


@pytest.mark.parametrize("name", cli.COMMANDS)
def test_the_help_of_every_command_teaches_by_examples(run, name):
    done = run(name, "--help")
    assert done.code == 0
    examples = done.out.partition("\nexamples:\n")[2]
    assert 2 <= examples.count("  agentgym ") <= 5
    assert not re.search(r"\(default: \S+\)\s+\(default", done.out)


def test_defaults_are_shown(run):
    told = " ".join(run("eval", "--help").out.split())
    for default in ("(default: 16)", "(default: 0)", "(default: 600.0)", "(default: 512)"):
        assert default in told
    assert "(default: None)" not in told
    assert "(default: [])" not in told


def test_every_dialect_is_offered(run):
    for name in ("eval", "export"):
        told = run(name, "--help").out.partition("\n  --dialect DIALECT")[2].partition("\n  --")[0]
        for dialect in DIALECTS:
            assert re.search(rf"\b{dialect}\b", told), dialect


def test_without_a_command_help_goes_to_standard_error(run):
    done = run()
    assert (done.code, done.out) == (2, "")
    assert "commands:" in done.err


def test_the_version_is_said(run):
    import agentgym

    assert run("--version") == (0, f"agentgym {agentgym.__version__}\n", "")


# ---------------------------------------------------------------------------- bad input


def test_what_is_misspelt_is_answered_by_what_was_meant(run):
    registry.load_file(GUESS)
    assert refused(run("evall"), "'evall'", "did you mean 'eval'?")
    assert refused(run("eval", "--limt", "3"), "did you mean '--limit'?", "agentgym eval --help")
    assert refused(
        run("eval", "examples/GessNumber-v0", "--policy", "oracle"),
        "no environment",
        "did you mean",
    )
    assert refused(run("eval", COUNT, "--policy", "oracel"), "did you mean 'oracle'?")
    assert refused(
        run("eval", COUNT, "--policy", "oracle", "--task", "count:7"), "did you mean 'count:"
    )
    assert refused(
        run("eval", COUNT, "--policy", "oracle", "--split", "trein"), "did you mean 'train'?"
    )


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--limit", "0"], "argument --limit: '0' is not a whole number of at least 1"),
        (["--limit", "x"], "'x' is not a whole number"),
        (["--group", "-1"], "--group"),
        (["--seeds", "3-1"], "'3-1' is not like 0,1,2 or 0-9"),
        (["--seeds", "1,2,1"], "has seed 1 twice"),
        (["--seeds", "0-999999999999"], "more than 100000 seeds"),
        (["--seeds", f"0-{10**30}"], "more than 100000 seeds"),
        (["--seeds", ""], "is not like"),
        (["--temperature", "nan"], "'nan' is not a number"),
        (["--top-p", "0"], "above 0 and at most 1"),
        (["--top-p", "1.5"], "above 0 and at most 1"),
        (["--concurrency", "0"], "--concurrency"),
        (["--timeout-policy", "-1"], "--timeout-policy"),
        (["--arg", "level"], "'level' is not name=value"),
        (["--max-turns", "3", "--arg", "max_turns=4"], "argument 'max_turns' of the environment"),
        (["--limit", "1", "--task", "a"], "not allowed with"),
        (["--arg", "colour=red"], "colour"),
        (["--dialect", "jsno"], "did you mean 'json'?"),
        (["--policy", "random"], "which policy?"),
        (["--resume"], "--resume needs --out"),
        (["--constrain"], "--constrain is for llamacpp"),
        (["--policy-arg", "api_key=sk-1"], "would be written into the manifest"),
        (["--policy", "human"], "agentgym play"),
        (["--policy", "oracle"], "given twice"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)  # fmt: skip
def test_arguments_that_cannot_be_used_are_refused_before_anything_starts(run, words, told):
    policy = [] if told == "which policy?" else ["--policy", "oracle"]
    words = [] if told == "which policy?" else words
    assert refused(run("eval", COUNT, *policy, *words), told)
    assert not Path("runs").exists()


def test_a_limit_is_for_tasks_that_are_there_and_not_for_those_to_make(run):
    for kind in ("swe", "grounding"):
        done = run("tasks", "make", kind, "--limit", "3", "--source", ".", "--out", "x")
        assert refused(done, "--limit goes with `agentgym tasks verify`", "--count")
    assert not Path("x").exists()


def test_an_argument_without_a_value_is_refused(run):
    assert refused(run("eval", f"{COUNT}?fault", "--policy", "oracle"), "write fault=VALUE")


def test_options_may_stand_between_words(run):
    for name in ("a", "b"):
        run("eval", COUNT, "--policy", "oracle", "--out", name)
    assert len(run("show", "a", "--json", "b").json["runs"]) == 2
    assert (
        run("reward", "explain", "--reward", "outcome", "a", "--json").json["reward"] == "outcome"
    )
    assert refused(run("models", "list", "--json", "smollm2"), "list takes no name")
    assert refused(run("show", "a", "--jsn", "b"), "did you mean '--json'?")


def test_a_file_that_is_no_python_is_no_environment(run):
    Path("run.toml").write_text("limit = 1")
    assert refused(run("list", "run.toml"), "no environment 'run.toml'")
    assert refused(run("list", "x" * 5000), "no environment 'xxx")


def test_an_extra_that_is_not_installed_is_named_with_how_to_get_it(run, monkeypatch):
    monkeypatch.setitem(sys.modules, "xllamacpp", None)
    assert refused(
        run("eval", COUNT, "--policy", "llamacpp"), "pip install 'agentgym-env[llamacpp]'"
    )


def test_an_environment_whose_extra_is_missing_says_so_and_is_listed_all_the_same(run, monkeypatch):
    monkeypatch.setitem(sys.modules, "textworld", None)
    how = "pip install 'agentgym-env[textworld]'"
    assert refused(run("eval", "agentgym/TextWorld-v0", "--policy", "oracle"), how)
    listed = run("list")
    assert listed.code == 0
    assert "agentgym/TextWorld-v0 cannot be used: " in listed.out
    assert how in listed.out


def test_a_file_that_is_not_there_or_broken_is_refused(run, tmp_path):
    assert refused(run("eval", "nowhere.py", "--policy", "oracle"), "no file 'nowhere.py'")
    (tmp_path / "broken_world.py").write_text("import agentgym\n1 / 0\n")
    assert refused(
        run("check", "broken_world.py"), "broken_world.py cannot be imported: ZeroDivisionError"
    )


def test_a_folder_that_cannot_be_written_is_refused(run, tmp_path):
    (tmp_path / "file").write_text("")
    done = run("eval", COUNT, "--policy", "oracle", "--out", "file/run")
    assert refused(done, "cannot write file/run: Not a directory")


def test_a_folder_that_holds_a_run_is_not_overwritten(run):
    assert run("eval", COUNT, "--policy", "oracle", "--out", "r").code == 0
    before = recorded(Path("r"))
    done = run("eval", COUNT, "--policy", "oracle", "--out", "r")
    assert refused(done, "r exists already", "--resume")
    assert recorded(Path("r")) == before


def test_a_run_is_not_resumed_with_other_arguments(run):
    assert run("eval", COUNT, "--policy", "oracle", "--out", "r").code == 0
    done = run("eval", COUNT, "--policy", "oracle", "--out", "r", "--resume", "--group", "2")
    assert refused(done, "was started with group 1, not 2")
    done = run("eval", "--resume", "--out", "r", "--group", "2")
    assert refused(done, "--group is decided by the run's manifest")
    assert refused(
        run("eval", f"{COUNT}?at=2", "--resume", "--out", "r"),
        f"r is a run of {COUNT}, not {COUNT}?at=2: leave ENV out",
    )
    assert run("eval", f"{COUNT}?at=2", "--policy", "oracle", "--out", "s").code == 0
    for env in (COUNT, f"{COUNT}?at=2"):
        assert run("eval", env, "--resume", "--out", "s").code == 0


def test_a_run_that_could_not_begin_leaves_no_folder_behind(run):
    """The oracle's hint is missing only when the first episode asks for it."""
    foreign = "worlds:tests/CountAsync-v0"
    first = run("eval", foreign, "--policy", "worlds:Nobody", "--out", "r")
    assert refused(first, "worlds:Nobody")
    assert not Path("r").exists()
    assert run("eval", COUNT, "--policy", "oracle", "--out", "r").code == 0


def test_tracebacks_are_for_debug(run):
    assert "Traceback" not in run("eval", "no/Such-v0", "--policy", "oracle").err
    for words in (["--debug", "eval"], ["eval", "--debug"]):
        done = run(*words, "no/Such-v0", "--policy", "oracle")
        assert done.code == 2
        assert "Traceback" in done.err
        assert "agentgym: error: no environment 'no/Such-v0'" in done.err


def test_a_fault_of_ours_is_one_line_too(run, monkeypatch):
    monkeypatch.setattr(registry, "ids", lambda: 1 / 0)
    assert refused(run("list"), "ZeroDivisionError", "--debug", code=1)


def test_arguments_that_are_not_text_are_refused(run):
    """As the shell passes bytes that are not UTF-8: they cannot be recorded."""
    done = run("eval", COUNT, "--policy", "oracle", "--stop", "\udcff", "--out", "r")
    assert refused(done, "the manifest of r cannot be written: str is not valid UTF-8")
    assert not Path("r").exists()


# ---------------------------------------------------------------------------- eval


def test_an_evaluation_reports_what_it_found_and_where_to_look(run):
    done = run("eval", GUESS, "--policy", "oracle", "--seeds", "0-4", "--out", "r")
    assert done.code == 0
    table = dict(re.findall(r"^(\S+(?: \S+)*)  +(\S.*)$", done.out, re.MULTILINE))
    assert table["policy"] == "oracle"
    assert table["scored"] == "5"
    assert table["mean score"] == "1.000"
    assert table["95 % interval"] == "0.566 – 1.000"
    assert table["stop: terminated"] == "5"
    assert table["invalid actions"] == "0.0 %"
    assert "agentgym show r" in done.out
    assert len(recorded(Path("r"))) == 5


def test_a_run_folder_is_named_after_environment_and_policy_unless_told(run):
    assert run("eval", GUESS, "--policy", "oracle").code == 0
    (made,) = Path("runs").iterdir()
    assert re.fullmatch(r"guessnumber-v0-oracle-\d{8}-\d{6}", made.name)


def test_arguments_of_the_environment_come_from_the_id_and_from_options(run):
    done = run(
        "eval", f"{COUNT}?at=2", "--arg", "fault=", "--max-turns", "9", "--split", "train",
        "--policy", "oracle", "--out", "r",
    )  # fmt: skip
    assert done.code == 0
    plan = Store.open("r").manifest["plan"]
    assert plan["env_args"] == {"at": 2, "fault": "", "max_turns": 9, "split": "train"}


def test_options_reach_the_plan(run):
    done = run(
        "eval", COUNT, "--policy", "oracle", "--task", "count:2", "--seeds", "0,5-6",
        "--group", "2", "--seed", "7", "--temperature", "0.5", "--top-p", "0.9", "--top-k", "40",
        "--max-tokens", "64", "--stop", "END", "--history", "3", "--show-admissible", "--out", "r",
    )  # fmt: skip
    assert done.code == 0
    plan = Store.open("r").manifest["plan"]
    assert plan["tasks"] == ["count:2"]
    assert plan["seeds"] == [0, 5, 6]
    assert (plan["group"], plan["seed"], plan["history"], plan["show_admissible"]) == (
        2,
        7,
        3,
        True,
    )
    assert plan["sampling"] == {
        "temperature": 0.5, "top_p": 0.9, "top_k": 40, "max_tokens": 64, "stop": ["END"],
        "seed": None,
    }  # fmt: skip
    assert len(recorded(Path("r"))) == 6


def test_several_policies_play_the_same_and_are_compared(run):
    done = run(
        "eval", GUESS, "--policy", "oracle", "--policy", "random", "--seeds", "0-19", "--out", "r"
    )
    assert done.code == 0
    assert re.search(r"^policy +oracle +random$", done.out, re.MULTILINE)
    assert re.search(r"^random − oracle: -\d\.\d+ \[.*\] over 20 seeds$", done.out, re.MULTILINE)
    assert sorted(p.name for p in Path("r").iterdir()) == ["oracle", "random"]
    assert recorded(Path("r/oracle")) == recorded(Path("r/random"))


def test_json_goes_to_standard_output_and_progress_to_standard_error(run):
    done = run("eval", COUNT, "--policy", "oracle", "--policy", "random", "--group", "2", "--json")
    assert done.code == 0
    first, second = done.json["runs"]
    assert (first["policy"], second["policy"]) == ("oracle", "random")
    assert (first["planned"], first["unfinished"]) == (6, 0)
    summary = first["summary"]
    assert summary["mean"] == summary["pass_at"]["2"] == 1.0
    assert len(summary["interval"]) == 2
    assert summary["stops"] == {"terminated": 6}
    (comparison,) = done.json["comparisons"]
    assert comparison["mean"] < 0
    assert "oracle: 6/6, mean 1.000" in done.err


def test_no_line_of_progress_is_said_twice(run, monkeypatch):
    monkeypatch.setattr("agentgym.cli.progress.EVERY_S", 0.0)
    told = run("eval", COUNT, "--policy", "oracle", "--out", "r").err.splitlines()
    assert [line.partition(",")[0] for line in told] == [f"oracle: {n}/3" for n in (1, 2, 3)]


def test_a_world_that_fails_leaves_episodes_unscored_and_the_run_failed(run):
    done = run(
        "eval", f"{COUNT}?fault=step%20raises", "--policy", "oracle", "--retries", "0",
        "--out", "r",
    )  # fmt: skip
    assert done.code == 1
    assert "oracle: 3 episodes unscored: 3 environment" in done.out
    assert "the world broke in step" in done.out
    assert re.search(r"^mean score +–$", done.out, re.MULTILINE)
    assert "3 of 3 episodes still to be scored; agentgym eval --resume --out r" in done.out


def test_warnings_are_lines_and_not_a_hundred_alike(run):
    done = run(
        "eval", f"{COUNT}?fault=step%20raises", "--policy", "oracle", "--retries", "0",
        "--seeds", "0-3", "--out", "r",
    )  # fmt: skip
    warnings = [line for line in done.err.splitlines() if line.startswith("agentgym: warning: ")]
    assert len(warnings) == 3
    assert warnings[-1].endswith("(further ones like this are not shown)")


def test_a_run_that_gives_up_says_why_and_reports_what_there_is(run):
    done = run(
        "eval", f"{COUNT}?fault=reset%20raises", "--policy", "oracle", "--retries", "0",
        "--seeds", "0-19", "--concurrency", "1", "--out", "r",
    )  # fmt: skip
    assert done.code == 1
    assert "agentgym: error: gave up: 16 episodes in a row failed" in done.err
    assert "16 environment" in done.out


def test_when_a_run_gives_up_is_an_option(run):
    done = run(
        "eval", f"{COUNT}?fault=reset%20raises", "--policy", "oracle", "--retries", "0",
        "--concurrency", "1", "--give-up-after", "2", "--out", "r",
    )  # fmt: skip
    assert done.code == 1
    assert "gave up: 2 episodes in a row failed" in done.err


def test_one_policy_that_fails_does_not_keep_the_others_from_playing(run, tmp_path):
    (tmp_path / "bad_policy.py").write_text(
        textwrap.dedent("""
            from agentgym.errors import ConfigError

            class Bad:
                async def act(self, messages, *, sampling, session, admissible=None):
                    raise ConfigError("no access: log in first")
        """)
    )
    sys.path.insert(0, str(tmp_path))
    try:
        done = run("eval", COUNT, "--policy", "bad_policy:Bad", "--policy", "oracle", "--out", "r")
    finally:
        sys.path.remove(str(tmp_path))
    assert done.code == 2
    assert "agentgym: error: no access: log in first" in done.err
    assert re.search(r"^policy +oracle$", done.out, re.MULTILINE)
    assert [p.name for p in Path("r").iterdir()] == ["oracle"]


# ---------------------------------------------------------------------------- run files


def write(text, name="run.toml"):
    Path(name).write_text(textwrap.dedent(text))


def test_a_run_file_says_what_the_command_line_would(run):
    write(f"""
        env = "{COUNT}"
        policy = ["oracle", "random"]
        task = ["count:2"]
        seeds = "0,5-6"
        group = 2
        seed = 7
        temperature = 0.5
        top-p = 0.9
        top_k = 40
        max-tokens = 64
        stop = ["END", "-- x = 1"]
        history = 3
        show-admissible = true
        json = false
        concurrency = 4
        timeout-step = 20

        [arg]
        at = 2
        fault = ""

        [policy-arg]
    """)
    words = [
        COUNT, "--policy", "oracle", "--policy", "random", "--task", "count:2", "--seeds", "0,5-6",
        "--group", "2", "--seed", "7", "--temperature", "0.5", "--top-p", "0.9", "--top-k", "40",
        "--max-tokens", "64", "--stop", "END", "--stop=-- x = 1", "--history", "3",
        "--show-admissible", "--concurrency", "4", "--timeout-step", "20", "--arg", "at=2",
        "--arg", "fault=",
    ]  # fmt: skip
    assert run("eval", "--config", "run.toml", "--out", "filed").code == 0
    assert run("eval", *words, "--out", "typed").code == 0
    for policy in ("oracle", "random"):
        filed, typed = (Store.open(f"{out}/{policy}").manifest for out in ("filed", "typed"))
        assert filed["plan"] == typed["plan"]


def test_the_command_line_replaces_what_the_file_says(run):
    write(f"""
        env = "{GUESS}"
        policy = ["oracle", "random"]
        limit = 1
        group = 3
        arg = {{ at = 2, fault = "5" }}
        out = "r"
    """)
    words = ["--policy", "oracle", "--task", "count:2", "--group=1", "--arg", "at=1"]
    assert run("eval", *words, "--config", "run.toml", COUNT).code == 0
    plan = Store.open("r").manifest["plan"]
    assert (plan["env"], plan["policy"], plan["group"]) == (COUNT, "oracle", 1)
    assert (plan["limit"], plan["tasks"]) == (None, ["count:2"])  # which excludes --limit
    assert plan["env_args"] == {"at": 1, "fault": "5"}  # name by name, and text stays text


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("limits = 3", "run.toml: 'limits' is no option of agentgym eval; did you mean 'limit'?"),
        ("top-b = 3", "did you mean 'top-p'?"),
        ("[episodes]\nlimit = 3", "'episodes' is no option"),
        ('config = "other.toml"', "'config' is no option"),
        ("limit = 0", "run.toml: limit: argument --limit: '0' is not a whole number of at least 1"),
        ("limit = 2.0", "limit: argument --limit: '2.0' is not a whole number"),
        ('temperature = "hot"', "temperature: argument --temperature: 'hot' is not a number"),
        ("limit = true", "run.toml: limit: True is not one value"),
        ("seeds = [0, 1]", "seeds: [0, 1] is not one value"),
        ("policy = [['oracle']]", "policy: ['oracle'] is not one value"),
        ("constrain = 1", "run.toml: constrain: 1 is neither true nor false"),
        ("[limit]\nn = 3", "limit: {'n': 3} is not one value"),
        ("arg = ['at=2']", "arg: ['at=2'] is no table: write NAME = VALUE under [arg]"),
        ("[arg]\nat = 2026-01-01", "arg: an argument cannot be recorded"),
        ("[arg]\n'a b' = 1", "arg: argument --arg: 'a b=1' is not name=value"),
        ("top-p = 0.5\ntop_p = 0.6", "'top_p' is given twice"),
        ("limit = 1\ntask = ['a']", "run.toml: argument --task: not allowed with argument --limit"),
        ("limit = ", "run.toml is not TOML: Invalid value"),
        ("[policy-arg]\napi_key = 'sk-1'", "would be written into the manifest"),
    ],
)  # fmt: skip
def test_a_run_file_that_cannot_be_used_is_refused_by_file_and_key(run, text, told):
    write(text)
    assert refused(run("eval", COUNT, "--policy", "oracle", "--config", "run.toml"), told)
    assert not Path("runs").exists()


def test_a_run_file_that_is_not_there_is_refused(run):
    done = run("eval", COUNT, "--policy", "oracle", "--config", "nowhere.toml")
    assert refused(done, "nowhere.toml: No such file")


def test_a_run_is_resumed_by_the_file_it_was_started_with(run):
    write(f'env = "{COUNT}"\npolicy = "oracle"\ngroup = 2\nout = "r"')
    assert run("eval", "--config", "run.toml").code == 0
    before = recorded(Path("r"))
    assert run("eval", "--config", "run.toml", "--resume").code == 0
    assert run("eval", "--resume", "--out", "r").code == 0
    assert recorded(Path("r")) == before
    write("group = 3")  # without a policy, the manifest says how
    done = run("eval", "--config", "run.toml", "--resume", "--out", "r")
    assert refused(done, "--group is decided by the run's manifest")


def test_the_run_file_of_the_examples_runs(run):
    example = TESTS.parent / "examples" / "run.toml"
    assert run("eval", "--config", example, "--out", "r", "--limit", "2", "--group", "1").code == 0
    assert len(recorded(Path("r/oracle"))) == 2
    assert Store.open("r/random").manifest["plan"]["env_args"]["size"] == "small"


# ---------------------------------------------------------------------------- resume


def wait_for(path, lines, process):
    """Until the run has so many episodes."""
    until = time.monotonic() + 30
    while time.monotonic() < until and process.poll() is None:
        if path.exists() and path.read_bytes().count(b"\n") >= lines:
            return
        time.sleep(0.02)
    raise AssertionError(f"no {lines} episodes: {process.communicate()}")


def scored(path):
    """Key of every line that was scored, repetitions included."""
    lines = (path / "episodes.jsonl").read_bytes().splitlines()
    heads = [orjson.loads(line)["head"] for line in lines]
    return [tuple(head["key"]) for head in heads if head["scored"]]


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGKILL, -9)],
)  # fmt: skip
def test_an_interrupted_run_goes_on_without_repeating_what_was_scored(tmp_path, number, code):
    (tmp_path / "slow_world.py").write_text(SLOW)
    words = ["eval", "slow_world.py", "--policy", "oracle", "--concurrency", "2", "--out", "r"]
    process = start(*words, cwd=tmp_path)
    wait_for(tmp_path / "r" / "episodes.jsonl", 6, process)
    process.send_signal(number)
    out, err = process.communicate(timeout=20)
    assert (process.returncode, out) == (code, "")
    before = scored(tmp_path / "r")
    assert 6 <= len(before) < 120
    if number != signal.SIGKILL:
        line = err.splitlines()[-1]
        assert f"interrupted: {len(before)} of 120 episodes are scored and saved in r" in line
        assert line.endswith("go on with: agentgym eval --resume --out r")
        assert "Traceback" not in err

    done = execute("eval", "--resume", "--out", "r", cwd=tmp_path)
    assert done.code == 0, done.err
    after = scored(tmp_path / "r")
    assert after[: len(before)] == before
    assert len(after) == len(set(after)) == 120
    assert f"oracle: {len(before)} episodes of 120 were scored before" in done.err


@pytest.mark.parametrize("execution", ["inline", "thread"])
def test_a_second_interruption_waits_for_nothing(tmp_path, execution):
    """The world is in the middle of a turn that takes a minute."""
    world = SLOW.replace("time.sleep(0.05)", 'open("begun", "w").close(); time.sleep(60)')
    (tmp_path / "slow_world.py").write_text(world.replace('"thread"', f'"{execution}"'))
    words = ["eval", "slow_world.py", "--policy", "oracle", "--concurrency", "2", "--out", "r"]
    process = start(*words, cwd=tmp_path)
    wait_for(tmp_path / "r" / "episodes.jsonl", 0, process)
    while process.poll() is None and not (tmp_path / "begun").exists():
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    assert process.stderr.readline() == "\n"
    assert "Ctrl-C again" in process.stderr.readline()
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=10)
    assert (process.returncode, out) == (130, "")
    assert err == (
        "\nagentgym: interrupted: what ended is saved; go on with: agentgym eval --resume --out r\n"
    )


def test_a_finished_run_resumed_plays_nothing_and_reports_again(run):
    run("eval", COUNT, "--policy", "oracle", "--out", "r")
    before = recorded(Path("r"))
    done = run("eval", "--resume", "--out", "r")
    assert done.code == 0
    assert "mean score" in done.out
    assert recorded(Path("r")) == before


def test_a_folder_of_runs_is_resumed_as_a_whole(run):
    words = ["eval", COUNT, "--policy", "oracle", "--policy", "random", "--out", "r"]
    run(*words)
    episodes = Path("r/random/episodes.jsonl")
    episodes.write_bytes(episodes.read_bytes().splitlines(keepends=True)[0] + b'{"head": torn')
    assert run("eval", "--resume", "--out", "r").code == 0
    assert sorted(recorded(Path("r/random"))) == sorted(recorded(Path("r/oracle")))


def test_a_run_being_written_is_not_resumed_by_another(run):
    run("eval", COUNT, "--policy", "oracle", "--out", "r")
    with Store.resume("r"):
        assert refused(run("eval", "--resume", "--out", "r"), "another process is writing r")


def test_a_run_of_a_world_in_a_file_is_resumed_by_its_folder_and_asks_where_the_file_went(tmp_path):
    (tmp_path / "slow_world.py").write_text(SLOW)
    (tmp_path / "elsewhere").mkdir()
    words = ["--policy", "oracle", "--limit", "1", "--out", "r"]
    assert execute("eval", "slow_world.py", *words, cwd=tmp_path).code == 0
    done = execute("eval", "--resume", "--out", tmp_path / "r", cwd=tmp_path / "elsewhere")
    assert (done.code, "1 episode of 1 were scored before" in done.err) == (0, True)
    (tmp_path / "slow_world.py").rename(tmp_path / "elsewhere" / "slow_world.py")
    done = execute("eval", "--resume", "--out", "r", cwd=tmp_path)
    assert refused(done, "mine/Slow-v0", "no file", "agentgym eval FILE --resume --out r")
    done = execute("eval", "elsewhere/slow_world.py", "--resume", "--out", "r", cwd=tmp_path)
    assert done.code == 0


@pytest.mark.parametrize("execution", ["inline", "thread"])
def test_a_world_that_interrupts_the_run_is_one_line_and_what_was_scored_stays(tmp_path, execution):
    respond = 'if self.said == "task 9": raise KeyboardInterrupt'
    world = SLOW.replace("time.sleep(0.05)", respond).replace('"thread"', f'"{execution}"')
    world = world.replace('return "Wait."', 'self.said = task.id; return "Wait."')
    (tmp_path / "rude_world.py").write_text(world)
    words = ["rude_world.py", "--policy", "oracle", "--concurrency", "2", "--out", "r"]
    done = execute("eval", *words, cwd=tmp_path)
    assert done.code == 130
    count = len(scored(tmp_path / "r"))
    assert count >= 8
    assert f"agentgym: interrupted: {count} of 120 episodes are scored" in done.err.splitlines()[-1]
    assert "Traceback" not in done.err
    assert "never retrieved" not in done.err


def test_a_run_that_ends_by_an_error_keeps_its_folder_where_an_episode_was_scored(run, monkeypatch):
    def play(job, pace, resume):
        key = job.run.keys[0]
        job.run.store.append(Trajectory(key, Task(key.task_id), outcome=Outcome(1.0, True)))
        raise SystemExit(3)

    monkeypatch.setattr("agentgym.cli.session.Job.play", play)
    done = run("eval", COUNT, "--policy", "oracle", "--out", "r")
    assert refused(done, "called sys.exit(3)", code=1)
    assert len(recorded(Path("r"))) == 1


# ---------------------------------------------------------------------------- show


@pytest.fixture
def two_runs(run):
    for policy in ("oracle", "random"):
        run("eval", GUESS, "--policy", policy, "--seeds", "0-9", "--out", f"all/{policy}")
    return run


def test_a_run_is_shown_as_it_was_reported(run):
    told = run("eval", COUNT, "--policy", "oracle", "--out", "r").out
    shown = run("show", "r")
    assert shown.code == 0
    assert told.startswith(shown.out.rstrip())


def test_runs_and_folders_of_runs_are_compared(two_runs):
    for words in (["all"], ["all/oracle", "all/random"]):
        done = two_runs("show", *words)
        assert re.search(r"^policy +oracle +random$", done.out, re.MULTILINE)
        assert "random − oracle: " in done.out


def test_runs_of_one_policy_are_told_apart_by_their_folders(run):
    for name in ("a", "b"):
        run("eval", COUNT, "--policy", "oracle", "--out", name)
    assert re.search(r"^policy +oracle \(a\) +oracle \(b\)$", run("show", "a", "b").out, re.M)
    for name in ("before", "after"):
        run("eval", COUNT, "--policy", "oracle", "--out", f"{name}/oracle")
    names = r"oracle \(before/oracle\) +oracle \(after/oracle\)"
    assert re.search(rf"^policy +{names}$", run("show", "before", "after").out, re.M)


def test_many_runs_are_one_row_each(run):
    for i in range(5):
        run("eval", COUNT, "--policy", "oracle", "--limit", "1", "--out", f"all/r{i}")
    rows = run("show", "all").out.splitlines()
    assert sum(bool(re.match(r"oracle \(all/r\d\) +1 +1 +1\.000 ", row)) for row in rows) == 5


def test_an_episode_is_shown_by_number_or_key(run):
    run("eval", COUNT, "--policy", "oracle", "--out", "r")
    by_number = run("show", "r", "--episode", "2")
    assert by_number.code == 0
    for part in ("count:1#0.0", "── turn 1", "Count to ", "> 1", "passed, score 1 (won)",
                 "stop: terminated", 'facts: {"score":1}'):  # fmt: skip
        assert part in by_number.out
    assert run("show", "r", "--episode", "count:1#0.0").out == by_number.out
    data = run("show", "r", "--episode", "2", "--json").json
    assert data["key"]["task_id"] == "count:1"
    assert data["turns"][0]["text"] == "1"
    assert data["outcome"]["passed"]
    assert refused(run("show", "r", "--episode", "4"), "no episode '4'", "it has 3")
    assert refused(run("show", "r", "r", "--episode", "1"), "--episode is for one run")
    assert refused(run("show", "r", "--episode", "count:1#0.1"), "did you mean 'count:1#0.0'?")


def test_failed_episodes_are_listed_with_their_numbers(two_runs):
    done = two_runs("show", "all/random", "--failed")
    data = two_runs("show", "all", "--failed", "--json").json["failed"]
    assert data
    assert {Path(head["run"]).name for head in data} == {"random"}
    assert f"{len(data)} episodes not passed or not scored" in done.out
    number = data[0]["number"]
    assert data[0]["episode"] in two_runs("show", "all/random", "--episode", number).out


def test_what_a_model_wrote_does_not_drive_the_terminal(run):
    evil = "\x1b[2J\x1b]0;owned\x07 \x9b31m‮gnp.exe \ud800 [bold]not markup[/bold]"
    said = Turn(evil, Completion(evil), "x", "parse", 0.0, {"valid": False, "seen": "\x1b[1m"})
    with Store.create("r", {"plan": {"env": "e", "policy": evil.replace("\ud800", "")}}) as store:
        key = EpisodeKey("e", evil, 0)
        store.append(Trajectory(key, Task(evil), [said], evil, Outcome(0.0, False), Stop.TURNS))
    for words in (["show", "r"], ["show", "r", "--episode", "1"], ["show", "r", "--failed"]):
        done = run(*words)
        assert done.code == 0, done.err
        assert not set(done.out) & {"\x1b", "\x07", "\x9b", "‮"}
    assert "[bold]not markup[/bold]" in done.out


def test_folders_that_are_not_runs_are_refused(run, tmp_path):
    assert refused(run("show", "nothing"), "nothing is not a run folder: it does not exist")
    (tmp_path / "file").write_text("{}")
    assert refused(run("show", "file"), "file is not a run folder: it is a file")
    (tmp_path / "empty").mkdir()
    assert refused(run("show", "empty"), "empty is not a run folder, nor a folder of runs")
    (tmp_path / "foreign").mkdir()
    (tmp_path / "foreign" / "manifest.json").write_text('{"kind": "other"}')
    assert refused(run("show", "foreign"), "foreign is not a run folder")
    (tmp_path / "foreign" / "manifest.json").write_text("{")
    assert refused(run("show", "foreign"), "cannot be read")


def test_a_run_of_a_newer_schema_asks_for_an_upgrade(run, tmp_path):
    run("eval", COUNT, "--policy", "oracle", "--out", "r")
    manifest = tmp_path / "r" / "manifest.json"
    manifest.write_text(manifest.read_text().replace('"schema": 1', '"schema": 99'))
    told = ("schema 99", "upgrade agentgym-env")
    assert refused(run("show", "r"), *told)
    assert refused(run("eval", "--resume", "--out", "r"), *told)


def test_a_run_without_a_plan_can_be_shown_but_not_resumed(run):
    """As other programs write them: a trainer, say."""
    with Store.create("r", {}) as store:
        store.append(Trajectory(EpisodeKey("e", "t", 0), Task("t"), outcome=Outcome(1.0, True)))
    assert run("show", "r").code == 0
    assert refused(run("eval", "--resume", "--out", "r"), "holds no plan")


@pytest.mark.parametrize("plan", ["abc", {"env": "a/B-v0", "env_args": "abc"}])
def test_a_plan_that_cannot_be_read_is_one_line(run, plan):
    Store.create("r", {"plan": plan}).close()
    assert refused(run("show", "r"), "r/manifest.json cannot be read: its plan is not a run's")
    assert refused(run("eval", "--resume", "--out", "r"), "holds no plan")


# ---------------------------------------------------------------------------- list and check


def test_environments_are_listed_with_their_splits(run):
    registry.load_file(GUESS)
    done = run("list")
    assert done.code == 0
    assert re.search(r"^examples/GuessNumber-v0 +train +Find a number", done.out, re.MULTILINE)
    found = {env["id"]: env for env in run("list", "--json").json["environments"]}
    assert found["examples/GuessNumber-v0"]["splits"] == ["train"]
    assert "agentgym/TextWorld-v0" in found


def test_the_tasks_of_an_environment_are_listed(run):
    done = run("list", COUNT, "--limit", "2")
    assert done.out == (
        "count:0\ncount:1\n\n3 tasks in split 'train' (of train), of which these are the first 2\n"
    )
    registry.load_file(GUESS)
    assert "\n1 task in split 'train'" in run("list", "examples/GuessNumber-v0").out
    assert run("list", COUNT, "--json").json["tasks"] == ["count:0", "count:1", "count:2"]
    assert refused(run("list", "CartPole-v1"), "has no list of tasks")
    assert refused(run("list", "--split", "test"), "say which")


def test_a_good_environment_passes_its_check(run):
    done = run("check", GUESS, "--seeds", "2", "--json")
    assert done.code == 0, done.out
    assert done.json["ok"]
    assert {check["status"] for check in done.json["checks"]} <= {"pass", "skip"}


def test_a_bad_environment_fails_its_check_and_says_where(run, tmp_path):
    (tmp_path / "bad_world.py").write_text(
        textwrap.dedent("""
            import random
            import agentgym
            from agentgym import Outcome, Reply

            class Bad(agentgym.Env):
                '''Draws from the global generator.'''
                max_turns = 3

                def begin(self, task):
                    return f"Hello {random.random()}"

                def respond(self, action):
                    return Reply("Bye", Outcome(1.0, True))

            agentgym.register("mine/Bad-v0", Bad)
        """)
    )
    done = run("check", "bad_world.py", "--seeds", "1")
    assert done.code == 1
    assert re.search(r"^fail +global randomness +.*np_random", done.out, re.MULTILINE)
    assert re.search(r"^mine/Bad-v0: \d+ passed, \d+ failed", done.out, re.MULTILINE)


# ---------------------------------------------------------------------------- play


def test_a_person_plays_at_the_terminal(tmp_path):
    process = start("play", COUNT, "--seed", "1", cwd=tmp_path, stdin=subprocess.PIPE)
    out, err = process.communicate("one\n" + "".join(f"{n}\n" for n in range(1, 7)), timeout=30)
    assert process.returncode == 0, err
    assert "Count upwards from 1" in out
    assert "'one' is not a number" in out
    assert "passed, score 1 (won)" in out


def test_leaving_a_game_is_said(tmp_path):
    process = start("play", COUNT, cwd=tmp_path, stdin=subprocess.PIPE)
    _, err = process.communicate("1\n", timeout=30)
    assert process.returncode == 130
    assert err.splitlines()[-1] == "agentgym: left after 1 turn, before the end"


def test_a_policy_is_watched_turn_by_turn(run):
    done = run("play", GUESS, "--policy", "oracle", "--seed", "4", "--hint")
    assert done.code == 0
    turns = re.findall(r"── turn (\d+)", done.out)
    assert turns == [str(i + 1) for i in range(len(turns))]
    assert "> guess(50)" in done.out
    assert "Possible actions:" in done.out
    assert "passed, score 1 (found); stop: terminated" in done.out


def test_an_episode_that_cannot_be_scored_fails(run):
    done = run("play", f"{COUNT}?fault=step%20raises", "--policy", "oracle")
    assert done.code == 1
    assert "unscored; stop: error" in done.out
    assert "error: environment: env.step: RuntimeError: the world broke in step" in done.out


@pytest.mark.parametrize("policy", ["human", "random"])
def test_a_world_that_is_not_about_text_cannot_be_played(run, policy):
    done = run("play", "CartPole-v1", "--policy", policy)
    assert refused(done, "CartPole-v1 is not a text environment: its actions are Discrete(2)")


def test_a_task_that_is_not_there_cannot_be_played(run):
    done = run("play", COUNT, "--policy", "oracle", "--task", "count:9")
    assert done.code == 2
    assert "has no task 'count:9'" in done.err


# ---------------------------------------------------------------------------- doctor and models


def test_the_doctor_reports_every_part(run, monkeypatch):
    from agentgym import doctor

    probes = [doctor.Probe("python", True, "3.11"), doctor.Probe("docker", False, "none", "get it")]
    monkeypatch.setattr(doctor, "diagnose", lambda: probes)
    done = run("doctor")
    assert done.code == 0
    assert re.search(r"^docker +missing +none$", done.out, re.MULTILINE)
    assert re.search(r"^docker +get it$", done.out, re.MULTILINE)
    assert run("doctor", "--strict").code == 1
    assert [probe["ok"] for probe in run("doctor", "--json").json["probes"]] == [True, False]


def test_models_are_listed_and_pulled(run, monkeypatch, tmp_path):
    assert "smollm2" in run("models").out
    assert run("models", "list", "--json").json["models"][0]["name"] == "smollm2"
    own = tmp_path / "own.gguf"
    own.write_text("")
    monkeypatch.setenv("AGENTGYM_SMOLLM2", str(own))
    assert run("models", "pull", "smollm2").out == f"{own}\n"
    assert refused(run("models", "pull"), "pull which model?")
    assert refused(run("models", "pull", "smolm2"), "did you mean 'smollm2'?")
    assert refused(run("models", "push"), "invalid choice: 'push'")


# ---------------------------------------------------------------------------- terminals and pipes


def test_a_pipe_gets_plain_text_and_a_line_of_progress_now_and_then(tmp_path):
    done = execute("eval", GUESS, "--policy", "random", "--seeds", "0-99", cwd=tmp_path)
    assert done.code == 0
    assert "\x1b" not in done.out + done.err
    assert "\r" not in done.err
    assert len(done.err.splitlines()) == 1
    assert not re.search("[│┃━]", done.out)


def on_a_terminal(*words, cwd, **environment):
    """Output of `agentgym …` on a terminal of 80 columns."""
    ours, theirs = pty.openpty()
    env = {"TERM": "xterm-256color", "COLUMNS": "80", **environment}
    env = {**os.environ, "PYTHONPATH": str(TESTS), **env}
    command = [sys.executable, "-m", "agentgym.cli", *map(str, words)]
    process = subprocess.Popen(command, stdout=theirs, stderr=theirs, cwd=cwd, env=env)
    os.close(theirs)
    out = b""
    try:
        while chunk := os.read(ours, 65536):
            out += chunk
    except OSError:  # how the end of a terminal is told
        pass
    os.close(ours)
    assert process.wait(30) == 0, out
    return out.decode()


def test_a_terminal_gets_colour_and_a_live_bar_unless_no_color(tmp_path):
    words = ["eval", GUESS, "--policy", "random", "--seeds", "0-99"]
    out = on_a_terminal(*words, "--out", "a", cwd=tmp_path)
    assert "\x1b[1m" in out
    assert "100/100" in out
    plain = on_a_terminal(*words, "--out", "b", cwd=tmp_path, NO_COLOR="1")
    assert not re.search(r"\x1b\[[0-9;]*(3|4|9|10)[0-7]m", plain)


def test_a_reader_that_leaves_early_is_no_error(tmp_path):
    with Store.create(tmp_path / "r", {"plan": {"env": "e", "policy": "p"}}) as store:
        turns = [Turn("x" * 1000, Completion("y"), "y", None, 0.0, {})] * 500
        store.append(
            Trajectory(EpisodeKey("e", "t", 0), Task("t"), turns, outcome=Outcome(1.0, True))
        )
    process = start("show", "r", "--episode", "1", cwd=tmp_path)
    process.stdout.readline()
    process.stdout.close()
    assert process.wait(30) == 141
    assert process.stderr.read() == ""
    process.stderr.close()
