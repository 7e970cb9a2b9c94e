"""The books behind the simulated TWS: whose order is which, what was executed, who owns what. Nobody is told here.

The books are keyed by permId. A client's orderId is only what the client calls an order: a TWS forgets and gives again.
An order's ClOrdID in the snapshot is its orderRef, which nobody but its maker keeps unique.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Final

from trisagion.errors import VenueMistake
from trisagion.market.types import Instrument, Tape
from trisagion.orders.state import TERMINAL, OrderState
from trisagion.orders.types import ExecType, Liquidity, Side
from trisagion.simulate.matching import ChangeRefusal, Event, MatchingEngine, Refusal, Restatement, VenueOrder
from trisagion.simulate.reports import average_price, fill_row, order_row
from trisagion.simulate.tws_account import Holding, money
from trisagion.simulate.tws_orders import FILL_OR_KILL, IMMEDIATE, Wanted
from trisagion.simulate.tws_words import (
    STATUS_CANCELLED,
    STATUS_FILLED,
    STATUS_INACTIVE,
    STATUS_PRE_SUBMITTED,
    STATUS_SUBMITTED,
    ExecutionWords,
    OrderWords,
)
from trisagion.units import plain

PERM_ID_FIRST: Final = 1_500_000_001

_EXEC_ID: Final = "0000e0d5.{number:08x}.01.{version:02d}"
"""As IB makes them: a correction differs after the last point."""

_STATUSES: Final = {
    OrderState.NEW: STATUS_SUBMITTED,
    OrderState.PARTIALLY_FILLED: STATUS_SUBMITTED,
    OrderState.FILLED: STATUS_FILLED,
    OrderState.CANCELED: STATUS_CANCELLED,
    OrderState.EXPIRED: STATUS_CANCELLED,
    OrderState.REJECTED: STATUS_INACTIVE,
}

_TRADES: Final = frozenset({ExecType.TRADE, Restatement.TRADE_CANCEL, Restatement.TRADE_CORRECT})


@dataclass(frozen=True, slots=True)
class TwsOrder:
    """An order: its words, what was asked for last, and its state at the exchange, where a held one is not yet."""

    words: OrderWords
    wanted: Wanted
    venue: VenueOrder
    held: bool = False
    last: Decimal = Decimal(0)
    renamed: int = 0

    @property
    def status(self) -> str:
        """The status that a TWS tells."""
        return STATUS_PRE_SUBMITTED if self.held else _STATUSES[self.venue.state]

    @property
    def live(self) -> bool:
        """Whether it may still be executed, changed or cancelled."""
        return self.venue.state not in TERMINAL

    @property
    def filled(self) -> Decimal:
        """The executed quantity."""
        return self.venue.cum_lots * self.wanted.instrument.lot_size

    @property
    def left(self) -> Decimal:
        """The quantity that was not executed: a cancelled order keeps it, as at a TWS."""
        return max(self.venue.lots - self.venue.cum_lots, 0) * self.wanted.instrument.lot_size

    @property
    def average(self) -> Decimal:
        """The mean price of its executions."""
        return average_price(self.venue, self.wanted.instrument)


@dataclass(frozen=True, slots=True)
class Execution:
    """An execution, correction or bust as it was told; `event` is the exchange's."""

    perm_id: int
    words: ExecutionWords
    event: Event


@dataclass(frozen=True, slots=True)
class Change:
    """What happened to an order: `order` is its state after it."""

    kind: ExecType | Restatement
    order: TwsOrder
    execution: Execution | None = None
    reason: str = ""


