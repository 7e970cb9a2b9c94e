"""The section of what stops the platform beside the database, and of who may let it go on."""

from typing import Annotated, Final

from pydantic import Field

from trisagion.settings.fields import Text
from trisagion.settings.section import Section

KILL_FILE: Final = "KILL"
"""The name of the file in the state directory that stops the platform by being there."""


class Safety(Section):
    """What stops the platform by [being there](operations.md#a-file-a-signal).

    `kill_file` is a path; empty: `KILL` in the state directory for the processes of `trisagion run`, none for others. A
    [release](operations.md#release) takes `release_people`; 0: two, but one where the venue is on this machine.
    """

    kill_file: Text = ""
    # 0: two, but one where the venue is bundled or on this machine.
    release_people: Annotated[int, Field(strict=True, ge=0, le=2)] = 0
