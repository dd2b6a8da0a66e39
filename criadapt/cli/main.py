"""The ``criadapt`` command: a table of commands, loaded when they are used."""

from __future__ import annotations

import errno
from importlib import import_module
from typing import IO, Any, Final

import click

from criadapt.errors import CriadaptError, InvalidArgument

INTERRUPTED: Final = 130
"""Exit code of what Ctrl-C has cut short, as shells have it: 128 and the number of the signal."""

COMMANDS: Final = {
    "serve": "criadapt.cli.serve:serve",
    "config": "criadapt.cli.conf:config",
    "backends": "criadapt.cli.installed:backends",
    "version": "criadapt.cli.installed:version",
    "info": "criadapt.cli.info:info",
    "pods": "criadapt.cli.listing:pods",
    "ps": "criadapt.cli.listing:ps",
    "images": "criadapt.cli.listing:images",
    "inspect": "criadapt.cli.inspect:inspect",
    "logs": "criadapt.cli.logs:logs",
    "exec": "criadapt.cli.commands:exec_command",
    "attach": "criadapt.cli.commands:attach",
    "port-forward": "criadapt.cli.forward:port_forward",
    "pull": "criadapt.cli.pull:pull",
    "run": "criadapt.cli.run:run",
    "stop": "criadapt.cli.remove:stop",
    "rm": "criadapt.cli.remove:rm",
    "events": "criadapt.cli.events:events",
    "stats": "criadapt.cli.stats:stats",
    "completion": "criadapt.cli.completion:completion",
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
        except KeyboardInterrupt:
            ctx.exit(INTERRUPTED)
        except OSError as error:
            if error.errno != errno.ENOSPC:
                raise
            raise Failed(f"{error.filename or 'the output'} cannot be written: {error.strerror}") from error
        except CriadaptError as error:
            kind = Misconfigured if isinstance(error, InvalidArgument) else Failed
            notes: list[str] = getattr(error, "__notes__", [])
            raise kind("; ".join([str(error) or type(error).__name__, *notes])) from error


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
def cli() -> None:
    """Serve any container engine as Kubernetes CRI v1, and work with any CRI runtime.

    Commands that work with a runtime find it by themselves, or are told by -r or the variable CRIADAPT_ENDPOINT.

    \b
    Exit codes: 0  done
                1  something failed, or what was named is not there
                2  the command line, the configuration or a request is wrong
              130  Ctrl-C

    exec, and run of an image, end with the exit code of the command in the container.
    """


def main() -> None:
    """Entry point of the ``criadapt`` script."""
    cli(prog_name="criadapt")
