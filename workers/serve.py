"""`python -m workers.serve`: a Celery worker started by Celery's own `Worker`, not by its command line.

The command line imports every other command, and Flower where it is installed: half of a worker's start. What is
served is the same as with `celery -A workers.worker worker -Q … -n …`.
"""

import argparse
import sys
from importlib import import_module

from celery.utils.nodenames import default_nodename, host_format

from workers.app import app


def main() -> int:
    """Serve queues until told to stop."""
    parser = argparse.ArgumentParser(prog="python -m workers.serve", description=__doc__)
    parser.add_argument("module", help="workers.worker, or one of workers.sessions for the owner of a session")
    parser.add_argument("--queues", required=True, help="separated by commas")
    parser.add_argument("--name", required=True)
    parser.add_argument("--pool", default="solo")
    parser.add_argument("--concurrency", type=int, default=1)
    given = parser.parse_args()
    import_module(given.module)
    worker = app.Worker(
        hostname=host_format(default_nodename(given.name)),
        queues=given.queues,
        pool=given.pool,
        concurrency=given.concurrency,
        loglevel="WARNING",
        # At fleet size their chatter alone would fill the broker.
        without_gossip=True,
        without_mingle=True,
        without_heartbeat=True,
        quiet=True,
    )
    worker.start()
    return int(worker.exitcode or 0)


if __name__ == "__main__":
    sys.exit(main())
