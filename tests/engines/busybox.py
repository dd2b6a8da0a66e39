"""An image made of the machine's own busybox, for engines that have no registry to pull from."""

import hashlib
import io
import json
import shutil
import tarfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

APPLETS = ("sh", "cat", "dd", "echo", "false", "httpd", "id", "md5sum", "nc", "ps", "sleep", "stty", "true", "wc")
FOLDERS = ("bin", "dev", "etc", "proc", "sys", "tmp", "www")
PAGE = b"hello from the pod\n"
CONFIG: Mapping[str, Any] = {"Cmd": ["sleep", "1000000"], "Env": ["PATH=/bin"]}


def find() -> Path | None:
    """A busybox that needs no libraries (Debian's busybox-static), if the machine has one."""
    found = shutil.which("busybox")
    if found is None:
        return None
    with open(found, "rb") as file:  # a dynamic program names its loader right behind the headers
        return None if b"/ld-linux" in file.read(4096) else Path(found)


def write(path: Path, busybox: Path, names: Iterable[str], config: Mapping[str, Any] = CONFIG) -> None:
    """Write a `docker save` archive of one image that goes by `names`."""
    data = layer(busybox)
    described = image_config([data], config)
    name = f"{hashlib.sha256(described).hexdigest()}.json"
    manifest = json.dumps([{"Config": name, "RepoTags": list(names), "Layers": ["layer.tar"]}]).encode()
    path.write_bytes(tar({name: described, "layer.tar": data, "manifest.json": manifest}))


def layer(busybox: Path) -> bytes:
    """The image's only layer, a tar archive."""
    files: dict[str, bytes | str | None] = dict.fromkeys(FOLDERS)
    files |= {"etc/passwd": b"root:x:0:0:root:/:/bin/sh\n", "www/index.html": PAGE}
    files |= {f"bin/{applet}": "busybox" for applet in APPLETS}
    return tar({**files, "bin/busybox": busybox.read_bytes()})


def image_config(layers: Iterable[bytes], config: Mapping[str, Any] = CONFIG) -> bytes:
    """The JSON that describes an image of these layers (OCI image-spec, config); the engine's id is its digest."""
    diff_ids = [f"sha256:{hashlib.sha256(data).hexdigest()}" for data in layers]
    return json.dumps(
        {
            "architecture": "amd64",
            "os": "linux",
            "created": "2026-01-01T00:00:00Z",
            "config": config,
            "rootfs": {"type": "layers", "diff_ids": diff_ids},
        }
    ).encode()


def tar(files: Mapping[str, bytes | str | None]) -> bytes:
    """An archive of files (bytes), symbolic links (their target) and directories (None). Programs may be run."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.mode = 0o755 if content is None or name.startswith("bin/") else 0o644
            if content is None:
                info.type = tarfile.DIRTYPE
            elif isinstance(content, str):
                info.type, info.linkname = tarfile.SYMTYPE, content
            else:
                info.size = len(content)
            archive.addfile(info, io.BytesIO(content) if isinstance(content, bytes) else None)
    return out.getvalue()
