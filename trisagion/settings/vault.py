"""The vault: secrets in a file, sealed by AES-256-GCM, each under a key of its own that the vault's key wraps.

An entry's own key seals the secret once; the vault's key (256 random bits in a file of mode 0400, or scrypt of a
passphrase) wraps only that key. So a rotation re-wraps and never touches a secret, one entry at a time, and while it
goes on, or after it was killed, every entry names the key that opens it. Nonces are 96 random bits for each sealing
(NIST SP 800-38D, 8.2.2: at most 2^32 under one key). Authenticated beside the sealed are name, version, environment
and venues of the entry, and, where a key is wrapped, the wrapping key's name: an entry that is moved or relabelled does
not open.

Where it lies: `TRISAGION_VAULT`, else `trisagion.vault`; its keys in a directory of that name with `.keys` after it, or
`TRISAGION_VAULT_KEYS`; a passphrase is read from the reference in `TRISAGION_VAULT_PASSPHRASE`.
"""

import base64
import fcntl
import hashlib
import json
import os
import re
import secrets
import stat
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Final, Literal

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from trisagion.errors import ConfigError, StateError, quoted

VARIABLE: Final = "TRISAGION_VAULT"
KEYS_VARIABLE: Final = "TRISAGION_VAULT_KEYS"
PASSPHRASE_VARIABLE: Final = "TRISAGION_VAULT_PASSPHRASE"  # noqa: S105 - the name of a variable
DEFAULT: Final = "trisagion.vault"
ENVIRONMENTS: Final = ("paper", "live")

KEY_BYTES: Final = 32
NONCE_BYTES: Final = 12
SCRYPT: Final = {"n": 2**15, "r": 8, "p": 1, "maxmem": 2**26, "dklen": KEY_BYTES}
"""32 MiB and a tenth of a second a guess (RFC 7914; OWASP's floor is n = 2^17 for log-ons, which come one by one)."""

DAY_NS: Final = 86_400 * 10**9
DAYS_MAX: Final = 30
"""A key, and a secret, that is older than this is to be replaced."""

SECRET_BYTES_MAX: Final = 65_536
FORMAT: Final = 1
_KEY_NAME: Final = re.compile("[0-9a-f]{16}")
"""It is the name of a file, too."""


@dataclass(frozen=True, slots=True)
class Key:
    """A key of the vault by its name; with a `salt` it is made of the passphrase, else it is a file."""

    name: str
    made_ns: int
    salt: str


@dataclass(frozen=True, slots=True)
class Entry:
    """A sealed secret and what it is for. `wrapped` and `sealed` are nonce and ciphertext in base64."""

    name: str
    version: int
    environment: str
    venues: tuple[str, ...]
    made_ns: int
    key: str
    wrapped: str
    sealed: str


@dataclass(frozen=True, slots=True)
class Content:
    """All that the file holds: keys, the last one is in use, and entries by name."""

    keys: tuple[Key, ...]
    entries: Mapping[str, Entry]


