"""The commands that work with a runtime, as a script sees them."""

import base64
import hashlib
import json
import re
import time
import urllib.request
from dataclasses import replace
from datetime import datetime
from random import Random

import pytest
import yaml

from criadapt import Client
from criadapt.testing.server import RunningServer

from .cli import Cli

BUSYBOX = "busybox:1.36"
LOOP = "trap 'echo bye; exit 0' TERM; echo begun; while true; do sleep 0.1; done"
SLEEP = ("sleep", "100000")
TRANSPORTS = pytest.mark.parametrize("transport", ["spdy", "websocket"])


# ---------------------------------------------------------------------------------------------- what there is


def test_info_names_the_runtime_and_how_it_was_found(cli: Cli, server: RunningServer):
    facts = dict(re.split(" {2,}", line, maxsplit=1) for line in cli("info").splitlines())
    assert facts["RUNTIME"].startswith("criadapt ")
    assert facts["ENDPOINT"] == server.endpoint
    assert facts["FOUND BY"] == "$CRIADAPT_ENDPOINT"
    assert facts["RUNTIMEREADY"] == "yes"

    found = cli.json("info")
    assert found["version"]["runtime_name"] == "criadapt"
    assert {each["type"] for each in found["status"]["conditions"]} == {"RuntimeReady", "NetworkReady"}


def test_lists_are_tables_ids_json_and_yaml(cli: Cli, cri: Client, app: str):
    header, row = cli("ps").splitlines()
    assert re.split(" {2,}", header) == [
        *("CONTAINER ID", "IMAGE", "AGE", "STATE", "NAME", "ATTEMPT", "POD ID", "POD", "NAMESPACE")
    ]
    pod = cri.pod("web").id
    assert row.split()[0] == app[:13]
    assert row.split()[3:] == ["running", "app", "0", pod[:13], "web", "default"]
    assert cli("ps", "--no-trunc").splitlines()[1].split()[0] == app
    assert cli("ps", "-q") == app
    assert cli("pods", "-q") == pod

    [listed] = cli.json("ps")
    [container] = cri.list_containers()
    assert (listed["id"], listed["state"], listed["created_at"]) == (app, "RUNNING", container.created_at)
    assert listed["labels"] == dict(container.labels)
    for command in (["ps"], ["pods"], ["images"], ["inspect", "app"], ["inspect", "-v", "web"]):
        assert yaml.safe_load(cli(*command, "-o", "yaml")) == cli.json(*command)


def test_containers_are_filtered(cli: Cli, app: str):
    cli("run", "-d", "--pod-name", "db", "--name", "pg", "-n", "shop", "-l", "tier=data", BUSYBOX, *SLEEP)
    pg = cli("ps", "-q", "--name", "p*")
    assert len(pg) == 64
    assert cli("ps", "-q", "--namespace", "shop") == pg
    assert cli("ps", "-q", "--pod", "db") == pg
    assert cli("ps", "-q", "--pod", cli("pods", "-q", "--name", "db")[:13]) == pg
    assert cli("ps", "-q", "--label", "io.kubernetes.container.name=app") == app
    assert set(cli("ps", "-q", "--image", BUSYBOX).split()) == {pg, app}
    assert cli("ps", "-q", "--state", "exited") == ""
    cli("stop", "--grace", "0", "pg")
    assert cli("ps", "-q", "--state", "exited") == pg
    assert cli("ps", "-q") == app
    assert set(cli("ps", "-aq").split()) == {pg, app}
    assert cli("pods", "-q", "--label", "tier=data") == cli("pods", "-q", "--name", "d?")
    assert cli("pods", "-q", "--state", "notready") == ""


def test_images_are_listed_by_names_people_write(cli: Cli, app: str):
    rows = [re.split(" {2,}", line) for line in cli("images", "busybox").splitlines()]
    assert rows[0] == ["IMAGE", "TAG", "IMAGE ID", "SIZE"]
    assert rows[1][:2] == ["docker.io/library/busybox", "1.36"]
    id = cli.json("inspect", BUSYBOX)["status"]["id"]
    for name in (BUSYBOX, "*busy*", id[:20], id.removeprefix("sha256:")[:6]):
        assert cli("images", "-q", name) == id
    assert cli("images", "-q", "no-such") == ""


