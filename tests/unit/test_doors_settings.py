"""Every setting, by every layer, is given everything: it is refused with its name, or is what was written."""

import math
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from trisagion import settings
from trisagion.errors import ConfigError
from trisagion.settings import Settings, flatten, load, to_environment, variable

KEYS = sorted(flatten(Settings()))
TOML = (
    *("nan", "+inf", "-inf", "-0.0", "-1", "0", "1e308", "1e-30", "0.30000000000000004", "1" * 100, str(2**63)),
    *("true", "false", '""', '" "', '"NaN"', '"1e400"', '"\u0665"', '"\uff15"', '"\u202eSE"',),
    *(r'"a\u0001b"', r'"a\u0000b"', r'"a\nb"', '''"X'; DROP TABLE o;--"''',),
    *("0001-01-01", "9999-12-31T23:59:59Z", "[]", "[[[1]]]", "{}", '{a = {b = 1}}'),
    *('["a", 1, true]', f'"{"x" * 20_000}"', "[" * 10_000 + "]" * 10_000),
)  # fmt: skip
LINE_MAX = 1_000


@pytest.fixture(autouse=True)
def _empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def refused(key: str, error: ConfigError) -> None:
    """Hold that a refusal is about the setting, in lines of a bounded length."""
    text = str(error)
    assert all(len(line) <= LINE_MAX for line in text.splitlines()), text[:500]
    assert key in text or "TOML" in text or key.split(".", maxsplit=1)[0] in text, text[:500]


def sound(found: Settings) -> None:
    """Hold that what was accepted can be handed on: to a child, to a hash, and to the sessions' messages."""
    assert load(None, to_environment(found), {}) == found
    for key, value in flatten(found).items():
        for one in value if isinstance(value, tuple) else (value,):
            if isinstance(one, float):
                assert math.isfinite(one), key
            if isinstance(one, Decimal):
                assert one.is_finite(), key
    for text in (found.platform.account, found.fix.sender, found.fix.target, found.account.currency):
        assert text.isascii() and text.isprintable() and "=" not in text


@pytest.mark.parametrize("key", KEYS)
def test_a_value_is_refused_with_its_key_or_accepted_whole(key: str) -> None:
    """From the file, the environment and the command line."""
    section, name = key.split(".", 1)
    for text in TOML:
        Path("trisagion.toml").write_text(f"[{section}]\n{name} = {text}\n", encoding="utf-8")
        layers: list[tuple[dict[str, str], dict[str, object]]] = [
            ({}, {}),
            ({variable(key): text}, {}),
            ({}, {key: text}),
        ]
        for environ, overrides in layers:
            if environ or overrides:
                Path("trisagion.toml").unlink(missing_ok=True)
            try:
                sound(load(None, environ, overrides))
            except ConfigError as error:
                refused(key, error)


VALUES: tuple[Any, ...] = (
    None,
    True,
    b"x",
    object(),
    float("nan"),
    10**400,
    [[]],
    {"a": {}},
    "\ud800",
    (),
    Decimal("sNaN"),
)


@pytest.mark.parametrize("key", KEYS)
def test_an_override_of_any_python_value_is_refused_or_accepted(key: str) -> None:
    """A caller of ours may hand over anything; none of it is a traceback."""
    for value in VALUES:
        try:
            load(None, {}, {key: value})
        except ConfigError as error:
            refused(key, error)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"[cohort]\nruns = 1\nruns = 2\n", "expected TOML, found: Cannot overwrite a value"),
        (b"[cohort]\n[cohort]\n", "expected TOML, found: Cannot declare"),
        (b"a." * 10_000 + b"b = 1\n", "a: there is no such setting"),
        (b"x = " + b"[" * 10_000, "expected TOML, found one too deeply nested"),
        (b"x = " + b"9" * 10_000, "expected TOML, found: Exceeds the limit"),
        (b"[cohort]\nevil = 1\n", "cohort.evil: there is no such setting"),
        (b"\0", "expected TOML"),
        (b"[cohort]\nruns = 1\0\n", "expected TOML"),
        (b"# " + b"x" * 10_000_000 + b"\n[cohort]\nruns = 0\n", "cohort.runs: expected greater than or equal to 1"),
    ],
)
def test_a_file_that_is_built_to_hurt_is_one_sentence(content: bytes, said: str) -> None:
    """Twice the same name, a nest, a number without end, ten megabytes."""
    Path("trisagion.toml").write_bytes(content)
    with pytest.raises(ConfigError) as caught:
        load(None, {}, {})
    assert said in str(caught.value)
    assert len(str(caught.value)) <= LINE_MAX


def test_the_table_reaches_every_setting() -> None:
    """A new setting is in it by itself."""
    assert {key.split(".")[0] for key in KEYS} <= set(Settings.model_fields)
    assert len(KEYS) == sum(len(section.model_fields) for section in settings.SECTIONS.values())
