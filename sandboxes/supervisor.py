"""What runs inside a box as its first process, and carries out what the owner asks for.

It is handed over as text (`python3 -I -S -c TEXT`), so nothing is copied into the box or mounted;
any Python from 3.6 on will do, and only the standard library is used. It is not imported.

Requests and answers are frames on standard input and output: two big-endian uint32 (length of the
header, length of the body), a JSON header, a body of bytes. Being process 1 of its namespace, it
adopts and reaps orphans, can end every other process with one call, and takes the box with it when
its input ends. Whatever else runs in the box can neither signal nor trace it, nor reach its input
and output: signals from inside are ignored for process 1, it is not dumpable, and its descriptors
are closed in what it starts.
"""

import ctypes
import errno
import json
import os
import select
import signal
import stat
import struct
import sys
import time

FRAME = struct.Struct(">II")
GRACE = 0.05  # seconds for output that is on its way when a shell has ended
CHUNK = 1 << 20
MOST_STATE = 1 << 18  # bytes of exported variables that are kept
SCRIPT = 8  # descriptor the command is read from
STATE = 7  # descriptor the state of the last shell is read from
SAVE = 9  # descriptor a shell writes its state to

# Each shell first makes itself the one to die when memory runs out; its variables come from the
# last shell and go to the next one. What is read and written is only its own.
PROLOGUE = """{ echo 1000 >/proc/self/oom_score_adj; } 2>/dev/null
. /proc/self/fd/7
"""
EPILOGUE = 'trap \'{ export -p; printf "\\0%s" "$PWD"; } >&9 2>/dev/null\' EXIT\n'
BASH = PROLOGUE + EPILOGUE + 'exec 7<&- ; eval "$(</proc/self/fd/8)"'
SH = PROLOGUE + EPILOGUE + "exec 7<&- ; . /proc/self/fd/8"

PR_SET_DUMPABLE = 4