class Vault:
    """One vault file with its keys. Every change is one file put in place of another, under a lock."""

    def __init__(self, path: Path, keys: Path, passphrase: Callable[[], str]) -> None:
        self.path = path
        self._keys = keys
        self._passphrase = passphrase

    @classmethod
    def of(cls, environ: Mapping[str, str]) -> "Vault":
        """Return the vault that the environment names; `ConfigError` where it names none."""
        from trisagion.settings.layers import resolve  # noqa: PLC0415 - it asks us for `vault:` in turn

        path = Path(environ.get(VARIABLE) or DEFAULT)
        keys = Path(environ.get(KEYS_VARIABLE) or f"{path}.keys")
        for each in (path, keys):
            if not each.name:
                raise ConfigError(f"vault: expected the name of a file, found {quoted(str(each))}")

        def passphrase() -> str:
            reference = environ.get(PASSPHRASE_VARIABLE, "")
            if not reference.startswith(("env:", "file:")):
                raise ConfigError(f'{PASSPHRASE_VARIABLE}: expected "env:NAME" or "file:PATH" of the passphrase')
            return resolve(reference, environ)

        return cls(path, keys, passphrase)

    def create(self, *, by_passphrase: bool, now_ns: int) -> None:
        """Make an empty vault with its first key; one that is there already is left alone."""
        with self._locked():
            if self.path.exists():
                raise StateError(f"{self.path} is there already and was left as it is")
            self._write(Content((self._new_key(by_passphrase=by_passphrase, now_ns=now_ns),), {}))

    def content(self) -> Content:
        """Read the file; nothing is opened."""
        try:
            mode = stat.S_IMODE(self.path.stat().st_mode)
            found = json.loads(self.path.read_text(encoding="utf-8"))
            keys = tuple(Key(**key) for key in found["keys"])
            entries = [Entry(**{**entry, "venues": tuple(entry["venues"])}) for entry in found["entries"]]
            if found["format"] != FORMAT or not keys or not all(_KEY_NAME.fullmatch(key.name) for key in keys):
                raise ValueError(FORMAT)  # noqa: TRY301 - the same to whoever reads it
        except FileNotFoundError:
            raise ConfigError(f"{self.path}: expected a vault, found none; `trisagion vault init` makes one") from None
        except OSError as error:
            raise ConfigError(f"{self.path}: expected a readable vault, found: {error.strerror}") from None
        except (ValueError, KeyError, TypeError, RecursionError):
            raise StateError(f"{self.path}: expected a vault, found something else") from None
        if mode & 0o077:
            raise ConfigError(
                f"{self.path}: expected a vault that its owner alone can read (0600), found mode {mode:04o}"
            )
        return Content(keys, {entry.name: entry for entry in entries})

    def entry(self, name: str) -> Entry:
        """Return an entry, sealed."""
        return self._named(self.content(), name)

    def _named(self, content: Content, name: str) -> Entry:
        if name not in content.entries:
            raise ConfigError(f"vault:{name}: expected an entry of {self.path}, found none of that name")
        return content.entries[name]

    def open(self, name: str) -> str:
        """Return a secret.

        Raises
        ------
        ConfigError
            There is no vault, no entry of that name, or no key that can be read.
        StateError
            The entry does not open: whether its key is another or the file was changed is not told apart.
        """
        content = self.content()
        try:
            return self._opened(content, self._named(content, name)).decode()
        except ConfigError:
            again = self.content()
            if again == content:
                raise
            # A rotation came to its end in between, and took the old key away.
            return self._opened(again, self._named(again, name)).decode()

    def put(
        self, name: str, secret: str, environment: Literal["paper", "live"], venues: tuple[str, ...], now_ns: int
    ) -> Entry:
        """Seal a secret, as the next version of an entry of that name."""
        data = secret.encode()
        if not data or len(data) > SECRET_BYTES_MAX:
            raise ConfigError(f"{name}: expected a secret of 1 to {SECRET_BYTES_MAX} bytes, found {len(data)}")
        with self._locked():
            content = self.content()
            before = content.entries.get(name)
            key = content.keys[-1]
            bare = Entry(name, before.version + 1 if before else 1, environment, venues, now_ns, key.name, "", "")
            own = secrets.token_bytes(KEY_BYTES)
            entry = replace(
                bare, wrapped=_seal(self._key(key), own, _wrap_aad(bare)), sealed=_seal(own, data, _secret_aad(bare))
            )
            self._write(Content(content.keys, {**content.entries, name: entry}))
        return entry

    def rotate(self, now_ns: int, *, anew: bool = False) -> int:
        """Wrap every entry under a new key; return how many were. A rotation that was killed is ended instead.

        Entries are re-wrapped one by one, and each is on the disk before the next: whoever reads opens either. With
        `anew` each secret is sealed again, too, under a new key of its own.
        """
        with self._locked():
            content = self.content()
            if all(entry.key == content.keys[-1].name for entry in content.entries.values()):
                new = self._new_key(by_passphrase=bool(content.keys[-1].salt), now_ns=now_ns)
                content = Content((*content.keys, new), content.entries)
                self._write(content)
            newest = content.keys[-1]
            count = 0
            for entry in content.entries.values():
                if entry.key != newest.name:
                    own, bare = self._own_key(content, entry), replace(entry, key=newest.name)
                    if anew:
                        secret, own = self._opened(content, entry), secrets.token_bytes(KEY_BYTES)
                        bare = replace(bare, sealed=_seal(own, secret, _secret_aad(bare)))
                    wrapped = replace(bare, wrapped=_seal(self._key(newest), own, _wrap_aad(bare)))
                    content = Content(content.keys, {**content.entries, entry.name: wrapped})
                    self._write(content)
                    count += 1
            for old in content.keys[:-1]:
                (self._keys / old.name).unlink(missing_ok=True)
            self._write(Content((newest,), content.entries))
        return count

    def problems(self, now_ns: int) -> list[str]:
        """Open every entry; return a sentence for each that does not open, and for whatever is too old."""
        content, found = self.content(), []
        for entry in content.entries.values():
            try:
                self._opened(content, entry)
            except (ConfigError, StateError) as error:
                found.append(str(error))
        named = {entry.key for entry in content.entries.values()}
        if named - {content.keys[-1].name}:
            found.append(f"{self.path}: a rotation was not ended; `trisagion vault rotate` goes on with it")
        return found + self.aged(now_ns, content)

    def aged(self, now_ns: int, content: Content | None = None) -> list[str]:
        """Return a sentence for each key and each secret that is too old; nothing is opened."""
        content = content or self.content()
        found = [
            f"{self.path}: key {key.name} is {days_old(key, now_ns)} days old, at most {DAYS_MAX}: rotate"
            for key in content.keys
            if days_old(key, now_ns) >= DAYS_MAX
        ]
        found += [
            f"vault:{entry.name}: version {entry.version} is {days_old(entry, now_ns)} days old, at most {DAYS_MAX}: "
            f"have its venue give another one, then trisagion vault put {entry.name}"
            for entry in content.entries.values()
            if days_old(entry, now_ns) >= DAYS_MAX
        ]
        return found

    def _opened(self, content: Content, entry: Entry) -> bytes:
        return self._unsealed(self._own_key(content, entry), entry.sealed, _secret_aad(entry), entry)

    def _own_key(self, content: Content, entry: Entry) -> bytes:
        key = next((key for key in content.keys if key.name == entry.key), None)
        if key is None:
            raise self._closed(entry)
        return self._unsealed(self._key(key), entry.wrapped, _wrap_aad(entry), entry)

    def _unsealed(self, key: bytes, text: str, aad: bytes, entry: Entry) -> bytes:
        try:
            data = base64.b64decode(text, validate=True)
            return AESGCM(key).decrypt(data[:NONCE_BYTES], data[NONCE_BYTES:], aad)
        except (InvalidTag, ValueError, TypeError):
            raise self._closed(entry) from None

    def _closed(self, entry: Entry) -> StateError:
        return StateError(f"vault:{entry.name}: does not open: {self.path} was changed, or its key is another")

    def _new_key(self, *, by_passphrase: bool, now_ns: int) -> Key:
        """Make a key; a file of it, and the file's name, are on the disk before anything names it."""
        name = secrets.token_hex(8)
        if by_passphrase:
            return Key(name, now_ns, base64.b64encode(secrets.token_bytes(16)).decode())
        try:
            self._keys.mkdir(mode=0o700, parents=True, exist_ok=True)
            handle = os.open(self._keys / name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o400)
            with os.fdopen(handle, "wb") as file:
                file.write(base64.b64encode(secrets.token_bytes(KEY_BYTES)))
                file.flush()
                os.fsync(file.fileno())
            _keep_names(self._keys)
        except OSError as error:
            raise StateError(f"{self._keys}: the key cannot be written ({error.strerror})") from None
        return Key(name, now_ns, "")

    def _key(self, key: Key) -> bytes:
        if key.salt:
            return hashlib.scrypt(self._passphrase().encode(), salt=base64.b64decode(key.salt), **SCRYPT)
        path = self._keys / key.name
        try:
            mode = stat.S_IMODE(path.stat().st_mode)
            data = base64.b64decode(path.read_bytes(), validate=True)
        except (OSError, ValueError) as error:
            told = error.strerror if isinstance(error, OSError) else "something else"
            raise ConfigError(f"{path}: expected a key of the vault, found: {told}") from None
        if mode & 0o077:
            raise ConfigError(f"{path}: expected a key that its owner alone can read (0400), found mode {mode:04o}")
        if len(data) != KEY_BYTES:
            raise ConfigError(f"{path}: expected a key of {KEY_BYTES} bytes, found {len(data)}")
        return data

    def _write(self, content: Content) -> None:
        tree = {
            "format": FORMAT,
            "keys": [asdict(key) for key in content.keys],
            "entries": [asdict(content.entries[name]) for name in sorted(content.entries)],
        }
        new = self.path.with_name(f"{self.path.name}.new")
        try:
            # One that was left there may be anybody's to read, or a link.
            new.unlink(missing_ok=True)
            with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
                json.dump(tree, file, indent=1)
                file.flush()
                os.fsync(file.fileno())
            new.replace(self.path)
            _keep_names(self.path.parent)
        except OSError as error:
            raise StateError(f"{self.path}: cannot be written ({error.strerror})") from None

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """Hold the vault against other writers; readers see the file before or after."""
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            handle = os.open(self.path.with_name(f"{self.path.name}.lock"), os.O_RDWR | os.O_CREAT, 0o600)
        except OSError as error:
            raise StateError(f"{self.path}: cannot be written ({error.strerror})") from None
        try:
            fcntl.flock(handle, fcntl.LOCK_EX)
            yield
        finally:
            os.close(handle)


