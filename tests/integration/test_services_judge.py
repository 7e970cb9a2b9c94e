"""The state of a market as the runs' gate: readings, fits, and what the queue prepares, on both servers."""

from dataclasses import replace

import numpy as np
import pytest

from tests.builders import Desk, a_step, states
from trisagion.clock import MINUTE_NS
from trisagion.ports import Database
from trisagion.regime.classify import MarketRegime
from trisagion.regime.evidence import FIT_BARS_MIN, MODELS
from trisagion.services.detect_regime import detect
from trisagion.services.judge_regime import JudgeRules, due, give_up, judge, refit
from trisagion.services.outcome import Outcome

REFIT_NS = 10 * MINUTE_NS
T0 = 1_000 * REFIT_NS
BARS = FIT_BARS_MIN + 40
NOW_NS = T0 + BARS * MINUTE_NS
SLOT_NS = NOW_NS // REFIT_NS * REFIT_NS - REFIT_NS
RULES = JudgeRules(REFIT_NS, frozenset({"trending"}))
ANY = JudgeRules(REFIT_NS, frozenset({*MarketRegime, "unknown"}))


def with_bars(database: Database, count: int = BARS) -> None:
    """Store the minutes of a random path."""
    closes = 4000.0 + np.cumsum(np.random.default_rng(3).normal(0.0, 1.0, count))
    with database.transaction() as tx:
        for number, close in enumerate(closes, start=1):
            tx.market.add_step(a_step(T0 + number * MINUTE_NS, f"{close:.2f}"))


def fits(database: Database, last_ns: int = SLOT_NS) -> dict[str, str | None]:
    """Return the models that were fitted to the bars up to an instant."""
    with database.snapshot() as tx:
        found = {model: tx.regime.fit("ES", model, last_ns) for model in MODELS}
    return {model: fit.text for model, fit in found.items() if fit is not None}


def test_a_minute_is_judged_once_and_its_gate_follows_from_the_reading(shared: Desk) -> None:
    """The reading is recorded with its reasons; judging again gives it back, and fits nothing again."""
    with_bars(shared.database)
    step = replace(states(1, NOW_NS - MINUTE_NS)[0], symbol="ES")
    shut, opened = judge(shared.database, RULES, step), judge(shared.database, ANY, step)
    with shared.database.snapshot() as tx:
        reading = tx.regime.reading("ES", NOW_NS)
    assert reading is not None
    assert reading.at_ns == NOW_NS
    assert sum(reading.probability) == pytest.approx(1.0)
    assert any("hidden state" in reason for reason in reading.reasons)
    assert shut.regime == opened.regime == reading.state != "trending"
    assert np.isnan(shut.entropy).all()
    assert (opened.entropy == 0.0).all()
    assert (opened.samples > 20).all()
    assert shut.price is step.price


def test_models_are_those_of_the_slot_before_whoever_fitted_them(shared: Desk, colleague: Desk) -> None:
    """What the queue fits ahead and what a minute fits for itself is the same, to the last digit; and fitted once."""
    with_bars(shared.database)
    step = states(1, NOW_NS - MINUTE_NS)[0]
    judge(shared.database, RULES, step)
    inline = fits(shared.database)
    assert set(inline) == set(MODELS)
    assert all(inline.values())
    assert refit(colleague.database, "ES", "garch", SLOT_NS) == Outcome("nothing")
    later_ns = SLOT_NS + REFIT_NS
    assert {refit(colleague.database, "ES", model, later_ns).word for model in MODELS} == {"fitted"}
    ahead = fits(shared.database, later_ns)
    assert ahead != inline
    with_more = replace(step, at_ns=NOW_NS + REFIT_NS, ts_ns=step.ts_ns + REFIT_NS)
    judge(shared.database, RULES, with_more)
    assert fits(shared.database, later_ns) == ahead


def test_too_few_bars_leave_the_models_unknown_and_say_so(desk: Desk) -> None:
    """The note tells how many are wanted; the reading goes on with what is known."""
    with_bars(desk.database, 60)
    now_ns = T0 + 60 * MINUTE_NS
    judge(desk.database, RULES, states(1, now_ns - MINUTE_NS)[0])
    with desk.database.snapshot() as tx:
        fit = tx.regime.fit("ES", "garch", now_ns // REFIT_NS * REFIT_NS - REFIT_NS)
        reading = tx.regime.reading("ES", now_ns)
    assert fit is not None
    assert fit.text is None
    assert f"expected {FIT_BARS_MIN} returns" in fit.note
    assert reading is not None
    assert "hidden states: unknown" in reading.reasons


def test_a_fit_that_was_given_up_is_not_waited_for(shared: Desk) -> None:
    """The state is read without it, the note says why it is not there, and an operator sees it."""
    with_bars(shared.database)
    give_up(shared.database, "ES", "six_states", SLOT_NS, "stopped at its time limit of 1 s")
    judge(shared.database, RULES, states(1, NOW_NS - MINUTE_NS)[0])
    assert fits(shared.database)["six_states"] is None
    with shared.database.snapshot() as tx:
        reading = tx.regime.reading("ES", NOW_NS)
    assert reading is not None
    assert "hidden states: unknown" in reading.reasons


def test_each_slot_asks_for_each_model_once(desk: Desk) -> None:
    """Only a minute that ends a slot does; the subjects name symbol and model."""
    assert due(RULES, "ES", SLOT_NS).subjects == tuple(f"ES {model}" for model in MODELS)
    assert due(RULES, "ES", SLOT_NS + MINUTE_NS).subjects == ()


def test_features_are_stored_with_the_gate_of_the_judge(desk: Desk) -> None:
    """What the runs read is the state of the market, not the entropies."""
    with_bars(desk.database, 2)
    now_ns = T0 + 2 * MINUTE_NS
    detect(desk.database, "ES", now_ns, lambda state: judge(desk.database, RULES, state))
    with desk.database.snapshot() as tx:
        states_stored = tx.market.states("ES", T0, now_ns)
    assert [state.regime for state in states_stored] == ["unknown", "unknown"]
    assert all(np.isnan(state.entropy).all() for state in states_stored)
