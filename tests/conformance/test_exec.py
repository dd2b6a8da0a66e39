"""ExecSync, and the requests for streaming sessions: who may ask for what, and what the answer looks like."""

import asyncio
import re
from urllib.parse import urlsplit

import grpc
import pytest

from criadapt.cri.v1 import api_pb2 as pb
from criadapt.testing.inprocess import MAX_MESSAGE, SLEEP, InProcess, refused, until

DEADLINE_EXCEEDED = grpc.StatusCode.DEADLINE_EXCEEDED
FAILED_PRECONDITION = grpc.StatusCode.FAILED_PRECONDITION
INVALID = grpc.StatusCode.INVALID_ARGUMENT
NOT_FOUND = grpc.StatusCode.NOT_FOUND


@pytest.fixture
async def app(server: InProcess) -> str:
    return await server.run(await server.run_pod())


async def processes(server: InProcess, app: str, pattern: str) -> bytes:
    return bytes((await server.exec(app, "pgrep", "-f", pattern)).stdout.strip())


# ------------------------------------------------------------------ ExecSync


async def test_output_comes_exactly_as_it_was_written(server: InProcess, app: str) -> None:
    answer = await server.exec(app, "echo", "-n", "hello")
    assert (answer.stdout, answer.stderr, answer.exit_code) == (b"hello", b"", 0)


async def test_the_streams_are_kept_apart(server: InProcess, app: str) -> None:
    answer = await server.exec(app, "ls", "/etc/passwd", "/no/such")
    assert answer.stdout == b"/etc/passwd\n"
    assert b"/no/such" in answer.stderr
    assert answer.exit_code != 0


async def test_bytes_that_are_no_text_come_through(server: InProcess, app: str) -> None:
    assert (await server.exec(app, "printf", r"\377\376\000\001")).stdout == b"\xff\xfe\x00\x01"


@pytest.mark.parametrize(("cmd", "code"), [(["true"], 0), (["false"], 1), (["sh", "-c", "exit 42"], 42)])
async def test_an_exit_code_is_an_answer(server: InProcess, app: str, cmd: list[str], code: int) -> None:
    assert (await server.exec(app, *cmd)).exit_code == code


async def test_a_death_by_signal_is_128_and_its_number(server: InProcess, app: str) -> None:
    exec = asyncio.ensure_future(server.exec(app, "sleep", "4321"))
    await until(lambda: processes(server, app, "sleep 4321"))
    await server.exec(app, "pkill", "-9", "-f", "sleep 4321")
    assert (await exec).exit_code == 137


async def test_a_command_that_does_not_exist_fails_either_way(server: InProcess, app: str) -> None:
    try:
        answer = await server.exec(app, "/no/such/program")
    except grpc.aio.AioRpcError as error:
        assert error.code() is not grpc.StatusCode.INTERNAL  # noqa: PT017
        assert "/no/such/program" in error.details()  # noqa: PT017
    else:
        assert answer.exit_code in (126, 127)


async def test_a_time_out_kills_the_command(server: InProcess, app: str) -> None:
    with refused(DEADLINE_EXCEEDED, saying="timed out"):
        await server.exec(app, "sleep", "4321", timeout=1)
    assert await processes(server, app, "sleep 4321") == b""


async def test_a_caller_who_leaves_takes_the_command_along(server: InProcess, app: str) -> None:
    call = server.rpc.ExecSync(container_id=app, cmd=["sleep", "4321"])
    await until(lambda: processes(server, app, "sleep 4321"))
    call.cancel()
    await until(lambda: gone(server, app, "sleep 4321"))


async def test_a_caller_s_deadline_takes_the_command_along(server: InProcess, app: str) -> None:
    with refused(DEADLINE_EXCEEDED):
        await server.rpc.ExecSync(container_id=app, cmd=["sleep", "4321"], deadline=0.1)
    await until(lambda: gone(server, app, "sleep 4321"))


