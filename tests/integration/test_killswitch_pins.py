"""The pins by each library, and the whole way from a contact that bounces, sticks or is cut to the state of the switch.

gpiozero runs with its own pin factory for tests; the module `RPi.GPIO` refuses to load elsewhere than on a Raspberry
Pi, so what stands for it here has its functions and constants.
"""

import socket
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from trisagion.adapters.gpio import FilePins, Layout, Pins, PinsFailed, open_pins, sample
from trisagion.adapters.gpio.notify import notify
from trisagion.clock import MILLISECOND_NS, SECOND_NS
from trisagion.errors import ConfigError
from trisagion.safety.killswitch import Lamps, State, Switch, SwitchRules, look

LAYOUT = Layout(estop=17, tamper=27, key=22, red=5, yellow=6, green=13, buzzer=19)
RULES = SwitchRules(30 * MILLISECOND_NS, SECOND_NS, 60 * SECOND_NS)


class Bench:
    """Pins and the hand that moves their contacts."""

    def __init__(self, pins: Pins, wire: Callable[[str, bool], None], lit: Callable[[], Lamps]) -> None:
        self.pins = pins
        self.wire = wire
        self.lit = lit
        self.switch = Switch.starting(0)
        for contact, closed in (("estop", True), ("tamper", True), ("key", False)):
            wire(contact, closed)

    def wait(self, seconds: float) -> State:
        """Look every 10 ms for a while of the switch's own time."""
        for _ in range(round(seconds * 100)):
            at_ns = self.switch.at_ns + 10 * MILLISECOND_NS
            self.switch = look(self.switch, sample(self.pins, at_ns, told=True), RULES)
        return self.switch.state

    def arm(self) -> None:
        """Pass the self-test."""
        assert self.wait(2.5) is State.SELF_TEST
        self.wire("estop", False)
        self.wait(0.1)
        self.wire("estop", True)
        assert self.wait(0.1) is State.ARMED


class Board(ModuleType):
    """What stands for the module `RPi.GPIO`: levels by pin, and pulls as they were asked for."""

    BCM, IN, OUT, LOW, HIGH, PUD_DOWN = 11, 1, 0, 0, 1, 21

    def __init__(self) -> None:
        super().__init__("RPi.GPIO")
        self.levels: dict[int, int] = {}
        self.broken = False

    def setmode(self, mode: int) -> None:
        """Number the pins as the chip does."""
        assert mode == self.BCM

    def setup(self, pin: int, way: int, pull_up_down: int | None = None, initial: int | None = None) -> None:
        """Make a pin an input with its pull, or an output with its first level."""
        assert (way, pull_up_down, initial) in {(self.IN, self.PUD_DOWN, None), (self.OUT, None, self.LOW)}
        self.levels[pin] = 0

    def input(self, pin: int) -> int:
        """Return a level."""
        if self.broken:
            raise RuntimeError("the chip is gone")
        return self.levels[pin]

    def output(self, pin: int, level: int) -> None:
        """Set a level."""
        if self.broken:
            raise RuntimeError("the chip is gone")
        self.levels[pin] = level

    def cleanup(self, pins: list[int]) -> None:
        """Give pins back."""
        for pin in pins:
            del self.levels[pin]


@pytest.fixture
def board(monkeypatch: pytest.MonkeyPatch) -> Board:
    """Give a board to be found as `RPi.GPIO`."""
    board = Board()
    package = ModuleType("RPi")
    package.GPIO = board  # type: ignore[attr-defined] # a module takes any name
    monkeypatch.setitem(sys.modules, "RPi", package)
    monkeypatch.setitem(sys.modules, "RPi.GPIO", board)
    return board


