"""Release what was stopped: proposed by one person, confirmed by another, and only while everything is green."""

from collections.abc import Sequence
from dataclasses import dataclass

from trisagion.clock import SECOND_NS, iso
from trisagion.errors import StateError, TrisagionError
from trisagion.orders.state import IN_DOUBT
from trisagion.ports import Database, Transaction
from trisagion.risk.limits import LimitBook, Limits, same_person
from trisagion.safety.commands import Command, digest
from trisagion.safety.modes import Control, Level, Mode, stricter
from trisagion.safety.release import PROPOSAL_NS_MAX, REDUCE_NS, RELEASE, Lift, Proposal, worded
from trisagion.services.control import PLATFORM, in_force
from trisagion.services.reconcile import VENUE
from trisagion.units import plain


@dataclass(frozen=True, slots=True)
class ReleaseRules:
    """How many people a release takes, the limits that must be readable, and whose word on positions counts.

    Of the `observers` a `quorum` must agree with the ledger, by a word of the last `heard_ns_max`, and none may differ.
    """

    people: int
    limits: Limits
    observers: tuple[str, ...]
    quorum: int
    heard_ns_max: int


def wish(tx: Transaction, level: Level, name: str, now_ns: int) -> str:
    """Return what a person signs who wants something released; `StateError` where nothing stands."""
    return Lift(level, name, tx.control.last(level, name), worded(_stands(tx, level, name, now_ns))).text


def wished(tx: Transaction, number: int, now_ns: int) -> Command:
    """Return the signed command of a proposal; `StateError` where there is none, or something else stands by now."""
    proposal = _proposal(tx, number)
    present = wish(tx, proposal.level, proposal.name, now_ns)
    for taken in reversed(tx.releases.taken()):
        first = taken.command
        found = first.action, first.subject, first.person, first.reason
        if found == (RELEASE, present, proposal.proposed_by, proposal.reason):
            return first
    raise StateError(f"proposal {number} is signed for another word than stands now, or not at all: propose anew")


def propose(
    database: Database,
    level: Level,
    name: str,
    person: str,
    reason: str,
    now_ns: int,
    signed: Command | None = None,
) -> int:
    """Record that a person wants something released; return the proposal's number. It changes nothing yet.

    `signed` is the command of whoever proposes, where people have keys; its subject is the `wish`.
    """
    _expect_person(person, reason)
    with database.transaction() as tx:
        present = _stands(tx, level, name, now_ns)
        if signed is not None:
            if signed.subject != wish(tx, level, name, now_ns):
                raise StateError(f"{present.where}: somebody has stopped it at this moment: propose the release again")
            tx.releases.keep(signed, tx.control.wall_ns())
        proposal = Proposal(level, name, worded(present), person, reason, tx.control.wall_ns())
        number = tx.releases.add(proposal)
        told = {"operator": person, "reason": reason, "proposal": str(number)}
        tx.control.add_event("release.proposed", present.where, told, now_ns)
    return number


def confirm(
    database: Database, rules: ReleaseRules, number: int, person: str, now_ns: int, signed: Command | None = None
) -> Control:
    """Release what was proposed; return the control that stands for the minute after it.

    `signed` is the command of whoever confirms, where people have keys; its subject is the digest of the `wished`.

    Raises
    ------
    StateError
        There is no such proposal, it is confirmed or too old, something else stands by now, not all is green, or the
        two commands do not carry it.
    TrisagionError
        The person is the one who proposed it, where a release takes two.
    """
    _expect_person(person, "confirmed")
    with database.transaction() as tx:
        proposal = _proposal(tx, number)
        where = Control(Mode.NORMAL, "", "", 0, proposal.level, proposal.name).where
        if rules.people < 2 or not same_person(proposal.proposed_by, person):
            if signed is not None and signed.subject != digest(wished(tx, number, now_ns)):
                raise StateError(f"proposal {number} is not what was confirmed: confirm it again")
            return _release(tx, rules, number, proposal, person, now_ns, signed)
        told = {"operator": person, "proposal": str(number), "why": "the same person"}
        tx.control.add_event("release.refused", where, told, now_ns)
    raise TrisagionError(f"proposal {number} is {proposal.proposed_by}'s own: another person must confirm it")


