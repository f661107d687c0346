"""Software engineering in a sandbox: what a policy can do there, and what it gets for it."""

from __future__ import annotations

import json
import shlex
import subprocess
import threading
import time

import gymnasium as gym
import pytest

import agentgym
from agentgym.actions import Action
from agentgym.collector import Collector, episode_keys
from agentgym.envs.swe import localisation
from agentgym.envs.swe_diff import Version, write_diff
from agentgym.errors import ConfigError, SandboxError, TaskError
from agentgym.policy import open_policy
from agentgym.rewards import bind, parse
from agentgym.sandboxes import janitor
from agentgym.tasks import swe_projects
from agentgym.types import Stop

TASK = "projects:almanac-1"
SUBMIT = "submit()"


def call(verb, *arguments, **keywords):
    said = [json.dumps(each) for each in arguments]
    said += [f"{name}={json.dumps(value)}" for name, value in keywords.items()]
    return f"{verb}({', '.join(said)})"


def bash(command, **keywords):
    return call("bash", command, **keywords)


@pytest.fixture
def make(box_backend):
    made = []

    def make_one(**arguments):
        env = agentgym.make("agentgym/SWE-v0", backend=box_backend, **arguments)
        made.append(env)
        return env

    yield make_one
    for env in made:
        env.close()


@pytest.fixture
def env(make):
    env = make()
    env.reset(seed=0, options={"task": TASK})
    return env


def gold(task_id=TASK):
    return next(task for task in swe_projects.suite() if task.id == task_id)


def seen(step):
    return step[0]


# -------------------------------------------------------------------------------- the episode


def test_the_solution_that_came_with_the_task_passes(make):
    env = make(outcome="levels")
    _, info = env.reset(seed=0, options={"task": TASK, "hints": ["oracle"]})
    while True:
        _, reward, terminated, truncated, info = env.step(info["oracle"])
        if terminated or truncated:
            break
    assert (reward, terminated, truncated) == (1.0, True, False)
    assert info["outcome"].label == "passes"
    assert info["outcome"].parts == {"level": 3.0, "fail_to_pass": 1.0, "pass_to_pass": 1.0}
    assert set(info["facts"]["tests"].values()) == {True}
    wanted = {"file_recall": 1.0, "file_precision": 1.0, "hunk_recall": 1.0}
    assert wanted.items() <= info["facts"].items()


@pytest.mark.parametrize(
    ("actions", "label", "graded"),
    [
        ([SUBMIT], "empty", 0.25),
        ([bash("touch x.pyc; mkdir empty"), SUBMIT], "empty", 0.25),
        ([bash("echo '# a note' >> src/almanac/interval.py"), SUBMIT], "fails", 0.5),
        ([bash("rm -r src"), SUBMIT], "fails", 0.5),
    ],
)
def test_other_ends_are_levels_below(make, actions, label, graded):
    for outcome, score in (("levels", graded), ("passed", 0.0)):
        env = make(outcome=outcome)
        env.reset(seed=0, options={"task": TASK})
        for action in actions:
            _, reward, terminated, _, info = env.step(action)
        assert terminated
        assert (info["outcome"].label, info["outcome"].passed) == (label, False)
        assert reward == score


def test_who_does_not_submit_has_submitted_nothing(make):
    fix = bash(f"git apply <<'X'\n{gold().gold}\nX")
    for at_limit, label in ((False, "no_submit"), (True, "passes")):
        env = make(max_turns=1, submit_at_limit=at_limit)
        env.reset(seed=0, options={"task": TASK})
        _, reward, terminated, truncated, info = env.step(fix)
        assert (terminated, truncated) == (False, True)
        assert info["outcome"].label == label
        assert reward == float(at_limit)


