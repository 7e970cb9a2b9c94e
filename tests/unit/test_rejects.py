"""The table of refusals."""

from pathlib import Path

import pytest

from tests.unit.test_gateway_messages import CANCEL_REJECT, TRADE
from trisagion.gateway.reports import read_reject, read_report
from trisagion.gateway.words import BUSINESS_REJECT_REASONS, CXL_REJ_REASONS, ORD_REJ_REASONS, SESSION_REJECT_REASONS
from trisagion.orders.rejects import REMEDIES, Reject, Remedy

_R = Reject
REFUSED = {**{tag: value for tag, value in TRADE.items() if tag not in {12, 13, 31, 32, 851}}, 150: "8", 39: "8"}


def test_every_refusal_has_a_remedy_and_a_code_that_says_it() -> None:
    """No word is dead: each is read from some code of FIX, and each remedy is some refusal's."""
    assert set(REMEDIES) == set(Reject)
    assert set(REMEDIES.values()) == set(Remedy)
    said = {word for table in (ORD_REJ_REASONS, CXL_REJ_REASONS, BUSINESS_REJECT_REASONS, SESSION_REJECT_REASONS)
            for word in table.values()}  # fmt: skip
    assert said | {_R.POST_ONLY_WOULD_CROSS, _R.OTHER} == set(Reject)


@pytest.mark.parametrize(
    ("table", "codes"),
    [
        (ORD_REJ_REASONS, {*map(str, range(16))} - {"12"}),
        (CXL_REJ_REASONS, {*map(str, range(7)), "99"}),
        (BUSINESS_REJECT_REASONS, {*map(str, range(8))}),
        (SESSION_REJECT_REASONS, {*map(str, range(19)), "99"}),
    ],
)
def test_every_code_of_fix_44_is_in_its_table(table: dict[str, Reject], codes: set[str]) -> None:
    """As listed in FIX 4.4 with its errata, and 18 of FIXT 1.1; 99 of OrdRejReason is a matter of the venue."""
    assert set(table) == codes


@pytest.mark.parametrize(
    ("code", "setting", "reject"),
    [
        ("99", "99", _R.POST_ONLY_WOULD_CROSS),
        ("99", "0", _R.OTHER),
        ("0", "0", _R.POST_ONLY_WOULD_CROSS),
        ("0", "99", _R.BROKER_OPTION),
        ("15", "99", _R.UNKNOWN_ACCOUNT),
        ("777", "99", _R.OTHER),
        (None, "99", _R.OTHER),
    ],
)
def test_a_refusal_is_read_from_its_code_and_never_from_its_text(
    code: str | None, setting: str, reject: Reject
) -> None:
    """Whatever Text says; the code for a post-only order that would cross is the venue's."""
    for text in ("POST_ONLY_WOULD_CROSS", "would cross", "Unknown account"):
        fields = {tag: value for tag, value in {**REFUSED, 103: code, 58: text}.items() if value is not None}
        report = read_report(fields, venue="SIM", post_only_code=setting)
        assert (report.reject, report.reason) == (reject, text)


def test_messages_and_cancels_are_refused_in_words_of_the_same_table() -> None:
    """An unknown code of any of them is a refusal that proves nothing."""
    assert read_report({**CANCEL_REJECT, 102: "77"}, venue="SIM").reject is _R.CANCEL_REFUSED
    assert read_reject({35: "j", 380: "6"}) is _R.NOT_AUTHORISED
    assert read_reject({35: "j"}) is read_reject({35: "3", 373: "88"}) is _R.MESSAGE_REFUSED
    assert read_reject({35: "3", 373: "10"}) is _R.CLOCK
    assert REMEDIES[_R.MESSAGE_REFUSED] is REMEDIES[_R.CANCEL_REFUSED] is Remedy.RESOLVE


def test_no_code_of_ours_reads_the_text_of_a_refusal() -> None:
    """Where a report is booked nothing is compared with its reason."""
    folder = Path(__file__).resolve().parents[2] / "trisagion"
    for name in ("services/book_fills.py", "orders/evidence.py"):
        source = (folder / name).read_text(encoding="utf-8")
        assert "in (report.reason" not in source
        assert "reason ==" not in source
        assert "in (order.reason" not in source
