"""Lets `python -m skylane.convert` run the command `skylane convert`."""

import sys

from skylane.convert.command import main

__all__ = ["main"]

if __name__ == "__main__":
    sys.exit(main())
