"""Tables drop_copy and copy_mark, and the part of table execution that they are compared with."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import sqlalchemy as sa

from trisagion.adapters.db import tables as t
from trisagion.adapters.db.orders import read_execution
from trisagion.adapters.db.session import Session, insert_once, params, upsert
from trisagion.orders.types import ExecType, ExecutionReport
from trisagion.session_ports import Copy, CopyMark
from trisagion.units import round_money

OPEN: Final = "open"
_UNDECIDED_WORDS: Final = (OPEN, "recovering")

_venue: Final[sa.BindParameter[Any]] = sa.bindparam("venue")
_c: Final = t.drop_copy.c
_x: Final = t.execution.c
_REPORTED: Final = tuple(column.name for column in _x if column.name not in {"seq", "learned_ns"})
_COPIED: Final = tuple(_c[name] for name in _REPORTED)
_ADD: Final = insert_once(t.drop_copy)
_UNDECIDED: Final = (
    sa.select(_c.seq, _c.learned_ns, _c.verdict, *_COPIED)
    .where(_c.venue == _venue, _c.verdict.in_(_UNDECIDED_WORDS))
    .order_by(_c.seq)
    .limit(sa.bindparam("count", type_=sa.Integer()))
)
_JUDGE: Final = (
    sa.update(t.drop_copy).where(_c.seq == sa.bindparam("its_seq")).values(verdict=sa.bindparam("its_verdict"))
)
_FILLS: Final = (
    sa.select(*_COPIED)
    .where(
        _c.venue == _venue,
        _c.exec_type.in_([ExecType.TRADE, ExecType.TRADE_CORRECT, ExecType.TRADE_CANCEL]),
    )
    .order_by(_c.seq)
)
_BOOKED_SEQ: Final = sa.select(sa.func.max(_x.seq)).where(_x.venue == _venue)
_UNCOPIED: Final = (
    sa.select(*(_x[name] for name in _REPORTED))
    .outerjoin(t.drop_copy, sa.and_(_c.venue == _x.venue, _c.exec_id == _x.exec_id))
    .where(
        _x.venue == _venue,
        _x.seq > sa.bindparam("after_seq"),
        _x.seq <= sa.bindparam("upto_seq"),
        # What had no ExecID of its own is no execution.
        _x.exec_id.not_like("~%"),
        _c.seq.is_(None),
    )
    .order_by(_x.seq)
)
_MARK: Final = sa.select(t.copy_mark).where(t.copy_mark.c.venue == _venue)
_PUT_MARK: Final = upsert(t.copy_mark)


class Copies:
    """`ports.CopyStore`."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def add(self, report: ExecutionReport, learned_ns: int) -> bool:
        """Record a report of a drop copy by (venue, exec_id); False when it is there already."""
        values = params(report) | {"learned_ns": learned_ns, "avg_px": round_money(report.avg_px), "verdict": OPEN}
        return self._session.write(_ADD, values) == 1

    def undecided(self, venue: str, count: int) -> Sequence[Copy]:
        """Return the oldest `count` copies whose verdict is "open" or "recovering", in order of hearing."""
        rows = self._session.rows(_UNDECIDED, {"venue": venue, "count": count})
        return [
            Copy(seq, read_execution(reported), learned_ns, verdict) for seq, learned_ns, verdict, *reported in rows
        ]

    def judge(self, verdicts: Mapping[int, str]) -> None:
        """Record verdicts on copies by their `seq`."""
        if verdicts:
            rows = [{"its_seq": seq, "its_verdict": verdict} for seq, verdict in verdicts.items()]
            self._session.write(_JUDGE, rows)

    def fills(self, venue: str) -> Sequence[ExecutionReport]:
        """Return all trades, corrections and busts that the drop copy told, in order of hearing."""
        return [read_execution(row) for row in self._session.rows(_FILLS, {"venue": venue})]

    def booked_seq(self, venue: str) -> int:
        """Return the number of the last execution that is booked, 0 when none is."""
        number: int | None = self._session.scalar(_BOOKED_SEQ, {"venue": venue})
        return number or 0

    def uncopied(self, venue: str, after_seq: int, upto_seq: int) -> Sequence[ExecutionReport]:
        """Return the executions with ``after_seq < seq <= upto_seq`` that have no copy."""
        span = {"venue": venue, "after_seq": after_seq, "upto_seq": upto_seq}
        return [read_execution(row) for row in self._session.rows(_UNCOPIED, span)]

    def mark(self, venue: str) -> CopyMark | None:
        """Return how far the drop copy is known to be complete, None before it ever was."""
        row = self._session.row(_MARK, {"venue": venue})
        return None if row is None else CopyMark(*row)

    def put_mark(self, mark: CopyMark) -> None:
        """Insert or replace the mark of a venue."""
        self._session.write(_PUT_MARK, params(mark))
