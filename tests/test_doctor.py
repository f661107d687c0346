"""The doctor tries every part for real, and says what to do about what it cannot use."""

import os
import shutil
import socket
import stat
import subprocess
import sys
import threading
import time
import tomllib
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from socketserver import UnixStreamServer

import pytest

from agentgym.doctor import EXTRAS, Probe, diagnose
from agentgym.errors import ConfigError
from agentgym.sandboxes import base, browser, engine

ROOT = Path(__file__).resolve().parent.parent
SANDBOXES = ["engine", "local", "base", "browser"]


@pytest.fixture(scope="module")
def probes():
    return {probe.name: probe for probe in diagnose()}


# --- the report --------------------------------------------------------------------------------


def test_every_part_is_reported_once(probes):
    assert list(probes) == ["python", "machine", *EXTRAS, "smollm2", *SANDBOXES]


def test_what_works_needs_no_remedy_and_what_does_not_has_one(probes):
    for probe in probes.values():
        assert probe.ok == (not probe.remedy), probe
        assert probe.detail
        assert "\n" not in probe.detail + probe.remedy


def test_this_python_and_this_machine_are_named(probes):
    assert probes["python"].ok
    assert sys.executable in probes["python"].detail
    assert f"{len(os.sched_getaffinity(0))} cores" in probes["machine"].detail


def test_every_extra_of_the_project_but_the_developers_is_tried():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]

    assert list(EXTRAS) == [name for name in project["optional-dependencies"] if name != "dev"]


def test_an_installed_extra_is_reported_with_its_version(probes):
    import xllamacpp

    assert probes["llamacpp"].ok
    assert probes["llamacpp"].detail == f"xllamacpp {xllamacpp.__version__}"


def test_a_missing_extra_says_which_command_installs_it(tmp_path):
    """In an interpreter that sees none of the installed packages but this one."""
    code = (
        f"import sys; sys.path[:0] = [{str(ROOT)!r}]\n"
        "import types\n"
        "core = types.ModuleType('agentgym'); core.__path__ = [sys.path[0] + '/agentgym']\n"
        "sys.modules['agentgym'] = core\n"
        "from agentgym import doctor\n"
        "print(doctor._extra('textworld'))"
    )
    done = subprocess.run(
        [sys.executable, "-S", "-c", code],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )

    assert "ok=False" in done.stdout
    assert "pip install 'agentgym-env[textworld]'" in done.stdout


def test_a_missing_model_says_which_command_gets_it(tmp_path, monkeypatch):
    monkeypatch.delenv("AGENTGYM_SMOLLM2", raising=False)
    monkeypatch.setenv("AGENTGYM_CACHE", str(tmp_path))

    (probe,) = [probe for probe in diagnose() if probe.name == "smollm2"]

    assert not probe.ok
    assert probe.remedy == "agentgym models pull smollm2"


# --- docker ------------------------------------------------------------------------------------


class Engine(BaseHTTPRequestHandler):
    """Answers as a Docker engine does, or as `answer` says."""

    answer = b'{"Version": "27.5.1", "ApiVersion": "1.47", "Os": "linux", "Arch": "amd64"}'

    def do_GET(self):
        found = self.path == "/version"
        self.send_response(200 if found else 404)
        self.end_headers()
        self.wfile.write(self.answer if found else b"")

    def log_message(self, *_):
        pass

    def address_string(self):
        return "socket"


