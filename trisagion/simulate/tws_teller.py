"""What the simulated TWS says of its books: orders, executions, positions, accounts. It changes none."""

from collections.abc import Mapping, Sequence
from decimal import Decimal
from fractions import Fraction
from typing import Final

from trisagion.clock import HOUR_NS
from trisagion.orders.types import ExecType
from trisagion.simulate import tws_words as words
from trisagion.simulate.matching import Restatement
from trisagion.simulate.tws_account import Owned, account_time, account_values, money, owned, portfolio, position, told
from trisagion.simulate.tws_books import Books, Change, Execution, TwsOrder
from trisagion.simulate.tws_orders import INVALID, Contracts, Refused, Wanted, read_filter
from trisagion.simulate.tws_words import Message, at, moment

_DAY_NS: Final = 24 * HOUR_NS
_MADE: Final = frozenset({ExecType.NEW, Restatement.REPLACED})


def answers_request(change: Change) -> bool:
    """Tell whether a change is what was asked for with an order: that it begins, is modified, or is refused."""
    return change.kind in {*_MADE, ExecType.REJECTED}


def filled_at_once(changes: Sequence[Change]) -> bool:
    """Tell whether changes are those of a market order that was filled as soon as it came: it gets no orderStatus."""
    last = changes[-1].order if changes else None
    begun = bool(changes) and changes[0].kind is ExecType.NEW
    return last is not None and begun and last.wanted.limit_ticks is None and last.status == words.STATUS_FILLED


