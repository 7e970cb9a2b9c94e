"""What may stand in a session's messages: QuickFIX's dictionaries of the version, with this venue's own marks put in.

What is in no dictionary is refused by the engine, user-defined tags too: a venue's own are written in here. Of FIX 5.0
SP2 only the messages that we speak are kept: the engine takes 1.4 s for the whole of it and 0.15 s for these, twice in
each process (measured, QuickFIX 1.16). Nor are its new fields of raw data kept, in which a separator would be none: a
message that has one is refused.
"""

import gzip
from collections.abc import Collection, Mapping
from importlib import resources
from pathlib import Path
from typing import Any, Final
from xml.etree import ElementTree as ET

import quickfix as fix

from trisagion.gateway.dialect import FIX_42, FIX_44, FIX_50SP2, Profile
from trisagion.gateway.words import (
    BUSINESS_MESSAGE_REJECT,
    EXECUTION_REPORT,
    LOGON,
    MARKET_DATA_INCREMENT,
    MARKET_DATA_REQUEST,
    MARKET_DATA_REQUEST_REJECT,
    MARKET_DATA_SNAPSHOT,
    NEW_ORDER_SINGLE,
    ORDER_CANCEL_REJECT,
    ORDER_CANCEL_REPLACE_REQUEST,
    ORDER_CANCEL_REQUEST,
    ORDER_MASS_CANCEL_REPORT,
    ORDER_MASS_CANCEL_REQUEST,
    ORDER_MASS_STATUS_REQUEST,
    ORDER_STATUS_REQUEST,
    POSITION_REPORT,
    REQUEST_FOR_POSITIONS,
    Tag,
)

BEGIN_STRINGS: Final = {FIX_42: "FIX.4.2", FIX_44: "FIX.4.4", FIX_50SP2: "FIXT.1.1"}

RAW_LENGTHS: Final = frozenset({90, 93, 95, 212, 348, 350, 352, 354, 356, 358, 360, 362, 364, 445, 618, 621})
"""The tags of FIX 4.4 that announce the length of a value of raw data."""

_SPOKEN: Final = frozenset(
    {
        BUSINESS_MESSAGE_REJECT,
        EXECUTION_REPORT,
        MARKET_DATA_INCREMENT,
        MARKET_DATA_REQUEST,
        MARKET_DATA_REQUEST_REJECT,
        MARKET_DATA_SNAPSHOT,
        NEW_ORDER_SINGLE,
        ORDER_CANCEL_REJECT,
        ORDER_CANCEL_REPLACE_REQUEST,
        ORDER_CANCEL_REQUEST,
        ORDER_MASS_CANCEL_REPORT,
        ORDER_MASS_CANCEL_REQUEST,
        ORDER_MASS_STATUS_REQUEST,
        ORDER_STATUS_REQUEST,
        POSITION_REPORT,
        REQUEST_FOR_POSITIONS,
    }
)


class Dictionary:
    """The dictionaries of a session, written into its directory."""

    def __init__(self, directory: Path, profile: Profile) -> None:
        self.begin_string: Final = BEGIN_STRINGS[profile.version]
        trees = _trees(profile)
        paths = [_write(directory / f"{name}.xml", tree) for name, tree in trees.items()]
        if profile.version == FIX_50SP2:
            transport, application = paths
            # The engine's own word for the version; it puts 9 into DefaultApplVerID(1137).
            self.settings: Mapping[str, str] = {
                "DefaultApplVerID": "FIX.5.0SP2",
                "TransportDataDictionary": str(transport),
                "AppDataDictionary": str(application),
            }
        else:
            self.settings = {"DataDictionary": str(paths[0])}
        # Read as values, not shared with the engine, which reads its own.
        self._read: Final = [fix.DataDictionary(str(path)) for path in paths]

    def message(self, text: str) -> Any:
        """Make the engine's message; the dictionary tells it which fields form a group."""
        return fix.Message(text, *self._read, False)


def _trees(profile: Profile) -> Mapping[str, ET.Element]:
    """Return the dictionaries by name, the transport's first."""
    tag, value = profile.mark
    if profile.version == FIX_50SP2:
        transport, application = _packed("FIXT11"), _packed("FIX50SP2")
        messages = application.find("messages")
        assert messages is not None
        for message in [message for message in messages if message.get("msgtype") not in _SPOKEN]:
            messages.remove(message)
        _forbid_raw_data(application)
        trees = {"FIXT11": transport, "FIX50SP2": application}
    else:
        name = {FIX_42: "FIX42", FIX_44: "FIX44"}[profile.version]
        application = _packed(name)
        trees = {name: application}
    _allow(application, tag, (NEW_ORDER_SINGLE, ORDER_CANCEL_REPLACE_REQUEST), value)
    _allow(application, profile.liquidity_tag, (EXECUTION_REPORT,))
    _allow(application, Tag.ORD_REJ_REASON, (EXECUTION_REPORT,), profile.post_only_code)
    if profile.version == FIX_42:
        for logon_tag in (Tag.USERNAME, Tag.PASSWORD):
            _allow(application, logon_tag, (LOGON,))
        # Of FIX 4.3, and needed wherever a fee may be in another currency.
        _allow(application, Tag.COMM_CURRENCY, (EXECUTION_REPORT,))
    return trees


def _allow(tree: ET.Element, tag: int, kinds: Collection[str], value: str | None = None) -> None:
    """Let a tag stand in messages, and have a value; where the dictionary allows it already, nothing changes."""
    fields, messages = tree.find("fields"), tree.find("messages")
    assert fields is not None
    assert messages is not None
    field = next((field for field in fields if field.get("number") == str(tag)), None)
    if field is None:
        field = ET.SubElement(fields, "field", number=str(tag), name=f"Tag{tag}", type="STRING")
    name = field.get("name", "")
    if value is not None and len(field) and value not in {each.get("enum") for each in field}:
        ET.SubElement(field, "value", enum=value, description=f"VENUE_{value}")
    components = {component.get("name", ""): component for component in tree.iterfind("components/component")}
    for message in messages:
        if message.get("msgtype", "") in kinds and not _holds(message, name, components):
            ET.SubElement(message, "field", name=name, required="N")


def _forbid_raw_data(tree: ET.Element) -> None:
    """Take out the lengths of raw data that FIX 4.4 has not."""
    lengths = {
        field.get("name"): int(field.get("number", "")) for field in tree.iterfind("fields/field[@type='LENGTH']")
    }
    names = {name for name, tag in lengths.items() if tag not in RAW_LENGTHS}
    for part in tree.iter():
        for child in [child for child in part if child.get("name") in names and child.get("number") is None]:
            part.remove(child)


def _holds(part: ET.Element, name: str, components: Mapping[str, ET.Element]) -> bool:
    return any(
        child.get("name") == name
        or (child.tag == "component" and _holds(components[child.get("name", "")], name, components))
        for child in part
    )


def _packed(name: str) -> ET.Element:
    packed = resources.files("trisagion.adapters.venues.fix").joinpath(f"{name}.xml.gz").read_bytes()
    return ET.fromstring(gzip.decompress(packed))  # noqa: S314 - a file of our own package


def _write(path: Path, tree: ET.Element) -> Path:
    fresh = path.with_suffix(".new")
    fresh.write_bytes(ET.tostring(tree))
    fresh.replace(path)
    return path
