"""The mock as a person with crictl sees it."""

import json
import time
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from criadapt.testing.server import RunningServer, running_server

from .conftest import Crictl

IMAGE = "busybox:1.36"
FULL_NAME = "docker.io/library/busybox:1.36"
HELLO = ("sh", "-c", "while true; do echo hello; sleep 1; done")
SLEEP = ("sleep", "1000")


class Pod:
    """A pod with one way to add containers to it."""

    def __init__(self, crictl: Crictl, folder: Path, name: str = "web", **config: Any) -> None:
        self.crictl = crictl
        self.logs = folder / f"logs-{name}"
        self.config = crictl.file(
            f"pod-{name}",
            {
                "metadata": {"name": name, "namespace": "shop", "uid": f"uid-{name}", "attempt": 0},
                "labels": {"app": name},
                "log_directory": str(self.logs),
                "linux": {},
                **config,
            },
        )
        self.id = crictl("runp", self.config)

    def create(self, name: str, command: tuple[str, ...], **config: Any) -> str:
        """Create a container and return its id."""
        content = {
            "metadata": {"name": name, "attempt": 0},
            "image": {"image": IMAGE},
            "command": command,
            "log_path": f"{name}.log",
            "labels": {"tier": name},
            "linux": {},
            **config,
        }
        return self.crictl("create", self.id, self.crictl.file(f"container-{name}", content), self.config)

    def run(self, name: str, command: tuple[str, ...], **config: Any) -> str:
        """Create and start one."""
        id = self.create(name, command, **config)
        self.crictl("start", id)
        return id


@pytest.fixture
def pod(crictl: Crictl, tmp_path: Path) -> Pod:
    crictl("pull", IMAGE)
    return Pod(crictl, tmp_path)


def status(crictl: Crictl, id: str) -> dict[str, Any]:
    return crictl.json("inspect", id)["status"]