@pytest.fixture
def factory(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Give gpiozero's own pin factory for tests."""
    from gpiozero import Device
    from gpiozero.pins.mock import MockFactory

    made = MockFactory()
    monkeypatch.setattr(Device, "pin_factory", made)
    return made


def pin_of(contact: str) -> int:
    """Return the pin of a contact or lamp."""
    return int(getattr(LAYOUT, contact))


@pytest.fixture(params=["rpi", "gpiozero", "file"])
def bench(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Bench]:
    """Give a bench of each kind."""
    lamps = ("red", "yellow", "green", "buzzer")
    if request.param == "rpi":
        board = request.getfixturevalue("board")
        with closing(open_pins("rpi", LAYOUT)) as pins:
            yield Bench(
                pins,
                lambda contact, closed: board.levels.__setitem__(pin_of(contact), int(closed)),
                lambda: Lamps(*(bool(board.levels[pin_of(name)]) for name in lamps)),
            )
        assert board.levels == {}
    elif request.param == "gpiozero":
        made = request.getfixturevalue("factory")
        with closing(open_pins("gpiozero", LAYOUT)) as pins:
            yield Bench(
                pins,
                lambda contact, closed: getattr(made.pin(pin_of(contact)), "drive_high" if closed else "drive_low")(),
                lambda: Lamps(*(bool(made.pin(pin_of(name)).state) for name in lamps)),
            )
    else:
        path, shown = tmp_path / "contacts", {"estop": "", "tamper": "", "key": ""}

        def wire(contact: str, closed: bool) -> None:
            shown[contact] = "closed" if closed else "open"
            path.write_text("\n".join(f"{name} {word}" for name, word in shown.items() if word), encoding="utf-8")

        with closing(FilePins(path)) as file_pins:
            yield Bench(file_pins, wire, lambda: file_pins.lamps)


def test_a_switch_is_armed_pressed_released_and_reset(bench: Bench) -> None:
    """The whole way of one press, by each library."""
    bench.arm()
    for closed in (False, True) * 3:
        bench.wire("estop", closed)
        bench.wait(0.01)
    bench.wire("estop", False)
    assert bench.wait(0.05) is State.PRESSED
    bench.wire("estop", True)
    assert bench.wait(2) is State.COOLING
    bench.wire("key", True)
    assert bench.wait(0.1) is State.ARMED


def test_a_contact_that_is_stuck_never_arms(bench: Bench) -> None:
    """The press that the self-test asks for does not come."""
    assert bench.wait(60.01) is State.FAULT
    assert "stuck" in bench.switch.reason


def test_a_wire_that_is_cut_trips(bench: Bench) -> None:
    """Either loop, at any time; the key does not help while it is open."""
    bench.arm()
    bench.wire("tamper", False)
    assert bench.wait(0.1) is State.TAMPERED
    bench.wire("estop", False)
    assert bench.wait(0.1) is State.PRESSED
    bench.wire("key", True)
    assert bench.wait(5) is State.PRESSED


def test_a_lamp_is_lit_and_put_out(bench: Bench) -> None:
    """Each alone, and all."""
    shown = [Lamps(red=True), Lamps(yellow=True), Lamps(green=True), Lamps(buzzer=True), Lamps(True, True, True, True)]
    for lamps in (*shown, Lamps()):
        bench.pins.show(lamps)
        assert bench.lit() == lamps


def test_a_chip_that_is_gone_is_a_fault(board: Board) -> None:
    """What cannot be read is no closed loop, and lamps that cannot be driven say so."""
    with closing(open_pins("rpi", LAYOUT)) as pins:
        bench = Bench(pins, lambda contact, closed: board.levels.__setitem__(pin_of(contact), int(closed)), Lamps)
        bench.arm()
        board.broken = True
        assert bench.wait(0.01) is State.FAULT
        assert bench.switch.reason == "cannot be read: estop, tamper, key"
        with pytest.raises(PinsFailed, match="expected to drive the lamps, found: the chip is gone"):
            pins.show(Lamps())


def test_a_pin_of_gpiozero_that_was_closed_cannot_be_read(factory: Any) -> None:
    """Its own error becomes ours."""
    pins = open_pins("gpiozero", LAYOUT)
    pins.close()
    assert factory is not None
    with pytest.raises(PinsFailed, match="expected to read the pin of estop"):
        pins.closed("estop")
    with pytest.raises(PinsFailed, match="expected to drive the lamps"):
        pins.show(Lamps(red=True))


def test_a_machine_without_pins_says_what_it_lacks(monkeypatch: pytest.MonkeyPatch) -> None:
    """A library that is missing, and one that finds no pins; neither is a traceback."""
    monkeypatch.setitem(sys.modules, "RPi", None)
    monkeypatch.setitem(sys.modules, "RPi.GPIO", None)
    with pytest.raises(ConfigError, match=r"install trisagion\[gpio\]"):
        open_pins("rpi", LAYOUT)
    monkeypatch.setenv("GPIOZERO_PIN_FACTORY", "nothing")
    with pytest.raises(ConfigError, match="expected the pins of a Raspberry Pi through gpiozero, found"):
        open_pins("gpiozero", LAYOUT)


@pytest.mark.parametrize("text", ["", "estop shut", "estop", "estop closed open", "\xff"])
def test_a_file_without_a_word_on_a_contact_cannot_be_read(text: str, tmp_path: Path) -> None:
    """Nor can one that is away."""
    path = tmp_path / "contacts"
    path.write_text(text, encoding="latin-1")
    for pins in (FilePins(path), FilePins(tmp_path / "away")):
        with pytest.raises(PinsFailed, match="expected lines as estop closed"):
            pins.closed("estop")


def test_the_service_manager_is_told_where_there_is_one(short_directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A datagram to the socket that it names; without a name, or when nobody listens there, nothing."""
    place = short_directory / "notify"
    with closing(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)) as manager:
        manager.bind(str(place))
        manager.settimeout(20)
        notify("LOST=1")
        monkeypatch.setenv("NOTIFY_SOCKET", str(place))
        notify("WATCHDOG=1")
        assert manager.recv(100) == b"WATCHDOG=1"
    place.unlink()
    notify("WATCHDOG=1")
