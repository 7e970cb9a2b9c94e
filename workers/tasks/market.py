"""Market data in, features out."""

from collections.abc import Iterable

from trisagion.services.outcome import Outcome
from workers.app import house, stage


@stage("market.ingest")
def ingest(now_ns: int, subject: str) -> Iterable[Outcome]:
    """Store the minute that the feed publishes in the message (`subject` is its `MarketStep`s as JSON)."""
    return (house().ingest(subject, now_ns),)


@stage("regime.detect")
def detect(now_ns: int, subject: str) -> Iterable[Outcome]:
    """Compute the features of a symbol's minute."""
    return house().detect(subject, now_ns)
