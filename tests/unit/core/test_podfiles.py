"""The files a pod's containers share."""

from __future__ import annotations

import socket
import stat
from pathlib import Path

import pytest

from criadapt.core import podfiles
from criadapt.core.podfiles import PodFiles, hostname, make_log_directory, pod_files, resolv_conf
from criadapt.errors import EngineError
from criadapt.model.sandbox import DNSConfig
from criadapt.testing.factories import sandbox_config


def content(files: PodFiles) -> dict[str, str]:
    return {path: Path(source).read_text() for path, source in files.mounts()}


@pytest.mark.parametrize(
    ("dns", "text"),
    [
        (DNSConfig(servers=("1.1.1.1", "::1")), "nameserver 1.1.1.1\nnameserver ::1\n"),
        (DNSConfig(searches=("a.b", "c")), "search a.b c\n"),
        (DNSConfig(options=("ndots:5", "edns0")), "options ndots:5 edns0\n"),
        (
            DNSConfig(servers=("10.10.10.10",), searches=("google.com",), options=("ndots:8",)),
            "search google.com\nnameserver 10.10.10.10\noptions ndots:8\n",
        ),
    ],
)
def test_resolv_conf_says_what_was_asked_for(dns: DNSConfig, text: str) -> None:
    assert resolv_conf(dns) == text


@pytest.fixture
def host(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(podfiles, "_host_file", lambda path, default: f"the host's {path}\n")
    monkeypatch.setattr(socket, "gethostname", lambda: "node-1")


@pytest.mark.usefixtures("host")
@pytest.mark.parametrize("dns", [None, DNSConfig()])
def test_resolv_conf_is_the_hosts_when_nothing_is_asked_for(dns: DNSConfig | None) -> None:
    assert resolv_conf(dns) == "the host's /etc/resolv.conf\n"


@pytest.mark.usefixtures("host")
@pytest.mark.parametrize(
    ("asked", "host_network", "expected"),
    [("web-0", False, "web-0"), ("", False, "node-1"), ("web-0", True, "node-1"), ("", True, "node-1")],
)
def test_the_host_name_is_the_pods_own_or_the_hosts(asked: str, host_network: bool, expected: str) -> None:
    assert hostname(sandbox_config(hostname=asked), host_network=host_network) == expected


def test_files_of_a_pod_with_two_addresses(tmp_path: Path) -> None:
    config = sandbox_config(hostname="web-0", dns_config=DNSConfig(servers=("1.1.1.1",)))
    files = pod_files(tmp_path, "s1", config, host_network=False)
    files.write(config, ("10.0.0.1", "fd00::1"), host_network=False)
    assert content(files) == {
        "/etc/hostname": "web-0\n",
        "/etc/hosts": "127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n"
        "10.0.0.1\tweb-0\nfd00::1\tweb-0\n",
        "/etc/resolv.conf": "nameserver 1.1.1.1\n",
    }


@pytest.mark.usefixtures("host")
def test_a_pod_on_the_hosts_network_has_the_hosts_files(tmp_path: Path) -> None:
    files = pod_files(tmp_path, "s1", sandbox_config(), host_network=True)
    files.write(sandbox_config(), (), host_network=True)
    assert content(files) == {
        "/etc/hostname": "node-1\n",
        "/etc/hosts": "the host's /etc/hosts\n",
        "/etc/resolv.conf": "the host's /etc/resolv.conf\n",
    }


def test_anybody_in_the_container_may_read_them(tmp_path: Path) -> None:
    files = pod_files(tmp_path, "s1", sandbox_config(), host_network=False)
    files.write(sandbox_config(), (), host_network=False)
    assert {stat.S_IMODE(Path(source).stat().st_mode) for _, source in files.mounts()} == {0o644}


def test_writing_twice_and_removing_twice_is_fine(tmp_path: Path) -> None:
    files = pod_files(tmp_path, "s1", sandbox_config(), host_network=False)
    for _ in range(2):
        files.write(sandbox_config(), ("10.0.0.1",), host_network=False)
    for _ in range(2):
        files.remove()
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_two_sandboxes_do_not_share_files(tmp_path: Path) -> None:
    one, two = (pod_files(tmp_path, id, sandbox_config(), host_network=False) for id in ("s1", "s2"))
    one.write(sandbox_config(), (), host_network=False)
    two.write(sandbox_config(), (), host_network=False)
    one.remove()
    assert len(content(two)) == 3


def test_a_host_file_in_another_encoding_is_copied_all_the_same(tmp_path: Path) -> None:
    (tmp_path / "hosts").write_bytes(b"127.0.0.1 caf\xe9\n")
    assert "127.0.0.1" in podfiles._host_file(str(tmp_path / "hosts"), "")


def test_a_host_without_the_file_gets_the_default(tmp_path: Path) -> None:
    assert podfiles._host_file(str(tmp_path / "none"), "default") == "default"


def test_the_log_directory_is_made(tmp_path: Path) -> None:
    folder = tmp_path / "a" / "b"
    for _ in range(2):
        make_log_directory(sandbox_config(log_directory=str(folder)))
    assert folder.is_dir()
    make_log_directory(sandbox_config())


def test_a_log_directory_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(EngineError, match=r"log_directory .*file/x cannot be made: Not a directory"):
        make_log_directory(sandbox_config(log_directory=str(tmp_path / "file" / "x")))


def test_a_pods_files_carry_its_id_and_need_no_folder_of_their_own(tmp_path: Path) -> None:
    files = pod_files(tmp_path, "s1", sandbox_config(), host_network=False)
    files.write(sandbox_config(), (), host_network=False)
    names = sorted(path.name for path in (tmp_path / "pods").iterdir())
    assert names == ["s1.hostname", "s1.hosts", "s1.resolv.conf"]
