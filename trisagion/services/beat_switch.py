"""Tell the platform what the hardware kill switch is: one signed heart-beat, and what became of those before."""

from dataclasses import dataclass

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from trisagion.clock import SECOND_NS
from trisagion.errors import StaleOwner, quoted
from trisagion.ports import Database
from trisagion.safety.beats import Beat, is_signed, sign
from trisagion.safety.killswitch import Word


@dataclass(frozen=True, slots=True)
class Told:
    """A beat as it was written, by its number and the database's time, and the number that the platform took last.

    `heard` says that what it took is younger than the deadline.
    """

    number: int
    at_ns: int
    taken: int
    heard: bool


@dataclass(frozen=True, slots=True)
class Speaker:
    """Who speaks for a switch: its name, its key, this process, and after which silence the platform pauses."""

    name: str
    key: Ed25519PrivateKey
    owner: str
    deadline_ns: int

    def beat(self, database: Database, state: str, word: Word, reason: str, floor: int) -> Told:
        """Write a heart-beat whose number is above `floor` and above all that were signed or taken before.

        Raises
        ------
        StaleOwner
            Another process speaks for this switch: two switches of one name would hide that one is dead.
        """
        with database.transaction() as tx:
            if tx.control.acquire(f"killswitch:{self.name}", self.owner, self.deadline_ns / SECOND_NS) is None:
                raise StaleOwner(f"expected nobody else to speak for the switch {quoted(self.name)}, found a process")
            last, mark = tx.switches.beat(self.name), tx.switches.mark(self.name)
            # A row that we have not signed may hold any number, the last one that there is among them.
            signed = last.number if last is not None and is_signed(last, self.key.public_key()) else 0
            taken, taken_ns = (0, 0) if mark is None else (mark.number, mark.at_ns)
            at_ns = tx.control.wall_ns()
            number = max(floor, signed, taken) + 1
            tx.switches.put_beat(sign(Beat(self.name, number, at_ns, state, word, reason), self.key))
        return Told(number, at_ns, taken, heard=taken > 0 and abs(at_ns - taken_ns) <= self.deadline_ns)
