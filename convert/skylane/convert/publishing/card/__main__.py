"""Prints the model card of a published version, of any release.

python -m skylane.convert.publishing.card models/NAME/VERSION > card.html
"""

import sys
from pathlib import Path

from skylane.convert.publishing.card import page
from skylane.manifest import MANIFEST_FILE, BrokenVersion, decode, verify_files


def main(arguments: list[str]) -> int:
    """Print the card. Returns 2 if the version is missing or damaged."""
    if len(arguments) != 1:
        print("usage: python -m skylane.convert.publishing.card models/NAME/VERSION > card.html", file=sys.stderr)
        return 2
    directory = Path(arguments[0])
    try:
        verify_files(directory)
        manifest = decode((directory / MANIFEST_FILE).read_bytes())
    except (BrokenVersion, OSError) as error:
        print(f"{directory}: {error}", file=sys.stderr)
        return 2
    sys.stdout.write(page(manifest))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
