"""What a venue says differently: FIX 4.2, 4.4 or 5.0 SP2, and its own marks. Both ends of a session use this.

Everything else of the platform, and the bundled venue, speaks FIX 4.4 (`gateway.words`): `to_wire` writes a message of
4.4 as the venue wants it, `from_wire` reads the venue's back. Both leave alone what is the same in all versions.

Where 4.2 is another language, after the FIX 4.2 specification with errata of 2001-05-01, execution report and appendix
D (order state changes):

* ExecTransType(20) says what kind of report it is: 0 new, 1 takes an execution back, 2 corrects one, 3 is a status.
  In 4.3 they became ExecType(150) H, G and I. With 1 and 2 ExecRefID(19) names the execution; what venues write into
  150 then differs (CQG: the fill's own kind), so it is not looked at.
* A fill is 150=1, a part, or 150=2, the rest; since 4.3 both are F.
* OrdStatus(39) 5, replaced, is a state. It ranks above new and below partially filled, so it is read by the quantities.
* HandlInst(21) must be in orders and replaces.
* There are fewer codes: of OrdRejReason(103) 0 to 8, of CxlRejReason(102) 0 to 3. What has none is "broker option".
* There is no LastLiquidityInd(851), no question for positions, nothing about all orders at once, and no mark of copies.

FIX 5.0 SP2 asks of a market data snapshot when it was (779) and of a mass cancel report an id (1369); of its own it may
leave out AvgPx(6) where nothing was filled, and PosReqResult(728) where all is well.
"""

import re
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final

from trisagion.errors import ConfigError, OurMistake, VenueMistake
from trisagion.gateway.words import (
    DAY,
    EXECUTION_REPORT,
    MARKET_DATA_SNAPSHOT,
    NEW_ORDER_SINGLE,
    ORDER_CANCEL_REJECT,
    ORDER_CANCEL_REPLACE_REQUEST,
    ORDER_MASS_CANCEL_REPORT,
    ORDER_MASS_CANCEL_REQUEST,
    ORDER_MASS_STATUS_REQUEST,
    PARTICIPATE_DONT_INITIATE,
    POSITION_REPORT,
    REQUEST_FOR_POSITIONS,
    Fields,
    Tag,
    amount,
    text,
    word,
)

FIX_42: Final = "4.2"
FIX_44: Final = "4.4"
FIX_50SP2: Final = "5.0SP2"
VERSIONS: Final = (FIX_42, FIX_44, FIX_50SP2)

LIQUIDITY_MARKS: Final = {
    851: {"1": "1", "2": "2", "3": "3"},
    1057: {"N": "1", "Y": "2"},
    9730: {"A": "1", "R": "2", "X": "3"},
}
"""Tags that say who made a trade, each with its values as LastLiquidityInd's: that itself, of FIX 4.4;
AggressorIndicator of FIX 5.0, which Coinbase Exchange sends in 4.2 too; TradeLiquidityIndicator of Cboe."""

NO_PROOF: Final = "3"
"""LastLiquidityInd of a trade of which a venue's own letter does not say that we were the maker."""

_NOT_IN_42: Final = frozenset(
    {
        REQUEST_FOR_POSITIONS,
        POSITION_REPORT,
        ORDER_MASS_STATUS_REQUEST,
        ORDER_MASS_CANCEL_REQUEST,
        ORDER_MASS_CANCEL_REPORT,
    }
)
_ORDERS: Final = frozenset({NEW_ORDER_SINGLE, ORDER_CANCEL_REPLACE_REQUEST})
_AUTOMATED: Final = "1"
"""HandlInst(21): executed without a broker's hand."""
_BROKER_OPTION_ORDER: Final = "0"
"""OrdRejReason(103)."""
_BROKER_OPTION_CANCEL: Final = "2"
"""CxlRejReason(102)."""
_ORD_REJ_REASONS_42: Final = frozenset("012345678")
_CXL_REJ_REASONS_42: Final = frozenset("0123")

_NEW, _CANCEL, _CORRECT, _STATUS = "0", "1", "2", "3"
"""ExecTransType(20)."""
_TRANS_TYPES: Final = {"H": _CANCEL, "G": _CORRECT, "I": _STATUS}
_PART, _REST = "1", "2"
"""ExecType(150) of fills in 4.2."""
_FILLS: Final = frozenset({"F", "G", "H"})
_ENDED: Final = frozenset({"3", "4", "8", "B", "C"})
"""OrdStatus(39) of orders that no longer work: their LeavesQty may be 0 whatever was filled."""
_REPLACED: Final = "5"

_MARK: Final = re.compile(r"(18|59|[5-9][0-9]{3}|[23][0-9]{4})=([A-Za-z0-9]{1,16})")
"""What may mark a maker's order: ExecInst, TimeLimitsNow, or a tag of the ranges that FIX leaves to the parties."""


