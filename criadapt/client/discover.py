"""Which runtime to talk to when nobody says so, and whether anybody listens there. Blocking; no gRPC.

Places are looked at in this order, and the first with a runtime wins:

1. the argument of ``connect``;
2. the variables ``CRIADAPT_ENDPOINT``, then ``CONTAINER_RUNTIME_ENDPOINT`` with ``IMAGE_SERVICE_ENDPOINT``;
3. crictl's configuration: the file that ``CRI_CONFIG_FILE`` names, or else those in /etc and in the home directory;
4. kubelet's configuration, and the flags that kubeadm wrote for it;
5. the sockets that runtimes and distributions are known to have.

What an argument or a variable names is asked for: when it fails, that is the error. The rest is a guess: when it
fails, the next is tried, and if all fail, the error tells of each.
"""

from __future__ import annotations

import os
import re
import socket
import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from criadapt.errors import CriadaptError, InvalidArgument, NotFound, PermissionDenied, Unavailable

PROBE_SECONDS = 2.0

CRICTL_FILES = ("/etc/crictl.yaml", "~/.crictl/crictl.yaml")
KUBELET_FILES = (
    "/var/lib/kubelet/config.yaml",
    "/etc/kubernetes/kubelet/config.json",
    "/etc/kubernetes/kubelet/kubelet-config.json",
    "/etc/kubernetes/kubelet.conf",
    "/var/lib/k0s/kubelet-config.yaml",
)
KUBEADM_FLAGS = "/var/lib/kubelet/kubeadm-flags.env"
SOCKETS: Mapping[str, str] = {
    "/run/containerd/containerd.sock": "containerd",
    "/run/crio/crio.sock": "CRI-O",
    "/var/run/crio/crio.sock": "CRI-O",
    "/run/cri-dockerd.sock": "cri-dockerd",
    "/var/run/cri-dockerd.sock": "cri-dockerd",
    "/run/k3s/containerd/containerd.sock": "k3s or rke2",
    "/run/k3s/cri-dockerd/cri-dockerd.sock": "k3s with cri-dockerd",
    "/var/snap/microk8s/common/run/containerd.sock": "microk8s",
    "/run/k0s/containerd.sock": "k0s",
}
"""Where runtimes listen unless told otherwise."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoints:
    """Where a runtime is: ``unix:///path`` or ``tcp://host:port``, and how it was found."""

    runtime: str
    image: str
    """The image service, nearly always the same place."""
    origin: str
    """Who named it: ``argument``, ``$CRIADAPT_ENDPOINT``, a file, ``known socket of containerd``."""
    explicit: bool = False
    """Whether it was asked for, not guessed."""


def normalised(text: str, where: str = "endpoint") -> str:
    """``unix:///path`` or ``tcp://host:port`` of an endpoint given so, as ``/path`` or as ``host:port``.

    Raises InvalidArgument, beginning with `where`.
    """
    text = text.strip()
    path = text.removeprefix("unix://") if text.startswith("unix://") else text.removeprefix("unix:")
    if path.startswith("/"):
        if not path.isprintable() or path.endswith("/"):
            raise InvalidArgument(f"{where}: {text!r} cannot be the path of a socket")
        return f"unix://{path}"
    address = text.removeprefix("tcp://").removeprefix("dns:///")
    if (found := _ADDRESS.fullmatch(address)) and int(found["port"]) <= 65535:
        return f"tcp://{address}"
    raise InvalidArgument(f"{where}: expected unix:///absolute/path or host:port, got {text!r}")


_ADDRESS = re.compile(r"(?P<host>[0-9A-Za-z](?:[0-9A-Za-z._-]*[0-9A-Za-z])?|\[[0-9a-fA-F:.]+\]):(?P<port>[0-9]{1,5})")


def target_of(endpoint: str) -> str:
    """What gRPC calls a normalised endpoint."""
    if endpoint.startswith("unix://"):
        return "unix:" + endpoint.removeprefix("unix://")
    return "dns:///" + endpoint.removeprefix("tcp://")


def candidates(
    endpoint: str | None = None,
    image_endpoint: str | None = None,
    *,
    env: Mapping[str, str] = os.environ,
    root: Path = Path("/"),
) -> Iterator[Endpoints]:
    """Places to try, in order. After an explicit one there is none.

    `root` stands before the paths of files and known sockets. Raises InvalidArgument for an endpoint that is none,
    and for a file named by ``CRI_CONFIG_FILE`` that cannot be read.
    """
    if endpoint is None and image_endpoint is not None:
        raise InvalidArgument("image_endpoint: name the runtime's endpoint, too")
    named = [
        ("endpoint", endpoint, image_endpoint),
        ("$CRIADAPT_ENDPOINT", env.get("CRIADAPT_ENDPOINT"), None),
        ("$CONTAINER_RUNTIME_ENDPOINT", env.get("CONTAINER_RUNTIME_ENDPOINT"), env.get("IMAGE_SERVICE_ENDPOINT")),
    ]
    for where, text, image in named:
        if text or (where == "endpoint" and text is not None):
            yield _endpoints(text, image, where, explicit=True)
            return
    if file := env.get("CRI_CONFIG_FILE"):
        found = _of_file(Path(file), "runtime-endpoint", "image-endpoint", must=True)
        if found:
            yield _endpoints(*found, f"$CRI_CONFIG_FILE {file}", explicit=True)
            return
    yield from _guesses(env, root)


