"""What a lane's venue is: the settings and the process of each, and its books as its protocol can tell them."""

from collections.abc import Mapping
from typing import Any

from trisagion.clock import SECOND_NS
from trisagion.settings import IB_SIM, Settings


def sets(venue: str, port: int) -> dict[str, object]:
    """Return the settings of a session with a venue on a port."""
    if venue != IB_SIM:
        return {"fix.port": port}
    return {
        "platform.venue": venue,
        "ib.port": port,
        "ib.maker": "guarded",
        "ib.heartbeat_s": 2,
        # More than the 120 that are to wait for a line; a TWS takes 20 of a side, and refuses the others.
        "risk.orders_max": 200,
    }


def module(settings: Settings) -> list[str]:
    """Return the module of the venue's process, and its arguments that no other venue has."""
    if settings.platform.venue == IB_SIM:
        return ["trisagion.adapters.venues.ib.venue", "--account", settings.ib.account]
    return ["trisagion.adapters.venues.fix.venue", "--sender", settings.fix.target, "--target", settings.fix.sender]


def books(settings: Settings, told: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return a venue's books with its fills dated as the protocol dates them: a TWS tells whole seconds."""
    if settings.platform.venue != IB_SIM:
        return told
    fills = [{**fill, "happened_ns": fill["happened_ns"] // SECOND_NS * SECOND_NS} for fill in told["fills"]]
    return {**told, "fills": fills}
