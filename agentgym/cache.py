"""Where what was downloaded or built once is kept: `$AGENTGYM_CACHE`, else `~/.cache/agentgym`."""

from __future__ import annotations

import os
from pathlib import Path

from agentgym.errors import ConfigError


def cache_folder(*parts: str) -> Path:
    """A folder in the cache; it may not exist yet.

    Raises:
        ConfigError: This user has no home, and `AGENTGYM_CACHE` is not set.
    """
    try:
        root = Path(os.environ.get("AGENTGYM_CACHE") or "~/.cache/agentgym").expanduser()
    except RuntimeError as error:
        raise ConfigError("this user has no home folder: set AGENTGYM_CACHE") from error
    return root.joinpath(*parts)