def test_the_same_seed_and_actions_give_the_same_trajectory(make):
    actions = [
        bash("ls -a; git log --oneline; git status --short"),
        call("view", "src/almanac/interval.py"),
        call("search", "def "),
        bash("python3 -m pytest -q -p no:cacheprovider 2>&1 | grep -v ' in '"),
        bash("echo x >> src/almanac/interval.py; false"),
        SUBMIT,
    ]

    def play():
        env = make()
        first, info = env.reset(seed=3, options={"task": TASK})
        steps = [env.step(action) for action in actions]
        return first, info["facts"], [(*step[:4], step[4]["facts"]) for step in steps]

    assert play() == play()


def test_a_shell_alone_in_blocks_as_mini_swe_agent_has_it(make):
    env = make(tools="bash")
    env.reset(seed=0, options={"task": TASK})
    assert "```bash" in env.grammar.instructions()
    text = 'I look around first.\n\n```bash\ncd src\nfor f in *; do\n  echo "$f"\ndone\n```\n'
    assert seen(env.step(text)) == "almanac"
    end = "```bash\necho COMPLETE_TASK_AND_SUBMIT_FINAL_OUTPUT && git diff\n```"
    _, _, terminated, _, info = env.step(end)
    assert terminated
    assert info["outcome"].label == "empty"


# -------------------------------------------------------------------------------- what is hidden


def test_nothing_that_grades_is_in_the_box(env):
    task = gold()
    env.step(bash("cd / && git -C /testbed fsck --lost-found; git -C /testbed branch -a"))
    log = seen(env.step(bash("git -C /testbed log --all --format=%s; ls -a /testbed/.git/refs/*")))
    assert log.count("start") == 1
    names = {name.rpartition("::")[2].partition("[")[0] for name in task.fail_to_pass}
    files = [path.rpartition("/")[2] for path in task.hidden]
    fixed = [line[1:].strip() for line in task.gold.splitlines() if line[:1] == "+"][1:]
    for word in [*names, *files, *(line for line in fixed if len(line) > 12)]:
        found = env.box.run(f"grep -rlF -- {json.dumps(word)} /testbed /tmp /root /home /var")
        assert found.output == "", f"{word!r} is in the box"
    objects = env.box.run(
        "cd /testbed && git cat-file --batch-all-objects --batch --buffer | cat", keep_bytes=1 << 22
    )
    assert not [name for name in names if name in objects.output]


def test_the_policy_reads_the_issue_and_no_test_names(make):
    env = make()
    first, info = env.reset(seed=0, options={"task": TASK})
    assert gold().problem.strip() in first
    assert not [name for name in gold().fail_to_pass if name.rpartition("::")[2] in first]
    assert info["task"].data["FAIL_TO_PASS"] == list(gold().fail_to_pass)


# -------------------------------------------------------------------------------- tools


def test_a_shell_goes_on_where_the_last_one_was(env):
    assert seen(env.step(bash("pwd"))) == "/testbed"
    env.step(bash("cd src && export WORD=kept && unkept=1"))
    assert seen(env.step(bash('pwd; echo "$WORD-$unkept"'))) == "/testbed/src\nkept-"
    env.step(call("search", "def"))
    assert seen(env.step(bash("pwd"))) == "/testbed/src"


def test_a_command_tells_how_it_ended(env):
    assert seen(env.step(bash("true"))) == "[no output]"
    text, *_, info = env.step(bash("echo oh; exit 3"))
    assert text == "oh\n[exit code 3]"
    assert (info["facts"]["exit_code"], info["facts"]["valid"]) == (3, True)
    assert "took too long" in seen(env.step(bash("sleep 60", timeout=1)))


def test_long_output_is_cut_in_the_middle_and_says_so(make):
    env = make(output_chars=1000)
    env.reset(seed=0, options={"task": TASK})
    text = seen(env.step(bash("seq 100000")))
    assert text.startswith("1\n2\n3\n")
    assert text.endswith("99999\n100000")
    assert "left out …]" in text
    assert len(text) < 1200


def test_the_time_of_all_commands_is_limited(make):
    env = make(episode_timeout_s=1, visible_tests=True)
    env.reset(seed=0, options={"task": TASK})
    env.step(bash("sleep 5"))
    for action in (bash("true"), "run_tests()"):
        text, *_, info = env.step(action)
        assert (info["invalid"], "used up" in text) == ("time", True)
    assert env.step(SUBMIT)[2]


