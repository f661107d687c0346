"""What every box does, whatever it is made of: the `Sandbox` protocol as a specification."""

import errno
import os
import selectors
import threading
import time

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from agentgym.errors import ConfigError, SandboxError
from agentgym.sandbox import Sandbox, open_sandbox


def test_a_box_keeps_the_protocol(box):
    assert isinstance(box, Sandbox)
    assert box.features == {"cwd", "manifest", "fork", "protected", "interrupt"}
    assert box.alive


# ------------------------------------------------------------------------------ commands


@pytest.mark.parametrize(
    ("command", "code"),
    [("true", 0), ("false", 1), ("exit 7", 7), ("exit 255", 255), ("nonesuch", 127), ("/", 126)],
)
def test_a_command_tells_its_exit_status(box, command, code):
    assert box.run(command).code == code


def test_a_mistake_reads_the_same_in_the_first_command_and_in_a_later_one(box):
    first, later = box.run("nonesuch $# $1"), box.run("nonesuch $# $1")
    assert first.output == later.output
    assert "nonesuch" in first.output
    assert box.run("echo $# $1").output == "0\n"


@pytest.mark.parametrize("number", [2, 9, 11, 15])
def test_a_shell_that_a_signal_ended_has_128_and_the_signal_as_its_status(box, number):
    assert box.run(f"kill -{number} $$; sleep 5").code == 128 + number


def test_the_folder_and_exported_variables_last(box):
    box.run("cd /usr/lib; export GREETING='a \"b\" $c\nd'; unexported=1")
    done = box.run('pwd; printf "%s|" "$PWD" "$GREETING" "$unexported"')
    assert done.output == '/usr/lib\n/usr/lib|a "b" $c\nd||'
    assert done.cwd == "/usr/lib"
    assert box.run("cd - >/dev/null; pwd").output == "/\n"


def test_the_folder_and_variables_last_when_a_command_fails_or_exits(box):
    box.run("cd /tmp; export A=1; exit 3")
    box.run("cd /usr; false")
    assert box.run("echo $PWD $A").output == "/usr 1\n"


def test_a_folder_that_is_given_is_kept_for_the_next_command(box):
    box.run("cd /usr; export A=1")
    assert box.run("pwd; echo $PWD", cwd="/etc").output == "/etc\n/etc\n"
    assert box.run("pwd; echo $PWD").output == "/etc\n/etc\n"
    assert box.run("pwd", cwd="../usr/lib").cwd == "/usr/lib"


def test_a_folder_reached_through_a_link_keeps_its_name(box):
    box.run("ln -s /usr/lib /link; cd /link")
    assert box.run("echo $PWD").output == "/link\n"


def test_a_folder_that_is_gone_is_told_and_the_command_runs(box):
    box.run("mkdir /gone; cd /gone; rmdir /gone")
    done = box.run("pwd")
    assert done.output == "[/gone is no folder: starting in /]\n/\n"
    assert done.code == 0


def test_folders_of_any_bytes_can_be_worked_in(box):
    done = box.run(r"mkdir -p $'/tmp/\xff\xc3\xa9 \n'; cd $'/tmp/\xff\xc3\xa9 \n'")
    assert done.cwd == "/tmp/\udcffé \n"
    assert box.run("ls -d ../*", cwd=done.cwd).cwd == done.cwd


def test_variables_of_one_command_are_for_that_one(box):
    assert box.run("echo $A", env={"A": "só 😀"}).output == "só 😀\n"
    assert box.run("echo [$A]").output == "[]\n"


def test_variables_of_the_box_are_for_every_command(open_box):
    box = open_box(env={"A": "ü b"}, workdir="/usr")
    assert box.run("echo $A; export A=2; pwd").output == "ü b\n/usr\n"
    box.reset_session()
    assert box.run("echo $A").output == "ü b\n"


