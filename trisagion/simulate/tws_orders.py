"""What a client asks of a TWS: orders and filters read from the places of their fields, or why they cannot be.

What this simulator does not do – groups, brackets, algorithms, conditions, combinations – it refuses by number; an
order with half of its terms ignored would be another order.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Final

from ext.matching import VALUE_MAX
from trisagion.errors import DataError, VenueMistake
from trisagion.market.types import Instrument
from trisagion.orders.types import Side
from trisagion.simulate.tws_words import ACTIONS, Contract, Message, OrderWords, at, read_moment, whole
from trisagion.simulate.venue import INSTANT_MAX_NS
from trisagion.units import parse_decimal, plain, whole_steps

DUPLICATE_ID: Final = 103
DOES_NOT_MATCH: Final = 105
OFF_TICK: Final = 110
NOT_CANCELLABLE: Final = 161
NO_DEFINITION: Final = 200
REJECTED: Final = 201
CANCELLED: Final = 202
UNREADABLE: Final = 320
INVALID: Final = 321
UNSUPPORTED_TYPE: Final = 387
MESSAGE: Final = 399
SIZE_ZERO: Final = 434
CANCEL_UNKNOWN: Final = 10147
CANCEL_TOO_LATE: Final = 10148
"""Codes of the TWS API's list of messages."""

NO_DEFINITION_TEXT: Final = "No security definition has been found for the request"

MARKET: Final = "MKT"
LIMIT: Final = "LMT"
IMMEDIATE: Final = "IOC"
FILL_OR_KILL: Final = "FOK"
GOOD_TILL_DATE: Final = "GTD"
_TIMES_IN_FORCE: Final = frozenset({"DAY", "GTC", IMMEDIATE, FILL_OR_KILL, GOOD_TILL_DATE})

REF_CHARACTERS_MAX: Final = 128
"""More of an orderRef than anybody's names have."""

# Places of a placeOrder message without combination legs.
_CONTRACT: Final = 2
_ACTION, _QTY, _TYPE, _LIMIT, _TIF, _OCA, _ACCOUNT, _REF = 16, 17, 18, 19, 21, 22, 23, 26
_TRANSMIT, _PARENT, _OUTSIDE, _HIDDEN, _DISCRETION, _AFTER, _UNTIL, _FA_GROUP = 27, 28, 33, 34, 36, 37, 38, 39
_ALL_OR_NONE, _DELTA_NEUTRAL, _SCALE, _HEDGE, _NEUTRAL_CONTRACT, _ALGORITHM = 49, 64, 72, 76, 81, 82
_WHAT_IF, _CONDITIONS = 84, 89
"""From 177 on; before that, one more for faProfile, which stood between the two lines."""
_NO_FA_PROFILE: Final = 177


class Refused(Exception):
    """An order that a TWS does not take, and the error that says so."""

    def __init__(self, number: int, text: str) -> None:
        super().__init__(text)
        self.number = number
        self.text = text


@dataclass(frozen=True, slots=True)
class Wanted:
    """An order as it is asked for; `limit_ticks` is None for a market order, `expire_ns` 0 for no end."""

    contract: Contract
    instrument: Instrument
    side: Side
    lots: int
    limit_ticks: int | None
    tif: str
    expire_ns: int
    account: str
    ref: str
    what_if: bool
    good_till: str
    outside_rth: str
    hidden: str

    def words(self, client: int, order_id: int, perm_id: int) -> OrderWords:
        """Return what a TWS says of the order."""
        return OrderWords(
            client=client,
            order_id=order_id,
            perm_id=perm_id,
            contract=self.contract,
            action="BUY" if self.side is Side.BUY else "SELL",
            qty=plain(self.lots * self.instrument.lot_size),
            order_type=MARKET if self.limit_ticks is None else LIMIT,
            limit="" if self.limit_ticks is None else plain(self.limit_ticks * self.instrument.tick_size),
            tif=self.tif,
            good_till=self.good_till,
            account=self.account,
            ref=self.ref,
            outside_rth=self.outside_rth,
            hidden=self.hidden,
        )


class Contracts:
    """The instruments of the tapes as contracts.

    A tape says neither kind nor exchange: what has a multiplier is a future (FUT) and else a stock (STK). A request may
    name any exchange and, for a future, any expiry.
    """

    def __init__(self, instruments: Mapping[str, Instrument]) -> None:
        self.instruments = instruments
        self._contracts = {symbol: _contract(symbol, each) for symbol, each in instruments.items()}

    def __getitem__(self, symbol: str) -> Contract:
        return self._contracts[symbol]

    def find(self, message: Sequence[str], place: int) -> Contract | None:
        """Return the contract that the twelve fields from a place on name, by conId or by symbol, kind and currency."""
        con_id, symbol, sec_type, currency, local = (at(message, place + each) for each in (0, 1, 2, 9, 10))
        exchange = at(message, place + 7)
        for known in self._contracts.values():
            named = con_id == str(known.con_id) if con_id not in {"", "0"} else (symbol or local) == known.symbol
            if named and sec_type in {"", known.sec_type} and currency in {"", known.currency}:
                asked = exchange or known.exchange
                return Contract(known.con_id, known.symbol, known.sec_type, known.multiplier, asked, known.currency)
        return None


def _contract(symbol: str, instrument: Instrument) -> Contract:
    # Of the name alone, so that it is the same whatever else is traded: FNV-1a, brought to nine digits.
    number = 2166136261
    for byte in symbol.encode():
        number = (number ^ byte) * 16777619 % 2**32
    future = instrument.multiplier != 1
    multiplier = plain(instrument.multiplier) if future else ""
    con_id = 100_000_000 + number % 900_000_000
    return Contract(con_id, symbol, "FUT" if future else "STK", multiplier, instrument.venue, instrument.currency)


