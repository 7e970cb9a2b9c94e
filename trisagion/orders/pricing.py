"""At what price an order is sent. A maker joins the best quote of its side and never reaches the other one."""

from trisagion.errors import DataError
from trisagion.market.types import Instrument, Quote
from trisagion.orders.state import OrderState
from trisagion.orders.types import Order, Side
from trisagion.units import Price, on_grid, plain, tick_down, tick_up


def maker_price(side: Side, quote: Quote, instrument: Instrument) -> Price:
    """Return the best bid for a buy, the best offer for a sell, on the tick and at least one away from the other side.

    On a locked or crossed quote the order stands back behind the other side. `DataError` when no price above zero is
    left.
    """
    if side is Side.BUY:
        px = tick_down(min(quote.bid, quote.ask - instrument.tick_size), instrument.tick_size)
    else:
        px = tick_up(max(quote.ask, quote.bid + instrument.tick_size), instrument.tick_size)
    if px <= 0:
        raise DataError(
            f"{quote.symbol}: no maker price above 0 to {side} at bid {plain(quote.bid)}, ask {plain(quote.ask)}"
        )
    return px


def taker_price(side: Side, quote: Quote, instrument: Instrument) -> Price:
    """Return the best quote of the other side, on the tick that still reaches it: Emergency only.

    `DataError` when a bid below one tick leaves no price above zero to sell at.
    """
    if side is Side.BUY:
        return tick_up(quote.ask, instrument.tick_size)
    px = tick_down(quote.bid, instrument.tick_size)
    if px <= 0:
        raise DataError(f"{quote.symbol}: no price above 0 to sell at bid {plain(quote.bid)}")
    return px


def is_maker(side: Side, price: Price, quote: Quote, instrument: Instrument) -> bool:
    """Tell whether an order at this price would rest: it stays at least a tick away from the other side."""
    if side is Side.BUY:
        return price <= quote.ask - instrument.tick_size
    return price >= quote.bid + instrument.tick_size


def off_grid(order: Order, instrument: Instrument | None) -> str | None:
    """Return why an order, or what it is to become, is none of its instrument's; None where nothing is wrong with it.

    Nobody of ours makes such a one: it is for what another program wrote into the outbox.
    """
    qty, price = order.qty, order.price
    if order.state is not OrderState.ROUTED:
        qty, price = order.wanted_qty or qty, order.wanted_price or price
    if instrument is None:
        return f"OFF_GRID: symbol={order.symbol} is not traded here"
    if price is None:
        return "OFF_GRID: no price"
    if not on_grid(price, instrument.tick_size):
        return f"OFF_GRID: price={plain(price)} tick_size={plain(instrument.tick_size)}"
    if not on_grid(qty, instrument.lot_size):
        return f"OFF_GRID: qty={plain(qty)} lot_size={plain(instrument.lot_size)}"
    return None
