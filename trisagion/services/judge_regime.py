"""The state of a market as the gate of the runs, and the models behind it, refitted on a queue of their own.

A model is fitted to the bars closed by a slot, a multiple of the refit interval, and used one interval later: the queue
has that long for it. So which model a minute is judged with follows from the minute, not from who was quick, and a
replay decides the same at any speed. Whoever needs a model that nobody has fitted yet fits it himself; the same bars
give the same fit.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np

from trisagion.clock import HOUR_NS, floor_ns
from trisagion.market.types import Float64Array, MarketState
from trisagion.ports import Database, Transaction
from trisagion.regime.classify import Evidence, classify
from trisagion.regime.evidence import EVIDENCE_BARS, FIT_BARS, MODELS, evidence, fit, models
from trisagion.regime.state import gated
from trisagion.regime.types import Fit
from trisagion.services.outcome import Outcome

GAP_NS: Final = HOUR_NS
"""After a pause this long a reading says nothing about the next."""


@dataclass(frozen=True, slots=True)
class JudgeRules:
    """How often models are fitted, and in which states the runs' gate is open."""

    refit_ns: int
    open_in: frozenset[str]


def judge(database: Database, rules: JudgeRules, state: MarketState) -> MarketState:
    """Judge the market at a step: record the reading, and return the step's features with the gate that follows."""
    symbol, now_ns = state.symbol, state.at_ns
    with database.snapshot() as tx:
        last = tx.regime.reading(symbol, now_ns)
        closes = _closes(tx, symbol, now_ns, EVIDENCE_BARS)
    if last is None or last.at_ns < now_ns:
        before = last if last is not None and now_ns - last.at_ns < GAP_NS else None
        reading = classify(_evidence(database, rules, symbol, closes, now_ns), before)
        with database.transaction() as tx:
            tx.regime.put_reading(symbol, reading)
    else:
        reading = last
    return gated(state, reading.state, is_open=reading.state in rules.open_in)


def due(rules: JudgeRules, symbol: str, now_ns: int) -> Outcome:
    """Ask for the models of the slot that ends now, when one does."""
    subjects = tuple(f"{symbol} {model}" for model in MODELS) if now_ns % rules.refit_ns == 0 else ()
    return Outcome("refit", subjects)


def refit(database: Database, symbol: str, model: str, last_ns: int) -> Outcome:
    """Fit a model to the bars closed by `last_ns` and publish it, once."""
    with database.snapshot() as tx:
        if tx.regime.fit(symbol, model, last_ns) is not None:
            return Outcome("nothing")
    _fitted(database, symbol, model, last_ns)
    return Outcome("fitted")


def give_up(database: Database, symbol: str, model: str, last_ns: int, why: str) -> Outcome:
    """Record that a model is not there, and why: evidence goes without it instead of waiting."""
    with database.transaction() as tx:
        tx.regime.put_fit(symbol, model, last_ns, Fit(None, why))
        tx.control.add_event("regime.refit", f"{symbol} {model}", {"text": why}, last_ns)
    return Outcome("nothing")


def _evidence(database: Database, rules: JudgeRules, symbol: str, closes: Float64Array, now_ns: int) -> Evidence:
    slot_ns = floor_ns(now_ns, rules.refit_ns) - rules.refit_ns
    texts = {}
    for model in MODELS:
        with database.snapshot() as tx:
            known = tx.regime.fit(symbol, model, slot_ns)
        texts[model] = (known or _fitted(database, symbol, model, slot_ns)).text
    return evidence(closes, now_ns, models(**texts))


def _fitted(database: Database, symbol: str, model: str, last_ns: int) -> Fit:
    with database.snapshot() as tx:
        closes = _closes(tx, symbol, last_ns, FIT_BARS + 1)
    found = fit(model, closes, symbol)
    with database.transaction() as tx:
        tx.regime.put_fit(symbol, model, last_ns, found)
    return found


def _closes(tx: Transaction, symbol: str, until_ns: int, count: int) -> Float64Array:
    return np.array([bar.close for bar in tx.market.bars(symbol, until_ns, count)], dtype=np.float64)
