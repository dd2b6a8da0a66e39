"""Whole pods, both colours: run from a few words or a manifest, and gone without a trace."""

from __future__ import annotations

import asyncio
import json
import tempfile
from collections.abc import AsyncIterator
from contextlib import AbstractContextManager, asynccontextmanager
from pathlib import Path
from typing import Any, cast

import pytest

from criadapt import AsyncClient, errors
from criadapt.client.aio.pods import AsyncPod
from criadapt.client.manifest import read_manifest
from criadapt.config import FaultRule
from criadapt.model.container import ContainerFilter, ContainerState, Mount
from criadapt.model.image import AuthConfig, ImageSpec
from criadapt.model.sandbox import PodSandboxState
from criadapt.testing.colours import InThreads, connected
from criadapt.testing.factories import BUSYBOX
from criadapt.testing.inprocess import SLEEP, InProcess, until


@asynccontextmanager
async def run(client: AsyncClient, method: str = "run_pod", *args: Any, **kwargs: Any) -> AsyncIterator[Any]:
    """A pod of either colour of the client."""
    if not isinstance(client, InThreads):
        async with getattr(client, method)(*args, **kwargs) as pod:
            yield pod
        return
    manager: AbstractContextManager[Any] = getattr(client.blocking, method)(*args, **kwargs)
    found = await asyncio.to_thread(manager.__enter__)
    try:
        yield tuple(map(InThreads, found)) if isinstance(found, tuple) else InThreads(found)
    except BaseException as error:
        await asyncio.to_thread(manager.__exit__, type(error), error, error.__traceback__)
        raise
    await asyncio.to_thread(manager.__exit__, None, None, None)


@asynccontextmanager
async def pod_of(client: AsyncClient, **kwargs: Any) -> AsyncIterator[AsyncPod]:
    async with run(client, **{"image": BUSYBOX, "command": SLEEP, "grace": 0, **kwargs}) as pod:
        yield cast(AsyncPod, pod)


@asynccontextmanager
async def played(client: AsyncClient, manifest: Any, **kwargs: Any) -> AsyncIterator[AsyncPod]:
    async with run(client, "run_pod", manifest, **{"grace": 0, **kwargs}) as pod:
        yield cast(AsyncPod, pod)


@pytest.fixture(autouse=True)
def folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where pods' folders are made."""
    path = tmp_path / "folders"
    path.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(path))
    return path


@pytest.fixture(autouse=True)
async def nothing_is_left(server: InProcess, folders: Path) -> AsyncIterator[None]:
    """After each test there are no pods, no containers and no folders."""
    yield
    assert list((await server.rpc.ListPodSandbox()).items) == []
    assert list((await server.rpc.ListContainers()).containers) == []
    assert list(folders.glob("criadapt-pod-*")) == []


def manifest(*containers: dict[str, Any], name: str = "web", init: Any = (), **spec: Any) -> dict[str, Any]:
    given = [{"name": f"c{number}", "image": BUSYBOX, **container} for number, container in enumerate(containers)]
    begun = [{"name": f"i{number}", "image": BUSYBOX, **container} for number, container in enumerate(init)]
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "labels": {"app": name}},
        "spec": {"containers": given, "initContainers": begun, **spec},
    }


def sh(script: str) -> dict[str, Any]:
    return {"command": ["sh", "-c", script]}


async def output(client: AsyncClient, pod: AsyncPod, container: str = "app") -> list[str]:
    return [line.text async for line in client.logs(pod.containers[container])]


# ---------------------------------------------------------------------------------------------- a few words


async def test_a_pod_of_one_container(client: AsyncClient) -> None:
    async with pod_of(client, name="web", labels={"app": "web"}) as pod:
        assert (pod.name, pod.namespace) == ("web", "default")
        assert (await pod.status()).state is PodSandboxState.READY
        assert (await pod.status()).network.ip == pod.ip != ""  # type: ignore[union-attr]
        container = (await client.container_status(pod.containers["app"])).status
        assert container.state is ContainerState.RUNNING
        assert container.labels["io.kubernetes.pod.name"] == "web"
        assert [found.id for found in await client.pods(labels={"app": "web"})] == [pod.id]
        assert pod.folder.is_dir()


async def test_a_program_s_exit_code_and_output(client: AsyncClient) -> None:
    script = 'echo "$GREETING $0"; exit 3'
    async with pod_of(client, command=["sh", "-c", script], args=["$(you)"], env={"GREETING": "hello $(x)"}) as pod:
        assert await pod.wait() == {"app": 3}
        assert await pod.wait("app") == {"app": 3}
        assert await output(client, pod) == ["hello $(x) $(you)"]