@pytest.mark.parametrize("env", [{"A=B": "1"}, {"": "1"}, {"A": "\0"}, {"A\0": ""}])
def test_what_is_no_variable_is_refused(box, env):
    with pytest.raises(ConfigError, match="cannot be set"):
        box.run("true", env=env)


@pytest.mark.parametrize("timeout_s", [0, -1, float("nan"), float("inf")])
def test_what_is_no_time_is_refused(box, timeout_s):
    with pytest.raises(ConfigError, match="timeout_s"):
        box.run("true", timeout_s=timeout_s)


def test_a_command_with_a_nul_is_refused(box):
    with pytest.raises(ConfigError, match="NUL"):
        box.run("echo \0")


def test_output_and_errors_come_in_order(box):
    assert box.run("echo a; echo b >&2; echo c; echo d >&2").output == "a\nb\nc\nd\n"


def test_long_output_is_cut_in_the_middle(box):
    done = box.run("seq 100000", keep_bytes=100)
    whole = "".join(f"{n}\n" for n in range(1, 100_001))
    assert done.output == whole[:50] + whole[-50:]
    assert (done.head, done.total, done.elided) == (50, len(whole), len(whole) - 100)
    assert done.stopped == ""


@pytest.mark.parametrize("keep_bytes", [0, 1, 7, 8, 9])
def test_output_is_cut_to_what_is_to_be_kept(box, keep_bytes):
    done = box.run("printf 01234567", keep_bytes=keep_bytes)
    assert done.total == 8
    assert done.elided == 8 - len(done.output)
    assert len(done.output) == min(8, keep_bytes // 2 * 2)


def test_a_character_in_the_middle_of_whole_output_is_whole(box):
    for length in range(1, 8):
        done = box.run("printf " + "é" * length, keep_bytes=2 * length)
        assert done.output == "é" * length
        assert done.head == length


def test_bytes_that_are_no_text_are_replaced(box):
    assert box.run(r"printf 'a\xff\0b'").output == "a\ufffd\0b"


def test_commands_read_nothing(box):
    done = box.run("cat; read line || echo none; python3 -c 'input()' 2>&1 | tail -1")
    assert done.output == "none\nEOFError: EOF when reading a line\n"


def test_what_a_command_leaves_running_is_ended_with_it(box):
    box.run("sleep 1000 & setsid sleep 1000 & (nohup sleep 1000 >/dev/null 2>&1 &)")
    assert processes(box) == []


def test_what_a_command_leaves_running_in_the_background_may_be_kept(box):
    done = box.run("sleep 1000 & echo $!", background=True)
    assert done.code == 0
    assert processes(box, background=True) == ["sleep"]
    box.reset_session()
    assert processes(box) == []


def test_a_job_that_holds_the_output_does_not_hold_the_command(box):
    done = box.run("(sleep 1000; echo late) & echo early", background=True, timeout_s=60)
    assert (done.output, done.stopped) == ("early\n", "")


def test_resetting_forgets_the_folder_and_variables(box):
    box.run("cd /usr; export A=1")
    box.reset_session()
    assert box.run("echo $PWD [$A]").output == "/ []\n"


def test_a_command_that_takes_too_long_is_ended(box):
    done = box.run("echo before; sleep 1000; echo after", timeout_s=2)
    assert (done.code, done.output, done.stopped) == (137, "before\n", "timeout")
    assert box.run("echo next").output == "next\n"


def test_a_command_can_be_interrupted_from_another_thread(box, again_and_again):
    with again_and_again(box.interrupt):
        done = box.run("sleep 1000", timeout_s=60)
    assert done.stopped == "interrupt"
    box.interrupt()  # there is nothing to interrupt
    assert box.run("echo next").output == "next\n"


def test_an_interruption_that_comes_with_its_command_ends_it(box, monkeypatch):
    send, held = box._channel.send, []

    def send_both(frame, timeout_s):
        held.append(frame)
        if len(held) == 1:
            threading.Thread(target=box.interrupt).start()
        else:
            send(b"".join(held), timeout_s)

    monkeypatch.setattr(box._channel, "send", send_both)
    done = box.run("sleep 5; echo late")
    assert (done.output, done.stopped) == ("", "interrupt")


def test_an_answer_that_has_arrived_counts_though_its_time_is_up(box):
    box._send("ping", 1000)
    with selectors.DefaultSelector() as waiting:
        waiting.register(box._channel._end, selectors.EVENT_READ)
        assert waiting.select(60)
    answer, _ = box._answer(time.monotonic(), None, 1000)
    assert answer["ok"]


def test_commands_of_several_threads_take_turns(box):
    said = {}
    threads = [
        threading.Thread(target=lambda n=n: said.update({n: box.run(f"echo {n}").output}))
        for n in range(8)
    ]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert said == {n: f"{n}\n" for n in range(8)}


def test_a_call_that_ctrl_c_left_does_not_spoil_the_next(box, monkeypatch):
    answer = box._answer

    def interrupted(*arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr(box, "_answer", interrupted)
    with pytest.raises(KeyboardInterrupt):
        box.run("echo first; sleep 1000")
    monkeypatch.setattr(box, "_answer", answer)
    assert box.run("echo second").output == "second\n"


def processes(box, **options):
    done = box.run("cat /proc/[0-9]*/comm", **options)
    return sorted(set(done.output.split()) - {"bash", "cat", "python3", "sh"})


# ------------------------------------------------------------------------------ files


def test_what_is_written_is_read(box):
    data = bytes(range(256)) * 100
    box.write("/new/folders/file", data)
    assert box.read("/new/folders/file") == data
    box.write("/new/folders/file", "text: ü")
    assert box.read("/new/folders/file").decode() == "text: ü"
    assert box.run("ls -A /new/folders").output == "file\n"


def test_modes_are_set_or_kept(box):
    box.write("/a", "", mode=0o751)
    box.write("/b", "")
    box.write("/a", "again")
    assert box.run("stat -c %a /a /b").output == "751\n644\n"


def test_names_of_any_bytes_can_be_used(box):
    name = "/tmp/\udcff é\n"
    box.write(name, "x")
    assert box.read(name) == b"x"
    assert [entry.path for entry in box.list("/tmp")] == [name[5:]]


def test_large_files_pass(box):
    data = os.urandom(8 << 20)
    box.write("/large", data)
    assert box.read("/large") == data
    with pytest.raises(OSError, match=r"8388608 bytes, 1000 at most") as caught:
        box.read("/large", max_bytes=1000)
    assert caught.value.errno == errno.EFBIG


def test_a_link_is_replaced_and_not_followed(box):
    box.run("echo victim > /victim; ln -s /victim /link; ln -s /none /dangling")
    for name in ("/link", "/dangling"):
        with pytest.raises(OSError, match=r".") as caught:
            box.read(name)
        assert caught.value.errno == errno.ELOOP
        box.write(name, "mine")
        assert box.read(name) == b"mine"
    assert box.read("/victim") == b"victim\n"


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/none", FileNotFoundError),
        ("/tmp", IsADirectoryError),
        ("/etc/passwd/x", NotADirectoryError),
        ("/fifo", OSError),
        ("/dev/zero", OSError),
        ("/proc/1/environ", OSError),
        ("/proc/self/mem", OSError),
        ("/through/environ", OSError),
        ("/loop/file", OSError),
        ("/tmp/" + "x" * 300, OSError),
        ("/nul\0", OSError),
    ],
)
def test_what_is_no_regular_file_is_not_read(box, path, kind):
    box.run("mkfifo /fifo; ln -s /loop /loop; ln -s /proc/self /through")
    with pytest.raises(kind):
        box.read(path)
    assert box.alive


