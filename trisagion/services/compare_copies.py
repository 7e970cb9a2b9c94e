"""Hear a venue's drop copy, and hold it against what was booked: two views of one venue catch a fill that one lost.

Theory of operation. The drop copy tells every execution of the account on a session of its own. Each copy is recorded
once by (venue, exec_id) and then compared with the execution of that name. The machine's clock measures the graces, not
the data's: in a replay the data's time stands still while a report is missing.

* Told and not booked after the grace: the report is evidence like any other and goes to `book_fills`, which books an
  ExecID once, whoever brings it. An order that is in doubt is asked about afterwards, since its count may be whole now.
* Booked and not told: an event alone. That needs to know that the copy is complete, and no clock can tell. So a
  question is sent on the drop copy (a TestRequest) after noting the last execution that is booked: the venue had told
  that one before it heard the question, and it answers in order. With its answer the copy has everything up to there.
* Told and booked with other terms: one of the two is wrong, and nobody here knows which. The event holds both, and the
  venue's gate is shut until a person has looked.

The sum of the copied fills is a position, and `drop_copy` an observer of it, as of the instant of a question that was
answered.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

from trisagion.clock import SECOND_NS
from trisagion.errors import StaleOwner
from trisagion.ledger.copies import copied_positions
from trisagion.orders.state import OrderState
from trisagion.orders.types import ExecutionReport
from trisagion.ports import Database
from trisagion.services.book_fills import TEXT_MAX, BookRules, book, waiting_cycles, withdrawn
from trisagion.services.control import shut_gate
from trisagion.services.drive_session import LEASE_S
from trisagion.services.hear_observers import hear
from trisagion.services.outcome import Outcome
from trisagion.services.reconcile import DROP_COPY
from trisagion.session_ports import Copy, CopyMark

GRACE_NS: Final = 10 * SECOND_NS
"""How much later one session may tell what the other has told."""

BATCH_MAX: Final = 500
"""Copies that are compared at a time; the others wait for the next time."""

OPEN: Final = "open"


@dataclass(slots=True)
class CopyLease:
    """The lease of a drop copy's owner: one process hears it."""

    database: Database
    name: str
    owner: str
    token: int | None = None

    def renew(self) -> None:
        """Take or renew the lease; `StaleOwner` when somebody else holds it."""
        with self.database.transaction() as tx:
            token = tx.control.acquire(f"copies:{self.name}", self.owner, LEASE_S)
        if token is None or (self.token is not None and token != self.token):
            raise StaleOwner(f"drop copy {self.name}: the lease is held by another process; this one must stop")
        self.token = token


def begin(database: Database, venue: str) -> None:
    """Note where the comparison of a venue begins: what was booked before its first copy may have none."""
    with database.transaction() as tx:
        if tx.copies.mark(venue) is None:
            seq = tx.copies.booked_seq(venue)
            tx.copies.put_mark(CopyMark(venue, seq, 0, seq))


def record(database: Database, report: ExecutionReport, wall_ns: int) -> None:
    """Record a copy; an answer to a question of somebody else's is no execution."""
    if report.exec_id is not None:
        with database.transaction() as tx:
            tx.copies.add(report, wall_ns)


def put_aside(database: Database, name: str, text: str, now_ns: int) -> None:
    """Record what the drop copy said that is no readable execution report."""
    with database.transaction() as tx:
        tx.control.add_event("drop_copy.unreadable", name, {"text": text[:TEXT_MAX]}, now_ns)


def to_confirm(database: Database, venue: str) -> int | None:
    """Return the number of the last booked execution when the copy's completeness up to there is of interest.

    None while there is nothing new, or an earlier mark is still to be compared: a new one would be younger.
    """
    with database.snapshot() as tx:
        mark, seq = tx.copies.mark(venue), tx.copies.booked_seq(venue)
    waiting = mark is not None and mark.upto_seq > mark.checked_seq
    return seq if mark is not None and not waiting and seq > mark.upto_seq else None


def confirm(database: Database, venue: str, upto_seq: int, wall_ns: int) -> None:
    """Record that the drop copy has told everything up to an execution."""
    with database.transaction() as tx:
        mark = tx.copies.mark(venue)
        if mark is not None and mark.upto_seq == mark.checked_seq < upto_seq:
            tx.copies.put_mark(replace(mark, upto_seq=upto_seq, heard_ns=wall_ns))