async def test_a_name_follows_from_the_image(client: AsyncClient) -> None:
    async with pod_of(client) as one, pod_of(client) as other:
        assert one.name.startswith("busybox-")
        assert one.name != other.name


async def test_what_the_container_gets_from_the_host(client: AsyncClient, tmp_path: Path) -> None:
    (tmp_path / "shared").mkdir()
    (tmp_path / "shared" / "file").write_text("content")
    mount = Mount(container_path="/mnt", host_path=str(tmp_path / "shared"))
    async with pod_of(client, command=["cat", "/mnt/file"], mounts=[mount]) as pod:
        assert await pod.wait() == {"app": 0}
        assert await output(client, pod) == ["content"]


async def test_an_image_as_a_volume(client: AsyncClient) -> None:
    mount = Mount(container_path="/mnt", image=ImageSpec(image="nginx:1.27"), readonly=True)
    async with pod_of(client, command=["test", "-s", "/mnt/etc/nginx/nginx.conf"], mounts=[mount]) as pod:
        assert await pod.wait() == {"app": 0}


async def test_logs_may_go_elsewhere_and_stay(client: AsyncClient, tmp_path: Path) -> None:
    async with pod_of(client, command=["echo", "hello"], log_directory=tmp_path / "logs") as pod:
        await pod.wait()
    assert (tmp_path / "logs" / "app" / "0.log").read_text().endswith(" stdout F hello\n")


async def test_a_pod_may_stay(client: AsyncClient, server: InProcess) -> None:
    async with pod_of(client, keep=True) as pod:
        pass
    assert (await client.container_status(pod.containers["app"])).status.state is ContainerState.RUNNING
    assert pod.folder.is_dir()
    with pytest.raises(ZeroDivisionError):
        async with pod_of(client, keep=True, name="other") as other:
            raise ZeroDivisionError
    assert (await other.status()).state is PodSandboxState.READY
    for left in (pod, other):
        await client.stop_pod_sandbox(left.id)
        await client.remove_pod_sandbox(left.id)
        await asyncio.to_thread(__import__("shutil").rmtree, left.folder)


async def test_a_pod_may_be_stopped_early(client: AsyncClient) -> None:
    async with pod_of(client) as pod:
        await pod.stop(0)
        await pod.stop()
        assert (await pod.status()).state is PodSandboxState.NOTREADY
        assert await pod.wait() == {"app": 137}


async def test_containers_are_asked_to_end_first(client: AsyncClient, server: InProcess, tmp_path: Path) -> None:
    script = "trap 'echo bye; exit 0' TERM; echo ready; while true; do sleep 0.01; done"
    async with pod_of(client, command=["sh", "-c", script], log_directory=tmp_path, grace=10) as pod:
        await until(lambda: output(client, pod))
    assert "stdout F bye" in (tmp_path / "app" / "0.log").read_text()


async def test_waiting_has_an_end(client: AsyncClient) -> None:
    async with pod_of(client) as pod:
        with pytest.raises(errors.DeadlineExceeded, match="container 'app' has not exited in time; it is RUNNING"):
            await pod.wait(timeout=0.05)
        with pytest.raises(errors.NotFound, match="has no container 'nobody'; it has app"):
            await pod.wait("nobody")


# ---------------------------------------------------------------------------------------------- images


async def test_an_image_is_pulled_when_it_is_missing(client: AsyncClient, server: InProcess) -> None:
    for pull, pulls in (("missing", 1), ("missing", 0), ("never", 0), ("always", 1)):
        server.backend.history.clear()
        async with pod_of(client, image="quay.io/me/tool:1", pull=pull):
            assert server.backend.history.count("pull") == pulls


async def test_an_image_that_may_not_be_pulled(client: AsyncClient) -> None:
    with pytest.raises(errors.ImageNotFound, match="pull it first"):
        async with pod_of(client, image="quay.io/me/other:1", pull="never"):
            pass
    with pytest.raises(errors.InvalidArgument, match="pull is 'sometimes'"):
        async with pod_of(client, pull="sometimes"):
            pass


async def test_a_pull_tells_what_it_got(client: AsyncClient) -> None:
    image = await client.pull("quay.io/me/tool:2", auth=AuthConfig(username="me", password="secret"))
    assert "quay.io/me/tool:2" in image.repo_tags
    assert (await client.image_status("quay.io/me/tool:2")).image == image


