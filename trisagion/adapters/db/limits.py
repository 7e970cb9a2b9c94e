"""Tables risk_limit and risk_limit_approval: rows are added, and none is ever changed."""

from collections.abc import Sequence
from typing import Final

import sqlalchemy as sa

from trisagion.adapters.db import tables as t
from trisagion.adapters.db.session import Params, Session, params
from trisagion.risk.limits import LimitRow

_ROWS: Final = (
    sa.select(*t.risk_limit.c, t.risk_limit_approval.c.approved_by, t.risk_limit_approval.c.approved_ns)
    .select_from(
        t.risk_limit.outerjoin(t.risk_limit_approval, t.risk_limit_approval.c.version == t.risk_limit.c.version)
    )
    .order_by(t.risk_limit.c.version)
)
_ADD: Final = sa.insert(t.risk_limit)
_APPROVE: Final = sa.insert(t.risk_limit_approval)


class LimitRows:
    """`risk_ports.LimitStore`."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def rows(self) -> Sequence[LimitRow]:
        """Return every version with its approval, in order of version; `StateError` when one cannot be read."""
        return [LimitRow(*row) for row in self._session.rows(_ROWS)]

    def add(self, row: LimitRow) -> bool:
        """Record a version that nobody has approved yet; False when there is one of that number."""
        values = params(row)
        del values["approved_by"], values["approved_ns"]
        return self._added(_ADD, values)

    def approve(self, version: int, approved_by: str, approved_ns: int) -> bool:
        """Record an approval; False when there is one already."""
        values = {"version": version, "approved_by": approved_by, "approved_ns": approved_ns}
        return self._added(_APPROVE, values)

    def _added(self, statement: sa.Insert, values: Params) -> bool:
        # Not `insert_once`: it needs the right to change rows, which nobody has on these tables.
        try:
            self._session.write(statement, values)
        except sa.exc.IntegrityError:
            return False
        return True
