"""Anchors of the audit chain: a file for each run, one signed JSON line for each hash, only ever appended to.

A line is canonical JSON (RFC 8785) and is signed by Ed25519 (RFC 8032) over its text without the signature. It names
its own number in the file, so that none can be left out of the middle. Who can write to the database should not be able
to write here: `audit.anchors` is best a directory of another machine, and the key in nobody's reach but the anchorer's.
"""

import base64
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from trisagion.errors import ConfigError, DataError, StateError
from trisagion.safety.audit import Anchor, canonical
from trisagion.safety.signatures import key_id

KEY: Final = "audit.key"
"""The key of one's own in a state directory, made where none is configured."""

_MEMBERS: Final = {"at_ns", "hash", "key", "number", "seq", "shard", "signature"}


class AnchorFile:
    """`audit_ports.Anchors`. Without the private key it can be read, not appended to."""

    def __init__(self, path: Path, publics: Sequence[Ed25519PublicKey], private: Ed25519PrivateKey | None) -> None:
        self.path = path
        self._private = private
        self._publics = {key_id(public): public for public in publics}

    def kept(self) -> Sequence[Anchor]:
        """Return all anchors in order; none where there is no file yet.

        Raises
        ------
        StateError
            A line is not as it was signed, is missing, or is signed by a key that was not given.
        """
        try:
            # A line without its end was being written when the disk was full, or the power went.
            lines = self.path.read_text(encoding="utf-8").split("\n")[:-1]
        except FileNotFoundError:
            return []
        except (OSError, UnicodeDecodeError) as error:
            raise StateError(f"{self.path}: expected a readable file of anchors, found: {error}") from None
        return [self._read(number, line) for number, line in enumerate(lines, 1)]

    def _read(self, number: int, line: str) -> Anchor:
        where = f"{self.path}, line {number}"
        try:
            found = {name: value for name, value in json.loads(line).items() if name in _MEMBERS}
            signature = base64.b64decode(found.pop("signature"), validate=True)
            text = canonical(found).encode()
        except (ValueError, KeyError, AttributeError, TypeError, DataError, RecursionError):
            raise StateError(f"{where}: expected a signed anchor, found something else") from None
        public = self._publics.get(str(found.get("key")))
        if public is None:
            raise StateError(f"{where}: signed by another key than {', '.join(self._publics)}; give its public key too")
        try:
            public.verify(signature, text)
        except InvalidSignature:
            raise StateError(f"{where}: the anchor is not as it was signed") from None
        if found["number"] != number:
            raise StateError(
                f"{where}: expected anchor {number}, found {found['number']}: lines were taken out or moved"
            )
        return Anchor(found["shard"], found["seq"], found["hash"])

    def keep(self, anchors: Sequence[Anchor], at_ns: int) -> None:
        """Sign and append, and return when it is on the disk."""
        assert self._private is not None, "an anchor needs the private key"
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with self.path.open("a+b") as file:
                file.seek(0)
                kept = file.read()
                file.truncate(kept.rfind(b"\n") + 1)
                number = kept.count(b"\n")
                for anchor in anchors:
                    number += 1
                    file.write(self._line(self._private, anchor, number, at_ns))
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise StateError(f"{self.path}: cannot be appended to ({error.strerror})") from None

    @staticmethod
    def _line(private: Ed25519PrivateKey, anchor: Anchor, number: int, at_ns: int) -> bytes:
        members: dict[str, object] = {
            "at_ns": str(at_ns),
            "hash": anchor.hash,
            "key": key_id(private.public_key()),
            "number": number,
            "seq": anchor.seq,
            "shard": anchor.shard,
        }
        signature = base64.b64encode(private.sign(canonical(members).encode())).decode()
        return f"{canonical({**members, 'signature': signature})}\n".encode()


def private_key(text: str) -> Ed25519PrivateKey:
    """Read a private key as `openssl genpkey -algorithm ed25519` writes it; the error repeats nothing of it."""
    try:
        key = serialization.load_pem_private_key(text.encode(), None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        key = None
    if not isinstance(key, Ed25519PrivateKey):
        raise ConfigError(
            "audit.key: expected an Ed25519 private key in PEM, without a passphrase, found something else"
        )
    return key


def public_key(path: Path) -> Ed25519PublicKey:
    """Read a public key as `openssl pkey -pubout` writes it."""
    try:
        key = serialization.load_pem_public_key(path.read_bytes())
    except OSError as error:
        raise ConfigError(f"{path}: expected a public key in PEM, found: {error.strerror}") from None
    except (ValueError, UnsupportedAlgorithm):
        key = None
    if not isinstance(key, Ed25519PublicKey):
        raise ConfigError(f"{path}: expected an Ed25519 public key in PEM, found something else")
    return key


def own_key(state: Path) -> str:
    """Return the key of a state directory, made at the first call: readable by its owner alone."""
    path = state / KEY
    pem = Ed25519PrivateKey.generate().private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    try:
        state.mkdir(parents=True, exist_ok=True)
        try:
            handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        except FileExistsError:
            return path.read_text(encoding="ascii")
        with os.fdopen(handle, "wb") as file:
            file.write(pem)
    except (OSError, UnicodeDecodeError) as error:
        raise StateError(f"{path}: expected a readable key, found: {error}") from None
    return pem.decode()


def anchors_of(state: Path, run: str, given: Mapping[str, str]) -> AnchorFile:
    """Return the anchors of a run.

    `given` are the settings `anchors` (empty: the state directory's) and `key`, its text (empty: a key of its own).
    """
    private = private_key(given["key"] or own_key(state))
    folder = Path(given["anchors"]) if given["anchors"] else state / "anchors"
    return AnchorFile(folder / f"{run}.jsonl", [private.public_key()], private)