async def test_docker_s_credentials_are_used(
    client: AsyncClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
    with pytest.raises(errors.NotFound, match="docker login"):
        await client.pull("quay.io/me/tool:2", auth="docker-config")
    (tmp_path / "config.json").write_text(json.dumps({"auths": {"quay.io": {"auth": "bWU6c2VjcmV0"}}}))
    assert (await client.pull("quay.io/me/tool:2", auth="docker-config")).id


# ---------------------------------------------------------------------------------------------- manifests


async def test_a_manifest_with_volumes_variables_and_init_containers(client: AsyncClient, tmp_path: Path) -> None:
    path = tmp_path / "web.yaml"
    path.write_text(
        f"""
apiVersion: v1
kind: ConfigMap
metadata: {{name: settings}}
data: {{colour: blue}}
---
apiVersion: v1
kind: Pod
metadata: {{name: web}}
spec:
  hostAliases: [{{ip: 10.9.8.7, hostnames: [db]}}]
  initContainers:
  - name: first
    image: {BUSYBOX}
    command: [sh, -c, "echo made > /shared/file"]
    volumeMounts: [{{name: work, mountPath: /shared}}]
  - name: beside
    image: {BUSYBOX}
    command: [sleep, "100000"]
    restartPolicy: Always
  containers:
  - name: app
    image: {BUSYBOX}
    command: [sh, -c, "cat /shared/file /etc/settings/colour; grep db /etc/hosts; echo $IP $(COLOUR)"]
    env:
    - {{name: IP, valueFrom: {{fieldRef: {{fieldPath: status.podIP}}}}}}
    - {{name: COLOUR, valueFrom: {{configMapKeyRef: {{name: settings, key: colour}}}}}}
    volumeMounts:
    - {{name: work, mountPath: /shared}}
    - {{name: settings, mountPath: /etc/settings}}
  volumes:
  - {{name: work, emptyDir: {{}}}}
  - {{name: settings, configMap: {{name: settings}}}}
"""
    )
    async with played(client, path) as pod:
        assert set(pod.containers) == {"first", "beside", "app"}
        assert await pod.wait() == {"app": 0}
        assert await output(client, pod) == ["made", "blue10.9.8.7\tdb", f"{pod.ip} blue"]
        running = await client.list_containers(ContainerFilter(pod_sandbox_id=pod.id, state=ContainerState.RUNNING))
        assert [found.metadata.name for found in running if found.metadata] == ["beside"]


async def test_a_failed_init_container_is_told_with_its_log(client: AsyncClient, server: InProcess) -> None:
    failing = sh("echo looking; echo not found >&2; exit 4")
    with pytest.raises(errors.FailedPrecondition) as caught:
        async with played(client, manifest(sh("echo never"), init=[sh("true"), failing])):
            pytest.fail("it must not run")
    assert str(caught.value) == (
        "init container 'i1' failed with exit code 4 (Error); its log ends with:\n  looking\n  not found"
    )


async def test_a_name_that_is_taken(client: AsyncClient) -> None:
    async with pod_of(client, name="web"):
        with pytest.raises(errors.AlreadyExists, match="pod default/web runs already, in sandbox"):
            async with played(client, manifest(sh("true"))):
                pass
        async with pod_of(client, name="web", namespace="other"):
            pass


async def test_root_may_be_refused(client: AsyncClient) -> None:
    strict = {"securityContext": {"runAsNonRoot": True}, **sh("id -u; id -g")}
    with pytest.raises(errors.FailedPrecondition, match="container 'c0': runAsNonRoot is true and the image's user is"):
        async with played(client, manifest(strict)):
            pass
    async with played(client, manifest(strict, securityContext={"runAsUser": 1000, "runAsGroup": 7})) as pod:
        await pod.wait()
        assert await output(client, pod, "c0") == ["1000", "7"]


async def test_a_group_alone_goes_with_the_image_s_user(client: AsyncClient) -> None:
    async with played(client, manifest(sh("id -g"), securityContext={"runAsGroup": 7})) as pod:
        await pod.wait()
        assert await output(client, pod, "c0") == ["7"]


async def test_a_path_of_the_host_must_be_what_it_is_said_to_be(client: AsyncClient, tmp_path: Path) -> None:
    def using(path: Path, type: str) -> dict[str, Any]:
        mounted = {"volumeMounts": [{"name": "v", "mountPath": "/mnt"}], **sh("true")}
        return manifest(mounted, volumes=[{"name": "v", "hostPath": {"path": str(path), "type": type}}])

    (tmp_path / "file").touch()
    for path, type, words in (
        (tmp_path / "none", "Directory", "does not exist; a folder must be there"),
        (tmp_path / "file", "Directory", "is not a folder"),
        (tmp_path / "file", "Socket", "is not a socket"),
    ):
        with pytest.raises(errors.FailedPrecondition, match=rf"^spec\.volumes\[0\]\.hostPath: .*{words}"):
            async with played(client, using(path, type)):
                pass
    for path, type in ((tmp_path / "a" / "b", "DirectoryOrCreate"), (tmp_path / "new", "FileOrCreate")):
        async with played(client, using(path, type)):
            assert path.exists()


async def test_a_plan_is_played_as_it_is(client: AsyncClient) -> None:
    (plan,) = read_manifest(manifest(sh("true"), sh("exit 2")))
    async with played(client, plan) as pod:
        assert pod.uid == plan.uid
        assert await pod.wait() == {"c0": 0, "c1": 2}


async def test_all_pods_of_a_deployment(client: AsyncClient, tmp_path: Path) -> None:
    pod = manifest(sh("echo $HOSTNAME; sleep 100000"))
    deployment = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "web"},
        "spec": {"replicas": 3, "template": {"metadata": pod["metadata"], "spec": pod["spec"]}},
    }
    async with run(client, "run_pods", deployment, grace=0, log_directory=tmp_path / "logs") as pods:
        assert [pod.name for pod in pods] == ["web-0", "web-1", "web-2"]
        assert len(await client.pods(labels={"app": "web"}, ready=True)) == 3
        assert len(list((tmp_path / "logs").iterdir())) == 3
    with pytest.raises(errors.InvalidArgument, match="the manifest has 3 pods"):
        async with played(client, deployment):
            pass


