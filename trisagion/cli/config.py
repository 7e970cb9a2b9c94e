"""`trisagion config`: what is configured, where it comes from, and whether it can be used."""

import json as json_text
import os
from inspect import cleandoc
from pathlib import Path
from typing import Annotated, Final

import typer

from trisagion.errors import ConfigError
from trisagion.settings import (
    FILE,
    SECTIONS,
    Settings,
    digest,
    flatten,
    load,
    origins,
    references,
    resolve,
    to_environment,
    variable,
)

app = typer.Typer(no_args_is_help=True)

ConfigOption = Annotated[Path | None, typer.Option("--config", help=f"Configuration file; else {FILE}.")]
SetOption = Annotated[list[str] | None, typer.Option("--set", help="Override a setting: section.key=value.")]

HEAD: Final = "# Settings of trisagion. `trisagion config check` reads this file as a run would."


def overrides(assignments: list[str] | None) -> dict[str, object]:
    """Read `--set section.key=value` options."""
    pairs = [assignment.partition("=") for assignment in assignments or ()]
    for key, sign, _ in pairs:
        if not sign:
            raise ConfigError(f"--set {key}: expected section.key=value, found no '='")
    return {key.strip(): value.strip() for key, _, value in pairs}


@app.command()
def show(
    config: ConfigOption = None,
    sets: SetOption = None,
    origin: Annotated[bool, typer.Option("--origin", help="Say where each value comes from.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Print every setting in force; secrets are shown as the references they are."""
    layers = (config, os.environ, overrides(sets))
    settings = load(*layers)
    texts = {key: to_environment(settings)[variable(key)] for key in flatten(settings)}
    sources = origins(*layers) if origin else {}
    if json:
        items = {key: {"value": text, "origin": sources[key]} if origin else text for key, text in texts.items()}
        print(json_text.dumps({"settings": items, "digest": digest(settings)}, indent=2))
        return
    width = max(len(f"{key} = {text}") for key, text in texts.items())
    for key, text in texts.items():
        line = f"{key} = {text}"
        print(f"{line:<{width}}  # {sources[key]}" if origin else line)


@app.command()
def check(config: ConfigOption = None, sets: SetOption = None) -> None:
    """Read the configuration as a run would, secrets included, and say what is wrong with it."""
    from trisagion.cli.preflight import refuse_unfit_secrets

    settings = load(config, os.environ, overrides(sets))
    refuse_unfit_secrets(settings)
    for reference in references(settings).values():
        resolve(reference, os.environ)
    print(f"The configuration can be used; its digest is {digest(settings)}.")


@app.command()
def init(
    path: Annotated[Path, typer.Argument(help="Where to write it.")] = Path(FILE),
) -> None:
    """Write a commented file with every setting at its default; an existing file is left alone."""
    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(to_toml(Settings()))
    except FileExistsError:
        raise ConfigError(f"{path} is there already and was left as it is") from None
    except OSError as error:
        raise ConfigError(f"{path} cannot be written: {error.strerror}") from None
    print(f"Wrote {path}.")


def to_toml(settings: Settings) -> str:
    """Write a file's text with every setting, each section under its explanation."""
    texts = to_environment(settings)
    lines = [HEAD]
    for section, model in SECTIONS.items():
        told = cleandoc(model.__doc__ or "").splitlines()
        lines += ["", *(f"# {line}".rstrip() for line in told), f"[{section}]"]
        for name, field in model.model_fields.items():
            text = texts[variable(f"{section}.{name}")]
            # An empty table here would forbid the one that its explanation asks for.
            lines.append(f"# {name}: {field.description}" if text == "{}" else f"{name} = {text}")
    return "\n".join(lines) + "\n"
