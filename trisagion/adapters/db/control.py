"""The tables of control, gates, events, leases, replay, processes and fingerprints.

Leases live by the database's clock, not by a process'.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Final

import sqlalchemy as sa

from trisagion.adapters.db import control_tables as stops
from trisagion.adapters.db import tables as t
from trisagion.adapters.db.releases import taken
from trisagion.adapters.db.session import Session, insert_once, params, upsert
from trisagion.adapters.db.words import Words, read_control, read_part
from trisagion.ports import ProcessBeat, Replay
from trisagion.safety.commands import Signers
from trisagion.safety.gates import Gate, opened
from trisagion.safety.modes import Control, Level, Mode, Standing

_REPLAY_ID: Final = 1

_NOW_MS: Final = {
    True: sa.literal_column("CAST((julianday('now') - 2440587.5) * 86400000 AS INTEGER)", sa.BigInteger()),
    False: sa.literal_column("CAST(UNIX_TIMESTAMP(UTC_TIMESTAMP(6)) * 1000 AS SIGNED)", sa.BigInteger()),
}
"""Milliseconds since 1970 by the database's clock, by "is this SQLite"; sessions on MySQL have the time zone +00:00."""

_WALL_US: Final = {
    True: sa.select(_NOW_MS[True] * 1000),
    False: sa.select(sa.literal_column("CAST(UNIX_TIMESTAMP(UTC_TIMESTAMP(6)) * 1000000 AS SIGNED)", sa.BigInteger())),
}

_CONTROL: Final = (
    sa.select(t.control.c.mode, t.control.c.operator, t.control.c.reason, t.control.c.set_ns)
    .order_by(t.control.c.seq.desc())
    .limit(1)
)
_SET_MODE: Final = sa.insert(t.control)
_NEWEST: Final = sa.select(sa.func.max(stops.control_level.c.seq)).group_by(
    stops.control_level.c.level, stops.control_level.c.name
)
_LEVELS: Final = (
    sa.select(stops.control_level)
    .where(stops.control_level.c.seq.in_(_NEWEST), stops.control_level.c.mode != Mode.NORMAL)
    .order_by(stops.control_level.c.seq)
)
_SET_LEVEL: Final = sa.insert(stops.control_level)
_LAST: Final = sa.select(sa.func.coalesce(sa.func.max(t.control.c.seq), 0))
_LAST_LEVEL: Final = sa.select(sa.func.coalesce(sa.func.max(stops.control_level.c.seq), 0)).where(
    stops.control_level.c.level == sa.bindparam("level"), stops.control_level.c.name == sa.bindparam("name")
)
_AFTER: Final = sa.select(t.control.c.seq).where(t.control.c.seq > sa.bindparam("after")).with_for_update(read=True)
_LEVELS_AFTER: Final = (
    sa.select(stops.control_level.c.level, stops.control_level.c.name)
    .where(stops.control_level.c.seq > sa.bindparam("after"))
    .with_for_update(read=True)
)
_GATE: Final = (
    sa.select(t.gate.c.session, t.gate.c.shut, t.gate.c.operator, t.gate.c.reason, t.gate.c.set_ns)
    .where(t.gate.c.session == sa.bindparam("session"))
    .order_by(t.gate.c.seq.desc())
    .limit(1)
)
_SHUT: Final = (
    sa.select(t.gate.c.session, t.gate.c.shut, t.gate.c.operator, t.gate.c.reason, t.gate.c.set_ns)
    .where(t.gate.c.session == sa.bindparam("session"), t.gate.c.shut, t.gate.c.seq > sa.bindparam("upto"))
    .order_by(t.gate.c.seq.desc())
    .limit(1)
)
_LAST_GATE: Final = sa.select(sa.func.coalesce(sa.func.max(t.gate.c.seq), 0)).where(
    t.gate.c.session == sa.bindparam("session")
)
_GATED: Final = sa.select(t.gate.c.session).distinct().order_by(t.gate.c.session)
_SET_GATE: Final = sa.insert(t.gate)
_ADD_EVENT: Final = sa.insert(t.event)
SET_BACK_TTLS: Final = 2
"""How many terms ahead the end of a lease may lie before it is of another clock: all who ask ask for one term."""
_ADD_LEASE: Final = insert_once(t.lease)
_LEASE: Final = {
    lite: sa.select(t.lease.c.owner, t.lease.c.token, t.lease.c.until_ms, now.label("now_ms"))
    .where(t.lease.c.name == sa.bindparam("name"))
    .with_for_update()
    for lite, now in _NOW_MS.items()
}
_TAKE: Final = (
    sa.update(t.lease)
    .where(t.lease.c.name == sa.bindparam("its_name"))
    .values({name: sa.bindparam(name) for name in ("owner", "token", "until_ms")})
)
_HOLDS: Final = {
    lite: sa.select(sa.literal(1)).where(
        t.lease.c.name == sa.bindparam("name"), t.lease.c.token == sa.bindparam("token"), t.lease.c.until_ms > now
    )
    for lite, now in _NOW_MS.items()
}
_HOLDS_LOCKED: Final = {lite: query.with_for_update(read=True) for lite, query in _HOLDS.items()}
_RELEASE: Final = (
    sa.update(t.lease)
    .where(t.lease.c.name == sa.bindparam("its_name"), t.lease.c.token == sa.bindparam("its_token"))
    .values(until_ms=0)
)
_FINGERPRINT: Final = sa.select(t.fingerprint.c.print).order_by(t.fingerprint.c.seq.desc()).limit(1)
_REGISTER: Final = sa.insert(t.fingerprint)
_REPLAY: Final = sa.select(*(column for column in t.replay.c if column.name != "id"))
_PUT_REPLAY: Final = upsert(t.replay)
_BEAT: Final = upsert(t.process)
_BEATS: Final = sa.select(t.process).order_by(t.process.c.name)


