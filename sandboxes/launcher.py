"""Makes a local box and becomes its first process; run by `unshare`, in namespaces of its own.

Handed over as text, like the supervisor, which it starts in the end; it is not imported. Its
standard input is a socket: the folder that takes the box's changes is sent over it as a descriptor,
so that the owner can copy them, though no path leads there.
"""

import _socket  # without what `socket` adds, which takes long to import
import ctypes
import fcntl
import os
import resource
import struct
import sys

libc = ctypes.CDLL(None, use_errno=True)

MS_RDONLY, MS_NOSUID, MS_NODEV, MS_NOEXEC = 1, 2, 4, 8
MS_REMOUNT, MS_BIND, MS_REC, MS_PRIVATE = 32, 4096, 16384, 1 << 18
MNT_DETACH = 2
PR_CAPBSET_DROP, PR_SET_NO_NEW_PRIVS = 24, 38
SIOCGIFFLAGS, SIOCSIFFLAGS, IFF_UP = 0x8913, 0x8914, 1
AF_INET, SOCK_DGRAM, SOL_SOCKET, SCM_RIGHTS = 2, 2, 1, 1
DEVICES = ("null", "zero", "full", "random", "urandom")
HIDDEN = ("kcore", "keys", "sysrq-trigger", "timer_list", "sched_debug", "latency_stats", "kmsg")
FIXED = ("sys", "irq", "bus", "fs", "acpi", "scsi", "1")
"""What cannot be written to; `1`: whom the kernel ends when memory runs out."""
CLONE_NEWCGROUP = 0x02000000
KEPT = frozenset((0, 1, 3, 5, 6, 7))
"""Capabilities: chown, dac_override, fowner, kill, setgid, setuid."""


def fail(doing):
    number = ctypes.get_errno()
    raise OSError(number, "%s: %s" % (doing, os.strerror(number)))


def mount(source, target, kind=None, flags=0, data=""):
    coded = [None if each is None else each.encode() for each in (source, target, kind)]
    if libc.mount(coded[0], coded[1], coded[2], ctypes.c_ulong(flags), data.encode()) != 0:
        fail("mount %s on %s" % (kind or source, target))


def bind(source, target, flags=0):
    mount(source, target, None, MS_BIND | MS_REC)
    if flags:
        mount(None, target, None, MS_BIND | MS_REMOUNT | flags)


def make_root(settings):
    """The file system: the image below, a file system in memory above it."""
    place = settings["place"]
    mount(None, "/", None, MS_REC | MS_PRIVATE)
    mount("agentgym", place, "tmpfs", MS_NOSUID | MS_NODEV, "mode=700,size=%dm" % settings["disk"])
    upper, work, root = (os.path.join(place, name) for name in ("upper", "work", "root"))
    for folder in (upper, work, root):
        os.mkdir(folder, 0o755)
    options = "lowerdir=%s,upperdir=%s,workdir=%s" % (":".join(settings["layers"]), upper, work)
    if settings["rootless"]:
        options += ",userxattr"
    mount("overlay", root, "overlay", MS_NOSUID | MS_NODEV, options)
    owner = _socket.socket(fileno=os.dup(0))
    folder = os.open(upper, os.O_RDONLY | os.O_DIRECTORY)
    owner.sendmsg([b"!"], [(SOL_SOCKET, SCM_RIGHTS, struct.pack("i", folder))])
    owner.close()
    os.close(folder)
    return root


def furnish(root, settings):
    """What every program expects: /proc, a few devices, memory to share, a network to itself."""
    for name in ("proc", "sys", "dev", "tmp"):
        os.makedirs(os.path.join(root, name), exist_ok=True)
    proc, dev = os.path.join(root, "proc"), os.path.join(root, "dev")
    mount("proc", proc, "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC)
    for name in FIXED:
        path = os.path.join(proc, name)
        if os.path.exists(path):
            bind(path, path, MS_RDONLY | MS_NOSUID | MS_NODEV | MS_NOEXEC)
    for name in HIDDEN:
        if os.path.exists(os.path.join(proc, name)):
            bind("/dev/null", os.path.join(proc, name))
    mount("none", os.path.join(root, "sys"), "tmpfs", MS_RDONLY | MS_NOSUID, "size=4k")
    mount("none", dev, "tmpfs", MS_NOSUID | MS_NOEXEC, "mode=755,size=64k")
    for name in DEVICES:
        path = os.path.join(dev, name)
        os.close(os.open(path, os.O_CREAT | os.O_WRONLY, 0o666))
        bind("/dev/" + name, path)
    for name, target in (("fd", ""), ("stdin", "/0"), ("stdout", "/1"), ("stderr", "/2")):
        os.symlink("/proc/self/fd" + target, os.path.join(dev, name))
    shared = os.path.join(dev, "shm")
    os.mkdir(shared)
    mount("none", shared, "tmpfs", MS_NOSUID | MS_NODEV, "mode=1777,size=%dm" % settings["shared"])
    control = _socket.socket(AF_INET, SOCK_DGRAM)
    answer = fcntl.ioctl(control, SIOCGIFFLAGS, struct.pack("16sH14s", b"lo", 0, b""))
    flags = struct.unpack("16sH14s", answer)[1] | IFF_UP
    fcntl.ioctl(control, SIOCSIFFLAGS, struct.pack("16sH14s", b"lo", flags, b""))
    control.close()


def enter(root):
    """Leave everything outside `root` behind."""
    os.chdir(root)
    number = {"x86_64": 155, "aarch64": 41}[os.uname().machine]
    if libc.syscall(number, b".", b".") != 0:  # pivot_root, the old one stacked below
        fail("pivot_root")
    if libc.umount2(b".", MNT_DETACH) != 0:
        fail("leaving the old root")
    os.chdir("/")
    _socket.sethostname("sandbox")


def lower_powers(settings):
    """Give up what no program in a box needs, for good."""
    for name, most in settings["rlimits"].items():
        number = getattr(resource, name)
        hard = resource.getrlimit(number)[1]
        most = most if hard == resource.RLIM_INFINITY else min(most, hard)
        resource.setrlimit(number, (most, most))
    for number in range(64):
        if number not in KEPT:
            libc.prctl(PR_CAPBSET_DROP, number, 0, 0, 0)
    kept = sum(1 << number for number in KEPT)
    header = (ctypes.c_uint32 * 2)(0x20080522, 0)
    data = (ctypes.c_uint32 * 6)(kept, kept, 0, 0, 0, 0)
    if libc.capset(header, data) != 0:
        fail("capset")
    if libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0:
        fail("no_new_privs")


def main():
    settings = eval(sys.argv[1], {"__builtins__": {}})  # the owner's
    try:
        for group in settings["cgroups"]:
            with open(os.path.join(group, "cgroup.procs"), "w") as file:
                file.write("0")
        if libc.unshare(CLONE_NEWCGROUP) != 0:  # so that the groups above cannot be seen
            fail("unshare")
        root = make_root(settings)
        furnish(root, settings)
        enter(root)
        lower_powers(settings)
        python = next(p for p in settings["pythons"] if os.access(p, os.X_OK))
        os.execve(python, [python] + settings["command"], settings["env"])
    except StopIteration:
        sys.stderr.write("the image has no Python: local boxes need one (3.6 or newer)")
    except OSError as error:
        sys.stderr.write(str(error))
    os._exit(1)


main()