@dataclass(frozen=True, slots=True)
class Profile:
    """How one venue speaks.

    Attributes
    ----------
    version
        One of `VERSIONS`.
    post_only
        How an order is marked that must not take, as "TAG=VALUE": "18=6" of FIX; "59=P" at Coinbase Exchange, where the
        mark stands for a day order too; "9303=P" at Cboe.
    post_only_code
        OrdRejReason(103) by which the venue refuses such an order when it would cross.
    liquidity_tag
        Which tag says who made a trade: one of `LIQUIDITY_MARKS`.
    mass_status
        Whether the venue answers OrderMassStatusRequest (35=AF).
    positions
        Whether the venue answers RequestForPositions (35=AN).

    Raises
    ------
    ConfigError
        For what there is not, or not in that version.
    """

    version: str = FIX_44
    post_only: str = "18=6"
    post_only_code: str = "99"
    liquidity_tag: int = 851
    mass_status: bool = True
    positions: bool = True

    def __post_init__(self) -> None:
        old = self.version == FIX_42
        refused = {
            f"version: expected one of {', '.join(VERSIONS)}": (self.version not in VERSIONS, self.version),
            "post_only: expected TAG=VALUE, the tag 18, 59 or user-defined (5000-9999, 20000-39999)": (
                _MARK.fullmatch(self.post_only) is None or self.mark[0] in LIQUIDITY_MARKS,
                self.post_only,
            ),
            f"liquidity_tag: expected one of {', '.join(map(str, LIQUIDITY_MARKS))}": (
                self.liquidity_tag not in LIQUIDITY_MARKS,
                self.liquidity_tag,
            ),
            "liquidity_tag: expected a tag of the venue's own, for FIX 4.2 has no LastLiquidityInd": (
                old and self.liquidity_tag == Tag.LAST_LIQUIDITY_IND,
                self.liquidity_tag,
            ),
            "mass_status: expected false, for FIX 4.2 has no OrderMassStatusRequest": (
                old and self.mass_status,
                "true",
            ),
            "positions: expected false, for FIX 4.2 has no RequestForPositions": (old and self.positions, "true"),
        }
        problems = [f"fix.{expected}, found {found}" for expected, (bad, found) in refused.items() if bad]
        if problems:
            raise ConfigError("\n".join(problems))

    @property
    def mark(self) -> tuple[int, str]:
        """Tag and value that mark a maker's order."""
        tag, _, value = self.post_only.partition("=")
        return int(tag), value

    @staticmethod
    def of(version: str, **own: Any) -> "Profile":
        """Return what a venue of that version does, but for what is its own."""
        usual = (
            {"post_only_code": _BROKER_OPTION_ORDER, "liquidity_tag": 9730, "mass_status": False, "positions": False}
            if version == FIX_42
            else {}
        )
        return Profile(version, **{**usual, **own})


def to_wire(fields: Fields, profile: Profile) -> Fields:
    """Write a message of FIX 4.4 as the venue wants it.

    Raises
    ------
    OurMistake
        The version has no such message, or the venue's mark cannot be put on such an order.
    """
    kind = fields[Tag.MSG_TYPE]
    wire = {int(tag): value for tag, value in fields.items()}
    if kind in _ORDERS:
        _mark(wire, profile)
    if kind == EXECUTION_REPORT and Tag.LAST_LIQUIDITY_IND in wire:
        said = wire.pop(Tag.LAST_LIQUIDITY_IND)
        marks = {value: mark for mark, value in LIQUIDITY_MARKS[profile.liquidity_tag].items()}
        wire[profile.liquidity_tag] = marks.get(said, marks["2"])
    if profile.version == FIX_42:
        return _to_42(kind, wire)
    if kind == MARKET_DATA_SNAPSHOT and profile.version == FIX_44:
        wire.pop(Tag.LAST_UPDATE_TIME, None)
    if kind == ORDER_MASS_CANCEL_REPORT and profile.version == FIX_50SP2:
        wire[Tag.MASS_ACTION_REPORT_ID] = wire[Tag.CL_ORD_ID]
    return wire


def from_wire(fields: Fields, profile: Profile) -> Fields:
    """Read a message of the venue as one of FIX 4.4.

    Raises
    ------
    VenueMistake
        What is said cannot be: a correction of nothing, the rest of an order of which some is left.
    """
    kind = text(fields, Tag.MSG_TYPE)
    ours = {int(tag): value for tag, value in fields.items()}
    if kind in _ORDERS:
        _unmark(ours, profile)
    if kind == EXECUTION_REPORT and profile.liquidity_tag in ours and profile.liquidity_tag != Tag.LAST_LIQUIDITY_IND:
        said = ours.pop(profile.liquidity_tag)
        ours[Tag.LAST_LIQUIDITY_IND] = LIQUIDITY_MARKS[profile.liquidity_tag].get(said, NO_PROOF)
    if profile.version == FIX_42:
        ours.pop(Tag.HANDL_INST, None)
        return _report_from_42(ours) if kind == EXECUTION_REPORT else ours
    if profile.version == FIX_50SP2:
        if kind == EXECUTION_REPORT and not amount(ours, Tag.CUM_QTY):
            ours.setdefault(Tag.AVG_PX, "0")
        if kind == POSITION_REPORT:
            ours.setdefault(Tag.POS_REQ_RESULT, "0")
        ours.pop(Tag.MASS_ACTION_REPORT_ID, None)
    return ours


