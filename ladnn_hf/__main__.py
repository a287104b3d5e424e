"""`python -m ladnn_hf` is the command `ladnn`."""

import sys

from .cli import main

sys.exit(main())