def test_what_cannot_be_written_says_why_and_leaves_nothing(box):
    with pytest.raises(IsADirectoryError):
        box.write("/tmp", "x")
    with pytest.raises(OSError, match=r"."):
        box.write("/proc/new", "x")
    with pytest.raises(NotADirectoryError):
        box.write("/etc/passwd/x", "x")
    assert box.run("ls -A /tmp").output == ""


def test_a_path_of_many_folders_is_made(box):
    path = "/deep/" + "/".join("a" * 1900)
    box.write(path, b"far down")
    assert box.read(path) == b"far down"


@pytest.mark.parametrize("path", ["/" + "b/" * 3000 + "x", "/" + "c" * 300])
def test_a_path_that_is_too_long_is_refused_and_the_box_lives(box, path):
    with pytest.raises(OSError, match="too long") as refused:
        box.write(path, b"")
    assert refused.value.errno == errno.ENAMETOOLONG
    assert box.run("echo fine").output == "fine\n"


def test_a_pipe_is_replaced_by_what_is_written(box):
    box.run("mkfifo /tmp/pipe")
    box.write("/tmp/pipe", "x")
    assert box.read("/tmp/pipe") == b"x"


def test_folders_are_listed(box):
    box.run("mkdir -p /t/b/c; echo 12345 > /t/a; ln -s /etc /t/l; mkfifo /t/p; touch /t/b/c/d")
    entries = [tuple(entry)[:2] for entry in box.list("/t")]
    assert entries == [("a", "file"), ("b", "folder"), ("l", "link"), ("p", "other")]
    assert box.list("/t")[0].size == 6
    deep = [entry.path for entry in box.list("/t", depth=3)]
    assert deep == ["a", "b", "b/c", "b/c/d", "l", "p"]
    assert len(box.list("/usr", depth=9, limit=50)) == 50
    with pytest.raises(FileNotFoundError):
        box.list("/none")
    with pytest.raises(NotADirectoryError):
        box.list("/t/a")


