"""What the integers in messages and events mean. A message and an event are each a row of an int64 array."""

from enum import IntEnum, IntFlag
from typing import Final

VALUE_MAX: Final = 2**31 - 1
"""The largest price in ticks, quantity in lots and print: a product of two then fits 63 bits."""

NUMBER_STEP_MAX: Final = 2**20
"""By how much the number of a new order may be above the one before: orders lie in a table."""

STEPS_MAX: Final = 2**22
"""After so many steps a call ends at the next message or print, to be made again: below a tenth of a second."""


class Kind(IntEnum):
    """What a message asks for."""

    NEW = 0
    CANCEL = 1
    REPLACE = 2
    PLAY = 3
    """Play all tapes up to, not including, AT."""
    AMEND = 4
    """Put an order's sums right, whatever it is: LOTS more filled and PRICE more in value, or less."""


class Message(IntEnum):
    """Columns of a message; what a kind does not need is not read."""

    KIND = 0
    NUMBER = 1
    """Of the order: above 0, and higher for each NEW."""
    BOOK = 2
    """Which tape, counted from 0."""
    OWNER = 3
    SIDE = 4
    """+1 for a buy, -1 for a sell."""
    PRICE = 5
    """Ticks."""
    LOTS = 6
    MANNER = 7
    EXPIRE = 8
    """The instant in ns from which it is no longer good; 0 for never."""
    AT = 9
    """The instant of the message in ns."""


class Manner(IntFlag):
    """How an order wants to trade; none of these: as a limit order that rests."""

    POST_ONLY = 1
    IMMEDIATE_OR_CANCEL = 2
    FILL_OR_KILL = 4


class Happening(IntEnum):
    """What an event tells of."""

    NEW = 0
    REJECTED = 1
    TRADE = 2
    CANCELED = 3
    EXPIRED = 4
    REPLACED = 5
    REPLACE_REFUSED = 6
    """The order is what it was."""
    AMENDED = 7


class Column(IntEnum):
    """Columns of an event: the order's state after it, and the trade if it is one."""

    HAPPENING = 0
    NUMBER = 1
    STATE = 2
    PRICE = 3
    LOTS = 4
    CUM_LOTS = 5
    VALUE = 6
    """Sum of ticks times lots over its fills."""
    LAST_LOTS = 7
    LAST_TICKS = 8
    MAKER = 9
    """1 when it rested, 0 when it took."""
    REASON = 10
    AT = 11


class State(IntEnum):
    """Where an order stands."""

    NEW = 1
    PARTIALLY_FILLED = 2
    FILLED = 3
    CANCELED = 4
    REJECTED = 5
    EXPIRED = 6


class Reason(IntEnum):
    """Why something was refused, in descending precedence, or what is left of an order was cancelled."""

    NONE = 0
    BAD_QUANTITY = 1
    BAD_PRICE = 2
    BAD_INSTRUCTIONS = 3
    POST_ONLY_WOULD_CROSS = 4
    IOC_REMAINDER = 5
    FOK_UNFILLED = 6
