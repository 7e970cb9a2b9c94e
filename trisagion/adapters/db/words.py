"""Which words of tables control and control_level stand, where it takes signatures to lift one.

Whoever can add rows to these tables can say that nothing is stopped. Where the configuration names people with keys,
such a row is not believed: a word stands until a release whose signatures are good names a row at or after it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import sqlalchemy as sa

from trisagion.adapters.db import control_tables as stops
from trisagion.adapters.db import tables as t
from trisagion.adapters.db.releases import taken
from trisagion.adapters.db.session import Session
from trisagion.safety.commands import Signers
from trisagion.safety.modes import REPLAY, Control, Level, Mode, read_level, read_mode, stricter
from trisagion.safety.release import lifted, unlifted

_EVERYTHING: Final = (
    sa.select(t.control)
    .where(sa.or_(t.control.c.mode != Mode.NORMAL, t.control.c.operator == REPLAY))
    .order_by(t.control.c.seq)
)
_LEVELS: Final = sa.select(stops.control_level).order_by(stops.control_level.c.seq)


@dataclass(frozen=True, slots=True)
class Words:
    """What stands for everything and for parts of it, without an end; what is for a while; what the rows say last."""

    everything: Control | None
    parts: Sequence[Control]
    whiles: Sequence[Control]
    last: Sequence[Control]

    @staticmethod
    def read(session: Session, signers: Signers) -> "Words":
        """Read all of it."""
        lifts = lifted(signers, taken(session))
        whole = [(row.seq, read_control(row)) for row in session.rows(_EVERYTHING)]
        # A replay ends and begins again by its own word, which lifts no other's.
        own = [control for _, control in whole if control.operator == REPLAY][-1:]
        found = unlifted(((seq, control) for seq, control in whole if control.operator != REPLAY), lifts)
        found += [control for control in own if control.mode is not Mode.NORMAL]
        everything = None
        for control in found:
            if everything is None or stricter(control.mode, everything.mode):
                everything = control
        levels = [(row.seq, read_part(row)) for row in session.rows(_LEVELS)]
        parts = {place: upto for place, upto in lifts.items() if place[0] is not Level.ALL}
        return Words(
            everything,
            unlifted(((seq, control) for seq, control in levels if control.until_ns is None), parts),
            [control for _, control in levels if control.until_ns is not None and control.mode is not Mode.NORMAL],
            list({(control.level, control.name): control for _, control in levels}.values()),
        )

    def over(self, said: Control) -> Control:
        """Return the word for everything beside what the last row says: the stricter one."""
        if self.everything is not None and stricter(self.everything.mode, said.mode):
            return self.everything
        return said

    def overruled(self, said: Control) -> list[tuple[Control, Control]]:
        """Return each last row, that for everything being `said`, that is looser than what stands, and what stands."""
        stands = self.over(said)
        found = [(said, stands)] if stands is not said else []
        last = {(control.level, control.name): control for control in self.last}
        for word in self.parts:
            row = last[word.level, word.name]
            if row.until_ns is not None or stricter(word.mode, row.mode):
                found.append((row, word))
        return found


def read_control(row: Any) -> Control:
    """Read a row about everything."""
    return Control(read_mode(row.mode), row.operator, row.reason, row.set_ns)


def read_part(row: Any) -> Control:
    """Read a row about a part of it, or for a while."""
    return Control(
        mode=read_mode(row.mode),
        operator=row.operator,
        reason=row.reason,
        set_ns=row.set_ns,
        level=read_level(row.level),
        name=row.name,
        until_ns=row.until_ns,
    )