# ------------------------------------------------------------------------------ changes


@pytest.fixture
def tree(box):
    """A folder of which a manifest was taken."""
    box.run(
        "mkdir -p /t/sub /t/.git; cd /t; echo same > same; echo gone > gone; echo old > sub/edited;"
        "ln -s same link; echo swap > swap; echo x > script; echo d > was; echo 1 > .git/HEAD;"
        "echo h > hard; ln hard /outside"
    )
    assert box.manifest("/t", exclude=[".git"]) == 8
    return box


def changed(box, command):
    done = box.run(command)
    assert done.code == 0, done.output
    return {change.path: change for change in box.changes()}


def test_nothing_changed(tree):
    assert tree.changes() == []


@pytest.mark.parametrize(
    ("command", "path", "kind", "type_", "content"),
    [
        ("echo new > new", "new", "added", "file", b"new\n"),
        ("mkdir -p d/e; echo x > d/e/f", "d/e/f", "added", "file", b"x\n"),
        ("rm gone", "gone", "deleted", "file", None),
        ("echo new > sub/edited", "sub/edited", "modified", "file", b"new\n"),
        (
            "touch -r sub/edited /mark; echo new > sub/edited; touch -r /mark sub/edited",
            "sub/edited", "modified", "file", b"new\n",
        ),
        ("chmod 755 script", "script", "modified", "file", b"x\n"),
        ("ln -sf gone link", "link", "modified", "link", b"gone"),
        ("ln -sf /etc/passwd swap", "swap", "modified", "link", b"/etc/passwd"),
        ("rm script; mkfifo script", "script", "modified", "other", None),
        ("echo changed > /outside", "hard", "modified", "file", b"changed\n"),
        ("cp same /s; mv /s same", "same", "modified", "file", b"same\n"),
        (r"echo x > $'\xff'", "\udcff", "added", "file", b"x\n"),
    ],
)  # fmt: skip
def test_what_became_of_a_file_is_told(tree, command, path, kind, type_, content):
    found = changed(tree, f"cd /t; {command}")
    change = found.pop(path)
    assert (change.kind, change.type, change.content) == (kind, type_, content)
    assert found == {}


