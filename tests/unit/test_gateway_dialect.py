"""What a venue says differently, message by message, and what no venue can mean."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.test_gateway_messages import CANCEL_REJECT, NOW_NS, ORDER, POSITION, TRADE
from trisagion.errors import ConfigError, OurMistake, VenueMistake
from trisagion.gateway.dialect import LIQUIDITY_MARKS, NO_PROOF, VERSIONS, Profile, from_wire, to_wire
from trisagion.gateway.reports import read_report
from trisagion.gateway.requests import new_order, positions_request, status_request
from trisagion.gateway.words import Fields
from trisagion.orders.types import ExecType, Liquidity

OLD, PLAIN, NEW = (Profile.of(version) for version in VERSIONS)
COINBASE = Profile.of("4.2", post_only="59=P", liquidity_tag=1057)
CBOE = Profile.of("4.2", post_only="9303=P")

MAKER = new_order(ORDER, account="ACC", now_ns=NOW_NS)
"""38=3, 59=0, 18=6."""
REPLACE: Fields = {**MAKER, 35: "G", 41: "TABC"}
QUESTION: Fields = {**TRADE, 17: "0", 150: "I", 14: "0", 151: "3", 39: "0"}


def but(fields: Fields, **changes: str | None) -> Fields:
    """Return a message with other values, `t39="1"`, and without those that are None."""
    changed = {**fields, **{int(tag[1:]): value for tag, value in changes.items()}}
    return {tag: value for tag, value in changed.items() if value is not None}


SAME: list[tuple[Profile, Fields, Fields]] = [
    # profile, as FIX 4.4 has it, as it is on the wire
    (PLAIN, MAKER, MAKER),
    (PLAIN, TRADE, TRADE),
    (PLAIN, QUESTION, QUESTION),
    (NEW, MAKER, MAKER),
    (NEW, TRADE, TRADE),
    (NEW, POSITION, POSITION),
    (OLD, MAKER, but(MAKER, t21="1")),
    (OLD, REPLACE, but(REPLACE, t21="1")),
    (OLD, status_request(ORDER, account="ACC"), status_request(ORDER, account="ACC")),
    (COINBASE, MAKER, but(MAKER, t21="1", t18=None, t59="P")),
    (COINBASE, but(MAKER, t18=None, t59="3"), but(MAKER, t21="1", t18=None, t59="3")),
    (CBOE, REPLACE, but(REPLACE, t21="1", t18=None, t9303="P")),
    (Profile(post_only="18=A"), MAKER, but(MAKER, t18="A")),
    # a part, the rest, and a part that came too late for the order to work on
    (OLD, TRADE, but(TRADE, t20="0", t150="1", t851=None, t9730="A")),
    (OLD, but(TRADE, t151="0", t39="2"), but(TRADE, t20="0", t150="2", t151="0", t39="2", t851=None, t9730="A")),
    (OLD, but(TRADE, t151="0", t39="4"), but(TRADE, t20="0", t150="1", t151="0", t39="4", t851=None, t9730="A")),
    (OLD, but(TRADE, t39="6", t851="2"), but(TRADE, t20="0", t150="1", t39="6", t851=None, t9730="R")),
    (COINBASE, but(TRADE, t851="2"), but(TRADE, t20="0", t150="1", t851=None, t1057="Y")),
    (Profile(liquidity_tag=1057), TRADE, but(TRADE, t851=None, t1057="N")),
    # taken back, put right, asked
    (OLD, but(TRADE, t150="H", t19="E3"), but(TRADE, t20="1", t150="1", t19="E3", t851=None, t9730="A")),
    (OLD, but(TRADE, t150="G", t19="E3"), but(TRADE, t20="2", t150="1", t19="E3", t851=None, t9730="A")),
    (OLD, but(QUESTION, t851=None), but(QUESTION, t20="3", t150="0", t851=None)),
    # the order's own life
    (OLD, but(QUESTION, t150="0", t851=None), but(QUESTION, t20="0", t150="0", t851=None)),
    (OLD, but(QUESTION, t150="4", t39="4", t851=None), but(QUESTION, t20="0", t150="4", t39="4", t851=None)),
    (OLD, but(QUESTION, t150="5", t851=None), but(QUESTION, t20="0", t150="5", t39="5", t851=None)),
    (OLD, but(TRADE, t150="5", t851=None), but(TRADE, t20="0", t150="5", t851=None)),
    (OLD, CANCEL_REJECT, CANCEL_REJECT),
]


@pytest.mark.parametrize(("profile", "ours", "wire"), SAME)
def test_a_message_is_written_and_read_as_the_version_has_it(profile: Profile, ours: Fields, wire: Fields) -> None:
    """One row, one message, in both directions."""
    assert to_wire(ours, profile) == wire
    assert from_wire(wire, profile) == ours


ONE_WAY: list[tuple[Any, Profile, Fields, Fields]] = [
    # what FIX 4.2 has no code for
    (to_wire, OLD, {**CANCEL_REJECT, 102: "99"}, {**CANCEL_REJECT, 102: "2"}),
    (to_wire, OLD, {**CANCEL_REJECT, 102: "6"}, {**CANCEL_REJECT, 102: "2"}),
    # replaced, as a venue keeps saying it: the quantities tell what it is
    (from_wire, OLD, {**QUESTION, 20: "3", 150: "5", 39: "5", 14: "0", 151: "3"}, {**QUESTION, 39: "0"}),
    (from_wire, OLD, but(QUESTION, t20="3", t39="5", t14="1", t151="2"), but(QUESTION, t39="1", t14="1", t151="2")),
    (from_wire, OLD, but(QUESTION, t20="3", t39="5", t14="3", t151="0"), but(QUESTION, t39="2", t14="3", t151="0")),
    # 150 means nothing where something is taken back
    (from_wire, OLD, but(TRADE, t20="1", t150="2", t19="E3"), but(TRADE, t150="H", t19="E3")),
    (from_wire, OLD, but(TRADE, t20="1", t150="0", t19="E3"), but(TRADE, t150="H", t19="E3")),
    # a letter that nobody told us of proves nothing
    (from_wire, OLD, but(TRADE, t20="0", t150="1", t9730="C"), but(TRADE, t851=NO_PROOF)),
    # what FIX 5.0 SP2 leaves out, or wants besides
    (from_wire, NEW, but(QUESTION, t6=None), {**QUESTION, 6: "0"}),
    (from_wire, NEW, but(POSITION, t728=None), POSITION),
    (to_wire, NEW, {35: "r", 11: "Q", 530: "7"}, {35: "r", 11: "Q", 530: "7", 1369: "Q"}),
    (from_wire, NEW, {35: "r", 11: "Q", 530: "7", 1369: "M"}, {35: "r", 11: "Q", 530: "7"}),
    (to_wire, NEW, {35: "W", 779: "20130901-22:00:00.000"}, {35: "W", 779: "20130901-22:00:00.000"}),
    (to_wire, PLAIN, {35: "W", 779: "20130901-22:00:00.000"}, {35: "W"}),
    (to_wire, OLD, {35: "W", 779: "20130901-22:00:00.000"}, {35: "W"}),
    # an instruction among others
    (from_wire, PLAIN, {**MAKER, 18: "1 6"}, {**MAKER, 18: "1 6"}),
    (from_wire, Profile(post_only="18=A"), {**MAKER, 18: "1 A"}, {**MAKER, 18: "1 6"}),
    (from_wire, COINBASE, {**MAKER, 21: "1", 59: "1"}, {**MAKER, 59: "1"}),
]  # fmt: skip


@pytest.mark.parametrize(("way", "profile", "given_", "expected"), ONE_WAY)
def test_what_is_said_in_more_ways_than_one_has_one_meaning(
    way: Any, profile: Profile, given_: Fields, expected: Fields
) -> None:
    """These have no way back, or another one."""
    assert way(given_, profile) == expected


IMPOSSIBLE = [
    (but(TRADE, t20="1", t150="1"), r"tag 19 \(EXEC_REF_ID\): expected a value"),
    (but(TRADE, t20="2", t150="1", t19=""), r"tag 19 \(EXEC_REF_ID\): expected a value"),
    (but(TRADE, t150="1"), r"tag 20 \(EXEC_TRANS_TYPE\): expected a value"),
    (but(TRADE, t20="4", t150="1"), r"tag 20 \(EXEC_TRANS_TYPE\): expected one of 0 1 2 3, found '4'"),
    (but(TRADE, t20="0", t150="1", t151="0"), r"17=E7 150=1, tag 151 \(LEAVES_QTY\): expected above 0, found 0"),
    (but(TRADE, t20="0", t150="2"), r"17=E7 150=2, tag 151 \(LEAVES_QTY\): expected 0, found 1"),
    (but(TRADE, t20="0", t150="2", t39="4"), r"17=E7 150=2, tag 151 \(LEAVES_QTY\): expected 0, found 1"),
    (but(TRADE, t20="0", t150="F"), r"tag 150 \(EXEC_TYPE\): expected a code of FIX 4\.2, found 'F'"),
    (but(TRADE, t20="0", t150="I"), r"tag 150 \(EXEC_TYPE\): expected a code of FIX 4\.2, found 'I'"),
    (but(TRADE, t20="0", t150="5", t39="5", t14="0", t151="0"), r"39=5, tags 14, 151: expected one of them above 0"),
    (but(TRADE, t20="0", t150="1", t151="x"), r"tag 151 \(LEAVES_QTY\): expected a decimal number"),
]


@pytest.mark.parametrize(("wire", "why"), IMPOSSIBLE)
def test_a_report_of_fix_42_that_cannot_be_is_refused(wire: Fields, why: str) -> None:
    """It may be a fill: nobody guesses."""
    with pytest.raises(VenueMistake, match=why):
        from_wire(wire, OLD)


def test_what_cannot_be_said_is_not_sent() -> None:
    """No positions in FIX 4.2; no mark of a day order on one that is none."""
    with pytest.raises(OurMistake, match=r"35=AN: expected one that FIX 4\.2 has"):
        to_wire(positions_request("R1", account="ACC", now_ns=NOW_NS), OLD)
    with pytest.raises(OurMistake, match="order TABC: expected a day order to mark as 59=P, found 6"):
        to_wire({**MAKER, 59: "6"}, COINBASE)


@pytest.mark.parametrize(
    ("own", "why"),
    [
        ({"version": "4.3"}, "fix.version: expected one of 4.2, 4.4, 5.0SP2, found 4.3"),
        ({"version": "4.4", "post_only": "11=X"}, "fix.post_only: expected TAG=VALUE, .* found 11=X"),
        ({"version": "4.4", "post_only": "9303="}, "fix.post_only: expected TAG=VALUE"),
        ({"version": "4.4", "post_only": "9730=A"}, "fix.post_only: expected TAG=VALUE"),
        ({"version": "4.4", "liquidity_tag": 852}, "fix.liquidity_tag: expected one of 851, 1057, 9730, found 852"),
        ({"version": "4.2", "liquidity_tag": 851}, "fix.liquidity_tag: expected a tag of the venue's own"),
        ({"version": "4.2", "mass_status": True}, "fix.mass_status: expected false, for FIX 4.2 has no OrderMass"),
        ({"version": "4.2", "positions": True}, "fix.positions: expected false, for FIX 4.2 has no RequestFor"),
    ],
)
def test_a_profile_of_what_there_is_not_is_refused(own: dict[str, Any], why: str) -> None:
    """With the setting that says so."""
    with pytest.raises(ConfigError, match=why):
        Profile.of(**own)


def test_only_an_added_mark_proves_that_we_were_the_maker() -> None:
    """Whatever the tag, and also among the twelve codes of FIX 5.0 SP2."""
    for profile in (OLD, PLAIN, NEW, COINBASE):
        for mark, value in LIQUIDITY_MARKS[profile.liquidity_tag].items():
            wire = but(to_wire(TRADE, profile), **{f"t{profile.liquidity_tag}": mark})
            report = read_report(from_wire(wire, profile), venue="SIM")
            assert report.liquidity is (Liquidity.MAKER if value == "1" else Liquidity.TAKER)
    for number in range(12):
        report = read_report(from_wire({**TRADE, 851: str(number)}, NEW), venue="SIM")
        assert report.liquidity is (Liquidity.MAKER if number == 1 else Liquidity.TAKER)


def test_a_post_only_refusal_is_known_in_fix_42_by_the_code_that_it_has() -> None:
    """103=99 is not in its dictionary; what else is refused so is taken for the same, and repriced."""
    refused = {**but(QUESTION, t851=None), 150: "8", 39: "8", 17: "E1", 103: "99", 151: "0"}
    wire = to_wire(refused, OLD)
    assert (wire[20], wire[103]) == ("0", "0")
    report = read_report(from_wire(wire, OLD), venue="SIM", post_only_code=OLD.post_only_code)
    assert (report.exec_type, report.reject) == (ExecType.REJECTED, "post_only_would_cross")


PROFILES = st.builds(
    Profile.of,
    st.sampled_from(VERSIONS),
    post_only=st.sampled_from(["18=6", "18=A", "59=P", "9303=P"]),
    liquidity_tag=st.sampled_from([1057, 9730]),
)


@st.composite
def reports(draw: st.DrawFn) -> Fields:
    """Draw an execution report that agrees with itself."""
    filled, left = draw(st.integers(0, 9)), draw(st.integers(0, 9))
    live = ["1" if filled else "0", "6", "A", "E"] if left else ["2"] if filled else []
    kind = draw(st.sampled_from("034568ACEFGHI" if left or filled else "3468AC"))
    status = kind if not live else draw(st.sampled_from([*live, "3", "4", "C"]))
    fields = {35: "8", 11: "a", 17: "E1", 37: "O1", 54: "1", 55: "ES", 6: "1", 60: TRADE[60]}
    fields |= {14: str(filled), 151: str(left), 150: kind, 39: status}
    if kind in "FG":
        fields |= {31: "1", 32: "1", 12: "0", 13: "3", 851: draw(st.sampled_from("12"))}
    if kind in "GH":
        fields[19] = "E0"
    if kind == "8":
        fields[103] = draw(st.sampled_from("012345678"))
    return fields


@given(reports(), PROFILES)
def test_a_report_comes_back_as_it_was(fields: Fields, profile: Profile) -> None:
    """Through every version and every mark."""
    assert from_wire(to_wire(fields, profile), profile) == fields


@given(st.sampled_from([MAKER, REPLACE, but(MAKER, t18=None, t59="3"), status_request(ORDER, account="A")]), PROFILES)
def test_a_request_comes_back_as_it_was(fields: Fields, profile: Profile) -> None:
    """What the venue reads is what we meant."""
    assert from_wire(to_wire(fields, profile), profile) == fields
