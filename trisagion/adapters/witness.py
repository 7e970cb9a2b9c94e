"""Who this process is to the audit chain: machine, user and program, and the code that it runs."""

import os
import pwd
import socket
import sys
from pathlib import Path
from typing import Final

from trisagion import __version__
from trisagion.adapters.build import build_hash
from trisagion.safety.audit import Witness

SHOWN: Final = 12
"""Signs of the build's hash in a note."""


def person() -> str:
    """Return the user of this machine who runs this process, as the kernel says and no variable can."""
    number = os.getuid()
    try:
        return pwd.getpwuid(number).pw_name
    except KeyError:
        return f"uid {number}"


def this_process(config: str) -> Witness:
    """Return who makes notes here, under the settings of a digest."""
    program = Path(sys.argv[0]).name or "python"
    actor = f"{person()}:{program}:{os.getpid()}"[:128]
    return Witness(socket.gethostname()[:64], actor, f"{__version__}+{build_hash()[:SHOWN]}", config)
