"""Where a runtime is looked for, in which order, and what is said of places where there is none."""

from __future__ import annotations

import grp
import os
import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from criadapt import errors
from criadapt.client import discover
from criadapt.client.discover import Endpoints, candidates, nobody, normalised, probe, target_of


def found(root: Path, **env: str) -> list[tuple[str, str]]:
    """Endpoint and origin of every candidate, paths without the root."""
    return [(place.runtime.replace(str(root), ""), place.origin.replace(str(root), "")) for place in all_of(root, env)]


def all_of(root: Path, env: dict[str, str]) -> list[Endpoints]:
    return list(candidates(env=env, root=root))


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


# ---------------------------------------------------------------------------------------------- spelling


@pytest.mark.parametrize(
    ("text", "endpoint", "target"),
    [
        ("unix:///run/x.sock", "unix:///run/x.sock", "unix:/run/x.sock"),
        ("unix:/run/x.sock", "unix:///run/x.sock", "unix:/run/x.sock"),
        ("/run/x.sock", "unix:///run/x.sock", "unix:/run/x.sock"),
        (" /run/x.sock\n", "unix:///run/x.sock", "unix:/run/x.sock"),
        ("tcp://10.0.0.1:3735", "tcp://10.0.0.1:3735", "dns:///10.0.0.1:3735"),
        ("localhost:3735", "tcp://localhost:3735", "dns:///localhost:3735"),
        ("dns:///node_1:1", "tcp://node_1:1", "dns:///node_1:1"),
        ("[::1]:3735", "tcp://[::1]:3735", "dns:///[::1]:3735"),
    ],
)
def test_an_endpoint_may_be_written_in_several_ways(text: str, endpoint: str, target: str) -> None:
    assert normalised(text) == endpoint
    assert target_of(endpoint) == target


@pytest.mark.parametrize(
    "text",
    [
        "",
        "run/x.sock",
        "unix://run/x.sock",
        "/run/",
        "/run/\0",
        "npipe:////./pipe/x",
        "host",
        "h:99999",
        "::1:5",
        "http://h:1",
    ],
)
def test_what_is_no_endpoint_is_told_with_where_it_stood(text: str) -> None:
    with pytest.raises(errors.InvalidArgument, match=r"^\$CRIADAPT_ENDPOINT: "):
        normalised(text, "$CRIADAPT_ENDPOINT")


# ---------------------------------------------------------------------------------------------- order


def test_an_argument_comes_first_and_alone(tmp_path: Path) -> None:
    env = {"CRIADAPT_ENDPOINT": "/elsewhere"}
    (only,) = candidates("/run/x.sock", env=env, root=tmp_path)
    assert only == Endpoints(runtime="unix:///run/x.sock", image="unix:///run/x.sock", origin="argument", explicit=True)
    (only,) = candidates("/run/x.sock", "h:1", env={}, root=tmp_path)
    assert only.image == "tcp://h:1"
    with pytest.raises(errors.InvalidArgument, match=r"^endpoint: expected"):
        list(candidates("", env=env, root=tmp_path))
    with pytest.raises(errors.InvalidArgument, match=r"^image_endpoint: name the runtime's"):
        list(candidates(None, "/i", env=env, root=tmp_path))


def test_then_variables_then_files_then_known_sockets(tmp_path: Path) -> None:
    write(tmp_path / "etc/crictl.yaml", "runtime-endpoint: unix:///crictl.sock\nimage-endpoint: /images.sock\n")
    write(tmp_path / "home/me/.crictl/crictl.yaml", "runtime-endpoint: /home.sock\n")
    write(tmp_path / "var/lib/kubelet/config.yaml", "containerRuntimeEndpoint: unix:///kubelet.sock\n")
    write(tmp_path / "var/lib/kubelet/kubeadm-flags.env", 'ARGS="--x=y --container-runtime-endpoint=/kubeadm.sock"\n')
    guesses = found(tmp_path, HOME="/home/me")
    assert guesses[:4] == [
        ("unix:///crictl.sock", "/etc/crictl.yaml"),
        ("unix:///home.sock", "/home/me/.crictl/crictl.yaml"),
        ("unix:///kubelet.sock", "/var/lib/kubelet/config.yaml"),
        ("unix:///kubeadm.sock", "/var/lib/kubelet/kubeadm-flags.env"),
    ]
    assert all_of(tmp_path, {})[0].image == "unix:///images.sock"
    assert not any(place.explicit for place in all_of(tmp_path, {}))
    owners = [origin.removeprefix("known socket of ") for _, origin in guesses[4:]]
    assert owners[0] == "containerd"
    assert owners[-1] == "criadapt"
    assert {"CRI-O", "cri-dockerd", "k3s or rke2", "microk8s", "k0s"} < set(owners)
    named = {"CONTAINER_RUNTIME_ENDPOINT": "/crt.sock", "IMAGE_SERVICE_ENDPOINT": "/img.sock"}
    (only,) = all_of(tmp_path, named)
    assert (only.runtime, only.image, only.explicit) == ("unix:///crt.sock", "unix:///img.sock", True)
    assert found(tmp_path, CRIADAPT_ENDPOINT="/own.sock", **named) == [("unix:///own.sock", "$CRIADAPT_ENDPOINT")]


