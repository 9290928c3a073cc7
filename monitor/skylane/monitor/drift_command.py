"""The command `skylane drift`."""

import sys

from skylane.monitor.figures_command import drift as main

if __name__ == "__main__":
    sys.exit(main())