def probe(endpoint: str) -> None:
    """See whether somebody accepts connections at a normalised endpoint.

    Raises NotFound, PermissionDenied, Unavailable or InvalidArgument, with what is wrong and what to do about it.
    """
    if endpoint.startswith("unix://"):
        _probe_socket(Path(endpoint.removeprefix("unix://")))
        return
    host, _, port = endpoint.removeprefix("tcp://").rpartition(":")
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=PROBE_SECONDS).close()
    except OSError as error:
        raise Unavailable(f"{endpoint}: {error.strerror or error}") from error


def nobody(tried: Mapping[str, CriadaptError]) -> CriadaptError:
    """The error that tells of all places that were tried, and why each of them did not do."""
    kinds = {type(error) for error in tried.values()} - {NotFound}
    cls = NotFound if not kinds else PermissionDenied if kinds == {PermissionDenied} else Unavailable
    lines = "".join(f"\n  {place}: {error}" for place, error in tried.items())
    return cls(f"no CRI runtime found; name its endpoint, or set CRIADAPT_ENDPOINT. These were tried:{lines}")


def _endpoints(text: str, image: str | None, where: str, *, explicit: bool = False) -> Endpoints:
    runtime = normalised(text, where)
    return Endpoints(
        runtime=runtime,
        image=normalised(image, f"image endpoint of {where}") if image else runtime,
        origin="argument" if where == "endpoint" else where,
        explicit=explicit,
    )


def _guesses(env: Mapping[str, str], root: Path) -> Iterator[Endpoints]:
    seen: set[str] = set()
    for where, text, image in _written(env, root):
        try:
            found = _endpoints(text, image, where)
        except InvalidArgument:
            continue  # somebody else's file, of which we ask nothing
        if found.runtime not in seen:
            seen.add(found.runtime)
            yield found
    for path, owner in {**SOCKETS, **_own_socket(env)}.items():
        endpoint = f"unix://{root / path.lstrip('/')}"
        if endpoint not in seen:
            yield Endpoints(runtime=endpoint, image=endpoint, origin=f"known socket of {owner}")


def _written(env: Mapping[str, str], root: Path) -> Iterator[tuple[str, str, str | None]]:
    """What configuration files say: the file, the endpoint, the image service's endpoint."""
    for name in CRICTL_FILES:
        home = env.get("HOME", "")
        if name.startswith("~") and not home:
            continue
        path = root / name.replace("~", home, 1).lstrip("/")
        if found := _of_file(path, "runtime-endpoint", "image-endpoint"):
            yield (str(path), *found)
    for name in KUBELET_FILES:
        path = root / name.lstrip("/")
        if found := _of_file(path, "containerRuntimeEndpoint", "imageServiceEndpoint"):
            yield (str(path), *found)
    path = root / KUBEADM_FLAGS.lstrip("/")
    if found_flag := re.search(r"--container-runtime-endpoint[= ]\"?([^\s\"]+)", _text(path) or ""):
        yield (str(path), found_flag[1], None)


def _of_file(path: Path, runtime: str, image: str, *, must: bool = False) -> tuple[str, str | None] | None:
    """Two values of a YAML file, None without the first. With `must` the file has to be there, and be one."""
    text = _text(path)
    if text is None:
        if must:
            raise InvalidArgument(f"$CRI_CONFIG_FILE: {path} cannot be read; correct the variable, or unset it")
        return None
    import yaml  # takes a while, and most often there is no file

    try:
        content = yaml.safe_load(text)
    except yaml.YAMLError as error:
        if must:
            raise InvalidArgument(f"$CRI_CONFIG_FILE: {path} is not YAML: {error}") from error
        return None
    if not isinstance(content, dict):
        return None
    endpoint, second = content.get(runtime), content.get(image)
    if not isinstance(endpoint, str) or not endpoint:
        return None
    return endpoint, second if isinstance(second, str) and second else None


def _text(path: Path) -> str | None:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None


def _own_socket(env: Mapping[str, str]) -> Mapping[str, str]:
    from criadapt.config import default_listen, default_state_dir

    root = os.geteuid() == 0
    endpoint = default_listen(env, root=root, state_dir=default_state_dir(env, root=root))
    return {endpoint.removeprefix("unix://"): "criadapt"}


def _probe_socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as one:
        one.settimeout(PROBE_SECONDS)
        try:
            if not stat.S_ISSOCK(path.stat().st_mode):
                raise InvalidArgument(f"{path} is not a socket")
            one.connect(str(path))
        except (FileNotFoundError, NotADirectoryError) as error:
            raise NotFound(f"{path} does not exist; is the runtime running?") from error
        except PermissionError as error:
            raise PermissionDenied(f"{path}: permission denied; run as root{_or_group(path)}") from error
        except ConnectionRefusedError as error:
            raise Unavailable(f"{path}: nobody listens on this socket any more; start the runtime") from error
        except OSError as error:
            raise Unavailable(f"{path}: {error.strerror or error}") from error


def _or_group(path: Path) -> str:
    import grp

    try:
        status = path.stat()
        if status.st_mode & stat.S_IWGRP and status.st_gid:
            return f" or as a member of the group {grp.getgrgid(status.st_gid).gr_name!r}"
    except (OSError, KeyError):
        pass
    return ""
