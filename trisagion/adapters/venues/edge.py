"""The edge where exceptions end: a venue's message that could not be processed ends the process, and is not lost."""

import os
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

EXIT_UNPROCESSED: Final = 70
"""sysexits.h EX_SOFTWARE: a message could not be processed; once we are started again, the peer sends it again."""


@contextmanager
def edge() -> Iterator[None]:
    """Run what the engine calls: an exception ends the process before the engine can take the message for processed."""
    try:
        yield
    except BaseException:  # noqa: BLE001 - the outermost edge of a session
        try:
            traceback.print_exc()
            sys.stderr.flush()
        finally:  # a full disk may take no traceback
            os._exit(EXIT_UNPROCESSED)
