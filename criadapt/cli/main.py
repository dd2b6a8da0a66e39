"""The ``criadapt`` command: a table of commands, loaded when they are used."""

from __future__ import annotations

from importlib import import_module
from typing import IO, Any, Final

import click

from criadapt.errors import CriadaptError, InvalidArgument

COMMANDS: Final = {
    "serve": "criadapt.cli.serve:serve",
    "config": "criadapt.cli.conf:config",
    "backends": "criadapt.cli.installed:backends",
    "version": "criadapt.cli.installed:version",
}
"""Name of each command, and ``module:object`` of its click command."""


class Failed(click.ClickException):
    """What went wrong, in one line."""

    def show(self, file: IO[Any] | None = None) -> None:
        """Print it."""
        click.echo(f"criadapt: {' '.join(self.message.splitlines())}", file=file, err=file is None)


class Misconfigured(Failed):
    """The caller's wishes are at fault."""

    exit_code = 2


class Commands(click.Group):
    """A group whose commands are imported when they are named."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """In the order of the table."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import the command."""
        if cmd_name not in COMMANDS:
            return None
        module, _, attribute = COMMANDS[cmd_name].partition(":")
        command: click.Command = getattr(import_module(module), attribute)
        return command

    def invoke(self, ctx: click.Context) -> Any:
        """Run it; what criadapt raises on purpose needs no traceback."""
        try:
            return super().invoke(ctx)
        except CriadaptError as error:
            kind = Misconfigured if isinstance(error, InvalidArgument) else Failed
            raise kind(str(error) or type(error).__name__) from error


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
def cli() -> None:
    """Serve any container engine as Kubernetes CRI v1."""


def main() -> None:
    """Entry point of the ``criadapt`` script."""
    cli(prog_name="criadapt")
