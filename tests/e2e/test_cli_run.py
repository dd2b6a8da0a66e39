"""The commands that work with a runtime, those that change things."""

import json
import re
import signal
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from criadapt import Client
from criadapt.model.container import ContainerState

from .cli import Cli

BUSYBOX = "busybox:1.36"
LOOP = "trap 'echo bye; exit 0' TERM; echo begun; while true; do sleep 0.1; done"
SLEEP = ("sleep", "100000")


def manifest(cli: Cli, *documents: dict[str, Any]) -> Path:
    path = cli.folder / "manifest.yaml"
    path.write_text(yaml.safe_dump_all(documents))
    return path


def pod_of(*commands: str, name: str = "web") -> dict[str, Any]:
    containers = [
        {"name": f"c{number}", "image": BUSYBOX, "command": ["sh", "-c", command]}
        for number, command in enumerate(commands)
    ]
    spec = {"containers": containers, "terminationGracePeriodSeconds": 2, "restartPolicy": "Never"}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": "shop"}, "spec": spec}


def deployment_of(command: str, replicas: int) -> dict[str, Any]:
    template = {"metadata": {"labels": {"app": "api"}}, "spec": pod_of(command)["spec"] | {"restartPolicy": "Always"}}
    spec = {"replicas": replicas, "selector": {"matchLabels": {"app": "api"}}, "template": template}
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "api"}, "spec": spec}


# ---------------------------------------------------------------------------------------------- run


def test_run_is_like_running_it_here(cli: Cli, cri: Client):
    (cli.folder / "file").write_text("content\n")
    words = ("sh", "-c", "echo $A-$B-$HOME; cat /data/file; cat; echo err >&2; exit 5")
    options = (
        "-i",
        "-e",
        "A=1",
        "-e",
        "B",
        "--mount",
        f"{cli.folder}:/data:ro",
        "--name",
        "job",
        "--pod-name",
        "batch",
    )
    done = cli.run("run", *options, BUSYBOX, *words, input=b"from here\n", B="2")
    assert (done.returncode, done.stderr) == (5, b"err\n")
    assert done.stdout.decode().splitlines() == ["1-2-/root", "content", "from here"]
    assert cri.list_pod_sandbox() == ()
    assert list(cli.folder.glob("criadapt-pod-*")) == []


def test_run_keeps_what_is_to_stay(cli: Cli, cri: Client):
    cli("run", "--keep", "--pod-name", "batch", "--log-dir", str(cli.folder / "logs"), BUSYBOX, "echo", "$(HOME)")
    assert cri.containers(pod="batch")[0].state is ContainerState.EXITED
    assert (cli.folder / "logs" / "app" / "0.log").read_text().endswith("stdout F $(HOME)\n")


def test_ctrl_c_stops_what_runs(cli: Cli, cri: Client):
    with cli.running("run", BUSYBOX, "sh", "-c", LOOP) as running:
        assert running.line() == "begun"
        assert running.interrupt()[0] == 130
    assert cri.list_pod_sandbox() == ()


def test_what_excludes_each_other_is_refused(cli: Cli):
    assert "not both" in cli.error("run", code=2)
    assert "not both" in cli.error("run", "-f", "x.yaml", BUSYBOX, code=2)
    assert "--rm cannot" in cli.error("run", "-d", "--rm", BUSYBOX, code=2)
    assert "--pod-name, --env" in cli.error("run", "-f", "x.yaml", "-e", "A=1", "--pod-name", "x", code=2)
    assert "'no-such.yaml' does not exist" in cli.error("run", "-f", "no-such.yaml")
    assert "expected /host/path" in cli.error("run", "--mount", "/x", BUSYBOX, code=2)


def test_a_pod_is_played_until_ctrl_c(cli: Cli, cri: Client):
    document = pod_of(LOOP, "echo other; sleep 1000")
    document["spec"]["nodeSelector"] = {"disk": "ssd"}
    with cli.running("run", "-f", manifest(cli, document)) as running:
        assert {running.line(), running.line()} == {"web/c0 | begun", "web/c1 | other"}
        code, output, said = running.interrupt()
    assert (code, output) == (0, "web/c0 | bye\n")
    assert "criadapt: web: " in said
    assert "nodeSelector" in said
    assert cri.list_pod_sandbox() == ()
    assert list(cli.folder.glob("criadapt-pod-*")) == []


def test_pods_that_end_by_themselves_tell_how(cli: Cli, cri: Client):
    done = cli.run("run", "-f", "-", input=yaml.safe_dump(pod_of("echo a", "exit 3")).encode())
    assert (done.returncode, done.stdout) == (1, b"web/c0 | a\n")
    assert done.stderr == b"criadapt: container web/c1 ended with exit code 3\n"
    assert cri.list_pod_sandbox() == ()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_deployment_is_played_with_its_replicas(cli: Cli, cri: Client, number: signal.Signals):
    with cli.running("run", "-f", manifest(cli, deployment_of(LOOP, 3))) as running:
        lines = {running.line() for _ in range(3)}
        assert len(lines) == 3
        assert all(re.fullmatch(r"api-\S+/c0 \| begun", line) for line in lines)
        assert len(cri.pods(labels={"app": "api"}, ready=True)) == 3
        code, _, _ = running.interrupt(number)
    assert code == (0 if number is signal.SIGINT else 128 + number)
    assert cri.list_pod_sandbox() == ()


