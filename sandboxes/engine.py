"""Containers: whether a Docker engine answers.

A `docker` command proves nothing, as it is only the client. The engine itself is asked, over the
socket that clients would use.
"""

from __future__ import annotations

import http.client
import json
import os
import shutil
import socket
import subprocess
from pathlib import Path
from urllib.parse import urlsplit

from agentgym.cache import cache_folder
from agentgym.doctor import Probe

_USUAL = "/var/run/docker.sock"
DEFAULT_HOST = f"unix://{_USUAL}"
TIMEOUT_S = 5.0


def engine_host() -> str:
    """Where the engine is: `DOCKER_HOST`, the usual place, or where `scripts/setup.sh` has one."""
    if named := os.environ.get("DOCKER_HOST"):
        return named
    own = cache_folder("docker", "docker.sock")
    return f"unix://{own}" if own.exists() and not _listens(_USUAL) else DEFAULT_HOST


def _listens(path: str) -> bool:
    """Whether something does at a socket, whoever may use it: a file may be left by what ended."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as end:
        try:
            end.connect(path)
        except PermissionError:
            return True
        except OSError:
            return False
    return True


def probe(*, timeout_s: float = TIMEOUT_S) -> Probe:
    """Ask the Docker engine for its version."""
    host = engine_host()
    try:
        said = _version(host, timeout_s)
        detail = f"Docker {said['Version']} (API {said['ApiVersion']}, {said['Os']}/{said['Arch']})"
    except PermissionError:
        remedy = "let this user reach it (usermod -aG docker USER, then log in again), or be root"
        return Probe("engine", False, f"the engine at {host} refuses this user", remedy)
    except (OSError, http.client.HTTPException, ValueError, KeyError) as error:
        detail = f"no engine answers at {host}: {_short(error)}"
        return Probe("engine", False, detail, _remedy(host))
    return Probe("engine", True, f"{detail} at {host}")


def _version(host: str, timeout_s: float) -> dict[str, str]:
    """The engine's answer to ``/version``.

    Raises:
        OSError: Nothing answers.
        http.client.HTTPException: What answers does not speak HTTP.
        ValueError: What answers is not an engine, or `host` is not an address.
    """
    address = urlsplit(host)
    if address.scheme == "unix":
        return _ask(_UnixConnection(address.path, timeout_s))
    if address.scheme in ("tcp", "http") and not os.environ.get("DOCKER_TLS_VERIFY"):
        if address.hostname is None:
            raise ValueError("not an address")
        return _ask(
            http.client.HTTPConnection(address.hostname, address.port or 2375, timeout=timeout_s)
        )
    # Through ssh, or with certificates: the client knows how.
    return _ask_client(timeout_s)


def _ask(connection: http.client.HTTPConnection) -> dict[str, str]:
    try:
        connection.request("GET", "/version")
        response = connection.getresponse()
        body = response.read()
    finally:
        connection.close()
    if response.status != http.client.OK:
        raise ValueError(f"HTTP status {response.status}")
    return _engine(body)


def _ask_client(timeout_s: float) -> dict[str, str]:
    if shutil.which("docker") is None:
        raise ValueError("only the docker command can connect this way, and it is not installed")
    command = ["docker", "version", "--format", "{{json .Server}}"]
    try:
        done = subprocess.run(
            command, capture_output=True, timeout=timeout_s, stdin=subprocess.DEVNULL
        )
    except subprocess.TimeoutExpired:
        raise TimeoutError(f"nothing in {timeout_s:g} s") from None
    if done.returncode != 0:
        lines = done.stderr.decode(errors="replace").split("\n")
        raise ValueError(lines[0] or "docker version did not say why")
    return _engine(done.stdout)


def _engine(body: bytes) -> dict[str, str]:
    said = json.loads(body)
    if not isinstance(said, dict):
        raise ValueError("not a Docker engine's answer")
    return said


def _short(error: Exception) -> str:
    if isinstance(error, FileNotFoundError):
        return "no such socket"
    if isinstance(error, KeyError):
        return "not a Docker engine's answer"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror.lower()
    return str(error) or type(error).__name__


def _remedy(host: str) -> str:
    if host == DEFAULT_HOST and not Path(_USUAL).exists():
        return (
            "install Docker Engine and start it (Debian, Ubuntu: apt-get install docker.io), "
            "or set DOCKER_HOST if its socket is elsewhere"
        )
    return "start Docker Engine there, or correct DOCKER_HOST"


class _UnixConnection(http.client.HTTPConnection):
    """HTTP over a Unix socket."""

    def __init__(self, path: str, timeout_s: float) -> None:
        super().__init__("localhost", timeout=timeout_s)
        self._path = path

    def connect(self) -> None:
        """Connect to the socket instead of to a host."""
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)
