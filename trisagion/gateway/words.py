"""The FIX 4.4 vocabulary we speak, and the only way its values are read: strictly.

A message is a mapping from tag to text, header and body together; a repeating group is held flat, for ours have one
entry each. What is missing or garbled raises `VenueMistake` with tag and value: what cannot be read may be a fill.

Times carry nanoseconds. FIX 4.4 knows milliseconds; the nine-digit form is that of FIX 5.0 SP2, which QuickFIX reads in
all versions. An instant of whole milliseconds is written in the short form, so a venue of the old school can read it.
"""

import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from enum import IntEnum
from typing import Final, TypeAlias, TypeVar

from trisagion.clock import SECOND_NS
from trisagion.errors import DataError, VenueMistake
from trisagion.orders.rejects import Reject
from trisagion.orders.state import OrderState
from trisagion.orders.types import ExecType, Liquidity, Side
from trisagion.units import parse_decimal

Fields: TypeAlias = Mapping[int, str]
Word = TypeVar("Word")


class Tag(IntEnum):
    """The tags we use."""

    ACCOUNT = 1
    AVG_PX = 6
    CL_ORD_ID = 11
    COMMISSION = 12
    COMM_TYPE = 13
    CUM_QTY = 14
    EXEC_ID = 17
    EXEC_INST = 18
    EXEC_REF_ID = 19
    EXEC_TRANS_TYPE = 20
    HANDL_INST = 21
    LAST_PX = 31
    LAST_QTY = 32
    MSG_SEQ_NUM = 34
    MSG_TYPE = 35
    NEW_SEQ_NO = 36
    ORDER_ID = 37
    ORDER_QTY = 38
    ORD_STATUS = 39
    ORD_TYPE = 40
    ORIG_CL_ORD_ID = 41
    POSS_DUP_FLAG = 43
    PRICE = 44
    REF_SEQ_NUM = 45
    SENDING_TIME = 52
    SIDE = 54
    SYMBOL = 55
    TEXT = 58
    TIME_IN_FORCE = 59
    TRANSACT_TIME = 60
    CXL_REJ_REASON = 102
    ORD_REJ_REASON = 103
    TEST_REQ_ID = 112
    GAP_FILL_FLAG = 123
    EXPIRE_TIME = 126
    NO_RELATED_SYM = 146
    EXEC_TYPE = 150
    LEAVES_QTY = 151
    MD_REQ_ID = 262
    SUBSCRIPTION_REQUEST_TYPE = 263
    MARKET_DEPTH = 264
    NO_MD_ENTRY_TYPES = 267
    NO_MD_ENTRIES = 268
    MD_ENTRY_TYPE = 269
    MD_ENTRY_PX = 270
    MD_UPDATE_ACTION = 279
    MD_REQ_REJ_REASON = 281
    REF_MSG_TYPE = 372
    SESSION_REJECT_REASON = 373
    BUSINESS_REJECT_REASON = 380
    CXL_REJ_RESPONSE_TO = 434
    COMM_CURRENCY = 479
    PARTY_ID_SOURCE = 447
    PARTY_ID = 448
    PARTY_ROLE = 452
    NO_PARTY_IDS = 453
    MASS_CANCEL_REQUEST_TYPE = 530
    MASS_CANCEL_RESPONSE = 531
    TOTAL_AFFECTED_ORDERS = 533
    USERNAME = 553
    PASSWORD = 554
    ACCOUNT_TYPE = 581
    MASS_STATUS_REQ_ID = 584
    MASS_STATUS_REQ_TYPE = 585
    NO_POSITIONS = 702
    POS_TYPE = 703
    LONG_QTY = 704
    SHORT_QTY = 705
    POS_REQ_ID = 710
    CLEARING_BUSINESS_DATE = 715
    POS_MAINT_RPT_ID = 721
    POS_REQ_TYPE = 724
    TOTAL_NUM_POS_REPORTS = 727
    POS_REQ_RESULT = 728
    SETTL_PRICE = 730
    SETTL_PRICE_TYPE = 731
    PRIOR_SETTL_PRICE = 734
    COPY_MSG_INDICATOR = 797
    LAST_UPDATE_TIME = 779
    LAST_LIQUIDITY_IND = 851
    TOT_NUM_REPORTS = 911
    LAST_RPT_REQUESTED = 912
    MASS_ACTION_REPORT_ID = 1369


