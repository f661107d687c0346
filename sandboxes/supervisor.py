"""What runs inside a box as its first process, and carries out what the owner asks for.

It is handed over as text (`python3 -I -S -c TEXT`), so nothing is copied into the box or mounted;
any Python from 3.6 on will do, and only the standard library is used. It is not imported.

Requests and answers are frames on standard input and output: two big-endian uint32 (length of the
header, length of the body), a header, a body of bytes. A request's header is a Python literal, an
answer's is JSON: what one trusts may be evaluated, and importing `json` takes longer than all else
that a box does to start. Names of files are text of one byte a character. Being process 1 of its
namespace, it adopts and reaps orphans, can end every other process with one call, and takes the box
with it when its input ends. Whatever else runs in the box can neither signal nor trace it, nor
reach its input and output: signals from inside are ignored for process 1, it is not dumpable, and
its descriptors are closed in what it starts.
"""

import errno
import os
import select
import stat
import struct
import sys
import time

try:
    import _signal as signal  # the same without its enumerations, which take long to import
    from _json import encode_basestring_ascii as quote
except ImportError:
    import signal
    from json.encoder import encode_basestring_ascii as quote

FRAME = struct.Struct(">II")
GRACE = 0.05  # seconds for output that is on its way when a shell has ended
CHUNK = 1 << 20
MOST_STATE = 1 << 18  # bytes of exported variables that are kept
MOST_FILES = 500000  # that are remembered, or told of
LONGEST_PATH = 4096  # bytes, with its end: as the kernel has it
SCRIPT = 8  # descriptor the command is read from
STATE = 7  # descriptor the state of the last shell is read from
SAVE = 9  # descriptor a shell writes its state to

# Each shell first makes itself the one to die when memory runs out; its variables come from the
# last shell and go to the next one. What is read and written is only its own. No step starts a
# process.
FIRST = "{ echo 1000 >/proc/self/oom_score_adj; } 2>/dev/null\n"
RESTORE = ". /proc/self/fd/7; PWD=$1; shift\n"
KEEP = 'trap \'{ export -p; printf "\\0%s\\0" "$PWD"; } >&9 2>/dev/null\' EXIT; exec 7<&-\n'
BASH, SH = 'eval "$(</proc/self/fd/8)"', ". /proc/self/fd/8"

PR_SET_DUMPABLE, PR_SET_SECCOMP, PR_SET_NO_NEW_PRIVS = 4, 22, 38

# System calls that are refused, on x86_64 and aarch64: new namespaces (within which one has powers
# again), mounts, kernel modules, keys, the kernel's log, and interfaces with a history of faults.
REFUSED = {
    "x86_64": (
        0xC000003E,
        (103, 165, 166, 155, 161, 167, 168, 169, 170, 171, 172, 173, 175, 176, 246, 248, 249, 250,
         272, 298, 303, 304, 308, 313, 320, 321, 323, 425, 426, 427, 428, 429, 430, 431, 432, 433,
         442, 467),
        56, 435, 41,
    ),
    "aarch64": (
        0xC00000B7,
        (116, 40, 39, 41, 51, 224, 225, 89, 142, 161, 162, 105, 106, 217, 218, 219, 97, 241, 264,
         265, 268, 273, 294, 280, 282, 104, 425, 426, 427, 428, 429, 430, 431, 432, 433, 442, 467),
        220, 435, 198,
    ),
}  # fmt: skip
NEW_NAMESPACES = 0x7E020080
"""Flags of `clone`: CLONE_NEWTIME, NEWNS, NEWCGROUP, NEWUTS, NEWIPC, NEWUSER, NEWPID, NEWNET."""
FAMILIES = (1, 2, 10, 16)
"""Of sockets: unix, IPv4, IPv6, netlink. Others (vsock) reach beyond the network namespace."""


