"""The section of protective exits."""

from decimal import Decimal
from typing import Annotated, Final, Literal

from pydantic import BeforeValidator, Field, ValidationInfo, field_validator

from trisagion.settings import fields
from trisagion.settings.fields import Exact, Fraction
from trisagion.settings.section import Section

LEVELS_MAX: Final = 16

Distance = Annotated[Exact, Field(ge=0, le=1000)]


class Exits(Section):
    """[Protective exits](exits.md) of the positions of `strategies`: the cohort's, or none. Zero switches one off.

    Distances are average true ranges, over `atr_bars` bars of `bar_min` minutes. The time stop comes after so long
    without profit.
    """

    strategies: Annotated[
        tuple[Literal["cohort"], ...],
        BeforeValidator(fields.one_is_a_list),
        Field(max_length=1, description="`cohort`, or none"),
    ] = ()
    trail_atr: Distance = Decimal(3)
    break_even_atr: Distance = Decimal(1)
    # At each of them so large a share of the largest position goes.
    scale_out_share: Fraction = Decimal("0.25")
    scale_out_atr: Annotated[
        tuple[Distance, ...],
        BeforeValidator(fields.one_is_a_list),
        Field(max_length=LEVELS_MAX, description="a list of distances from the entry that rise; none: no scale-out"),
    ] = (Decimal(1), Decimal(2), Decimal(3))
    time_stop_s: Annotated[int, Field(strict=True, ge=0, le=5_000_000)] = 7_200
    atr_bars: Annotated[int, Field(strict=True, ge=2, le=500)] = 14
    bar_min: Annotated[int, Field(strict=True, ge=1, le=60)] = 5

    @field_validator("scale_out_atr")
    @classmethod
    def _levels_rise(cls, levels: tuple[Decimal, ...], info: ValidationInfo) -> tuple[Decimal, ...]:
        if any(low >= high for low, high in zip((Decimal(0), *levels), levels, strict=False)):
            raise ValueError(f"expected levels that rise from above 0, found {', '.join(map(str, levels))}")
        share = info.data.get("scale_out_share", Decimal(0))
        if share * len(levels) > 1:
            raise ValueError(f"expected shares that sum to 1 at most, found {len(levels)} of {share}")
        return levels
