"""One module per stage; a task calls one use case through the wiring. What follows is in workers/flow.py."""

from importlib import import_module


def load_stages() -> None:
    """Register the tasks that any worker can do."""
    for stage in ("market", "regime", "cohort", "reconcile", "take_profit", "gateway", "sweep", "copies", "audit"):
        import_module(f"workers.tasks.{stage}")


def load_session() -> None:
    """Register the tasks that only a session's owner can do."""
    import_module("workers.tasks.session")
