"""What the library warns of, on standard error: one line each, and not a hundred alike."""

from __future__ import annotations

import logging
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

MOST_ALIKE = 3


class _Handler(logging.Handler):
    """Prints to whatever `sys.stderr` is at the time: above a progress bar, while there is one."""

    def __init__(self, debug: bool) -> None:
        super().__init__()
        self._most = sys.maxsize if debug else MOST_ALIKE
        self._seen: Counter[str] = Counter()

    def emit(self, record: logging.LogRecord) -> None:
        """Print the record, and say so when it is the last of its kind to be printed."""
        from agentgym.cli.text import clean

        alike = str(record.msg)
        self._seen[alike] += 1
        if self._seen[alike] > self._most:
            return
        line = f"agentgym: {record.levelname.lower()}: {record.getMessage()}"
        if self._seen[alike] == self._most:
            line += " (further ones like this are not shown)"
        print(clean(" ".join(line.split())), file=sys.stderr, flush=True)


@contextmanager
def shown_warnings(debug: bool) -> Iterator[None]:
    """Show the library's warnings inside; with `debug` all it logs."""
    logger = logging.getLogger("agentgym")
    handler, before = _Handler(debug), logger.level
    logger.addHandler(handler)
    if debug:
        logger.setLevel(logging.DEBUG)
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(before)