def test_inspect_takes_whatever_is_there(cli: Cli, app: str):
    for ref in (app, app[:8], "app", "web/app", "default/web/app"):
        found = cli.json("inspect", ref)
        assert (found["kind"], found["status"]["id"]) == ("container", app)
        assert found["pid"] > 0
        assert found["netns"] == f"/proc/{found['pid']}/ns/net"
        assert "info" not in found
    assert cli.json("inspect", "web")["kind"] == "pod"
    assert cli.json("inspect", BUSYBOX)["kind"] == "image"
    assert cli.json("inspect", "-v", "app")["info"]["info"]["config"]["image"]
    assert cli.error("inspect", "nobody") == "criadapt: no container or pod or image has the name or id 'nobody'\n"


def test_a_name_of_a_container_and_of_a_pod_is_ambiguous(cli: Cli, app: str):
    pod = cli("run", "-d", "--pod-name", "app", BUSYBOX, *SLEEP)
    assert "container 'app' is ambiguous" in cli.error("inspect", "app", code=2)
    assert cli.json("inspect", "-p", "app")["status"]["id"] == pod
    assert cli("rm", "-f", "-p", "app") == pod
    cli("run", "-d", "--pod-name", "same", "--name", "same", BUSYBOX, *SLEEP)
    assert "say -c or -p" in cli.error("rm", "-f", "same", code=2)
    assert "-c and -p exclude each other" in cli.error("rm", "-c", "-p", "same", code=2)


def test_what_cannot_be_done_is_one_line(cli: Cli):
    assert cli.error("ps", "-r", "/no/such.sock").startswith("criadapt: /no/such.sock does not exist")
    assert cli.error("ps", "-r", "nonsense", code=2).count("\n") == 1
    assert cli.error("logs", "nobody") == "criadapt: no container has the name or id 'nobody'\n"
    assert "expected a duration" in cli.error("ps", "--timeout", "soon", code=2)


# ---------------------------------------------------------------------------------------------- commands in containers


def test_the_exit_code_of_a_command_is_ours(cli: Cli, app: str):
    done = cli.run("exec", "app", "sh", "-c", "echo out; echo err >&2; exit 7")
    assert (done.returncode, done.stdout, done.stderr) == (7, b"out\n", b"err\n")


def test_options_behind_the_container_are_the_commands(cli: Cli, app: str):
    assert cli("exec", "app", "echo", "-i", "--help") == "-i --help"
    assert cli("exec", "app", "--", "echo", "--", "-t") == "-- -t"
    assert cli("exec", "--", "app", "echo", "x") == "x"
    assert "COMMAND" in cli.error("exec", "app", "--", code=2)
    assert "no-such-program" in cli.error("exec", "app", "no-such-program", code=127)


@TRANSPORTS
def test_five_mebibytes_go_in_and_come_back(cli: Cli, app: str, transport: str):
    data = Random(5).randbytes(5 << 20)
    done = cli.run("exec", "-i", "--transport", transport, "app", "cat", input=data)
    assert (done.returncode, done.stderr) == (0, b"")
    assert hashlib.sha256(done.stdout).digest() == hashlib.sha256(data).digest()
    assert cli("exec", "-i", "--transport", transport, "app", "wc", "-c", input=data) == str(5 << 20)


def test_without_i_there_is_no_input(cli: Cli, app: str):
    assert cli("exec", "app", "cat", input=b"unseen") == ""


def test_ctrl_c_ends_the_command(cli: Cli, app: str, cri: Client):
    with cli.running("exec", "app", "sh", "-c", "echo begun; exec sleep 4711") as running:
        assert running.line() == "begun"
        assert running.interrupt() == (130, "", "")
    while b"4711" in cri.run(app, ["ps"]).stdout:
        pass  # the time-out of the test is the bound


def test_a_reader_that_goes_is_nothing_to_talk_about(cli: Cli, app: str):
    with cli.running("exec", "app", "yes") as running:
        assert running.line() == "y"
        assert running.process.stdout is not None
        assert running.process.stderr is not None
        running.process.stdout.close()
        assert running.process.wait(20) == 1
        assert running.process.stderr.read() == b""


def test_attach_sees_what_is_written_until_the_container_ends(cli: Cli, app: str):
    cli("run", "-d", "-i", "--pod-name", "in", BUSYBOX, "sh", "-c", "read word; echo got $word")
    assert cli("attach", "-i", "in/app", input=b"hello\n") == "got hello"


# ---------------------------------------------------------------------------------------------- logs