class Supervisor(object):
    def __init__(self, settings):
        self.source, self.sink = self.take_over()
        self.buffer = bytearray()
        self.waiting = []
        self.shell = next((s for s in ("/bin/bash", "/usr/bin/bash") if os.path.exists(s)), None)
        self.home = from_wire(settings["workdir"])
        self.environment = dict(os.environb)
        self.environment.update(coded(settings["env"]))
        for name in (b"SHLVL", b"PWD", b"OLDPWD", b"_"):
            self.environment.pop(name, None)
        self.cwd, self.state = self.home, b""
        self.leftovers = []
        self.remembered = None
        self.ended = {}
        self.woken, wake = os.pipe()
        for descriptor in (self.woken, wake):
            os.set_blocking(descriptor, False)
        signal.set_wakeup_fd(wake)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.signal(signal.SIGPIPE, signal.SIG_IGN)
        self.kernel_folders = set()
        for folder in ("/proc", "/sys"):
            try:
                self.kernel_folders.add(os.stat(folder).st_dev)
            except OSError:
                pass

    @staticmethod
    def take_over():
        """Keep input and output where nothing that is started finds them."""
        source, sink = (move_up(fd) for fd in (0, 1))  # not inheritable
        null = os.open("/dev/null", os.O_RDWR)
        for fd in (0, 1):
            os.dup2(null, fd)
        os.close(null)
        return source, sink

    # ------------------------------------------------------------------ frames

    def send(self, header, parts=()):
        text = encode(header).encode("ascii")
        start = FRAME.pack(len(text), sum(map(len, parts))) + text
        for part in [start + parts[0]] + list(parts[1:]) if parts else [start]:
            view = memoryview(part)
            while view:
                view = view[os.write(self.sink, view[:CHUNK]) :]

    def take_frame(self):
        """A request that has arrived whole, or None."""
        if len(self.buffer) < FRAME.size:
            return None
        head, body = FRAME.unpack_from(self.buffer)
        end = FRAME.size + head + body
        if len(self.buffer) < end:
            return None
        header = literal(bytes(self.buffer[FRAME.size : FRAME.size + head]).decode("ascii"))
        content = bytes(self.buffer[FRAME.size + head : end])
        del self.buffer[:end]
        return header, content

    def receive(self):
        """Read what has arrived. The box ends with its input."""
        data = os.read(self.source, CHUNK)
        if not data:
            os._exit(0)
        self.buffer += data

    def wait(self, seconds, extra=None):
        """Wait for input, a child's end, or output; says whether `extra` can be read."""
        watched = [self.source, self.woken] + self.leftovers + ([] if extra is None else [extra])
        poller = select.poll()
        for descriptor in watched:
            poller.register(descriptor, select.POLLIN)
        timeout = None if seconds is None else max(0, int(seconds * 1000) + 1)
        ready = {descriptor for descriptor, _ in poller.poll(timeout)}
        if self.source in ready:
            self.receive()
        if self.woken in ready:
            os.read(self.woken, 4096)
            self.reap()
        for descriptor in [each for each in self.leftovers if each in ready]:
            if read_some(descriptor) == b"":  # read so that its writer is not stopped
                self.leftovers.remove(descriptor)
                os.close(descriptor)
        return extra in ready

    def reap(self):
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            self.ended[pid] = status

    def kill_all(self):
        """End every other process of the box, however many times they fork."""
        deadline = time.monotonic() + 5
        while time.monotonic() < deadline:
            try:
                os.kill(-1, signal.SIGKILL)
            except ProcessLookupError:
                break
            self.reap()
            time.sleep(0.0002)
        self.reap()

    def serve(self):
        folder = os.path.isdir(self.home)
        self.send({"ok": True, "bash": bool(self.shell), "python": sys.version, "home": folder})
        while True:
            frame = self.waiting.pop(0) if self.waiting else self.take_frame()
            if frame is None:
                self.wait(None)
                continue
            header, body = frame
            if header["op"] == "interrupt":  # too late: what it was for has ended
                continue
            try:
                answer, parts = getattr(self, "on_" + header["op"])(body, **header["with"])
                answer["ok"] = True
            except OSError as error:
                told = {"errno": error.errno or errno.EIO, "text": error.strerror or str(error)}
                answer, parts = {"ok": False, "error": told}, []
            except (MemoryError, RecursionError) as error:  # of this request: the box goes on
                code = errno.ENOMEM if isinstance(error, MemoryError) else errno.EIO
                answer, parts = {"ok": False, "error": {"errno": code, "text": repr(error)}}, []
            except Exception as error:  # whatever it is, the owner is told
                told = {"errno": 0, "text": "%s: %s" % (type(error).__name__, error)}
                answer, parts = {"ok": False, "error": told}, []
            answer["id"] = header["id"]
            self.send(answer, parts)

    # ------------------------------------------------------------------ commands

    def on_run(self, body, timeout, keep, most, background, cwd=None, env=None):
        start = time.monotonic()
        output = Output(keep, most)
        if cwd is not None:
            self.cwd = os.path.normpath(os.path.join(self.cwd, from_wire(cwd)))
        self.enter_folder(output)
        try:
            pid, pipe, saved = self.start(body, coded(env or {}))
        except OSError as error:
            output.add(("the shell cannot be started: %s\n" % error.strerror).encode())
            code = 127 if error.errno == errno.ENOENT else 126
            return self.told(output, code, "", start)
        finally:
            os.chdir("/")
        stopped = self.follow(pid, pipe, output, start + timeout)
        status = self.ended.pop(pid, None)
        if stopped or not background:
            self.kill_all()
            status = self.ended.pop(pid, status)
        self.drain(pipe, output, background and not stopped)
        self.keep_state(saved, not env)
        self.ended.clear()
        return self.told(output, 137 if status is None else exit_code(status), stopped, start)

    def told(self, output, code, stopped, start):
        answer = {
            "code": code, "stopped": stopped, "total": output.total, "head": len(output.head),
            "cwd": to_wire(self.cwd), "duration": time.monotonic() - start,
        }  # fmt: skip
        return answer, [output.head, output.tail]

    def enter_folder(self, output):
        """Go where the next shell starts: a shell is started without a fork of this process."""
        for folder in (self.cwd, self.home, b"/"):
            try:
                os.chdir(folder)
            except OSError:
                continue
            if folder != self.cwd:
                there = self.cwd.decode("utf-8", "replace")
                told = "[%s is no folder: starting in %s]\n" % (
                    there,
                    folder.decode("utf-8", "replace"),
                )
                output.add(told.encode())
                self.cwd = folder
            return

    def start(self, command, env):
        """Start a shell on a command; its process, the pipe of its output, its file of state."""
        lines = FIRST + (RESTORE if self.state else "shift\n") + KEEP
        arguments = ["/bin/sh", "-c", lines + SH]
        if self.shell is not None:
            arguments = [self.shell, "--noprofile", "--norc", "-c", lines + BASH]
        arguments += [os.path.basename(arguments[0]), self.cwd]
        environment = dict(self.environment)
        environment[b"PWD"] = self.cwd
        environment.update(env)
        reading, writing = os.pipe()
        script, state = unnamed_file(command), unnamed_file(self.state)
        saved = unnamed_file(b"", MOST_STATE)
        wanted = {1: writing, 2: writing, STATE: state, SCRIPT: script, SAVE: saved}
        moved = {place: move_up(descriptor) for place, descriptor in wanted.items()}
        try:
            pid = self.spawn(arguments, environment, moved)
        except OSError:
            os.close(reading)
            os.close(saved)
            raise
        finally:
            for descriptor in [script, state, writing] + list(moved.values()):
                os.close(descriptor)
        os.set_blocking(reading, False)
        return pid, reading, saved

    def spawn(self, arguments, environment, descriptors):
        """Start a program in a session of its own, once more if there are too many processes."""
        try:
            return spawn(arguments, environment, descriptors)
        except OSError as error:
            if error.errno not in (errno.EAGAIN, errno.ENOMEM):
                raise
            self.kill_all()  # what was left running takes all there is
            return spawn(arguments, environment, descriptors)

    def follow(self, pid, pipe, output, deadline):
        """Gather output until the shell ends; says why it was stopped, if it was."""
        open_ = True
        while pid not in self.ended:
            frame = self.take_frame()  # it may have come with the last one
            if frame is not None and frame[0]["op"] == "interrupt":
                return frame[0]["with"]["why"]
            if frame is not None:
                self.waiting.append(frame)
                continue
            left = deadline - time.monotonic()
            if left <= 0:
                return "timeout"
            if self.wait(left, pipe if open_ else None):
                open_ = output.read(pipe)
                if output.full:
                    return "output"
        return ""

    def drain(self, pipe, output, background):
        """Read what a shell has left in its pipe; go on in the background if some still write."""
        deadline = time.monotonic() + (GRACE if background else 1.0)
        poller = select.poll()
        poller.register(pipe, select.POLLIN)
        while not output.full:
            left = deadline - time.monotonic()
            if left <= 0 or not poller.poll(int(left * 1000) + 1):
                break
            if not output.read(pipe):
                os.close(pipe)
                return
        if background:
            self.leftovers.append(pipe)
        else:
            os.close(pipe)

    def keep_state(self, saved, variables):
        """Where the last shell was, and what it exported: whatever it says, it says of itself."""
        try:
            size = min(os.lseek(saved, 0, os.SEEK_HOLE), MOST_STATE)  # the rest holds nothing
            told = os.pread(saved, size, 0).rstrip(b"\0").split(b"\0")
        except OSError:
            return  # empty
        finally:
            os.close(saved)
        if len(told) == 2 and told[1].startswith(b"/"):
            self.cwd = told[1]
            if variables:
                self.state = told[0]

    def on_killall(self, body, forget=True):
        self.kill_all()
        for descriptor in self.leftovers:
            os.close(descriptor)
        self.leftovers = []
        if forget:
            self.cwd, self.state = self.home, b""
        return {}, []

    def on_ping(self, body):
        return {}, []

    # ------------------------------------------------------------------ files

    def open_regular(self, path):
        """A descriptor of a regular file; links, devices, pipes and the kernel's are refused."""
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        found = os.fstat(descriptor)
        if stat.S_ISDIR(found.st_mode):
            os.close(descriptor)
            raise OSError(errno.EISDIR, "is a folder")
        if not stat.S_ISREG(found.st_mode) or found.st_dev in self.kernel_folders:
            os.close(descriptor)
            raise OSError(errno.EINVAL, "is no regular file")
        return descriptor, found

    def on_read(self, body, path, most):
        descriptor, found = self.open_regular(from_wire(path))
        try:
            if found.st_size > most:
                raise OSError(errno.EFBIG, "has %d bytes, %d at most" % (found.st_size, most))
            return {"mode": stat.S_IMODE(found.st_mode)}, read_all(descriptor, most)
        finally:
            os.close(descriptor)

    def on_write(self, body, path, mode=None):
        path = from_wire(path)
        if len(path) >= LONGEST_PATH:
            raise OSError(errno.ENAMETOOLONG, os.strerror(errno.ENAMETOOLONG))
        folder = os.path.dirname(path)
        try:
            make_folders(folder)
        except FileExistsError:
            raise OSError(errno.ENOTDIR, "%s is no folder" % to_wire(folder)) from None
        try:
            there = os.lstat(path)
        except OSError:
            there = None
        if there is not None and stat.S_ISDIR(there.st_mode):
            raise OSError(errno.EISDIR, "is a folder")
        if mode is None:
            regular = there is not None and stat.S_ISREG(there.st_mode)
            mode = stat.S_IMODE(there.st_mode) if regular else 0o644
        temporary = os.path.join(folder, b".agentgym-%d" % int(time.time() * 1e9))
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
        try:
            view = memoryview(body)
            while view:
                view = view[os.write(descriptor, view) :]
            os.fchmod(descriptor, mode)
            os.rename(temporary, path)
        except BaseException:
            os.unlink(temporary)
            raise
        finally:
            os.close(descriptor)
        return {}, []

    def on_unpack(self, body, path):
        import io
        import tarfile

        with tarfile.open(fileobj=io.BytesIO(body)) as archive:
            if hasattr(tarfile, "fully_trusted_filter"):
                archive.extraction_filter = tarfile.fully_trusted_filter
            archive.extractall(os.fsdecode(from_wire(path)))
        return {}, []

    def on_delete(self, body, path):
        os.unlink(from_wire(path))
        return {}, []

    def on_list(self, body, path, depth, limit):
        root = from_wire(path)
        os.listdir(root)  # raises what is the matter
        found = []
        for name, entry in walk(root, (), depth):
            if len(found) >= limit:
                break
            found.append((to_wire(name), kind(entry.st_mode), entry.st_size))
        found.sort()
        return {"entries": found}, []

    def on_manifest(self, body, path, exclude):
        root, excluded = from_wire(path), frozenset(map(from_wire, exclude))
        os.listdir(root)  # raises what is the matter
        found = state_of(root, excluded)
        latest = max((each[2] for each in found.values()), default=0)
        # a change must be of another tick of the clock that the kernel stamps files with
        while time.time() * 1e9 < latest + 2e7:
            time.sleep(0.001)
        self.remembered = root, excluded, found
        return {"files": len(found)}, []

    def on_changes(self, body, most):
        if self.remembered is None:
            raise ValueError("there is no manifest to compare with")
        root, excluded, before = self.remembered
        now = state_of(root, excluded)
        rows, contents, total = [], [], 0
        for path in sorted(set(before) | set(now)):
            old, new = before.get(path), now.get(path)
            if old == new:
                continue
            row = {"path": to_wire(path), "length": None, "mode": 0, "size": 0, "type": "file"}
            row["kind"] = "deleted" if new is None else "modified" if old else "added"
            if new is not None:
                content = self.content(os.path.join(root, path), most - total)
                row.update(type=kind(new[0]), mode=stat.S_IMODE(new[0]), size=new[1])
                if content is not None:
                    row["length"] = len(content)
                    total += len(content)
                    contents.append(content)
            rows.append(row)
        return {"changes": rows}, contents

    def content(self, path, most):
        """Of a regular file, or the target of a link; None if it is neither, or too large."""
        try:
            if os.path.islink(path):
                return os.readlink(path)
            descriptor, found = self.open_regular(path)
        except OSError:
            return None
        try:
            return b"".join(read_all(descriptor, most)) if found.st_size <= most else None
        except OSError:
            return None
        finally:
            os.close(descriptor)