async def test_doubtful_arguments_are_refused(client: AsyncClient) -> None:
    for arguments, words in (
        ({}, "image: missing"),
        ({"image": BUSYBOX, "command": "sleep 1"}, r"command: expected a sequence of arguments, got 'sleep 1'"),
        ({"manifest": manifest(sh("true")), "image": BUSYBOX}, "a manifest says all about a pod"),
        ({"image": BUSYBOX, "name": "No Name"}, "metadata.name: 'No Name'"),
        ({"image": "UPPER"}, "names are lower case"),
    ):
        with pytest.raises(errors.InvalidArgument, match=words):
            async with run(client, "run_pod", **arguments):
                pass


# ---------------------------------------------------------------------------------------------- nothing is left


STEPS = [("pull", 1), ("create", 1), ("start", 1), ("create", 2), ("start", 2), ("create", 3), ("start", 3)]
"""The nth call of the engine: the sandbox's container first, then an init container, then the other."""


@pytest.mark.parametrize(("step", "nth"), STEPS)
@pytest.mark.parametrize("after", [False, True])
async def test_whatever_fails_nothing_stays(
    client: AsyncClient, server: InProcess, step: str, nth: int, after: bool
) -> None:
    server.backend.set_rules([FaultRule(call=step, nth=nth, after=after, error="EngineError", message="on purpose")])
    with pytest.raises(errors.EngineError, match="on purpose"):
        async with played(client, manifest(sh("true"), init=[sh("true")]), pull="always"):
            pytest.fail("it must not run")


@pytest.mark.parametrize(("step", "nth"), STEPS)
async def test_whenever_it_is_cancelled_nothing_stays(server: InProcess, step: str, nth: int) -> None:
    gate = server.backend.hold(step, nth=nth)
    async with connected("asyncio", f"unix://{server.socket}") as client:
        pod = played(client, manifest(sh("true"), init=[sh("true")]), pull="always")
        task = asyncio.ensure_future(pod.__aenter__())
        await gate.reached.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task


async def failing(client: AsyncClient, server: InProcess, rule: FaultRule) -> None:
    """A block that fails while the engine does not do what it should."""
    async with pod_of(client, name="web"):
        server.backend.set_rules([rule])
        raise ZeroDivisionError


async def test_a_runtime_that_is_away_for_a_moment_is_asked_again(client: AsyncClient, server: InProcess) -> None:
    with pytest.raises(ZeroDivisionError):
        await failing(client, server, FaultRule(call="kill", error="Unavailable", times=2))


async def test_what_cannot_be_cleared_away_is_told(client: AsyncClient, server: InProcess) -> None:
    with pytest.raises(ZeroDivisionError) as caught:
        await failing(client, server, FaultRule(call="remove", error="EngineError", message="stuck"))
    assert caught.value.__notes__[0].startswith("pod default/web may be left behind, uid ")
    server.backend.clear()
    await server.remove_all()


async def test_an_error_in_the_block_ends_the_pod(client: AsyncClient) -> None:
    with pytest.raises(ZeroDivisionError):
        async with pod_of(client, grace=1000):
            raise ZeroDivisionError


async def test_a_program_that_cannot_start_leaves_nothing(client: AsyncClient) -> None:
    with pytest.raises(errors.CriadaptError):
        async with pod_of(client, command=["/no/such/program"]):
            pass
