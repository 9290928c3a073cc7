"""`python -m skylane.bench.load`: the options that bench/locustfile.py adds to Locust's, which its own --help does not
show.
"""

import argparse

from skylane.bench.load.options import add_options


class Formatter(argparse.HelpFormatter):
    """With defaults, but for those that are empty."""

    def _get_help_string(self, action: argparse.Action) -> str | None:
        given = action.default not in ("", argparse.SUPPRESS)
        return f"{action.help} (default: %(default)s)" if given else action.help


parser = argparse.ArgumentParser(
    prog="locust -f bench/locustfile.py",
    usage="locust -f bench/locustfile.py --host HOST:PORT [options]",
    description="Load tests for a Skylane server. These are the options beside Locust's own, of which --headless, "
    "--users, --run-time, --html and --processes are the ones that matter; `locust --help` has them all.",
    epilog="Exit code: 0 if every threshold held, 1 if one did not, 2 if nothing could be asked.",
    formatter_class=Formatter,
)
add_options(parser)
parser.print_help()
