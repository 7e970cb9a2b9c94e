"""What the dashboard shows: one look at a platform that runs, and how it is written as lines of a terminal."""

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Final

from trisagion.cli.table import aligned
from trisagion.clock import SECOND_NS, iso
from trisagion.errors import harmless
from trisagion.ledger.types import Account
from trisagion.orders.state import LIVE
from trisagion.orders.types import Order
from trisagion.safety.modes import Control, Mode
from trisagion.services.control import present_ns
from trisagion.units import plain

if TYPE_CHECKING:
    from trisagion.adapters.db.engine import Unit

TEXT_MAX: Final = 1_000
"""Signs of a line that are looked at."""
SILENT_S: Final = 5.0
"""A process says each second that it lives; after five of them unsaid it is marked. Our choice."""
EVENTS_SHOWN: Final = 6
ORDERS_SHOWN: Final = 8
PARTS_SHOWN: Final = 4
PROCESSES_SHOWN: Final = 8
POSITIONS_SHOWN: Final = 8


@dataclass(frozen=True, slots=True)
class Beat:
    """The last word of a process or of the hardware kill switch, and how old it is."""

    name: str
    what: str
    age_s: float


@dataclass(frozen=True, slots=True)
class Look:
    """One look at a platform. `at_ns` is the instant it has come to, `shut` are the sessions whose gate is shut."""

    at_ns: int
    everything: Control
    parts: tuple[Control, ...]
    shut: tuple[str, ...]
    beats: tuple[Beat, ...]
    live: tuple[Order, ...]
    positions: tuple[tuple[str, Decimal], ...]
    equity: Decimal
    profit: Decimal
    currency: str
    events: tuple[str, ...]


def look(unit: "Unit", currency: str, switch: str) -> Look:
    """Read everything in one transaction; `switch` names the hardware kill switch, empty where there is none."""
    from trisagion.adapters.db.reading import events

    standing, at_ns, wall_ns = unit.control.standing(), present_ns(unit), unit.control.wall_ns()
    beats = [
        Beat(each.name, f"{each.tasks} tasks", (wall_ns - each.wall_ns) / SECOND_NS) for each in unit.control.beats()
    ]
    if switch:
        last = unit.switches.beat(switch)
        age_s = float("inf") if last is None else (wall_ns - last.at_ns) / SECOND_NS
        beats.append(Beat(f"kill switch {switch}", "never heard" if last is None else last.state, age_s))
    sample, capital = unit.ledger.last_equity(), unit.ledger.balance(Account.CAPITAL).copy_negate()
    equity = capital if sample is None else sample.equity
    return Look(
        at_ns=at_ns,
        everything=standing.everything,
        parts=tuple(standing.at(at_ns)),
        shut=tuple(gate.session for gate in unit.control.gates() if gate.shut),
        beats=tuple(beats),
        live=tuple(unit.orders.in_states(LIVE)),
        positions=tuple((each.symbol, each.qty) for each in unit.ledger.positions() if each.qty),
        equity=equity,
        profit=equity - capital,
        currency=currency,
        events=tuple(f"{each.kind} {each.subject} {each.text}".strip() for each in events(unit, EVENTS_SHOWN)),
    )


def lines(seen: Look, width: int) -> list[str]:
    """Return a look as lines of at most `width` signs, none of which acts on a terminal."""
    found = [
        f"trisagion  {iso(seen.at_ns)}  {_mode(seen.everything)}",
        *_titled("", _some([_mode(part) for part in seen.parts], PARTS_SHOWN)),
        *_titled("", [f"gate of {name} SHUT" for name in seen.shut]),
        "",
        f"equity     {seen.equity:,.2f} {seen.currency}  P&L {seen.profit:+,.2f}",
        *_titled("position", _some([f"{symbol} {plain(qty)}" for symbol, qty in seen.positions], POSITIONS_SHOWN)),
        *([] if seen.positions else ["position   flat"]),
        f"orders     {len(seen.live)} live",
        *_titled("", _some([_order(order) for order in seen.live], ORDERS_SHOWN)),
        "",
        *_titled("process", _some(list(aligned([_beat(beat) for beat in seen.beats], (1, 2))), PROCESSES_SHOWN)),
        "",
        *_titled("event", seen.events),
    ]
    return [fitting(line, width) for line in found]


def fitting(text: str, width: int) -> str:
    """Return a text as one line that a terminal shows, and is wide enough for."""
    return harmless(text, TEXT_MAX).replace("\n", " ")[: width - 1]


def _mode(control: Control) -> str:
    name = control.mode.value.upper() if control.mode is not Mode.NORMAL else control.mode.value
    where = "" if control.where == "all" else f" of {control.where}"
    return f"{name}{where}, by {control.operator}: {control.reason}"


def _order(order: Order) -> str:
    price = "?" if order.price is None else plain(order.price)
    return f"{order.symbol} {order.side} {plain(order.leaves_qty)} @ {price}  {order.state}  {order.cl_ord_id}"


def _beat(beat: Beat) -> tuple[str, ...]:
    age = "" if beat.age_s == float("inf") else f"{beat.age_s:.0f} s ago"
    return beat.name, beat.what, age, "SILENT" if beat.age_s > SILENT_S else ""


def _some(rows: Sequence[str], count: int) -> list[str]:
    """Return the first of some rows, and how many more there are."""
    hidden = len(rows) - count
    return [*rows[:count], f"and {hidden} more"] if hidden > 0 else list(rows)


def _titled(title: str, rows: Sequence[str]) -> list[str]:
    """Return rows beside a title, which the first one of them has."""
    return [f"{title if index == 0 else '':<11}{row}" for index, row in enumerate(rows)]
