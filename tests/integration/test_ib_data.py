"""`trisagion ib`: looking at Interactive Brokers, against the bundled TWS simulator in its own process."""

import json
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
from typer.testing import CliRunner

from tests.builders import qty
from tests.integration.fix_market import Sink, at, order
from tests.integration.ib_market import ACCOUNT, CLIENT, TwsMarket, fills
from trisagion.adapters.observers import ib as observe_ib
from trisagion.adapters.venues.ib.configured import reader_of
from trisagion.adapters.venues.ib.ears import Ears, Held, IbContract
from trisagion.cli import ib
from trisagion.errors import ConfigError, DataError, StateError
from trisagion.gateway.ib_census import held
from trisagion.observer_ports import Seen
from trisagion.safety.snapshots import expected_symbol
from trisagion.settings import load


@pytest.fixture
def market(tmp_path: Path) -> Iterator[TwsMarket]:
    """A simulator that runs, at the first second of its tape."""
    market = TwsMarket(tmp_path)
    market.start()
    market.control.play(at(1))
    (tmp_path / "t.toml").write_text(
        f'[ib]\nport = {market.port}\naccount = "{ACCOUNT}"\nclient_id = {CLIENT}\n'
        '[ib.contracts.ES]\nsec_type = "FUT"\nexchange = "SIM"\ncurrency = "USD"\n'
    )
    yield market
    market.close()


def said(market: TwsMarket, *words: str) -> list[dict[str, str]]:
    """Run a command, and return what it printed for machines."""
    done = CliRunner().invoke(ib.app, [*words, "--config", str(market.directory / "t.toml"), "--json"])
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    found = json.loads(done.stdout)
    assert isinstance(found, list)
    return found


def test_account_orders_executions_and_positions_are_shown(market: TwsMarket) -> None:
    """By a client of its own, beside the session that trades; a person's order has a name, too."""
    sink = Sink()
    with market.session(sink) as session:
        assert session.send_new(order("A"), at(1))
        sink.after(1)
        market.control.play(at(11))
        sink.wait(lambda: len(fills(sink)) == 1)
        market.fault("manual", symbol="ES", side="SELL", qty="1", px="200", account=ACCOUNT)
        assert {row["name"]: row for row in said(market, "account")}["NetLiquidation"]["currency"] == "USD"
        assert said(market, "positions") == [{"symbol": "ES", "qty": "2"}]
        given = load(market.directory / "t.toml", {}, {}).ib
        assert observe_ib.look(reader_of(given, 903, "client"), given.environment) == Seen({"ES": qty(2)})
        orders = {row["cl_ord_id"]: row for row in said(market, "orders")}
        assert (orders["A"]["filled"], orders["A"]["price"], orders["A"]["client"]) == ("2", "99.75", str(CLIENT))
        assert sorted(name[0] for name in orders) == ["?", "A"]
        (execution,) = said(market, "executions")
        assert (execution["cl_ord_id"], execution["fee"], execution["liquidity"]) == ("A", "3.99 USD", "maker")
        assert session.logged_on()


def test_positions_are_summed_over_the_contracts_of_a_symbol() -> None:
    """Two months of a future that go by one name of ours; an option's name has spaces, and an observer can say it."""
    heard: list[object] = []
    ears = Ears(ACCOUNT, {"ES": IbContract("ES", "FUT", "CME", "USD")}, "UTC", heard.append)
    for con_id, kind, name, number in (
        (1, "FUT", "ESM6", "5"),
        (2, "FUT", "ESU6", "-2"),
        (3, "OPT", "ES    260619C00450000", "1"),
    ):
        contract = SimpleNamespace(
            conId=con_id, symbol="ES", secType=kind, currency="USD", localSymbol=name, lastTradeDateOrContractMonth=""
        )
        ears.position(ACCOUNT, contract, float(number), 0.0)
    told = held({(each.symbol, each.con_id): each.qty for each in heard if isinstance(each, Held)})
    assert told == {"ES": 3, "ES_260619C00450000@3": 1}
    assert all(expected_symbol(symbol) for symbol in told)


def test_a_quote_and_bars_are_shown_and_written_for_a_run(market: TwsMarket) -> None:
    """What is written is a file that `trisagion data check` takes."""
    market.control.play(at(60))
    (found,) = said(market, "quote", "ES")
    assert found["last"] == "101"
    (bar,) = said(market, "bars", "ES", "--duration", "1 D")
    assert (bar["open"], bar["high"], bar["low"], bar["close"]) == ("100", "100", "99.5", "99.5")
    out = market.directory / "bars.csv"
    words = ["bars", "ES", "--out", str(out), "--config", str(market.directory / "t.toml")]
    assert CliRunner().invoke(ib.app, words).exit_code == 0
    assert out.read_text().splitlines() == [
        "ts_event,open,high,low,close,volume",
        f"{at(0) // 60_000_000_000 * 60_000_000_000},100.0,100.0,99.5,99.5,15.0",
    ]
    refused = CliRunner().invoke(ib.app, words)
    assert isinstance(refused.exception, ConfigError)


@pytest.mark.parametrize(
    ("words", "error", "found"),
    [
        (["quote", "NQ"], ConfigError, "NQ"),
        (["bars", "ES", "--size", "7 min"], ConfigError, "7 min"),
        (["positions", "--client-id", str(CLIENT)], ConfigError, "client-id"),
        (["positions", "--set", "ib.account=DU7654321"], ConfigError, "DU7654321"),
        (["positions", "--set", "ib.account=U1234567"], ConfigError, "ib.account"),
        (["positions", "--set", "ib.port=1"], StateError, "no connection"),
        (["positions", "--set", "ib.port=0"], ConfigError, "ib.port"),
    ],
)
def test_what_cannot_be_asked_is_refused_with_a_sentence(
    market: TwsMarket, words: list[str], error: type[Exception], found: str
) -> None:
    """A contract that is not configured, somebody else's client id, another account or environment."""
    with pytest.raises(error, match=found):
        said(market, *words)


def test_a_question_that_tws_refuses_is_told_with_its_code(market: TwsMarket) -> None:
    """No data is no quote."""
    market.fault("market_data_farm", broken=1)
    with pytest.raises(DataError, match="ES"):
        said(market, "quote", "ES")
