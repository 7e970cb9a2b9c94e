"""The section of the observers that are processes of their own."""

from typing import Annotated, Final, Literal

from pydantic import AfterValidator, Field, field_validator

from trisagion.settings import fields
from trisagion.settings.fields import Seconds, Text
from trisagion.settings.section import Section

OBSERVERS_MAX: Final = 16


class Source(Section):
    """Where one observer looks, how often, and by which key it signs.

    The platform needs its `public_key` only, the observer `private_key` as well.
    """

    public_key: Annotated[Text, Field(pattern=r"^[0-9a-f]{64}$")]
    private_key: Annotated[Text, AfterValidator(fields.secret)] = ""
    kind: Literal["statement", "ib"] = "statement"
    # A statement's file, or its http or https URL; whose account it must be of, if that is to be looked at.
    at: Annotated[Text, Field(max_length=2000)] = ""
    account: Annotated[Text, Field(max_length=64)] = ""
    token: Annotated[Text, AfterValidator(fields.secret)] = ""
    # At Interactive Brokers a client of its own, beside the session's and that of `trisagion ib`.
    client_id: Annotated[int, Field(strict=True, ge=1, le=2**31 - 1)] = 902
    period_s: Seconds = 60


class Observe(Section):
    """The [observers](reconciliation.md) that `trisagion observer` is, each by its name in `reconcile.observers`."""

    sources: Annotated[
        dict[Annotated[str, Field(pattern=r"^[A-Za-z0-9._-]{1,32}$")], Source],
        Field(
            description="a table `[observe.sources.NAME]` for each observer, with "
            + ", ".join(f"`{name}`" for name in Source.model_fields),
            max_length=OBSERVERS_MAX,
        ),
    ] = Field(default_factory=dict)

    @field_validator("sources")
    @classmethod
    def _others_are_ours(cls, sources: dict[str, Source]) -> dict[str, Source]:
        taken = sorted(sources.keys() & {"venue", "drop_copy"})
        if taken:
            raise ValueError(f"expected another name than {taken[0]}, which the platform's own sessions have")
        return sources
