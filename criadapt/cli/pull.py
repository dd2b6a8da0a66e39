"""``criadapt pull``: get an image, and show that something happens."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from criadapt.cli.credentials import credentials_options
from criadapt.cli.runtime import complete_image, connected
from criadapt.cli.show import amount, emit, format_option

if TYPE_CHECKING:
    from criadapt.client import Client
    from criadapt.client.registries import Auth
    from criadapt.model.image import Image

LOOK_SECONDS = 0.5
"""How often the disk is asked for how much has come."""


@click.command()
@click.argument("image", shell_complete=complete_image)
@click.option("-q", "--quiet", is_flag=True, help="Show the image's id only.")
@credentials_options
@format_option("table", "json", "yaml")
@connected
def pull(cri: Client, image: str, quiet: bool, auth: Auth, output: str) -> None:
    """Pull an image, and print its name with its digest.

    CRI tells nothing of how far a pull is. On a terminal you see how long it takes, and how much the disk with the
    images has gained meanwhile.
    """
    found = pulled(cri, image, auth, quiet=quiet)
    if quiet:
        click.echo(found.id)
    elif output == "table":
        click.echo(found.repo_digests[0] if found.repo_digests else found.id)
    else:
        emit(found, output)


def pulled(cri: Client, image: str, auth: Auth, *, quiet: bool = False) -> Image:
    """Pull an image; on a terminal, unless `quiet`, its user sees that it goes on."""
    if quiet or not sys.stderr.isatty():
        return cri.pull(image, auth=auth)
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    from criadapt.client.sync import io

    before = _used(cri)
    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[gained]}"), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        bar = progress.add_task(f"Pulling {image}", total=None, gained="")
        # In a thread, as the pull itself cannot be looked at; Ctrl-C ends the process and with it the call.
        pulling = io.spawn(cri.pull, image, auth=auth)
        while True:
            try:
                return pulling.result(LOOK_SECONDS)
            except TimeoutError:
                now = _used(cri)
                if before is not None and now is not None and now > before:
                    progress.update(bar, gained=f"+{amount(now - before)}")


def _used(cri: Client) -> int | None:
    """Bytes on the disks with images, None where the runtime does not tell."""
    from criadapt.errors import CriadaptError

    try:
        disks = cri.image_fs_info(timeout=LOOK_SECONDS).image_filesystems
    except CriadaptError:
        return None
    return sum(disk.used_bytes for disk in disks if disk.used_bytes is not None)
