"""`python -m tests.simulation --seed 4711 -v`: tell the whole story of one seed; or run many and count."""

import argparse
import logging
import sys
import time
from collections import Counter

from tests.simulation.run import run


def main() -> int:
    """Run the seeds that are asked for; the exit code is 1 when one of them is not as it must be."""
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    parser.add_argument("--seed", type=int, default=0, help="the first seed")
    parser.add_argument("--seeds", type=int, default=1, help="how many, one after the other")
    parser.add_argument("-v", "--verbose", action="store_true", help="print everything that happens")
    given = parser.parse_args()
    logging.disable(logging.CRITICAL)
    began_s = time.perf_counter()
    found: Counter[str] = Counter()
    failed, orders, sent, fills, transactions = [], 0, 0, 0, 0
    for seed in range(given.seed, given.seed + given.seeds):
        verdict = run(seed)
        orders, sent, fills = orders + verdict.orders, sent + verdict.sent, fills + verdict.fills
        transactions += verdict.transactions
        if given.verbose:
            print(verdict.plan, *verdict.story, sep="\n")
        if verdict.violations:
            failed.append(seed)
            found.update({invariant for invariant, _, _ in verdict.violations})
            print(verdict.explain(), flush=True)
    wall_s = time.perf_counter() - began_s
    print(
        f"{given.seeds} seeds in {wall_s:.1f} s: {orders} orders, {sent} orders and replaces sent, {fills} fills, "
        f"{transactions} transactions; {orders / wall_s:.0f} orders/s; {len(failed)} seeds failed {dict(found)}"
    )
    if failed:
        print("failed:", *failed)
    return bool(failed)


if __name__ == "__main__":
    sys.exit(main())