def _keep_names(directory: Path) -> None:
    """Return when the names in a directory are on the disk: no old key may be gone while the file still names it."""
    handle = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def days_old(made: Key | Entry, now_ns: int) -> int:
    """Return how many full days old a key or a secret is."""
    return (now_ns - made.made_ns) // DAY_NS


def refuse_unfit(references: Mapping[str, str], environment: str, venue: str, environ: Mapping[str, str]) -> None:
    """Refuse vault entries that are not for this platform: of another environment, or of another venue.

    `references` are settings and what they refer to. The password of a venue's session must name that venue; what any
    other setting refers to must not be bound to a venue that this platform has nothing to do with.
    """
    problems = []
    for setting, reference in references.items():
        if not reference.startswith("vault:"):
            continue
        entry = Vault.of(environ).entry(reference.removeprefix("vault:"))
        if entry.environment != environment:
            problems.append(f"{setting}: expected an entry for {environment}, found {reference}: {entry.environment}")
        if venue not in entry.venues and (entry.venues or setting == "fix.password"):
            told = ", ".join(entry.venues) or "none"
            problems.append(f"{setting}: expected an entry for the venue {quoted(venue)}, found {reference}: {told}")
    if problems:
        raise ConfigError("\n".join(problems))


def _seal(key: bytes, data: bytes, aad: bytes) -> str:
    nonce = secrets.token_bytes(NONCE_BYTES)
    return base64.b64encode(nonce + AESGCM(key).encrypt(nonce, data, aad)).decode()


def _wrap_aad(entry: Entry) -> bytes:
    return _aad(entry, "key", entry.key)


def _secret_aad(entry: Entry) -> bytes:
    return _aad(entry, "secret", "")


def _aad(entry: Entry, what: str, key: str) -> bytes:
    facts: list[Any] = [what, key, entry.name, entry.version, entry.environment, entry.venues, entry.made_ns]
    return json.dumps(facts).encode()
