"""Text for terminals: what a model or a world wrote must not drive them."""

from __future__ import annotations

import shlex
from pathlib import Path

_HARMFUL = {code: 0x2400 + code for code in range(32) if chr(code) not in "\n\t"}
_HARMFUL |= {0x7F: 0x2421}
_HARMFUL |= dict.fromkeys(range(0x80, 0xA0), 0xFFFD)
# right-to-left overrides and the like: they make text read as what it is not
_HARMFUL |= dict.fromkeys((*range(0x202A, 0x202F), *range(0x2066, 0x206A)), 0xFFFD)
_HARMFUL |= dict.fromkeys(range(0xD800, 0xE000), 0xFFFD)


def clean(text: str) -> str:
    """`text` with control characters made visible; lines and tabs are kept."""
    return text.replace("\r\n", "\n").translate(_HARMFUL)


def brief(text: str, most: int = 200) -> str:
    """`text` cleaned, on one line, cut to `most` characters."""
    line = clean(" ".join(text.split()))
    return line if len(line) <= most else f"{line[: most - 1]}…"


def duration(seconds: float) -> str:
    """`0.25 s`, `12 s`, `3 min 20 s`, `2 h 5 min`."""
    if seconds < 10:
        return f"{seconds:.2g} s" if seconds < 1 else f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def several(count: int, noun: str) -> str:
    """`1 episode`, `2 episodes`."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def resume_command(run: Path | str) -> str:
    """What goes on with a run, or with a folder of runs."""
    return shlex.join(["agentgym", "eval", "--resume", "--out", str(run)])