@contextmanager
def answering(path, monkeypatch, handler=Engine):
    """A server on a Unix socket that `DOCKER_HOST` names."""
    with UnixStreamServer(str(path), handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        monkeypatch.setenv("DOCKER_HOST", f"unix://{path}")
        try:
            yield
        finally:
            server.shutdown()
            thread.join()


def test_docker_is_reported_as_it_is_on_this_machine(probes):
    """Asked again without the code under test: is there an engine behind the socket?"""
    scheme, _, path = engine.engine_host().partition("://")
    if scheme != "unix":
        pytest.skip("the engine is elsewhere")
    try:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(5)
            connection.connect(path)
            connection.sendall(b"GET /_ping HTTP/1.0\r\n\r\n")
            answers = b" 200 " in connection.recv(100)
    except OSError:
        answers = False

    assert probes["engine"].ok == answers


def test_an_engine_that_answers_is_reported_with_its_version(tmp_path, monkeypatch):
    with answering(tmp_path / "socket", monkeypatch):
        probe = engine.probe()

    where = f"unix://{tmp_path}/socket"
    assert probe == Probe("engine", True, f"Docker 27.5.1 (API 1.47, linux/amd64) at {where}")


def test_no_engine_at_the_usual_place_says_how_to_install_one(tmp_path, monkeypatch):
    monkeypatch.setenv("AGENTGYM_CACHE", str(tmp_path))
    if Path("/var/run/docker.sock").exists():
        pytest.skip("there is an engine's socket at the usual place")
    monkeypatch.delenv("DOCKER_HOST", raising=False)

    probe = engine.probe()

    assert not probe.ok
    assert probe.detail == "no engine answers at unix:///var/run/docker.sock: no such socket"
    assert "apt-get install docker.io" in probe.remedy


def test_an_engine_that_set_up_started_is_found_where_there_is_no_other(tmp_path, monkeypatch):
    if Path("/var/run/docker.sock").exists():
        pytest.skip("there is an engine's socket at the usual place")
    monkeypatch.setenv("AGENTGYM_CACHE", str(tmp_path))
    (tmp_path / "docker").mkdir()

    with answering(tmp_path / "docker" / "docker.sock", monkeypatch):
        monkeypatch.delenv("DOCKER_HOST")
        assert engine.probe().ok


def test_a_missing_base_image_says_which_command_makes_it(tmp_path, monkeypatch):
    monkeypatch.setenv("AGENTGYM_CACHE", str(tmp_path))

    assert base.probe() == Probe(
        "base", False, f"no {tmp_path}/base/base.tar", "agentgym images base"
    )


@pytest.mark.parametrize(
    ("answer", "reason"),
    [(b"hello", "Expecting value"), (b"[]", "not a Docker"), (b"{}", "not a Docker engine's")],
)
def test_something_else_behind_the_socket_is_not_taken_for_an_engine(
    tmp_path, monkeypatch, answer, reason
):
    other = type("Other", (Engine,), {"answer": answer})
    with answering(tmp_path / "socket", monkeypatch, other):
        probe = engine.probe()

    assert not probe.ok
    assert reason in probe.detail
    assert "DOCKER_HOST" in probe.remedy


def test_an_engine_that_hangs_is_given_up_in_time(tmp_path, monkeypatch):
    with socket.socket(socket.AF_UNIX) as silent:
        silent.bind(str(tmp_path / "socket"))
        silent.listen()
        monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/socket")

        probe = engine.probe(timeout_s=0.2)

    assert not probe.ok
    assert "timed out" in probe.detail


@pytest.mark.parametrize(
    "host", ["tcp://127.0.0.1:1", "tcp://", "nonsense", "unix:///nowhere", "tcp://[::1", "ssh://h"]
)
def test_an_address_without_an_engine_is_never_a_crash(host, monkeypatch):
    monkeypatch.setenv("DOCKER_HOST", host)
    monkeypatch.setenv("PATH", "")  # so that no docker command goes looking for a host called h

    probe = engine.probe()

    assert not probe.ok
    assert host in probe.detail


@contextmanager
def not_root():
    """Root is refused nothing, so be nobody for a moment."""
    user = os.geteuid()
    if user == 0:
        os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(user)


def test_a_socket_that_refuses_this_user_says_what_to_do(tmp_path, monkeypatch):
    with answering(tmp_path / "socket", monkeypatch):
        (tmp_path / "socket").chmod(0)
        with not_root():
            probe = engine.probe()

    assert "refuses this user" in probe.detail
    assert "usermod" in probe.remedy


# --- the browser -------------------------------------------------------------------------------


@pytest.fixture
def chromium():
    """The browser of this machine."""
    found = browser.find_browser()
    if found is None and os.environ.get("CI") != "true":
        pytest.skip("no Chromium here: scripts/setup.sh browser")
    assert found is not None, "CI must have a browser: scripts/setup.sh browser"
    return found


def script(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return path


def processes_left_with(text: str) -> list[str]:
    """Command lines that mention `text`, of processes that do not end within two seconds."""
    deadline = time.monotonic() + 2
    while (left := processes_with(text)) and time.monotonic() < deadline:
        time.sleep(0.05)
    return left


def processes_with(text: str) -> list[str]:
    found = []
    for file in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            line = file.read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
        if text in line:
            found.append(line)
    return found


def test_the_browser_of_this_machine_starts_and_tells_its_version(chromium, probes):
    said = subprocess.run([chromium, "--version"], capture_output=True, text=True, check=True)

    assert probes["browser"].ok, probes["browser"]
    assert probes["browser"].detail == f"{said.stdout.strip()} at {chromium}; fonts found"


def test_a_machine_without_fonts_is_told_how_to_get_some(chromium, tmp_path, monkeypatch):
    (tmp_path / "fonts.conf").write_text("<fontconfig></fontconfig>")
    monkeypatch.setenv("FONTCONFIG_FILE", str(tmp_path / "fonts.conf"))

    probe = browser.probe()

    assert not probe.ok
    assert str(chromium) in probe.detail
    assert "no fonts found" in probe.detail
    assert "apt-get install fonts-dejavu-core" in probe.remedy


def test_a_browser_that_was_tried_leaves_neither_process_nor_profile(
    chromium, tmp_path, monkeypatch
):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))

    assert browser.probe().ok

    assert list(tmp_path.iterdir()) == []
    assert processes_left_with(str(tmp_path)) == []


