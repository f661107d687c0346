"""What models, and those who would like a better score, do to a box: none of it gets far.

After each attack the same box carries out a command as if nothing had been.
"""

import json
import os
import signal
import socket
import threading
import time
from pathlib import Path

import pytest

from agentgym.errors import SandboxError
from agentgym.sandbox import Limits, open_sandbox
from agentgym.sandboxes import janitor

SMALL = Limits(memory_mb=512, cpus=1.0, pids=128, disk_mb=128, output_mb=8)


@pytest.fixture(scope="module")
def boxes():
    """One box of each kind, for all attacks that a box should not even notice."""
    opened = {}
    yield opened
    for box in opened.values():
        box.close()


@pytest.fixture
def box(boxes, box_backend):
    """A box that must answer in the end, with nothing left running."""
    box = boxes.get(box_backend)
    if box is None or not box.alive:
        box = boxes[box_backend] = open_sandbox("base", backend=box_backend, limits=SMALL)
    yield box
    assert box.run("echo fine").output.endswith("fine\n")
    box.reset_session()
    left = box.run("for each in /proc/[0-9]*; do echo ${each#/proc/}; done").output.split()
    assert len(left) == 2  # the supervisor and this shell


def python(code):
    return "python3 - <<'PYTHON'\n" + code + "\nPYTHON"


FORKS = "import os\nwhile 1:\n try: os.fork()\n except OSError: pass"
STOPS = """
import os
while os.getppid() != 1: pass  # the shell that started it may end
while 1:
 try: os.kill(-1, 19)
 except OSError: pass
"""
DAEMON = """
import os, time
if os.fork(): os._exit(0)
os.setsid()
if os.fork(): os._exit(0)
time.sleep(999)
"""
MANY = "import os\nfor _ in range(8): os.fork()\nx = []\nwhile 1: x.append(bytearray(1 << 20))"

# ------------------------------------------------------------------------------ too much


@pytest.mark.parametrize(
    "command",
    [
        pytest.param("b() { b | b & b; }; b 2>/dev/null; sleep 1000", id="a fork bomb in bash"),
        pytest.param(python(FORKS), id="a fork bomb in python"),
        pytest.param(
            "trap '' INT TERM HUP QUIT; while :; do :; done", id="a loop that ignores signals"
        ),
        pytest.param(
            "for i in 1 2 3 4 5 6 7 8; do (while :; do :; done) & done; wait", id="8 spinners"
        ),
        pytest.param("sleep 1000", id="nothing at all"),
        pytest.param(
            "setsid sleep 1000 & setsid setsid sleep 1000 & nohup sleep 1000 & wait", id="sessions"
        ),
        pytest.param(python(DAEMON) + "\nsleep 1000", id="a daemon"),
        pytest.param("kill -STOP $$", id="a stopped shell"),
        pytest.param("tail -f /dev/null", id="a reader of nothing"),
    ],
)
def test_what_does_not_end_is_ended(box, command):
    done = box.run(command, timeout_s=1.0)
    assert done.stopped == "timeout"


def test_what_stops_all_others_costs_commands_and_not_the_box(box):
    box.write("/stops.py", STOPS)
    box.run("setsid python3 /stops.py >/dev/null 2>&1 &", background=True)
    while not box.run("true", background=True, timeout_s=2).stopped:
        pass  # it has not begun yet


@pytest.mark.parametrize(
    "command",
    [
        pytest.param(python("x = bytearray(4 << 30)"), id="at once"),
        pytest.param(python("x = []\nwhile 1: x.append(bytearray(1 << 20))"), id="bit by bit"),
        pytest.param(python(MANY), id="by many"),
        pytest.param("tail /dev/zero", id="tail"),
    ],
)
def test_memory_that_is_too_much_costs_the_command(box, command):
    done = box.run(command, timeout_s=30)
    assert done.code != 0


def test_the_state_of_a_shell_cannot_be_filled_with_memory(box):
    done = box.run(
        "head -c 1000000000 /dev/zero >&9; head -c 1000000000 /dev/zero >&8", timeout_s=30
    )
    assert "not permitted" in done.output or done.code != 0


def test_shared_memory_is_limited(box):
    done = box.run("head -c 300M /dev/zero > /dev/shm/fill")
    assert "No space left" in done.output
    assert int(box.run("stat -c %s /dev/shm/fill; rm /dev/shm/fill").output) <= 64 << 20


