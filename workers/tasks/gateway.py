"""The order gateway."""

from collections.abc import Iterable

from trisagion.services.outcome import Outcome
from workers.app import house, stage


@stage("gateway.route")
def route(now_ns: int, subject: str) -> Iterable[Outcome]:
    """Check, price and route the order that `subject` names."""
    return (house().route(subject, house().present_ns(now_ns)),)


@stage("gateway.amend")
def amend(now_ns: int, subject: str) -> Iterable[Outcome]:
    """Ask for a replace: `subject` names order, quantity in all and price."""
    return (house().amend(subject, house().present_ns(now_ns)),)
