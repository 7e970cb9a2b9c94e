"""`python -m tests.e2e.faults --row 2 --runs 100 --lanes 3` plays faults; `--list` names the rows.

Without `--row` all rows are played, without `--runs` as often as their tables say. Every row leaves a line in
bench/faults.jsonl. The exit code is 1 when anything was violated; the directory of that lane is kept then.
"""

import argparse
import json
import sys
import time

from tests.e2e.faults.report import table
from tests.e2e.faults.runs import measured
from tests.e2e.faults.table import ROWS


def main() -> int:
    """Do what the arguments say."""
    parser = argparse.ArgumentParser(prog="python -m tests.e2e.faults", description=__doc__)
    parser.add_argument("--row", type=int, action="append", choices=sorted(ROWS), help="as often as wanted; else all")
    parser.add_argument("--runs", type=int, help="runs of each case at most; else as its table says")
    parser.add_argument("--lanes", type=int, default=2, help="how many platforms at once")
    parser.add_argument("--minutes", type=float, default=float("inf"), help="begin no run of a row after so long")
    parser.add_argument("--json", action="store_true", help="print the lines instead of a table")
    parser.add_argument("--list", action="store_true", help="name the rows")
    given = parser.parse_args()
    rows = [ROWS[number] for number in given.row or sorted(ROWS)]
    if given.list:
        for row in rows:
            print(f"{row.number:3} {row.what}: {' '.join(f'{case}×{count}' for case, count in row.cases.items())}")
        return 0
    lacking = {row.number: said for row in rows if (said := row.lacks())}
    for number, said in lacking.items():
        print(f"row {number} is not played: {said}", file=sys.stderr)
    able = [row for row in rows if row.number not in lacking]
    found = [measured(row, given.runs, given.lanes, time.monotonic() + 60 * given.minutes) for row in able]
    print("\n".join(json.dumps(each.fields()) for each in found) if given.json else table(found))
    return int(any(each.violations for each in found))


if __name__ == "__main__":
    sys.exit(main())