async def gone(server: InProcess, app: str, pattern: str) -> bool:
    return not await processes(server, app, pattern)


async def test_the_end_of_the_container_ends_the_command(server: InProcess, app: str) -> None:
    call = asyncio.ensure_future(server.exec(app, "sleep", "4321", timeout=0))
    await until(lambda: processes(server, app, "sleep 4321"))
    await server.rpc.StopContainer(container_id=app)
    assert (await call).exit_code == 137


async def test_commands_share_environment_user_and_directory(server: InProcess) -> None:
    app = await server.run(
        await server.run_pod(),
        envs=[{"key": "A", "value": b"1"}],
        working_dir="/tmp",
        linux={"security_context": {"run_as_user": {"value": 1001}, "supplemental_groups": [1234]}},
    )
    assert (await server.exec(app, "printenv", "A")).stdout == b"1\n"
    assert (await server.exec(app, "pwd")).stdout == b"/tmp\n"
    assert (await server.exec(app, "id", "-u")).stdout == b"1001\n"
    assert b"1234" in (await server.exec(app, "id", "-G")).stdout


async def test_many_commands_run_at_once(server: InProcess, app: str) -> None:
    answers = await asyncio.gather(*(server.exec(app, "echo", str(number)) for number in range(50)))
    assert [answer.stdout for answer in answers] == [b"%d\n" % number for number in range(50)]


@pytest.mark.parametrize("stream", [1, 2])
async def test_output_is_cut_to_what_a_message_can_hold(server: InProcess, app: str, stream: int) -> None:
    script = f"head -c 20000000 /dev/zero >&{stream}"
    answer = await server.exec(app, "sh", "-c", script, timeout=8)
    assert answer.exit_code == 0
    kept = len(answer.stdout) + len(answer.stderr)
    assert 15 << 20 < kept < MAX_MESSAGE
    assert answer.ByteSize() < MAX_MESSAGE
    assert (len(answer.stdout) == 0) == (stream == 2)


@pytest.mark.parametrize("script", ["ls / >&2", "ls /no/such 2>&1", "ls / >/dev/null 2>&1", "ls / >/tmp/x"])
async def test_a_redirected_command_is_answered_when_it_ends(server: InProcess, app: str, script: str) -> None:
    began = asyncio.get_running_loop().time()
    await server.exec(app, "sh", "-c", script)
    assert asyncio.get_running_loop().time() - began < 1.5  # less than output is waited for after the end


async def test_a_grandchild_in_the_background_does_not_hold_the_answer(server: InProcess, app: str) -> None:
    answer = await server.exec(app, "sh", "-c", "sleep 4321 & echo done", timeout=8)
    assert answer.stdout == b"done\n"


@pytest.mark.parametrize(("cmd", "timeout"), [([], 0), ([""], 0), (["true"], -1)])
async def test_nonsense_is_refused(server: InProcess, app: str, cmd: list[str], timeout: int) -> None:
    with refused(INVALID, saying="cmd" if not any(cmd) else "timeout"):
        await server.rpc.ExecSync(container_id=app, cmd=cmd, timeout=timeout)


@pytest.mark.parametrize("state", ["unknown", "created", "exited"])
@pytest.mark.parametrize("call", ["ExecSync", "Exec", "Attach"])
async def test_only_a_running_container_can_be_entered(server: InProcess, call: str, state: str) -> None:
    pod = await server.run_pod()
    app = "nobody" if state == "unknown" else await server.create(pod)
    if state == "exited":
        await server.rpc.StartContainer(container_id=app)
        await server.rpc.StopContainer(container_id=app)
    fields = {"cmd": ["true"]} if call != "Attach" else {}
    if call != "ExecSync":
        fields["stdout"] = True
    with refused(NOT_FOUND if state == "unknown" else FAILED_PRECONDITION, saying=app[:13]):
        await getattr(server.rpc, call)(container_id=app, **fields)


# ------------------------------------------------------------------ sessions


