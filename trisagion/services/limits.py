"""The account's limits: which are in force, and how two people change one while the platform trades."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from trisagion.errors import DataError, StateError, TrisagionError, quoted
from trisagion.ledger.types import Strategy
from trisagion.ports import Database, Transaction
from trisagion.risk.limits import (
    LIMIT,
    LimitRow,
    Limits,
    Scope,
    founding_rows,
    is_configuration,
    refuse_value,
    same_person,
)
from trisagion.safety.commands import Command, digest
from trisagion.services.reconcile import withdraw
from trisagion.units import plain


def found(tx: Transaction, ceiling: Limits, digest: str, now_ns: int) -> None:
    """Record the first versions, which are the configuration's; `digest` names the settings."""
    for row in founding_rows(ceiling, digest, now_ns):
        tx.limits.add(row)


def numbered(tx: Transaction, wish: LimitRow) -> LimitRow:
    """Return a wish under the number that its version would have, as a person signs it."""
    return replace(wish, version=max((row.version for row in tx.limits.rows()), default=0) + 1)


def wished(tx: Transaction, version: int) -> Command:
    """Return the signed command of a version; `DataError` where there is none."""
    rows = [(LIMIT, row.text, row.proposed_by, row.reason) for row in tx.limits.rows() if row.version == version]
    for taken in tx.releases.taken():
        first = taken.command
        if (first.action, first.subject, first.person, first.reason) in rows:
            return first
    raise DataError(f"expected a version that was proposed and signed, found {version}")


def expect_known(tx: Transaction, wish: LimitRow, venue: str) -> None:
    """Refuse with `DataError` a limit for what there is not: it would bind nothing. `venue` is the session's name."""
    known: Mapping[str, Sequence[str]] = {
        Scope.STRATEGY: [Strategy.COHORT, Strategy.FLATTEN],
        Scope.SYMBOL: [instrument.symbol for instrument in tx.market.instruments()],
        Scope.VENUE: [venue],
    }
    names = known.get(wish.scope, [wish.subject])
    if wish.subject not in names:
        raise DataError(f"{wish.scope}: expected {' or '.join(names)}, found {quoted(wish.subject)}")


def propose(database: Database, ceiling: Limits, wish: LimitRow, signed: Command | None = None) -> LimitRow:
    """Record a version that another person may approve; return it with its number. It changes nothing yet.

    `signed` is the command of whoever proposes, where people have keys; its subject is the text of the `numbered` wish.
    Raises `DataError` for what may not be proposed, or without a person and a reason.
    """
    _person(wish.proposed_by)
    if not wish.reason.strip():
        raise DataError("a limit needs a reason, found none")
    refuse_value(wish.name, wish.scope, wish.subject, wish.value, ceiling)
    with database.transaction() as tx:
        row = numbered(tx, wish)
        if (signed is not None and signed.subject != row.text) or not tx.limits.add(row):
            raise StateError("somebody proposed a limit at the same moment: propose it again")
        if signed is not None:
            tx.releases.keep(signed, tx.control.wall_ns())
        told = {"operator": row.proposed_by, "value": plain(row.value), "reason": row.reason}
        tx.control.add_event("limit.proposed", _place(row), told | {"version": str(row.version)}, row.proposed_ns)
        return row


def approve(
    database: Database, ceiling: Limits, version: int, person: str, now_ns: int, signed: Command | None = None
) -> LimitRow:
    """Put a version in force, for every check from now on; what was decided under the old limits is withdrawn.

    `signed` is the command of whoever approves, where people have keys; its subject is the digest of the `wished`.
    Raises `TrisagionError` when it is the proposer's own, is approved or overtaken already, or is unknown. An attempt
    to approve one's own is an event.
    """
    _person(person)
    with database.transaction() as tx:
        rows = {row.version: row for row in tx.limits.rows()}
        row = rows.get(version)
        if row is None:
            raise DataError(f"expected a version that was proposed, found {version}")
        own = same_person(row.proposed_by, person) or is_configuration(row.proposed_by)
        if own:
            tx.control.add_event("limit.refused", _place(row), {"operator": person, "version": str(version)}, now_ns)
        else:
            if signed is not None:
                if signed.subject != digest(wished(tx, version)):
                    raise StateError(f"version {version} is not what was approved: approve it again")
                tx.releases.keep(signed, tx.control.wall_ns())
            _put_in_force(tx, ceiling, rows, row, person, now_ns)
    if own:
        raise TrisagionError(f"version {version} was proposed by {row.proposed_by}: another person must approve it")
    return replace(row, approved_by=person, approved_ns=now_ns)


def _put_in_force(
    tx: Transaction, ceiling: Limits, rows: Mapping[int, LimitRow], row: LimitRow, person: str, now_ns: int
) -> None:
    refuse_value(row.name, row.scope, row.subject, row.value, ceiling)
    later = [each.version for each in rows.values() if each.holds and _place(each) == _place(row)]
    if max(later, default=0) >= row.version:
        raise StateError(f"version {max(later)} of {_place(row)} is in force: propose the limit anew")
    if not tx.limits.approve(row.version, person, now_ns):
        raise StateError(f"version {row.version} has an approval already")
    if not any(each.version == row.version and each.holds for each in tx.limits.rows()):
        raise StateError(f"version {row.version}: expected two commands that carry its approval, found others")
    told = {"operator": person, "proposed_by": row.proposed_by, "value": plain(row.value)}
    tx.control.add_event("limit.approved", _place(row), told | {"version": str(row.version)}, now_ns)
    withdraw(tx, None, f"LIMITS_CHANGED: version {row.version}", now_ns)


def _person(name: str) -> None:
    if not name.strip() or is_configuration(name):
        raise DataError(f"expected a person, found {quoted(name)}")


def _place(row: LimitRow) -> str:
    return f"{row.name} {row.scope} {row.subject}".strip()
