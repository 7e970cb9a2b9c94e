"""Table exit_state."""

from dataclasses import replace
from typing import Final

import sqlalchemy as sa

from trisagion.adapters.db import tables as t
from trisagion.adapters.db.session import Session, params, upsert
from trisagion.errors import UnreadableRow
from trisagion.portfolio.exits import Cause, ExitState

_STATE: Final = sa.select(t.exit_state).where(
    t.exit_state.c.strategy == sa.bindparam("its_strategy"), t.exit_state.c.symbol == sa.bindparam("its_symbol")
)
_STATE_LOCKED: Final = _STATE.with_for_update()
_PUT: Final = upsert(t.exit_state, newest_by="seen_ns")


class Exits:
    """`exit_ports.ExitStore`."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def state(self, strategy: str, symbol: str) -> ExitState:
        """Return what is remembered, locked against other writers until the transaction ends; nothing before a row."""
        statement = _STATE_LOCKED if self._session.writable else _STATE
        row = self._session.row(statement, {"its_strategy": strategy, "its_symbol": symbol})
        if row is None:
            return ExitState.nothing(strategy, symbol)
        state = ExitState(*row)
        try:
            return replace(state, cause=None if state.cause is None else Cause(state.cause))
        except ValueError as error:
            raise UnreadableRow(f"exit of {strategy} in {symbol}: expected a cause of ours, found {error}") from None

    def put(self, state: ExitState) -> None:
        """Insert or replace what is remembered; what has seen later bars stays."""
        self._session.write(_PUT, params(state))
