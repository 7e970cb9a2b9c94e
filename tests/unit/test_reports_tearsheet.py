"""The tear sheet as a file, and the summary in text and JSON."""

import json
import re
from dataclasses import replace
from decimal import Decimal
from html.parser import HTMLParser

import pytest

from tests.unit.report_builder import report
from trisagion.reports.model import EventRow, RunReport
from trisagion.reports.tearsheet import render, summary_json, summary_text
from trisagion.units import Money

VOID = {"meta", "br", "path", "rect", "line", "use"}
"""Elements that are written without an end tag, or closed in one."""

EVIL = "</script><script>alert(1)</script><img src=x onerror=y>"

BYTES_MAX = 1_500_000


class Balance(HTMLParser):
    """Follows the nesting of elements and keeps what they ask of the network."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.asked: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note an element."""
        self.tags.append(tag)
        self.asked += [
            value or "" for name, value in attrs if name in {"src", "href"} and not (value or "").startswith("#")
        ]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note an element that is closed at once."""
        self.tags.append(tag)

    def handle_endtag(self, tag: str) -> None:
        """Close the innermost element, which must be of that name."""
        if tag not in VOID:
            assert self.open.pop() == tag


def parse(page: str) -> Balance:
    """Parse a page to its end."""
    found = Balance()
    found.feed(page)
    found.close()
    assert found.open == []
    return found


@pytest.mark.parametrize("minutes", [0, 1, 2, 3, 40, 1500])
def test_the_page_is_well_formed_and_asks_the_network_for_nothing(minutes: int) -> None:
    """From the first minute on the file is complete by itself."""
    page = render(report(minutes))
    assert parse(page).asked == []
    assert not re.search(r"https?://|@import|url\(", page)
    assert "nan" not in re.findall(r'(?:d|x|y)="[^"]*nan[^"]*"', page)


def test_a_page_of_three_months_stays_small() -> None:
    """130,000 minutes and 5,000 fills fit into one and a half megabytes."""
    assert len(render(report(minutes=130_000, every=26)).encode()) < BYTES_MAX


def test_the_same_report_gives_the_same_page() -> None:
    """Nothing of the day or the machine enters the page."""
    assert render(report()) == render(report())


def test_words_of_the_data_stay_words() -> None:
    """A hostile name in data, events or reasons is shown and not run."""
    made = report()
    evil = replace(
        made,
        provenance=replace(made.provenance, dataset=EVIL),
        markets=(
            replace(
                market := made.markets[0],
                instrument=replace(market.instrument, symbol=EVIL, venue=EVIL, currency=EVIL),
                regimes=replace(market.regimes, regime=tuple(EVIL for _ in market.regimes.regime)),
            ),
        ),
        fills=tuple(replace(fill, symbol=EVIL) for fill in made.fills),
        rejects={EVIL: 1},
        events=(EventRow(made.provenance.start_ns, EVIL, EVIL, EVIL),),
        epochs=tuple(replace(epoch, reason=EVIL) for epoch in made.epochs),
    )
    tags = parse(render(evil)).tags
    assert tags.count("script") == parse(render(made)).tags.count("script")
    assert "img" not in tags


def wrong() -> RunReport:
    """Return a report whose ledger claims a cent too much."""
    made = report()
    return replace(made, account=replace(made.account, equity=Money(made.account.equity + Decimal("0.01"))))


def test_a_result_that_does_not_add_up_is_announced_above_all_figures() -> None:
    """The alarm stands before the first figure, and only where there is one."""
    page = render(wrong())
    assert page.index('role="alert"') < page.index('class="cards"')
    assert "ALARM" in summary_text(wrong())
    assert 'role="alert"' not in render(report())


def test_the_page_shows_every_part_that_was_promised() -> None:
    """Curves, fills of both sides, ribbons, epochs, comparison, distribution, checks, provenance and words."""
    made = report()
    page = render(made)
    for part in ("Profit and loss since", "Draw-down below", "Position, units", "Regime of each minute", "Epochs"):
        assert part in page
    for part in (
        "Reconciliation cycles",
        "simpler",
        "within its cohort",
        "Evidence",
        "Checks",
        "Provenance",
        "Words",
        "UTC",
    ):
        assert part in page
    assert page.count('href="#buy"') > 1
    assert page.count('href="#sell"') > 1
    assert made.provenance.settings_digest in page
    assert made.provenance.digest in page


def test_the_reading_line_knows_the_curves_ends() -> None:
    """Its samples begin and end with the curve and are as many in every list."""
    made = report()
    found = re.search(r'id="samples">(.*?)</script>', render(made))
    assert found is not None
    samples = json.loads(found[1])
    assert len({len(values) for values in samples.values()}) == 1
    assert samples["t"][0] * 1_000_000 == made.equity.at_ns[0]
    assert samples["t"][-1] * 1_000_000 == made.equity.at_ns[-1]


@pytest.mark.parametrize("minutes", [0, 2, 1000])
def test_the_json_summary_is_exact_and_has_its_documented_keys(minutes: int) -> None:
    """Decimals are text to the last digit, nothing is NaN, and the keys do not depend on how much there is to tell."""
    made = report(minutes)
    value = json.loads(json.dumps(summary_json(made), allow_nan=False))
    assert set(value) == {
        *(
            "dataset",
            "data_digest",
            "symbol",
            "symbols",
            "positions",
            "currency",
            "seed",
            "settings_digest",
            "start",
            "end",
            "now",
        ),
        *("finished", "tasks", "wall_s", "account", "metrics", "fills", "orders", "rejects", "reasons", "cycles"),
        *("events", "epochs", "checks", "evidence"),
    }
    assert Decimal(value["account"]["equity"]) == made.account.equity
    assert Decimal(value["account"]["fees"]) == made.fees
    assert set(value["metrics"]) == {
        *("total_return", "drawdown", "sharpe", "in_market", "leverage", "turnover", "turnover_multiple"),
        *("maker_share", "round_trips", "buy_and_hold", "standing"),
    }
    assert set(value["evidence"]) == {"clones", "skill", "overfitting"}
    assert value["start"].endswith("Z")


def test_the_text_summary_is_aligned() -> None:
    """All values end in one column, whatever their length."""
    lines = [line for line in summary_text(report()).splitlines() if line.startswith("  ") and ":" not in line[:30]]
    figures = [line for line in lines if not line.startswith(("  ok", "  ALARM"))]
    widths = {re.match(r"  .*?\S  +(?=\S)", line) is not None for line in figures}
    assert widths == {True}
    column = {len(line) - len(line[line.index("  of ") :]) for line in figures if "  of the marked" in line}
    assert len(figures) == 17
    assert len(column) == 1
