"""Writes the parts of docs/ that are read off the code: `python -m docs.generate`. A test says when they are stale.

A part stands between `<!-- begin NAME -->` and `<!-- end NAME -->`; everything around it is written by hand.
"""

import json
import re
from collections.abc import Callable, Iterable, Sequence
from decimal import Decimal
from inspect import cleandoc
from pathlib import Path
from typing import Any, Final

from bench.faults import HEAD, cells
from bench.faults import newest as played
from bench.measure import missed, newest
from trisagion.adapters.tables import BAR_NAMES, QUOTE_NAMES, SYMBOL_NAMES, TICK_NAMES, TIME_NAMES
from trisagion.cli.worker import QUEUES
from trisagion.errors import TrisagionError
from trisagion.gateway.ib_state import PASSAGES, Phase
from trisagion.gateway.ib_words import CODES, Does
from trisagion.gateway.words import (
    BUSINESS_REJECT_REASONS,
    CXL_REJ_REASONS,
    ORD_REJ_REASONS,
    SESSION_REJECT_REASONS,
)
from trisagion.orders.rejects import REMEDIES, Reject, Remedy
from trisagion.orders.state import AT_VENUE, IN_DOUBT, LIVE, TERMINAL, TRANSITIONS
from trisagion.portfolio.clamps import CLAMPS
from trisagion.risk.controls import CONTROLS
from trisagion.risk.limits import KEYS
from trisagion.settings import CONTENT, PLACE, SECRETS, SECTIONS, Settings, flatten, load, to_environment, variable
from trisagion.units import plain
from trisagion.wiring import House
from workers.flow import FLOW
from workers.queues import QUEUE_OF, SESSION_TASKS

DOCS: Final = Path(__file__).resolve().parent


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Write a Markdown table."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(cell.replace('|', '&#124;') for cell in line)} |" for line in lines)


def code(text: object) -> str:
    """Set a text as code."""
    return f"`{text}`"


def flow() -> str:
    """Write the choreography: what is rung after which word of whom."""
    rows = [(code(task), word, code(following)) for (task, word), following in FLOW.items()]
    return table(("when this task", "says", "this one is rung, once for each subject"), rows)


def queues() -> str:
    """Write which worker does which task."""

    def roles(queue: str) -> str:
        return ", ".join(role for role, served in QUEUES.items() if queue in served.split(","))

    rows = [(code(task), code(queue), roles(queue)) for task, queue in QUEUE_OF.items()]
    rows += [(code(task), code("session.<name>"), "session") for task in SESSION_TASKS]
    return table(("task", "queue", "worker role"), rows)


def order_states() -> str:
    """Draw the order state machine from its one table."""
    lines = ["```mermaid", "stateDiagram-v2", "    [*] --> risk_checked"]
    for before, afters in TRANSITIONS.items():
        lines += [f"    {before} --> {after}" for after in sorted(afters) if after is not before]
        if before in TERMINAL:
            lines.append(f"    {before} --> [*]")
    sets = {
        "live (counts in full against every limit)": LIVE,
        "at the venue": AT_VENUE,
        "in doubt (resolved by a status request)": IN_DOUBT,
        "terminal": TERMINAL,
    }
    named = [(name, ", ".join(sorted(states))) for name, states in sets.items()]
    return "\n".join([*lines, "```", "", table(("set", "states"), named)])


def refusals() -> str:
    """Write what is done about each refusal, and which codes of FIX say so."""
    tags = {
        103: {**ORD_REJ_REASONS, "`fix.post_only_code`": Reject.POST_ONLY_WOULD_CROSS, "any other": Reject.OTHER},
        102: CXL_REJ_REASONS,
        380: BUSINESS_REJECT_REASONS,
        373: SESSION_REJECT_REASONS,
    }
    rows = []
    for reject, remedy in REMEDIES.items():
        codes = {tag: [fix for fix, ours in table.items() if ours is reject] for tag, table in tags.items()}
        said = "; ".join(f"{tag}={', '.join(found)}" for tag, found in codes.items() if found)
        rows.append((code(reject), said, code(remedy)))
    does = {
        Remedy.REPRICE: "a new attempt at once, at the price of the present quote",
        Remedy.WAIT: "a new attempt when the sweeper comes by",
        Remedy.NEVER: "no new attempt in this cycle; event `order.refused`",
        Remedy.RESOLVE: "the refusal proves nothing: the order is `unknown`, and its status is asked for",
        Remedy.HALT: "the next order would fare no better: the venue's gate is shut",
    }
    assert set(does) == set(Remedy)
    meaning = table(("remedy", "what is done"), [(code(remedy), text) for remedy, text in does.items()])
    return f"{table(('refusal', 'FIX', 'remedy'), rows)}\n\n{meaning}"