def read_order(message: Message, version: int, contracts: Contracts, accounts: Sequence[str]) -> Wanted:
    """Read a placeOrder message; the first account is meant where none is named.

    Raises
    ------
    Refused
        It cannot be an order here; in the order of the checks.
    VenueMistake
        It has not the fields of a placeOrder message.
    """
    contract = contracts.find(message, _CONTRACT)
    if contract is None:
        raise Refused(NO_DEFINITION, NO_DEFINITION_TEXT)
    later = 1 if version < _NO_FA_PROFILE else 0
    if why := _unsupported(message, later):
        raise Refused(REJECTED, f"Order rejected - reason:{why} is not supported here.")
    instrument = contracts.instruments[contract.symbol]
    account = at(message, _ACCOUNT) or accounts[0]
    side, ref = ACTIONS.get(at(message, _ACTION)), at(message, _REF)
    if account not in accounts or side is None or len(ref) > REF_CHARACTERS_MAX or not ref.isprintable():
        what = "account" if account not in accounts else "action" if side is None else "orderRef"
        raise _invalid(f"The {what} is invalid.")
    tif = at(message, _TIF) or "DAY"
    if tif not in _TIMES_IN_FORCE:
        raise _invalid("Invalid time in force.")
    lots = _lots(at(message, _QTY), instrument)
    good_till = at(message, _UNTIL)
    return Wanted(
        contract=contract,
        instrument=instrument,
        side=side,
        lots=lots,
        limit_ticks=_limit(message, instrument),
        tif=tif,
        expire_ns=_expiry(good_till) if tif == GOOD_TILL_DATE else 0,
        account=account,
        ref=ref,
        what_if=at(message, _WHAT_IF + later) == "1",
        good_till=good_till,
        outside_rth=at(message, _OUTSIDE),
        hidden=at(message, _HIDDEN),
    )


def _unsupported(message: Message, later: int) -> str | None:
    """Name the first term that an order has and this simulator has not."""
    plain_values: tuple[tuple[str, int, frozenset[str]], ...] = (
        ("an order that is not transmitted", _TRANSMIT, frozenset({"1"})),
        ("a bracket", _PARENT, frozenset({"", "0"})),
        ("a group", _OCA, frozenset({""})),
        ("a start in the future", _AFTER, frozenset({""})),
        ("an allocation", _FA_GROUP, frozenset({""})),
        ("a discretionary amount", _DISCRETION, frozenset({"", "0", "0.0"})),
        ("all or none", _ALL_OR_NONE + later, frozenset({"", "0"})),
        ("delta-neutral hedging", _DELTA_NEUTRAL + later, frozenset({""})),
        ("a scale", _SCALE + later, frozenset({"", "0", "0.0"})),
        ("hedging", _HEDGE + later, frozenset({""})),
        ("a delta-neutral contract", _NEUTRAL_CONTRACT + later, frozenset({"", "0"})),
        ("an algorithm", _ALGORITHM + later, frozenset({""})),
        ("a condition", _CONDITIONS + later, frozenset({"", "0"})),
    )
    return next((name for name, place, expected in plain_values if at(message, place) not in expected), None)


def _lots(text: str, instrument: Instrument) -> int:
    qty = _number(text)
    if not qty:
        raise Refused(SIZE_ZERO, "The order size cannot be zero.")
    lots = whole_steps(qty, instrument.lot_size)
    if lots is None or not 0 < lots <= VALUE_MAX:
        raise _invalid("The order size is invalid.")
    return lots


def _limit(message: Message, instrument: Instrument) -> int | None:
    kind = at(message, _TYPE)
    if kind == MARKET:
        return None
    if kind != LIMIT:
        raise Refused(UNSUPPORTED_TYPE, "Unsupported order type for this exchange and security type.")
    ticks = whole_steps(_number(at(message, _LIMIT)), instrument.tick_size)
    if ticks is None or not 0 < ticks <= VALUE_MAX:
        raise Refused(OFF_TICK, "The price does not conform to the minimum price variation for this contract.")
    return ticks


def _expiry(text: str) -> int:
    try:
        expire_ns = read_moment(text)
    except VenueMistake as mistake:
        raise _invalid(f"Invalid good till date: {mistake}.") from None
    if not 0 < expire_ns <= INSTANT_MAX_NS:
        raise _invalid("Invalid good till date.")
    return expire_ns


def _number(text: str) -> Decimal:
    try:
        return parse_decimal(text, what="number")
    except DataError:
        raise Refused(
            UNREADABLE, f"Error reading request. Unable to parse data. java.lang.NumberFormatException: {text[:40]!r}"
        ) from None


def _invalid(why: str) -> Refused:
    return Refused(INVALID, f"Error validating request.-'bE' : cause - {why}")


@dataclass(frozen=True, slots=True)
class Filter:
    """Which executions are asked for; what is empty or 0 lets all pass."""

    client: int
    account: str
    since_ns: int
    symbol: str
    sec_type: str
    exchange: str
    side: str


def read_filter(message: Message) -> Filter:
    """Read the filter of a reqExecutions message.

    Raises
    ------
    VenueMistake
        It has not its fields, or a time in another form.
    """
    account, since, symbol, sec_type, exchange, side = (at(message, place) for place in range(4, 10))
    return Filter(
        client=whole(message, 3),
        account=account,
        since_ns=read_moment(since) if since else 0,
        symbol=symbol,
        sec_type=sec_type,
        exchange=exchange,
        side={"BUY": "BUY", "BOT": "BUY", "SELL": "SELL", "SLD": "SELL"}.get(side.upper(), ""),
    )
