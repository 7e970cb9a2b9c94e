"""Statements as observers read them: what is taken, and that nothing else is guessed."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from tests.builders import qty
from trisagion.adapters.observers import statement
from trisagion.errors import DataError
from trisagion.observer_ports import Seen

AS_OF = "2026-11-20T21:00:00Z"
AT_NS = 1_795_208_400_000_000_000
JSON = f'{{"account": "U1", "as_of": "{AS_OF}", "positions": [{{"symbol": "ES", "qty": "-12"}}]}}'
HEAD = "account,as_of,symbol,qty\n"
CSV = f"{HEAD}U1,{AS_OF},ES,-12\nU1,{AS_OF},*,1\n"
FOUND = Seen({"ES": qty(-12)}, AT_NS)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (JSON, FOUND),
        (JSON.replace('"-12"', "-12"), FOUND),
        (JSON.replace('"-12"', "-12.50"), Seen({"ES": qty("-12.50")}, AT_NS)),
        (JSON.replace(AS_OF, "2026-11-20T16:00:00-05:00"), FOUND),
        (JSON.replace(AS_OF, "2026-11-20T21:00:00.000001Z"), Seen({"ES": qty(-12)}, AT_NS + 1000)),
        (f'{{"account": "U1", "as_of": "{AS_OF}", "positions": []}}', Seen({}, AT_NS)),
        (CSV, FOUND),
        (CSV.replace("\n", "\r\n"), FOUND),
        (f"\ufeff{CSV}", FOUND),
        (f"{HEAD}U1,{AS_OF},*,0\n", Seen({}, AT_NS)),
    ],
)
def test_a_statement_is_read(text: str, found: Seen) -> None:
    """As JSON or CSV, with an instant in any zone; an account that holds nothing is flat."""
    assert statement.read(text.encode(), "U1") == found


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "expected JSON, or the head"),
        (JSON[:-9], "expected JSON, found"),
        (JSON.replace("positions", "held"), "expected a statement of account, as_of, positions"),
        (JSON.replace('"symbol"', '"ticker"'), "expected a position of qty, symbol"),
        (JSON.replace('[{"symbol": "ES", "qty": "-12"}]', "7"), "expected a list of positions"),
        (JSON.replace('"-12"', '"twelve"'), "expected a decimal number"),
        (JSON.replace('"-12"', "NaN"), "expected a decimal number"),
        (JSON.replace('"-12"', "true"), "expected a decimal number"),
        (JSON.replace('"ES"', '"E S"'), "symbol: expected 1 to 64"),
        (JSON.replace("Z", ""), "expected as_of as 2026"),
        (JSON.replace(AS_OF, "yesterday"), "expected as_of as 2026"),
        (JSON.replace("U1", "U2"), "expected that of account U1, found 'U2'"),
        (JSON.replace("[{", '[{"symbol": "ES", "qty": 1}, {'), "expected each symbol once, found ES again"),
        (JSON.replace('"-12"', '"-12", "qty": "12"'), "expected JSON, found a name that is given twice"),
        (JSON.replace("}]", '}], "positions": []'), "expected JSON, found a name that is given twice"),
        (HEAD, "expected a last line"),
        (f"{HEAD}U1,{AS_OF},ES,-12\n", r"expected a last line \*,0"),
        (CSV.replace("*,1", "*,2"), r"expected a last line \*,1, found '\*,2'"),
        (CSV.replace(f"U1,{AS_OF},*", f"U1,{AS_OF[:-2]}1Z,*"), "expected one account and one as_of"),
        (CSV.replace("ES,-12", "ES"), "expected 4 fields in each line"),
        (CSV.replace("qty\n", "size\n"), "expected JSON, or the head account,as_of,symbol,qty"),
        (f'{HEAD}"U1', "expected CSV, found"),
        ("\udcff", "expected text in UTF-8"),
    ],
)
def test_what_is_no_whole_statement_of_ours_is_refused(text: str, told: str) -> None:
    """One that was cut short is no smaller account."""
    with pytest.raises(DataError, match=told):
        statement.read(text.encode("utf-8", "surrogateescape"), "U1")


def test_a_statement_on_disk_is_looked_at(tmp_path: Path) -> None:
    """What is not there, or too large, is a failure with its reason."""
    file = tmp_path / "statement.csv"
    assert "expected a readable statement" in statement.look(str(file), "", "").reason
    file.write_text(CSV, encoding="ascii")
    assert statement.look(str(file), "", "") == FOUND
    file.write_bytes(b" " * (statement.BYTES_MAX + 1))
    assert "expected at most" in statement.look(str(file), "", "").reason


@contextmanager
def serving(path: str, code: int, body: str) -> Iterator[tuple[str, list[str | None]]]:
    """Serve one thing on loopback; give its URL, and the authorisations that it was asked with."""
    asked: list[str | None] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.headers["Authorization"])
            moved = self.path != path
            self.send_response(302 if moved else code)
            if moved:
                self.send_header("Location", path)
            self.end_headers()
            self.wfile.write(b"" if moved else body.encode())

        def log_message(self, *_: object) -> None:
            """Be silent."""

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", asked
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_a_statement_is_fetched_by_http() -> None:
    """With its token, which no redirect is told."""
    with serving("/s", 200, JSON) as (url, asked):
        assert statement.look(f"{url}/s", "U1", "hush") == FOUND
        assert statement.look(f"{url}/elsewhere", "U1", "hush") == FOUND
        assert statement.look(f"{url}/s", "U1", "") == FOUND
    assert asked == ["Bearer hush", "Bearer hush", None, None]


def test_a_server_that_is_not_well_is_a_failure() -> None:
    """By its code, or by what the line said; a secret in the query is not repeated."""
    with serving("/s", 503, "later") as (url, _):
        assert statement.look(f"{url}/s", "", "").reason == "statement: expected HTTP 200, found 503"
    reason = statement.look(f"{url}/s?key=hush", "", "").reason
    assert reason.startswith(f"statement: expected an answer from {url}/s, found") and "hush" not in reason
