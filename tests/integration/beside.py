"""What another worker does while a transaction of ours is open."""

import threading
from collections.abc import Callable

from trisagion.adapters.db import retrying

BEGUN_S = 0.2


def meanwhile(act: Callable[[], object]) -> threading.Thread:
    """Begin something in another thread and give it time; where it needs what is locked, it goes on later."""
    thread = threading.Thread(target=lambda: retrying(act), daemon=True)
    thread.start()
    thread.join(BEGUN_S)
    return thread
