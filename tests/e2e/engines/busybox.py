"""An image made of the machine's own busybox, for engines that have no registry to pull from."""

import hashlib
import io
import json
import shutil
import tarfile
from collections.abc import Iterable
from pathlib import Path

APPLETS = ("sh", "cat", "dd", "echo", "false", "httpd", "id", "md5sum", "nc", "ps", "sleep", "stty", "true", "wc")
FOLDERS = ("bin", "dev", "etc", "proc", "sys", "tmp", "www")
PAGE = b"hello from the pod\n"


def find() -> Path | None:
    """A busybox that needs no libraries (Debian's busybox-static), if the machine has one."""
    found = shutil.which("busybox")
    if found is None:
        return None
    with open(found, "rb") as file:  # a dynamic program names its loader right behind the headers
        return None if b"/ld-linux" in file.read(4096) else Path(found)


def write(path: Path, busybox: Path, names: Iterable[str]) -> None:
    """Write a `docker save` archive of one image that goes by `names`."""
    layer = _layer(busybox)
    config = json.dumps(
        {
            "architecture": "amd64",
            "os": "linux",
            "config": {"Cmd": ["sleep", "1000000"], "Env": ["PATH=/bin"]},
            "rootfs": {"type": "layers", "diff_ids": [f"sha256:{hashlib.sha256(layer).hexdigest()}"]},
        }
    ).encode()
    name = f"{hashlib.sha256(config).hexdigest()}.json"
    manifest = json.dumps([{"Config": name, "RepoTags": list(names), "Layers": ["layer.tar"]}]).encode()
    with tarfile.open(path, "w") as archive:
        for member, data in ((name, config), ("layer.tar", layer), ("manifest.json", manifest)):
            _add(archive, member, data)


def _layer(busybox: Path) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        for folder in FOLDERS:
            info = tarfile.TarInfo(folder)
            info.type, info.mode = tarfile.DIRTYPE, 0o755
            archive.addfile(info)
        _add(archive, "bin/busybox", busybox.read_bytes(), 0o755)
        _add(archive, "etc/passwd", b"root:x:0:0:root:/:/bin/sh\n")
        _add(archive, "www/index.html", PAGE)
        for applet in APPLETS:
            info = tarfile.TarInfo(f"bin/{applet}")
            info.type, info.linkname = tarfile.SYMTYPE, "busybox"
            archive.addfile(info)
    return out.getvalue()


def _add(archive: tarfile.TarFile, name: str, data: bytes, mode: int = 0o644) -> None:
    info = tarfile.TarInfo(name)
    info.size, info.mode = len(data), mode
    archive.addfile(info, io.BytesIO(data))