class Output(object):
    """The head and the tail of what is printed."""

    def __init__(self, keep, most):
        self.half, self.most = keep // 2, most
        self.head, self.tail, self.total = bytearray(), bytearray(), 0

    @property
    def full(self):
        return self.total >= self.most

    def add(self, data):
        self.total += len(data)
        room = self.half - len(self.head)
        if room > 0:
            self.head += data[:room]
            data = data[room:]
        self.tail += data
        if len(self.tail) > self.half:
            del self.tail[: len(self.tail) - self.half]

    def read(self, pipe):
        """Take what is there; False at the end."""
        data = read_some(pipe)
        if data:
            self.add(data)
        return data is None or bool(data)


def read_some(descriptor):
    """What can be read now: nothing at the end, None if there is nothing yet."""
    try:
        return os.read(descriptor, CHUNK)
    except BlockingIOError:
        return None


def read_all(descriptor, most):
    parts, size = [], 0
    while True:
        data = os.read(descriptor, CHUNK)
        size += len(data)
        if size > most:
            raise OSError(errno.EFBIG, "has more than %d bytes" % most)
        if not data:
            return parts
        parts.append(data)


def unnamed_file(data, most=0):
    """A file without a name that holds `data`; in memory, and never larger than `most`, if it can.

    What is in memory without belonging to a process is nothing that ending processes would free.
    """
    if hasattr(os, "memfd_create"):
        import fcntl

        descriptor = os.memfd_create("agentgym", 3)  # closed by exec, may be sealed
    else:
        import tempfile

        with tempfile.TemporaryFile() as file:
            descriptor = os.dup(file.fileno())
        most = 0
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]
    os.lseek(descriptor, 0, os.SEEK_SET)
    if most:
        os.ftruncate(descriptor, most)
        fcntl.fcntl(descriptor, 1033, 7)  # F_ADD_SEALS: seal, shrink, grow
    return descriptor