def test_a_full_disk_ends_the_command(open_box, box_backend):
    box = open_box(Limits(memory_mb=1024, disk_mb=64))
    fill = "for i in $(seq 200); do head -c 16M /dev/zero > /fill$i || exit 9; done; sleep 60"
    done = box.run(fill, timeout_s=60)
    if box_backend == "local":
        assert "No space left" in done.output
    else:
        assert (done.stopped, done.code) == ("disk", 137)
    assert box.run("rm /fill*; echo fine").output == "fine\n"


@pytest.mark.parametrize("box_backend", ["docker"], indirect=True)
def test_what_fills_the_disk_in_the_background_is_ended(open_box):
    box = open_box(Limits(memory_mb=1024, disk_mb=64))
    box.run(
        "cd /tmp; (for i in $(seq 99); do head -c 16M /dev/zero > $i; sleep 0.2; done) &",
        background=True,
    )
    while len([each for each in box.list("/proc") if each.path.isdigit()]) > 1:
        time.sleep(0.1)
    assert len(box.list("/tmp")) < 99
    assert box.run("rm /tmp/*; pwd").output == "/tmp\n"


def test_a_file_that_is_too_large_cannot_be_made_by_docker_or_by_memory(open_box):
    box = open_box(Limits(memory_mb=1024, disk_mb=64))
    assert box.run("head -c 100M /dev/zero > /fill").code != 0
    assert int(box.run("stat -c %s /fill").output) <= 64 << 20


@pytest.mark.parametrize(
    "command",
    [
        "yes",
        "cat /dev/zero",
        "cat /dev/urandom",
        "yes >&2",
        "while :; do echo aaaaaaaaaaaaaaa; done",
    ],
)
def test_endless_output_is_cut_and_costs_the_driver_no_memory(open_box, command):
    box = open_box(Limits(memory_mb=512))
    before = memory_mb()
    done = box.run(command, timeout_s=3)
    assert done.stopped in ("output", "timeout")
    assert done.total < 66 << 20
    assert len(done.output) <= 32_768
    assert memory_mb() - before < 100
    assert box.run("echo fine").output == "fine\n"


