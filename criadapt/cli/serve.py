"""``criadapt serve``."""

from __future__ import annotations

import asyncio
import os
import shlex

import click

import criadapt
from criadapt import log
from criadapt.cli.options import configured
from criadapt.config import Loaded


@click.command()
@configured
def serve(loaded: Loaded) -> None:
    """Serve a container engine as CRI v1 until SIGTERM or Ctrl-C; its containers outlive the server."""
    log.setup(loaded.config.log.level, loaded.config.log.format)
    # gRPC's fork handlers quiesce its threads around every fork, and we start subprocesses often but never fork
    # without exec. It reads the variable when it is imported.
    os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "0")
    from criadapt import server

    def ready(endpoint: str) -> None:
        quoted = shlex.quote(endpoint)
        click.echo(f"criadapt {criadapt.__version__} serves {loaded.config.backend} on {endpoint}")
        click.echo(f"  try:  crictl --runtime-endpoint {quoted} version")
        click.echo(f"  or:   export CONTAINER_RUNTIME_ENDPOINT={quoted}")

    asyncio.run(server.serve(loaded, on_ready=ready))
