"""How a start differs from the one before it on a state directory: in its code, in its settings, and in which of them.

A secret is never in the settings, so neither is one here: they hold references.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Final

from trisagion.settings import Settings, digest, flatten, to_environment, variable

FILE: Final = "started.json"
UNREADABLE: Final = "unreadable"


@dataclass(frozen=True, slots=True)
class Start:
    """One start: of which run, with which code and settings; `config` is their digest."""

    run: str
    build: str
    config: str
    settings: Mapping[str, str] = field(default_factory=dict)


def start_of(run: str, build: str, settings: Settings) -> Start:
    """Return a start with the settings as they were given."""
    texts = to_environment(settings)
    return Start(run, build, digest(settings), {key: texts[variable(key)] for key in flatten(settings)})


def last(state: Path) -> Start | None:
    """Return the last start on a state directory, None before the first."""
    try:
        found = Start(**json.loads((state / FILE).read_text(encoding="utf-8")))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, TypeError):
        return Start(UNREADABLE, UNREADABLE, UNREADABLE)
    return found if isinstance(found.settings, dict) else Start(UNREADABLE, UNREADABLE, UNREADABLE)


def keep(state: Path, start: Start) -> None:
    """Make a start the last one."""
    new = state / f"{FILE}.new"
    new.write_text(json.dumps(asdict(start), sort_keys=True), encoding="utf-8")
    new.replace(state / FILE)


def changes(before: Start | None, now: Start) -> dict[str, dict[str, str]]:
    """Return the events that a start is by what changed since the one before: kind to what is told."""
    if before is None:
        return {}
    found = {}
    if before.build != now.build:
        found["build.changed"] = {"run_before": before.run, "before": before.build, "now": now.build}
    names = {*before.settings, *now.settings}
    keys = sorted(name for name in names if before.settings.get(name) != now.settings.get(name))
    if keys or before.config != now.config:
        told = {"run_before": before.run, "before": before.config, "now": now.config, "keys": " ".join(keys)}
        found["configuration.changed"] = told
    return found