HEARTBEAT: Final = "0"
TEST_REQUEST: Final = "1"
LOGON: Final = "A"
REJECT: Final = "3"
EXECUTION_REPORT: Final = "8"
ORDER_CANCEL_REJECT: Final = "9"
NEW_ORDER_SINGLE: Final = "D"
ORDER_CANCEL_REQUEST: Final = "F"
ORDER_CANCEL_REPLACE_REQUEST: Final = "G"
ORDER_STATUS_REQUEST: Final = "H"
BUSINESS_MESSAGE_REJECT: Final = "j"
REQUEST_FOR_POSITIONS: Final = "AN"
POSITION_REPORT: Final = "AP"
ORDER_MASS_STATUS_REQUEST: Final = "AF"
ORDER_MASS_CANCEL_REQUEST: Final = "q"
ORDER_MASS_CANCEL_REPORT: Final = "r"
MARKET_DATA_REQUEST: Final = "V"
MARKET_DATA_SNAPSHOT: Final = "W"
MARKET_DATA_INCREMENT: Final = "X"
MARKET_DATA_REQUEST_REJECT: Final = "Y"
SEQUENCE_RESET: Final = "4"
LOGOUT: Final = "5"

PARTICIPATE_DONT_INITIATE: Final = "6"
"""ExecInst(18): post-only."""
DAY: Final = "0"
IMMEDIATE_OR_CANCEL: Final = "3"
FILL_OR_KILL: Final = "4"
GOOD_TILL_DATE: Final = "6"
LIMIT: Final = "2"
ABSOLUTE: Final = "3"
"""CommType(13): the commission is an amount of money."""
REJECTED: Final = "8"
"""OrdStatus(39)."""
ALL_ORDERS: Final = "7"
"""MassStatusReqType(585)."""
UNKNOWN_ORDER: Final = "5"
"""OrdRejReason(103)."""
DUPLICATE_ORDER: Final = "6"
CANCEL_TOO_LATE: Final = "0"
"""CxlRejReason(102)."""
CANCEL_UNKNOWN_ORDER: Final = "1"
CANCEL_DUPLICATE: Final = "6"

SIDES: Final = {"1": Side.BUY, "2": Side.SELL}
EXEC_TYPES: Final = {
    "0": ExecType.NEW,
    "3": ExecType.DONE_FOR_DAY,
    "4": ExecType.CANCELED,
    "5": ExecType.REPLACED,
    "6": ExecType.PENDING_CANCEL,
    "8": ExecType.REJECTED,
    "A": ExecType.PENDING_NEW,
    "C": ExecType.EXPIRED,
    "E": ExecType.PENDING_REPLACE,
    "F": ExecType.TRADE,
    "G": ExecType.TRADE_CORRECT,
    "H": ExecType.TRADE_CANCEL,
    "I": ExecType.ORDER_STATUS,
}
CXL_RESPONSES: Final = {"1": ExecType.CANCEL_REJECTED, "2": ExecType.REPLACE_REJECTED}
ORD_STATUSES: Final = {
    "0": OrderState.NEW,
    "1": OrderState.PARTIALLY_FILLED,
    "2": OrderState.FILLED,
    "3": OrderState.DONE_FOR_DAY,
    "4": OrderState.CANCELED,
    "6": OrderState.PENDING_CANCEL,
    "8": OrderState.REJECTED,
    "A": OrderState.PENDING_NEW,
    "C": OrderState.EXPIRED,
    "E": OrderState.PENDING_REPLACE,
}
ORD_REJ_REASONS: Final = {
    "0": Reject.BROKER_OPTION,
    "1": Reject.UNKNOWN_SYMBOL,
    "2": Reject.EXCHANGE_CLOSED,
    "3": Reject.EXCEEDS_LIMIT,
    "4": Reject.TOO_LATE,
    "5": Reject.UNKNOWN_ORDER,
    "6": Reject.DUPLICATE_ORDER,
    "7": Reject.DUPLICATE_ORDER,
    "8": Reject.STALE_ORDER,
    "9": Reject.TRADE_ALONG,
    "10": Reject.INVALID_INVESTOR,
    "11": Reject.UNSUPPORTED_CHARACTERISTIC,
    "13": Reject.INCORRECT_QUANTITY,
    "14": Reject.INCORRECT_QUANTITY,
    "15": Reject.UNKNOWN_ACCOUNT,
}
CXL_REJ_REASONS: Final = {
    "0": Reject.CANCEL_TOO_LATE,
    "1": Reject.UNKNOWN_ORDER,
    "2": Reject.CANCEL_REFUSED,
    "3": Reject.CANCEL_PENDING,
    "4": Reject.CANCEL_REFUSED,
    "5": Reject.CANCEL_REFUSED,
    "6": Reject.DUPLICATE_ORDER,
    "99": Reject.CANCEL_REFUSED,
}
BUSINESS_REJECT_REASONS: Final = {
    "0": Reject.MESSAGE_REFUSED,
    "1": Reject.UNKNOWN_ORDER,
    "2": Reject.UNKNOWN_SYMBOL,
    "3": Reject.UNSUPPORTED_MESSAGE,
    "4": Reject.APPLICATION_AWAY,
    "5": Reject.FIELD_MISSING,
    "6": Reject.NOT_AUTHORISED,
    "7": Reject.APPLICATION_AWAY,
}
SESSION_REJECT_REASONS: Final = {
    **dict.fromkeys(("0", "1", "2", "3", "4", "5", "6", "12", "13", "14", "15", "16", "17"), Reject.MALFORMED),
    **dict.fromkeys(("7", "8", "9"), Reject.IDENTITY),
    "10": Reject.CLOCK,
    "11": Reject.UNSUPPORTED_MESSAGE,
    "18": Reject.MALFORMED,
    "99": Reject.MESSAGE_REFUSED,
}
POST_ONLY_CODE: Final = "99"
"""OrdRejReason of a post-only order that would have crossed. FIX 4.4 has no code of its own for it."""
# Only "1" is proof that we were the maker. "3" is routed out; 0 and 4 to 11 are of FIX 5.0 SP2: auctions, triggered
# orders, neither.
LIQUIDITIES: Final = {
    "1": Liquidity.MAKER,
    "2": Liquidity.TAKER,
    "3": Liquidity.TAKER,
    **{str(number): Liquidity.TAKER for number in (0, *range(4, 12))},
}

