"""What text worlds cost here, and what the same games cost in the packages they come from.

    python benchmarks/text_worlds.py [--quick] [--json]

Needs `pip install 'agentgym-env[textworld]'`, and `alfworld` (Python 3.11 or 3.12) for the ratios
to ALFWorld's own engine. All times are CPU time of this process, taken in one run.
"""

from __future__ import annotations

import sys

import _alfworld
import _measure
import _textworld


def main() -> int:
    """Measure both worlds and print the figures."""
    options = _measure.arguments(__doc__.partition("\n")[0])
    figures = {**_alfworld.figures(options.quick), **_textworld.figures(options.quick)}
    return _measure.report(figures, as_json=options.json)


if __name__ == "__main__":
    sys.exit(main())