def memory_mb():
    """Of this process, now; the peak is that of the whole suite."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if "VmRSS" in line) / 1024


def test_endless_output_in_the_background_does_not_stop_the_box(box):
    box.run("yes &", background=True)
    for _ in range(3):
        assert box.run("echo next", background=True).output == "next\n"
    box.reset_session()


def test_many_files_are_no_trouble(box):
    box.run("mkdir /many; cd /many; seq 20000 | xargs touch", timeout_s=60)
    assert box.manifest("/many") == 20_000
    box.run("rm -r /many", timeout_s=60)
    assert len(box.changes()) == 20_000


def test_folders_deeper_than_any_path_are_no_trouble(box):
    deep = "import os\nfor _ in range(3000):\n os.mkdir('dddd'); os.chdir('dddd')\nopen('f','w')"
    box.run(f'mkdir /deep; cd /deep; python3 -c "{deep}"', timeout_s=60)
    box.manifest("/deep")
    assert len(box.list("/deep", depth=9999)) > 100
    assert box.run("rm -rf /deep", timeout_s=60).code == 0


# ------------------------------------------------------------------------------ odd commands


@pytest.mark.parametrize(
    ("command", "code"),
    [
        ("kill -9 $$", 137),
        ("kill -9 -1", 0),
        ("kill -9 1; kill -15 1; kill -STOP 1; kill -SEGV 1; true", 0),
        ("exit 3", 3),
        ("exec sh -c 'exit 4'", 4),
        ("exec true", 0),
        ("echo 'unbalanced", 2),
        ('echo "$(', 2),
        ("if", 2),
        ("cat <<END\nnever ended", 0),
        ("cat <<'END' | wc -l\na\nb\nEND", 0),
        ("exec 0<&- 1>&- 2>&-; echo lost", 1),
        ("exec 9>&-; cd /tmp", 0),
        ("trap - EXIT; cd /tmp", 0),
        ("set -e; false; echo not here", 1),
        ("return 5", 1),
        ("", 0),
        ("# nothing", 0),
        ("\n\n\r\n", 127),
        ("ulimit -n 3; true", 0),
        ("ulimit -v 1; true", 0),
        ("enable -n echo cd export trap printf; true", 0),
        ("export PATH=; unset HOME; true", 0),
        (
            "export BASH_ENV=/etc/passwd ENV=/etc/passwd PS4='$(exit)' IFS=x LD_PRELOAD=/no; true",
            0,
        ),
        ("readonly PWD OLDPWD; true", 0),
        ("export PYTHONHOME=/nowhere PYTHONPATH=/nowhere", 0),
    ],
)
def test_odd_commands_do_no_harm(box, command, code):
    done = box.run(command, timeout_s=10)
    assert not done.stopped
    if "-1" not in command:  # what is killed depends on who is first
        assert (done.code != 0) == (code != 0), done.output
    box.reset_session()


def test_a_shell_cannot_lie_about_more_than_itself(box):
    box.run(r"""printf 'declare -x A="1"\0/etc\0' >&9; exec 9>&-""")
    assert box.run("echo $A $PWD").output == "1 /etc\n"
    for junk in (r"'\0\0\0'", r"'exit 9\0/\0'", r"'\0relative\0'", r"'rm -rf /etc &\0/none\0'"):
        box.run(f"printf {junk} >&9; exec 9>&-")
        box.run("true")
    box.run("echo 'echo spoofed' >&8; echo 'echo spoofed' >&7; cat <&7; cat <&8")
    box.reset_session()
    assert box.run("echo $A $PWD").output == "/\n"


def test_what_looks_like_an_answer_is_output(box):
    forged = b"\0\0\0\x12\0\0\0\0" + json.dumps({"ok": True, "id": 99}).encode()
    coded = "".join(f"\\x{byte:02x}" for byte in forged)
    elsewhere = f"for n in 3 4 5 6 20 21 22; do printf '{coded}' 2>/dev/null >&$n; done"
    done = box.run(f"printf '{coded}'; printf '{coded}' >&2; {elsewhere}")
    assert done.output.count('"id": 99') == 2


def test_commands_of_200_kilobytes_run(box):
    done = box.run("x='" + "a" * 200_000 + "'; echo ${#x}")
    assert done.output == "200000\n"
    assert box.run("cat <<'END' | wc -c\n" + "line\n" * 100_000 + "END").output == "500000\n"


def test_variables_that_are_too_large_are_forgotten(box):
    box.run("export BIG=$(head -c 400000 /dev/zero | tr '\\0' a)")
    assert box.run("echo ${#BIG}").output == "0\n"
    done = box.run("true", env={"BIG": "a" * 200_000})
    assert done.code == 126
    assert "Argument list too long" in done.output


def test_a_server_is_reached_by_the_next_command(box):
    serve = "cd /etc; python3 -m http.server --bind 127.0.0.1 8000 >/dev/null 2>&1 &"
    done = box.run(serve, background=True)
    assert done.stopped == ""
    fetch = "import urllib.request as u; print(u.urlopen('http://127.0.0.1:8000/hostname').status)"
    tries = f'for i in $(seq 50); do python3 -c "{fetch}" 2>/dev/null && break; sleep 0.1; done'
    assert box.run(tries, background=True).output == "200\n"


def test_orphans_are_reaped(box):
    box.run("for i in $(seq 60); do (sleep 0.0$i & ) ; done; sleep 1", background=True)
    states = box.run("cat /proc/[0-9]*/stat | sed 's/.*) \\(.\\) .*/\\1/'", background=True).output
    assert "Z" not in states


def test_the_folder_of_work_may_vanish(open_box):
    box = open_box(workdir="/work")
    box.run("mkdir -p /work")
    box.reset_session()
    box.run("cd /work; echo x > f; rm -rf /work")
    done = box.run("pwd")
    assert (done.code, done.output) == (0, "[/work is no folder: starting in /]\n/\n")


def test_nothing_may_be_left(open_box):
    box = open_box()
    box.run("rm -rf --no-preserve-root / 2>/dev/null", timeout_s=120)
    done = box.run("echo hello")
    assert done.code == 127
    assert "cannot be started" in done.output
    box.write("/new", "x")
    assert box.read("/new") == b"x"
    assert box.alive


# ------------------------------------------------------------------------------ the supervisor


@pytest.mark.parametrize(
    "command",
    [
        "cat /proc/1/environ",
        "cat /proc/1/mem",
        "readlink -v /proc/1/fd/20",
        "cat < /proc/1/fd/20",
        "echo x > /proc/1/fd/21",
        "echo x > /proc/1/task/1/fd/21",
        "echo 1000 > /proc/1/task/1/oom_score_adj",
        "echo x > /proc/1/fd/1",
        "readlink -v /proc/1/exe",
        "ls /proc/1/root/",
        "ls /proc/1/cwd/",
        "cat /proc/1/maps",
        "cat /proc/1/stack",
        "echo 1000 > /proc/1/oom_score_adj",
    ],
)
def test_the_supervisor_cannot_be_looked_into(box, command):
    done = box.run(command)
    assert done.code != 0
    told = ("ermission denied", "not permitted", "Read-only")
    assert any(each in done.output for each in told)


@pytest.mark.parametrize(
    "call",
    [
        pytest.param("ptrace(16, 1, 0, 0)", id="ptrace attach"),
        pytest.param("ptrace(0x4206, 1, 0, 0)", id="ptrace seize"),
        pytest.param("syscall(310, 1, some, 1, some, 1, 0)", id="process_vm_readv"),
        pytest.param("syscall(438, syscall(434, 1, 0), 1, 0)", id="pidfd_getfd"),
    ],
)
def test_the_supervisor_cannot_be_traced(box, call):
    done = box.run(python(TRY.replace("CALL", call)))
    assert done.output == "EPERM\n"


TRY = """
import ctypes, errno
libc = ctypes.CDLL(None, use_errno=True)
ptrace, syscall, mount = libc.ptrace, libc.syscall, libc.mount
setns, unshare = libc.setns, libc.unshare
some = (ctypes.c_ulong * 2)(id(libc), 8)
result = CALL
print(errno.errorcode[ctypes.get_errno()] if result < 0 else f"worked: {result}")
"""


# ------------------------------------------------------------------------------ the kernel


@pytest.mark.parametrize(
    "command",
    [
        "mount -t tmpfs none /mnt",
        "mount --bind / /mnt",
        "umount /proc",
        "unshare -U true",
        "unshare -m true",
        "unshare -r id",
        "unshare -n true",
        "mknod /tmp/disk b 8 0",
        "mknod /tmp/mem c 1 1",
        "echo b > /proc/sysrq-trigger; [ $(wc -c < /proc/sysrq-trigger) -gt 0 ]",
        "echo 1 > /proc/sys/kernel/panic",
        "echo x > /proc/sys/kernel/core_pattern",
        "dmesg",
        "hostname other",
        "date -s 2000-01-01",
        "nsenter -t 1 -m true",
        "chroot / true",
        "modprobe dummy",
        "ip link add dummy0 type dummy",
        "swapoff -a; swapon /dev/vda",
        "renice -n -5 $$",
        "setpriv --bounding-set +all --inh-caps +sys_admin true",
        "dd if=/dev/kmem of=/dev/null count=1",
        "cat /proc/kcore | head -c 1 | grep -q .",
        "su -c true; ls /sys/kernel/debug/tracing",
    ],
)
def test_the_machine_is_out_of_reach(box, command):
    assert box.run(command, timeout_s=10).code != 0


@pytest.mark.parametrize(
    "call",
    [
        pytest.param("setns(__import__('os').open('/proc/self/ns/net', 0), 0)", id="setns"),
        pytest.param("unshare(0x10000000)", id="unshare"),
        pytest.param("syscall(56, 0x10000011, 0, 0, 0, 0)", id="clone with a user namespace"),
        pytest.param("syscall(435, b'\\0' * 88, 88)", id="clone3"),
        pytest.param("syscall(250, 0, 0, 0, 0, 0)", id="keyctl"),
        pytest.param("syscall(248, b'user', b'x', b'x', 1, -3)", id="add_key"),
        pytest.param("syscall(321, 0, b'\\0' * 128, 128)", id="bpf"),
        pytest.param("syscall(298, b'\\0' * 128, 0, -1, -1, 0)", id="perf_event_open"),
        pytest.param("syscall(323, 0)", id="userfaultfd"),
        pytest.param("syscall(425, 8, b'\\0' * 128)", id="io_uring_setup"),
        pytest.param("syscall(304, 3, b'\\0' * 128, 0)", id="open_by_handle_at"),
        pytest.param("syscall(428, -100, b'/', 1)", id="open_tree"),
        pytest.param("syscall(430, b'tmpfs', 0)", id="fsopen"),
        pytest.param("syscall(155, b'/', b'/')", id="pivot_root"),
        pytest.param("syscall(175, 0, 0, b'')", id="init_module"),
        pytest.param("syscall(246, 0, 0, 0, 0)", id="kexec_load"),
        pytest.param("syscall(103, 3, b'\\0' * 128, 128)", id="syslog"),
        pytest.param("syscall(169, 0xfee1dead, 672274793, 0x1234567, 0)", id="reboot"),
        pytest.param("mount(b'none', b'/tmp', b'tmpfs', 0, 0)", id="mount"),
        pytest.param("syscall(0x40000000 + 39)", id="the x32 calls"),
    ],
)
@pytest.mark.skipif(os.uname().machine != "x86_64", reason="numbers of x86_64")
def test_system_calls_that_no_program_needs_are_refused(box, call):
    done = box.run(python(TRY.replace("CALL", call)))
    assert done.output in ("EPERM\n", "ENOSYS\n")


def test_programs_that_set_their_user_gain_nothing(box):
    done = box.run("chmod 6755 /bin/dash; /bin/dash -c 'cat /proc/self/status'")
    assert "CapEff:\t00000000000000eb" in done.output
    assert "NoNewPrivs:\t1" in done.output


# ------------------------------------------------------------------------------ the network

CONNECT = """
import socket
try:
    socket.create_connection(("{0}", {1}), timeout=2)
    print("connected")
