"""Ids: registering and finding them, plugins, files, and the text form of an id with arguments."""

import os
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import counting
import gymnasium as gym
import numpy as np
import pytest

import agentgym
from agentgym import registry
from agentgym.errors import ConfigError, RegistryError, TaskError

WORLD = """
import agentgym

class {name}(agentgym.Env):
    '''A world in a file.'''

    def begin(self, task):
        return "Hello from {name}."

    def respond(self, action):
        return agentgym.Reply("Bye.", agentgym.Outcome(1.0, True))
"""


def run(code: str, *folders: Path) -> str:
    """What a fresh interpreter prints, warnings being errors."""
    path = os.pathsep.join(str(folder) for folder in folders)
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", textwrap.dedent(code)],
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout + done.stderr


def install_plugin(site: Path, entry_points: str) -> None:
    """What pip leaves of a distribution that announces environments."""
    info = site / "someone_else-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: someone-else\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[agentgym.envs]\n{entry_points}\n")
    world = WORLD.format(name="Theirs") + "\nprint('imported')\n"
    (site / "someone_else.py").write_text(world)


def write_world(path: Path, name: str, *ids: str) -> Path:
    lines = [f"agentgym.register({id!r}, {name})" for id in ids]
    path.write_text(WORLD.format(name=name) + "\n".join(lines) + "\n")
    return path


# ---------------------------------------------------------------- ids


def test_a_registered_id_is_listed_with_a_line_about_it() -> None:
    assert registry.ids()["counting/Counter-v0"] == counting.Counter.__doc__
    assert "agentgym/TextWorld-v0" in registry.ids()
    assert list(registry.ids()) == sorted(registry.ids())


def test_a_class_is_registered_by_name_so_that_specs_stay_text() -> None:
    spec = gym.spec("counting/Counter-v0")
    assert spec.entry_point == "counting:Counter"
    assert gym.envs.registration.EnvSpec.from_json(spec.to_json()) == spec


def test_registering_again_replaces() -> None:
    class Other(counting.Counter):
        """Another."""

    agentgym.register("counting/Replaced-v0", counting.Counter, "the first")
    agentgym.register("counting/Replaced-v0", Other)
    assert registry.ids()["counting/Replaced-v0"] == "Another."
    assert type(gym.make("counting/Replaced-v0")) is Other


def test_an_id_needs_a_version() -> None:
    with pytest.raises(ConfigError, match="call it 'counting/Bare-v0'"):
        agentgym.register("counting/Bare", counting.Counter)


def test_make_is_gymnasiums_make() -> None:
    env = agentgym.make("counting/Counter-v0", max_turns=3, split="test")
    assert type(env) is counting.Counter
    assert (env.max_turns, env.split) == (3, "test")  # type: ignore[attr-defined]
    assert env.spec is not None
    assert env.spec.kwargs == {"max_turns": 3, "split": "test"}


@pytest.mark.parametrize(
    ("id", "arguments", "error", "told"),
    [
        ("counting/Countre-v0", {}, RegistryError, "did you mean 'counting/Counter-v0'"),
        ("nobody/Knows-v0", {}, RegistryError, "agentgym list"),
        (
            "no_such_module:nobody/Knows-v0",
            {},
            RegistryError,
            "'no_such_module' cannot be imported",
        ),
        (
            "counting/Missing-v0",
            {},
            RegistryError,
            "cannot be imported: No module named 'not_there'",
        ),
        ("counting/Counter-v0", {"colour": 1}, ConfigError, "unexpected keyword argument 'colour'"),
        ("counting/Counter-v0", {"split": "tset"}, TaskError, "did you mean 'test'"),
    ],
)
def test_what_cannot_be_made_says_why(
    id: str, arguments: dict[str, Any], error: type[Exception], told: str
) -> None:
    agentgym.register("counting/Missing-v0", "not_there:World")
    with pytest.raises(error, match=told):
        agentgym.make(id, **arguments)


def test_an_id_may_name_the_module_that_registers_it() -> None:
    code = "import agentgym; print(agentgym.make('counting:counting/Counter-v0').spec.id)"
    assert run(code, Path(__file__).parent) == "counting/Counter-v0\n"


def test_a_missing_extra_is_named() -> None:
    registry.need("json", extra="none", what="this")
    with pytest.raises(RegistryError, match=r"W-v0 needs no_such: pip install 'agentgym-env\[w\]'"):
        registry.need("no_such", extra="w", what="W-v0")


# ---------------------------------------------------------------- plugins


def test_an_installed_plugin_is_found_and_not_imported_before_it_is_made(tmp_path: Path) -> None:
    install_plugin(tmp_path, "someone/Else-v0 = someone_else:Theirs")
    code = """
        import agentgym, gymnasium
        from agentgym import registry
        print(registry.ids()["someone/Else-v0"])
        print(gymnasium.make("someone/Else-v0").reset(seed=0)[0])
    """
    assert run(code, tmp_path) == "plugin someone_else\nimported\nHello from Theirs.\n"


def test_a_plugin_runs_in_a_worker_process(tmp_path: Path) -> None:
    install_plugin(tmp_path, "someone/Else-v0 = someone_else:Theirs")
    code = """
        import asyncio, agentgym
        from agentgym.execution import WorkerPool

        async def main():
            host = WorkerPool(1, owned=True).lease(agentgym.make("someone/Else-v0"))
            print((await host.call("reset", seed=0))[0])
            await host.close()

        asyncio.run(main())
    """
    assert run(code, tmp_path) == "imported\nHello from Theirs.\n"


