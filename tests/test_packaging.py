"""Four top-level folders make one package, in a checkout and in a wheel."""

import ast
import os
import re
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

import agentgym

ROOT = Path(__file__).resolve().parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
FOLDERS = {
    "agentgym": "agentgym",
    "envs": "agentgym.envs",
    "tasks": "agentgym.tasks",
    "sandboxes": "agentgym.sandboxes",
}
MAPPED = [package for folder, package in FOLDERS.items() if folder != package]


TASKS = ROOT / "tasks"


def is_data(path: Path) -> bool:
    """Whether a file is no module of ours: projects for agents to mend, and sites by folder."""
    if path.is_relative_to(TASKS / "projects"):
        return True
    sites = TASKS / "sites"
    return path.is_relative_to(sites) and len(path.relative_to(sites).parts) > 1


def packages() -> dict[str, Path]:
    """Every package that the folders hold, by dotted name."""
    found = {}
    for folder, package in FOLDERS.items():
        for init in (ROOT / folder).rglob("__init__.py"):
            if is_data(init):
                continue
            below = init.parent.relative_to(ROOT / folder).parts
            found[".".join([package, *below])] = init.parent
    return found


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    folder = tmp_path_factory.mktemp("wheel")
    subprocess.run([ROOT / "scripts" / "build_wheel.sh", folder], check=True, timeout=240)
    (built,) = folder.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory):
    site = tmp_path_factory.mktemp("site")
    install = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index"]
    subprocess.run([*install, "--target", site, wheel], check=True, timeout=240)
    return site


def run_python(code: str, *, cwd: Path, path: Path | None = None) -> subprocess.CompletedProcess:
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    if path is not None:
        environment["PYTHONPATH"] = str(path)
    return subprocess.run(
        [sys.executable, "-c", code], cwd=cwd, env=environment, capture_output=True, text=True
    )


def test_every_package_is_listed_in_pyproject():
    assert sorted(packages()) == sorted(PROJECT["tool"]["setuptools"]["packages"])


def test_every_folder_is_mapped_in_pyproject():
    mapped = PROJECT["tool"]["setuptools"]["package-dir"]

    assert {folder: package for package, folder in mapped.items()} == FOLDERS


def test_every_module_is_in_a_package():
    in_packages = {file for folder in packages().values() for file in folder.glob("*.py")}

    files = {file for folder in FOLDERS for file in (ROOT / folder).rglob("*.py")}
    assert {file for file in files if not is_data(file)} == in_packages


def test_the_version_is_written_the_same_in_both_places():
    assert PROJECT["project"]["version"] == agentgym.__version__


def test_the_wheel_holds_the_modules_the_marker_of_types_and_nothing_else(wheel):
    expected = {
        f"{package.replace('.', '/')}/{file.name}"
        for package, folder in packages().items()
        for file in folder.glob("*.py")
    }

    with zipfile.ZipFile(wheel) as archive:
        held = {name for name in archive.namelist() if ".dist-info/" not in name}
    shipped = {
        f"agentgym/{path.relative_to(ROOT)}"
        for path in TASKS.rglob("*")
        if path.is_file() and is_data(path) and "__pycache__" not in path.parts
    }
    assert shipped <= held
    held -= shipped
    data = {name for name in held - expected if not name.endswith(".py")}

    assert {name for name in held if name.endswith(".py")} == expected
    assert "agentgym/py.typed" in data
    assert all(name.startswith("agentgym/") for name in data)


def test_the_wheel_carries_the_licence(wheel):
    with zipfile.ZipFile(wheel) as archive:
        (licence,) = [name for name in archive.namelist() if name.endswith("/LICENSE")]

        assert b"Apache License" in archive.read(licence)


@pytest.mark.parametrize("package", MAPPED)
def test_a_mapped_package_is_imported_from_where_the_wheel_was_installed(
    package, installed, tmp_path
):
    done = run_python(f"import {package} as it; print(it.__file__)", cwd=tmp_path, path=installed)

    assert done.returncode == 0, done.stderr
    assert Path(done.stdout.strip()) == installed.joinpath(*package.split("."), "__init__.py")


@pytest.mark.parametrize("package", MAPPED)
def test_a_mapped_package_is_imported_from_the_checkout_when_installed_editable(package, tmp_path):
    done = run_python(f"import {package} as it; print(it.__file__)", cwd=tmp_path)

    assert done.returncode == 0, done.stderr
    assert Path(done.stdout.strip()) == ROOT / package.rpartition(".")[2] / "__init__.py"


@pytest.mark.parametrize("package", MAPPED)
def test_importing_a_folder_by_its_bare_name_is_refused_and_says_what_to_do(package):
    folder = package.rpartition(".")[2]

    done = run_python(f"import {folder}", cwd=ROOT)

    assert done.returncode != 0
    assert f"ImportError: this folder is the package {package}, not {folder!r}" in done.stderr
    assert f"import {package}" in done.stderr


def imports(file: Path) -> set[str]:
    """Dotted names that a module imports anywhere in it, also inside functions."""
    found = set()
    package = file.relative_to(ROOT).with_suffix("").parts
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = list(package[: len(package) - node.level]) if node.level else []
            base += [node.module] if node.module else []
            found |= {".".join([*base, alias.name]) for alias in node.names}
    return found


def test_arrows_point_inward():
    """Nothing in the core imports a world, a task set or a sandbox: it names them by string."""
    outward = re.compile(r"(agentgym\.)?(envs|tasks|sandboxes)(\.|$)")

    assert [
        f"{file.relative_to(ROOT)} imports {name}"
        for file in sorted((ROOT / "agentgym").rglob("*.py"))
        for name in sorted(imports(file))
        if outward.match(name)
    ] == []
