"""The venues that keep the port `session_ports.VenueSession`, each with a real session of ours, on one tape.

A stage is one venue of its own with one session to it: FIX and the TWS of Interactive Brokers over loopback, with the
venue as a process, and the paper venue in this process. What differs between venues by their own rules is said here, in
`Manners`, and nowhere in the cases.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from decimal import Decimal
from pathlib import Path
from typing import Any

from tests.integration.fix_market import WAIT_S, Market, Sink, at, kill, order
from trisagion.adapters.files import load
from trisagion.adapters.venues.fix.initiator import FixSession
from trisagion.adapters.venues.ib.configured import ib_config
from trisagion.adapters.venues.ib.session import IbSession
from trisagion.adapters.venues.paper import PaperConfig, PaperSession
from trisagion.ids import ClOrdId, link_cl_ord_id
from trisagion.orders.state import OrderState
from trisagion.orders.types import ExecutionReport, Order
from trisagion.session_ports import OwnedSession
from trisagion.settings import Ib
from trisagion.units import Price, Quantity

VENUE = "SIM"


@dataclass(frozen=True, slots=True)
class Manners:
    """What a venue does in its own way.

    `post_only`: it knows orders that only make. `cancels_by_name`: a cancel names the order by its ClOrdID; elsewhere
    it goes by a number of the venue's, and nothing can be sent about an order that has none.
    """

    post_only: bool = True
    cancels_by_name: bool = True


class Stage(ABC):
    """One venue, one session of ours, and what was heard on it."""

    manners = Manners()
    session: OwnedSession

    def __init__(self, directory: Path) -> None:
        self.market = Market(directory)
        self.control = self.market.control
        self.sink = Sink()

    @abstractmethod
    def open(self) -> None:
        """Start the venue, play one second, log on."""

    @abstractmethod
    def made(self) -> OwnedSession:
        """Make a session to the venue, not yet started."""

    @abstractmethod
    def restart_venue(self) -> None:
        """End the venue and start it again; return when the session is logged on again."""

    def restart_session(self) -> None:
        """Stop the session and start another in its place; return when it has logged on."""
        self.session.stop()
        self.log_on()

    @contextmanager
    def away(self) -> Iterator[None]:
        """Be logged off while the venue lives on; at the end the session is logged on."""
        self.session.stop()
        yield
        self.log_on()

    def log_on(self) -> None:
        """Start a session and wait until it may send."""
        logons = self.sink.logons
        self.session = self.made()
        self.session.start()
        self.sink.wait(lambda: self.sink.logons > logons)

    def close(self) -> None:
        """End session and venue."""
        if hasattr(self, "session"):
            self.session.stop()
        self.market.close()


class FixStage(Stage):
    """FIX 4.4: our session and the venue's process."""

    def open(self) -> None:
        """Start the venue, play one second, log on."""
        self.process = self.market.start()
        self.control.play(at(1))
        self.log_on()

    def made(self) -> FixSession:
        """Make a session to the venue."""
        return FixSession(self.market.config(), self.sink, VENUE)

    def restart_venue(self) -> None:
        """Kill the venue's process."""
        logons = self.sink.logons
        kill(self.process)
        self.process = self.market.start()
        self.sink.wait(lambda: self.sink.logons > logons)


class PaperStage(Stage):
    """The paper venue: both ends are one process, so the end of either is the end of both."""

    def open(self) -> None:
        """Start both, play one second."""
        self.log_on()
        self.control.play(at(1))

    def made(self) -> PaperSession:
        """Make session and venue."""
        where = self.market.directory
        config = PaperConfig((self.market.spec,), "ACC", where / "s", where / "c", reconnect_s=AWAY_S)
        return PaperSession(config, self.sink, VENUE)

    def restart_venue(self) -> None:
        """Start both again: how the paper venue dies by a kill is a test of its own."""
        self.restart_session()

    @contextmanager
    def away(self) -> Iterator[None]:
        """Cut the line, for there is no venue without the session."""
        logons, logouts = self.sink.logons, self.sink.logouts
        self.control.fault("disconnect")
        self.sink.wait(lambda: self.sink.logouts > logouts)
        yield
        self.sink.wait(lambda: self.sink.logons > logons)


