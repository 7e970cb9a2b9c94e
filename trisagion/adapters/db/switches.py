"""Tables killswitch_beat and killswitch_mark."""

from typing import Final

import sqlalchemy as sa

from trisagion.adapters.db import tables as t
from trisagion.adapters.db.session import Session, params, upsert
from trisagion.safety.beats import Beat, BeatMark

_BEAT: Final = sa.select(t.killswitch_beat).where(t.killswitch_beat.c.name == sa.bindparam("its_name"))
_PUT_BEAT: Final = upsert(t.killswitch_beat)
_MARK: Final = sa.select(t.killswitch_mark).where(t.killswitch_mark.c.name == sa.bindparam("its_name"))
_PUT_MARK: Final = upsert(t.killswitch_mark, newest_by="number")

_SHAPE: Final = (str, int, int, str, str, str, str)


class Switches:
    """`session_ports.SwitchStore`."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def beat(self, name: str) -> Beat | None:
        """Return the heart-beat of a switch; one that cannot be read has no signature."""
        row = self._session.row(_BEAT, {"its_name": name})
        if row is None:
            return None
        # SQLite keeps any value in any column; a forger must not be able to blind whoever looks.
        if any(type(value) is not kind for value, kind in zip(row, _SHAPE, strict=True)):
            return Beat(name, 0, 0, "", "", "a row that nobody of ours writes")
        return Beat(*row)

    def put_beat(self, beat: Beat) -> None:
        """Insert or replace the heart-beat of a switch."""
        self._session.write(_PUT_BEAT, params(beat))

    def mark(self, name: str) -> BeatMark | None:
        """Return what was taken last of a switch, None before the first look."""
        row = self._session.row(_MARK, {"its_name": name})
        return None if row is None else BeatMark(*row)

    def put_mark(self, mark: BeatMark) -> None:
        """Insert or replace the mark of a switch; one with a higher number stays."""
        self._session.write(_PUT_MARK, params(mark))
