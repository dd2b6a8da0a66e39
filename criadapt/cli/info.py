"""``criadapt info``: who answers, and whether it is ready."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields
from typing import TYPE_CHECKING

import click

from criadapt.cli.runtime import connected
from criadapt.cli.show import amount, emit, format_option, plain, table

if TYPE_CHECKING:
    from criadapt.client import Client
    from criadapt.model.answers import ImageFsInfoResponse, StatusResponse


@click.command()
@click.option("-v", "--verbose", is_flag=True, help="With -o json or yaml: what else the runtime says of itself.")
@format_option("table", "json", "yaml")
@connected
def info(cri: Client, verbose: bool, output: str) -> None:
    """Show which runtime answers, where it was found, and whether it is ready."""
    from criadapt.errors import Unsupported

    status = cri.status(verbose=verbose)
    disks = cri.image_fs_info()
    try:
        driver = cri.runtime_config().name.lower()
    except Unsupported:
        driver = ""
    if output == "table":
        who = f"{cri.runtime.runtime_name} {cri.runtime.runtime_version} (CRI {cri.runtime.runtime_api_version})"
        facts = [("RUNTIME", who), ("ENDPOINT", cri.endpoint), ("FOUND BY", cri.endpoints.origin)]
        if cri.endpoints.image != cri.endpoint:
            facts.append(("IMAGES", cri.endpoints.image))
        facts.append(("CGROUP DRIVER", driver or "not told"))
        facts += _facts(status, disks)
        table(*_split(facts))
        return
    found = {
        "endpoint": cri.endpoint,
        "image_endpoint": cri.endpoints.image,
        "origin": cri.endpoints.origin,
        "version": cri.runtime,
        "cgroup_driver": driver or None,
        **plain(status),
        "image_fs_info": disks,
    }
    emit(found, output)


def _split(facts: list[tuple[str, str]]) -> tuple[tuple[str, str], list[tuple[str, str]]]:
    return facts[0], facts[1:]


def _facts(status: StatusResponse, disks: ImageFsInfoResponse) -> Iterator[tuple[str, str]]:
    for condition in status.status.conditions:
        why = " ".join(filter(None, (condition.reason, condition.message)))
        yield condition.type.upper(), ("yes" if condition.status else "no") + (f": {why}" if why else "")
    names = [handler.name or "(default)" for handler in status.runtime_handlers]
    yield "HANDLERS", ", ".join(names) or "not told"
    if status.features is not None:
        known = [field.name for field in fields(status.features) if getattr(status.features, field.name)]
        yield "FEATURES", ", ".join(known) or "none"
    for disk in disks.image_filesystems:
        yield "IMAGE DISK", f"{amount(disk.used_bytes)} in {disk.fs_id.mountpoint if disk.fs_id else '?'}"
