"""The tear sheet: one HTML file that shows a replay, and how far to believe it, without network, account or tool."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from html import escape

import numpy as np

from trisagion.clock import SECOND_NS
from trisagion.market.types import Instrument
from trisagion.reports import format as write
from trisagion.reports.charts import charts, histogram
from trisagion.reports.checks import Check, check
from trisagion.reports.evidence import weigh
from trisagion.reports.metrics import BASIS_POINTS, Metrics, cohort_bp, measure
from trisagion.reports.model import EpochRow, Market, RunReport
from trisagion.reports.page import MARKERS, SCRIPT, STYLE, WORDS, say, table
from trisagion.reports.summary import cycle_counts, figures, findings, summary_json, summary_text
from trisagion.units import plain

__all__ = ["render", "summary_json", "summary_text"]


def render(report: RunReport) -> str:
    """Return the tear sheet as one self-contained HTML document."""
    metrics = measure(report)
    checks = check(report, metrics)
    title = ", ".join(report.symbols)
    body = "".join(
        (
            MARKERS,
            "<main>",
            _head(report, metrics),
            _alarms(checks),
            _cards(report, metrics),
            charts(report),
            _instruments(report),
            _comparison(report, metrics),
            _cohort(report, metrics),
            _evidence(report),
            _epochs(report.epochs),
            _orders(report),
            _checks(checks),
            _provenance(report),
            _words(),
            "</main>",
        )
    )
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f"<title>{escape(title)} · trisagion tear sheet</title><style>{STYLE}</style></head>"
        f"<body>{body}<script>{SCRIPT}</script></body></html>\n"
    )


def _head(report: RunReport, metrics: Metrics) -> str:
    source, currency = report.provenance, report.currency
    state = "finished" if source.finished else f"not finished, at {write.minute(source.now_ns)} UTC"
    held, rank = metrics.buy_and_hold, metrics.standing
    verb = "gained" if report.profit > 0 else "lost" if report.profit < 0 else "neither gained nor lost:"
    told = (
        f"The account {verb} {write.amount(abs(report.profit))} {currency} "
        f"({write.percent(metrics.total_return, 3, signed=True)}) in {write.duration(source.now_ns - source.start_ns)}."
    )
    if held is not None and report.fills:
        same = "The same mean position" if report.only else "The same mean position in each instrument"
        told += f" {same}, simply held long, would have made {write.gain(held.same_exposure)} {currency}."
    if rank.percentile is not None:
        told += (
            f" Before fees and per notional traded it did better than {write.number(rank.percentile, 0)} % "
            f"of the {rank.compared:,} runs of its cohort that traded."
        )
    worth = _worth(metrics)
    return (
        f"<header><h1>{escape(', '.join(report.symbols))}, {escape(_days(source.start_ns, source.now_ns))}"
        f'<span class="state">{escape(state)}</span></h1>'
        f'<p class="lead">{say(told)}</p><p class="soft">{say(worth)} Replay of recorded prices: fills are those of '
        f"the matching engine of venue {escape(report.markets[0].instrument.venue)}, and no order moved the market. "
        "All times are UTC.</p></header>"
    )


def _worth(metrics: Metrics) -> str:
    """Say in a sentence how much the result proves."""
    ratio = metrics.sharpe
    if ratio is None:
        return "There are too few moving marks to say how much of this is chance."
    if ratio.low > 0:
        return "Chance alone does not explain it, the number of runs tried left aside; for that see the checks."
    if ratio.high < 0:
        return "The loss is more than chance explains."
    if ratio.proof_ns is None:
        return "A sample this short cannot tell this from chance."
    proof = write.duration(ratio.proof_ns)
    return f"A sample this short cannot tell this from chance; that would take {proof} of the same."


def _alarms(checks: Sequence[Check]) -> str:
    failed = [item for item in checks if not item.ok]
    if not failed:
        return ""
    rows = "".join(f"<li>{escape(item.claim)} – not so: {escape(item.found)}.</li>" for item in failed)
    return f'<div class="alarm" role="alert"><strong>⚠ Do not rely on this result.</strong><ul>{rows}</ul></div>'


def _cards(report: RunReport, metrics: Metrics) -> str:
    cards = "".join(
        f'<div><dt>{escape(name)}</dt><dd>{say(value)}</dd><dd class="note">{say(note)}</dd></div>'
        for name, value, note in figures(report, metrics)
    )
    return f'<dl class="cards">{cards}</dl>'


def _instruments(report: RunReport) -> str:
    """Say what each of several instruments came to."""
    if report.only:
        return ""
    rows = [
        (
            market.symbol,
            write.gain(market.realised),
            write.gain(market.unrealised),
            write.amount(market.fees),
            write.quantity(market.qty),
            f"{len(report.of(market.symbol)):,}",
            write.percent(_change(market), 2, signed=True),
        )
        for market in report.markets
    ]
    heads = ("", f"realised, {report.currency}", "unrealised", "fees", "position", "fills", "price")
    return "<h2>The instruments</h2>" + table(heads, rows, numeric={1, 2, 3, 4, 5, 6})


def _change(market: Market) -> float | None:
    closes = market.prices.close
    return float(closes[-1] / closes[0] - 1.0) if len(closes) else None


def _comparison(report: RunReport, metrics: Metrics) -> str:
    held, currency = metrics.buy_and_hold, report.currency
    if held is None:
        return ""
    start = float(report.account.start_equity)
    rows = [
        ("the account, after fees", write.gain(report.profit), write.percent(metrics.total_return, 3, signed=True)),
        (
            "buy and hold, like size",
            write.gain(held.same_exposure),
            write.percent(held.same_exposure / start, 3, signed=True),
        ),
        ("buy and hold, unlevered", write.gain(held.unlevered), write.percent(held.unlevered / start, 3, signed=True)),
        ("cash", write.gain(0.0), write.percent(0.0, 3)),
    ]
    how = (
        "Like size is long the account's mean absolute position throughout, unlevered is long a notional of the "
        "starting equity"
    )
    if not report.only:
        how = (
            "Like size is long the account's mean absolute position in each instrument throughout, unlevered is long "
            "an equal part of the starting equity in each"
        )
    ends = "the first to the last close" if report.only else "the first to the last close of each"
    told = (
        f"{how}; the account's own notional was {write.number(metrics.leverage, 3)} of its equity in "
        f"the mean. Both without costs, from {ends}. Cash earns no interest."
    )
    return (
        "<h2>Against doing something simpler</h2>"
        + table(("", f"P&L, {currency}", "of starting equity"), rows, numeric={1, 2})
        + f'<p class="soft">{say(told)}</p>'
    )


def _cohort(report: RunReport, metrics: Metrics) -> str:
    points = cohort_bp(report.cohort)
    rank = metrics.standing
    alive = int(report.cohort.alive.sum())
    told = (
        f"{rank.trials:,} runs were born, {alive:,} are alive, {rank.compared:,} have traded. Their P&L before "
        "fees per notional traded, in basis points (bp), with the account's own: fees of runs are those of the model, "
        "both ends in advance, and not the account's. Runs trade at the last price, which the account cannot."
    )
    if len(points) < 2:
        return f"<h2>The account within its cohort</h2><p>{say(told)} Too few to draw.</p>"
    profits = report.cohort.profit[report.cohort.turnover > 0] * BASIS_POINTS
    quantiles = (0.05, 0.25, 0.5, 0.75, 0.95)
    rows = [
        (
            "P&L before fees per notional traded, bp",
            *(write.number(float(np.quantile(points, q)), 2, signed=True) for q in quantiles),
        ),
        (
            "P&L after fees of start balance, bp",
            *(write.number(float(np.quantile(profits, q)), 4, signed=True) for q in quantiles),
        ),
    ]
    spread = table(("of the runs that traded", "5 %", "25 %", "median", "75 %", "95 %"), rows, numeric={1, 2, 3, 4, 5})
    return (
        f'<h2>The account within its cohort</h2><p class="soft">{say(told)}</p>'
        + histogram(points, rank.account_bp)
        + spread
    )


def _evidence(report: RunReport) -> str:
    evidence = weigh(report)
    told = (
        "What may be concluded from this replay, and from how much. All of it is about this stretch of this market. "
        "Clones are compared with random draws born at the same instants, by P&L per notional traded; the "
        "interval resamples whole hours of births, and fewer than thirty of equal weight give no verdict. Overfitting "
        "looks at the runs that lived through each stretch, without those that ended on the way; chance alone gives "
        "about one half."
    )
    return f'<h2>Evidence</h2><p class="soft">{say(told)}</p>' + table(
        ("", "found", "how sure, and from what"), findings(evidence, evidence.clones), numeric={1}
    )


def _epochs(epochs: Sequence[EpochRow]) -> str:
    rows = [
        (
            str(epoch.number),
            write.minute(epoch.opened_ns),
            "open" if epoch.closed_ns is None else write.minute(epoch.closed_ns),
            (epoch.reason or "–").replace("_", " "),
            write.UNKNOWN if epoch.baseline is None else write.amount(epoch.baseline),
            f"{epoch.born:,}",
            f"{epoch.ended:,}",
            write.number(epoch.best_pnl, 2, signed=True),
            write.number(epoch.median_pnl, 2, signed=True),
        )
        for epoch in epochs
    ]
    heads = ("epoch", "opened", "closed", "reason", "baseline", "born", "ended", "best P&L", "median P&L")
    return '<h2>Epochs</h2><p class="soft">P&amp;L of the ended runs, in money of their own accounts.</p>' + table(
        heads, rows, numeric={0, 4, 5, 6, 7, 8}, whole={1, 2}
    )


def _orders(report: RunReport) -> str:
    parts = (
        ("Orders by state", ("state", "orders"), report.orders),
        ("Orders refused or rejected", ("reason", "orders"), report.rejects),
        ("Cycles by outcome", ("outcome", "cycles"), cycle_counts(report)),
        ("What the decisions weighed", ("reason code", "decisions"), report.reasons),
        ("Events by kind", ("kind", "events"), report.event_counts),
    )
    tables = "".join(f"<div><h3>{title}</h3>{_counts(heads, counts)}</div>" for title, heads, counts in parts)
    events = ""
    if report.events:
        rows = [(write.minute(event.at_ns), event.kind, event.subject, event.text) for event in report.events]
        events = "<h3>Latest events</h3>" + table(("UTC", "kind", "concerns", "detail"), rows, ids={2, 3}, whole={0})
    return f'<h2>Orders, decisions and events</h2><div class="pair">{tables}</div>{events}'


def _counts(heads: tuple[str, str], counts: Mapping[str, int]) -> str:
    if not counts:
        return '<p class="soft">none</p>'
    ordered = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    return table(heads, [(name, f"{count:,}") for name, count in ordered], numeric={1})


def _checks(checks: Sequence[Check]) -> str:
    rows = [("holds" if item.ok else "ALARM", item.claim, item.found) for item in checks]
    return "<h2>Checks</h2>" + table(("", "claim", "found"), rows)


def _provenance(report: RunReport) -> str:
    source = report.provenance
    work = f"{report.tasks:,} tasks"
    if report.wall_s:
        wall = write.duration(round(report.wall_s * SECOND_NS))
        work += f" in {wall} of wall time, {report.tasks / report.wall_s:,.0f} a second"
    rows = [
        ("data set", source.dataset),
        ("data digest", source.digest),
        ("settings digest", source.settings_digest),
        ("seed", str(source.seed)),
        ("replayed", f"{write.minute(source.start_ns)} to {write.minute(source.end_ns)} UTC"),
        *(row for market in report.markets for row in _terms(market.instrument)),
        ("final equity, exact", f"{plain(report.account.equity)} {report.currency}"),
        ("work", work),
    ]
    return (
        "<h2>Provenance</h2>"
        + table(("", ""), rows, ids={1})
        + '<p class="soft">The same data, settings and seed give the same result.</p>'
    )


def _terms(instrument: Instrument) -> tuple[tuple[str, str], tuple[str, str]]:
    return (
        ("instrument", f"{instrument.symbol} at {instrument.venue}, in {instrument.currency}"),
        (
            "terms",
            (
                f"tick {plain(instrument.tick_size)}, lot {plain(instrument.lot_size)}, "
                f"multiplier {plain(instrument.multiplier)}, leverage at most {plain(instrument.leverage_max)}, "
                f"fee {plain(instrument.fee_rate)} of notional"
            ),
        ),
    )


def _words() -> str:
    rows = "".join(f"<dt>{escape(word)}</dt><dd>{escape(text)}</dd>" for word, text in WORDS)
    return f'<h2>Words</h2><dl class="words">{rows}</dl>'


def _days(start_ns: int, end_ns: int) -> str:
    first, last = (datetime.fromtimestamp(instant // SECOND_NS, UTC).date() for instant in (start_ns, end_ns))
    if first == last:
        return f"{last.day} {last:%B %Y}"
    if (first.year, first.month) == (last.year, last.month):
        return f"{first.day}–{last.day} {last:%B %Y}"
    return f"{first.day} {first:%B %Y} – {last.day} {last:%B %Y}"