def wait_until(condition: Callable[[], object], seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"not so after {seconds:g} s"
        time.sleep(0.05)


def wait_exited(crictl: Crictl, id: str) -> dict[str, Any]:
    """The status once the container has exited."""
    wait_until(lambda: status(crictl, id)["state"] == "CONTAINER_EXITED")
    return status(crictl, id)


def moment(text: str) -> datetime:
    return datetime.fromisoformat(text)


# ---------------------------------------------------------------------------------------------- the runtime


def test_version_names_criadapt(crictl: Crictl):
    lines = dict(line.split(":", 1) for line in crictl("version").splitlines())

    assert {key: value.strip() for key, value in lines.items()} == {
        "Version": "0.1.0",
        "RuntimeName": "criadapt",
        "RuntimeVersion": "0.1.0",
        "RuntimeApiVersion": "v1",
    }


def test_info_says_that_it_is_ready(crictl: Crictl):
    info = crictl.json("info")

    conditions = {each["type"]: each["status"] for each in info["status"]["conditions"]}
    assert conditions == {"RuntimeReady": True, "NetworkReady": True}
    assert "" in {handler.get("name", "") for handler in info["runtimeHandlers"]}


def test_runtime_config_gives_the_cgroup_driver(crictl: Crictl):
    assert crictl("runtime-config").split() == ["cgroup", "driver:", "CGROUPFS"]


def test_update_runtime_config_takes_a_pod_cidr(crictl: Crictl):
    crictl("update-runtime-config", "--pod-cidr", "10.88.0.0/16")


def test_config_keeps_the_endpoint(crictl: Crictl, server: RunningServer):
    crictl("config", "--set", f"runtime-endpoint={server.endpoint}")

    assert crictl("config", "--get", "runtime-endpoint") == server.endpoint
    assert server.endpoint in crictl.config.read_text()


# ---------------------------------------------------------------------------------------------- images


def test_an_image_is_pulled_shown_and_removed(crictl: Crictl):
    assert "Image is up to date for" in crictl("pull", IMAGE)

    [image] = [each for each in crictl.json("images")["images"] if FULL_NAME in each["repoTags"]]
    assert image["id"].startswith("sha256:")
    assert int(image["size"]) > 1 << 20
    assert [digest.partition("@")[0] for digest in image["repoDigests"]] == ["docker.io/library/busybox"]
    inspected = crictl.json("inspecti", IMAGE)["status"]
    assert (inspected["id"], inspected["repoTags"]) == (image["id"], [FULL_NAME])
    assert crictl.json("inspecti", image["id"].removeprefix("sha256:")[:12])["status"]["id"] == image["id"]

    assert FULL_NAME in crictl("rmi", IMAGE)
    assert "no such image" in crictl.error("inspecti", IMAGE)


def test_images_by_name_and_table(crictl: Crictl):
    crictl("pull", "nginx:1.29")

    header, line = crictl("images", "nginx:1.29").splitlines()
    assert header.split() == ["IMAGE", "TAG", "IMAGE", "ID", "SIZE"]
    assert line.split()[:2] == ["docker.io/library/nginx", "1.29"]


def test_image_file_system_is_said_to_hold_the_images(crictl: Crictl):
    crictl("pull", IMAGE)

    [usage] = crictl.json("imagefsinfo")["status"]["imageFilesystems"]
    assert int(usage["usedBytes"]["value"]) > 1 << 20
    assert usage["fsId"]["mountpoint"].startswith("/")
    assert int(usage["timestamp"]) > 0


@pytest.mark.parametrize(
    ("image", "told"),
    [
        ("example.com/fail/not-found/x:1", "manifest for example.com/fail/not-found/x:1 not found"),
        ("example.com/private/x:1", "add a pull secret for example.com"),
        ("example.com/fail/unavailable/x:1", "503 Service Unavailable"),
        ("UPPER/case", "UPPER/case"),
    ],
)
def test_a_pull_that_fails_says_why(crictl: Crictl, image: str, told: str):
    error = crictl.error("pull", image)

    assert told in error
    assert "Traceback" not in error


def test_a_private_image_is_pulled_with_credentials(crictl: Crictl):
    crictl("pull", "--creds", "me:secret", "example.com/private/x:1")


# ---------------------------------------------------------------------------------------------- pods


def test_a_pod_runs_is_stopped_and_removed(crictl: Crictl, tmp_path: Path):
    pod = Pod(crictl, tmp_path, annotations={"note": "a b"})

    [listed] = crictl.json("pods")["items"]
    assert (listed["id"], listed["state"]) == (pod.id, "SANDBOX_READY")
    assert listed["metadata"] == {"attempt": 0, "name": "web", "namespace": "shop", "uid": "uid-web"}
    inspected = crictl.json("inspectp", pod.id)["status"]
    assert (inspected["labels"], inspected["annotations"]) == ({"app": "web"}, {"note": "a b"})
    assert inspected["network"]["ip"].startswith("10.88.")

    assert crictl("stopp", pod.id) == f"Stopped sandbox {pod.id}"
    assert crictl.json("inspectp", pod.id)["status"]["state"] == "SANDBOX_NOTREADY"
    assert crictl("rmp", pod.id) == f"Removed sandbox {pod.id}"
    assert crictl.json("pods")["items"] == []
    assert "not found" in crictl.error("inspectp", pod.id)


def test_running_the_same_pod_again_gives_the_same_pod(crictl: Crictl, tmp_path: Path):
    pod = Pod(crictl, tmp_path)

    assert crictl("runp", pod.config) == pod.id
    assert len(crictl.json("pods")["items"]) == 1


def test_another_pod_of_the_same_name_is_refused(crictl: Crictl, tmp_path: Path):
    pod = Pod(crictl, tmp_path)
    other = json.loads(pod.config.read_text()) | {"labels": {"app": "other"}}

    error = crictl.error("runp", crictl.file("other", other))
    assert "AlreadyExists" in error
    assert pod.id[:13] in error


def test_pods_are_filtered(crictl: Crictl, tmp_path: Path):
    one, two = Pod(crictl, tmp_path, "one"), Pod(crictl, tmp_path, "two")
    crictl("stopp", two.id)

    assert crictl("pods", "--quiet", "--state", "ready") == one.id
    assert crictl("pods", "--quiet", "--label", "app=two") == two.id
    assert crictl("pods", "--quiet", "--name", "on.") == one.id
    assert crictl("pods", "--quiet", "--id", two.id[:10]) == two.id


# ---------------------------------------------------------------------------------------------- containers


def test_a_container_lives_from_create_to_rm(pod: Pod, crictl: Crictl):
    id = pod.create("app", SLEEP)
    assert status(crictl, id)["state"] == "CONTAINER_CREATED"
    assert crictl("start", id) == id

    [listed] = crictl.json("ps")["containers"]
    assert (listed["id"], listed["podSandboxId"], listed["state"]) == (id, pod.id, "CONTAINER_RUNNING")
    found = status(crictl, id)
    assert found["metadata"] == {"attempt": 0, "name": "app"}
    assert found["labels"] == {"tier": "app"}
    assert found["logPath"] == str(pod.logs / "app.log")
    assert moment(found["createdAt"]) <= moment(found["startedAt"])
    assert abs(moment(found["startedAt"]) - datetime.now().astimezone()) < timedelta(minutes=1)

    assert crictl("stop", "--timeout", "1", id) == id
    found = status(crictl, id)
    assert (found["state"], found["exitCode"]) == ("CONTAINER_EXITED", 143)
    assert moment(found["startedAt"]) < moment(found["finishedAt"])
    assert crictl("rm", id) == id
    assert "not found" in crictl.error("inspect", id)


def test_a_process_with_pid_1_takes_no_sigterm(pod: Pod, crictl: Crictl):
    id = pod.run("app", SLEEP, linux={"security_context": {"namespace_options": {"pid": 1}}})
    began = time.monotonic()
    crictl("stop", "--timeout", "1", id)

    assert 1 <= time.monotonic() - began < 10
    assert status(crictl, id)["exitCode"] == 137


def test_short_ids_will_do(pod: Pod, crictl: Crictl):
    id = pod.run("app", SLEEP)
    short = id[:8]

    assert status(crictl, short)["id"] == id
    assert crictl("exec", "-s", short, "echo", "hi") == "hi"
    assert crictl("ps", "--quiet", "--pod", pod.id[:8]) == id
    crictl("stop", "--timeout", "0", short)
    crictl("rm", short)
    crictl("rmp", "--force", pod.id[:8])


def test_ps_tells_by_state(pod: Pod, crictl: Crictl):
    created, running, exited = pod.create("a", SLEEP), pod.run("b", SLEEP), pod.run("c", ("true",))
    wait_exited(crictl, exited)

    assert crictl("ps", "--quiet") == running
    assert set(crictl("ps", "--quiet", "--all").split()) == {created, running, exited}
    for state, id in (("created", created), ("running", running), ("exited", exited)):
        assert crictl("ps", "--quiet", "--all", "--state", state) == id
    header, line = crictl("ps").splitlines()
    assert header.split()[:3] == ["CONTAINER", "IMAGE", "CREATED"]
    assert "Running" in line


def test_logs_of_a_loop(pod: Pod, crictl: Crictl):
    id = pod.run("loop", HELLO)
    wait_until(lambda: len(crictl("logs", id).splitlines()) >= 3)

    assert crictl("logs", "--tail", "2", id) == "hello\nhello"
    stamps, texts = zip(*(line.split(" ", 1) for line in crictl("logs", "--timestamps", id).splitlines()), strict=True)
    times = [moment(stamp) for stamp in stamps]
    assert set(texts) == {"hello"}
    assert all(0.9 < (after - before).total_seconds() < 1.5 for before, after in pairwise(times))
    assert abs(times[0] - moment(status(crictl, id)["startedAt"])) < timedelta(seconds=1)


def test_logs_follow_to_the_end(pod: Pod, crictl: Crictl):
    id = pod.run("short", ("sh", "-c", "for i in 1 2 3; do echo line $i; sleep 0.2; done; echo oops >&2"))

    done = crictl.run("logs", "--follow", id)
    assert (done.stdout, done.stderr) == ("line 1\nline 2\nline 3\n", "oops\n")


def test_logs_are_reopened_after_rotation(pod: Pod, crictl: Crictl):
    id = pod.run("loop", ("sh", "-c", "while true; do echo hello; sleep 0.1; done"))
    log = pod.logs / "loop.log"
    time.sleep(0.5)
    log.rename(log.with_suffix(".old"))
    crictl("logs", "--reopen", "--tail", "1", id)
    time.sleep(0.5)

    stamps = [line.split()[0] for path in (log.with_suffix(".old"), log) for line in path.read_text().splitlines()]
    assert stamps == sorted(set(stamps))
    assert len(stamps) > 5
    assert log.read_text().startswith(tuple("0123456789"))


def test_exec_gives_output_and_exit_code(pod: Pod, crictl: Crictl):
    id = pod.run("app", SLEEP, envs=[{"key": "COLOUR", "value": "blue"}])

    assert crictl("exec", "-s", id, "sh", "-c", "echo $COLOUR; echo odd >&2").split() == ["blue", "odd"]
    # Whatever the exit code, crictl itself ends with 1 and keeps the command's stdout from us.
    assert "exited with 3: bad" in crictl.error("exec", "-s", id, "sh", "-c", "echo bad >&2; exit 3")


def test_exec_ends_after_its_timeout(pod: Pod, crictl: Crictl):
    id = pod.run("app", SLEEP)

    assert "timed out" in crictl.error("exec", "-s", "--timeout", "1", id, "sleep", "60")


def test_exec_of_an_unknown_command_says_so(pod: Pod, crictl: Crictl):
    id = pod.run("app", SLEEP)

    done = crictl.run("exec", "-s", id, "no-such-command")
    assert done.returncode != 0
    assert "no-such-command" in done.stdout + done.stderr


def test_an_exit_code_is_reported(pod: Pod, crictl: Crictl):
    found = wait_exited(crictl, pod.run("app", ("sh", "-c", "echo bye; exit 7")))

    assert (found["exitCode"], found["reason"]) == (7, "Error")
    assert crictl("logs", found["id"]) == "bye"


def test_success_is_completed(pod: Pod, crictl: Crictl):
    found = wait_exited(crictl, pod.run("app", ("true",)))

    assert (found["exitCode"], found["reason"]) == (0, "Completed")


def test_a_container_without_enough_memory_is_oom_killed(pod: Pod, crictl: Crictl):
    limits = {"memory_limit_in_bytes": 15 << 20, "memory_swap_limit_in_bytes": 15 << 20}
    command = ("sh", "-c", "dd if=/dev/zero of=/dev/null bs=20M")
    found = wait_exited(crictl, pod.run("app", command, linux={"resources": limits}))

    assert (found["exitCode"], found["reason"]) == (137, "OOMKilled")


def test_an_unknown_command_fails_to_start(pod: Pod, crictl: Crictl):
    id = pod.create("app", ("no-such-command",))

    assert "no-such-command" in crictl.error("start", id)
    found = status(crictl, id)
    assert (found["state"], found["exitCode"], found["reason"]) == ("CONTAINER_EXITED", 127, "StartError")
    assert "no-such-command" in found["message"]


def test_a_missing_image_is_named(pod: Pod, crictl: Crictl):
    config = {"metadata": {"name": "app"}, "image": {"image": "never-pulled:1"}, "command": ["true"], "linux": {}}

    assert "never-pulled:1" in crictl.error("create", pod.id, crictl.file("missing", config), pod.config)


def test_run_does_all_at_once(crictl: Crictl, tmp_path: Path):
    pod = crictl.file("pod", {"metadata": {"name": "p", "namespace": "n", "uid": "u"}, "linux": {}})
    container = {"metadata": {"name": "c"}, "image": {"image": "nginx:1.29"}, "linux": {}}

    id = crictl("run", crictl.file("container", container), pod).splitlines()[-1]
    assert status(crictl, id)["state"] == "CONTAINER_RUNNING"


def test_update_changes_the_limits(pod: Pod, crictl: Crictl):
    id = pod.run("app", SLEEP)
    crictl("update", "--memory", str(64 << 20), "--cpu-share", "512", id)

    linux = status(crictl, id)["resources"]["linux"]
    assert (linux["memoryLimitInBytes"], linux["cpuShares"]) == (str(64 << 20), "512")


def test_checkpoint_writes_a_file(pod: Pod, crictl: Crictl, tmp_path: Path):
    id = pod.run("app", SLEEP)
    crictl("checkpoint", "--export", tmp_path / "app.checkpoint", id)

    assert (tmp_path / "app.checkpoint").stat().st_size > 0
    assert status(crictl, id)["state"] == "CONTAINER_RUNNING"


def test_stop_all_and_remove_all(pod: Pod, crictl: Crictl):
    ids = {pod.run(name, SLEEP) for name in ("a", "b")}

    assert set(crictl("stop", "--timeout", "0", "--all").split()) == ids
    assert set(crictl("rm", "--all").split()) == ids


# ---------------------------------------------------------------------------------------------- figures and events


def test_stats_of_a_container_grow(pod: Pod, crictl: Crictl):
    id = pod.run("app", ("sh", "-c", "while true; do :; done"))

    [first] = crictl.json("stats", "--id", id)["stats"]
    time.sleep(0.5)
    [second] = crictl.json("stats", "--id", id)["stats"]
    assert first["attributes"]["id"] == id
    assert int(second["cpu"]["usageCoreNanoSeconds"]["value"]) > int(first["cpu"]["usageCoreNanoSeconds"]["value"])
    assert int(second["cpu"]["timestamp"]) > int(first["cpu"]["timestamp"])
    assert int(first["memory"]["workingSetBytes"]["value"]) > 0
    assert first["writableLayer"]["fsId"]["mountpoint"].startswith("/")
    header, line = crictl("stats", id).removeprefix("\x1b[2J\x1b[H").splitlines()  # it clears the screen
    assert header.split()[:2] == ["CONTAINER", "NAME"]
    assert line.split()[:2] == [id[:13], "app"]


def test_stats_of_a_pod_add_up(pod: Pod, crictl: Crictl):
    pod.run("a", SLEEP)
    pod.run("b", SLEEP)

    [stats] = crictl.json("statsp", "--id", pod.id)["stats"]
    assert stats["attributes"]["metadata"]["name"] == "web"
    assert {each["attributes"]["metadata"]["name"] for each in stats["linux"]["containers"]} == {"a", "b"}
    assert int(stats["linux"]["memory"]["workingSetBytes"]["value"]) >= sum(
        int(each["memory"]["workingSetBytes"]["value"]) for each in stats["linux"]["containers"]
    )
    assert stats["linux"]["network"]["defaultInterface"]["name"] == "eth0"


def test_metrics_match_their_descriptors(pod: Pod, crictl: Crictl):
    pod.run("app", SLEEP)

    described = {each["name"]: each["labelKeys"] for each in crictl.json("metricdescs")["descriptors"]}
    [metrics] = crictl.json("metricsp")["podMetrics"]
    samples = [*metrics["metrics"], *(each for box in metrics["containerMetrics"] for each in box["metrics"])]
    assert metrics["podSandboxId"] == pod.id
    assert len(samples) > 20
    assert all(len(each["labelValues"]) == len(described[each["name"]]) for each in samples)


def test_events_tell_a_containers_life(pod: Pod, crictl: Crictl, tmp_path: Path):
    with crictl.running("events") as output:
        # It does not say when it is subscribed, so pods are run until it tells of one.
        wait_until(lambda: Pod(crictl, tmp_path, f"{time.monotonic_ns()}") and output.read_text())
        id = pod.run("app", ("true",))
        wait_exited(crictl, id)
        crictl("rm", id)
        wait_until(lambda: output.read_text().count(id) >= 4 and output.read_text().endswith("}\n"))
        text = output.read_text()

    events = [each for each in documents(text) if each["containerId"] == id]
    assert [each["containerEventType"] for each in events] == [
        "CONTAINER_CREATED_EVENT",
        "CONTAINER_STARTED_EVENT",
        "CONTAINER_STOPPED_EVENT",
        "CONTAINER_DELETED_EVENT",
    ]
    assert {each["podSandboxStatus"]["id"] for each in events} == {pod.id}


def documents(text: str) -> Iterator[dict[str, Any]]:
    """JSON documents, one after the other."""
    decoder = json.JSONDecoder()
    while text := text.lstrip():
        document, end = decoder.raw_decode(text)
        yield document
        text = text[end:]


# ---------------------------------------------------------------------------------------------- a crash


def test_containers_survive_a_crash_of_the_server(crictl_program: Path, tmp_path: Path):
    state_dir = tmp_path / "state"
    with running_server(state_dir=state_dir) as first:
        crictl = Crictl(crictl_program, first.endpoint, tmp_path)
        crictl("pull", IMAGE)
        pod = Pod(crictl, tmp_path)
        id = pod.run("count", ("sh", "-c", "i=0; while true; do i=$((i+1)); echo $i; sleep 0.1; done"))
        done = pod.run("done", ("sh", "-c", "exit 5"))
        wait_exited(crictl, done)
        before = status(crictl, id)
        time.sleep(1)
        first.kill()
        time.sleep(1)  # a real engine's containers go on meanwhile

    with running_server(state_dir=state_dir) as second:
        crictl = Crictl(crictl_program, second.endpoint, tmp_path)
        time.sleep(1)
        after = status(crictl, id)
        numbers = [int(line) for line in crictl("logs", id).splitlines()]

        assert crictl.json("inspectp", pod.id)["status"]["state"] == "SANDBOX_READY"
        assert set(crictl("ps", "--all", "--quiet").split()) == {id, done}
        assert status(crictl, done)["exitCode"] == 5
        assert crictl("exec", "-s", id, "echo", "alive") == "alive"
        crictl("rmp", "--all", "--force")

    assert after["state"] == "CONTAINER_RUNNING"
    assert (after["createdAt"], after["startedAt"]) == (before["createdAt"], before["startedAt"])
    assert numbers == list(range(1, len(numbers) + 1))
    assert len(numbers) > 20
