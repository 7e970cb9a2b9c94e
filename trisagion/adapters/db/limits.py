"""Tables risk_limit and risk_limit_approval, whose rows are added and never changed, and risk_mark."""

from collections.abc import Sequence
from typing import Final

import sqlalchemy as sa

from trisagion.adapters.db import tables as t
from trisagion.adapters.db.lately_tables import risk_mark
from trisagion.adapters.db.releases import taken
from trisagion.adapters.db.session import Params, Session, params, upsert
from trisagion.risk.limits import LimitRow, signed
from trisagion.risk.losses import LossMark
from trisagion.safety.commands import Signers

_ROWS: Final = (
    sa.select(*t.risk_limit.c, t.risk_limit_approval.c.approved_by, t.risk_limit_approval.c.approved_ns)
    .select_from(
        t.risk_limit.outerjoin(t.risk_limit_approval, t.risk_limit_approval.c.version == t.risk_limit.c.version)
    )
    .order_by(t.risk_limit.c.version)
)
_ADD: Final = sa.insert(t.risk_limit)
_MARK: Final = sa.select(*(column for column in risk_mark.c if column.name != "id"))
_PUT_MARK: Final = upsert(risk_mark)
_MARK_ID: Final = 1
_APPROVE: Final = sa.insert(t.risk_limit_approval)


class LimitRows:
    """`risk_ports.LimitStore`; with `signers` an approval without their signatures is none."""

    def __init__(self, session: Session, signers: Signers | None = None) -> None:
        self._session = session
        self._signers = signers

    def rows(self) -> Sequence[LimitRow]:
        """Return every version with its approval, in order of version; `StateError` when one cannot be read."""
        rows = [LimitRow(*row) for row in self._session.rows(_ROWS)]
        return rows if self._signers is None else signed(rows, self._signers, taken(self._session))

    def add(self, row: LimitRow) -> bool:
        """Record a version that nobody has approved yet; False when there is one of that number."""
        values = params(row)
        del values["approved_by"], values["approved_ns"]
        return self._added(_ADD, values)

    def approve(self, version: int, approved_by: str, approved_ns: int) -> bool:
        """Record an approval; False when there is one already."""
        values = {"version": version, "approved_by": approved_by, "approved_ns": approved_ns}
        return self._added(_APPROVE, values)

    def mark(self) -> LossMark | None:
        """Return from where losses are counted, None before the first sample."""
        row = self._session.row(_MARK)
        return None if row is None else LossMark(*row)

    def put_mark(self, mark: LossMark) -> None:
        """Insert or replace it."""
        self._session.write(_PUT_MARK, params(mark) | {"id": _MARK_ID})

    def _added(self, statement: sa.Insert, values: Params) -> bool:
        # Not `insert_once`: it needs the right to change rows, which nobody has on these tables.
        try:
            self._session.write(statement, values)
        except sa.exc.IntegrityError:
            return False
        return True