class ControlRoom:
    """`ports.ControlStore`; with `signers` nothing that a person stopped goes on without their signatures."""

    def __init__(self, session: Session, signers: Signers | None = None) -> None:
        self._session = session
        self._signers = signers

    def control(self) -> Control:
        """Return the mode in force; a store without a row answers PAUSE."""
        said = self._said()
        return said if self._signers is None else Words.read(self._session, self._signers).over(said)

    def _said(self) -> Control:
        row = self._session.row(_CONTROL)
        if row is None:
            return Control(Mode.PAUSE, operator="", reason="no mode was ever set", set_ns=0)
        return read_control(row)

    def standing(self) -> Standing:
        """Return the word for everything, and those for a part of it or for a while."""
        if self._signers is not None:
            words = Words.read(self._session, self._signers)
            return Standing(words.over(self._said()), (*words.parts, *words.whiles))
        others = map(read_part, self._session.rows(_LEVELS))
        return Standing(self._said(), tuple(others))

    def overruled(self) -> Sequence[tuple[Control, Control]]:
        """Return each last row that nobody has signed and that is looser than what stands, with what stands."""
        return [] if self._signers is None else Words.read(self._session, self._signers).overruled(self._said())

    def last(self, level: Level, name: str) -> int:
        """Return the number of the last row about a place, 0 for none; that for everything is in a table of its own."""
        if level is Level.ALL:
            return int(self._session.scalar(_LAST))
        return int(self._session.scalar(_LAST_LEVEL, {"level": level, "name": name}))

    def count_after(self, level: Level, name: str, number: int) -> int:
        """Return how many rows about a place come after a row; what others are just writing is waited for.

        A row may have a lower number than ours and be committed later; so the read is a locking one.
        """
        if level is Level.ALL:
            return len(self._session.rows(_AFTER, {"after": number}))
        return self._session.rows(_LEVELS_AFTER, {"after": number}).count((level.value, name))

    def set_mode(self, control: Control) -> None:
        """Append a transition: what is for everything and for good in its own table, all else beside it."""
        row = params(control)
        if control.level is Level.ALL and control.until_ns is None:
            self._session.write(_SET_MODE, {name: row[name] for name in ("mode", "operator", "reason", "set_ns")})
        else:
            self._session.write(_SET_LEVEL, row)

    def gate(self, session: str) -> Gate:
        """Return a session's gate; it is open when nothing was ever said of it."""
        said = self._said_of(session)
        if said.shut or self._signers is None:
            return said
        upto = opened(session, self._signers, taken(self._session))
        row = self._session.row(_SHUT, {"session": session, "upto": upto})
        return said if row is None else Gate(*row)

    def _said_of(self, session: str) -> Gate:
        row = self._session.row(_GATE, {"session": session})
        return Gate.untouched(session) if row is None else Gate(*row)

    def last_of(self, session: str) -> int:
        """Return the number of the last row about a session's gate, 0 for none."""
        return int(self._session.scalar(_LAST_GATE, {"session": session}))

    def overruled_gates(self) -> Sequence[tuple[Gate, Gate]]:
        """Return each gate that its last row calls open and nobody has signed open, with what shut it."""
        if self._signers is None:
            return []
        found = [(self._said_of(session), self.gate(session)) for (session,) in self._session.rows(_GATED)]
        return [(said, gate) for said, gate in found if gate.shut and not said.shut]

    def in_force(self, session: str) -> tuple[Standing, Gate]:
        """Return all modes that are in force, and a session's gate."""
        return self.standing(), self.gate(session)

    def gates(self) -> Sequence[Gate]:
        """Return every gate that was ever touched, in order of session."""
        return [self.gate(session) for (session,) in self._session.rows(_GATED)]

    def set_gate(self, gate: Gate) -> None:
        """Append a shutting or an opening."""
        self._session.write(_SET_GATE, params(gate))

    def add_event(self, kind: str, subject: str, detail: Mapping[str, str], now_ns: int) -> None:
        """Append to the event log."""
        text = json.dumps(dict(detail), ensure_ascii=False, sort_keys=True)
        self._session.write(_ADD_EVENT, {"at_ns": now_ns, "kind": kind, "subject": subject, "detail": text})

    def acquire(self, lease: str, owner: str, ttl_s: float) -> int | None:
        """Take or renew a lease by the database's time; return its fencing token, None while another owner holds it.

        A renewal keeps the token. Whoever takes a lease that has run out gets the next token, also its last owner: what
        was done in between under the old token is fenced off. A lease that ends later than any owner could have asked
        for is of a clock that was set back since: it is cut to `ttl_s` from now, which its owner, if he lives, renews.
        """
        assert owner, "a lease needs a name of its owner"
        assert ttl_s > 0, ttl_s
        self._session.write(_ADD_LEASE, {"name": lease, "owner": "", "token": 0, "until_ms": 0})
        row = self._session.row(_LEASE[self._session.is_sqlite], {"name": lease})
        assert row is not None, lease
        held = row.until_ms > row.now_ms
        until_ms = row.now_ms + round(ttl_s * 1000)
        if held and row.owner != owner:
            if row.until_ms - row.now_ms > SET_BACK_TTLS * ttl_s * 1000:
                same = {"owner": row.owner, "token": row.token, "until_ms": until_ms}
                self._session.write(_TAKE, {"its_name": lease, **same})
            return None
        token: int = row.token if held else row.token + 1
        self._session.write(_TAKE, {"its_name": lease, "owner": owner, "token": token, "until_ms": until_ms})
        return token

    def wall_ns(self) -> int:
        """Return the instant by the database's own clock, to the microsecond (SQLite: to the millisecond, of ours)."""
        wall_us: int = self._session.scalar(_WALL_US[self._session.is_sqlite])
        return wall_us * 1000

    def holds(self, lease: str, token: int) -> bool:
        """Tell whether the token is still the newest of its lease and not expired.

        In a transaction nobody else can take the lease before its end.
        """
        query = (_HOLDS_LOCKED if self._session.writable else _HOLDS)[self._session.is_sqlite]
        return self._session.scalar(query, {"name": lease, "token": token}) is not None

    def release(self, lease: str, token: int) -> None:
        """Give a lease back; with an old token this changes nothing."""
        self._session.write(_RELEASE, {"its_name": lease, "its_token": token})

    def fingerprint(self) -> str | None:
        """Return the build and configuration that may trade, None when nobody has said so yet."""
        found: str | None = self._session.scalar(_FINGERPRINT)
        return found

    def register(self, fingerprint: str, operator: str, now_ns: int) -> None:
        """Let a build and configuration trade, and no other one from now on."""
        self._session.write(_REGISTER, {"print": fingerprint, "operator": operator, "set_ns": now_ns})

    def replay(self) -> Replay | None:
        """Return the replay of this database."""
        row = self._session.row(_REPLAY)
        return None if row is None else Replay(*row)

    def put_replay(self, replay: Replay) -> None:
        """Insert or replace the replay."""
        self._session.write(_PUT_REPLAY, params(replay) | {"id": _REPLAY_ID})

    def beat(self, beat: ProcessBeat) -> None:
        """Insert or replace a process' word."""
        self._session.write(_BEAT, params(beat))

    def beats(self) -> Sequence[ProcessBeat]:
        """Return the word of every process, in order of name."""
        return [ProcessBeat(*row) for row in self._session.rows(_BEATS)]
