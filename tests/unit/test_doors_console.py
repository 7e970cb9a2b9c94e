"""Every option and argument of every command, as the console itself lists them, is given everything."""

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer

from trisagion.cli import main

VALUES = (
    *(
        "",
        " ",
        "\t",
        "-",
        "--",
        "-1",
        "0",
        "-0",
        "NaN",
        "Infinity",
        "-Infinity",
        "1e308",
        "1e-30",
        "0.30000000000000004",
    ),
    *("9" * 100, str(2**63), "true", "null", "[]", "{}", "[" * 10_000, "=", "a=b", "fix.port=x", "x" * 5_000),
    *(
        "\u0665",
        "\uff15",
        "\u202eSE",
        "E\x01S",
        "E\nS",
        "\x1b[31mES",
        "\udcff",
        "X'; DROP TABLE o;--",
        "../..",
        "/proc/self/mem",
    ),
    *("0001-01-01", "9999-12-31T23:59:59Z", "/", "A=B=C", "env:HOME", "file:/dev/null"),
)
BASE = {"run": ["--data", "absent.csv"], "drill": ["--config", "absent.toml"]}
"""What keeps a command from its work when every value of it can be used."""
WRITES = {("config", "init"), ("killswitch", "key"), ("observer",), ("operator", "keygen"), ("vault", "init")}
"""Those whose work is a file in the working directory."""


def tree() -> Iterator[tuple[tuple[str, ...], Any]]:
    """Yield each command with its words."""
    for name in main.COMMANDS:
        group = typer.main.get_command(main._app([name]))
        command = vars(group)["commands"][name]
        if "commands" in vars(command):
            yield from (((name, word), each) for word, each in command.commands.items())
        else:
            yield (name,), command


COMMANDS = dict(tree())


def lines(words: tuple[str, ...], command: Any) -> Iterator[list[str]]:
    """Yield command lines: one parameter of the command has one value of the table, the others what they must."""
    arguments = [each for each in command.params if each.param_type_name == "argument"]
    needed = [each for each in command.params if each.required and each not in arguments]
    for given in command.params:
        if given not in arguments and given.is_flag:
            continue
        for value in VALUES:
            options = [*BASE.get(words[0], [])]
            for option in needed:
                options += [option.opts[0], value if option is given else "plain"]
            if given not in arguments and given not in needed:
                options += [given.opts[0], value]
            yield [*words, *options, "--", *(value if argument is given else "plain" for argument in arguments)]


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_no_value_of_no_parameter_is_a_traceback(
    words: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit code 2 or 4 and a sentence that a terminal can show; the working directory is as it was."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    before = sorted(os.walk(tmp_path))
    for argv in lines(words, COMMANDS[words]):
        monkeypatch.setattr(sys, "argv", ["trisagion", *argv])
        told = f"{argv!r:.200}"
        try:
            main.main()
            code: Any = 0
        except SystemExit as end:
            code = end.code
        except Exception as error:  # noqa: BLE001 - which is the finding
            pytest.fail(f"{told}: {error!r}")
        said = capsys.readouterr()
        if code == 1 and words[0] != "doctor":
            # What only the operating system knows of a name comes with its own words.
            assert said.err.strip().endswith(("File name too long", "Permission denied")), told
        else:
            allowed = {0, 1, 2, 4} if words[0] in {"doctor", "config"} or words in WRITES else {2, 4}
            assert code in allowed, (told, code, said.err[-500:])
        assert "Traceback" not in said.err, told
        assert code == 0 or said.err.strip() or said.out.strip(), told
        assert all(sign.isprintable() or sign == "\n" for sign in said.err), (told, said.err[-300:])
        assert len(said.err) < 50_000, told
    if words not in WRITES:
        assert sorted(os.walk(tmp_path)) == before
