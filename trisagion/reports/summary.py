"""The report in a terminal and as JSON."""

import re
import textwrap
from collections.abc import Sequence
from dataclasses import asdict
from decimal import Decimal
from statistics import fmean
from typing import Final

from trisagion.clock import SECOND_NS, iso
from trisagion.reports import format as write
from trisagion.reports.checks import check
from trisagion.reports.evidence import BLOCKS, HOURS_TOLD, CloneEffect, Evidence, weigh
from trisagion.reports.metrics import CONFIDENCE, Metrics, measure
from trisagion.reports.model import RunReport
from trisagion.units import plain

INDENT: Final = 4
"""Of a broken line whose last column stands too far right to go on below it."""


def summary_text(report: RunReport, columns: int | None = None) -> str:
    """Return the report as aligned plain text, broken to fit so many columns; None: a line for each fact."""
    metrics = measure(report)
    source = report.provenance
    state = "finished" if source.finished else f"not finished, at {write.minute(source.now_ns)} UTC"
    lines = [f"{' '.join(report.symbols)}  replay of {source.dataset}, seed {source.seed}, {state}", ""]
    evidence = weigh(report)
    rows = (*figures(report, metrics), *findings(evidence, evidence.clones[-1:]))
    width = max(len(name) for name, _, _ in rows)
    worth = max(len(value) for _, value, _ in rows)
    lines += [f"  {name:<{width}}  {value:>{worth}}  {note}".rstrip() for name, value, note in rows]
    lines.append("")
    for item in check(report, metrics):
        lines.append(f"  {'ok   ' if item.ok else 'ALARM'}  {item.claim}: {item.found}")
    return "\n".join(part for line in lines for part in _fitted(line, columns)) + "\n"


