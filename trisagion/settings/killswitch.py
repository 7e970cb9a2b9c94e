"""The section of the hardware kill switch."""

from typing import Annotated, Final, Literal

from pydantic import AfterValidator, Field, ValidationInfo, field_validator

from trisagion.settings import fields
from trisagion.settings.fields import Seconds, Text
from trisagion.settings.section import Section

BEATS_MIN: Final = 3
"""So many heart-beats fit into the deadline: one that is late is no silence."""

Pin = Annotated[int, Field(strict=True, ge=0, le=27)]
"""A pin of the header by its number at the chip (BCM)."""


class Killswitch(Section):
    """The [hardware kill switch](killswitch.md) by its name, as the platform and as its daemon see it; empty: none.

    A press is `mode`, silence beyond `deadline_s` is a pause. `public_key` is both's, `private_key` the daemon's alone
    (`trisagion killswitch key` makes them). Pins are those of the chip (BCM); `rpi` is the module `RPi.GPIO`.
    """

    name: Annotated[Text, Field(pattern=r"^[A-Za-z0-9._-]{0,32}$")] = ""
    mode: Literal["pause", "emergency"] = "pause"
    public_key: Annotated[Text, Field(pattern=r"^([0-9a-f]{64})?$")] = ""
    private_key: Annotated[Text, AfterValidator(fields.secret)] = ""
    beat_ms: Annotated[int, Field(strict=True, ge=100, le=10_000)] = 500
    deadline_s: Seconds = 5
    driver: Literal["gpiozero", "rpi"] = "gpiozero"
    debounce_ms: Annotated[int, Field(strict=True, ge=20, le=250)] = 30
    cool_down_s: Seconds = 10
    self_test_s: Annotated[int, Field(strict=True, ge=5, le=3_600)] = 120
    estop_pin: Pin = 17
    tamper_pin: Pin = 27
    key_pin: Pin = 22
    red_pin: Pin = 5
    yellow_pin: Pin = 6
    green_pin: Pin = 13
    buzzer_pin: Pin = 19

    @field_validator("public_key")
    @classmethod
    def _there_for_a_name(cls, key: str, info: ValidationInfo) -> str:
        if info.data.get("name") and not key:
            raise ValueError("expected the public key of the switch, 64 hexadecimal digits, found none")
        return key

    @field_validator("deadline_s")
    @classmethod
    def _some_beats(cls, deadline_s: int, info: ValidationInfo) -> int:
        beat_ms = info.data.get("beat_ms", 0)
        if deadline_s * 1000 < BEATS_MIN * beat_ms:
            raise ValueError(f"expected at least {BEATS_MIN} times beat_ms ({beat_ms}), found {deadline_s} s")
        return deadline_s

    @field_validator("tamper_pin", "key_pin", "red_pin", "yellow_pin", "green_pin", "buzzer_pin")
    @classmethod
    def _each_once(cls, pin: int, info: ValidationInfo) -> int:
        taken = [name for name, value in info.data.items() if name.endswith("_pin") and value == pin]
        if taken:
            raise ValueError(f"expected another pin than {taken[0]}, found {pin}")
        return pin
