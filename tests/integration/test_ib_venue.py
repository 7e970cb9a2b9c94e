"""The TWS simulator under the clients that people use: `ib_async` here, `ib_insync` in a process of its own."""

import asyncio
import json
import os
import signal
import socket
import struct
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import ib_async
import pytest
from ib_async import ContractDetails, LimitOrder, MarketOrder, Trade

from tests.integration.tws_market import EXPECTED, WAIT_S, TwsMarket, core, until
from trisagion.errors import VenueMistake

INSYNC = Path(sys.prefix) / "share" / "insync"
"""Where the Makefile puts ib_insync, out of the way of ib_async: both bring a module `eventkit`."""

INSYNC_CORE = """
import asyncio, json, sys
from pathlib import Path
import ib_insync
# By its file: what is installed beside ib_insync has a package `tests`, too.
sys.path.insert(0, "tests/integration")
from tws_market import TwsMarket, core
market = TwsMarket(Path(sys.argv[1]))
market.port = int(sys.argv[2])
print(json.dumps(asyncio.run(core(market, ib_insync))))
"""


@pytest.fixture
def market(tmp_path: Path) -> Iterator[TwsMarket]:
    """A simulator that has played one second."""
    market = TwsMarket(tmp_path)
    market.start()
    market.control.play(1_378_000_001 * 10**9)
    yield market
    market.close()


async def es(ib: Any) -> Any:
    """Return the contract that is traded."""
    found: list[ContractDetails] = await ib.reqContractDetailsAsync(ib_async.Contract(symbol="ES"))
    return found[0].contract


async def submitted(ib: Any, ref: str = "a", *, qty: float = 5, px: float = 99.75) -> Trade:
    """Place a bid and wait until it is Submitted."""
    trade: Trade = ib.placeOrder(await es(ib), LimitOrder("BUY", qty, px, orderRef=ref, tif="GTC"))
    await until(lambda: trade.orderStatus.status == "Submitted")
    return trade


def test_ib_async_does_all_that_a_client_does(market: TwsMarket) -> None:
    """It synchronises without a timeout, at 178; orders, changes, executions, cancels and answers are as expected."""
    seen = asyncio.run(core(market, ib_async, raiseSyncErrors=True))
    assert seen == {**EXPECTED, "version": 178}


def test_ib_insync_does_the_same(market: TwsMarket) -> None:
    """The same with its predecessor, at 176, in a process of its own: the two cannot be in one."""
    client = market.run(
        *("-W", "ignore", "-c", INSYNC_CORE, str(market.directory), str(market.port)), PYTHONPATH=str(INSYNC)
    )
    out, err = client.communicate(timeout=2 * WAIT_S)
    assert client.returncode == 0, err
    assert json.loads(out) == {**EXPECTED, "version": 176}


def test_a_market_order_is_filled_and_its_status_never_comes(market: TwsMarket) -> None:
    """What ib_async shows then: an execution, and an order that is pending for ever."""

    async def go() -> None:
        async with market.client(ib_async) as ib:
            trade = ib.placeOrder(await es(ib), MarketOrder("BUY", 1, orderRef="m"))
            await until(lambda: trade.fills and trade.fills[0].commissionReport.execId)
            assert (trade.orderStatus.status, trade.filled()) == ("PendingSubmit", 1)

    asyncio.run(go())
    assert [row["state"] for row in market.control.status()["orders"]] == ["filled"]


def test_executions_that_were_missed_are_there_for_who_asks(market: TwsMarket) -> None:
    """After a reconnection they are in fills(), the order is open, and no event told of them."""

    async def go() -> None:
        async with market.client(ib_async) as ib:
            await submitted(ib)
        await market.play(11)
        events: list[Any] = []
        async with market.client(ib_async) as ib:
            ib.execDetailsEvent += events.append
            assert [fill.execution.shares for fill in ib.fills()] == [2]
            [trade] = ib.openTrades()
            assert (trade.order.orderRef, trade.orderStatus.filled, trade.orderStatus.remaining) == ("a", 2, 3)
            assert ib.client.getReqId() > trade.order.orderId
        assert events == []

    asyncio.run(go())


def test_a_client_id_is_in_use_once(market: TwsMarket) -> None:
    """The second is told 326 and sent away, the first hears on; once it is gone the id is free."""

    async def go() -> None:
        async with market.client(ib_async) as ib:
            trade = await submitted(ib)
            other: Any = ib_async.IB()
            codes: list[int] = []
            other.wrapper.error = lambda _, code, *__: codes.append(code)
            with pytest.raises((ConnectionError, TimeoutError)):
                await other.connectAsync("127.0.0.1", market.port, 1, timeout=2)
            assert codes == [326]
            await market.play(11)
            await until(lambda: trade.fills)
        for _ in range(100):
            try:
                async with market.client(ib_async) as ib:
                    assert len(ib.openTrades()) == 1
                return
            except (ConnectionError, TimeoutError):
                await asyncio.sleep(0.05)
        raise AssertionError("the client id never became free")

    asyncio.run(go())