def _fitted(line: str, columns: int | None) -> list[str]:
    if columns is None or len(line) <= columns:
        return [line]
    last = max((gap.end() for gap in re.finditer(r"\s{2,}", line)), default=INDENT)
    indent = " " * (last if last <= columns // 2 else INDENT)
    return textwrap.wrap(line, columns, subsequent_indent=indent, break_on_hyphens=False)


def figures(report: RunReport, metrics: Metrics) -> tuple[tuple[str, str, str], ...]:
    """Return the key figures as (name, value, note), in the order in which they are asked for."""
    account, currency, only = report.account, report.currency, report.only
    fall, ratio, trips, held = metrics.drawdown, metrics.sharpe, metrics.round_trips, metrics.buy_and_hold
    rank, part = metrics.standing, write.percent(metrics.total_return, 3, signed=True)
    back = "" if fall is None else ", recovered" if fall.recovered_ns is not None else ", not recovered"
    return (
        (
            "P&L",
            write.gain(report.profit),
            f"{currency}, {part} of {write.amount(account.start_equity)}",
        ),
        (
            "realised / unrealised",
            f"{write.gain(report.realised)} / {write.gain(report.unrealised)}",
            f"before fees, {positions_note(report)}",
        ),
        ("fees", write.amount(report.fees), f"{currency} on {write.amount(metrics.turnover)} traded"),
        (
            "draw-down, deepest",
            write.percent(0.0 if fall is None else fall.depth, 3),
            "never below a peak" if fall is None else f"lasted {write.duration(fall.lasted_ns)}{back}",
        ),
        ("Sharpe ratio, yearly", write.number(None if ratio is None else ratio.value, 1), sharpe_note(metrics)),
        ("maker share", write.share(metrics.maker_share), f"of what was filled, {len(report.fills):,} fills"),
        (
            "round trips won",
            write.share(trips.wins / trips.count) if trips.count else write.UNKNOWN,
            f"{trips.wins:,} of {trips.count:,}, after fees",
        ),
        ("time in the market", write.share(metrics.in_market), "of the marked minutes"),
        ("leverage, mean", write.number(metrics.leverage, 3), "notional over equity"),
        ("turnover", write.number(metrics.turnover_multiple, 2), "times the mean equity"),
        (
            "buy and hold, like size",
            write.UNKNOWN if held is None else write.gain(held.same_exposure),
            f"{currency}, long the account's mean absolute position{'' if only else ' in each instrument'}",
        ),
        (
            "buy and hold, unlevered",
            write.UNKNOWN if held is None else write.gain(held.unlevered),
            (
                f"{currency}, notional of the starting equity"
                f"{'; price' if only else ', an equal part in each instrument; prices in the mean'} "
                f"{write.percent(None if held is None else held.change, 2, signed=True)}"
            ),
        ),
        (
            "place in the cohort",
            write.number(rank.percentile, 0),
            (
                f"percentile of {rank.compared:,} runs by P&L before fees per notional traded: "
                f"{write.number(rank.account_bp, 2, signed=True)} bp, "
                f"median {write.number(rank.median_bp, 2, signed=True)} bp"
            ),
        ),
        ("trials", f"{rank.trials:,}", "runs ever born: what luck could choose from"),
    )


def positions_note(report: RunReport) -> str:
    """Say what is held."""
    if report.only is not None:
        return f"position {write.quantity(report.only.qty)}"
    return "positions " + ", ".join(f"{market.symbol} {write.quantity(market.qty)}" for market in report.markets)


def sharpe_note(metrics: Metrics) -> str:
    """Say what a Sharpe ratio of this length is worth."""
    ratio = metrics.sharpe
    if ratio is None:
        return "too few or unmoved returns"
    note = f"{write.percent(CONFIDENCE, 0)} between {write.number(ratio.low, 0)} and {write.number(ratio.high, 0)}"
    if ratio.proof_ns is not None:
        return f"{note}; to prove it above zero takes {write.duration(ratio.proof_ns)}"
    return f"{note}; not above zero"


def findings(evidence: Evidence, epochs: Sequence[CloneEffect]) -> tuple[tuple[str, str, str], ...]:
    """Return the evidence as (name, value, note), clones in the epochs given."""
    skill = evidence.skill
    told = [stretch for stretch in evidence.overfitting if stretch.probability is not None]
    chances = [stretch.probability for stretch in told if stretch.probability is not None]
    tries = "" if skill is None else f" of the best of {skill.trials:,} tries without skill"
    zero = "" if skill is None else f"; above zero {write.percent(skill.above_zero, 0)}"
    split = f"too few to tell in each of {len(evidence.overfitting):,} stretches of {BLOCKS} checkpoints"
    if told:
        runs = [stretch.strategies for stretch in told]
        split = (
            f"how often the best run of one half was no better than the median in the other: mean of {len(told):,} "
            f"stretches of {BLOCKS} checkpoints, {write.percent(min(chances), 0)} to {write.percent(max(chances), 0)}, "
            f"with {min(runs):,} to {max(runs):,} runs"
            if len(told) > 1
            else "how often the best run of one half was no better than the median in the other: in one stretch of "
            f"{BLOCKS} checkpoints, with {runs[0]:,} runs"
        )
    return (
        (
            "skill beyond luck",
            write.percent(None if skill is None else skill.above_luck, 0),
            "too few returns or tries to tell"
            if skill is None or skill.above_luck is None
            else f"chance that the true Sharpe ratio is above that{tries}{zero}",
        ),
        *(
            (
                f"clones less draws, epoch {effect.epoch}",
                write.UNKNOWN
                if effect.difference_bp is None
                else f"{write.number(effect.difference_bp, 2, signed=True)} bp",
                clone_note(effect),
            )
            for effect in epochs
        ),
        ("overfitting", write.percent(fmean(chances) if chances else None, 0), split),
    )


def clone_note(effect: CloneEffect) -> str:
    """Say how sure the difference is, and what it rests on."""
    bounds = ""
    if effect.low_bp is not None and effect.high_bp is not None:
        low, high = (write.number(bound, 2, signed=True) for bound in (effect.low_bp, effect.high_bp))
        bounds = f", {write.percent(CONFIDENCE, 0)} between {low} and {high}"
    worth = "" if effect.hours >= HOURS_TOLD else f" (worth {effect.hours:.0f} equal hours of {HOURS_TOLD:.0f})"
    return (
        f"{effect.verdict}{worth}{bounds}; {effect.clones:,} clones and {effect.randoms:,} random draws born at the "
        f"same {effect.births:,} instants, of {effect.trials:,} runs"
    )


def summary_json(report: RunReport) -> dict[str, object]:
    """Return the report as plain JSON values.

    Returns
    -------
    dict
        Keys are stable: ``dataset data_digest symbol symbols currency seed settings_digest start end now finished tasks
        wall_s``, ``account`` (start_equity, equity, profit, realised, unrealised, fees, qty, mark), ``positions`` (by
        symbol: qty, mark, realised, unrealised, fees, fills), ``metrics`` (names of `Metrics`, nested by the names of
        its parts), ``fills``, ``orders``, ``rejects``, ``reasons``, ``cycles`` and ``events`` (counts), ``epochs`` (a
        list), ``checks`` (a list of claim, ok, found), ``evidence`` (names of `Evidence`, nested by the names of its
        parts). Decimals are text without exponent, instants ISO 8601 UTC, spans seconds, what is unknown null; so are
        ``symbol`` and the account's qty and mark where there are several instruments.
    """
    metrics = measure(report)
    source, account, only = report.provenance, report.account, report.only
    return {
        "dataset": source.dataset,
        "data_digest": source.digest,
        "symbol": only and only.symbol,
        "symbols": list(report.symbols),
        "currency": report.currency,
        "seed": source.seed,
        "settings_digest": source.settings_digest,
        "start": iso(source.start_ns),
        "end": iso(source.end_ns),
        "now": iso(source.now_ns),
        "finished": source.finished,
        "tasks": report.tasks,
        "wall_s": report.wall_s,
        "account": {
            "start_equity": plain(account.start_equity),
            "equity": plain(account.equity),
            "profit": plain(report.profit),
            "realised": plain(report.realised),
            "unrealised": plain(report.unrealised),
            "fees": plain(report.fees),
            "qty": only and plain(only.qty),
            "mark": only and _text(only.mark),
        },
        "positions": {
            market.symbol: {
                "qty": plain(market.qty),
                "mark": _text(market.mark),
                "realised": plain(market.realised),
                "unrealised": plain(market.unrealised),
                "fees": plain(market.fees),
                "fills": len(report.of(market.symbol)),
            }
            for market in report.markets
        },
        "metrics": _metrics(metrics),
        "fills": len(report.fills),
        "orders": dict(report.orders),
        "rejects": dict(report.rejects),
        "reasons": dict(report.reasons),
        "cycles": cycle_counts(report),
        "events": dict(report.event_counts),
        "epochs": [
            {
                "number": epoch.number,
                "opened": iso(epoch.opened_ns),
                "closed": _instant(epoch.closed_ns),
                "reason": epoch.reason,
                "baseline": _text(epoch.baseline),
                "born": epoch.born,
                "ended": epoch.ended,
                "best_pnl": epoch.best_pnl,
                "median_pnl": epoch.median_pnl,
            }
            for epoch in report.epochs
        ],
        "checks": [{"claim": item.claim, "ok": item.ok, "found": item.found} for item in check(report, metrics)],
        "evidence": asdict(weigh(report)),
    }


def cycle_counts(report: RunReport) -> dict[str, int]:
    """Count cycles by outcome, in order of first appearance; a cycle that still runs counts as "running"."""
    counts: dict[str, int] = {}
    for cycle in report.cycles:
        outcome = cycle.outcome or "running"
        counts[outcome] = counts.get(outcome, 0) + 1
    return counts


def _metrics(metrics: Metrics) -> dict[str, object]:
    fall, ratio, trips, held = metrics.drawdown, metrics.sharpe, metrics.round_trips, metrics.buy_and_hold
    rank = metrics.standing
    return {
        "total_return": metrics.total_return,
        "drawdown": fall
        and {
            "depth": fall.depth,
            "peak": iso(fall.peak_ns),
            "trough": iso(fall.trough_ns),
            "recovered": _instant(fall.recovered_ns),
            "lasted_s": fall.lasted_ns / SECOND_NS,
        },
        "sharpe": ratio
        and {
            "value": ratio.value,
            "low": ratio.low,
            "high": ratio.high,
            "returns": ratio.returns,
            "proof_s": None if ratio.proof_ns is None else ratio.proof_ns / SECOND_NS,
            "luck": ratio.luck,
        },
        "in_market": metrics.in_market,
        "leverage": metrics.leverage,
        "turnover": plain(metrics.turnover),
        "turnover_multiple": metrics.turnover_multiple,
        "maker_share": metrics.maker_share,
        "round_trips": {
            "count": trips.count,
            "wins": trips.wins,
            "best": _text(trips.best),
            "worst": _text(trips.worst),
        },
        "buy_and_hold": held
        and {"change": held.change, "unlevered": held.unlevered, "same_exposure": held.same_exposure},
        "standing": {
            "account_bp": rank.account_bp,
            "median_bp": rank.median_bp,
            "percentile": rank.percentile,
            "compared": rank.compared,
            "trials": rank.trials,
        },
    }


def _text(value: Decimal | None) -> str | None:
    return None if value is None else plain(value)


def _instant(instant_ns: int | None) -> str | None:
    return None if instant_ns is None else iso(instant_ns)
