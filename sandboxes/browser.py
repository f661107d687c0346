"""Browsers: which Chromium is here, and whether it starts.

One that is installed may still not start (a library missing, no user namespaces, a stub that only
asks for a snap), so the probe starts it on a page of its own and reads the page back.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

from agentgym.doctor import Probe
from agentgym.errors import ConfigError, SandboxError

TIMEOUT_S = 30.0

FLAGS = (
    "--headless",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
)
"""What every start is given: no window, and no traffic but a page's own."""

NAMES = (
    "chromium-headless-shell",
    "chromium",
    "chromium-browser",
    "google-chrome",
    "google-chrome-stable",
)
PLACES = (
    "/usr/lib/chromium/chromium-headless-shell",
    "/usr/lib/chromium/chromium",
    "/usr/lib/chromium-browser/chromium-browser",
    "/opt/google/chrome/chrome",
)
REMEDY = (
    "install one (Debian: apt-get install chromium-headless-shell; "
    "elsewhere: playwright install --with-deps --only-shell chromium, or Google Chrome), "
    "or set AGENTGYM_CHROMIUM to its path"
)


NO_FONTS = "no fonts found: text has no size, and cannot be seen"
FONTS_REMEDY = "install some (Debian: apt-get install fonts-dejavu-core)"
TEXT_WIDTH = "document.createElement('canvas').getContext('2d').measureText('m').width"
"""An expression: pixels; 0 where there are no fonts."""


def find_browser(*, headed: bool = False) -> Path | None:
    """The first Chromium here: `AGENTGYM_CHROMIUM`, Playwright's own, on `PATH`, in usual places.

    Args:
        headed: One that can open a window: no headless shell.

    Raises:
        ConfigError: `AGENTGYM_CHROMIUM` is set, to something that cannot be run.
    """
    if named := os.environ.get("AGENTGYM_CHROMIUM"):
        path = Path(os.path.expanduser(named))
        if not _can_run(path):
            raise ConfigError(f"AGENTGYM_CHROMIUM={named!r} cannot be run: correct or unset it")
        return path
    found = (path for path in _candidates() if _can_run(path) and not _is_stub(path))
    return next((path for path in found if not (headed and "shell" in path.name)), None)


def need_display() -> None:
    """See to it that a window can be opened.

    Raises:
        ConfigError: There is no display, or no browser that could show itself.
    """
    if not (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")):
        raise ConfigError(
            "a visible browser needs a display, and DISPLAY is not set: run it on a desktop, over "
            "ssh -X, or under xvfb-run; or watch in the terminal"
        )
    if find_browser(headed=True) is None:
        raise ConfigError(
            "no Chromium that opens windows found (a headless shell cannot): install one "
            "(Debian: apt-get install chromium; elsewhere: playwright install chromium, or Google "
            "Chrome), or set AGENTGYM_CHROMIUM to its path"
        )


def probe(*, timeout_s: float = TIMEOUT_S) -> Probe:
    """Start the browser on a page of our own, in a profile of its own, and read the page back."""
    try:
        path = find_browser()
        if path is None:
            return Probe("browser", False, "no Chromium found", REMEDY)
        has_fonts = _start(path, timeout_s)
        version = _version(path)
    except ConfigError as error:
        return Probe("browser", False, str(error), "correct or unset AGENTGYM_CHROMIUM")
    except SandboxError as error:
        return Probe("browser", False, str(error), REMEDY)
    if not has_fonts:
        return Probe("browser", False, f"{version} at {path}; {NO_FONTS}", FONTS_REMEDY)
    return Probe("browser", True, f"{version} at {path}; fonts found")


def flags() -> list[str]:
    """`FLAGS`, and for root ``--no-sandbox``: Chromium refuses to start as root without."""
    return [*FLAGS, *(["--no-sandbox"] if os.geteuid() == 0 else [])]


def _candidates() -> Iterator[Path]:
    yield from _of_playwright()
    for name in NAMES:
        if (found := shutil.which(name)) is not None:
            yield Path(found)
    yield from map(Path, PLACES)


def _of_playwright() -> Iterator[Path]:
    """What Playwright downloaded: newest first, and its headless shell before the whole browser."""
    named = os.environ.get("PLAYWRIGHT_BROWSERS_PATH")
    folder = Path(os.path.expanduser(named or "~/.cache/ms-playwright"))

    def preference(folder: Path) -> tuple[int, bool]:
        return int(folder.name.rpartition("-")[2]), "headless" in folder.name

    browsers = [found for found in folder.glob("chromium*-*") if re.search(r"-\d+$", found.name)]
    for browser in sorted(browsers, key=preference, reverse=True):
        for name in ("headless_shell", "chrome-headless-shell", "chrome"):
            yield from browser.glob(f"chrome-*/{name}")


def _can_run(path: Path) -> bool:
    return os.path.isfile(path) and os.access(path, os.X_OK)  # False, too, where it may not look


def _is_stub(path: Path) -> bool:
    """Whether this is Ubuntu's script that only says to install a snap that is not installed."""
    try:
        with path.open("rb") as file:
            head = file.read(4096)
    except OSError:  # may be run, but not read
        return False
    return b"/snap/bin/chromium" in head and not Path("/snap/bin/chromium").exists()


def _start(path: Path, timeout_s: float) -> bool:
    """Start it and let it render one page; whether it has fonts.

    Raises:
        SandboxError: It does not start, or not in time, or does not render.
    """
    with tempfile.TemporaryDirectory(
        prefix="agentgym-browser-", ignore_cleanup_errors=True
    ) as profile:
        page = "data:text/html,<p>1%2B1=<script>document.write(1%2B1)</script></p>"
        page += f"<p>fonts=<script>document.write({TEXT_WIDTH} > 0)</script></p>"
        command = [str(path), *flags(), f"--user-data-dir={profile}", "--dump-dom", page]
        code, output, complaints = _run(command, timeout_s)
    if "1+1=" not in output or "2</p>" not in output:
        said = [line.strip() for line in complaints.splitlines() if line.strip()]
        fatal = [line for line in said if "FATAL" in line or "error while loading" in line]
        why = (fatal or said or ["it said nothing"])[0]
        raise SandboxError(f"{str(path)!r} ended with code {code} and no page: {why}")
    return "true</p>" in output


def _version(path: Path) -> str:
    _, output, _ = _run([str(path), "--version"], TIMEOUT_S)
    return output.strip() or "Chromium of unknown version"


def _run(command: list[str], timeout_s: float) -> tuple[int, str, str]:
    """Exit code, output and complaints of a command; nothing that it started outlives the call."""
    try:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
            start_new_session=True,
        )
    except OSError as error:
        raise SandboxError(f"{command[0]!r} cannot be run: {error.strerror}") from error
    with process:
        try:
            output, complaints = process.communicate(timeout=timeout_s)
        except subprocess.TimeoutExpired as error:
            _kill_group(process)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.communicate(timeout=5)  # returns when the last of them is gone
            raise SandboxError(f"{command[0]!r} gave no page in {timeout_s:g} s") from error
        finally:
            _kill_group(process)
    return process.returncode, output, complaints


def _kill_group(process: subprocess.Popen[str]) -> None:
    """End what `process` started, too: a group outlives its leader while a renderer does."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
