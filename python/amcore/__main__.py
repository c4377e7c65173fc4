"""Run the command line: ``python -m amcore``."""

import sys

from amcore.cli import main

sys.exit(main())
