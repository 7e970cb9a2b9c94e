"""Tables control_release, command_nonce and signed_command."""

from collections.abc import Sequence
from typing import Final

import sqlalchemy as sa

from trisagion.adapters.db import control_tables as stops
from trisagion.adapters.db.session import Session, insert_once, params
from trisagion.safety.commands import Command, Taken
from trisagion.safety.modes import read_level
from trisagion.safety.release import Proposal

_r: Final = stops.control_release.c
_ADD: Final = sa.insert(stops.control_release)
_SPEND: Final = insert_once(stops.command_nonce)
_KEEP: Final = sa.insert(stops.signed_command)
_TAKEN: Final = sa.select(*(column for column in stops.signed_command.c if column.name != "seq")).order_by(
    stops.signed_command.c.seq
)
_ONE: Final = sa.select(stops.control_release).where(_r.seq == sa.bindparam("its_seq"))
_CONFIRM: Final = (
    sa.update(stops.control_release)
    .where(_r.seq == sa.bindparam("its_seq"), _r.confirmed_ns.is_(None))
    .values(confirmed_by=sa.bindparam("its_person"), confirmed_ns=sa.bindparam("its_ns"))
)


class Releases:
    """`session_ports.ReleaseStore`."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def add(self, proposal: Proposal) -> int:
        """Record a proposal; return its number."""
        row = {
            "level": proposal.level,
            "name": proposal.name,
            "was": proposal.was,
            "proposed_by": proposal.proposed_by,
            "reason": proposal.reason,
            "proposed_ns": proposal.proposed_ns,
        }
        self._session.write(_ADD, row)
        # Within this transaction: a later one of somebody else is not there yet.
        last = "SELECT last_insert_rowid()" if self._session.is_sqlite else "SELECT LAST_INSERT_ID()"
        return int(self._session.scalar(sa.text(last)))

    def proposal(self, number: int) -> Proposal | None:
        """Return a proposal."""
        row = self._session.row(_ONE, {"its_seq": number})
        if row is None:
            return None
        return Proposal(
            level=read_level(row.level),
            name=row.name,
            was=row.was,
            proposed_by=row.proposed_by,
            reason=row.reason,
            proposed_ns=row.proposed_ns,
            confirmed_by=row.confirmed_by,
        )

    def confirm(self, number: int, person: str, now_ns: int) -> bool:
        """Record who confirmed a proposal; False when somebody has already."""
        return self._session.write(_CONFIRM, {"its_seq": number, "its_person": person, "its_ns": now_ns}) == 1

    def spend(self, nonce: str, person: str, expires_ns: int) -> bool:
        """Use a command's number up; False when it was used before."""
        row = {"nonce": nonce, "person": person, "expires_ns": expires_ns}
        return self._session.write(_SPEND, row) == 1

    def keep(self, command: Command, taken_ns: int) -> None:
        """Keep a signed command that was taken, for whoever obeys it."""
        self._session.write(_KEEP, params(command) | {"taken_ns": taken_ns})

    def taken(self) -> Sequence[Taken]:
        """Return every signed command that was taken, in order."""
        return taken(self._session)


def taken(session: Session) -> Sequence[Taken]:
    """Return every signed command that was taken, in order."""
    return [
        Taken(
            Command(
                person=row.person,
                action=row.action,
                subject=row.subject,
                reason=row.reason,
                nonce=row.nonce,
                expires_ns=row.expires_ns,
                signature=row.signature,
            ),
            row.taken_ns,
        )
        for row in session.rows(_TAKEN)
    ]