def test_the_time_of_tests_counts_as_that_of_commands(make):
    env = make(episode_timeout_s=2, visible_tests=True)
    env.reset(seed=0, options={"task": TASK})
    env.step(bash("echo 'import time; time.sleep(60)' >> tests/test_interval.py"))
    assert "took too long" in seen(env.step("run_tests()"))
    assert env.step(bash("true"))[-1]["invalid"] == "time"


def test_a_server_in_the_background_outlives_its_command(env):
    env.step(
        bash("echo hello > /tmp/page; cd /tmp && python3 -m http.server 8123 >/dev/null 2>&1 &")
    )
    ask = (
        "import time, urllib.request as r\n"
        "for _ in range(100):\n"
        "    try: print(r.urlopen('http://127.0.0.1:8123/page').read().decode()); break\n"
        "    except OSError: time.sleep(0.1)\n"
    )
    assert seen(env.step(bash(f"python3 -c {shlex.quote(ask)}"))).startswith("hello")


def test_what_runs_in_the_background_outlives_the_other_tools_too(make):
    env = make(visible_tests=True)
    env.reset(seed=0, options={"task": TASK})
    env.step(bash("ln -s README.md link; sleep 1000 > /dev/null 2>&1 &"))
    others = [call("search", "def"), call("view", "link"), call("create", "a.py", "x = 1\n")]
    for action in [*others, call("undo", "a.py"), "run_tests()"]:
        assert env.step(action)[-1]["invalid"] is None
        assert seen(env.step(bash("cat /proc/[0-9]*/comm | grep -c sleep"))) == "1", action


def test_an_edit_shows_what_it_did_and_can_be_taken_back(env):
    env.step(call("create", "new/a.py", "one = 1\ntwo = 2\n"))
    assert seen(env.step(call("view", "new/a.py"))) == "1\tone = 1\n2\ttwo = 2"
    assert "1\tone = 3" in seen(env.step(call("str_replace", "new/a.py", "one = 1", "one = 3")))
    env.step(call("insert", "new/a.py", 1, "between = 0"))
    assert env.box.read("/testbed/new/a.py") == b"one = 3\nbetween = 0\ntwo = 2\n"
    env.step(call("undo", "new/a.py"))
    env.step(call("undo", "new/a.py"))
    assert env.box.read("/testbed/new/a.py") == b"one = 1\ntwo = 2\n"
    assert "gone" in seen(env.step(call("undo", "new/a.py")))
    assert env.step(call("undo", "new/a.py"))[-1]["invalid"] == "no_edit"


def test_line_ends_and_bytes_that_are_no_text_survive_an_edit(env):
    env.box.write("/testbed/crlf.txt", b"a\r\nb\xff\r\nc")
    env.step(call("str_replace", "crlf.txt", "a\r\n", "A\r\n"))
    env.step(call("insert", "crlf.txt", 3, "d"))
    assert env.box.read("/testbed/crlf.txt") == b"A\r\nb\xff\r\nc\nd\n"


def test_all_tools_count_the_same_lines(env):
    env.box.write("/testbed/page.txt", "a\n\fb\x85c\u2028d\ne\r\nf\n")
    assert seen(env.step(call("view", "page.txt", start=3, end=3))) == "3\te"
    assert seen(env.step(call("search", "^e", path="page.txt"))) == "page.txt:3:e"
    assert seen(env.step(call("search", "d$", path="page.txt"))) == "page.txt:2:\fb\x85c\u2028d"
    assert "4\tnew" in seen(env.step(call("insert", "page.txt", 3, "new")))
    assert env.box.read("/testbed/page.txt").endswith(b"d\ne\r\nnew\nf\n")