def test_two_clients_have_ids_and_orders_of_their_own(market: TwsMarket) -> None:
    """Equal orderIds are two orders; neither can cancel the other's, and all open orders show both."""

    async def go() -> None:
        async with market.client(ib_async, 1) as one, market.client(ib_async, 2) as two:
            mine, theirs = await submitted(one, "one"), await submitted(two, "two")
            assert mine.order.orderId == theirs.order.orderId
            assert mine.order.permId != theirs.order.permId
            two.client.cancelOrder(mine.order.orderId + 50)
            await until(lambda: 10147 in two.codes)
            assert {trade.order.orderRef for trade in await one.reqAllOpenOrdersAsync()} == {"one", "two"}
            assert {trade.order.orderRef for trade in await one.reqOpenOrdersAsync()} == {"one"}

    asyncio.run(go())


@pytest.mark.parametrize("reset", [0, 1], ids=["half open", "reset"])
def test_a_dropped_connection_loses_what_was_queued(market: TwsMarket, reset: int) -> None:
    """Of 120 orders that the client believes in, those arrive that were let through; a half-open line says nothing."""

    async def go() -> None:
        async with market.client(ib_async) as ib:
            contract = await es(ib)
            await market.fail("drop", client=1, messages=30, reset=reset)
            trades = [
                ib.placeOrder(contract, LimitOrder("BUY", 1, 50 - number / 4, orderRef=f"n{number}", tif="GTC"))
                for number in range(120)
            ]
            if reset:
                await until(lambda: not ib.isConnected())
            else:
                await asyncio.sleep(1.5)
                assert ib.isConnected()
                assert sum(trade.orderStatus.status == "PendingSubmit" for trade in trades) >= 90
        refs = [row["cl_ord_id"] for row in await market.rows("orders")]
        assert refs == [f"n{number}" for number in range(len(refs))]
        assert len(refs) == 30
        assert len(await market.rows("working")) == 20

    asyncio.run(go())


def test_a_connection_may_die_in_the_middle_of_an_order(market: TwsMarket) -> None:
    """After so many bytes the rest is lost: half an order is none."""

    async def go() -> None:
        async with market.client(ib_async) as ib:
            contract = await es(ib)
            await market.fail("drop", client=1, bytes=100, reset=0)
            trade = ib.placeOrder(contract, LimitOrder("BUY", 1, 50, orderRef="half", tif="GTC"))
            await asyncio.sleep(0.3)
            assert trade.orderStatus.status == "PendingSubmit"
        assert await market.rows("orders") == []
        async with market.client(ib_async) as ib:
            await submitted(ib, "whole")

    asyncio.run(go())


def test_a_client_that_is_too_fast_is_told_and_then_sent_away(market: TwsMarket) -> None:
    """Error 100 for each message too many, which is not heard; the third such second ends the connection."""

    async def go() -> None:
        async with market.client(ib_async) as ib:
            ib.client.MaxRequests = 0
            await market.fail("pacing", client=1, per_second=5)
            for _ in range(400):
                if not ib.isConnected():
                    break
                for _ in range(7):
                    if ib.isConnected():
                        ib.client.reqIds(1)
                await asyncio.sleep(0.05)
            await until(lambda: not ib.isConnected())
            assert ib.codes.count(100) >= 3

    asyncio.run(go())


def test_lost_servers_take_orders_and_fills_with_them(market: TwsMarket) -> None:
    """ib_async stays connected and places; nothing of it is there afterwards, and the fill is found by asking."""

    async def go() -> None:
        async with market.client(ib_async) as ib:
            live = await submitted(ib)
            await market.fail("servers_lost")
            await until(lambda: 1100 in ib.codes)
            gone = ib.placeOrder(live.contract, LimitOrder("BUY", 1, 50, orderRef="gone", tif="GTC"))
            assert ib.isConnected()
            await market.play(11)
            await market.fail("servers_back", data="kept")
            await until(lambda: 1102 in ib.codes)
            assert (gone.orderStatus.status, live.fills) == ("PendingSubmit", [])
            assert [fill.execution.shares for fill in await ib.reqExecutionsAsync()] == [2]
        assert [row["cl_ord_id"] for row in await market.rows("orders")] == ["a"]

    asyncio.run(go())


