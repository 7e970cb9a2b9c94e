"""What an account of the simulated TWS owns and is worth, from its standing trades: positions, averages, profits.

Averages and profits are exact fractions; they are rounded when they are told.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from typing import Final

from trisagion.clock import MINUTE_NS
from trisagion.market.types import Instrument
from trisagion.simulate.tws_words import Contract, Message
from trisagion.units import WIDE, plain, round_money

_CENT: Final = Decimal("0.01")


@dataclass(frozen=True, slots=True)
class Holding:
    """A position by average cost, in ticks and lots: `cost` is Σ lots · average price, with the position's sign."""

    lots: int = 0
    cost: Fraction = Fraction(0)
    realised: Fraction = Fraction(0)

    @property
    def average(self) -> Fraction:
        """The average price in ticks, 0 when flat."""
        return self.cost / self.lots if self.lots else Fraction(0)

    def traded(self, lots: int, ticks: int) -> "Holding":
        """Return the holding after a trade of signed lots: what reduces it realises a profit, the rest opens."""
        closed = 0
        if self.lots * lots < 0:
            closed = min(abs(lots), abs(self.lots)) * (1 if self.lots > 0 else -1)
        realised = self.realised + closed * (ticks - self.average)
        cost = self.cost - closed * self.average + (lots + closed) * ticks
        return Holding(self.lots + lots, cost, realised)


@dataclass(frozen=True, slots=True)
class Owned:
    """A holding with what it is worth: prices in points, money in the instrument's currency.

    `average_cost` is money for a unit, as a TWS tells it: it has the multiplier in it.
    """

    contract: Contract
    instrument: Instrument
    qty: Decimal
    average_cost: Decimal
    price: Decimal
    value: Decimal
    unrealised: Decimal
    realised: Decimal


def owned(holding: Holding, contract: Contract, instrument: Instrument, last_ticks: int) -> Owned:
    """Value a holding at the last trade."""
    unit = instrument.tick_size * instrument.lot_size * instrument.multiplier
    qty = holding.lots * instrument.lot_size
    return Owned(
        contract=contract,
        instrument=instrument,
        qty=qty,
        average_cost=money(holding.average, instrument.tick_size * instrument.multiplier),
        price=last_ticks * instrument.tick_size,
        value=money(Fraction(holding.lots * last_ticks), unit),
        unrealised=money(holding.lots * last_ticks - holding.cost, unit),
        realised=money(holding.realised, unit),
    )


def money(amount: Fraction, unit: Decimal) -> Decimal:
    """Return a fraction of units of money, rounded as all money is."""
    return round_money(WIDE.divide(WIDE.multiply(Decimal(amount.numerator), unit), Decimal(amount.denominator)))


def account_values(cash: Decimal, fees: Decimal, positions: Iterable[Owned]) -> Mapping[str, Decimal]:
    """Return what an account is worth, by the names of a TWS.

    The account began with `cash` and paid `fees`. Stocks are paid in full, futures settle their profits in cash; the
    margin is notional over the instrument's greatest leverage, initial and maintenance alike.
    """
    positions = list(positions)
    realised = sum((each.realised for each in positions), Decimal(0))
    unrealised = sum((each.unrealised for each in positions), Decimal(0))
    worth = cash - fees + realised + unrealised
    stocks = sum((each.value for each in positions if each.contract.sec_type == "STK"), Decimal(0))
    gross = sum((abs(each.value) for each in positions), Decimal(0))
    margin = sum((round_money(WIDE.divide(abs(e.value), e.instrument.leverage_max)) for e in positions), Decimal(0))
    return {
        "NetLiquidation": worth,
        "TotalCashValue": worth - stocks,
        "SettledCash": worth - stocks,
        "EquityWithLoanValue": worth,
        "GrossPositionValue": gross,
        "InitMarginReq": margin,
        "MaintMarginReq": margin,
        "AvailableFunds": worth - margin,
        "ExcessLiquidity": worth - margin,
        "BuyingPower": max(worth - margin, Decimal(0)),
        "UnrealizedPnL": unrealised,
        "RealizedPnL": realised,
    }


def position(account: str, each: Owned) -> Message:
    """Write position."""
    return ("61", "3", account, *each.contract.fields, plain(each.qty), plain(each.average_cost))


def portfolio(account: str, each: Owned) -> Message:
    """Write updatePortfolio."""
    sums = (each.qty, each.price, each.value, each.average_cost, each.unrealised, each.realised)
    return ("7", "8", *each.contract.fields, *map(plain, sums), account)


def account_time(now_ns: int) -> Message:
    """Write updateAccountTime: the hour and minute of the tape."""
    minutes = now_ns // MINUTE_NS
    return ("8", "1", f"{minutes // 60 % 24:02d}:{minutes % 60:02d}")


def told(value: Decimal) -> str:
    """Write an amount of an account as a TWS does, in cents."""
    return plain(value.quantize(_CENT, context=WIDE))
