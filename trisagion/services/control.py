"""Change the control mode or a venue's gate, and say whether the platform has come to rest."""

from decimal import Decimal
from typing import Final

from trisagion.errors import ConfigError, StateError, TrisagionError, quoted
from trisagion.orders.state import LIVE
from trisagion.ports import Database, Transaction
from trisagion.safety.commands import Command
from trisagion.safety.gates import Gate, opening
from trisagion.safety.modes import REPLAY, STRATEGY, Control, Level, Mode, stricter

PLATFORM: Final = "platform"
"""The operator of what the platform does by itself."""


def present_ns(tx: Transaction) -> int:
    """Return the instant that the platform has come to: that of its replay, else the database's own."""
    replay = tx.control.replay()
    return tx.control.wall_ns() if replay is None else max(replay.now_ns, replay.start_ns)


def engage(
    database: Database, mode: Mode, operator: str, reason: str, now_ns: int, level: Level = Level.ALL, name: str = ""
) -> None:
    """Set a mode that is at least as strict as the one in force there; one person, one step."""
    with database.transaction() as tx:
        present = in_force(tx, level, name, now_ns)
        if stricter(present.mode, mode) or (operator == REPLAY and present.mode is mode):
            return
        _set(tx, Control(mode, operator, reason, now_ns, level, name))


def stop(tx: Transaction, mode: Mode, reason: str, now_ns: int, level: Level = Level.ALL, name: str = "") -> bool:
    """Set a mode that is stricter than the one in force there, as the platform itself; tell whether it had to be.

    The first reason stays.
    """
    if not stricter(mode, in_force(tx, level, name, now_ns).mode):
        return False
    _set(tx, Control(mode, PLATFORM, reason, now_ns, level, name))
    return True


def _set(tx: Transaction, engaged: Control) -> None:
    tx.control.set_mode(engaged)
    told = {"operator": engaged.operator, "reason": engaged.reason}
    tx.control.add_event("control.engaged", _subject(engaged), told, engaged.set_ns)


def in_force(tx: Transaction, level: Level, name: str, now_ns: int) -> Control:
    """Return what was said of one level and name alone, and still stands."""
    standing = tx.control.standing()
    if level is Level.ALL:
        return standing.everything
    found = [other for other in standing.at(now_ns) if (other.level, other.name) == (level, name)]
    return found[0] if found else Control(Mode.NORMAL, "", "nothing stands", 0, level, name)


def release(
    database: Database, operator: str, reason: str, now_ns: int, level: Level = Level.ALL, name: str = ""
) -> None:
    """Return to NORMAL; only a named operator with a reason may."""
    if not operator.strip() or not reason.strip():
        raise TrisagionError("a looser control mode needs a named operator and a reason")
    with database.transaction() as tx:
        released = Control(Mode.NORMAL, operator, reason, now_ns, level, name)
        tx.control.set_mode(released)
        tx.control.add_event("control.released", _subject(released), {"operator": operator, "reason": reason}, now_ns)


def _subject(control: Control) -> str:
    """Name a transition as an event does; that of everything is its mode alone."""
    return control.mode.value if control.level is Level.ALL else f"{control.mode} {control.where}"


def shut_gate(tx: Transaction, session: str, reason: str, now_ns: int) -> None:
    """Let no new order pass to a session, until an operator opens it; the first reason stays."""
    if not tx.control.gate(session).shut:
        tx.control.set_gate(Gate(session, True, PLATFORM, reason, now_ns))
        tx.control.add_event("gate.shut", session, {"reason": reason}, now_ns)


def open_gate(
    database: Database, session: str, operator: str, reason: str, now_ns: int, signed: Command | None = None
) -> None:
    """Let new orders pass to a session again; only a named operator with a reason may, and only what is shut.

    `signed` is his command, where people have keys; its subject is the `opening` of all that has shut it.
    """
    if not operator.strip() or operator == PLATFORM or not reason.strip():
        raise TrisagionError("opening a venue's gate needs a named operator and a reason")
    with database.transaction() as tx:
        gate = tx.control.gate(session)
        if not gate.shut:
            known = ", ".join(gate.session for gate in tx.control.gates() if gate.shut) or "none"
            raise TrisagionError(f"the gate of {quoted(session)} is not shut; shut are: {known}")
        if signed is not None:
            if signed.subject != opening(session, tx.control.last_of(session)):
                raise StateError(f"the gate of {quoted(session)} was shut again at this moment: open it again")
            tx.releases.keep(signed, tx.control.wall_ns())
        tx.control.set_gate(Gate(session, False, operator, reason, now_ns))
        said = {"operator": operator, "reason": reason, "was": gate.reason}
        tx.control.add_event("gate.opened", session, said, now_ns)


def working(database: Database, level: Level = Level.ALL, name: str = "") -> int:
    """Return how many orders of a part the venue may still be working, or may still get from us."""
    with database.snapshot() as tx:
        live = tx.orders.in_states(LIVE)
    return sum(level is not Level.SYMBOL or order.symbol == name for order in live)


def held(database: Database, level: Level = Level.ALL, name: str = "") -> dict[str, Decimal]:
    """Return the positions of a part, by the ledger, that are not flat, by symbol."""
    with database.snapshot() as tx:
        found = [position for position in tx.ledger.positions() if position.qty]
    return {each.symbol: each.qty for each in found if level is not Level.SYMBOL or each.symbol == name}


def expect_known(tx: Transaction, level: Level, name: str, *, account: str, venue: str) -> None:
    """Refuse with `ConfigError` a part that there is none of: a command for it would stop nothing."""
    known = {
        Level.ALL: ("",),
        Level.ACCOUNT: (account,),
        Level.VENUE: (venue,),
        Level.STRATEGY: (STRATEGY,),
        Level.SYMBOL: tuple(instrument.symbol for instrument in tx.market.instruments()),
    }[level]
    if name not in known:
        raise ConfigError(f"{level}: expected {' or '.join(known) or 'one that is traded'}, found {quoted(name)}")
