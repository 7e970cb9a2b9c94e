"""The instruments of the bundled data sets. Each number is an assumption with its reason, not a quote of terms."""

from decimal import Decimal
from typing import Final

from trisagion.market.types import Instrument

ES: Final = Instrument(
    symbol="ES",
    venue="SIM",
    currency="USD",
    tick_size=Decimal("0.25"),  # CME contract: a quarter of an index point
    lot_size=Decimal(1),  # whole contracts
    multiplier=Decimal(50),  # CME contract: 50 USD per index point
    leverage_max=Decimal(20),  # about CME's initial margin of 2013: some 4,000 USD on a notional of 82,000
    fee_rate=Decimal("0.000025"),  # about 2 USD a side on that notional: exchange, clearing and a cheap broker
)
"""E-mini S&P 500 future, September 2013."""

AAPL: Final = Instrument(
    symbol="AAPL",
    venue="SIM",
    currency="USD",
    tick_size=Decimal("0.01"),  # SEC Rule 612: one cent from a price of 1 USD up
    lot_size=Decimal(1),  # single shares
    multiplier=Decimal(1),
    leverage_max=Decimal(20),  # as ES, so that both demos search one space; a cash account under Regulation T has 2
    fee_rate=Decimal("0.00002"),  # about 0.6 cents a share at 320 USD: a per-share tariff of half a cent and clearing
)
"""Apple Inc. common stock, 2026."""

BUNDLED: Final = {"es": ES, "aapl": AAPL}
"""By the names of the data sets."""
