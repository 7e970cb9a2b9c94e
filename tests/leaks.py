"""A secret to be planted, and the search for it in everything that was written."""

import base64
from pathlib import Path
from typing import Final
from urllib.parse import quote

CANARY: Final = "c4nary/p+ss w%rd"
"""Its encodings all differ from it."""


def encodings(secret: str) -> list[bytes]:
    """Return every form in which a secret could be found; base64 at each of its three offsets."""
    plain = secret.encode()
    b64 = [base64.b64encode(b"x" * shift + plain)[4:-4] for shift in range(3)]
    return [plain, quote(secret, safe="").encode(), plain.hex().encode(), plain.hex().upper().encode(), *b64]


def leaks(folder: Path, secret: str) -> list[str]:
    """Return the files below a folder in which a secret stands in any form; a database's are among them."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    assert files, folder
    return [str(path) for path in files if any(form in path.read_bytes() for form in encodings(secret))]