def test_what_a_tws_says_of_an_order_may_mislead_its_client(market: TwsMarket) -> None:
    """399 reads as an invalid order that lives, 103 as cancelled, 201 as rejected, a lost answer as pending."""

    async def go() -> None:
        async with market.client(ib_async) as ib:
            contract = await es(ib)

            def bid(ref: str, px: float = 50, order_id: int = 0) -> Trade:
                order = LimitOrder("BUY", 1, px, orderRef=ref, tif="GTC", orderId=order_id)
                placed: Trade = ib.placeOrder(contract, order)
                return placed

            await market.fail("held", orders=1)
            held = bid("held")
            await until(lambda: held.orderStatus.status == "ValidationError")
            await market.fail("release")
            await until(lambda: held.orderStatus.status == "Submitted")
            await market.fail("reject", orders=1, text="no margin")
            rejected = bid("rejected")
            await until(lambda: rejected.orderStatus.status == "Inactive")
            off = bid("off", 50.1)
            await until(lambda: off.orderStatus.status == "Cancelled")
            ib.client.placeOrder(rejected.order.orderId, contract, rejected.order)
            await until(lambda: 103 in ib.codes)
            await market.fail("acknowledgements", lost=1.0, late=0.0, late_s=0.0, seed=1)
            lost = bid("lost")
            await asyncio.sleep(0.3)
            assert lost.orderStatus.status == "PendingSubmit"
            assert {trade.order.orderRef for trade in await ib.reqAllOpenOrdersAsync()} == {"held", "lost"}
            assert {201, 110, 103, 399} <= set(ib.codes)

    asyncio.run(go())


def test_statuses_twice_and_corrections_are_heard(market: TwsMarket) -> None:
    """A status that comes twice changes nothing; a corrected execution is a second one in fills()."""

    async def go() -> None:
        async with market.client(ib_async) as ib:
            await market.fail("duplicate_status", on=1)
            trade = await submitted(ib)
            await market.play(11)
            await until(lambda: trade.fills and trade.orderStatus.filled)
            first = trade.fills[0].execution.execId
            await market.fail("correct", exec_id=first, px="99.5", qty="1")
            await until(lambda: len(trade.fills) == 2 and trade.orderStatus.filled == 1)
            assert [fill.execution.execId for fill in trade.fills] == [first, f"{first[:-2]}02"]
            assert [entry.status for entry in trade.log].count("PreSubmitted") == 1

    asyncio.run(go())


def test_the_nightly_restart_ends_connections_and_gives_ids_again(market: TwsMarket) -> None:
    """All clients are disconnected; the order is there afterwards, and a done one's id names the next."""

    async def go() -> None:
        async with market.client(ib_async) as ib:
            trade = await submitted(ib)
            ib.cancelOrder(trade.order)
            await until(lambda: trade.orderStatus.status == "Cancelled")
            await market.fail("restart", ids=50)
            await until(lambda: not ib.isConnected())
        async with market.client(ib_async, fetchFields=ib_async.StartupFetchNONE) as ib:
            contract = trade.contract
            again = ib.placeOrder(
                contract, LimitOrder("BUY", 1, 50, orderRef="b", tif="GTC", orderId=trade.order.orderId)
            )
            await until(lambda: again.orderStatus.status == "Submitted")
            assert again.order.permId != trade.order.permId

    asyncio.run(go())


def test_silence_is_what_it_says(market: TwsMarket) -> None:
    """No executions, then no time: a client with a time limit notices."""

    async def go() -> None:
        async with market.client(ib_async) as ib:
            for kind, ask in (("execution_silence", ib.reqExecutionsAsync), ("deaf", ib.reqCurrentTimeAsync)):
                await market.fail(kind, on=1)
                with pytest.raises(TimeoutError):
                    await asyncio.wait_for(ask(), 0.5)
                await market.fail(kind, on=0)
                await asyncio.wait_for(ask(), WAIT_S)

    asyncio.run(go())


def test_prices_come_with_each_play(market: TwsMarket) -> None:
    """Bid, offer and last as the tape has them; none while the farm is broken; bars up to now."""

    async def go() -> None:
        async with market.client(ib_async) as ib:
            contract = await es(ib)
            ticker = ib.reqMktData(contract)
            await until(lambda: (ticker.bid, ticker.ask, ticker.last) == (99.75, 100.25, 100))
            await market.fail("market_data_farm", broken=1)
            await market.play(11)
            await market.fail("market_data_farm", broken=0)
            assert ticker.last == 100
            await market.play(13)
            await until(lambda: ticker.last == 99.5)
            await market.play(80)
            bars = await ib.reqHistoricalDataAsync(contract, "", "1 D", "1 min", "TRADES", False)
            assert [(bar.open, bar.close, bar.volume) for bar in bars] == [(100, 99.5, 15), (101, 101, 50)]

    asyncio.run(go())


