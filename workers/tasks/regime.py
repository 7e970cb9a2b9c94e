"""The models behind the state of a market."""

from collections.abc import Iterable

from celery.exceptions import SoftTimeLimitExceeded

from trisagion.services.outcome import Outcome
from workers.app import house, stage


@stage("regime.refit")
def refit(now_ns: int, subject: str) -> Iterable[Outcome]:
    """Fit the model that `subject` names to the bars closed by now; give it up at the time limit."""
    try:
        return (house().refit(subject, now_ns),)
    except SoftTimeLimitExceeded:
        limit_s = house().settings.regime.fit_s_max
        return (house().give_up_refit(subject, now_ns, f"stopped at its time limit of {limit_s} s"),)