def columns() -> str:
    """Write the names by which a column of a user's file is known."""
    known = {"time": TIME_NAMES, **TICK_NAMES, **BAR_NAMES, "symbol": SYMBOL_NAMES}
    return table(("what", "names"), [(name, ", ".join(map(code, names))) for name, names in known.items()])


def quote_columns() -> str:
    """Write the names by which a column of a user's file of quotes is known."""
    return table(("what", "names"), [(name, ", ".join(map(code, names))) for name, names in QUOTE_NAMES.items()])


def configuration() -> str:
    """Write every setting with its default, what it accepts, and whether it can change a decision."""
    defaults = to_environment(Settings())
    parts = []
    for section, model in SECTIONS.items():
        known = model.model_json_schema()["properties"]
        rows = []
        for name in model.model_fields:
            key = f"{section}.{name}"
            accepts = _accepts(known[name])
            if key in SECRETS:
                accepts = f"{'a URL without password, or ' if name == 'url' else ''}`env:NAME`, `file:PATH`"
            if key in CONTENT:
                accepts = "the path of a file"
            counts = "" if key in PLACE else "its content" if key in CONTENT else "yes"
            rows.append((code(name), code(defaults[variable(key)]), accepts, counts))
        head = ("setting", "default", "accepts", "in the digest")
        parts.append(f"### `[{section}]`\n\n{cleandoc(model.__doc__ or '')}\n\n{table(head, rows)}")
    assert set(flatten(Settings())) >= SECRETS
    return "\n\n".join(parts)


_BOUNDS: Final = {
    "minimum": "≥",
    "ge": "≥",
    "exclusiveMinimum": ">",
    "gt": ">",
    "maximum": "≤",
    "le": "≤",
    "exclusiveMaximum": "<",
    "lt": "<",
}


def _accepts(schema: dict[str, Any]) -> str:
    """Say in words what a field's JSON schema says."""
    if "description" in schema:
        return str(schema["description"])
    if "anyOf" in schema:
        inner = [_accepts(part) for part in schema["anyOf"] if part != {"type": "string"}]
        return ", ".join([" or ".join(dict.fromkeys(inner)), *_bounds(schema)])
    if "enum" in schema or "const" in schema:
        return " or ".join(code(json.dumps(value)) for value in schema.get("enum", [schema.get("const")]))
    if schema["type"] == "array":
        return f"a list of {_accepts(schema['items'])}"
    words = {"string": "text", "integer": "whole number", "boolean": "`true` or `false`", "null": "nothing"}
    pattern = [f"matching {code(schema['pattern'])}"] if "pattern" in schema else []
    return ", ".join([words.get(schema["type"], schema["type"]), *pattern, *_bounds(schema)])


def _bounds(schema: dict[str, Any]) -> list[str]:
    return [f"{sign} {schema[name]}" for name, sign in _BOUNDS.items() if name in schema]


def exit_codes() -> str:
    """Write what a command's exit code means."""
    by_error = {kind.exit_code: kind for kind in _family(TrisagionError)}
    assert set(by_error) == {1, 4, 5}, "an error has an exit code that this table does not explain"
    meanings = {
        0: "done",
        1: "failed: the sentence on stderr says what",
        2: "wrong usage of a command",
        3: "a run was ended by `trisagion kill`, with no order working",
        4: "configuration, data or state that cannot be used",
        5: "something was waited for as long as its bound allows, and did not come",
        130: "interrupted (Ctrl-C, SIGTERM); an interrupted run has no order working and can be resumed",
    }
    return table(("exit code", "meaning"), [(str(number), meaning) for number, meaning in meanings.items()])


def _family(kind: type[TrisagionError]) -> list[type[TrisagionError]]:
    return [kind, *(member for child in kind.__subclasses__() for member in _family(child))]


def figures() -> str:
    """Write the newest figure of each benchmark."""
    rows = []
    for found in newest():
        ratio = "" if found["ratio"] is None else f"{found['ratio']:g} × {found['peer']}"
        target = found["target"] if isinstance(found["target"], str) else f"ratio >= {found['target']:g}"
        verdict = "**missed**" if missed(found) else "met"
        value = f"{found['value']:,.4g}" if found["value"] < 1e4 else f"{found['value']:,.0f}"
        rows.append((code(found["name"]), f"{value} {found['unit']}", ratio, target, verdict, found["machine"]))
    machines = sorted({row[-1].partition(", quiet")[0].partition(", NOT quiet")[0] for row in rows})
    head = ("benchmark", "value", "against", "target", "", "load before the start")
    body = [(*row[:-1], re.sub(r".*\(load (.*)\)", r"\1", row[-1])) for row in rows]
    return f"Machine: {'; '.join(machines)}.\n\n{table(head, body)}"


