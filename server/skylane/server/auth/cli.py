"""`skylane token`: makes bearer tokens. The token is shown once, and only its hash is kept."""

import argparse
import os
import secrets
import sys
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

from skylane.server.auth import tokens
from skylane.server.auth.tokens import BadTokens, Token
from skylane.server.core.text import listed
from skylane.server.core.token_scope import ACTIONS

EPILOG = """\
The token is printed to standard output and not stored; its hash and its scope are
added to FILE, which a running server reloads within a second. To revoke the token,
delete its section from FILE.

examples:
  skylane token new billing --tokens tokens.toml --models flights_late --days 90
  skylane token new prometheus --tokens tokens.toml --actions metrics
  skylane token new deployer --tokens tokens.toml --actions admin
  skylane token new airline --tokens tokens.toml --models flights_late --actions outcome
  skylane serve --models models --tokens tokens.toml
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Make a token. Returns the exit code."""
    options = _parser().parse_args(argv)
    secret = tokens.new_secret(secrets.token_urlsafe)
    expires_at = datetime.now(UTC).replace(microsecond=0) + timedelta(days=options.days) if options.days else None
    token = Token(
        sha256=tokens.hash_of(secret),
        models=tuple(options.models),
        actions=tuple(options.actions),
        expires_at=expires_at,
    )
    try:
        _add(options.tokens, tokens.entry(options.name, token))
    except (OSError, BadTokens) as error:
        print(f"skylane token: {options.tokens}: {error}", file=sys.stderr)
        return 1
    print(secret)
    until = f"until {expires_at:%Y-%m-%d %H:%M} UTC" if expires_at else "until its section is deleted"
    may, of = listed(token.actions), listed(token.models)
    print(f"{options.name!r} may {may} (models: {of}), {until}; its hash is in {options.tokens}", file=sys.stderr)
    return 0


def _add(path: Path, entry: str) -> None:
    """Append to the file, or make one that only its owner can read. Raises OSError, or BadTokens, and writes nothing.

    The new file takes the place of the old one as a whole, so that a running server never reads half of it.
    """
    before = path.read_bytes() if path.exists() else b""
    content = before + (b"\n" if before else b"") + entry.encode()
    tokens.decode(content)  # a name that stands there already is an error of TOML
    staging = path.with_name(f".{path.name}.new")
    mode = path.stat().st_mode & 0o777 if before else 0o600
    with os.fdopen(os.open(staging, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode), "wb") as file:
        file.write(content)
    staging.replace(path)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="skylane token", description="Create bearer tokens for callers of a server.")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    new = commands.add_parser(
        "new",
        help="create a token",
        description="Create a token and add its hash to a file of tokens.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    new.add_argument("name", metavar="NAME", help="name of the owner, for your own records; callers do not send it")
    new.add_argument("--tokens", type=Path, required=True, metavar="FILE", help="file of tokens; created if missing")
    new.add_argument(
        "--models",
        nargs="+",
        default=["*"],
        metavar="MODEL",
        help="models, or patterns such as 'wine-*' (default: all)",
    )
    new.add_argument(
        "--actions", nargs="+", default=["predict"], choices=ACTIONS, metavar="ACTION",
        help=f"what it allows: {', '.join(ACTIONS)}; admin includes predict and metrics (default: predict)",
    )  # fmt: skip
    new.add_argument("--days", type=_days, default=0, metavar="DAYS", help="days until it expires (default: never)")
    return parser


def _days(text: str) -> int:
    days = int(text)
    if not 1 <= days <= 36_500:
        raise argparse.ArgumentTypeError(f"expected 1 to 36500, received {text}")
    return days


if __name__ == "__main__":
    sys.exit(main())
