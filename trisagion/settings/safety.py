"""The section of what stops the platform beside the database, and of who may let it go on."""

from typing import Annotated, Final

from pydantic import Field, field_validator

from trisagion.settings.fields import Text
from trisagion.settings.section import Section

KILL_FILE: Final = "KILL"
"""The name of the file in the state directory that stops the platform by being there."""

OPERATOR: Final = r"^[A-Za-z0-9_-]{1,32}$"
"""An operator's name; TOML takes it for a key as it is."""


class Operator(Section):
    """One person who may release what was stopped, by the key that `trisagion operator keygen` printed."""

    public_key: Annotated[Text, Field(pattern=r"^[0-9a-f]{64}$")]


class Safety(Section):
    """What stops the platform by [being there](operations.md#a-file-a-signal).

    `kill_file` is a path; empty: `KILL` in the state directory for the processes of `trisagion run`, none for others. A
    [release](operations.md#release) takes `release_people`; 0: two, but one where the venue is on this machine. Where
    there are `operators`, it takes their signatures.
    """

    kill_file: Text = ""
    # 0: two, but one where the venue is bundled or on this machine.
    release_people: Annotated[int, Field(strict=True, ge=0, le=2)] = 0
    operators: Annotated[
        dict[Annotated[str, Field(pattern=OPERATOR)], Operator],
        Field(description="a table `[safety.operators.NAME]` for each person, with `public_key`"),
    ] = Field(default_factory=dict)

    @field_validator("operators")
    @classmethod
    def _a_key_each(cls, operators: dict[str, Operator]) -> dict[str, Operator]:
        if len({each.public_key for each in operators.values()}) < len(operators):
            raise ValueError("expected a key for each person, found one that two have")
        return operators