def move_up(descriptor):
    """A second descriptor of the same, out of the way of those that programs are given."""
    import fcntl

    return fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, 20)


def spawn(arguments, environment, descriptors):
    """Start a program in a session of its own, with descriptors at their places.

    Until `posix_spawn` has started it, this process stands still, for good if another stops it.
    """
    if not (hasattr(os, "posix_spawn") and is_alone()):
        return fork_and_execute(arguments, environment, descriptors)
    actions = [(os.POSIX_SPAWN_OPEN, 0, "/dev/null", os.O_RDONLY, 0)]
    actions += [(os.POSIX_SPAWN_DUP2, there, place) for place, there in descriptors.items()]
    reset = [signal.SIGPIPE, signal.SIGCHLD]
    return os.posix_spawn(
        arguments[0], arguments, environment, file_actions=actions, setsid=True, setsigdef=reset
    )


def fork_and_execute(arguments, environment, descriptors):
    """The same, while this process goes on; takes twice as long."""
    pid = os.fork()
    if pid == 0:
        try:
            os.setsid()
            os.dup2(os.open("/dev/null", os.O_RDONLY), 0)
            for place, there in descriptors.items():
                os.dup2(there, place)
            signal.set_wakeup_fd(-1)
            for number in (signal.SIGPIPE, signal.SIGCHLD):
                signal.signal(number, signal.SIG_DFL)
            os.execve(arguments[0], arguments, environment)
        except BaseException as error:
            os.write(2, ("the shell cannot be started: %s\n" % error).encode())
        finally:
            os._exit(126)
    return pid


