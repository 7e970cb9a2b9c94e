"""The section of panic conditions."""

from decimal import Decimal
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field

from trisagion.settings import fields
from trisagion.settings.fields import Exact, Number, Seconds
from trisagion.settings.section import Section

Multiple = Annotated[Exact, Field(ge=1, le=1_000_000)]


class Panic(Section):
    """[Panic conditions](risk.md#panic-conditions), each of which pauses what it is about until people release it.

    Only those in `conditions` are looked for. Slippage is a multiple of half the spread, the spread one of its median
    over `spread_min` minutes. `errors_max` errors come in `errors_s`; `loss_alpha` is the probability below which the
    losses among `loss_marks` marks are no chance.
    """

    conditions: Annotated[
        tuple[Literal["slippage", "quote_age", "spread", "errors", "losses"], ...],
        BeforeValidator(fields.one_is_a_list),
        Field(max_length=5, description="a list of them, or none"),
    ] = ("slippage", "quote_age", "spread", "errors", "losses")
    slippage_max: Multiple = Decimal(3)
    quote_age_ms: Annotated[int, Field(strict=True, ge=1, le=86_400_000)] = 500
    spread_max: Multiple = Decimal(3)
    spread_min: Annotated[int, Field(strict=True, ge=1, le=1440)] = 30
    errors_max: Annotated[int, Field(strict=True, ge=1, le=256)] = 10
    errors_s: Seconds = 60
    loss_marks: Annotated[int, Field(strict=True, ge=5, le=512)] = 30
    loss_alpha: Annotated[Number, Field(gt=0, lt=1)] = 1e-6