def _mark(wire: dict[int, str], profile: Profile) -> None:
    """Put the venue's mark in the place of FIX's own on an order that must not take."""
    tag, value = profile.mark
    if wire.get(Tag.EXEC_INST) != PARTICIPATE_DONT_INITIATE:
        return
    if tag == Tag.TIME_IN_FORCE and wire.get(Tag.TIME_IN_FORCE, DAY) != DAY:
        held = wire[Tag.TIME_IN_FORCE]
        raise OurMistake(
            f"order {wire[Tag.CL_ORD_ID]}: expected a day order to mark as {profile.post_only}, found {held}"
        )
    del wire[Tag.EXEC_INST]
    wire[tag] = value


def _unmark(ours: dict[int, str], profile: Profile) -> None:
    tag, value = profile.mark
    if tag == Tag.EXEC_INST:
        told = ours.get(tag, "").split()
        if value in told:
            ours[tag] = " ".join(PARTICIPATE_DONT_INITIATE if one == value else one for one in told)
    elif ours.get(tag) == value:
        del ours[tag]
        ours[Tag.EXEC_INST] = PARTICIPATE_DONT_INITIATE
        if tag == Tag.TIME_IN_FORCE:
            ours[tag] = DAY


def _to_42(kind: str, wire: dict[int, str]) -> Fields:
    if kind in _NOT_IN_42:
        raise OurMistake(f"FIX message 35={kind}: expected one that FIX 4.2 has, found one that it has not")
    if kind in _ORDERS:
        wire[Tag.HANDL_INST] = _AUTOMATED
    if kind == MARKET_DATA_SNAPSHOT:
        wire.pop(Tag.LAST_UPDATE_TIME, None)
    if kind == ORDER_CANCEL_REJECT and wire.get(Tag.CXL_REJ_REASON, "0") not in _CXL_REJ_REASONS_42:
        wire[Tag.CXL_REJ_REASON] = _BROKER_OPTION_CANCEL
    if kind == EXECUTION_REPORT:
        wire.pop(Tag.COPY_MSG_INDICATOR, None)
        _report_to_42(wire)
    return wire


def _report_to_42(wire: dict[int, str]) -> None:
    exec_type, status = wire[Tag.EXEC_TYPE], wire[Tag.ORD_STATUS]
    wire[Tag.EXEC_TRANS_TYPE] = _TRANS_TYPES.get(exec_type, _NEW)
    if wire.get(Tag.ORD_REJ_REASON, "0") not in _ORD_REJ_REASONS_42:
        wire[Tag.ORD_REJ_REASON] = _BROKER_OPTION_ORDER
    if exec_type in _FILLS:
        works = Decimal(wire[Tag.LEAVES_QTY]) > 0
        wire[Tag.EXEC_TYPE] = _PART if works or status in _ENDED else _REST
    elif exec_type == _REPLACED and status == "0":
        wire[Tag.ORD_STATUS] = _REPLACED
    elif exec_type == "I":
        wire[Tag.EXEC_TYPE] = status


def _report_from_42(ours: dict[int, str]) -> Fields:
    kinds = {_NEW: None, _CANCEL: "H", _CORRECT: "G", _STATUS: "I"}
    exec_type = word(ours, Tag.EXEC_TRANS_TYPE, kinds)
    if exec_type in _FILLS:
        text(ours, Tag.EXEC_REF_ID)
    filled, left = amount(ours, Tag.CUM_QTY), amount(ours, Tag.LEAVES_QTY)
    if exec_type is None:
        exec_type = text(ours, Tag.EXEC_TYPE)
        if exec_type in {_PART, _REST}:
            ended = text(ours, Tag.ORD_STATUS) in _ENDED
            if (left > 0) is (exec_type == _REST) and not (exec_type == _PART and ended):
                expected = "0" if exec_type == _REST else "above 0"
                raise VenueMistake(
                    f"FIX message 35=8 17={ours.get(Tag.EXEC_ID)} 150={exec_type}, tag 151 (LEAVES_QTY): "
                    f"expected {expected}, found {left}"
                )
            exec_type = "F"
        elif exec_type in _FILLS or exec_type == "I":
            raise VenueMistake(
                f"FIX message 35=8 17={ours.get(Tag.EXEC_ID)}, tag 150 (EXEC_TYPE): expected a code of FIX 4.2, "
                f"found {exec_type!r}"
            )
    if ours.get(Tag.ORD_STATUS) == _REPLACED:
        if not filled and not left:
            raise VenueMistake(
                f"FIX message 35=8 17={ours.get(Tag.EXEC_ID)} 39=5, tags 14, 151: expected one of them above 0, found 0"
            )
        ours[Tag.ORD_STATUS] = "0" if not filled else "1" if left else "2"
    ours[Tag.EXEC_TYPE] = exec_type
    del ours[Tag.EXEC_TRANS_TYPE]
    return ours
