"""The file of survivors on the disk: `cohort.survivors` says what is in it."""

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from trisagion.cohort.survivors import Exported, Origin, Survivor, read, write
from trisagion.errors import DataError, StateError
from trisagion.market.types import Instrument

BYTES_MAX: Final = 256 << 20
"""Ten times what the largest export of 25,000 runs takes; more is not a file of survivors."""


def load_survivors(path: Path, instruments: Sequence[Instrument]) -> tuple[Survivor, ...]:
    """Return the survivors of a file, to live on these instruments; `DataError` when any of it cannot be used.

    On several a run may land on any of them, and is given its leverage then; on one it must have come from its like.
    """
    try:
        with path.open("rb") as file:
            data = file.read(BYTES_MAX + 1)
        if len(data) > BYTES_MAX:
            raise DataError(f"{path}: expected at most {BYTES_MAX} bytes, found more")
        text = data.decode("utf-8")
    except OSError as error:
        raise DataError(f"{path}: expected a readable file of survivors, found: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: expected text in UTF-8, found: {error}") from None
    leverage = float(instruments[0].leverage_max) if len(instruments) == 1 else None
    return read(text, str(path), hashlib.sha256(data).hexdigest(), leverage)


def save_survivors(path: Path, origin: Origin, runs: Sequence[Exported]) -> None:
    """Write survivors to a new file; `StateError` when there is one already or it cannot be written."""
    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(write(origin, runs))
    except FileExistsError:
        raise StateError(f"{path}: there is a file already, and it was left as it is; name another") from None
    except OSError as error:
        raise StateError(f"{path}: the survivors cannot be written ({error.strerror}); name another file") from None
