"""What is in an image: a table of well-known ones, and a rule for all others.

An image is known by the last part of its path (``docker.io/library/nginx``, ``quay.io/me/nginx`` and
``e2e-test-images/nginx`` are one family). Everything about it follows from its path and tag, or path and digest; the
registry's host is left out, so the same image in two registries is the same image.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from types import MappingProxyType

from criadapt.backends.base import ImageConfig
from criadapt.backends.mock.rootfs import User, rootfs

PATH_ENV = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_MIB = 1 << 20
_ARCHITECTURES = ("-amd64", "-arm64", "-arm", "-ppc64le", "-s390x")


@dataclass(frozen=True, slots=True, kw_only=True)
class Family:
    """Images that differ in tag only."""

    base: str = "debian"
    """Which /etc it starts from: a key of :data:`.rootfs.BASES`."""
    entrypoint: tuple[str, ...] = ()
    cmd: tuple[str, ...] = ()
    env: tuple[str, ...] = ()
    user: str = ""
    working_dir: str = ""
    stop_signal: str = ""
    volumes: tuple[str, ...] = ()
    mib: int = 0
    """Size; 0 lets the name decide."""
    users: tuple[User, ...] = ()
    files: Mapping[str, bytes] = field(default_factory=dict)
    all_tags_are_one: bool = False
    """Whether every tag names the same content."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Content:
    """One image: its identity and what a container made of it starts with."""

    id: str
    digest: str
    size: int
    config: ImageConfig
    files: Mapping[str, bytes]


def content(path: str, *, tag: str = "", digest: str = "") -> Content:
    """Content of the image at `path`; with `digest`, of the one whose manifest has that digest."""
    family = family_of(path)
    if family.all_tags_are_one and tag:
        tag = "*"
    return _content(path, tag, digest)


def family_of(path: str) -> Family:
    """Family of an image, by the last part of its path."""
    name = path.rpartition("/")[2]
    if name not in FAMILIES:
        for suffix in _ARCHITECTURES:
            name = name.removesuffix(suffix)
    return FAMILIES.get(name, _OTHER)


@lru_cache(maxsize=1024)
def _content(path: str, tag: str, digest: str) -> Content:
    family = family_of(path)
    layer = _digest({"path": path, "of": digest or tag})
    size = _size(family, layer)
    config = ImageConfig(
        entrypoint=family.entrypoint,
        cmd=family.cmd,
        env=(PATH_ENV, *family.env),
        user=family.user,
        working_dir=family.working_dir,
        stop_signal=family.stop_signal,
        volumes=family.volumes,
    )
    blob = {
        "architecture": "amd64",
        "os": "linux",
        "config": {
            "Entrypoint": config.entrypoint,
            "Cmd": config.cmd,
            "Env": config.env,
            "User": config.user,
            "WorkingDir": config.working_dir,
            "StopSignal": config.stop_signal,
        },
        "rootfs": {"type": "layers", "diff_ids": [layer]},
    }
    id = _digest(blob)
    return Content(
        id=id,
        digest=digest or _digest({"schemaVersion": 2, "config": id, "layers": [[layer, size]]}),
        size=size,
        config=config,
        files=files_of(family),
    )


def files_of(family: Family) -> Mapping[str, bytes]:
    """Files of the family; one mapping for all its images, and so for all their containers."""
    found = _FILES.get(id(family))
    if found is None:
        found = MappingProxyType({**rootfs(family.base, family.users), **family.files})
        _FILES[id(family)] = found  # families live as long as this module, so their addresses are keys
    return found


_FILES: dict[int, Mapping[str, bytes]] = {}


