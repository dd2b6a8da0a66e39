"""``criadapt config``: what is in force and why, and a file to start from."""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from criadapt.backends import available
from criadapt.cli.options import configured
from criadapt.cli.reference import default_toml, toml_value
from criadapt.errors import CriadaptError

if TYPE_CHECKING:
    from criadapt.backends.base import Backend
    from criadapt.config import Loaded, Setting


def _print_default(ctx: click.Context, parameter: click.Parameter, wanted: bool) -> None:
    # Eager, so that it works beside a configuration that cannot be loaded: this is where the remedy is looked up.
    if wanted:
        click.echo(default_toml(_usable()), nl=False)
        ctx.exit()


@click.command()
@click.option(
    "--default",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_print_default,
    help="Print a file with every key, its meaning and its default, and nothing else.",
)
@click.option("--json", "as_json", is_flag=True, help="A JSON list of objects with key, value and origin.")
@configured
def config(loaded: Loaded, as_json: bool) -> None:
    """Print the configuration in force, with where each value came from; takes the same options as serve."""
    settings = loaded.settings(available_backend(loaded.config.backend))
    if as_json:
        rows = [{"key": each.key, "value": _public(each), "origin": each.origin} for each in settings]
        click.echo(json.dumps(rows, default=_plain, indent=2))
        return
    lines = [(f"{each.key} = {toml_value(_public(each))}", each.origin) for each in settings]
    width = min(max(len(line) for line, _ in lines), 60)
    for line, origin in lines:
        click.echo(f"{line:<{width}}  # {origin}")


def available_backend(name: str) -> type[Backend]:
    """The class of the backend that is configured. Raises what :func:`criadapt.backends.load` raises."""
    from criadapt.backends import load

    return load(name)


def _usable() -> list[type[Backend]]:
    found = []
    for installed in available().values():
        with suppress(CriadaptError):  # `criadapt backends` tells about the others
            found.append(installed.load())
    return found


def _public(setting: Setting) -> Any:
    return "***" if setting.secret and setting.value else setting.value


def _plain(value: Any) -> Any:
    import msgspec

    return str(value) if isinstance(value, Path) else msgspec.to_builtins(value)
