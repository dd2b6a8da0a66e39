"""The files a pod's containers share: /etc/hostname, /etc/hosts, /etc/resolv.conf.

They lie side by side in one folder of the state directory (making and removing a folder per sandbox costs more than
all other steps of a pod on some filesystems) and are bind-mounted into each container, unless the container mounts
something of its own there, as kubelet does with /etc/hosts.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from criadapt.errors import storage_failed
from criadapt.model.sandbox import DNSConfig, PodSandboxConfig

_HOSTS = "127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n"


@dataclass(frozen=True, slots=True)
class PodFiles:
    """Files of one sandbox."""

    folder: str
    sandbox_id: str
    hostname: str

    def mounts(self) -> Iterator[tuple[str, str]]:
        """(path in the container, path on the host) of each file."""
        for name in ("hostname", "hosts", "resolv.conf"):
            yield f"/etc/{name}", self._path(name)

    def _path(self, name: str) -> str:
        return f"{self.folder}/{self.sandbox_id}.{name}"

    def write(self, config: PodSandboxConfig, ips: tuple[str, ...], *, host_network: bool) -> None:
        """Make the files, mode 0644. Idempotent."""
        if host_network:
            hosts = _host_file("/etc/hosts", _HOSTS)
        else:
            hosts = _HOSTS + "".join(f"{ip}\t{self.hostname}\n" for ip in ips)
        if not os.path.isdir(self.folder):
            os.makedirs(self.folder, mode=0o711, exist_ok=True)
        for name, text in (
            ("hostname", self.hostname + "\n"),
            ("hosts", hosts),
            ("resolv.conf", resolv_conf(config.dns_config)),
        ):
            with open(self._path(name), "wb", buffering=0) as file:
                os.fchmod(file.fileno(), 0o644)  # whatever the umask: containers run as anybody
                data = text.encode(errors="surrogateescape")
                while data:
                    data = data[file.write(data) or 0 :]

    def remove(self) -> None:
        """Remove the files; success if there are none."""
        for _, path in self.mounts():
            with suppress(FileNotFoundError, NotADirectoryError):
                os.unlink(path)


def pod_files(state_dir: Path, sandbox_id: str, config: PodSandboxConfig, *, host_network: bool) -> PodFiles:
    """Where the files of a sandbox are, and its host name."""
    return PodFiles(f"{state_dir}/pods", sandbox_id, hostname(config, host_network=host_network))


def make_log_directory(config: PodSandboxConfig) -> None:
    """Make the pod's log folder (0755) if it is missing."""
    if config.log_directory:
        try:
            Path(config.log_directory).mkdir(mode=0o755, parents=True, exist_ok=True)
        except OSError as error:
            raise storage_failed(f"log_directory {config.log_directory} cannot be made", error) from error


def hostname(config: PodSandboxConfig, *, host_network: bool) -> str:
    """The pod's host name: the host's own when it asks for none or shares the host's network."""
    return socket.gethostname() if host_network or not config.hostname else config.hostname


def resolv_conf(dns: DNSConfig | None) -> str:
    """Content of resolv.conf: the host's when nothing is asked for."""
    if dns is None or not (dns.servers or dns.searches or dns.options):
        return _host_file("/etc/resolv.conf", "")
    lines = []
    if dns.searches:
        lines.append("search " + " ".join(dns.searches))
    lines += [f"nameserver {server}" for server in dns.servers]
    if dns.options:
        lines.append("options " + " ".join(dns.options))
    return "\n".join(lines) + "\n"


def _host_file(path: str, default: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8", errors="surrogateescape")
    except OSError:
        return default
