"""Local boxes of a user who is nobody."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from conftest import missing

from agentgym.cache import cache_folder
from agentgym.sandboxes import local

NOBODY = 65534
DRIVER = """
import json, site, sys
for folder in sys.argv[1:]:
    site.addsitedir(folder)
from agentgym.sandbox import Limits, open_sandbox
said = {}
with open_sandbox("base", backend="local", limits=Limits(memory_mb=512, pids=64)) as box:
    box.write("/etc/new", "x")
    box.run("rm /etc/hostname; cd /usr; export A=1")
    said["state"] = box.run("echo $PWD $A; id -u").output
    with box.fork() as other:
        said["fork"] = other.run("ls /etc/new /etc/hostname").output
    said["memory"] = box.run("python3 -c 'bytearray(4 << 30)'").code
    said["forks"] = box.run("b() { b | b & b; }; b 2>/dev/null; sleep 99", timeout_s=1).stopped
    said["disk"] = box.run("head -c 400M /dev/zero > /fill").output
    said["spoof"] = box.run("cat /proc/1/environ; unshare -U true; cat < /proc/1/fd/20").output
    said["power"] = box.run("mount -t tmpfs none /mnt || mknod /x b 8 0 || echo none").output
    box.manifest("/etc")
    box.run("echo y > /etc/new")
    said["changes"] = [change.path for change in box.changes()]
print(json.dumps(said))
"""


def python_of_nobody():
    """An interpreter that anybody may start, of the version that packages here are for."""
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    for python in (sys.executable, f"/usr/bin/python{version}", f"/usr/local/bin/python{version}"):
        done = subprocess.run([*AS_NOBODY, python, "-c", ""], capture_output=True)
        if done.returncode == 0:
            return python
    missing(f"no Python {version} that an ordinary user may start")
    return None


# what setpriv itself starts, it starts with root's powers: hence env
AS_NOBODY = ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups", "env"]
pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="all local boxes are those of a user")


@pytest.fixture
def cache():
    """A folder that anybody can reach, unlike pytest's."""
    with tempfile.TemporaryDirectory(prefix="agentgym-test-") as folder:
        yield Path(folder)


def test_an_ordinary_user_has_boxes_too(cache):
    base = cache_folder("base", "base.tar")
    if not (local.probe().ok and base.exists()):
        missing("no local boxes here, or no base image")
    (cache / "base").mkdir()
    shutil.copy(base, cache / "base")
    for folder, _, files in os.walk(cache):
        for path in (folder, *(os.path.join(folder, name) for name in files)):
            os.chown(path, NOBODY, NOBODY)
    packages = [path for path in sys.path if path.endswith("site-packages")]
    done = subprocess.run(
        [*AS_NOBODY, python_of_nobody(), "-c", DRIVER, *packages],
        env={"PATH": os.environ["PATH"], "HOME": str(cache), "AGENTGYM_CACHE": str(cache)},
        cwd="/",
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    assert said["state"] == "/usr 1\n0\n"
    assert "/etc/new" in said["fork"]
    assert "cannot access '/etc/hostname'" in said["fork"]
    assert said["memory"] != 0
    assert said["forks"] == "timeout"
    assert "No space left" in said["disk"]
    assert said["spoof"].count("ermission denied") == 2
    assert "Operation not permitted" in said["spoof"]
    assert said["power"].endswith("none\n")
    assert said["changes"] == ["new"]