def is_alone():
    """Whether no other process is in the box."""
    try:
        os.kill(-1, 0)
    except ProcessLookupError:
        return True
    return False


def exit_code(status):
    return 128 + os.WTERMSIG(status) if os.WIFSIGNALED(status) else os.WEXITSTATUS(status)


def make_folders(folder):
    """Make a folder with those above it, however many."""
    missing = []
    while folder and not os.path.isdir(folder):
        missing.append(folder)
        folder = os.path.dirname(folder)
    for each in reversed(missing):
        try:
            os.mkdir(each)
        except FileExistsError:
            if not os.path.isdir(each):
                raise


def kind(mode):
    if stat.S_ISREG(mode):
        return "file"
    if stat.S_ISLNK(mode):
        return "link"
    return "folder" if stat.S_ISDIR(mode) else "other"


def walk(root, excluded, depth):
    """Paths under a folder (relative, bytes) and what `lstat` says of each; no link is followed."""
    folders = [(root, b"", 1)]
    while folders:
        folder, prefix, level = folders.pop()
        try:
            entries = list(os.scandir(folder))
        except OSError:
            continue
        for entry in entries:
            if level == 1 and entry.name in excluded:
                continue
            try:
                found = entry.stat(follow_symlinks=False)
            except OSError:
                continue
            path = prefix + entry.name
            yield path, found
            if stat.S_ISDIR(found.st_mode) and (depth is None or level < depth):
                folders.append((entry.path, path + b"/", level + 1))