def test_killed_at_any_moment_it_comes_back_with_the_same_books(market: TwsMarket) -> None:
    """Orders, names, executions and faults in force are what they were; nobody is connected, and all go on."""

    async def go() -> None:
        async with market.client(ib_async) as ib:
            trade = await submitted(ib)
            await market.play(11)
            await until(lambda: trade.fills)
            await market.fail("reject", orders=1, text="later")
            before = await asyncio.to_thread(market.control.status)
            market.processes[0].kill()
            assert market.processes[0].wait(WAIT_S) == -signal.SIGKILL
            await until(lambda: not ib.isConnected())
        market.start()
        assert await asyncio.to_thread(market.control.status) == before
        async with market.client(ib_async) as ib:
            [open_trade] = ib.openTrades()
            assert (open_trade.order.permId, open_trade.orderStatus.filled) == (trade.order.permId, 2)
            rejected = ib.placeOrder(trade.contract, LimitOrder("BUY", 1, 50, orderRef="b", tif="GTC"))
            await until(lambda: rejected.orderStatus.status == "Inactive")
            await market.play(13)
            await until(lambda: open_trade.orderStatus.status == "Filled")
        fills = await market.rows("fills")
        assert fills[0] == before["fills"][0]
        assert sum(int(row["qty"]) for row in fills) == 5

    asyncio.run(go())


@pytest.mark.parametrize(
    "said",
    [
        b"GET / HTTP/1.1\r\n\r\n",
        b"API\0" + struct.pack(">I", 2**31) + b"v157..178",
        b"API\0" + struct.pack(">I", 8) + b"v100..12",
        b"API\0" + struct.pack(">I", 9) + b"v157..178" + struct.pack(">I", 4) + b"49\0" + b"1",
        b"API\0" + struct.pack(">I", 9) + b"v157..178" + struct.pack(">I", 7) + b"71\0002\0x\0",
        b"API\0" + struct.pack(">I", 9) + b"v157..178" + struct.pack(">I", 0),
    ],
    ids=["no greeting", "an endless frame", "an old client", "no start", "a name for an id", "an empty frame"],
)
def test_who_speaks_otherwise_is_sent_away_and_others_are_not(market: TwsMarket, said: bytes) -> None:
    """The connection is ended; the next client finds all as it was."""
    with socket.create_connection(("127.0.0.1", market.port), timeout=WAIT_S) as connection:
        connection.sendall(said)
        connection.settimeout(WAIT_S)
        try:
            while connection.recv(4096):
                pass
        except ConnectionResetError:
            pass

    async def go() -> None:
        async with market.client(ib_async) as ib:
            await submitted(ib)

    asyncio.run(go())


def test_it_begins_with_the_faults_it_is_given_and_listens_on_loopback_only(tmp_path: Path) -> None:
    """`--faults` are in force before anything else, and once: they do not begin again with a restart."""
    market = TwsMarket(tmp_path)
    faults = ["--faults", json.dumps([{"kind": "reject", "orders": 1, "text": "closed"}])]
    try:
        process = market.start(*faults)
        market.control.play(1_378_000_001 * 10**9)

        async def go(status: str) -> None:
            async with market.client(ib_async) as ib:
                trade = ib.placeOrder(await es(ib), LimitOrder("BUY", 1, 50, orderRef="x", tif="GTC"))
                await until(lambda: trade.orderStatus.status == status)

        asyncio.run(go("Inactive"))
        listening = Path(f"/proc/{process.pid}/net/tcp").read_text(encoding="ascii")
        assert f"0100007F:{market.port:04X} 00000000:0000 0A" in listening
        process.kill()
        process.wait(WAIT_S)
        market.start(*faults)
        asyncio.run(go_after(market, go))
    finally:
        market.close()


async def go_after(market: TwsMarket, go: Any) -> None:
    """Wait for a simulator that was started again, then go."""
    await asyncio.to_thread(market.control.status)
    await go("Submitted")


def test_what_it_cannot_start_with_is_said_in_a_sentence(market: TwsMarket) -> None:
    """A store that another has, a port in use, a journal of something else, faults that are none: exit code 4."""
    control = ["--control", str(market.directory / "d")]
    elsewhere = [*control, "--store", str(market.directory / "w")]
    for extra, text in (
        (control, "another process has this directory"),
        (elsewhere, "cannot be listened to"),
        ([*elsewhere, "--faults", "{}"], "expected a JSON list"),
        ([*elsewhere, "--port", "0", "--faults", '[{"kind": "x"}]'], "expected a kind of fault"),
        ([*elsewhere, "--cash", "much"], "expected a decimal number"),
    ):
        process = market.start(*extra)
        _, err = process.communicate(timeout=WAIT_S)
        assert text in err, err
        assert process.returncode in {1, 4}, err
    with pytest.raises(VenueMistake, match="expected a client that is connected"):
        market.control.fault("drop", client=9, messages=1, reset=0)
    market.control.stop()
    assert market.processes[0].wait(WAIT_S) == os.EX_OK
