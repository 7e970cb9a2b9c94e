"""The pages say what the code says: generated tables are current, and what a page points at is there."""

import re
from pathlib import Path

import pytest

from docs.generate import DOCS, PARTS, renewed
from trisagion.cli.main import COMMANDS
from trisagion.settings import Settings, flatten
from workers.queues import QUEUE_OF

ROOT = DOCS.parent
PAGES = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted(DOCS.glob("*.md"))]

_LINK = re.compile(r"\]\((?!https?:)([^)#]*)(?:#([^)]*))?\)")


@pytest.mark.parametrize("name", PARTS)
def test_a_generated_part_is_what_the_code_has_now(name: str) -> None:
    """A page that is stale is written anew by `make docs`."""
    page, text = renewed(name)
    assert page.read_text(encoding="utf-8") == text, f"{page.name}, part {name}, is stale: make docs"


def headings(page: Path) -> set[str]:
    """Return the anchors of a page's headings, as GitHub makes them."""
    titles = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_of_a_page_leads_somewhere(page: Path) -> None:
    """A relative link names a file of the repository, and its anchor one of that file's headings."""
    for target, anchor in _LINK.findall(page.read_text(encoding="utf-8")):
        there = (page.parent / target).resolve() if target else page
        assert there.exists(), f"{page.name} links to {target}"
        assert not anchor or anchor in headings(there), f"{page.name} links to {target}#{anchor}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_command_of_a_page_exists(page: Path) -> None:
    """What stands as code and begins with `make` or `trisagion` names a target of the Makefile or a command."""
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    text = page.read_text(encoding="utf-8")
    assert set(re.findall(r"(?:`|^|&& )make ([a-z-]+)", text, re.MULTILINE)) <= targets
    assert set(re.findall(r"(?:`|^|\.venv/bin/)trisagion ([a-z]+)", text, re.MULTILINE)) <= set(COMMANDS)


@pytest.mark.parametrize("page", [page for page in PAGES if page.name != "performance.md"], ids=lambda page: page.name)
def test_every_setting_that_a_page_names_exists(page: Path) -> None:
    """A dotted name in code whose first half is a section is a setting or a task."""
    known = {*flatten(Settings()), *QUEUE_OF}
    sections = {key.split(".")[0] for key in flatten(Settings())}
    named = re.findall(r"`([a-z_]+)\.([a-z_0-9]+)(?:`| = |=)", page.read_text(encoding="utf-8"))
    assert {f"{section}.{name}" for section, name in named if section in sections} <= known
