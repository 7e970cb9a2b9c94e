"""A statement of positions: what it is written like, and where it is read.

As JSON it is one object, as CSV lines under a head, the last of which tells how many there are; so neither can be cut
short and be taken for a smaller account. Anything else than what is described here is refused, none of it is guessed.

```
{"account": "U1", "as_of": "2026-11-20T21:00:00Z", "positions": [{"symbol": "ES", "qty": "-12"}]}

account,as_of,symbol,qty
U1,2026-11-20T21:00:00Z,ES,-12
U1,2026-11-20T21:00:00Z,*,1
```
"""

import csv
import io
import json
import urllib.error
import urllib.request
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from http.client import HTTPException, HTTPMessage
from pathlib import Path
from typing import IO, Any, Final

from trisagion.clock import SECOND_NS
from trisagion.errors import DataError, quoted
from trisagion.observer_ports import Seen
from trisagion.safety.snapshots import expected_symbol
from trisagion.units import Quantity, quantity

BYTES_MAX: Final = 4 * 2**20
POSITIONS_MAX: Final = 1_000
"""So many fit into one signed row, with symbols of ordinary length."""
ANSWER_S: Final = 20.0
SCHEMES: Final = ("http://", "https://")
HEAD: Final = ("account", "as_of", "symbol", "qty")
END: Final = "*"
"""The symbol of the last line of a CSV, whose quantity is the number of lines before it."""


def look(at: str, account: str, token: str) -> Seen:
    """Read the statement that lies at a path or URL; what goes wrong is said in `Seen.reason`, never raised.

    `account`, unless empty, is whose it must be; `token`, unless empty, is sent as a bearer token (RFC 6750).
    """
    try:
        return read(_fetched(at, token) if at.startswith(SCHEMES) else _loaded(Path(at)), account)
    except DataError as error:
        return Seen(reason=str(error))


def read(data: bytes, account: str) -> Seen:
    """Read a statement.

    Raises
    ------
    DataError
        It is not as described above, or not of this account.
    """
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(f"statement: expected text in UTF-8, found {error}") from None
    whose, as_of, rows = _from_json(text) if text.lstrip().startswith("{") else _from_csv(text)
    if account and whose != account:
        raise DataError(f"statement: expected that of account {account}, found {quoted(whose)}")
    held: dict[str, Quantity] = {}
    for symbol, qty in rows:
        if expected_symbol(symbol) in held:
            raise DataError(f"statement: expected each symbol once, found {symbol} again")
        held[symbol] = quantity(qty)
    if len(held) > POSITIONS_MAX:
        raise DataError(f"statement: expected at most {POSITIONS_MAX} positions, found {len(held)}")
    return Seen(held, _instant(as_of))


def _from_json(text: str) -> tuple[str, str, Iterable[tuple[str, str]]]:
    try:
        tree = json.loads(text, parse_float=Decimal, object_pairs_hook=_once)
    except (ValueError, RecursionError) as error:
        raise DataError(f"statement: expected JSON, found {error}") from None
    tree = _expected(tree, "a statement", {"account", "as_of", "positions"})
    if not isinstance(tree["positions"], list):
        raise DataError(f"statement: expected a list of positions, found {quoted(tree['positions'])}")
    rows = [_expected(row, "a position", {"symbol", "qty"}) for row in tree["positions"]]
    return tree["account"], tree["as_of"], [(row["symbol"], row["qty"]) for row in rows]


def _once(pairs: Sequence[tuple[str, Any]]) -> Mapping[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a name that is given twice")
    return found


def _expected(value: Any, what: str, names: set[str]) -> Mapping[str, Any]:
    if not isinstance(value, dict) or value.keys() != names:
        raise DataError(f"statement: expected {what} of {', '.join(sorted(names))}, found {quoted(value)}")
    return value


def _from_csv(text: str) -> tuple[str, str, Iterable[tuple[str, str]]]:
    try:
        lines = [line for line in csv.reader(io.StringIO(text, newline=""), strict=True) if line]
    except csv.Error as error:
        raise DataError(f"statement: expected CSV, found {error}") from None
    if not lines or tuple(lines[0]) != HEAD:
        raise DataError(f"statement: expected JSON, or the head {','.join(HEAD)}, found {quoted(text[:80])}")
    if any(len(line) != len(HEAD) for line in lines):
        raise DataError(f"statement: expected {len(HEAD)} fields in each line, found another number")
    *rows, end = lines[1:] or [[""] * len(HEAD)]
    account, as_of, symbol, count = end
    if symbol != END or count != str(len(rows)):
        raise DataError(f"statement: expected a last line {END},{len(rows)}, found {quoted(','.join(end[2:]))}")
    if any(line[:2] != [account, as_of] for line in rows):
        raise DataError("statement: expected one account and one as_of, found several")
    return account, as_of, [(line[2], line[3]) for line in rows]


def _instant(text: object) -> int:
    try:
        found = datetime.fromisoformat(str(text))
        if found.tzinfo is None:
            raise ValueError("no zone")  # noqa: TRY301 - one refusal for all that is no instant
        return int(found.astimezone(UTC).replace(microsecond=0).timestamp()) * SECOND_NS + found.microsecond * 1000
    except (ValueError, OverflowError):
        raise DataError(
            f"statement: expected as_of as 2026-11-20T21:00:00Z, with its zone, found {quoted(text)}"
        ) from None


def _loaded(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return _bounded(file)
    except OSError as error:
        raise DataError(f"{path}: expected a readable statement, found: {error.strerror}") from None


def _fetched(url: str, token: str) -> bytes:
    request = urllib.request.Request(url, headers={"Accept": "application/json, text/csv"})  # noqa: S310 - two schemes
    if token:
        # Unredirected: wherever we are sent on to is not given it.
        request.add_unredirected_header("Authorization", f"Bearer {token}")
    try:
        with _OPENER.open(request, timeout=ANSWER_S) as answer:
            return _bounded(answer)
    except urllib.error.HTTPError as error:
        error.close()
        raise DataError(f"statement: expected HTTP 200, found {error.code}") from None
    except (OSError, HTTPException, ValueError) as error:
        raise DataError(f"statement: expected an answer from {url.split('?', maxsplit=1)[0]}, found {error}") from None


def _bounded(file: IO[bytes]) -> bytes:
    data = file.read(BYTES_MAX + 1)
    if len(data) > BYTES_MAX:
        raise DataError(f"statement: expected at most {BYTES_MAX} bytes, found more")
    return data


class _NoDowngrade(urllib.request.HTTPRedirectHandler):
    """Follows no redirect from https to anything else."""

    def redirect_request(
        self, req: urllib.request.Request, fp: IO[bytes], code: int, msg: str, headers: HTTPMessage, newurl: str
    ) -> urllib.request.Request | None:
        """Refuse what would leave TLS."""
        if req.full_url.startswith("https://") and not newurl.startswith("https://"):
            raise DataError("statement: expected to stay on https, found a redirect away from it")
        return super().redirect_request(req, fp, code, msg, headers, newurl)


_OPENER: Final = urllib.request.build_opener(_NoDowngrade)