def state_of(root, excluded):
    """All that a change leaves its mark on; the time of the last change is not a user's to set."""
    found = {}
    for path, s in walk(root, excluded, None):
        if not stat.S_ISDIR(s.st_mode):
            found[path] = s.st_mode, s.st_size, s.st_ctime_ns, s.st_ino, s.st_dev
            if len(found) > MOST_FILES:
                raise OSError(errno.EFBIG, "holds more than %d files" % MOST_FILES)
    return found


def to_wire(path):
    return path.decode("latin-1")


def from_wire(text):
    return text.encode("latin-1")


def coded(environment):
    return {from_wire(name): from_wire(value) for name, value in environment.items()}


def literal(text):
    """What a Python literal says: the owner's, whose word is law here anyway."""
    return eval(text, {"__builtins__": {}})


def encode(value):
    """As JSON."""
    if value is None or value is True or value is False:
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, str):
        return quote(value)
    if isinstance(value, dict):
        return "{%s}" % ",".join([quote(name) + ":" + encode(value[name]) for name in value])
    if isinstance(value, (list, tuple)):
        return "[%s]" % ",".join([encode(each) for each in value])
    return repr(value)


# ---------------------------------------------------------------------- its protection


def prctl(*arguments):
    """Call the kernel's `prctl`; `ctypes` itself takes as long to import as Python to start."""
    try:
        import _ctypes

        address = _ctypes.dlsym(_ctypes.dlopen(None, 0), "prctl")
        return _ctypes.call_function(address, arguments)
    except (ImportError, AttributeError):
        import ctypes

        return ctypes.CDLL(None).prctl(*arguments)


