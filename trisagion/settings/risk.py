"""The section of the account's limits."""

from decimal import Decimal
from typing import Annotated

from pydantic import BeforeValidator, Field, ValidationInfo, field_validator

from trisagion.settings import fields
from trisagion.settings.fields import Amount, Exact, Text
from trisagion.settings.section import Section
from trisagion.units import plain


class Risk(Section):
    """The ceilings of the account's limits, in its currency; see [risk](risk.md).

    `order_qty_max` is in units of an instrument, `gross_leverage_max` a multiple of equity, `price_collar` a fraction.
    `collar_atr_max` is in average true ranges of a minute, `short_qty_max` in units that may be short,
    `alike_orders_max` in orders within 5 s, `order_trade_ratio_max` in messages for each trade. A position
    in what is `restricted` may only be reduced. `same_side_fills_max` orders of one side filled in 60 s pause the
    symbol, `rejects_max` refusals in a row within 60 s shut the gate.
    A loss beyond `drawdown_soft` of the peak reduces, beyond `drawdown_hard` flattens; `daily_loss` pauses.
    """

    position_notional_max: Amount = Decimal(20_000_000)
    order_notional_max: Amount = Decimal(5_000_000)
    orders_max: Annotated[int, Field(strict=True, ge=1, le=10_000)] = 50
    quote_age_ms: Annotated[int, Field(strict=True, ge=1, le=86_400_000)] = 250
    order_qty_max: Amount = Decimal(1_000_000)
    open_notional_max: Amount = Decimal(25_000_000)
    gross_leverage_max: Annotated[Exact, Field(gt=0, le=100)] = Decimal(3)
    price_collar: Annotated[Exact, Field(gt=0, lt=1)] = Decimal("0.05")
    collar_atr_max: Annotated[Exact, Field(gt=0, le=1000)] = Decimal(6)
    short_qty_max: Annotated[Exact, Field(ge=0, le=10**15)] = Decimal(1_000_000)
    alike_orders_max: Annotated[int, Field(strict=True, ge=1, le=1_000_000)] = 1
    order_trade_ratio_max: Amount = Decimal(100)
    same_side_fills_max: Annotated[int, Field(strict=True, ge=1, le=1_000_000)] = 20
    rejects_max: Annotated[int, Field(strict=True, ge=1, le=1000)] = 5
    restricted: Annotated[
        tuple[Annotated[Text, Field(pattern=r"^[A-Z0-9./:_-]{1,32}$")], ...],
        BeforeValidator(fields.one_is_a_list),
        Field(max_length=1024, description="a list of symbols"),
    ] = ()
    drawdown_soft: Annotated[Exact, Field(gt=0, lt=1)] = Decimal("0.15")
    drawdown_hard: Annotated[Exact, Field(gt=0, lt=1)] = Decimal("0.20")
    daily_loss: Annotated[Exact, Field(gt=0, lt=1)] = Decimal("0.01")
    reprices_max: Annotated[int, Field(strict=True, ge=0, le=100)] = 5

    @field_validator("drawdown_hard")
    @classmethod
    def _beyond_the_soft_one(cls, hard: Decimal, info: ValidationInfo) -> Decimal:
        soft = info.data.get("drawdown_soft")
        if soft is not None and hard <= soft:
            raise ValueError(f"expected above drawdown_soft ({plain(soft)}), found {plain(hard)}")
        return hard

    @field_validator("order_notional_max")
    @classmethod
    def _within_the_position(cls, order: Decimal, info: ValidationInfo) -> Decimal:
        position = info.data.get("position_notional_max")
        if position is not None and order > position:
            raise ValueError(f"expected at most position_notional_max ({plain(position)}), found {plain(order)}")
        return order
