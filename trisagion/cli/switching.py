"""The daemon of the hardware kill switch: one thread looks at the contacts, another speaks to the platform.

Looking must not wait for a database that does not answer, so it has a thread of its own, the main one. The other one
speaks only while the first one looks: should that one hang, the platform hears nothing and pauses.
"""

import json
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from typing import Final

from trisagion.adapters.db import SqlDatabase, open_database
from trisagion.adapters.gpio import Pins, PinsFailed, sample
from trisagion.adapters.gpio.notify import notify
from trisagion.clock import SECOND_NS, iso
from trisagion.errors import TrisagionError
from trisagion.safety.killswitch import STALL_NS, Lamps, State, Step, Switch, SwitchRules, Word, lamps, look
from trisagion.services.beat_switch import Speaker, Told

LOOK_S: Final = 0.01
"""Between two looks at the contacts: three to the shortest debounce time that is usual."""
NOTIFY_S: Final = 1.0
SPEAK_S_MAX: Final = 30.0
"""A heart-beat to a database that does not answer is given up before; a thread that is later hangs."""

STEPS: Final = {
    Step.CLOSE: "wait: the loops must be closed and the key not turned",
    Step.PRESS: "press the emergency stop",
    Step.RELEASE: "release the emergency stop",
}


def tell(switch: Switch, shown: Lamps, *, as_json: bool) -> None:
    """Print what the switch is now."""
    if as_json:
        state = {"state": switch.state, "reason": switch.reason, "word": switch.word, "trips": switch.trips}
        step = {"step": switch.step} if switch.state is State.SELF_TEST else {}
        print(json.dumps({"at": iso(time.time_ns()), **state, **step, "lamps": asdict(shown)}), flush=True)
        return
    more = f"; {STEPS[switch.step]}" if switch.state is State.SELF_TEST else ""
    print(f"{iso(time.time_ns())}  {switch.state}: {switch.reason}{more}", flush=True)


@dataclass(slots=True)
class Looker:
    """Looks at the contacts and shows what follows; `said` is what was printed last."""

    pins: Pins
    rules: SwitchRules
    as_json: bool
    switch: Switch
    shown: Lamps = field(default=Lamps())
    said: object = None

    def look(self, *, told: bool, heard: bool) -> Switch:
        """Look once."""
        self.switch = look(self.switch, sample(self.pins, time.monotonic_ns(), told=told), self.rules)
        self.shown = lamps(self.switch, self.rules, heard=heard)
        # Lamps that cannot be driven are seen by whoever looks at them; the contacts still count.
        with suppress(PinsFailed):
            self.pins.show(self.shown)
        now = (self.switch.state, self.switch.step, self.switch.trips)
        if now != self.said:
            tell(self.switch, self.shown, as_json=self.as_json)
            self.said = now
        return self.switch


class Voice(threading.Thread):
    """Speaks to the platform whose database `where` names, which may become another one with the next run."""

    def __init__(
        self, speaker: Speaker, where: Callable[[], str], beat_s: float, complain: Callable[[str], None]
    ) -> None:
        super().__init__(name="voice", daemon=True)
        self.woken = threading.Event()
        self.stopping = threading.Event()
        self.switch: Switch | None = None
        self.spoke_s = time.monotonic()
        self._speaker = speaker
        self._where = where
        self._beat_s = beat_s
        self._complain = complain
        self._url = ""
        self._database: SqlDatabase | None = None
        self._number = 0
        self._trip = (0, 0)
        self._last: Told | None = None
        self._said_s = 0.0
        self._complaint = ""

    def told(self, switch: Switch) -> bool:
        """Tell whether the platform has taken the word of the present trip."""
        trip, number = self._trip
        return self._last is not None and trip == switch.trips and self._last.taken >= number

    def heard(self) -> bool:
        """Tell whether the platform takes what is said, by what it took when we spoke last, lately enough to count."""
        spoken = time.monotonic() - self._said_s <= self._speaker.deadline_ns / SECOND_NS
        return spoken and self._last is not None and self._last.heard

    def run(self) -> None:
        """Speak at every beat, and at once when the word has changed; whoever does not look is silent."""
        while not self.stopping.is_set():
            self.woken.wait(self._beat_s)
            self.woken.clear()
            switch = self.switch
            if switch is not None and time.monotonic_ns() - switch.at_ns <= STALL_NS:
                self._speak(switch.state, switch.word, switch.reason, switch.trips)
            self.spoke_s = time.monotonic()

    def end(self, switch: Switch) -> None:
        """Say that nobody looks any more, which is a pause at least; the deadline need not pass first."""
        self.stopping.set()
        self.woken.set()
        self.join(SPEAK_S_MAX)
        word = Word.STOP if switch.word is Word.STOP else Word.PAUSE
        self._speak("stopped", word, "the daemon of the switch was stopped", switch.trips)
        if self._database is not None:
            self._database.close()

    def _speak(self, state: str, word: Word, reason: str, trips: int) -> None:
        try:
            url = self._where()
            if self._database is None or url != self._url:
                if self._database is not None:
                    self._database.close()
                self._url, self._database = url, open_database(url)
            said = self._speaker.beat(self._database, state, word, reason, self._number)
        except TrisagionError as error:
            self._last = None
            if str(error) != self._complaint:
                self._complaint = str(error)
                self._complain(f"the platform is not told: {error}")
            return
        if self._complaint:
            self._complaint = ""
            self._complain("the platform is told again")
        self._number = said.number
        if self._trip[0] != trips:
            self._trip = (trips, said.number)
        self._last, self._said_s = said, time.monotonic()


def keep_switch(looker: Looker, voice: Voice, stopping: threading.Event) -> None:
    """Be the switch until `stopping`."""
    voice.start()
    notified_s, word = 0.0, None
    while not stopping.wait(LOOK_S):
        switch = looker.look(told=voice.told(looker.switch), heard=voice.heard())
        voice.switch = switch
        if switch.word is not word:
            word = switch.word
            voice.woken.set()
        present_s = time.monotonic()
        if present_s - notified_s >= NOTIFY_S and present_s - voice.spoke_s < SPEAK_S_MAX:
            notify("READY=1\nWATCHDOG=1" if voice.is_alive() else "STATUS=the voice has died")
            notified_s = present_s
    voice.end(looker.switch)


def drill(looker: Looker, stopping: threading.Event) -> None:
    """Test the switch with a person at it, without a platform: self-test, a trip, its cool-down, the key.

    Raises
    ------
    TrisagionError
        It is not what it should be; the text says what.
    """
    for wanted, ask in (
        (State.ARMED, ""),
        (State.PRESSED, "press the emergency stop again: it must trip"),
        (State.COOLING, "release the emergency stop"),
        (State.ARMED, "when yellow is steady beside red, turn the key and turn it back"),
    ):
        if ask:
            print(ask, flush=True)
        begun_ns = looker.switch.at_ns
        while looker.switch.state is not wanted:
            switch = looker.look(told=True, heard=True)
            if switch.cause in {State.FAULT, State.TAMPERED}:
                raise TrisagionError(f"expected a switch that is {wanted}, found {switch.state}: {switch.reason}")
            waited_ns = switch.at_ns - begun_ns
            if waited_ns > looker.rules.self_test_ns + looker.rules.cool_down_ns + SECOND_NS or stopping.is_set():
                raise TrisagionError(f"expected a switch that is {wanted}, found {switch.state}: {switch.reason}")
            time.sleep(LOOK_S)