def test_logs_keep_streams_apart(cli: Cli):
    cli("run", "-d", "--pod-name", "web", BUSYBOX, "sh", "-c", "echo one; echo two >&2; echo three; sleep 1000")
    with cli.running("logs", "-f", "web/app") as running:  # which waits for what may not be there yet
        assert [running.line(), running.line()] == ["one", "three"]
    done = cli.run("logs", "web/app")
    assert (done.stdout, done.stderr) == (b"one\nthree\n", b"two\n")
    assert cli("logs", "--tail", "1", "web/app") == "three"
    assert cli("logs", "--since", "0s", "web/app") == ""
    stamp, text = cli("logs", "-t", "--tail", "1", "web/app").split(" ")
    assert text == "three"
    assert cli("logs", "--since", stamp, "web/app") == "three"
    assert abs(datetime.fromisoformat(stamp).timestamp() - time.time()) < 60
    for wrong in ("yesterday", "2026-01-01", "2026-01-01T10:00:00"):
        assert "expected such as 5m" in cli.error("logs", "--since", wrong, "web/app", code=2)


def test_logs_follow_to_the_end_of_the_container(cli: Cli, cri: Client):
    cli("run", "-d", "--pod-name", "web", BUSYBOX, "sh", "-c", LOOP)
    with cli.running("logs", "-f", "web/app") as running:
        assert running.line() == "begun"
        cri.stop_container(cri.container("web/app").id, 5)
        assert running.end() == (0, "bye\n", "")


def test_logs_of_the_container_that_was_replaced(cli: Cli, cri: Client):
    with cri.run_pod(image=BUSYBOX, command=["sh", "-c", "echo first"], name="web", grace=0) as pod:
        pod.wait()
        assert "has replaced none" in cli.error("logs", "--previous", "app")
        config = pod.plan.containers[0].config
        metadata = replace(config.metadata, attempt=1)
        again = replace(
            config, metadata=metadata, log_path="app/1.log", command=("sh", "-c", "echo second; sleep 1000")
        )
        sandbox = replace(pod.plan.sandbox, log_directory=str(pod.log_directory))
        cri.start_container(cri.create_container(pod.id, again, sandbox))
        with cli.running("logs", "-f", "app") as running:
            assert running.line() == "second"
        assert cli("logs", "-p", "app") == "first"


# ---------------------------------------------------------------------------------------------- ports, images


@TRANSPORTS
def test_a_port_of_a_pod_is_forwarded(cli: Cli, transport: str):
    cli("run", "-d", "--pod-name", "web", "nginx:1.29")
    with cli.running("port-forward", "--transport", transport, "web", ":80", ":81") as running:
        matches = [re.fullmatch(r"Forwarding from 127\.0\.0\.1:(\d+) -> (80|81)", running.line()) for _ in "ab"]
        ports = {found[2]: found[1] for found in matches if found}
        for _ in range(3):
            with urllib.request.urlopen(f"http://127.0.0.1:{ports['80']}/", timeout=20) as answer:
                assert b"nginx" in answer.read()
        with pytest.raises(OSError):
            urllib.request.urlopen(f"http://127.0.0.1:{ports['81']}/", timeout=20).read()
        assert running.line(of="stderr").startswith("criadapt: port 81: ")
        assert running.interrupt() == (0, "", "")


def test_a_pull_prints_the_name_and_nothing_else(cli: Cli):
    assert re.fullmatch(r"docker\.io/library/alpine@sha256:[0-9a-f]{64}", cli("pull", "alpine:3.20"))
    assert cli("pull", "-q", "alpine:3.20") == cli.json("pull", "alpine:3.20")["id"]
    assert "not found" in cli.error("pull", "example.com/fail/not-found/x:1")
    assert cli("rm", "-i", "alpine:3.20").startswith("sha256:")
    assert cli("images", "-q", "alpine") == ""


@pytest.mark.parametrize(
    ("options", "input", "env"),
    [
        (("--creds", "me:Secret123"), b"", {}),
        (("--creds", "me"), b"Secret123\n", {}),
        (("--auth", base64.b64encode(b"me:Secret123").decode()), b"", {}),
        ((), b"", {"CRIADAPT_CREDS": "me:Secret123"}),
        (("--docker-config",), b"", {}),
    ],
)
def test_credentials_are_taken_and_not_told(cli: Cli, options: tuple[str, ...], input: bytes, env: dict[str, str]):
    auths = {"example.com": {"auth": base64.b64encode(b"me:Secret123").decode()}}
    (cli.folder / ".docker").mkdir()
    (cli.folder / ".docker" / "config.json").write_text(json.dumps({"auths": auths}))
    assert "pull secret" in cli.error("pull", "example.com/private/x:1")
    for image, code in (("example.com/private/x:1", 0), ("example.com/private/fail/unauthorized/x:1", 1)):
        done = cli.run("pull", *options, image, input=input, **env)
        assert done.returncode == code, done.stderr
        assert b"Secret123" not in done.stdout + done.stderr
    cli("rm", "-i", "example.com/private/x:1")