def filter_system_calls():
    """Refuse, for good and for all that is started, what no program in a box needs."""
    import array

    machine = os.uname().machine
    if machine not in REFUSED or struct.calcsize("P") != 8:
        return
    architecture, refused, clone, clone3, new_socket = REFUSED[machine]
    load, equal, any_of, end = 0x20, 0x15, 0x45, 0x06
    allow, deny, missing, unknown = 0x7FFF0000, 0x00050001, 0x00050026, 0x00050061
    program = [(load, 0, 0, 4), (equal, 1, 0, architecture), (end, 0, 0, deny), (load, 0, 0, 0)]
    if machine == "x86_64":  # the x32 calls are others of the same kind
        program += [(any_of, 0, 1, 0x40000000), (end, 0, 0, deny)]
    program += [
        (equal, 0, 1, clone3),
        (end, 0, 0, missing),
    ]  # so that clone is used: it can be read
    for number in refused:
        program += [(equal, 0, 1, number), (end, 0, 0, deny)]
    program += [(equal, 0, 4, clone), (load, 0, 0, 16), (any_of, 0, 1, NEW_NAMESPACES)]
    program += [(end, 0, 0, deny), (end, 0, 0, allow)]
    program += [(equal, 0, 2 + len(FAMILIES), new_socket), (load, 0, 0, 16)]
    program += [(equal, len(FAMILIES) - place, 0, each) for place, each in enumerate(FAMILIES)]
    program += [(end, 0, 0, unknown), (end, 0, 0, allow)]
    code = array.array("B", b"".join(struct.pack("HBBI", *each) for each in program))
    whole = struct.pack("HxxxxxxQ", len(program), code.buffer_info()[0])
    prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    if prctl(PR_SET_SECCOMP, 2, whole, 0, 0) != 0:
        raise OSError("the kernel does not filter system calls")


def main():
    settings = literal(sys.argv[1])
    prctl(PR_SET_DUMPABLE, 0, 0, 0, 0)
    filter_system_calls()
    Supervisor(settings).serve()


main()
