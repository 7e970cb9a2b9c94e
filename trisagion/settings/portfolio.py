"""The section of the clamps on sizes."""

from decimal import Decimal
from typing import Annotated

from pydantic import BeforeValidator, Field

from trisagion.settings import fields
from trisagion.settings.fields import Exact, Fraction
from trisagion.settings.section import Section

Multiple = Annotated[
    Annotated[Exact, Field(gt=0, le=100)] | None,
    BeforeValidator(fields.empty_is_none),
    Field(description="a number above 0, at most 100; empty: off"),
]
Part = Annotated[
    Fraction | None,
    BeforeValidator(fields.empty_is_none),
    Field(description="a number above 0, at most 1; empty: off"),
]


class Portfolio(Section):
    """The [clamps](risk.md#clamps) on what is wanted, as fractions and multiples of equity; what is empty is off.

    `volatility_max` is of a year, `crisis_share` a share of the wish that wants `regime.gate = "state"`,
    `correlation_max` a correlation. Statistics are of so many one-minute `returns`; volatility forgets half of them in
    `half_life_min`. A day has `day_min` minutes of trade: 390 for stocks that trade in the day session only.
    """

    kelly_max: Part = None
    volatility_max: Multiple = None
    crisis_share: Part = None
    concentration_max: Multiple = None
    correlation_max: Annotated[Exact, Field(ge=0, lt=1)] = Decimal("0.7")
    heat_max: Multiple = Decimal("0.25")
    leverage_max: Multiple = Decimal(3)
    var_max: Part = None
    es_max: Part = None
    returns: Annotated[int, Field(strict=True, ge=250, le=5_000)] = 500
    half_life_min: Annotated[int, Field(strict=True, ge=1, le=5_000)] = 60
    day_min: Annotated[int, Field(strict=True, ge=1, le=1_440)] = 1_380
