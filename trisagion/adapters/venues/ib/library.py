"""The one door to the client library: `ib_async`, or `ib_insync`, which it continues, where that is what is installed.

Of either only the client and its decoder are used: they write and read the protocol. What the libraries make of it –
trades with statuses of their own, a throttle that is an in-memory queue – is not.
"""

from typing import TYPE_CHECKING

from trisagion.adapters.venues.ib.ears import IbContract

if TYPE_CHECKING:
    from ib_async.client import Client
    from ib_async.contract import Contract
    from ib_async.decoder import Decoder
    from ib_async.objects import ExecutionFilter
    from ib_async.order import Order
else:
    try:
        from ib_async.client import Client
        from ib_async.contract import Contract
        from ib_async.decoder import Decoder
        from ib_async.objects import ExecutionFilter
        from ib_async.order import Order
    except ImportError:
        from ib_insync.client import Client
        from ib_insync.contract import Contract
        from ib_insync.decoder import Decoder
        from ib_insync.objects import ExecutionFilter
        from ib_insync.order import Order


def contract_of(known: IbContract) -> Contract:
    """Make the library's contract of ours."""
    return Contract(
        secType=known.sec_type,
        symbol=known.symbol,
        exchange=known.exchange,
        currency=known.currency,
        localSymbol=known.local_symbol,
        lastTradeDateOrContractMonth=known.last_trade_date,
        multiplier=known.multiplier_text,
    )


__all__ = ("Client", "Contract", "Decoder", "ExecutionFilter", "Order", "contract_of")
