"""The commands that work with a runtime, as a person at a terminal sees them."""

import json
from pathlib import Path

import pytest

from criadapt import Client

from .cli import Cli

BUSYBOX = "busybox:1.36"
DETACH = "\x10\x11"


pytestmark = pytest.mark.usefixtures("app")


@pytest.mark.parametrize("transport", ["spdy", "websocket"])
def test_a_shell_on_a_terminal(cli: Cli, transport: str):
    with cli.on_terminal("exec", "-it", "--transport", transport, "app", "sh", width=101, height=31) as terminal:
        before = terminal.settings()
        terminal.see("# ")
        assert terminal.settings() != before  # every key is passed on
        terminal.type("stty size\r")
        terminal.see("31 101")
        terminal.see("# ")
        terminal.resize(90, 20)
        while True:
            terminal.type("stty size\r")
            if "20 90" in terminal.see("# "):
                break
        terminal.type("sleep 1000\r")
        terminal.see("sleep 1000")
        terminal.type("\x03")  # for what runs there, not for us
        terminal.see("# ")
        terminal.type("exit 3\r")
        assert terminal.end() == 3
        assert terminal.settings() == before


def test_a_terminal_without_input_leaves_keys_alone(cli: Cli):
    with cli.on_terminal("exec", "-t", "app", "sh", "-c", "tty; sleep 1000") as terminal:
        before = terminal.settings()
        terminal.see("/dev/")
        assert terminal.settings() == before
        terminal.type("\x03")
        assert terminal.end() == 130


def test_the_terminal_is_itself_again_after_sigterm(cli: Cli):
    with cli.on_terminal("exec", "-it", "app", "sh") as terminal:
        before = terminal.settings()
        terminal.see("# ")
        terminal.process.terminate()
        assert terminal.end() == 143
        assert terminal.settings() == before


def test_attached_and_detached(cli: Cli, cri: Client):
    cli("run", "-dit", "--pod-name", "shell", BUSYBOX, "sh")
    with cli.on_terminal("attach", "-i", "shell/app") as terminal:
        before = terminal.settings()
        terminal.type("echo a$((1 + 1))b\r")
        terminal.see("a2b")
        terminal.type("\x10")
        terminal.type("\x11")
        assert terminal.end() == 0
        assert terminal.settings() == before
    with cli.on_terminal("attach", "-i", "shell/app") as terminal:  # it lives on
        terminal.type("exit 4\r")
        assert terminal.end() == 0, terminal.screen
    assert cri.container_status(cri.container("shell/app").id).status.exit_code == 4


def test_half_of_the_detach_keys_is_a_key(cli: Cli, cri: Client):
    cli("run", "-dit", "--pod-name", "shell", BUSYBOX, "sh")
    with cli.on_terminal("attach", "-i", "shell/app") as terminal:
        terminal.type("echo b\x10c | wc -c\r")
        terminal.see("\r\n4\r\n")
        terminal.type(DETACH)
        assert terminal.end() == 0


def test_run_with_a_terminal_ends_with_its_exit_code(cli: Cli, cri: Client):
    with cli.on_terminal("run", "-it", "--pod-name", "shell", BUSYBOX, "sh") as terminal:
        terminal.type("exit 6\r")
        assert terminal.end() == 6
    assert [pod.metadata.name for pod in cri.list_pod_sandbox() if pod.metadata] == ["web"]


def test_tables_fit_the_window_and_ids_stay_whole(cli: Cli, cri: Client):
    id = cri.container("app").id[:13]
    with cli.on_terminal("ps", width=70) as terminal:
        assert terminal.end() == 0
        lines = terminal.screen.splitlines()
    assert all(len(line.replace("\x1b[1m", "").replace("\x1b[0m", "")) <= 70 for line in lines)
    assert id in lines[1]


def test_a_pull_shows_that_it_goes_on(cli: Cli):
    with cli.on_terminal("pull", "example.com/slow/1500ms/x:1") as terminal:
        terminal.see("Pulling example.com/slow/1500ms/x:1")
        terminal.see("example.com/slow/1500ms/x@sha256:")
        assert terminal.end() == 0
    cli("rm", "-i", "example.com/slow/1500ms/x:1")


def test_a_password_is_asked_for_and_not_shown(cli: Cli):
    with cli.on_terminal("pull", "--creds", "me", "example.com/private/x:1") as terminal:
        shown = terminal.see("Password: ")
        terminal.type("Secret123\r")
        shown += terminal.see("example.com/private/x@sha256:")
        assert terminal.end() == 0
        assert "Secret123" not in shown + terminal.screen
    cli("rm", "-i", "example.com/private/x:1")


def test_ctrl_c_stops_pods_and_ctrl_c_again_does_not_wait(cli: Cli, cri: Client, tmp_path: Path):
    manifest = tmp_path / "pod.json"
    deaf = {"name": "c", "image": BUSYBOX, "command": ["sh", "-c", "trap '' TERM; echo begun; sleep 10000"]}
    spec = {"terminationGracePeriodSeconds": 3000, "containers": [deaf]}
    manifest.write_text(json.dumps({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "deaf"}, "spec": spec}))
    with cli.on_terminal("run", "-f", manifest) as terminal:
        terminal.see("begun")
        terminal.type("\x03")
        terminal.see("Ctrl-C again")
        terminal.type("\x03")
        assert terminal.end() == 130
    assert [pod.metadata.name for pod in cri.list_pod_sandbox() if pod.metadata] == ["web"]