def test_a_deployment_is_left_running(cli: Cli, cri: Client):
    ids = cli("run", "-d", "-f", manifest(cli, deployment_of("sleep 1000", 3))).split()
    assert set(ids) == {pod.id for pod in cri.pods(ready=True)}
    assert len(cri.containers(running=True)) == 3
    assert set(cli("rm", "-f", *ids).split()) == set(ids)
    assert cri.list_pod_sandbox() == ()


def test_if_one_pod_cannot_be_started_none_stays(cli: Cli, cri: Client):
    bad = pod_of("true", name="bad")
    bad["spec"]["containers"][0]["image"] = "example.com/fail/not-found/x:1"
    assert "not found" in cli.error("run", "-d", "-f", manifest(cli, pod_of("sleep 1000"), bad))
    assert cri.list_pod_sandbox() == ()
    assert list(cli.folder.glob("criadapt-pod-*")) == []


# ---------------------------------------------------------------------------------------------- the end, and the news


def test_all_containers_are_removed_by_xargs(cli: Cli, cri: Client, app: str):
    cli("run", "-d", BUSYBOX, *SLEEP)
    script = "$CRIADAPT ps -q | xargs $CRIADAPT rm -f"
    env = {**cli.env, "CRIADAPT": " ".join(cli.command(()))}
    subprocess.run(["sh", "-ec", script], env=env, check=True, timeout=40, capture_output=True)
    assert cri.list_containers() == ()
    assert len(cri.list_pod_sandbox()) == 2


def test_what_runs_is_not_removed_unless_forced(cli: Cli, cri: Client, app: str):
    assert cli.error("rm", "app") == f"criadapt: container {app[:13]!r} runs; stop it first, or use --force\n"
    assert "use --force" in cli.error("rm", "web")
    done = cli.run("rm", "-f", "nobody", "app", "nobody else")
    assert (done.returncode, done.stdout.decode()) == (1, f"{app}\n")
    assert done.stderr.count(b"nobody") == 2
    pod = cli("stop", "web")
    assert cli("rm", "web") == pod
    assert cri.list_pod_sandbox() == ()


def test_events_tell_a_whole_life(cli: Cli, cri: Client, app: str):
    with cli.running("events", "--existing", "-o", "json") as running:
        first = json.loads(running.line())  # from now on nothing is missed
        assert first["container_event_type"] == "CREATED"
        with cri.run_pod(image=BUSYBOX, command=["sleep", "1000"], name="new", grace=0) as pod:
            id = pod.containers["app"]
        seen: list[str] = []
        while "DELETED" not in seen:
            event = json.loads(running.line())
            if event["container_id"] == id:
                seen.append(event["container_event_type"])
        assert seen == ["CREATED", "STARTED", "STOPPED", "DELETED"]
        assert running.interrupt()[0] == 130
    with cli.running("events", "--existing") as running:
        assert re.fullmatch(r"\S+Z  created  pod        [0-9a-f]{13}  default/web", running.line())


def test_stats_are_shown_once_or_again_and_again(cli: Cli, app: str):
    header, row = cli("stats").splitlines()
    assert re.split(" {2,}", header)[:4] == ["CONTAINER ID", "CPU %", "MEMORY", "DISK"]
    id, load, memory = row.split()[:3]
    assert (id, row.split()[5:]) == (app[:13], ["app", "web", "default"])
    assert float(load) >= 0
    assert memory.endswith("MB")
    assert cli.json("stats", "--pod", "web")[0]["attributes"]["id"] == app
    assert cli.json("stats", "--pod", "other") == []
    assert cli("stats", "--pods").splitlines()[1].split()[3].isdigit()
    with cli.running("stats", "--watch", "--interval", "50ms") as running:
        lines = [running.line() for _ in range(6)]
        assert lines[0] == lines[3]
        assert lines[1].split()[0] == lines[4].split()[0] == app[:13]
        assert running.interrupt()[0] == 130


def test_names_are_completed(cli: Cli, app: str):
    def completed(*words: str) -> list[str]:
        line = " ".join(["criadapt", *words])
        env = {"_CRIADAPT_COMPLETE": "bash_complete", "COMP_WORDS": line, "COMP_CWORD": str(len(words))}
        return [name for row in cli.run(**env).stdout.decode().splitlines() if (name := row.partition(",")[2])]

    assert completed("exec", "we") == ["web/app"]
    assert completed("port-forward", "w") == ["web"]
    assert completed("inspect", "-r", cli.env["CRIADAPT_ENDPOINT"], "docker.io/library/bu") == [
        "docker.io/library/busybox:1.36"
    ]
    assert completed("logs", "-r", "/no/such.sock", "w") == []
    assert "port-forward" in completed("po")
