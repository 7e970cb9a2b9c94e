"""What Interactive Brokers says: codes, statuses, numbers; phases of a session; accounts, hours and prices."""

from dataclasses import replace
from datetime import UTC, datetime, time
from decimal import Decimal

import pytest

from tests.builders import TUESDAY_NS, an_order, qty
from trisagion.clock import SECOND_NS
from trisagion.errors import ConfigError, OurMistake, VenueMistake
from trisagion.gateway.ib_guard import (
    LIVE,
    PAPER,
    QUOTE_NS_MAX,
    Making,
    ResetWindow,
    VenueRule,
    check_environment,
    disagreements,
    environment_of,
    maker_refusal,
    resetting,
    same_day,
)
from trisagion.gateway.ib_state import PASSAGES, UP, Happening, Phase, passage
from trisagion.gateway.ib_words import CODES, Does, exact, former, meaning, read_completed, read_liquidity, read_status
from trisagion.market.types import Quote
from trisagion.orders.rejects import Reject
from trisagion.orders.state import OrderState
from trisagion.orders.types import Liquidity, Side
from trisagion.units import Price, plain

_S = OrderState


@pytest.mark.parametrize(
    ("code", "does", "reject"),
    [
        (100, Does.PACED, None),
        (103, Does.DOUBT, Reject.DUPLICATE_ORDER),
        (110, Does.REJECT, Reject.OTHER),
        (135, Does.REFUSE_CANCEL, Reject.UNKNOWN_ORDER),
        (136, Does.REFUSE_CANCEL, Reject.CANCEL_TOO_LATE),
        (161, Does.REFUSE_CANCEL, Reject.CANCEL_TOO_LATE),
        (201, Does.REJECT, Reject.OTHER),
        (202, Does.CANCELLED, None),
        (321, Does.REJECT, Reject.OTHER),
        (322, Does.REJECT, Reject.OTHER),
        (326, Does.FENCE, None),
        (399, Does.TELL, None),
        (434, Does.REJECT, Reject.INCORRECT_QUANTITY),
        (463, Does.REJECT, Reject.OTHER),
        (502, Does.RECONNECT, None),
        (504, Does.RECONNECT, None),
        (507, Does.RECONNECT, None),
        (1100, Does.LOSE_SERVERS, None),
        (1101, Does.REGAIN_SERVERS, None),
        (1102, Does.REGAIN_SERVERS, None),
        (1300, Does.RECONNECT, None),
        (2104, Does.NOTE, None),
        (2110, Does.LOSE_SERVERS, None),
        (2169, Does.NOTE, None),
        (10089, Does.DATA, None),
        (10147, Does.REFUSE_CANCEL, Reject.UNKNOWN_ORDER),
        (10148, Does.REFUSE_CANCEL, Reject.CANCEL_TOO_LATE),
        (10197, Does.DATA, None),
        (99_999, Does.DOUBT, None),
    ],
)
def test_a_code_leads_to_what_the_table_says(code: int, does: Does, reject: Reject | None) -> None:
    """A code that nobody knows proves nothing about its order."""
    row = meaning(code, of_order=True)
    assert (row.does, row.reject) == (does, reject)


def test_no_code_stands_in_two_rows() -> None:
    """And an unknown one that names no order is only kept."""
    numbers = [number for row in CODES for number in range(row.first, row.last + 1)]
    assert len(numbers) == len(set(numbers))
    assert meaning(99_999, of_order=False).does is Does.NOTE


@pytest.mark.parametrize(
    ("text", "filled", "state"),
    [
        ("ApiPending", 0, _S.PENDING_NEW),
        ("PendingSubmit", 0, _S.PENDING_NEW),
        ("PreSubmitted", 0, _S.NEW),
        ("Submitted", 0, _S.NEW),
        ("Submitted", 2, _S.PARTIALLY_FILLED),
        ("PendingCancel", 2, _S.PENDING_CANCEL),
        ("ApiCancelled", 0, _S.CANCELED),
        ("Cancelled", 2, _S.CANCELED),
        ("Filled", 5, _S.FILLED),
        ("Inactive", 0, _S.UNKNOWN),
    ],
)
def test_a_status_is_read_as_it_is_on_the_wire(text: str, filled: int, state: OrderState) -> None:
    """Inactive proves nothing as long as the order may come to life again."""
    assert read_status(text, Decimal(filled)) is state


@pytest.mark.parametrize("text", ["ValidationError", "", "submitted"])
def test_a_status_that_tws_never_says_is_no_status(text: str) -> None:
    """Above all those that the libraries make up."""
    with pytest.raises(VenueMistake, match="order status"):
        read_status(text, Decimal(0))


