"""A private containerd with its own CRI plugin, beside whatever else the machine runs."""

import json
import os
import platform
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from . import busybox
from .daemon import Daemon, accepts

IMAGE = "localhost/busybox:1"
PAUSE = "localhost/pause:1"
CNI_FOLDERS = ("/usr/lib/cni", "/opt/cni/bin")
_CONFIG = """version = 2
root = "{folder}/root"
state = "{folder}/state"
[grpc]
address = "{folder}/c.sock"
[plugins."io.containerd.grpc.v1.cri"]
sandbox_image = "{pause}"
restrict_oom_score_adj = true
[plugins."io.containerd.grpc.v1.cri".cni]
bin_dir = "{plugins}"
conf_dir = "{folder}/cni"
"""
_SUBNET = "10.123.45.0/24"


def missing() -> str:
    """What this machine lacks for it; empty if nothing."""
    if os.geteuid() != 0:
        return "it takes root"
    programs = [name for name in ("containerd", "ctr", "runc") if shutil.which(name) is None]
    if programs:
        return f"no {', '.join(programs)}"
    if _plugins() is None:
        return f"no CNI plugins in {' or '.join(CNI_FOLDERS)}"
    if busybox.find() is None or platform.machine() != "x86_64":
        return "no static busybox for x86_64"
    return ""


@contextmanager
def running() -> Iterator[str]:
    """Yields the endpoint of its CRI. At the end all of its pods must be gone already."""
    program = busybox.find()
    assert program is not None, missing()
    with tempfile.TemporaryDirectory(prefix="criadapt-containerd-") as name:
        folder = Path(name)
        (folder / "cni").mkdir()
        (folder / "cni/10-test.conflist").write_text(json.dumps(_network(folder)))
        config = folder / "config.toml"
        config.write_text(_CONFIG.format(folder=folder, pause=PAUSE, plugins=_plugins()))
        daemon = Daemon(["containerd", "-c", config], folder / "log", lambda: accepts(folder / "c.sock"))
        daemon.start()
        try:
            archive = folder / "busybox.tar"
            busybox.write(archive, program, (IMAGE, PAUSE))
            ctr = ["ctr", "-a", folder / "c.sock", "-n", "k8s.io", "images", "import", archive]
            subprocess.run(ctr, check=True, capture_output=True)
            yield f"unix://{folder}/c.sock"
        finally:
            daemon.stop()


def _plugins() -> str | None:
    needed = ("ptp", "host-local")
    return next((f for f in CNI_FOLDERS if all((Path(f) / name).exists() for name in needed)), None)


def _network(folder: Path) -> dict[str, object]:
    """A pair of interfaces per pod, which goes with the pod; nothing else on the host is changed."""
    ipam = {"type": "host-local", "ranges": [[{"subnet": _SUBNET}]], "dataDir": f"{folder}/ipam"}
    return {"cniVersion": "0.4.0", "name": "criadapt-test", "plugins": [{"type": "ptp", "ipMasq": False, "ipam": ipam}]}