def test_a_browser_that_hangs_is_ended_with_all_it_started(tmp_path, monkeypatch):
    marker = f"{tmp_path}/sleeper"
    shutil.copy(shutil.which("sleep"), marker)
    hangs = script(tmp_path / "chromium", f"{marker} 300 & {marker} 300")
    monkeypatch.setenv("AGENTGYM_CHROMIUM", str(hangs))

    probe = browser.probe(timeout_s=0.5)

    assert not probe.ok
    assert "no page in 0.5 s" in probe.detail
    assert processes_left_with(marker) == []


def test_a_browser_that_does_not_start_is_reported_with_its_own_complaint(tmp_path, monkeypatch):
    complaint = "error while loading shared libraries: libnss3.so"
    broken = script(tmp_path / "chromium", f"echo starting >&2; echo '{complaint}' >&2; exit 127")
    monkeypatch.setenv("AGENTGYM_CHROMIUM", str(broken))

    probe = browser.probe()

    assert not probe.ok
    assert f"ended with code 127 and no page: {complaint}" in probe.detail
    assert "chromium-headless-shell" in probe.remedy


def test_a_browser_of_ones_own_comes_first(tmp_path, monkeypatch):
    own = script(tmp_path / "own", "")
    monkeypatch.setenv("AGENTGYM_CHROMIUM", str(own))

    assert browser.find_browser() == own


def test_a_browser_of_ones_own_that_cannot_be_run_is_an_error(tmp_path, monkeypatch):
    monkeypatch.setenv("AGENTGYM_CHROMIUM", str(tmp_path / "nothing"))

    with pytest.raises(ConfigError, match=r"AGENTGYM_CHROMIUM='.*nothing' cannot be run"):
        browser.find_browser()
    assert "unset" in browser.probe().remedy


def test_playwrights_newest_browser_comes_next_and_its_headless_shell_first(tmp_path, monkeypatch):
    monkeypatch.delenv("AGENTGYM_CHROMIUM", raising=False)
    monkeypatch.setenv("PLAYWRIGHT_BROWSERS_PATH", str(tmp_path))
    script(tmp_path / "chromium_headless_shell-999" / "chrome-linux" / "headless_shell", "")
    script(tmp_path / "chromium-1255" / "chrome-linux64" / "chrome", "")
    newest = script(
        tmp_path
        / "chromium_headless_shell-1255"
        / "chrome-headless-shell-linux64"
        / "chrome-headless-shell",
        "",
    )
    (tmp_path / "chromium-tip-of-tree").mkdir()

    assert browser.find_browser() == newest


def test_a_stub_that_only_asks_for_a_snap_is_not_a_browser(tmp_path, monkeypatch):
    if Path("/snap/bin/chromium").exists():
        pytest.skip("the snap is installed")
    monkeypatch.delenv("AGENTGYM_CHROMIUM", raising=False)
    monkeypatch.setenv("PLAYWRIGHT_BROWSERS_PATH", str(tmp_path / "none"))
    monkeypatch.setattr(browser, "PLACES", ())
    script(tmp_path / "chromium-browser", 'exec /snap/bin/chromium "$@"')
    monkeypatch.setenv("PATH", str(tmp_path))

    assert browser.find_browser() is None
    assert browser.probe() == Probe("browser", False, "no Chromium found", browser.REMEDY)


def test_only_root_does_without_the_browsers_own_sandbox():
    assert ("--no-sandbox" in browser.flags()) == (os.geteuid() == 0)