class IbStage(Stage):
    """Interactive Brokers: our session and the process of the bundled TWS, which has no post-only."""

    manners = Manners(post_only=False, cancels_by_name=False)

    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        self.ids = Ids()
        self.address = (LOOPBACK, self.market.port)

    def open(self) -> None:
        """Start the venue, play one second, log on."""
        self._start()
        self.control.play(at(1))
        self.log_on()

    def made(self) -> IbSession:
        """Make a session to the venue, with the order ids that the last one left."""
        settings = Ib(port=self.market.port, client_id=7, account="DU1", reset_windows=())
        store = self.market.directory / "s"
        config = ib_config(settings, [load(self.market.spec).instrument], self.address, store)
        return IbSession(config, self.sink, VENUE, self.ids)

    def restart_venue(self) -> None:
        """Kill the venue's process."""
        logons = self.sink.logons
        kill(self.process)
        self._start()
        self.sink.wait(lambda: self.sink.logons > logons)

    def _start(self) -> None:
        where = ("--port", str(self.market.port), "--control", str(self.market.directory / "c"))
        store = ("--store", str(self.market.directory / "v"), "--account", "DU1")
        spec = ("--data-spec", self.market.spec.to_json())
        self.process = self.market.run("-m", "trisagion.adapters.venues.ib.venue", *spec, *where, *store)


class Ids:
    """`session_ports.OrderIds` for as long as a test: each number once."""

    def __init__(self) -> None:
        self._next = 1

    def reserve(self, session: str, floor: int, count: int) -> int:
        """Return the first of `count` fresh numbers."""
        first = max(self._next, floor)
        self._next = first + count
        return first


LOOPBACK = "127.0.0.1"
AWAY_S = 2.0
"""How long the paper venue's line stays down: what is done meanwhile takes milliseconds."""

STAGES: dict[str, type[Stage]] = {"fix": FixStage, "ib": IbStage, "paper": PaperStage}


def wanting(of: Order, qty: int, px: str, link: int = 1) -> Order:
    """Return an order that is asked to become another."""
    wanted = Quantity(Decimal(qty)), Price(Decimal(px))
    return replace(of, state=OrderState.PENDING_REPLACE, links=link, wanted_qty=wanted[0], wanted_price=wanted[1])


def about(sink: Sink, name: str, true: Callable[[ExecutionReport], bool]) -> ExecutionReport:
    """Wait for a report about an order, by the name it began with or one that a replace gave it, and return it."""
    names = {link_cl_ord_id(ClOrdId(name), link) for link in range(3)}

    def found() -> list[ExecutionReport]:
        return [report for report in sink.reports if report.cl_ord_id in names and true(report)]

    sink.wait(lambda: bool(found()))
    return found()[-1]


def booked(sink: Sink) -> list[ExecutionReport]:
    """Return the fills as the inbox books them: once by ExecID; what is told again must be the same."""
    once: dict[str, ExecutionReport] = {}
    for report in sink.reports:
        if report.fills:
            assert report.exec_id is not None
            first = once.setdefault(report.exec_id, report)
            assert _terms(report) == _terms(first)
    return list(once.values())


def these(*figures: object) -> tuple[object, ...]:
    """Return figures to be compared with plain numbers."""
    return figures


def _terms(report: ExecutionReport) -> tuple[object, ...]:
    return report.last_qty, report.last_px, report.fee, report.liquidity, report.side, report.symbol


def at_venue(stage: Stage) -> Sequence[dict[str, Any]]:
    """Return the fills in the venue's own books."""
    fills: Sequence[dict[str, Any]] = stage.control.status()["fills"]
    return fills


__all__ = [
    "STAGES",
    "VENUE",
    "WAIT_S",
    "Manners",
    "Stage",
    "about",
    "at",
    "at_venue",
    "booked",
    "order",
    "these",
    "wanting",
]