def _release(
    tx: Transaction,
    rules: ReleaseRules,
    number: int,
    proposal: Proposal,
    person: str,
    now_ns: int,
    signed: Command | None,
) -> Control:
    seen = tx.control.last(proposal.level, proposal.name)
    present = _stands(tx, proposal.level, proposal.name, now_ns)
    if worded(present) != proposal.was:
        raise StateError(
            f"proposal {number} was to lift {proposal.was!r}, but now there is {worded(present)!r}: propose anew"
        )
    if tx.control.wall_ns() - proposal.proposed_ns > PROPOSAL_NS_MAX:
        raise StateError(f"proposal {number} is more than an hour old: propose anew")
    if red := not_green(tx, rules, proposal.level, proposal.name, now_ns):
        raise StateError(f"expected all to be green before a release, found: {'; '.join(red)}")
    if not tx.releases.confirm(number, person, tx.control.wall_ns()):
        raise StateError(f"proposal {number} was confirmed already")
    if signed is not None:
        # From here on the stop is lifted for whoever reads in this transaction.
        tx.releases.keep(signed, tx.control.wall_ns())
    people = person if same_person(proposal.proposed_by, person) else f"{proposal.proposed_by}, {person}"
    if proposal.level is Level.ALL:
        tx.control.set_mode(Control(Mode.NORMAL, people[:128], proposal.reason, now_ns))
    after = Control(
        Mode.REDUCE,
        PLATFORM,
        "the first minute after a release",
        now_ns,
        proposal.level,
        proposal.name,
        until_ns=now_ns + REDUCE_NS,
    )
    tx.control.set_mode(after)
    if tx.control.count_after(proposal.level, proposal.name, seen) > 1:
        # The last row counts, and it is ours: without this it would lift what it has not seen.
        raise StateError(f"proposal {number}: somebody has stopped it at this moment: propose anew")
    told = {"proposed_by": proposal.proposed_by, "confirmed_by": person, "reason": proposal.reason}
    tx.control.add_event("control.released", after.where, told | {"proposal": str(number)}, now_ns)
    left = in_force(tx, proposal.level, proposal.name, now_ns)
    if stricter(left.mode, after.mode):
        raise StateError(
            f"proposal {number}: expected signatures that carry a release, found that {worded(left)!r} stands"
        )
    return after


def _proposal(tx: Transaction, number: int) -> Proposal:
    proposal = tx.releases.proposal(number)
    if proposal is None:
        raise StateError(f"expected a proposal to release something, found none of number {number}")
    return proposal


def not_green(tx: Transaction, rules: ReleaseRules, level: Level, name: str, now_ns: int) -> Sequence[str]:
    """Say everything that speaks against releasing a part now; the limits are read anew for it."""

    def concerns(symbol: str) -> bool:
        return level is not Level.SYMBOL or symbol == name

    found = []
    if unknown := LimitBook(rules.limits, tx.limits.rows()).of("", venue="", strategy="").unknown:
        found.append(f"the limits are not known ({unknown})")
    found += [f"the gate of {gate.session} is shut" for gate in tx.control.gates() if gate.shut]
    found += [f"incident {each.number} on {each.symbol}" for each in tx.incidents.open_ones() if concerns(each.symbol)]
    found += [
        f"order {order.cl_ord_id} is {order.state}" for order in tx.orders.in_states(IN_DOUBT) if concerns(order.symbol)
    ]
    for instrument in tx.market.instruments():
        if concerns(instrument.symbol):
            found += _apart(tx, rules, instrument.symbol, now_ns)
    return found


def _apart(tx: Transaction, rules: ReleaseRules, symbol: str, now_ns: int) -> list[str]:
    """Say how ledger and observers differ on a symbol, or who of them is silent where too few have spoken."""
    held = tx.ledger.position(symbol).qty
    heard = {seen.observer: seen for seen in tx.ledger.observations(symbol) if seen.observer in rules.observers}
    if not heard and not held:
        return []
    differing, silent = [], []
    for observer in rules.observers:
        name, seen = "the venue" if observer == VENUE else observer, heard.get(observer)
        if seen is None:
            silent.append(f"{name} has not spoken of {symbol}")
        elif now_ns - seen.at_ns > rules.heard_ns_max:
            silent.append(f"{name} spoke of {symbol} {(now_ns - seen.at_ns) // SECOND_NS} s ago")
        elif seen.qty != held:
            differing.append(f"the ledger holds {plain(held)} {symbol}, {name} {plain(seen.qty)}")
    agreeing = len(rules.observers) - len(silent) - len(differing)
    return differing or (silent if agreeing < rules.quorum else [])


def _stands(tx: Transaction, level: Level, name: str, now_ns: int) -> Control:
    present = in_force(tx, level, name, now_ns)
    if present.until_ns is not None:
        until = iso(present.until_ns)
        raise StateError(f"{present.where}: it is released already; only what reduces passes until {until}")
    if present.mode is Mode.NORMAL:
        raise StateError(f"{present.where}: expected something to release, found normal")
    return present


def _expect_person(person: str, reason: str) -> None:
    if not person.strip() or person == PLATFORM or not reason.strip():
        raise TrisagionError("a release needs a named operator and a reason")
