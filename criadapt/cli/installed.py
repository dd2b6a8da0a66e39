"""What is installed: ``criadapt version`` and ``criadapt backends``."""

from __future__ import annotations

import json
import platform
from dataclasses import dataclass

import click

import criadapt


@click.command()
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
def version(as_json: bool) -> None:
    """Print the versions of criadapt, Python and the libraries that matter."""
    from importlib.metadata import PackageNotFoundError
    from importlib.metadata import version as installed  # the libraries themselves take long to import

    versions = {"criadapt": criadapt.__version__, "python": platform.python_version()}
    for name in ("grpcio", "protobuf"):
        try:
            versions[name] = installed(name)
        except PackageNotFoundError:
            versions[name] = "not installed"
    if as_json:
        click.echo(json.dumps(versions))
        return
    for name, number in versions.items():
        click.echo(f"{name:<9} {number}")


@dataclass(frozen=True, slots=True)
class Row:
    """One installed backend: what it is, or why it cannot be used."""

    name: str
    distribution: str
    about: str = ""
    error: str = ""


@click.command()
@click.option("--json", "as_json", is_flag=True, help="A JSON list of objects.")
def backends(as_json: bool) -> None:
    """List the engines that can be served: the word for --backend, who provides it, what it is."""
    rows = _rows()
    if as_json:
        click.echo(json.dumps([{key: getattr(row, key) for key in Row.__slots__} for row in rows]))
        return
    if not rows:
        click.echo("no backend is installed, not even criadapt's own; reinstall it: pip install criadapt", err=True)
        return
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("NAME", no_wrap=True)
    table.add_column("FROM", no_wrap=True)
    table.add_column("WHAT IT IS")
    for row in rows:
        about = Text(f"unusable: {row.error}", style="red") if row.error else Text(row.about)
        table.add_row(Text(row.name), Text(row.distribution), about)
    Console(highlight=False).print(table)


def _rows() -> list[Row]:
    from criadapt.backends import available

    rows = []
    for name, found in available().items():
        try:
            doc = found.load().__doc__ or ""
            rows.append(Row(name, found.distribution, about=doc.strip().partition("\n")[0]))
        except Exception as error:  # a plugin may fail in any way; the others are still worth listing
            rows.append(Row(name, found.distribution, error=str(error) or type(error).__name__))
    return rows
