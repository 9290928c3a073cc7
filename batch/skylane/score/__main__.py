"""`python -m skylane.score`: the command `skylane score`."""

import sys

from skylane.score.command import main

sys.exit(main(sys.argv[1:]))