class Teller:
    """The books in the words of the protocol."""

    def __init__(self, books: Books, contracts: Contracts, cash: Decimal, currency: str) -> None:
        self._books = books
        self._contracts = contracts
        self._cash = cash
        self._currency = currency

    # Orders and executions -------------------------------------------------------------------------------------------

    def order(self, order: TwsOrder, version: int, status: str | None = None) -> list[Message]:
        """Tell openOrder and orderStatus."""
        return [words.open_order(order.words, status or order.status, version), self.status(order, status)]

    def status(self, order: TwsOrder, status: str | None = None) -> Message:
        """Tell orderStatus."""
        sums = {"filled": order.filled, "left": order.left, "average": order.average, "last": order.last}
        return words.order_status(order.words, status or order.status, **sums)

    def execution(self, execution: Execution, version: int, request: int) -> list[Message]:
        """Tell execDetails and commissionReport."""
        order = self._books.order(execution.perm_id).words
        return [
            words.exec_details(order, execution.words, request, version),
            words.commission_report(execution.words, self._currency),
        ]

    def change(self, change: Change, version: int, *, silent: bool) -> list[Message]:
        """Tell what happened to an order; `silent` leaves the orderStatus out.

        A new order is PreSubmitted before it is Submitted.
        """
        order = change.order
        if change.execution is not None:
            details, commission = self.execution(change.execution, version, words.NO_ID)
            opened, status = self.order(order, version)
            return [details, opened, *(() if silent else (status,)), commission]
        if change.kind in _MADE:
            first = words.STATUS_PRE_SUBMITTED
            statuses = [first, words.STATUS_SUBMITTED] if change.kind is ExecType.NEW and not order.held else [None]
            if silent:
                return [words.open_order(order.words, first, version)]
            return [message for status in statuses for message in self.order(order, version, status)]
        if change.kind is ExecType.REJECTED:
            return self.order(order, version)
        return [self.status(order)]

    def executions(self, message: Message, version: int) -> list[Message]:
        """Answer reqExecutions: what happened since the midnight (UTC) before the tape's now and passes the filter."""
        wanted, request = read_filter(message), words.whole(message, 2)
        since_ns = max(self._books.played_ns // _DAY_NS * _DAY_NS, wanted.since_ns)
        answers: list[Message] = []
        for execution in self._books.executions:
            order = self._books.order(execution.perm_id)
            contract = order.words.contract
            asked = (wanted.client, wanted.account, wanted.symbol, wanted.sec_type, wanted.exchange, wanted.side)
            found = (order.words.client, order.words.account, contract.symbol, contract.sec_type, contract.exchange)
            passes = all(
                not want or want == have for want, have in zip(asked, (*found, order.words.action), strict=True)
            )
            if passes and execution.words.happened_ns >= since_ns:
                answers += self.execution(execution, version, request)
        return [*answers, ("55", "1", str(request))]

    def completed(self, version: int) -> list[Message]:
        """Answer reqCompletedOrders: those of all clients that came in since midnight and are done."""
        midnight_ns = self._books.played_ns // _DAY_NS * _DAY_NS
        when = moment(self._books.played_ns)
        done = [order for order in self._books.orders() if not order.live and order.venue.arrived_ns >= midnight_ns]
        completed = [
            words.completed_order(each.words, each.status, filled=each.filled, when=when, version=version)
            for each in done
        ]
        return [*completed, ("102",)]

    # Accounts --------------------------------------------------------------------------------------------------------

    def owned(self, account: str) -> dict[str, Owned]:
        """Return an account's positions at the last trades, by symbol."""
        return {
            symbol: owned(holding, self._contracts[symbol], self._books.instruments[symbol], self._last(symbol))
            for symbol, holding in self._books.holdings(account).items()
        }

    def positions(self, account: str) -> list[Message]:
        """Tell the positions that are not flat."""
        return [position(account, each) for each in self.owned(account).values() if each.qty]

    def values(self, account: str) -> Mapping[str, Decimal]:
        """Return what an account is worth."""
        return account_values(self._cash, self._books.fees(account), self.owned(account).values())

    def account(self, account: str) -> list[Message]:
        """Answer reqAccountUpdates."""
        values = [("6", "2", "AccountType", "INDIVIDUAL", "", account)]
        values += [("6", "2", tag, told(value), self._currency, account) for tag, value in self.values(account).items()]
        holdings = [portfolio(account, each) for each in self.owned(account).values()]
        return [*values, *holdings, account_time(self._books.played_ns), ("54", "1", account)]

    def account_multi(self, message: Message, accounts: Sequence[str]) -> list[Message]:
        """Answer reqAccountUpdatesMulti.

        Raises
        ------
        Refused
            There is no such account.
        """
        request, account, model = (at(message, place) for place in (2, 3, 4))
        if account not in accounts:
            raise Refused(INVALID, "Error validating request.-'bS' : cause - The account code is invalid.")
        head = ("73", "1", request, account, model)
        rows = [(*head, tag, told(value), self._currency) for tag, value in self.values(account).items()]
        return [*rows, ("74", "1", request)]

    def summary(self, message: Message, accounts: Sequence[str]) -> list[Message]:
        """Answer reqAccountSummary with the values that are asked for by name, of all accounts."""
        request, tags = at(message, 2), set(at(message, 4).split(","))
        rows = [
            ("63", "1", request, account, tag, told(value), self._currency)
            for account in accounts
            for tag, value in self.values(account).items()
            if tag in tags
        ]
        return [*rows, ("64", "1", request)]

    def margin(self, client: int, order_id: int, wanted: Wanted, version: int) -> Message:
        """Answer a what-if: what the margin would be if the order were filled at its price."""
        values = self.values(wanted.account)
        price = wanted.limit_ticks or self._books.quote_ticks(wanted.contract.symbol, wanted.side) or 0
        instrument = wanted.instrument
        unit = instrument.tick_size * instrument.lot_size * instrument.multiplier
        holding = self._books.holdings(wanted.account).get(wanted.contract.symbol)
        before = holding.lots if holding else 0
        after = before + wanted.side.sign * wanted.lots
        change = money(Fraction(price * (abs(after) - abs(before))) / Fraction(instrument.leverage_max), unit)
        margin, equity = values["InitMarginReq"], values["EquityWithLoanValue"]
        each = [told(margin), told(margin), told(equity), told(change), told(change), "0"]
        sums = [*each, told(margin + change), told(margin + change), told(equity)]
        order = wanted.words(client, order_id, 0)
        return words.open_order(order, words.STATUS_PRE_SUBMITTED, version, sums)

    def _last(self, symbol: str) -> int:
        return self._books.last_ticks(symbol) or 0
