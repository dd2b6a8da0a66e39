"""References that mean exactly one, ids in cgroups, and what /proc tells."""

from __future__ import annotations

from pathlib import Path

import pytest

from criadapt import errors
from criadapt.client import matching
from criadapt.client.procfs import ancestors_of, cgroups_of
from criadapt.model.container import Container, ContainerMetadata, ContainerState
from criadapt.model.image import Image, ImageSpec
from criadapt.model.sandbox import PodSandbox, PodSandboxMetadata, PodSandboxState

RUNNING, EXITED = ContainerState.RUNNING, ContainerState.EXITED


def pod(id: str, name: str, namespace: str = "default", *, ready: bool = True, created: int = 0) -> PodSandbox:
    metadata = PodSandboxMetadata(name=name, namespace=namespace, uid=f"uid-{name}")
    state = PodSandboxState.READY if ready else PodSandboxState.NOTREADY
    return PodSandbox(id=id, metadata=metadata, state=state, created_at=created)


def container(id: str, name: str, pod: str = "p1", state: ContainerState = RUNNING, *, created: int = 0) -> Container:
    return Container(id=id, metadata=ContainerMetadata(name=name), pod_sandbox_id=pod, state=state, created_at=created)


PODS = (pod("aa11", "web"), pod("aa22", "db"), pod("bb33", "web", "prod"))


# ---------------------------------------------------------------------------------------------- one pod


@pytest.mark.parametrize(
    ("ref", "id"), [("aa11", "aa11"), ("aa1", "aa11"), ("db", "aa22"), ("prod/web", "bb33"), ("b", "bb33")]
)
def test_a_pod_by_id_name_or_beginning(ref: str, id: str) -> None:
    assert matching.only_pod(PODS, ref).id == id


def test_a_name_comes_before_the_beginning_of_an_id() -> None:
    assert matching.only_pod((*PODS, pod("cc44", "aa")), "aa").id == "cc44"
    assert matching.only_pod((*PODS, pod("cc44", "aa11")), "aa11").id == "aa11"


def test_nothing_and_too_much_are_errors() -> None:
    with pytest.raises(errors.NotFound, match="no pod has the name or id 'zz'"):
        matching.only_pod(PODS, "zz")
    with pytest.raises(
        errors.InvalidArgument, match=r"pod 'web' is ambiguous: aa11 \(default/web\), bb33 \(prod/web\);"
    ):
        matching.only_pod(PODS, "web")
    with pytest.raises(errors.InvalidArgument, match=r"pod 'aa' is ambiguous"):
        matching.only_pod(PODS, "aa")
    with pytest.raises(errors.InvalidArgument, match="name one by its name"):
        matching.only_pod(PODS, "")
    many = [pod(f"a{number}", f"n{number}") for number in range(8)]
    with pytest.raises(errors.InvalidArgument, match=r"a4 \(default/n4\) and 3 more;"):
        matching.only_pod(many, "a")


def test_of_attempts_the_living_or_else_the_last_is_meant() -> None:
    old, new = pod("a1", "web", ready=False, created=1), pod("a2", "web", ready=False, created=2)
    assert matching.only_pod((new, old), "web").id == "a2"
    assert matching.only_pod((pod("a0", "web", created=0), new, old), "web").id == "a0"


# ---------------------------------------------------------------------------------------------- one container


def test_a_container_by_name_with_pod_and_namespace() -> None:
    rows = (container("c1", "app", "aa11"), container("c2", "app", "bb33"), container("c3", "one", "aa22"))
    for ref, id in {"one": "c3", "prod/app": "c2", "default/web/app": "c1", "db/one": "c3", "c2": "c2"}.items():
        assert matching.only_container(rows, PODS, ref).id == id
    with pytest.raises(errors.InvalidArgument, match=r"c1 \(default/web/app\), c2 \(prod/web/app\)"):
        matching.only_container(rows, PODS, "web/app")


def test_of_restarted_containers_the_running_or_else_the_last_is_meant() -> None:
    rows = (
        container("c1", "app", "aa11", EXITED, created=1),
        container("c2", "app", "aa11", EXITED, created=2),
    )
    assert matching.only_container(rows, PODS, "app").id == "c2"
    assert matching.only_container((*rows, container("c0", "app", "aa11")), PODS, "app").id == "c0"


def test_rows_without_metadata_are_found_by_id() -> None:
    assert matching.only_pod((PodSandbox(id="x"),), "x").id == "x"
    assert matching.only_container((Container(id="x"),), (), "x").id == "x"
    assert not matching.pod_fits(PodSandbox(id="x"), name="a", namespace=None, uid=None)
    assert matching.pod_fits(PodSandbox(id="x"), name=None, namespace=None, uid=None)


def test_an_image_may_be_called_in_many_ways() -> None:
    image = Image(id="sha256:1f", repo_tags=("docker.io/library/nginx:latest",), repo_digests=("nginx@sha256:2e",))
    names = matching.image_names(image)
    for row in (
        Container(image=ImageSpec(image="sha256:1f")),
        Container(image_ref="nginx@sha256:2e"),
        Container(image_id="sha256:1f"),
        Container(image=ImageSpec(user_specified_image="docker.io/library/nginx:latest")),
    ):
        assert matching.image_fits(row, "nginx", names)
        assert not matching.image_fits(row, "redis", ())
    assert matching.image_fits(Container(image=ImageSpec(image="registry/nginx:1")), "*/nginx:*", ())
    assert not matching.image_fits(Container(), "*", ())


# ---------------------------------------------------------------------------------------------- cgroups and /proc

ID, OTHER = "ab" * 32, "cd" * 32


@pytest.mark.parametrize(
    ("path", "ids"),
    [
        (f"/kubepods/burstable/pod1/{ID}", (ID,)),
        (f"/kubepods.slice/kubepods-pod1.slice/cri-containerd-{ID}.scope", (ID,)),
        (f"/kubepods.slice/crio-{ID}.scope/container", (ID,)),
        (f"/system.slice/docker-{ID}.scope/kubepods/pod1/{OTHER}", (OTHER, ID)),
        (f"/kubepods.slice:cri-containerd:{ID}", (ID,)),
        ("/user.slice/session-1.scope", ()),
        (f"/x/{ID}ab", ()),
    ],
)
def test_ids_in_a_cgroups_path_the_innermost_first(path: str, ids: tuple[str, ...]) -> None:
    assert matching.ids_in(path) == ids


def process(proc: Path, pid: int, parent: int, *, command: str = "sh", cgroup: str = "0::/\n") -> None:
    folder = proc / str(pid)
    folder.mkdir(parents=True)
    (folder / "stat").write_text(f"{pid} ({command}) S {parent} {pid} 0\n")
    (folder / "cgroup").write_text(cgroup)


def test_ancestors_up_to_the_first_process(tmp_path: Path) -> None:
    process(tmp_path, 1, 0)
    process(tmp_path, 20, 1, command="a (b) S 7")
    process(tmp_path, 300, 20)
    assert ancestors_of(300, str(tmp_path)) == (300, 20, 1)
    assert ancestors_of(9, str(tmp_path)) == (9,)


def test_cgroups_of_all_hierarchies(tmp_path: Path) -> None:
    process(tmp_path, 5, 1, cgroup="12:cpu,cpuacct:/a:b\n1:name=systemd:/c\n0::/d\n")
    assert cgroups_of(5, str(tmp_path)) == ("/a:b", "/c", "/d")
    assert cgroups_of(6, str(tmp_path)) == ()
