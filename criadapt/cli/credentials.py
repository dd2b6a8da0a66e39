"""The options that say who pulls an image. Nothing of them is ever printed."""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import wraps
from typing import TYPE_CHECKING, Any

import click

from criadapt.cli.runtime import only_one

if TYPE_CHECKING:
    from criadapt.client.registries import Auth

Command = Callable[..., Any]


def credentials_options(command: Command) -> Command:
    """Give a click command the options, and itself their result as `auth`."""

    @wraps(command)
    def run(*args: Any, creds: str | None, encoded: str | None, docker_config: bool, **given: Any) -> Any:
        only_one({"--creds": creds is not None, "--auth": encoded is not None, "--docker-config": docker_config})
        return command(*args, auth=_auth(creds, encoded, docker_config), **given)

    run = click.option(
        "--docker-config", is_flag=True, help="Use what `docker login` has stored, where it stores it in a file."
    )(run)
    run = click.option(
        "--auth", "encoded", metavar="BASE64", envvar="CRIADAPT_AUTH", help="USER:PASSWORD in base64.", show_envvar=True
    )(run)
    return click.option(
        "--creds",
        metavar="USER[:PASSWORD]",
        envvar="CRIADAPT_CREDS",
        show_envvar=True,
        help="Credentials. A password that is left out is asked for, or read from stdin if that is no terminal.",
    )(run)


def _auth(creds: str | None, encoded: str | None, docker_config: bool) -> Auth:
    if docker_config:
        return "docker-config"
    from criadapt.model.image import AuthConfig

    if encoded is not None:
        return AuthConfig(auth=encoded)
    if creds is None:
        return None
    user, colon, password = creds.partition(":")
    if not user:
        raise click.BadParameter("expected USER or USER:PASSWORD", param_hint="'--creds'")
    if not colon and sys.stdin.isatty():
        password = click.prompt("Password", hide_input=True, err=True)
    elif not colon:
        password = sys.stdin.readline().rstrip("\r\n")
    return AuthConfig(username=user, password=password)
