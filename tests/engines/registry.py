"""A registry on the loopback address, Debian's, to push to and to pull from. Engines take it without TLS there."""

import base64
import gzip
import hashlib
import json
import shutil
import tempfile
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from . import busybox
from .daemon import Daemon, accepts, free_port

BUSYBOX = "busybox"
"""Path of the image that is there from the beginning, with :data:`TAGS`."""
TAGS = ("latest", "1.36")
SAME = "mirror/busybox"
"""Path under which the same image is there, too."""

USER, PASSWORD = "tester", "open-sesame"
_HTPASSWD = f"{USER}:$2y$05$abcdefghijklmnopqrstuutXu9KzOt.1yBoZUeFWoT/914/JfszCO\n"  # bcrypt of the password
MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
_CONFIG = "application/vnd.docker.container.image.v1+json"
_LAYER = "application/vnd.docker.image.rootfs.diff.tar.gzip"


def missing() -> str:
    """What this machine lacks for it; empty if nothing."""
    if shutil.which("docker-registry") is None:
        return "no docker-registry"
    return "" if busybox.find() else "no static busybox"


@dataclass(frozen=True)
class Registry:
    """A registry that serves."""

    host: str
    """What references begin with, ``127.0.0.1:5000``."""
    login: bool
    """Whether it wants :data:`USER` and :data:`PASSWORD`."""

    def push(
        self, path: str, tags: Sequence[str], layers: Sequence[bytes], config: Mapping[str, Any] = busybox.CONFIG
    ) -> str:
        """Give it an image made of uncompressed layers; returns the digest of its manifest."""
        manifest, blobs = made(layers, config)
        for blob in blobs:
            digest = digest_of(blob)
            place = self._send("POST", f"/v2/{path}/blobs/uploads/")
            self._send("PUT", f"{place}{'&' if '?' in place else '?'}digest={digest}", blob)
        for tag in tags:
            self._send("PUT", f"/v2/{path}/manifests/{tag}", manifest, MANIFEST)
        return digest_of(manifest)

    def _send(self, method: str, to: str, body: bytes = b"", kind: str = "application/octet-stream") -> str:
        """Make a call that must succeed; returns where it says to go on."""
        url = to if to.startswith("http") else f"http://{self.host}{to}"
        call = urllib.request.Request(url, data=body, method=method, headers={"Content-Type": kind})
        if self.login:
            call.add_header("Authorization", f"Basic {base64.b64encode(f'{USER}:{PASSWORD}'.encode()).decode()}")
        with urllib.request.urlopen(call) as answer:
            return str(answer.headers.get("Location", ""))


def made(layers: Sequence[bytes], config: Mapping[str, Any] = busybox.CONFIG) -> tuple[bytes, list[bytes]]:
    """An image as registries have it: the manifest, and its blobs."""
    packed = [gzip.compress(layer, compresslevel=1, mtime=0) for layer in layers]
    described = busybox.image_config(layers, config)
    manifest = {
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": _descriptor(_CONFIG, described),
        "layers": [_descriptor(_LAYER, blob) for blob in packed],
    }
    return json.dumps(manifest).encode(), [described, *packed]


def digest_of(data: bytes) -> str:
    """How registries name content."""
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def _descriptor(kind: str, data: bytes) -> dict[str, str | int]:
    return {"mediaType": kind, "size": len(data), "digest": digest_of(data)}


@contextmanager
def running(*, login: bool = False) -> Iterator[Registry]:
    """Start one that has the busybox image. With `login` it wants :data:`USER` and :data:`PASSWORD`."""
    with tempfile.TemporaryDirectory(prefix="criadapt-registry-") as name:
        folder, port = Path(name), free_port()
        settings: dict[str, Any] = {
            "version": "0.1",
            "log": {"level": "warn", "accesslog": {"disabled": True}},
            "storage": {"filesystem": {"rootdirectory": f"{folder}/data"}, "delete": {"enabled": True}},
            "http": {"addr": f"127.0.0.1:{port}", "secret": "of no account"},
        }
        if login:
            (folder / "htpasswd").write_text(_HTPASSWD)
            settings["auth"] = {"htpasswd": {"realm": "criadapt", "path": f"{folder}/htpasswd"}}
        config = folder / "config.yml"
        config.write_text(json.dumps(settings))  # JSON is YAML
        command = ["docker-registry", "serve", config]
        daemon = Daemon(command, folder / "log", lambda: accepts(("127.0.0.1", port)))
        daemon.start()
        try:
            registry = Registry(f"127.0.0.1:{port}", login)
            program = busybox.find()
            assert program is not None, missing()
            layers = [busybox.layer(program)]
            registry.push(BUSYBOX, TAGS, layers)
            registry.push(SAME, TAGS[:1], layers)
            yield registry
        finally:
            daemon.stop()