class Supervisor(object):
    def __init__(self, settings):
        self.source, self.sink = self.take_over()
        self.buffer = bytearray()
        self.shell = next((s for s in ("/bin/bash", "/usr/bin/bash") if os.path.exists(s)), None)
        self.home = settings["workdir"]
        self.environment = dict(os.environ, **settings["env"])
        for name in ("SHLVL", "PWD", "OLDPWD", "_"):
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
        source, sink = (os.dup(fd) for fd in (0, 1))  # not inheritable
        null = os.open("/dev/null", os.O_RDWR)
        for fd in (0, 1):
            os.dup2(null, fd)
        return source, sink

    # ------------------------------------------------------------------ frames

    def send(self, header, body=b""):
        text = json.dumps(header).encode()
        view = memoryview(FRAME.pack(len(text), len(body)) + text + bytes(body))
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
        header = json.loads(bytes(self.buffer[FRAME.size : FRAME.size + head]).decode())
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
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                break
            if pid:
                self.ended[pid] = status
            else:
                time.sleep(0.001)
        self.reap()

    def serve(self):
        folder = os.path.isdir(self.home)
        self.send({"ok": True, "bash": bool(self.shell), "python": sys.version, "home": folder})
        while True:
            frame = self.take_frame()
            if frame is None:
                self.wait(None)
                continue
            header, body = frame
            try:
                if header["op"] == "interrupt":  # too late: what it was for has ended
                    continue
                answer, content = getattr(self, "on_" + header["op"])(body, **header["with"])
                self.send(dict(answer, ok=True), content)
            except OSError as error:
                told = {"errno": error.errno, "text": error.strerror or str(error)}
                self.send({"ok": False, "error": told})
            except Exception as error:  # whatever it is, the owner is told
                told = {"errno": 0, "text": "%s: %s" % (type(error).__name__, error)}
                self.send({"ok": False, "error": told})

    # ------------------------------------------------------------------ commands

    def on_run(self, body, timeout, keep, most, background, cwd=None, env=None):
        start = time.monotonic()
        told = []
        if cwd is not None:
            self.cwd = cwd if cwd.startswith("/") else os.path.join(self.cwd, cwd)
        if not os.path.isdir(self.cwd):
            told.append("[%s is no folder any more: starting in %s]\n" % (self.cwd, self.home))
            self.cwd = self.home if os.path.isdir(self.home) else "/"
        output = Output(keep, most)
        for line in told:
            output.add(line.encode())
        pid, pipe, saved = self.start(body, env or {})
        stopped = self.follow(pid, pipe, output, start + timeout)
        status = self.ended.pop(pid, None)
        if stopped or not background:
            self.kill_all()
            status = self.ended.pop(pid, status)
        self.drain(pipe, output, background and not stopped)
        self.keep_state(saved, not env)
        self.ended.clear()
        code = 137 if status is None else exit_code(status)
        head, tail = bytes(output.head), bytes(output.tail)
        answer = {
            "code": code, "stopped": stopped, "total": output.total, "head": len(head),
            "cwd": self.cwd, "duration": time.monotonic() - start,
        }  # fmt: skip
        return answer, head + tail

    def start(self, command, env):
        """Start a shell on a command; its process, the pipe of its output, its file of state."""
        script, state, saved = (unnamed_file(data) for data in (command, self.state, b""))
        reading, writing = os.pipe()
        arguments = [self.shell, "--noprofile", "--norc", "-c", BASH]
        if self.shell is None:
            arguments = ["/bin/sh", "-c", SH]
        environment = dict(self.environment, **env)
        try:
            pid = self.fork()
        except OSError:
            for descriptor in (script, state, saved, reading, writing):
                os.close(descriptor)
            raise
        if pid == 0:
            try:
                os.setsid()
                os.chdir(self.cwd)
                null = os.open("/dev/null", os.O_RDONLY)
                wanted = {0: null, 1: writing, 2: writing, STATE: state, SCRIPT: script}
                wanted[SAVE] = saved
                # out of the way first: what is wanted at one place may be at another
                moved = {place: move_up(descriptor) for place, descriptor in wanted.items()}
                for place, descriptor in moved.items():
                    os.dup2(descriptor, place)
                signal.set_wakeup_fd(-1)
                for number in (signal.SIGPIPE, signal.SIGCHLD):
                    signal.signal(number, signal.SIG_DFL)
                os.execve(arguments[0], arguments, environment)
            except BaseException as error:
                os.write(2, ("the shell cannot be started: %s\n" % error).encode())
            finally:
                os._exit(126)
        for descriptor in (script, state, writing):
            os.close(descriptor)
        os.set_blocking(reading, False)
        return pid, reading, saved

    def fork(self):
        try:
            return os.fork()
        except OSError as error:
            if error.errno not in (errno.EAGAIN, errno.ENOMEM):
                raise
            self.kill_all()  # what was left running takes all there is
            return os.fork()

    def follow(self, pid, pipe, output, deadline):
        """Gather output until the shell ends; says why it was stopped, if it was."""
        open_ = True
        while pid not in self.ended:
            left = deadline - time.monotonic()
            if left <= 0:
                return "timeout"
            if self.wait(left, pipe if open_ else None):
                open_ = output.read(pipe)
                if output.full:
                    return "output"
            frame = self.take_frame()
            if frame is not None and frame[0]["op"] == "interrupt":
                return frame[0]["with"]["why"]
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
            size = os.fstat(saved).st_size
            if 0 < size <= MOST_STATE:
                exported, _, cwd = os.pread(saved, size, 0).rpartition(b"\0")
                cwd = os.fsdecode(cwd)
                if cwd.startswith("/") and "\0" not in cwd:
                    self.cwd = cwd
                    if variables:
                        self.state = exported.replace(b"\0", b"")
        finally:
            os.close(saved)

    def on_killall(self, body):
        self.kill_all()
        for descriptor in self.leftovers:
            os.close(descriptor)
        self.leftovers, self.cwd, self.state = [], self.home, b""
        return {}, b""

    def on_ping(self, body):
        return {}, b""

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
        folder = os.path.dirname(path)
        os.makedirs(folder, exist_ok=True)
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
        return {}, b""

    def on_unpack(self, body, path):
        import io
        import tarfile

        with tarfile.open(fileobj=io.BytesIO(body)) as archive:
            archive.extractall(os.fsdecode(from_wire(path)))
        return {}, b""

    def on_delete(self, body, path):
        os.unlink(from_wire(path))
        return {}, b""

    def on_list(self, body, path, depth, limit):
        root = from_wire(path)
        os.listdir(root)  # raises what is the matter
        found = []
        for name, entry in walk(root, (), depth):
            if len(found) >= limit:
                break
            found.append((to_wire(name), kind(entry.st_mode), entry.st_size))
        found.sort()
        return {"entries": found}, b""

    def on_manifest(self, body, path, exclude):
        root, excluded = from_wire(path), frozenset(map(from_wire, exclude))
        os.listdir(root)  # raises what is the matter
        found = state_of(root, excluded)
        latest = max((each[2] for each in found.values()), default=0)
        # a change must be of another tick of the clock that the kernel stamps files with
        while time.time() * 1e9 < latest + 1e7:
            time.sleep(0.001)
        self.remembered = root, excluded, found
        return {"files": len(found)}, b""

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
        return {"changes": rows}, b"".join(contents)

    def content(self, path, most):
        """Of a regular file, or the target of a link; None if it is neither, or too large."""
        try:
            if os.path.islink(path):
                return os.readlink(path)
            descriptor, found = self.open_regular(path)
        except OSError:
            return None
        try:
            return read_all(descriptor, most) if found.st_size <= most else None
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
            return b"".join(parts)
        parts.append(data)


def unnamed_file(data):
    """A file without a name that holds `data`, in memory where the kernel can."""
    if hasattr(os, "memfd_create"):
        descriptor = os.memfd_create("agentgym")
    else:
        import tempfile

        with tempfile.TemporaryFile() as file:
            descriptor = os.dup(file.fileno())
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]
    os.lseek(descriptor, 0, os.SEEK_SET)
    return descriptor


def move_up(descriptor):
    import fcntl

    return fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, 20)


def exit_code(status):
    return 128 + os.WTERMSIG(status) if os.WIFSIGNALED(status) else os.WEXITSTATUS(status)


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
    return {
        path: (s.st_mode, s.st_size, s.st_ctime_ns, s.st_ino, s.st_dev)
        for path, s in walk(root, excluded, None)
        if not stat.S_ISDIR(s.st_mode)
    }


def to_wire(path):
    return path.decode("latin-1")


def from_wire(text):
    return text.encode("latin-1")


def main():
    settings = json.loads(sys.argv[1])
    try:
        ctypes.CDLL(None).prctl(PR_SET_DUMPABLE, 0, 0, 0, 0)
    except (OSError, AttributeError):
        pass
    Supervisor(settings).serve()


main()