def faults() -> str:
    """Write the newest runs of each row of faults."""
    head = ("row", "what is done", "what must hold", *HEAD[1:], "commit", "machine")
    rows = (
        (each["row"], each["what"], each["must"], *cells(each)[1:], each["commit"], each["machine"])
        for each in played()
    )
    return table(head, [tuple(map(str, row)) for row in rows])


def ib_phases() -> str:
    """Draw the phases of a session with Interactive Brokers from their one table."""
    lines = ["```mermaid", "stateDiagram-v2", f"    [*] --> {Phase.DOWN}"]
    ways: dict[tuple[Phase, Phase], list[str]] = {}
    for (before, happening), after in PASSAGES.items():
        if before is not after:
            ways.setdefault((before, after), []).append(happening)
    lines += [f"    {before} --> {after}: {', '.join(names)}" for (before, after), names in ways.items()]
    return "\n".join([*lines, f"    {Phase.ENDED} --> [*]", "```"])


def ib_codes() -> str:
    """Write what Interactive Brokers' codes mean and lead to."""
    rows = []
    for row in CODES:
        numbers = str(row.first) if row.first == row.last else f"{row.first}–{row.last}"
        rows.append((numbers, row.meaning, row.does.value, "" if row.reject is None else code(row.reject)))
    rows.append(("any other", "not in the table", f"of an order: {Does.DOUBT}; else {Does.NOTE}", ""))
    return table(("code", "meaning", "what is done", "refusal"), rows)


def controls() -> str:
    """Write every control of an order, in order of precedence, with its limit."""
    ceilings = {name: plain(Decimal(getattr(House(Settings()).limits, name))) for name in KEYS}
    rows = []
    for number, control in enumerate(CONTROLS, start=1):
        key = None if control.key is None else KEYS[control.key]
        limit = ("", "", "", "") if key is None else (code(key.name), ceilings[key.name], key.unit, key.test_default)
        rows.append((str(number), code(control.refusal), control.what, *limit))
    return table(("", "refusal", "what is looked at", "limit", "default", "in", "test default"), rows)


def clamps() -> str:
    """Write every clamp in its order, with its settings by default and in the prudent file."""
    prudent = load(DOCS.parent / "deploy" / "prudent.toml", {}, {})

    def value(settings: Settings, names: Sequence[str]) -> str:
        found = (getattr(settings.portfolio, name) for name in names)
        return ", ".join("off" if each is None else plain(each) for each in found)

    rows = [
        (
            str(number),
            code(clamp.name),
            clamp.what,
            clamp.unknown,
            ", ".join(map(code, clamp.settings)),
            value(Settings(), clamp.settings),
            value(prudent, clamp.settings),
        )
        for number, clamp in enumerate(CLAMPS, start=1)
    ]
    head = ("", "clamp", "what is held", "the unknown", "`portfolio.`", "default", "prudent")
    return table(head, rows)


PARTS: Final[dict[str, tuple[str, Callable[[], str]]]] = {
    "controls": ("risk.md", controls),
    "clamps": ("risk.md", clamps),
    "flow": ("architecture.md", flow),
    "queues": ("architecture.md", queues),
    "order states": ("orders.md", order_states),
    "refusals": ("orders.md", refusals),
    "exit codes": ("operations.md", exit_codes),
    "columns": ("data.md", columns),
    "quote columns": ("data.md", quote_columns),
    "settings": ("configuration.md", configuration),
    "figures": ("performance.md", figures),
    "faults": ("faults.md", faults),
    "ib phases": ("venues.md", ib_phases),
    "ib codes": ("venues.md", ib_codes),
}


def renewed(name: str) -> tuple[Path, str]:
    """Return a page and its text with the named part as the code has it now."""
    page, write = PARTS[name]
    path = DOCS / page
    text = path.read_text(encoding="utf-8")
    begin, end = f"<!-- begin {name} -->", f"<!-- end {name} -->"
    before, found, rest = text.partition(begin)
    _, closed, after = rest.partition(end)
    assert found, f"{page}: no {begin}"
    assert closed, f"{page}: no {end}"
    return path, f"{before}{begin}\n{write()}\n{end}{after}"


def main() -> None:
    """Write every part."""
    for name in PARTS:
        path, text = renewed(name)
        path.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