def test_a_plugin_may_not_take_our_ids_and_needs_a_version(tmp_path: Path) -> None:
    install_plugin(tmp_path, "agentgym/TextWorld-v0 = someone_else:Theirs\nbare = someone_else:X")
    code = """
        import logging
        logging.basicConfig(format="%(message)s")
        import agentgym, gymnasium
        print(gymnasium.spec("agentgym/TextWorld-v0").entry_point)
        print("bare" in gymnasium.registry)
    """
    told = run(code, tmp_path)
    assert "agentgym.envs.textworld:TextWorld\nFalse\n" in told
    assert (
        "plugin 'agentgym/TextWorld-v0' (someone_else:Theirs) is ignored: the id is taken" in told
    )
    assert "plugin 'bare' (someone_else:X) is ignored: the id has no version" in told


# ---------------------------------------------------------------- files


@pytest.fixture(autouse=True)
def _same_path(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", list(sys.path))


def test_a_file_is_loaded_by_the_one_id_it_registers(tmp_path: Path) -> None:
    path = write_world(tmp_path / "file_one.py", "One", "file/One-v0")
    assert registry.load_file(path) == "file/One-v0"
    assert registry.load_file(path) == "file/One-v0"
    assert agentgym.make("file/One-v0").reset()[0] == "Hello from One."


@pytest.mark.parametrize("ids", [(), ("file/A-v0", "file/B-v0")])
def test_a_file_that_registers_none_or_several_is_refused(
    tmp_path: Path, ids: tuple[str, ...]
) -> None:
    path = write_world(tmp_path / f"file_of_{len(ids)}.py", "World", *ids)
    with pytest.raises(RegistryError, match=f"registers {len(ids)} environments"):
        registry.load_file(path)


def test_a_file_with_a_mistake_is_refused_with_the_mistake(tmp_path: Path) -> None:
    (tmp_path / "file_broken.py").write_text("import agentgym\nagentgym.registre()\n")
    with pytest.raises(RegistryError, match=r"file_broken\.py cannot be imported: AttributeError"):
        registry.load_file(tmp_path / "file_broken.py")
    with pytest.raises(RegistryError, match=r"no file .*nowhere\.py"):
        registry.load_file(tmp_path / "nowhere.py")


def test_a_file_is_never_taken_for_another_module_of_its_name(tmp_path: Path) -> None:
    for folder in ("one", "two"):
        (tmp_path / folder).mkdir()
        write_world(tmp_path / folder / "file_twin.py", folder.title(), f"file/{folder}-v0")
    registry.load_file(tmp_path / "one" / "file_twin.py")
    with pytest.raises(RegistryError, match="'file_twin' is imported already: rename"):
        registry.load_file(tmp_path / "two" / "file_twin.py")


def test_a_file_that_ends_the_program_or_has_a_dot_in_its_name_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file_leaving.py").write_text("import sys\nsys.exit(2)\n")
    with pytest.raises(RegistryError, match=r"file_leaving\.py cannot be imported: SystemExit: 2"):
        registry.load_file(tmp_path / "file_leaving.py")
    path = write_world(tmp_path / "file.v2.py", "Dotted", "file/Dotted-v0")
    with pytest.raises(RegistryError, match=r"rename it, to file_v2\.py say"):
        registry.load_file(path)


def test_the_file_an_id_is_from_is_known_by_its_absolute_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write_world(tmp_path / "file_known.py", "Known", "file/Known-v0")
    registry.load_file(Path("file_known.py"))
    assert registry.file_of("file/Known-v0") == tmp_path.resolve() / "file_known.py"
    assert registry.file_of("counting/Counter-v0") is None


# ---------------------------------------------------------------- keys


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({}, "a/B-v0"),
        ({"level": 5, "family": "coin"}, "a/B-v0?family=coin&level=5"),
        ({"on": True, "off": None, "half": 0.5}, "a/B-v0?half=0.5&off=null&on=true"),
        ({"path": "a/b c&d=e", "sizes": [1, 2]}, "a/B-v0?path=a/b%20c%26d%3De&sizes=%5B1,%202%5D"),
        ({"text": ""}, "a/B-v0?text="),
        ({"text": "ü✓"}, "a/B-v0?text=%C3%BC%E2%9C%93"),
    ],
)
def test_an_id_with_its_arguments_is_one_string_and_back(
    arguments: dict[str, Any], text: str
) -> None:
    assert registry.key("a/B-v0", arguments) == text
    assert registry.parse_key(text) == ("a/B-v0", arguments)


@pytest.mark.parametrize("value", ["5", "true", "null", "[1]", '"quoted"'])
def test_text_that_reads_like_json_stays_text(value: str) -> None:
    arguments = {"name": value}
    assert registry.parse_key(registry.key("a/B-v0", arguments)) == ("a/B-v0", arguments)


def test_numpys_whole_numbers_are_written_as_any() -> None:
    assert registry.key("a/B-v0", {"level": np.int64(5)}) == "a/B-v0?level=5"


def test_an_argument_that_is_not_json_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"an argument of a/B-v0 cannot be recorded"):
        registry.key("a/B-v0", {"path": Path("x")})