def test_a_new_mode_is_told(tree):
    assert changed(tree, "chmod 755 /t/script")["script"].mode == 0o755


def test_a_file_that_became_a_folder_is_gone_and_what_is_in_it_is_new(tree):
    found = changed(tree, "cd /t; rm was; mkdir was; echo in > was/in")
    assert {path: change.kind for path, change in found.items()} == {
        "was": "deleted",
        "was/in": "added",
    }


def test_folders_that_change_places_change_their_files(tree):
    tree.run("mkdir -p /t/one /t/two; echo 1 > /t/one/f; echo 2 > /t/two/f")
    tree.manifest("/t")
    found = changed(tree, "cd /t; mv one x; mv two one; mv x two")
    assert {path: change.content for path, change in found.items()} == {
        "one/f": b"2\n",
        "two/f": b"1\n",
    }


def test_excluded_folders_do_not_count_but_deeper_ones_of_that_name_do(tree):
    assert changed(tree, "echo 2 > /t/.git/HEAD") == {}
    assert list(changed(tree, "mkdir /t/sub/.git; echo 2 > /t/sub/.git/x")) == ["sub/.git/x"]


def test_a_change_right_after_the_manifest_is_seen(box):
    box.run("mkdir /t; echo 1 > /t/f")
    for n in range(20):
        box.manifest("/t")
        assert list(changed(box, f"echo {n % 10} > /t/f; touch -d @0 /t/f")) == ["f"]


def test_contents_that_are_too_large_are_left_out(tree):
    tree.run("head -c 5000 /dev/zero > /t/big; echo a > /t/little")
    big, little = tree.changes(max_bytes=1000)
    assert (big.path, big.content, big.size) == ("big", None, 5000)
    assert little.content == b"a\n"


def test_changes_without_a_manifest_are_an_error(box):
    with pytest.raises(SandboxError, match="no manifest"):
        box.changes()
    assert box.alive


def test_a_manifest_of_no_folder_is_an_error(box):
    with pytest.raises(FileNotFoundError):
        box.manifest("/none")


NAMES = st.sampled_from(["a", "b", "d/a", "d/b", "d/e/c", "é\udcff"])
DEEDS = st.sampled_from(["write", "append", "delete", "link", "touch"])
EDITS = st.lists(st.tuples(DEEDS, NAMES, st.binary(max_size=4)), max_size=12)


@settings(max_examples=12, deadline=None, suppress_health_check=list(HealthCheck))
@given(first=EDITS, second=EDITS)
def test_changes_are_what_two_looks_at_the_files_say(box, first, second):
    box.run("rm -rf /t; mkdir /t")
    apply(box, first)
    before = look(box)
    box.manifest("/t")
    apply(box, second)
    after = look(box)
    found = {change.path: change for change in box.changes()}
    differing = {path for path in before | after if before.get(path) != after.get(path)}
    assert differing <= found.keys()
    for path, change in found.items():
        expected = "added" if path not in before else "modified" if path in after else "deleted"
        assert change.kind == expected
        assert change.content == after.get(path)


def apply(box, edits):
    for do, name, data in edits:
        path = f"/t/{name}"
        coded = "$'" + "".join(f"\\x{byte:02x}" for byte in os.fsencode(path)) + "'"
        if do == "write":
            box.write(path, data)
        elif do == "append":
            box.run(f"mkdir -p $(dirname {coded}); [ -L {coded} ] || echo more >> {coded}")
        elif do == "delete":
            box.run(f"rm -f {coded}")
        elif do == "link":
            box.run(f"mkdir -p $(dirname {coded}); ln -sfn target {coded}")
        else:
            box.run(f"[ ! -f {coded} ] || touch -d @1 {coded}")