def test_a_place_is_tried_once(tmp_path: Path) -> None:
    known = f"unix://{tmp_path}/run/crio/crio.sock"
    write(tmp_path / "etc/crictl.yaml", f"runtime-endpoint: {known}\n")
    write(tmp_path / "var/lib/kubelet/config.yaml", f"containerRuntimeEndpoint: {known}\n")
    assert [place.runtime for place in all_of(tmp_path, {})].count(known) == 1


@pytest.mark.parametrize(
    "text", ["", "- a\n", "runtime-endpoint: 5\n", "runtime-endpoint: ''\n", "a: [\n", "runtime-endpoint: x\n"]
)
def test_a_file_of_somebody_else_may_say_anything(tmp_path: Path, text: str) -> None:
    write(tmp_path / "etc/crictl.yaml", text)
    assert found(tmp_path)[0][1] == "known socket of containerd"


def test_a_file_that_a_variable_names_has_to_be_there(tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    with pytest.raises(errors.InvalidArgument, match=r"^\$CRI_CONFIG_FILE: .*mine.yaml cannot be read"):
        found(tmp_path, CRI_CONFIG_FILE=str(file))
    write(file, "a: [\n")
    with pytest.raises(errors.InvalidArgument, match="is not YAML"):
        found(tmp_path, CRI_CONFIG_FILE=str(file))
    write(file, "runtime-endpoint: /mine.sock\n")
    (only,) = all_of(tmp_path, {"CRI_CONFIG_FILE": str(file)})
    assert (only.runtime, only.explicit) == ("unix:///mine.sock", True)
    write(file, "timeout: 5\n")  # it names nothing: the search goes on
    assert len(found(tmp_path, CRI_CONFIG_FILE=str(file))) > 5


# ---------------------------------------------------------------------------------------------- probing


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder with a short name: the path of a socket may have 107 bytes."""
    with tempfile.TemporaryDirectory(prefix="criadapt-") as name:
        yield Path(name)


def test_somebody_listens(folder: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(folder / "s"))
        listener.listen()
        probe(f"unix://{folder}/s")
    with socket.create_server(("127.0.0.1", 0)) as listener:
        probe(f"tcp://127.0.0.1:{listener.getsockname()[1]}")


def test_nobody_listens(folder: Path) -> None:
    with pytest.raises(errors.NotFound, match="s does not exist; is the runtime running"):
        probe(f"unix://{folder}/s")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(folder / "s"))
        listener.listen()
    with pytest.raises(errors.Unavailable, match="s: nobody listens on this socket any more"):
        probe(f"unix://{folder}/s")
    (folder / "file").touch()
    with pytest.raises(errors.InvalidArgument, match="file is not a socket"):
        probe(f"unix://{folder}/file")
    with pytest.raises(errors.NotFound):
        probe(f"unix://{folder}/file/s")
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    with pytest.raises(errors.Unavailable, match=f"tcp://127.0.0.1:{port}: Connection refused"):
        probe(f"tcp://127.0.0.1:{port}")


def test_a_missing_right_is_told_with_what_helps(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = folder / "s"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        path.chmod(0o660)

        class Refusing(socket.socket):
            def connect(self, address: object) -> None:
                raise PermissionError(13, "Permission denied")

        monkeypatch.setattr(discover.socket, "socket", Refusing)
        with pytest.raises(errors.PermissionDenied, match=r"s: permission denied; run as root"):
            probe(f"unix://{path}")
        if os.geteuid() == 0:
            group = next(group for group in grp.getgrall() if group.gr_gid)
            os.chown(path, 0, group.gr_gid)
            with pytest.raises(
                errors.PermissionDenied, match=f"run as root or as a member of the group '{group.gr_name}'"
            ):
                probe(f"unix://{path}")


def test_when_all_fails_each_place_is_told() -> None:
    absent, denied, away = (
        errors.NotFound("a is absent"),
        errors.PermissionDenied("b is not yours"),
        errors.Unavailable("c"),
    )
    error = nobody({"unix:///a (x)": absent})
    assert type(error) is errors.NotFound
    assert str(error).splitlines()[1:] == ["  unix:///a (x): a is absent"]
    assert type(nobody({"a": absent, "b": denied})) is errors.PermissionDenied
    assert type(nobody({"a": absent, "b": denied, "c": away})) is errors.Unavailable
    assert "CRIADAPT_ENDPOINT" in str(error)
