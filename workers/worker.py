"""The worker of every stage but the sessions: `celery -A workers.worker worker -Q market,cohort,…`."""

from workers import pulse, tasks
from workers.app import app

tasks.load_stages()
pulse.install()

__all__ = ["app"]
