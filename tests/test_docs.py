"""What the documentation says runs."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]


def blocks(language):
    for page in PAGES:
        for number, found in enumerate(
            re.findall(rf"```{language}\n(.*?)```", page.read_text(), re.S)
        ):
            yield pytest.param(found, id=f"{page.stem}-{number}")


@pytest.mark.parametrize("block", list(blocks("python")))
def test_python_blocks_run(block, tmp_path):
    (tmp_path / "block.py").write_text(block)
    done = subprocess.run(
        [sys.executable, "block.py"], cwd=tmp_path, capture_output=True, text=True, timeout=240
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("block", list(blocks("bash")))
def test_commands_in_bash_blocks_exist_and_take_these_options(block):
    from agentgym.cli import COMMANDS

    for line in block.replace("\\\n", " ").splitlines():
        words = shlex.split(line, comments=True)
        if words[:1] != ["agentgym"]:
            continue
        assert words[1] in COMMANDS, line
        shown = subprocess.run(
            [sys.executable, "-m", "agentgym.cli", words[1], "--help"],
            capture_output=True,
            text=True,
            check=True,
            env={**os.environ, "COLUMNS": "200"},
        ).stdout
        for option in (w.partition("=")[0] for w in words if w.startswith("--")):
            assert option.strip("[]") in shown, f"{line}: no {option}"


def test_links_between_pages_lead_somewhere():
    for page in PAGES:
        for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text()):
            assert (page.parent / target).exists(), f"{page.name}: {target}"


def test_the_example_of_the_readme_is_the_one_in_examples():
    shown = re.search(
        r"<!-- examples/guess_number.py -->\n```python\n(.*?)```",
        (ROOT / "README.md").read_text(),
        re.S,
    )
    example = (ROOT / "examples" / "guess_number.py").read_text()
    assert len(example.splitlines()) < 60
    for line in shown[1].splitlines():
        if line.strip().startswith(
            ("class ", "def ", "instructions", "grammar", "agentgym.register")
        ):
            assert line.strip().split("(")[0] in example, line
