"""`python -m skylane.features`: the command `skylane features`."""

import sys

from skylane.features.command import main

sys.exit(main(sys.argv[1:]))