def look(box):
    """Paths and contents, read one by one."""
    found = {}
    for entry in box.list("/t", depth=9):
        if entry.kind == "file":
            found[entry.path] = box.read(f"/t/{entry.path}")
        elif entry.kind == "link":
            found[entry.path] = b"target"
    return found


@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    data=st.binary(max_size=5000),
    name=st.binary(min_size=1, max_size=40).filter(
        lambda name: not {0, 47} & set(name) and name not in (b".", b"..")
    ),
)
def test_any_bytes_are_written_and_read_under_any_name(box, data, name):
    path = f"/files/{os.fsdecode(name)}"
    box.write(path, data)
    assert box.read(path) == data


@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(text=st.text(max_size=200).filter(lambda text: "\0" not in text))
def test_any_text_can_be_said(box, text):
    safe = text.encode("utf-8", "surrogatepass").decode("utf-8", "replace")
    quoted = safe.replace("'", "'\\''")
    assert box.run(f"printf %s '{quoted}'").output == safe


# ------------------------------------------------------------------------------ its life


def test_a_fork_has_the_files_and_goes_its_own_way(box):
    box.run("echo before > /file; rm /etc/hostname; mkdir /usr/new; ln -s x /link; chmod 700 /file")
    box.run("rm -rf /etc/apt; mkdir /etc/apt; echo mine > /etc/apt/only", cwd="/usr")
    with box.fork() as other:
        look = (
            "cat /file; stat -c %a /file; ls /etc/apt; readlink /link; ls -d /usr/new /etc/hostname"
        )
        assert other.run(look).output == box.run(look).output
        other.run("echo other > /file")
        box.run("echo this > /other")
        assert box.read("/file") == b"before\n"
        with pytest.raises(FileNotFoundError):
            other.read("/other")
        with other.fork() as third:
            other.close()
            assert third.read("/file") == b"other\n"
            assert third.read("/etc/apt/only") == b"mine\n"


def test_a_snapshot_can_be_opened_many_times(box, box_backend):
    box.write("/mark", "1")
    name = box.snapshot()
    box.write("/mark", "2")
    for _ in range(2):
        with open_sandbox(name, backend=box_backend) as other:
            assert other.read("/mark") == b"1"


def test_closing_twice_is_fine_and_calls_say_that_it_is_closed(box):
    box.close()
    box.close()
    assert not box.alive
    for call in (
        lambda: box.run("true"),
        lambda: box.read("/etc/passwd"),
        lambda: box.snapshot(),
        lambda: box.fork(),
        lambda: box.reset_session(),
    ):
        with pytest.raises(SandboxError, match="closed"):
            call()
    box.interrupt()


def test_closing_from_another_thread_ends_a_command(box):
    threading.Timer(0.2, box.close).start()
    with pytest.raises(SandboxError, match="the sandbox is closed"):
        box.run("sleep 1000")


def test_what_a_box_does_not_know_is_refused(box_backend):
    with pytest.raises(ConfigError, match="colour"):
        open_sandbox("base", backend=box_backend, colour="red")


def test_boxes_in_parallel_do_not_disturb_one_another(box_backend):
    found = {}

    def live(n):
        with open_sandbox("base", backend=box_backend) as box:
            box.write("/n", str(n))
            for _ in range(5):
                box.run("echo . >> /n")
            found[n] = box.read("/n").decode()

    threads = [threading.Thread(target=live, args=(n,)) for n in range(16)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert found == {n: f"{n}" + ".\n" * 5 for n in range(16)}


def test_the_limits_hold(open_box):
    box = open_box()
    memory = box.run("python3 -c 'x = bytearray(1 << 30)'")
    assert memory.code != 0
    assert box.run("for i in $(seq 400); do sleep 100 & done; wait", timeout_s=3).code != 0
    assert box.run("echo next").output == "next\n"
