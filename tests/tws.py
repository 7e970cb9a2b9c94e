"""A simulated TWS spoken to with `ib_async`'s own encoder and decoder, without a socket between them."""

from collections.abc import Iterable
from datetime import UTC
from decimal import Decimal
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
from ib_async.client import Client
from ib_async.contract import Contract
from ib_async.decoder import Decoder
from ib_async.order import LimitOrder, MarketOrder, Order

from trisagion.clock import SECOND_NS
from trisagion.market.types import Instrument, Tape
from trisagion.simulate.tws import SimulatedTws
from trisagion.simulate.tws_words import VERSION_MAX

T0 = 1_378_000_000 * SECOND_NS
"""Sunday 2013-09-01 01:46:40 UTC."""

PRINTS = [(0, "100", 1), (10, "99.75", 3), (11, "99.50", 2), (12, "99.50", 9), (20, "101", 50)]
"""Seconds after T0, price, lots. A bid of five at 99.75 that arrives at 1 s: one lot before it, so 2, 2 and 1."""

DU = "DU1"
ES = Contract(symbol="ES", secType="FUT", currency="USD")
CLOCK_NS = 1_700_000_000 * SECOND_NS


def at(seconds: float) -> int:
    """An instant."""
    return T0 + int(seconds * SECOND_NS)


def tape(prints: Iterable[tuple[float, str, int]] = tuple(PRINTS), symbol: str = "ES", multiplier: str = "50") -> Tape:
    """A tape of prints: seconds after T0, price, lots."""
    decimals = map(Decimal, ("0.25", "1", multiplier, "20", "0.0004"))
    rows = [(at(seconds), int(Decimal(px) / Decimal("0.25")), lots) for seconds, px, lots in prints]
    return Tape(Instrument(symbol, "SIM", "USD", *decimals), *np.array(rows, dtype=np.int64).T.copy())


def limit(action: str = "BUY", qty: float = 5, px: float = 99.75, ref: str = "a", **more: Any) -> Order:
    """A limit order, good till cancelled."""
    return LimitOrder(action, qty, px, orderRef=ref, **{"tif": "GTC", **more})


def market(action: str = "BUY", qty: float = 1, ref: str = "m") -> Order:
    """A market order."""
    return MarketOrder(action, qty, orderRef=ref, tif="DAY")


class Pen(Client):
    """The client's own writing, kept instead of sent."""

    def __init__(self, version: int) -> None:
        super().__init__(SimpleNamespace())  # type: ignore[no-untyped-call]
        self._serverVersion = version
        self.connState = Client.CONNECTED
        self.written: list[tuple[str, ...]] = []

    def sendMsg(self, msg: str) -> None:  # noqa: N802
        """Keep."""
        self.written.append(tuple(msg.split("\0")[:-1]))


class _Ear:
    """The client's own reading: what its wrapper would be told, by name."""

    defaultTimezone = UTC  # noqa: N815
    ib = SimpleNamespace(TimezoneTWS=None)

    def __init__(self) -> None:
        self.heard: list[tuple[str, tuple[Any, ...]]] = []

    def __getattr__(self, name: str) -> Any:
        return lambda *args: self.heard.append((name, args))


class Talk:
    """A TWS, and clients of it that speak one version."""

    def __init__(self, *tapes: Tape, version: int = VERSION_MAX, clients: Iterable[int] = (1,)) -> None:
        self.tws = SimulatedTws(tapes or (tape(),), [DU, "DU2"], Decimal(100_000))
        self.version = version
        self.first: dict[int, list[tuple[str, tuple[Any, ...]]]] = {}
        for client in clients:
            self.first[client] = self.heard(self.tws.connect(client, version), client)

    def heard(self, answers: Iterable[Any], client: int = 1) -> list[tuple[str, tuple[Any, ...]]]:
        """What a client reads in answers: each method of its wrapper that is called, with the arguments."""
        ear = _Ear()
        decoder: Any = Decoder(cast("Any", ear), self.version)
        decoder.logger = SimpleNamespace(exception=_unreadable)
        for said in answers:
            if said.client == client:
                decoder.interpret(list(said.message) or ["the end"])
        return ear.heard

    def say(self, request: str, *args: Any, client: int = 1) -> list[tuple[str, tuple[Any, ...]]]:
        """Let a client make a request by the name of its method; return what it hears."""
        pen = Pen(self.version)
        getattr(pen, request)(*args)
        [message] = pen.written
        return self.heard(self.tws.answer(client, message, CLOCK_NS), client)

    def place(self, order_id: int, order: Order, contract: Contract = ES, client: int = 1) -> list[str]:
        """Place or change an order; return what is heard, in short."""
        return short(self.say("placeOrder", order_id, contract, order, client=client))

    def cancel(self, order_id: int, client: int = 1) -> list[str]:
        """Cancel an order; return what is heard, in short."""
        return short(self.say("cancelOrder", order_id, client=client))

    def play(self, seconds: float, client: int = 1) -> list[str]:
        """Play; return what is heard, in short."""
        return short(self.heard(self.tws.play(at(seconds)), client))

    def fail(self, kind: str, client: int = 1, **arguments: Any) -> list[str]:
        """Make a mistake; return what is heard, in short."""
        return short(self.heard(self.tws.fail({"kind": kind, **arguments}), client))

    def rows(self, name: str) -> list[dict[str, Any]]:
        """The rows of the snapshot under a name."""
        rows: Any = self.tws.snapshot()[name]
        return list(rows)


def short(heard: Iterable[tuple[str, tuple[Any, ...]]]) -> list[str]:
    """What was heard, a few words each: `open Submitted`, `Submitted 2/5`, `exec 2@99.75 +`, `fee`, `error 201`."""
    words = []
    for name, args in heard:
        if name == "openOrder":
            words.append(f"open {args[3].status}")
        elif name == "orderStatus":
            words.append(f"{args[1]} {args[2]:g}/{args[2] + args[3]:g}")
        elif name == "execDetails":
            liquidity = {1: "+", 2: "-"}[args[2].lastLiquidity]
            words.append(f"exec {args[2].shares:g}@{args[2].price:g} {liquidity}")
        elif name == "commissionReport":
            words.append("fee")
        elif name == "error":
            words.append(f"error {args[1]}")
        else:
            words.append(name)
    return words


def _unreadable(text: str) -> None:
    raise AssertionError(text)