_NUMBER: Final = re.compile(r"-?[0-9]+(\.[0-9]*)?|-?\.[0-9]+")
_CURRENCY: Final = re.compile(r"[A-Z][A-Z0-9]{2,7}")
"""ISO 4217 has three capitals; venues of digital assets have longer ones beside it."""
_INSTANT: Final = re.compile(r"([0-9]{8}-[0-9]{2}:[0-9]{2}:[0-9]{2})(?:\.([0-9]{1,9}))?")
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


def code(table: Mapping[str, Word], word: Word) -> str:
    """Return the first FIX code of a word of ours."""
    return next(fix for fix, ours in table.items() if ours == word)


def text(fields: Fields, tag: Tag) -> str:
    """Read a field that must be there and not be empty."""
    value = fields.get(tag)
    if not value:
        raise VenueMistake(f"{_where(fields, tag)}: expected a value, found {value!r}")
    return value


def word(fields: Fields, tag: Tag, table: Mapping[str, Word]) -> Word:
    """Read a coded field."""
    value = text(fields, tag)
    if value not in table:
        raise VenueMistake(f"{_where(fields, tag)}: expected one of {' '.join(table)}, found {value!r}")
    return table[value]


def number(fields: Fields, tag: Tag) -> Decimal:
    """Read an exact decimal in FIX's own form: no exponent, no plus sign, no spaces."""
    value = text(fields, tag)
    if not _NUMBER.fullmatch(value):
        raise VenueMistake(f"{_where(fields, tag)}: expected a decimal number, found {value!r}")
    try:
        return parse_decimal(value, what="number")
    except DataError as error:
        raise VenueMistake(f"{_where(fields, tag)}: {error}") from None


def amount(fields: Fields, tag: Tag) -> Decimal:
    """Read a decimal that cannot be below zero."""
    value = number(fields, tag)
    if value < 0:
        raise VenueMistake(f"{_where(fields, tag)}: expected at least 0, found {value}")
    return value


def currency(fields: Fields, tag: Tag) -> str | None:
    """Read a currency's code, None where there is no such field."""
    if tag not in fields:
        return None
    if not is_currency(fields[tag]):
        raise VenueMistake(f"{_where(fields, tag)}: expected a currency's code, found {fields[tag]!r}")
    return fields[tag]


def is_currency(code: str) -> bool:
    """Tell whether a text has the form of a currency's code: three capitals (ISO 4217), or up to eight with digits."""
    return _CURRENCY.fullmatch(code) is not None


def instant(fields: Fields, tag: Tag) -> int:
    """Read a UTCTimestamp of 0 to 9 decimal places as nanoseconds since 1970."""
    value = text(fields, tag)
    found = _INSTANT.fullmatch(value)
    try:
        whole = datetime.strptime(found[1] if found else "", "%Y%m%d-%H:%M:%S").replace(tzinfo=UTC)
    except ValueError:
        raise VenueMistake(f"{_where(fields, tag)}: expected a UTC timestamp, found {value!r}") from None
    places = found[2] if found else None
    return (whole - _EPOCH) // timedelta(seconds=1) * SECOND_NS + int((places or "").ljust(9, "0"))


def timestamp(instant_ns: int) -> str:
    """Write an instant as UTCTimestamp: three decimal places where they suffice, else nine."""
    seconds, rest = divmod(instant_ns, SECOND_NS)
    places = f"{rest // 1_000_000:03d}" if rest % 1_000_000 == 0 else f"{rest:09d}"
    return f"{_EPOCH + timedelta(seconds=seconds):%Y%m%d-%H:%M:%S}.{places}"


def business_date(instant_ns: int) -> str:
    """Write the UTC date of an instant as LocalMktDate."""
    return f"{_EPOCH + timedelta(seconds=instant_ns // SECOND_NS):%Y%m%d}"


def _where(fields: Fields, tag: Tag) -> str:
    return f"FIX message 35={fields.get(Tag.MSG_TYPE)} 11={fields.get(Tag.CL_ORD_ID)}, tag {tag.value} ({tag.name})"