def _size(family: Family, layer: str) -> int:
    chance = int(layer[-12:], 16)
    if not family.mib:
        return 5 * _MIB + chance % (195 * _MIB)
    return family.mib * _MIB + chance % (family.mib * _MIB // 20 + 1)


def _digest(document: object) -> str:
    text = json.dumps(document, sort_keys=True, separators=(",", ":"))
    return "sha256:" + hashlib.sha256(text.encode()).hexdigest()


_SERVER = b"server {\n    listen       %d;\n    server_name  localhost;\n}\n"
# Interpreters the mock cannot imitate: without a program to interpret they end, with one they run as any service.
_INTERPRETER = b'#!/bin/sh\n[ $# -eq 0 ] && exit 0\nexec app "$@"\n'
_HELLO = b"""#!/bin/sh
echo
echo 'Hello from Docker!'
echo 'This message shows that your installation appears to be working correctly.'
echo '(It comes from the mock backend of criadapt.)'
"""
_OTHER = Family(entrypoint=("app",))
_SHELL = Family(base="busybox", cmd=("sh",), mib=4)
_NGINX_USER = User("nginx", 101, 101, "/nonexistent", "/bin/false")
_NGINX_CONF = b"""events {}
http {
    include /etc/nginx/conf.d/*.conf;
}
"""
_NGINX = Family(
    cmd=("nginx", "-g", "daemon off;"),
    env=("NGINX_VERSION=1.29.1",),
    stop_signal="SIGQUIT",
    mib=70,
    users=(_NGINX_USER,),
    files={"/etc/nginx/nginx.conf": _NGINX_CONF, "/etc/nginx/conf.d/default.conf": _SERVER % 80},
)
_DEFAULT_USER = User("default-user", 1000, 1000, "/home/default-user", "/bin/sh", (("group-defined-in-image", 50000),))

# The names critest asks for are those of registry.k8s.io/e2e-test-images and gcr.io/k8s-staging-cri-tools; what
# they hold is what the Dockerfiles in cri-tools (images/) say.
FAMILIES: Mapping[str, Family] = {
    "pause": Family(base="scratch", entrypoint=("/pause",), user="65535:65535", mib=1),
    "hello-world": Family(base="scratch", cmd=("/hello",), mib=1, files={"/hello": _HELLO}),
    "busybox": _SHELL,
    "alpine": Family(base="alpine", cmd=("/bin/sh",), mib=8),
    "debian": Family(cmd=("bash",), mib=117),
    "ubuntu": Family(base="ubuntu", cmd=("/bin/bash",), mib=78),
    "nginx": _NGINX,
    "hostnet-nginx": Family(
        cmd=_NGINX.cmd,
        env=_NGINX.env,
        stop_signal=_NGINX.stop_signal,
        mib=70,
        users=_NGINX.users,
        files={"/etc/nginx/nginx.conf": _NGINX_CONF, "/etc/nginx/conf.d/default.conf": _SERVER % 12003},
    ),
    "httpd": Family(
        cmd=("httpd-foreground",),
        env=("HTTPD_PREFIX=/usr/local/apache2",),
        working_dir="/usr/local/apache2",
        stop_signal="SIGWINCH",
        mib=145,
    ),
    "redis": Family(
        cmd=("redis-server",),
        working_dir="/data",
        volumes=("/data",),
        mib=116,
        users=(User("redis", 999, 999, "/home/redis"),),
    ),
    "postgres": Family(
        cmd=("postgres",),
        env=("PGDATA=/var/lib/postgresql/data",),
        stop_signal="SIGINT",
        volumes=("/var/lib/postgresql/data",),
        mib=415,
        users=(User("postgres", 999, 999, "/var/lib/postgresql", "/bin/bash"),),
    ),
    "mysql": Family(
        cmd=("mysqld",),
        volumes=("/var/lib/mysql",),
        mib=780,
        users=(User("mysql", 999, 999, "/var/lib/mysql", "/bin/bash"),),
    ),
    "mongo": Family(cmd=("mongod",), volumes=("/data/db",), mib=700),
    "python": Family(
        cmd=("python3",),
        env=("LANG=C.UTF-8",),
        mib=1000,
        files={"/usr/local/bin/python": _INTERPRETER, "/usr/local/bin/python3": _INTERPRETER},
    ),
    "node": Family(
        cmd=("node",),
        mib=1100,
        users=(User("node", 1000, 1000, "/home/node", "/bin/bash"),),
        files={"/usr/local/bin/node": _INTERPRETER},
    ),
    "agnhost": Family(base="alpine", entrypoint=("/agnhost",), cmd=("pause",), mib=120, users=(_DEFAULT_USER,)),
    "nonewprivs": Family(base="alpine", entrypoint=("/nnp",), mib=7),
    "coredns": Family(
        base="scratch",
        entrypoint=("app",),
        user="nonroot:nonroot",
        mib=70,
        users=(User("nonroot", 65532, 65532, "/home/nonroot"),),
    ),
    "test-image-latest": _SHELL,
    "test-image-tag": _SHELL,
    "test-image-digest": _SHELL,
    "test-image-1": _SHELL,
    "test-image-2": _SHELL,
    "test-image-3": _SHELL,
    "test-image-tags": Family(base="busybox", cmd=("sh",), mib=4, all_tags_are_one=True),
    "test-image-user-uid": Family(base="busybox", cmd=("sh",), user="1002", mib=4),
    "test-image-user-uid-group": Family(base="busybox", cmd=("sh",), user="1003:users", mib=4),
    "test-image-user-username": Family(base="busybox", cmd=("sh",), user="www-data", mib=4),
    "test-image-user-username-group": Family(base="busybox", cmd=("sh",), user="www-data:100", mib=4),
    "test-image-predefined-group": Family(base="busybox", cmd=("sh",), user="1000", mib=4, users=(_DEFAULT_USER,)),
}
