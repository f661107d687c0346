"""`python -m agentgym.cli`: the command `agentgym`, wherever it was installed."""

import sys

from agentgym.cli import main

sys.exit(main())
