"""The options that choose a configuration, common to all commands that need one."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from functools import wraps
from pathlib import Path
from typing import Any

import click

from criadapt.backends import available
from criadapt.config import Config, Loaded, choices, keys, load


def configured(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a click command the options of the configuration, and itself a :class:`Loaded` in ``loaded``."""
    short = {key.flag: key for key in keys(Config) if key.flag}

    @wraps(command)
    def run(*args: Any, config_file: Path | None, assignments: Mapping[str, str], **given: Any) -> Any:
        flags = dict(assignments)
        for flag in short:
            if (text := given.pop(_parameter(flag))) is not None:
                flags[flag] = text
        return command(*args, loaded=_load(config_file, flags), **given)

    run = click.option(
        "--set",
        "assignments",
        metavar="KEY=VALUE",
        multiple=True,
        callback=_parse,
        help="Set any key, such as streaming.port=0 or backend.mock.subnet=10.1.0.0/16; may be repeated.",
    )(run)
    for flag, key in reversed(short.items()):
        metavar = "|".join(choices(key.kind)) or "TEXT"
        env = f"  [env: {key.env}]" if key.env else ""
        run = click.option(flag, _parameter(flag), metavar=metavar, help=f"{key.doc}{env}")(run)
    return click.option(
        "--config",
        "config_file",
        metavar="FILE",
        type=click.Path(path_type=Path),
        help="Configuration file, TOML; without it /etc/criadapt/config.toml (root) or "
        "~/.config/criadapt/config.toml is read if it exists.",
    )(run)


def _parameter(flag: str) -> str:
    return f"flag_{flag.strip('-').replace('-', '_')}"


def _parse(ctx: click.Context, parameter: click.Parameter, values: tuple[str, ...]) -> dict[str, str]:
    pairs = {}
    for value in values:
        key, equals, text = value.partition("=")
        if not equals or not key.strip():
            raise click.BadParameter(f"expected KEY=VALUE, got {value!r}", ctx, parameter)
        pairs[key.strip()] = text
    return pairs


def _load(file: Path | None, flags: Mapping[str, str]) -> Loaded:
    loaded = load(file, os.environ, flags)
    loaded.check_backends(available())
    return loaded