@pytest.mark.parametrize(
    ("action", "kind"),
    [
        (call("view", "nowhere.py"), "no_file"),
        (call("view", "README.md", start=9999), "range"),
        (call("view", "README.md", start=2, end=1), "range"),
        (call("view", "/dev/zero"), "unreadable"),
        (call("view", "/proc/1/environ"), "unreadable"),
        (call("create", "README.md", "x"), "exists"),
        (call("create", "src", "x"), "exists"),
        (call("create", "/dev/null/x", "x"), "not_written"),
        (call("str_replace", "README.md", "not there", "x"), "no_match"),
        (call("str_replace", "README.md", "a", "b"), "not_unique"),
        (call("str_replace", "src", "a", "b"), "no_file"),
        (call("insert", "README.md", 100000, "x"), "range"),
        (call("undo", "README.md"), "no_edit"),
        (call("search", "("), "search"),
        ("bash()", "arguments"),
        ("dance()", "unknown_verb"),
        ("", "empty"),
    ],
)
def test_what_cannot_be_done_is_told_with_a_kind(env, action, kind):
    text, reward, terminated, truncated, info = env.step(action)
    assert (info["invalid"], reward, terminated, truncated) == (kind, 0.0, False, False)
    assert text


def test_a_search_gives_files_and_lines(env):
    text = seen(env.step(call("search", "^class [A-Z]", path="src")))
    assert all(line.startswith("src/almanac/") for line in text.splitlines())
    assert seen(env.step(call("search", "no such thing"))) == "[no line matches]"


def test_a_search_shows_no_line_that_is_not_there(make):
    env = make(output_chars=200_000)
    env.reset(seed=0, options={"task": TASK})
    env.step(bash("for n in $(seq 200); do printf 'needle%05000d\\n' $n; done > long.txt"))
    *lines, end = seen(env.step(call("search", "needle"))).splitlines()
    assert (len(lines), end) == (100, "[… more than 100: narrow it down …]")
    assert all(line.startswith("long.txt:") and ":needle000" in line for line in lines)
    assert max(map(len, lines)) < 1001


def test_visible_tests_are_a_tool_where_asked_for(make):
    env = make(visible_tests=True)
    env.reset(seed=0, options={"task": TASK})
    text, *_, info = env.step("run_tests()")
    found = info["facts"]["visible_tests"]
    assert f"{sum(found.values())} of {len(found)} tests pass." in text
    assert set(found) <= set(gold().pass_to_pass)


# -------------------------------------------------------------------------------- signals


def test_turns_carry_what_dense_rewards_read(make, box_backend):
    fix = bash(f"git apply <<'X'\n{gold().gold}\nX")
    script = [bash("ls"), "nonsense", fix, SUBMIT]

    class Scripted:
        async def act(self, messages, *, sampling, session, admissible=None):
            from agentgym.types import Completion

            turn = sum(message["role"] == "assistant" for message in messages)
            return Completion(script[turn])

    collector = Collector(lambda: make(tests_each_turn=True, outcome="levels"), Scripted())
    (trajectory,) = collector.run(episode_keys("agentgym/SWE-v0", [TASK]))
    assert trajectory.stop is Stop.TERMINATED, trajectory.error
    vectors = [turn.facts.get("tests") for turn in trajectory.turns]
    assert vectors[0] is None, "nothing was changed yet"
    assert set(vectors[2].values()) == set(vectors[3].values()) == {True}
    assert vectors[2].keys() == vectors[3].keys()
    provides = make().provides
    for text, total in (("gra", 1.0 + 0.1 * 1.5), ("outcome", 1.0), ("tests_passed.mean()", 1.0)):
        (scored,) = bind(parse(text), provides).score([trajectory])
        assert scored.total == pytest.approx(total)