@pytest.mark.parametrize(
    "streams", [{"stdout": True}, {"stderr": True, "stdin": True}, {"tty": True, "stdin": True, "stdout": True}]
)
async def test_exec_and_attach_give_an_address_to_connect_to(
    server: InProcess, app: str, streams: dict[str, bool]
) -> None:
    exec = await server.rpc.Exec(container_id=app, cmd=["true"], **streams)
    attach = await server.rpc.Attach(container_id=app, **streams)
    for kind, url in (("exec", exec.url), ("attach", attach.url)):
        parts = urlsplit(url)
        assert parts.scheme == "http"
        assert parts.hostname == "127.0.0.1"
        assert parts.port
        assert re.fullmatch(rf"/{kind}/[\w-]{{8,}}", parts.path)
    assert exec.url != attach.url


@pytest.mark.parametrize("call", ["Exec", "Attach"])
@pytest.mark.parametrize(
    ("streams", "saying"), [({}, "stdin, stdout, stderr"), ({"tty": True, "stderr": True}, "tty and stderr")]
)
async def test_impossible_streams_are_refused(
    server: InProcess, app: str, call: str, streams: dict[str, bool], saying: str
) -> None:
    fields = {"cmd": ["true"]} if call == "Exec" else {}
    with refused(INVALID, saying=saying):
        await getattr(server.rpc, call)(container_id=app, **streams, **fields)


async def test_an_exec_needs_a_command(server: InProcess, app: str) -> None:
    for cmd in ([], [""]):
        with refused(INVALID, saying="cmd"):
            await server.rpc.Exec(container_id=app, cmd=cmd, stdout=True)


@pytest.mark.parametrize("ports", [[], [80], [1, 65535]])
async def test_ports_are_forwarded_of_a_ready_pod(server: InProcess, ports: list[int]) -> None:
    pod = await server.run_pod()
    assert "/portforward/" in (await server.rpc.PortForward(pod_sandbox_id=pod, port=ports)).url
    await server.rpc.StopPodSandbox(pod_sandbox_id=pod)
    with refused(FAILED_PRECONDITION, saying="not ready"):
        await server.rpc.PortForward(pod_sandbox_id=pod, port=ports)


@pytest.mark.parametrize("port", [0, -1, 65536, 2**31 - 1])
async def test_impossible_ports_are_refused(server: InProcess, port: int) -> None:
    pod = await server.run_pod()
    with refused(INVALID, saying=str(port)):
        await server.rpc.PortForward(pod_sandbox_id=pod, port=[port])


async def test_so_many_sessions_may_wait_and_no_more(server: InProcess, app: str) -> None:
    for _ in range(1000):
        await server.rpc.Exec(container_id=app, cmd=["true"], stdout=True)
    with refused(grpc.StatusCode.RESOURCE_EXHAUSTED, saying="1000"):
        await server.rpc.Exec(container_id=app, cmd=["true"], stdout=True)


async def get(url: str) -> str:
    parts = urlsplit(url)
    reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
    writer.write(f"GET {parts.path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
    head = await asyncio.wait_for(reader.readline(), 5)
    writer.close()
    await writer.wait_closed()
    return head.decode()


async def test_an_address_works_once(server: InProcess, app: str) -> None:
    url = (await server.rpc.Exec(container_id=app, cmd=["true"], stdout=True)).url
    await get(url)
    assert " 404 " in await get(url)
    assert " 404 " in await get(url[:-3] + "xyz")


async def test_waiting_sessions_do_not_hold_a_pod(server: InProcess) -> None:
    pod = await server.run_pod()
    app = await server.run(pod, command=SLEEP)
    url = (await server.rpc.Attach(container_id=app, stdout=True)).url
    await server.rpc.StopPodSandbox(pod_sandbox_id=pod)
    await server.rpc.RemovePodSandbox(pod_sandbox_id=pod)
    assert " 200 " not in await get(url)
    assert pb.CONTAINER_RUNNING == 1
