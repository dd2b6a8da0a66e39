"""A private containerd with its own CRI plugin, beside whatever else the machine runs."""

import json
import os
import platform
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from . import busybox

IMAGE = "localhost/busybox:1"
PAUSE = "localhost/pause:1"
CNI_FOLDERS = ("/usr/lib/cni", "/opt/cni/bin")
SECONDS = 30.0
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
        with (folder / "log").open("wb") as log:
            process = subprocess.Popen(["containerd", "-c", config], stdout=log, stderr=log, start_new_session=True)
        try:
            _wait(folder / "c.sock", process, folder / "log")
            archive = folder / "busybox.tar"
            busybox.write(archive, program, (IMAGE, PAUSE))
            ctr = ["ctr", "-a", folder / "c.sock", "-n", "k8s.io", "images", "import", archive]
            subprocess.run(ctr, check=True, capture_output=True)
            yield f"unix://{folder}/c.sock"
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(SECONDS)


def _plugins() -> str | None:
    needed = ("ptp", "host-local")
    return next((f for f in CNI_FOLDERS if all((Path(f) / name).exists() for name in needed)), None)


def _network(folder: Path) -> dict[str, object]:
    """A pair of interfaces per pod, which goes with the pod; nothing else on the host is changed."""
    ipam = {"type": "host-local", "ranges": [[{"subnet": _SUBNET}]], "dataDir": f"{folder}/ipam"}
    return {"cniVersion": "0.4.0", "name": "criadapt-test", "plugins": [{"type": "ptp", "ipMasq": False, "ipam": ipam}]}


def _wait(path: Path, process: subprocess.Popen[bytes], log: Path) -> None:
    end = time.monotonic() + SECONDS
    while True:
        with socket.socket(socket.AF_UNIX) as probe:
            try:
                probe.connect(str(path))
                return
            except OSError:
                pass
        if process.poll() is not None or time.monotonic() > end:
            raise AssertionError(f"containerd does not serve; it wrote:\n{log.read_text()[-4000:]}")
        time.sleep(0.05)