def test_localisation_is_the_overlap_with_the_solution():
    def edit(path, number):
        lines = [f"{n}\n" for n in range(60)]
        before = Version("".join(lines).encode())
        lines[number] = "new\n"
        return write_diff(path, before, Version("".join(lines).encode()))

    patch = edit("a.py", 20) + write_diff("b c.py", Version(b"gone\n"), None)
    near, far = edit("a.py", 26), edit("a.py", 27)  # three lines around each belong to it
    assert localisation(["a.py"], patch, near) == {
        "file_recall": 0.5,
        "file_precision": 1.0,
        "hunk_recall": 0.5,
    }
    assert localisation(["a.py", "c.py"], patch, far)["hunk_recall"] == 0.0
    assert localisation(["a.py", "b c.py"], patch, patch) == dict.fromkeys(
        ("file_recall", "file_precision", "hunk_recall"), 1.0
    )
    assert localisation(["a.py"], "damaged\n@@ -1,9 +1,9 @@")["file_recall"] == 1.0
    assert localisation(["a.py", "c.py"], patch)["file_precision"] == 0.5
    assert localisation([], patch) == {"file_recall": 0.0, "file_precision": 0.0}


def test_a_change_that_would_take_long_to_compare_is_told_as_a_whole():
    def changed(before, after):
        versions = (Version("".join(lines).encode()) for lines in (before, after))
        told = write_diff("a.py", *versions).splitlines()[4:]
        return [sum(line.startswith(sign) for line in told) for sign in ("@@", "-", "+")]

    assert changed(["x\n", "y\n"] * 2500, ["x\n"] * 199) == [1, 4999, 198]
    lines = [f"{n}\n" if n % 3 else "\n" for n in range(9000)]
    assert changed(lines, ["new\n", *lines[1:-1], "new\n"]) == [2, 2, 2]


# -------------------------------------------------------------------------------- snapshots, faults


def test_a_fork_goes_on_by_itself_from_what_was_done(env):
    env.step(bash("cd src; echo one > ../one.txt"))
    env.step(call("create", "two.txt", "two\n"))
    twin = env.fork()
    try:
        twin.step(bash(f"cd /testbed; git apply <<'X'\n{gold().gold}\nX"))
        env.step(bash("cd /testbed; rm one.txt two.txt"))
        assert env.step(SUBMIT)[-1]["outcome"].label == "empty"
        info = twin.step(SUBMIT)[-1]
        assert info["outcome"].passed
        assert {"one.txt", "two.txt"} <= set(_files(info["facts"]["patch"]))
    finally:
        twin.close()


def _files(patch):
    return [line.split(" b/")[1] for line in patch.splitlines() if line.startswith("diff --git")]


def test_a_snapshot_keeps_the_repository_and_where_the_shell_is(env):
    env.step(
        bash("cd src; export Q='a b'; rm ../README.md; ln -s almanac here; echo x > 'new file'")
    )
    point = env.snapshot()
    env.step(bash("cd /; unset Q; rm -rf /testbed/src"))
    env.restore(point)
    text = seen(env.step(bash('pwd; echo "$Q"; ls; ls ..; readlink here')))
    assert text.startswith("/testbed/src\na b\nalmanac\nhere\nnew file\n")
    assert "README.md" not in text
    assert text.endswith("almanac")
    info = env.step(SUBMIT)[-1]
    assert {"README.md", "src/new file"} == set(_files(info["facts"]["patch"]))


def test_a_snapshot_keeps_links_in_new_folders_and_variables_of_any_length(env):
    env.step(
        bash("mkdir 'a b'; ln -s ../README.md 'a b/l'; export V=$(printf %050000d 7); cd 'a b'")
    )
    env.restore(env.snapshot())
    assert seen(env.step(bash("head -c 9 l; echo; echo ${#V}; ls -A .. | grep -cx b"))) == (
        "# almanac\n50000\n0\n[exit code 1]"
    )


def test_a_snapshot_that_would_lack_a_file_is_not_made(env):
    env.step(bash("truncate -s 70M big.dat"))
    with pytest.raises(SandboxError, match=r"no snapshot: big\.dat is too large"):
        env.snapshot()


