"""The command `skylane performance`."""

import sys

from skylane.monitor.figures_command import performance as main

if __name__ == "__main__":
    sys.exit(main())