def test_a_completed_order_is_over() -> None:
    """There "Inactive" is an end; a word that is none is refused."""
    assert [read_completed(text) for text in ("Filled", "Cancelled", "Inactive")] == [
        *(_S.FILLED, _S.CANCELED, _S.REJECTED)
    ]
    with pytest.raises(VenueMistake):
        read_completed("Submitted")


def test_only_added_liquidity_is_a_maker() -> None:
    """Not known, removed, routed out, and what there is not."""
    assert [read_liquidity(code) for code in (1, 0, 2, 3, 9)] == [Liquidity.MAKER, *[Liquidity.TAKER] * 4]


def test_numbers_are_what_tws_wrote() -> None:
    """Doubles become the shortest decimal again; "no value" is no number."""
    assert [plain(exact(value, what="n")) for value in (0.1, 1638.75, 100.0, 1e-7, "2.50")] == [
        *("0.1", "1638.75", "100", "0.0000001", "2.5")
    ]
    for wrong in (float("nan"), float("inf"), 1.7976931348623157e308):
        with pytest.raises(VenueMistake):
            exact(wrong, what="n")


@pytest.mark.parametrize(
    ("exec_id", "before"),
    [
        ("0000e0d5.1.01.01", None),
        ("0000e0d5.1.01.02", "0000e0d5.1.01.01"),
        ("a.10", "a.09"),
        ("a", None),
        ("a.x", None),
    ],
)
def test_a_correction_is_known_by_its_number(exec_id: str, before: str | None) -> None:
    """Ids are alike but for what follows the last point."""
    assert former(exec_id) == before


def test_every_phase_that_has_a_line_can_lose_it() -> None:
    """And nothing leads out of the end; what is not in the table is a mistake of ours."""
    for phase in Phase:
        if phase is not Phase.ENDED:
            assert passage(phase, Happening.LOST) is Phase.DOWN
    assert {passage(Phase.ENDED, each) for each in Happening} == {Phase.ENDED}
    with pytest.raises(OurMistake):
        passage(Phase.DOWN, Happening.SYNCHRONISED)


def test_nothing_is_up_that_was_not_synchronised() -> None:
    """Into a phase in which something may leave, from none of those in which something may be missing."""
    into = {(before, happening) for (before, happening), after in PASSAGES.items() if after in UP and before not in UP}
    assert into == {(Phase.SYNCHRONISING, Happening.SYNCHRONISED)}
    for happening in (Happening.SERVERS_BACK, Happening.RESET_OVER):
        assert passage(Phase.RESETTING, happening) is Phase.SYNCHRONISING


@pytest.mark.parametrize(
    ("account", "environment"),
    [
        *(("DU1234567", PAPER), ("DF12", PAPER), ("DUH7", PAPER)),
        *(("U1234567", LIVE), ("F12", LIVE), ("I99", LIVE)),
        *(("", None), ("1234", None), ("du1", None), ("U", None), ("DU12X", None)),
    ],
)
def test_an_account_says_its_environment(account: str, environment: str | None) -> None:
    """By its prefix."""
    assert environment_of(account) == environment


@pytest.mark.parametrize(
    ("environment", "account", "port", "wrong"),
    [
        (PAPER, "DU1", 7497, 0),
        (PAPER, "DU1", 4002, 0),
        (PAPER, "DU1", 50_000, 0),
        (LIVE, "U1", 7496, 0),
        (LIVE, "U1", 4001, 0),
        (LIVE, "U1", None, 0),
        (PAPER, "DU1", 7496, 1),
        (PAPER, "U1", 7497, 1),
        (PAPER, "U1", 4001, 2),
        (LIVE, "DU1", 4001, 1),
        (LIVE, "X", 4002, 2),
        ("test", "DU1", 7497, 1),
    ],
)
def test_environment_account_and_port_agree(environment: str, account: str, port: int | None, wrong: int) -> None:
    """All problems at once, each a line."""
    assert len(disagreements(environment, account, port)) == wrong
    if wrong:
        with pytest.raises(ConfigError):
            check_environment(environment, account, port)


def new_york(text: str) -> int:
    """An instant, by UTC; New York is four hours behind in July."""
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()) * SECOND_NS