def test_forks_of_forks_of_forks_go_on(env):
    made = [env]
    try:
        for number in range(6):
            made.append(made[-1].fork())
            made[-1].step(bash(f"echo {number} > /testbed/{number}.txt"))
        assert seen(made[-1].step(bash("cat /testbed/?.txt"))).split() == list("012345")
    finally:
        for twin in made[1:]:
            twin.close()


def test_whatever_a_policy_says_its_box_lives(env):
    for path in ("d/" * 1900 + "f", "x" * 5000, "a\0b", "\ud800", ".", "..", "/", "-rf", "a\nb"):
        for verb, more in (("create", ("text",)), ("view", ()), ("undo", ()), ("search", ())):
            said = ("x", path) if verb == "search" else (path, *more)
            env.step(Action(call(verb, *said)))
    assert seen(env.step(bash("echo alive"))) == "alive"


def test_what_cannot_be_read_is_not_overwritten(env):
    env.step(bash("head -c 9000000 /dev/zero > big.dat; mkfifo pipe; ln -s README.md link"))
    for path in ("big.dat", "pipe"):
        assert env.step(call("create", path, "small"))[-1]["invalid"] == "unreadable"
    assert seen(env.step(bash("stat -c %s big.dat"))) == "9000000"
    assert "1\t# almanac" in seen(env.step(call("view", "link")))


def test_a_lost_box_is_an_infrastructure_fault_and_never_a_zero(make):
    envs = []

    class Saboteur:
        async def act(self, messages, *, sampling, session, admissible=None):
            from agentgym.types import Completion

            envs[-1].box._channel.close()
            return Completion(bash("ls"))

    def made():
        envs.append(make())
        return envs[-1]

    collector = Collector(made, Saboteur(), concurrency=1, retries=1)
    (trajectory,) = collector.run(episode_keys("agentgym/SWE-v0", [TASK]))
    assert trajectory.stop is Stop.ERROR
    assert not trajectory.scored
    assert trajectory.error.startswith("sandbox")
    assert len(envs) == 2, "it was retried in a fresh environment"


def test_episodes_leave_no_thread_and_no_box(make, box_backend):
    collector = Collector(lambda: make(), open_policy("oracle"), concurrency=4)
    keys = episode_keys("agentgym/SWE-v0", [task.id for task in swe_projects.suite("train")])
    collector.run(keys[:1])  # what looks after containers stays
    before = threading.active_count()
    assert all(each.outcome.passed for each in collector.run(keys))
    for _ in range(300):  # threads that have nothing left to do end within seconds
        if threading.active_count() <= before:
            break
        time.sleep(0.1)
    assert threading.active_count() <= before, threading.enumerate()
    shown = subprocess.run(["ps", "-ww", "-eo", "args"], capture_output=True, text=True).stdout
    boxes = [line for line in shown.splitlines() if line.startswith("unshare ")]
    assert not [line for line in boxes if janitor.owner() in line]


# -------------------------------------------------------------------------------- arguments


@pytest.mark.parametrize(
    "wrong",
    [
        {"tools": "all"},
        {"outcome": "graded"},
        {"backend": "podman"},
        {"command_timeout_s": 0},
        {"output_chars": "many"},
        {"memory_mb": 1},
        {"tasks": "no such file"},
        {"format": "swe"},
    ],
)
def test_a_wrong_argument_is_named(wrong):
    with pytest.raises(ConfigError, match=next(iter(wrong)).replace("tasks", "no tasks at")):
        gym.make("agentgym/SWE-v0", **wrong).tasks()


def test_a_task_of_another_split_is_not_found():
    env = gym.make("agentgym/SWE-v0", split="test")
    with pytest.raises(TaskError, match="almanac-1"):
        env.find_task(TASK)


def test_actions_read_back_in_every_dialect():
    for dialect in ("call", "tags", "json", "tools", "blocks"):
        env = gym.make("agentgym/SWE-v0", dialect=dialect)
        command = 'cat > a.py <<"X"\nprint("</bash> ```")\nX\n'
        action = Action(bash(command))
        assert env.grammar.parse(env.grammar.render(action)).arguments["command"] == command
