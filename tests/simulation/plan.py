"""What a seed makes of its world: how often each thing goes wrong in it, some worlds being calm and some hostile."""

from dataclasses import dataclass
from datetime import UTC, datetime
from random import Random
from typing import Final

from trisagion.clock import SECOND_NS

CALM_SHARE: Final = 0.1
"""Worlds in which nothing goes wrong: there, every order must end as it was meant to."""

_STARTS: Final = (
    (datetime(2024, 6, 11, 12, tzinfo=UTC), 8),
    # Soon before Friday 23:00, and before Good Friday, on the clocks of the Vatican: the rest begins in between.
    (datetime(2024, 6, 14, 20, 59, 20, tzinfo=UTC), 2),
    (datetime(2024, 3, 28, 22, 59, 30, tzinfo=UTC), 1),
)


@dataclass(frozen=True, slots=True)
class Plan:
    """Chances are per opportunity, rates per second of virtual time; `faults_s` is how long they last."""

    start_ns: int
    faults_s: float
    intents: int
    cancels: int
    amends: int
    messages_per_s: int
    mass_status: bool
    # processes
    deaths_per_s: float
    freezes_per_s: float
    # the database
    pause: float
    dies_before: float
    dies_after: float
    raises_kept: float
    raises_lost: float
    conflict: float
    outages_per_s: float
    # the broker
    lost: float
    doubled: float
    delayed: float
    # the wire
    cuts_per_s: float
    half_open: float
    dies_sending: float
    swallows: float
    # the venue
    venue_faults_per_s: float
    wrongs_per_s: float
    # people
    kills_per_s: float


def draw(seed: int) -> Plan:
    """Draw the plan of a seed."""
    random = Random(f"{seed}/plan")
    calm = random.random() < CALM_SHARE

    def chance(most: float) -> float:
        """Nothing, little or much: most faults are absent from most worlds, so that each is also met alone."""
        value = most * random.random() ** 2
        return value if random.random() < 0.5 and not calm else 0.0

    [start] = random.choices([start for start, _ in _STARTS], [weight for _, weight in _STARTS])
    return Plan(
        start_ns=int(start.timestamp()) * SECOND_NS,
        faults_s=random.choice([45.0, 75.0, 120.0]),
        intents=random.randint(8, 24),
        cancels=random.randint(0, 8),
        amends=random.randint(0, 8),
        messages_per_s=random.choice([2, 5, 50, 200]),
        mass_status=random.random() < 0.5,
        deaths_per_s=chance(0.08),
        freezes_per_s=chance(0.05),
        pause=chance(0.2),
        dies_before=chance(0.03),
        dies_after=chance(0.03),
        raises_kept=chance(0.05),
        raises_lost=chance(0.15),
        conflict=chance(0.1),
        outages_per_s=chance(0.06),
        lost=chance(0.5),
        doubled=chance(0.5),
        delayed=chance(0.5),
        cuts_per_s=chance(0.1),
        half_open=chance(0.8),
        dies_sending=chance(0.2),
        swallows=chance(0.9),
        venue_faults_per_s=chance(0.1),
        wrongs_per_s=chance(0.15),
        kills_per_s=chance(0.03),
    )
