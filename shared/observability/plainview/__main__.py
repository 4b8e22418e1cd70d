"""`python -m plainview` is the command `plainview`."""

import sys

from .command import main

sys.exit(main())
