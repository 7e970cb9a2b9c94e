"""An account at Interactive Brokers as an observer sees it: asked by a client of its own, beside the session."""

from trisagion.adapters.venues.ib.connection import Where
from trisagion.adapters.venues.ib.data import IbData
from trisagion.errors import DataError, StateError, StepTimeout
from trisagion.observer_ports import Seen
from trisagion.safety.snapshots import expected_symbol
from trisagion.units import quantity


def look(where: Where, environment: str) -> Seen:
    """Ask for the positions, as of now; what goes wrong is said in `Seen.reason`.

    A contract that is none of ours has a name of its own, with an @. `ConfigError` when it is another account.
    """
    try:
        with IbData(where, environment).opened() as data:
            return Seen({expected_symbol(symbol): quantity(qty) for symbol, qty in data.positions().items()})
    except (StateError, StepTimeout, DataError) as error:
        return Seen(reason=str(error))
