"""What happened lately, read for the verdicts of one transaction: once, and only where an order is to be approved."""

from collections.abc import Sequence
from decimal import Decimal

from trisagion.clock import MINUTE_NS, floor_ns
from trisagion.ids import ClOrdId
from trisagion.orders.types import Intent, Order
from trisagion.ports import Transaction
from trisagion.risk.history import ALIKE_NS, BARS, RATIO_NS, History, references


class Lately:
    """Reads what the verdicts of a transaction look back at from `now_ns`, on intents of `since_ns` and later."""

    def __init__(self, tx: Transaction, symbols: Sequence[str], since_ns: int, now_ns: int) -> None:
        self._tx = tx
        self._now_ns = now_ns
        self._made = tx.lately.made(symbols, since_ns - ALIKE_NS)
        self._messages, self._trades = tx.lately.counted(floor_ns(now_ns, MINUTE_NS) - RATIO_NS + MINUTE_NS)
        self._known: dict[str, tuple[Decimal | None, Decimal | None]] = {}
        self._denied: set[ClOrdId] = set()

    def of(self, intent: Intent, order: Order | None = None) -> History:
        """Return what an intent is judged beside.

        What was made already is held against what was made before it: two that are alike do not keep each other back.
        """
        upto = (self._now_ns, "~") if order is None else (order.created_ns, order.cl_ord_id)
        alike = [
            other.price
            for other in self._made
            if (other.symbol, other.side, other.qty) == (intent.symbol, intent.side, intent.qty)
            and other.intent != intent.key
            and upto[0] - ALIKE_NS <= other.created_ns
            and (other.created_ns, other.cl_ord_id) < upto
            and other.cl_ord_id not in self._denied
        ]
        vwap, atr = self._references(intent.symbol)
        return History(alike, self._messages, self._trades, vwap, atr)

    def deny(self, name: ClOrdId) -> None:
        """Take an order for denied from now on."""
        self._denied.add(name)

    def _references(self, symbol: str) -> tuple[Decimal | None, Decimal | None]:
        if symbol not in self._known:
            bars = self._tx.market.bars(symbol, self._now_ns, BARS)
            self._known[symbol] = references(bars, self._now_ns)
        return self._known[symbol]
