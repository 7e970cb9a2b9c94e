"""Signatures under words of ours (Ed25519, RFC 8032): of heart-beats, snapshots and commands."""

import hashlib
import json
from collections.abc import Sequence
from typing import Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

KEY_DIGITS: Final = 16


def key_id(key: Ed25519PublicKey) -> str:
    """Return what a key is known by: the first digits of the SHA-256 of its 32 bytes."""
    return hashlib.sha256(key.public_bytes_raw()).hexdigest()[:KEY_DIGITS]


def signature(key: Ed25519PrivateKey, purpose: str, fields: Sequence[object]) -> str:
    """Sign fields for one purpose, so that what is signed for one is of no use for another; return hexadecimal."""
    return key.sign(words(purpose, fields)).hex()


def is_signature(key: Ed25519PublicKey, text: str, purpose: str, fields: Sequence[object]) -> bool:
    """Tell whether a text is the signature of these fields for this purpose by whoever holds the private key."""
    try:
        key.verify(bytes.fromhex(text), words(purpose, fields))
    except (InvalidSignature, ValueError):
        return False
    return True


def words(purpose: str, fields: Sequence[object]) -> bytes:
    """Return the bytes that are signed: every field, each with its bounds."""
    return json.dumps([purpose, *fields], ensure_ascii=True, separators=(",", ":")).encode()
