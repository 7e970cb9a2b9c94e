"""What goes wrong between the venue's books and the wire: reports lost, late or held back, messages refused.

Everything here follows from the commands, the messages and a seed: the same again gives the same faults. Time is the
tape's: what is late comes with the first play that reaches its instant.
"""

from collections.abc import Mapping, Sequence
from decimal import Decimal
from enum import Enum, auto
from typing import Any, Final

import numpy as np

from trisagion.clock import SECOND_NS
from trisagion.errors import DataError, VenueMistake
from trisagion.gateway.words import EXECUTION_REPORT, ORDER_CANCEL_REJECT, Fields, Tag
from trisagion.units import parse_decimal, whole_steps

SECONDS_MAX: Final = 7 * 86_400
"""The longest delay or outage that can be asked for."""

SWALLOWED_MAX: Final = 10_000
"""The most trades that can be asked to be lost."""

_ACKNOWLEDGEMENTS: Final = frozenset({"0", "4", "5", "8"})
"""ExecType(150) of what answers a request."""
_TRADE: Final = "F"


class Fate(Enum):
    """What becomes of an answer."""

    NOW = auto()
    LATE = auto()
    LOST = auto()


class Acknowledgements:
    """How many of the answers to requests are lost, and how many come late; none at first."""

    def __init__(self) -> None:
        self._random = np.random.default_rng(0)
        self._lost = self._late = 0.0
        self.late_ns = 0

    def share(self, *, lost: float, late: float, late_s: float, seed: int) -> None:
        """Lose a share of the answers to requests and delay another; shares of zero end it."""
        if not (0 <= lost <= 1 and 0 <= late <= 1 and lost + late <= 1 and 0 <= late_s <= SECONDS_MAX and seed >= 0):
            raise VenueMistake(
                "expected shares of 0 to 1, together too, a delay of at most a week and a seed of at least 0, "
                f"found lost {lost}, late {late}, late_s {late_s}, seed {seed}"
            )
        self._random = np.random.default_rng(seed)
        self._lost, self._late, self.late_ns = lost, late, round(late_s * SECOND_NS)

    def draw(self) -> Fate:
        """Draw the fate of the next answer."""
        luck = float(self._random.random())
        if luck < self._lost:
            return Fate.LOST
        return Fate.LATE if luck < self._lost + self._late else Fate.NOW


class Faults:
    """The faults in force; none at first."""

    def __init__(self) -> None:
        self.acknowledgements = Acknowledgements()
        self._per_second = 0
        self._second = self._in_second = 0
        self._outage_until_ns = 0
        self._to_swallow = 0
        self._held: list[tuple[int, Fields]] = []

    def rate_limit(self, per_second: int) -> None:
        """Refuse orders and changes above so many in a second of their TransactTime; 0 ends it."""
        if per_second < 0:
            raise VenueMistake(f"expected per_second of at least 0, found {per_second}")
        self._per_second = per_second

    def outage(self, seconds: float, now_ns: int) -> None:
        """Answer nothing and report nothing until the tape has been played so much further; the market goes on."""
        if not 0 <= seconds <= SECONDS_MAX:
            raise VenueMistake(f"expected seconds of 0 to {SECONDS_MAX}, found {seconds}")
        self._outage_until_ns = now_ns + round(seconds * SECOND_NS)

    def swallow(self, trades: int) -> None:
        """Lose the reports of the next trades: what was lost is never told again on this session; 0 ends it."""
        if not 0 <= trades <= SWALLOWED_MAX:
            raise VenueMistake(f"expected trades of 0 to {SWALLOWED_MAX}, found {trades}")
        self._to_swallow = trades

    def out(self, played_ns: int) -> bool:
        """Tell whether there is an outage."""
        return played_ns < self._outage_until_ns

    def too_fast(self, transact_ns: int) -> bool:
        """Count a message, and tell whether it is one too many in its second."""
        second = transact_ns // SECOND_NS
        if second != self._second:
            self._second, self._in_second = second, 0
        self._in_second += 1
        return 0 < self._per_second < self._in_second

    def answered(self, reports: Sequence[Fields], now_ns: int) -> tuple[Fields, ...]:
        """Return which answers to a request go out now; draws a number for each acknowledgement."""
        now = []
        for report in self._left(reports):
            kind = report[Tag.MSG_TYPE]
            acknowledges = kind == ORDER_CANCEL_REJECT or (
                kind == EXECUTION_REPORT and report[Tag.EXEC_TYPE] in _ACKNOWLEDGEMENTS
            )
            fate = self.acknowledgements.draw() if acknowledges else Fate.NOW
            if fate is Fate.NOW:
                now.append(report)
            elif fate is Fate.LATE:
                self._held.append((now_ns + self.acknowledgements.late_ns, report))
        return tuple(now)

    def played(self, reports: Sequence[Fields], until_ns: int) -> tuple[Fields, ...]:
        """Return what goes out when the tape has been played up to an instant: first what was held back until then."""
        reports = self._left(reports)
        if self.out(until_ns):
            self._held += [(self._outage_until_ns, report) for report in reports]
            return ()
        due = [held for held in self._held if held[0] <= until_ns]
        self._held = [held for held in self._held if held[0] > until_ns]
        return (*(report for _, report in sorted(due, key=lambda held: held[0])), *reports)

    def _left(self, reports: Sequence[Fields]) -> list[Fields]:
        """Return what is left of reports when the trades that are to be lost are."""
        left = []
        for report in reports:
            if self._to_swallow and report[Tag.MSG_TYPE] == EXECUTION_REPORT and report[Tag.EXEC_TYPE] == _TRADE:
                self._to_swallow -= 1
            else:
                left.append(report)
        return left


def value_of(command: Mapping[str, Any], name: str, kind: type[Any]) -> Any:
    """Read an argument of a fault command: a number, a whole number or a text, and never a truth value.

    Raises
    ------
    VenueMistake
        It is not there, or of another type.
    """
    value = command.get(name)
    if kind is float and isinstance(value, int) and not isinstance(value, bool) and abs(value) <= SECONDS_MAX:
        return float(value)
    if not isinstance(value, kind) or isinstance(value, bool):
        raise VenueMistake(f"fault {command.get('kind')!r}: expected {name} as {kind.__name__}, found {value!r}")
    return value


def steps_of(command: Mapping[str, Any], name: str, step: Decimal) -> int:
    """Read a decimal of a fault command as whole steps.

    Raises
    ------
    VenueMistake
        It is not there, no decimal as text, or between two steps.
    """
    try:
        value = parse_decimal(value_of(command, name, str), what=name)
    except DataError as error:
        raise VenueMistake(str(error)) from None
    steps = whole_steps(value, step)
    if steps is None:
        raise VenueMistake(f"{name}: expected whole steps of {step}, found {value}")
    return steps