class Books:
    """Orders of all clients on one matching engine; an account's orders never trade with each other."""

    def __init__(self, tapes: Sequence[Tape]) -> None:
        self._engine = MatchingEngine(tapes)
        self._instruments = self._engine.instruments
        self._orders: dict[int, TwsOrder] = {}
        self._named: dict[tuple[int, int], int] = {}
        self._next_ids: dict[int, int] = defaultdict(lambda: 1)
        self._executions: list[Execution] = []
        self._exec_ids: dict[str, Execution] = {}
        self._standing: dict[str, tuple[str, str, int, int]] = {}
        self._holdings: dict[tuple[str, str], Holding] = defaultdict(Holding)
        self._fees: dict[str, Decimal] = defaultdict(Decimal)

    @property
    def instruments(self) -> Mapping[str, Instrument]:
        """What is traded here, by symbol in order."""
        return self._instruments

    @property
    def played_ns(self) -> int:
        """The instant up to which the tapes were played."""
        return self._engine.played_ns

    @property
    def executions(self) -> Sequence[Execution]:
        """All executions, corrections and busts, in order."""
        return self._executions

    def orders(self) -> Sequence[TwsOrder]:
        """Return all orders ever taken, in order of arrival."""
        return tuple(self._orders.values())

    def live(self) -> Sequence[TwsOrder]:
        """Return the orders that may still be executed, in order of arrival."""
        return tuple(order for order in self._orders.values() if order.live)

    def order(self, perm_id: int) -> TwsOrder:
        """Return an order by its permId."""
        return self._orders[perm_id]

    def find(self, client: int, order_id: int) -> TwsOrder | None:
        """Return the order that a client calls so, if its TWS remembers."""
        return self._orders.get(self._named.get((client, order_id), 0))

    def by_ref(self, ref: str) -> TwsOrder:
        """Return the last order of an orderRef.

        Raises
        ------
        VenueMistake
            There is none.
        """
        found = [order for order in self._orders.values() if order.words.ref == ref]
        if not found:
            raise VenueMistake(f"expected the orderRef of an order, found {ref!r}")
        return found[-1]

    def execution(self, exec_id: str) -> Execution:
        """Return an execution by its execId.

        Raises
        ------
        VenueMistake
            There is none.
        """
        if exec_id not in self._exec_ids:
            raise VenueMistake(f"expected an execId of ours, found {exec_id!r}")
        return self._exec_ids[exec_id]

    def next_id(self, client: int) -> int:
        """Return the orderId that a client is told to go on with."""
        return self._next_ids[client]

    def clients(self) -> Sequence[int]:
        """Return the clients that ever used an orderId."""
        return tuple(self._next_ids)

    def used(self, client: int, order_id: int) -> None:
        """Take an orderId for used, whatever became of the order."""
        self._next_ids[client] = max(self._next_ids[client], order_id + 1)

    def roll_back(self, client: int, ids: int) -> None:
        """Forget the last so many orderIds of a client, so that they are given again; live orders keep theirs."""
        self._next_ids[client] = first = max(1, self._next_ids[client] - ids)
        for key, perm_id in list(self._named.items()):
            if key[0] == client and key[1] >= first and not self._orders[perm_id].live:
                del self._named[key]

    def active(self, wanted: Wanted) -> int:
        """Count the live orders of the same account, contract and side."""
        same = wanted.account, wanted.contract.con_id, wanted.side
        asked = (order.wanted for order in self.live())
        return sum((each.account, each.contract.con_id, each.side) == same for each in asked)

    def last_ticks(self, symbol: str) -> int | None:
        """Return the price of the last trade, None before the first."""
        return self._engine.last_ticks(symbol)

    def quote_ticks(self, symbol: str, side: Side) -> int | None:
        """Return the price at which the tape's market meets an order, None before the first trade."""
        last = self._engine.last_ticks(symbol)
        return None if last is None else max(1, last + side.sign)

    # Orders ----------------------------------------------------------------------------------------------------------

    def place(
        self, client: int, order_id: int, wanted: Wanted, *, refused: str | None = None, held: bool = False
    ) -> list[Change]:
        """Take an order in; a market order before the first trade is refused, one with a reason to refuse, too."""
        perm_id = PERM_ID_FIRST + len(self._orders)
        words = wanted.words(client, order_id, perm_id)
        ticks = self._ticks(wanted)
        order = TwsOrder(words, wanted, self._outside(perm_id, wanted, ticks or 0), held=held)
        self._orders[perm_id] = order
        self._named[client, order_id] = perm_id
        self.used(client, order_id)
        if ticks is None and refused is None:
            refused = "No market data to price the order"
        if refused is not None:
            order = replace(order, held=False, venue=replace(order.venue, state=OrderState.REJECTED))
            self._orders[perm_id] = order
            return [Change(ExecType.REJECTED, order, reason=refused)]
        if held:
            return [Change(ExecType.NEW, order)]
        return self._submit(order)

    def release(self) -> list[Change]:
        """Send the held orders to the exchange."""
        held = [order for order in self.live() if order.held]
        return [change for order in held for change in self._submit(replace(order, held=False))]

    def modify(self, order: TwsOrder, wanted: Wanted) -> list[Change] | str:
        """Change quantity, price and end of a live order, or tell why not; names and orderRef stay as they are."""
        ticks = self._ticks(wanted)
        if ticks is None:
            return "No market data to price the order"
        if order.held:
            order = self._reworded(order, wanted, order.renamed, self._outside(order.words.perm_id, wanted, ticks))
            return [Change(Restatement.REPLACED, order)]
        renamed = order.renamed + 1
        result = self._engine.replace(
            cl_ord_id=_name(order.words.perm_id, renamed),
            orig_cl_ord_id=order.venue.cl_ord_id,
            price_ticks=ticks,
            lots=wanted.lots,
            expire_ns=wanted.expire_ns,
            now_ns=self.played_ns,
        )
        if isinstance(result, Refusal | ChangeRefusal):
            return str(result)
        self._reworded(order, wanted, renamed, order.venue)
        return [self._changed(event) for event in result]

    def cancel(self, order: TwsOrder) -> list[Change]:
        """Cancel a live order."""
        if order.held:
            gone = replace(order, held=False, venue=replace(order.venue, state=OrderState.CANCELED))
            self._orders[order.words.perm_id] = gone
            return [Change(ExecType.CANCELED, gone)]
        return [self._changed(event) for event in self._engine.cancel(order.venue.cl_ord_id, self.played_ns)]

    def play(self, until_ns: int) -> list[Change]:
        """Play the tapes up to, not including, an instant; then what is left of market orders goes on taking."""
        changes = [self._changed(event) for event in self._engine.play(until_ns)]
        for order in self.live():
            quote = self._ticks(order.wanted)
            if order.wanted.limit_ticks is None and not order.held and quote not in {None, order.venue.price_ticks}:
                chased = self.modify(order, order.wanted)
                assert not isinstance(chased, str), chased
                changes += [change for change in chased if change.kind is not Restatement.REPLACED]
        return changes

    def fill_anyway(self, order: TwsOrder, *, lots: int, liquidity: Liquidity) -> Change:
        """Execute an order at its price, whatever its state; VenueMistake when that cannot be."""
        if order.held:
            raise VenueMistake(f"expected an order at the exchange, found {order.words.ref!r}, which is held")
        return self._changed(
            self._engine.fill_anyway(order.venue.cl_ord_id, lots=lots, liquidity=liquidity, now_ns=self.played_ns)
        )

    def bust(self, exec_id: str) -> Change:
        """Take an execution back; VenueMistake when there is none that stands."""
        return self._changed(self._engine.bust(self.execution(exec_id).event.exec_id, self.played_ns))

    def correct(self, exec_id: str, *, price_ticks: int, lots: int) -> Change:
        """Put an execution right; VenueMistake when there is none that stands."""
        of = self.execution(exec_id).event.exec_id
        return self._changed(self._engine.correct(of, price_ticks=price_ticks, lots=lots, now_ns=self.played_ns))

    def _ticks(self, wanted: Wanted) -> int | None:
        if wanted.limit_ticks is not None:
            return wanted.limit_ticks
        return self.quote_ticks(wanted.contract.symbol, wanted.side)

    def _outside(self, perm_id: int, wanted: Wanted, ticks: int) -> VenueOrder:
        """Return an order that the exchange has not seen."""
        names = 0, _name(perm_id, 0), wanted.account, wanted.contract.symbol
        return VenueOrder(*names, wanted.side, ticks, wanted.lots, self.played_ns, OrderState.NEW)

    def _submit(self, order: TwsOrder) -> list[Change]:
        wanted = order.wanted
        self._orders[order.words.perm_id] = order
        events = self._engine.submit(
            cl_ord_id=order.venue.cl_ord_id,
            owner=wanted.account,
            symbol=wanted.contract.symbol,
            side=wanted.side,
            price_ticks=order.venue.price_ticks,
            lots=wanted.lots,
            post_only=False,
            immediate_or_cancel=wanted.tif == IMMEDIATE,
            fill_or_kill=wanted.tif == FILL_OR_KILL,
            expire_ns=wanted.expire_ns,
            now_ns=self.played_ns,
        )
        return [self._changed(event) for event in events]

    def _reworded(self, order: TwsOrder, wanted: Wanted, renamed: int, venue: VenueOrder) -> TwsOrder:
        names = order.words
        words = replace(wanted.words(names.client, names.order_id, names.perm_id), ref=names.ref)
        order = replace(order, words=words, wanted=wanted, renamed=renamed, venue=venue)
        self._orders[words.perm_id] = order
        return order

    # What happened ---------------------------------------------------------------------------------------------------

    def _changed(self, event: Event) -> Change:
        """Put an event of the exchange into the books."""
        perm_id = int(event.order.cl_ord_id.partition(".")[0])
        order = replace(self._orders[perm_id], venue=event.order)
        execution = None
        if event.exec_type in _TRADES:
            execution = self._executed(order, event)
            order = replace(order, last=execution.words.price)
        self._orders[perm_id] = order
        return Change(event.exec_type, order, execution, event.reason or "")

    def _executed(self, order: TwsOrder, event: Event) -> Execution:
        instrument, busted = order.wanted.instrument, event.exec_type is Restatement.TRADE_CANCEL
        before = self._by_event(event.exec_ref) if event.exec_ref else None
        if before is None:
            exec_id = _EXEC_ID.format(number=int(event.exec_id[1:]), version=1)
        else:
            root, _, version = before.words.exec_id.rpartition(".")
            exec_id = f"{root}.{int(version) + 1:02d}"
            del self._standing[before.words.exec_id]
            self._fees[order.words.account] -= before.words.fee
        fee = Decimal(0) if busted else Decimal(event.fee)
        self._fees[order.words.account] += fee
        realised = self._own(order, exec_id, event, replaces=before is not None, busted=busted)
        assert event.liquidity is not None
        words = ExecutionWords(
            exec_id=exec_id,
            happened_ns=event.happened_ns,
            side=order.wanted.side,
            qty=event.last_lots * instrument.lot_size,
            price=event.last_ticks * instrument.tick_size if not busted or before is None else before.words.price,
            cum_qty=order.filled,
            average=order.average,
            liquidity=event.liquidity,
            fee=fee,
            realised=None if realised is None else realised - fee,
        )
        execution = Execution(order.words.perm_id, words, event)
        self._executions.append(execution)
        self._exec_ids[exec_id] = execution
        return execution

    def _own(self, order: TwsOrder, exec_id: str, event: Event, *, replaces: bool, busted: bool) -> Decimal | None:
        """Move a holding, and return what the execution realised, None if it closed nothing or changes an old one."""
        key = account, symbol = order.words.account, order.words.contract.symbol
        lots = order.wanted.side.sign * event.last_lots
        if not busted:
            self._standing[exec_id] = (account, symbol, lots, event.last_ticks)
        if replaces:
            holding = Holding()
            for *owner, each_lots, ticks in self._standing.values():
                if owner == [account, symbol]:
                    holding = holding.traded(each_lots, ticks)
            self._holdings[key] = holding
            return None
        before = self._holdings[key]
        self._holdings[key] = after = before.traded(lots, event.last_ticks)
        if before.lots * lots >= 0:
            return None
        instrument = order.wanted.instrument
        return money(
            after.realised - before.realised, instrument.tick_size * instrument.lot_size * instrument.multiplier
        )

    def _by_event(self, exec_id: str) -> Execution:
        return next(each for each in self._executions if each.event.exec_id == exec_id)

    # Questions -------------------------------------------------------------------------------------------------------

    def holdings(self, account: str) -> Mapping[str, Holding]:
        """Return what an account owns or owned, by symbol in order."""
        return {
            symbol: self._holdings[account, symbol]
            for symbol in self._instruments
            if (account, symbol) in self._holdings
        }

    def fees(self, account: str) -> Decimal:
        """Return what an account has paid in commissions."""
        return self._fees[account]

    def snapshot(self) -> Mapping[str, object]:
        """Return the books in the shape of `SimulatedVenue.snapshot`: ClOrdIDs are orderRefs, OrderIDs permIds."""
        net: dict[str, int] = dict.fromkeys(self._instruments, 0)
        for (_, symbol), holding in self._holdings.items():
            net[symbol] += holding.lots
        return {
            "played_ns": self.played_ns,
            "executions": len(self._executions),
            "positions": {symbol: plain(lots * self._instruments[symbol].lot_size) for symbol, lots in net.items()},
            "orders": [self._order_row(order) for order in self._orders.values()],
            "working": [self._order_row(order) for order in self.live()],
            "fills": [self._fill_row(execution) for execution in self._executions],
        }

    def _order_row(self, order: TwsOrder) -> Mapping[str, str]:
        row = order_row(order.venue, order.wanted.instrument)
        return {**row, "order_id": str(order.words.perm_id), "cl_ord_id": order.words.ref}

    def _fill_row(self, execution: Execution) -> Mapping[str, str | int]:
        order = self._orders[execution.perm_id]
        row = {**fill_row(execution.event, order.wanted.instrument), "cl_ord_id": order.words.ref}
        ref = execution.event.exec_ref
        about = {} if ref is None else {"exec_ref": self._by_event(ref).words.exec_id}
        return {**row, **about, "exec_id": execution.words.exec_id}


def _name(perm_id: int, renamed: int) -> str:
    """Return the exchange's ClOrdID of an order, which every replacement renames."""
    return f"{perm_id}.{renamed}"
