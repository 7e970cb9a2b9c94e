"""Copy what was said on a FIX session into the database. The session's files are the outbox: they know it first.

The database may be away, and the process may end between file and table: what the table lacks is copied when somebody
comes to it again, in order of number, so the table has no hole below its last number.
"""

import re
from typing import Final

from trisagion.ports import Database
from trisagion.session_ports import MessageLine, MessageOutbox, SessionMessage

BATCH_MAX: Final = 500
"""Lines in one transaction: on SQLite nobody else writes meanwhile; 500 take 8 ms of processor time."""

_MSG_TYPE: Final = re.compile(r"\x0135=([A-Za-z0-9]{1,8})\x01")
_SEQ_NUM: Final = re.compile(r"\x0134=([0-9]{1,18})\x01")
EVENT: Final = "event"


def last_kept(database: Database, session: str) -> int:
    """Return the number of the last message of a session that the database has."""
    with database.snapshot() as tx:
        return tx.messages.last_number(session)


def keep(database: Database, outbox: MessageOutbox, session: str, kept: int) -> int:
    """Copy the lines after the number `kept`, at most a batch; return the number of the last that is copied."""
    lines = outbox.after(kept, BATCH_MAX)
    if not lines:
        return kept
    with database.transaction() as tx:
        tx.messages.add([_message(session, line) for line in lines])
    outbox.forget(lines[-1].number)
    return lines[-1].number


def _message(session: str, line: MessageLine) -> SessionMessage:
    """Read of a line what it is looked up by; what is garbled in a message is no reason not to keep it."""
    event = line.direction == EVENT
    msg_type = None if event else _MSG_TYPE.search(line.text)
    seq_num = None if event else _SEQ_NUM.search(line.text)
    return SessionMessage(
        session=session,
        number=line.number,
        direction=line.direction,
        msg_type=msg_type[1] if msg_type else None,
        seq_num=int(seq_num[1]) if seq_num else None,
        at_ns=line.at_ns,
        text=line.text,
    )