@pytest.mark.parametrize(
    ("at", "inside"),
    [
        *(("2026-07-02T03:39:59", False), ("2026-07-02T03:40:00", True), ("2026-07-02T04:49:59", True)),
        *(("2026-07-02T04:50:00", False), ("2026-01-02T04:45:00", True), ("2026-01-02T03:45:00", False)),
    ],
)
def test_the_nightly_reset_is_by_the_clocks_of_new_york(at: str, inside: bool) -> None:
    """23:40 to 00:50, in summer and in winter; its begin belongs to it, its end does not."""
    assert resetting((ResetWindow(),), new_york(at)) is inside


def test_a_window_within_a_day_and_one_that_is_none() -> None:
    """Written as in the settings."""
    window = ResetWindow.parse("12:00-13:30 UTC")
    assert window == ResetWindow(time(12), time(13, 30), "UTC")
    assert [window.holds(new_york(f"2026-07-02T{at}")) for at in ("11:59:59", "12:00:00", "13:30:00")] == [
        *(False, True, False)
    ]
    for wrong in ("12:00 UTC", "12:00-25:00 UTC", "12:00-13:00 Nowhere/There", ""):
        with pytest.raises(ConfigError, match="reset window"):
            ResetWindow.parse(wrong)
    assert same_day(new_york("2026-07-02T03:59:59"), new_york("2026-07-01T05:00:00"), "America/New_York")
    assert not same_day(new_york("2026-07-02T04:00:00"), new_york("2026-07-02T03:59:59"), "America/New_York")


TICK = Decimal("0.25")
QUOTE = Quote("ES", Price(qty("3999.75")), Price(qty("4000.25")), Price(qty("4000")), TUESDAY_NS, TUESDAY_NS)
GUARDED = VenueRule(Making.GUARDED, {"ES": "CME"})


@pytest.mark.parametrize(
    ("changes", "quote", "rule", "word"),
    [
        ({}, QUOTE, GUARDED, None),
        ({"taker": True}, None, replace(GUARDED, making=Making.REFUSE), None),
        ({}, QUOTE, replace(GUARDED, making=Making.REFUSE), "NO_POST_ONLY"),
        ({"price": Price(qty("3999.80"))}, QUOTE, GUARDED, "OFF_TICK"),
        ({"price": None}, QUOTE, GUARDED, "OFF_TICK"),
        ({}, QUOTE, replace(GUARDED, routes={}), "NOT_DIRECT"),
        ({}, QUOTE, replace(GUARDED, routes={"ES": "SMART"}), "NOT_DIRECT"),
        ({}, None, GUARDED, "NO_QUOTE"),
        ({}, replace(QUOTE, learned_ns=TUESDAY_NS - QUOTE_NS_MAX), GUARDED, None),
        ({}, replace(QUOTE, learned_ns=TUESDAY_NS - QUOTE_NS_MAX - 1), GUARDED, "QUOTE_STALE"),
        ({}, replace(QUOTE, learned_ns=TUESDAY_NS + 1), GUARDED, "QUOTE_STALE"),
        ({"price": Price(qty("4000"))}, QUOTE, GUARDED, None),
        ({"price": Price(qty("4000.25"))}, QUOTE, GUARDED, "WOULD_TAKE"),
        ({"price": Price(qty("4000")), "side": Side.SELL}, QUOTE, GUARDED, None),
        ({"price": Price(qty("3999.75")), "side": Side.SELL}, QUOTE, GUARDED, "WOULD_TAKE"),
        ({"wanted_price": Price(qty("4000.25")), "wanted_qty": qty(1)}, QUOTE, GUARDED, "WOULD_TAKE"),
    ],
)
def test_an_order_that_must_not_take_is_guarded(
    changes: dict[str, object], quote: Quote | None, rule: VenueRule, word: str | None
) -> None:
    """Each refusal in the order of the checks, and the edge of each bound."""
    order = replace(an_order("A", symbol="ES", price=Price(qty("3999.75")), side=Side.BUY), **changes)  # type: ignore[arg-type]
    refused = maker_refusal(order, quote, TICK, TUESDAY_NS, rule)
    assert (refused is None) if word is None else (refused or "").startswith(word)


def test_in_a_reset_window_nothing_new_leaves_not_even_to_flatten() -> None:
    """What is handed to TWS in that hour may vanish."""
    rule = replace(GUARDED, windows=(ResetWindow(time(0), time(23, 59), "UTC"),))
    assert (rule.forbids(an_order("A", taker=True), QUOTE, TICK, TUESDAY_NS) or "").startswith("RESET_WINDOW")
    assert replace(rule, windows=()).forbids(an_order("A", taker=True), QUOTE, TICK, TUESDAY_NS) is None
