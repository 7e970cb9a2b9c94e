"""The section of what stops the platform beside the database, and of who may let it go on."""

from typing import Final

from trisagion.settings.fields import Text
from trisagion.settings.section import Section

KILL_FILE: Final = "KILL"
"""The name of the file in the state directory that stops the platform by being there."""


class Safety(Section):
    """What stops the platform by [being there](operations.md#a-file-a-signal).

    `kill_file` is a path; empty: `KILL` in the state directory for the processes of `trisagion run`, none for others.
    """

    kill_file: Text = ""
