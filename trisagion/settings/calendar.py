"""The section of exchanges' calendars."""

from typing import Annotated

from pydantic import Field

from trisagion.settings.section import Section


class Calendar(Section):
    """Closures of exchanges add [rest](orders.md#rest) for their instruments: holidays, nights, half-days, breaks.

    They can take none away. They are read from the library `exchange_calendars` when a run is founded.
    """

    exchanges: Annotated[
        dict[
            Annotated[str, Field(pattern=r"^[A-Z0-9._-]{1,32}$")],
            Annotated[str, Field(pattern=r"^[A-Za-z0-9_./-]{1,32}$")],
        ],
        Field(description='the exchange of each symbol that has one, as `{ ES = "CMES", AAPL = "XNYS" }`'),
    ] = Field(default_factory=dict)
