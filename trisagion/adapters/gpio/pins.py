"""What is asked of pins, and the two libraries that give them.

A contact lies between 3.3 V and its pin, which is pulled down: high is closed. So a cut wire, a plug that came off and
a wire that touches the metal of a case all read as open.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from importlib import import_module
from typing import Any, Final, Protocol

from trisagion.errors import ConfigError, StateError
from trisagion.safety.killswitch import Lamps, Sample

CONTACTS: Final = ("estop", "tamper", "key")


class PinsFailed(StateError):
    """A pin cannot be read or driven."""


@dataclass(frozen=True, slots=True)
class Layout:
    """Which pin is what, by the numbers of the chip (BCM), not of the header."""

    estop: int
    tamper: int
    key: int
    red: int
    yellow: int
    green: int
    buzzer: int


class Pins(Protocol):
    """Contacts that are read and lamps that are driven; every failure is `PinsFailed`."""

    def closed(self, contact: str) -> bool:
        """Tell whether a contact of `CONTACTS` is closed."""
        ...

    def show(self, lamps: Lamps) -> None:
        """Light what is to be lit."""
        ...

    def close(self) -> None:
        """Put everything out and give the pins back."""
        ...


def sample(pins: Pins, at_ns: int, *, told: bool) -> Sample:
    """Read all contacts; one that cannot be read is None."""
    seen: dict[str, bool | None] = {}
    for contact in CONTACTS:
        try:
            seen[contact] = pins.closed(contact)
        except PinsFailed:
            seen[contact] = None
    return Sample(at_ns, seen["estop"], seen["tamper"], seen["key"], told)


def open_pins(driver: str, layout: Layout) -> Pins:
    """Open the pins by a library, "rpi" or "gpiozero"; `ConfigError` where it is missing or finds no pins."""
    try:
        return RpiPins(layout) if driver == "rpi" else ZeroPins(layout)
    except ModuleNotFoundError as error:
        raise ConfigError(
            f"killswitch.driver: expected the library of {driver}, found none ({error}): "
            "install trisagion[gpio], or try the switch with --simulate FILE"
        ) from None
    except Exception as error:  # noqa: BLE001 # RPi.GPIO and each pin factory of gpiozero have errors of their own
        raise ConfigError(
            f"killswitch.driver: expected the pins of a Raspberry Pi through {driver}, found: "
            f"{str(error) or type(error).__name__}"
        ) from None


class RpiPins:
    """Pins by the module `RPi.GPIO`, be it of RPi.GPIO or, on newer boards, of rpi-lgpio."""

    def __init__(self, layout: Layout) -> None:
        self._gpio: Any = import_module("RPi.GPIO")
        self._pins: Mapping[str, int] = asdict(layout)
        self._gpio.setmode(self._gpio.BCM)
        for name, pin in self._pins.items():
            if name in CONTACTS:
                self._gpio.setup(pin, self._gpio.IN, pull_up_down=self._gpio.PUD_DOWN)
            else:
                self._gpio.setup(pin, self._gpio.OUT, initial=self._gpio.LOW)

    def closed(self, contact: str) -> bool:
        """Tell whether a contact is closed."""
        try:
            return bool(self._gpio.input(self._pins[contact]) == self._gpio.HIGH)
        except Exception as error:
            raise PinsFailed(f"expected to read the pin of {contact}, found: {error}") from error

    def show(self, lamps: Lamps) -> None:
        """Light what is to be lit."""
        try:
            for name, lit in asdict(lamps).items():
                self._gpio.output(self._pins[name], self._gpio.HIGH if lit else self._gpio.LOW)
        except Exception as error:
            raise PinsFailed(f"expected to drive the lamps, found: {error}") from error

    def close(self) -> None:
        """Put everything out and give the pins back."""
        self._gpio.cleanup(list(self._pins.values()))


class ZeroPins:
    """Pins by gpiozero, through whatever pin factory it finds or `GPIOZERO_PIN_FACTORY` names."""

    def __init__(self, layout: Layout) -> None:
        zero: Any = import_module("gpiozero")
        self._devices: dict[str, Any] = {}
        try:
            for name, pin in asdict(layout).items():
                contact = name in CONTACTS
                made = zero.DigitalInputDevice(pin, pull_up=False) if contact else zero.DigitalOutputDevice(pin)
                self._devices[name] = made
        except BaseException:
            self.close()
            raise

    def closed(self, contact: str) -> bool:
        """Tell whether a contact is closed."""
        try:
            return bool(self._devices[contact].value)
        except Exception as error:
            raise PinsFailed(f"expected to read the pin of {contact}, found: {error}") from error

    def show(self, lamps: Lamps) -> None:
        """Light what is to be lit."""
        try:
            for name, lit in asdict(lamps).items():
                self._devices[name].value = int(lit)
        except Exception as error:
            raise PinsFailed(f"expected to drive the lamps, found: {error}") from error

    def close(self) -> None:
        """Put everything out and give the pins back."""
        for device in self._devices.values():
            device.close()
