"""`trisagion why` on a run's directory, and its words for every code of ours."""

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.builders import BOOK_RULES, TUESDAY_NS, Desk, an_intended_order, said
from tests.databases import founded_run
from trisagion.adapters.db.why_source import ALARMS
from trisagion.cli import why
from trisagion.errors import ConfigError, StateError
from trisagion.orders.state import OrderState
from trisagion.orders.types import ExecType
from trisagion.reports.why import CODES, Step, as_text, legible
from trisagion.services.book_fills import book

ROOT = Path(__file__).resolve().parents[2] / "trisagion"


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    """Lay an account out as the newest run of a state directory."""
    database = founded_run(tmp_path)
    yield Desk(database).found()
    database.close()


def test_an_order_is_told_as_text_and_as_json(desk: Desk, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """By how its name begins, of the newest run or of the named one."""
    order = an_intended_order(TUESDAY_NS, OrderState.NEW)
    desk.put(order)
    book(desk.database, BOOK_RULES, said(order, ExecType.TRADE))
    why.order(order.cl_ord_id[:5], state=tmp_path)
    text = capsys.readouterr().out
    why.order(order.cl_ord_id, run="one", state=tmp_path, as_json=True)
    told = json.loads(capsys.readouterr().out)
    assert text.startswith(f"order {order.cl_ord_id}: sell 3 ES, partially_filled")
    assert "posted SIM/E1 0: inventory" in text
    assert told["what"] == text.partition("  [")[0]
    with pytest.raises(StateError, match=f"no order 'X' in this run; the nearest are: {order.cl_ord_id}"):
        why.order("X", state=tmp_path)


def test_a_run_without_a_cycle_says_so_and_without_trouble_has_little_in_the_way(
    desk: Desk, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """No cycle is a sentence; what stands in the way is at least that nobody owns the session."""
    with pytest.raises(StateError, match="no cycle was begun"):
        why.cycle("last", state=tmp_path)
    why.halt(state=tmp_path, as_json=True)
    told = json.loads(capsys.readouterr().out)
    assert "nobody owns session SIM" in [part["what"] for part in told["parts"]]
    assert desk.orders() == []


def test_a_rest_needs_no_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The calendar is the same everywhere; a run that was named is to be there."""
    monkeypatch.chdir(tmp_path)
    why.rest("2024-12-25T12:00+01:00")
    text = capsys.readouterr().out
    assert text.startswith("rest: 25 December  [2024-12-25T11:00:00.000Z]")
    assert "there is no run to look at" in text
    why.rest("2024-12-24T22:59:59.999999")
    assert capsys.readouterr().out.startswith("no rest: the calendar allows trade  [2024-12-24T22:59:59.999Z]")
    with pytest.raises(StateError):
        why.rest("2024-12-25", state=tmp_path)


@pytest.mark.parametrize("instant", ["tomorrow", "1969-12-31T23:59", "2101-01-01", "0001-01-01T00:00+14:00", ""])
def test_an_instant_that_is_none_is_a_sentence(instant: str) -> None:
    """So is one outside of the years that the rule is held against."""
    with pytest.raises(ConfigError, match="expected an instant of the years 1970 to 2100"):
        why.rest(instant)


def test_every_code_that_the_platform_writes_into_a_decision_has_its_words() -> None:
    """Read off the source of what decides: a new code without words is found here."""
    sources = [
        *(
            "selection/votes.py",
            "portfolio/sizing.py",
            "portfolio/clamps.py",
            "portfolio/exits.py",
            "orders/intents.py",
            "orders/pricing.py",
            "safety/gates.py",
        ),
        *("services/reconcile.py", "services/drive_session.py", "services/last_look.py", "services/limits.py"),
    ]
    written = {
        code
        for source in sources
        for code in re.findall(r'f?"([A-Z]+(?:_[A-Z]+)*)(?:: |")', (ROOT / source).read_text(encoding="utf-8"))
    }
    risk = re.findall(r'    ([A-Z_]+) = "\1"', (ROOT / "risk" / "controls.py").read_text(encoding="utf-8"))
    of_sessions = {"CLOCK", "LOGGED_OFF", "ORPHAN", "UNSETTLED", "FILLED", "P"}
    assert len(risk) > 5
    assert (written | set(risk)) - of_sessions - set(CODES) == set()
    assert set(CODES) - written - set(risk) == set()


def test_every_kind_of_alarm_is_one_that_the_platform_raises() -> None:
    """No kind of event that is looked for is misspelt."""
    text = "".join(path.read_text(encoding="utf-8") for path in sorted((ROOT / "services").glob("*.py")))
    assert [kind for kind in ALARMS if f'"{kind}"' not in text] == []


def test_what_others_wrote_does_nothing_to_a_terminal() -> None:
    """Signs that act are spelt out, in a message and in a step of the tree."""
    assert legible("35=8\x0158=\x1b[31m\x01") == "35=8|58=\\x1b[31m|"
    assert as_text(Step("what", facts=(("a", "1"), ("long", "2")), why=("w",), rejected=("r",))) == (
        "what\n    a     1\n    long  2\n    because  w\n    not      r"
    )
    assert as_text(Step("a\x1b[2J", why=("b\nc\udcff",))) == "a\\x1b[2J\n    because  b\\nc\\udcff"
