"""`python -m bench.load`: the options that bench/locustfile.py adds to Locust's, which its own --help does not show."""

import argparse

from bench.load.options import add_options

parser = argparse.ArgumentParser(
    prog="locust -f bench/locustfile.py --host HOST:PORT",
    description="Load tests for a Skylane server. These are the options beside Locust's own, of which --headless, "
    "--users, --run-time, --html and --processes are the ones that matter; `locust --help` has them all.",
    epilog="Exit code: 0 if every threshold held, 1 if one did not, 2 if nothing could be asked.",
)
add_options(parser)
parser.print_help()
