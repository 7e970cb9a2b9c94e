"""Who this process is to the audit chain: machine, user and program, and the code that it runs."""

import getpass
import hashlib
import os
import socket
import sys
from functools import cache
from pathlib import Path
from typing import Final

from trisagion import __version__
from trisagion.safety.audit import Witness

ROOT: Final = Path(__file__).resolve().parents[2]
CODE: Final = ("trisagion", "workers", "ext", "init")
SUFFIXES: Final = frozenset({".py", ".so", ".sql"})
"""What runs; a kernel that was compiled anew is another build."""

SHOWN: Final = 12


@cache
def build() -> str:
    """Return the version with a digest of the code as it lies on the disk: what was edited in place tells itself."""
    digest = hashlib.sha256()
    for folder in CODE:
        for path in sorted((ROOT / folder).rglob("*")):
            if path.suffix in SUFFIXES:
                digest.update(f"{path.relative_to(ROOT)}\n".encode() + hashlib.sha256(path.read_bytes()).digest())
    return f"{__version__}+{digest.hexdigest()[:SHOWN]}"


def this_process(config: str) -> Witness:
    """Return who makes notes here, under the settings of a digest."""
    program = Path(sys.argv[0]).name or "python"
    return Witness(socket.gethostname()[:64], f"{getpass.getuser()}:{program}:{os.getpid()}"[:128], build(), config)
