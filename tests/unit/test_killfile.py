"""`adapters.killfile`: a file that is there says stop, and so does whatever keeps us from looking."""

import os
from pathlib import Path

import pytest

from trisagion.adapters.killfile import WORDS_MAX, KillFile


@pytest.mark.parametrize("words", [b"", b"fire\n", b"\xff\x00" * 500])
def test_a_file_that_is_there_says_stop_and_why(tmp_path: Path, words: bytes) -> None:
    """Whatever is in it, and no more of it than a line holds."""
    file = tmp_path / "KILL"
    assert KillFile(file).raised() is None
    file.write_bytes(words)
    said = KillFile(file).raised()
    assert said is not None
    assert said.startswith(f"{file} is there")
    assert ("fire" in said) == (words == b"fire\n")
    assert said.isprintable()
    assert len(said) <= len(str(file)) + 6 * WORDS_MAX


def test_whatever_bears_the_name_says_stop(tmp_path: Path) -> None:
    """A directory, a link to nowhere, a pipe that nobody writes to."""
    directory, link, pipe = (tmp_path / name for name in ("directory", "link", "pipe"))
    directory.mkdir()
    link.symlink_to("nowhere")
    os.mkfifo(pipe)
    for file in (directory, link, pipe):
        assert KillFile(file).raised() == f"{file} is there"


@pytest.mark.parametrize("name", ["gone/KILL", "file/KILL", f"{'x' * 300}"])
def test_what_cannot_be_looked_at_says_stop(tmp_path: Path, name: str) -> None:
    """A directory that is not there, one that is none, a name that no directory holds."""
    (tmp_path / "file").touch()
    assert KillFile(tmp_path / name).raised() is not None