def observe(database: Database, venue: str, at_ns: int) -> tuple[Outcome, ...]:
    """Record the positions that the copied fills make, known to be complete as of an instant."""
    with database.transaction() as tx:
        hear(tx, DROP_COPY, copied_positions(tx.copies.fills(venue)), at_ns, leave=withdrawn(tx))
        return waiting_cycles(tx)


def compare(database: Database, rules: BookRules, venue: str, wall_ns: int, now_ns: int) -> tuple[Outcome, ...]:
    """Hold the drop copy of a venue against what is booked; book what is missing.

    `wall_ns` is the machine's time, `now_ns` the platform's.
    """
    verdicts: dict[int, str] = {}
    differing: list[tuple[Copy, ExecutionReport]] = []
    missing: list[Copy] = []
    with database.snapshot() as tx:
        for copy in tx.copies.undecided(venue, BATCH_MAX):
            booked = tx.orders.execution(venue, copy.report.exec_id or "")
            if booked is not None and copy.verdict != OPEN:
                verdicts[copy.seq] = "recovered"
            elif booked is not None and booked.terms == copy.report.terms:
                verdicts[copy.seq] = "agreed"
            elif booked is not None:
                differing.append((copy, booked))
            elif copy.learned_ns <= wall_ns - GRACE_NS:
                missing.append(copy)
    _judge(database, venue, verdicts, differing, now_ns)
    outcomes = [outcome for copy in missing for outcome in _recover(database, rules, copy, now_ns)]
    _tell_uncopied(database, venue, wall_ns, now_ns)
    return (*outcomes, Outcome("compared"))


def _judge(
    database: Database,
    venue: str,
    verdicts: dict[int, str],
    differing: Sequence[tuple[Copy, ExecutionReport]],
    now_ns: int,
) -> None:
    if not verdicts and not differing:
        return
    with database.transaction() as tx:
        tx.copies.judge({**verdicts, **{copy.seq: "quarantined" for copy, _ in differing}})
        for copy, booked in differing:
            exec_id = copy.report.exec_id or ""
            text = f"DROP_COPY_DIFFERS: booked {booked.terms}, copied {copy.report.terms}"
            tx.control.add_event("execution.contradicted", exec_id, {"text": text[:TEXT_MAX]}, now_ns)
            shut_gate(tx, venue, f"the drop copy contradicts execution {exec_id}", now_ns)


def _recover(database: Database, rules: BookRules, copy: Copy, now_ns: int) -> list[Outcome]:
    """Book an execution from its copy, and have its order asked about where that leaves it in doubt."""
    report = copy.report
    with database.transaction() as tx:
        if copy.verdict == OPEN:
            tx.copies.judge({copy.seq: "recovering"})
            told = {"order": report.cl_ord_id, "exec_type": report.exec_type, "text": repr(report)[:TEXT_MAX]}
            tx.control.add_event("execution.recovered", report.exec_id or "", told, now_ns)
    outcomes = list(book(database, rules, report))
    quarantined = any(outcome.word == "quarantined" for outcome in outcomes)
    with database.transaction() as tx:
        tx.copies.judge({copy.seq: "quarantined" if quarantined else "recovered"})
        link = tx.orders.link(report.cl_ord_id)
        order = tx.orders.order(report.cl_ord_id if link is None else link.first_id)
    if order is not None and order.state is OrderState.UNKNOWN and order.session:
        outcomes = [outcome for outcome in outcomes if outcome.word != "doubtful"]
        outcomes.append(Outcome("doubtful", (order.session,)))
    return outcomes


def _tell_uncopied(database: Database, venue: str, wall_ns: int, now_ns: int) -> None:
    """Tell of what is booked and missing on a copy that was complete a grace ago; nothing else is done about it."""
    with database.snapshot() as tx:
        mark = tx.copies.mark(venue)
    if mark is None or mark.upto_seq == mark.checked_seq or mark.heard_ns > wall_ns - GRACE_NS:
        return
    with database.transaction() as tx:
        for report in tx.copies.uncopied(venue, mark.checked_seq, mark.upto_seq):
            told = {"order": report.cl_ord_id, "exec_type": report.exec_type, "text": repr(report)[:TEXT_MAX]}
            tx.control.add_event("execution.uncopied", report.exec_id or "", told, now_ns)
        tx.copies.put_mark(replace(mark, checked_seq=mark.upto_seq))