except OSError as error:
    print("no", type(error).__name__, error)
"""


@pytest.mark.parametrize(
    ("host", "port"),
    [
        ("1.1.1.1", 53),
        ("172.17.0.1", 22),
        ("169.254.169.254", 80),
        ("example.com", 443),
        ("localhost", 22),
    ],
)
def test_nothing_is_reached(box, host, port):
    assert box.run(python(CONNECT.format(host, port)), timeout_s=20).output.startswith("no ")


def test_services_of_this_machine_are_not_reached(box):
    with socket.create_server(("127.0.0.1", 0)) as server:
        done = box.run(python(CONNECT.format("127.0.0.1", server.getsockname()[1])))
    assert "ConnectionRefused" in done.output


def test_abstract_sockets_of_this_machine_are_not_reached(box):
    name = f"\0agentgym-test-{os.getpid()}"
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(name)
        server.listen()
        code = f"import socket\nsocket.socket(socket.AF_UNIX).connect({name!r})"
        assert "ConnectionRefusedError" in box.run(python(code)).output


@pytest.mark.parametrize("family", ["AF_VSOCK", "AF_PACKET", "AF_ALG", "AF_BLUETOOTH"])
def test_sockets_of_other_kinds_cannot_be_made(box, family):
    done = box.run(python(f"import socket\nsocket.socket(socket.{family}, socket.SOCK_STREAM)"))
    assert done.code != 0
    assert "Errno 97" in done.output


def test_only_the_loopback_is_there(box):
    assert box.run("cat /proc/net/dev | tail -n +3 | cut -d: -f1").output.split() == ["lo"]


def test_nothing_of_this_machine_is_seen(box):
    secret = Path("/tmp/agentgym-test-secret")
    secret.write_text("x")
    try:
        assert box.run(f"cat {secret}").code != 0
        assert box.run("hostname").output == "sandbox\n"
        assert os.uname().nodename not in box.run("env; cat /proc/mounts /etc/hosts").output
        assert "agentgym-" not in box.run("env; cat /proc/self/cgroup").output
    finally:
        secret.unlink()


# ------------------------------------------------------------------------------ boxes that die


def test_a_box_that_is_killed_during_a_command_says_so(open_box, box_backend):
    box = open_box()
    threading.Timer(0.3, kill, (box, box_backend)).start()
    with pytest.raises(SandboxError, match=r"is lost: it ended") as caught:
        box.run("sleep 1000", timeout_s=120)
    assert ("137" in str(caught.value)) or box_backend == "local"
    assert not box.alive
    with pytest.raises(SandboxError, match="is lost"):
        box.run("true")
    box.close()


def kill(box, backend):
    if backend == "local":
        os.kill(box._process.pid, signal.SIGKILL)
    else:
        engine().kill(box.container)


def engine():
    from agentgym.sandboxes import docker

    return docker.client()


@pytest.mark.parametrize("box_backend", ["docker"], indirect=True)
def test_a_box_that_is_paused_is_given_up(open_box):
    box = open_box()
    threading.Timer(0.3, lambda: engine().pause(box.container)).start()
    with pytest.raises(SandboxError, match=r"does not answer.*paused"):
        box.run("sleep 1000", timeout_s=120)
    box.close()
    other = open_box()
    engine().pause(other.container)
    assert not other.alive
    other.close()


@pytest.mark.parametrize("box_backend", ["local"], indirect=True)
def test_a_box_whose_supervisor_is_stopped_is_given_up(open_box):
    box = open_box()
    children = Path(f"/proc/{box._process.pid}/task/{box._process.pid}/children").read_text()
    os.kill(int(children.split()[0]), signal.SIGSTOP)
    assert not box.alive
    assert janitor.started(int(children.split()[0])) is None
