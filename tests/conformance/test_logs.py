"""Container logs: in CRI's format, complete before the exit is told, and cut over without losing a line."""

import asyncio
import os
import re
from pathlib import Path

import grpc
import pytest

from criadapt.testing.inprocess import InProcess, refused, until

LINE = re.compile(rb"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}Z) (stdout|stderr) ([PF]) (.*)", re.DOTALL)
CHATTER = ("sh", "-c", "i=0; while true; do i=$((i+1)); echo line $i; sleep 0.01; done")


def entries(path: str | Path) -> list[tuple[str, str, bytes]]:
    """Stream, tag and content of every entry."""
    lines = Path(path).read_bytes().split(b"\n")
    assert lines.pop() == b""
    found = []
    for line in lines:
        match = LINE.fullmatch(line)
        assert match, line
        found.append((match[2].decode(), match[3].decode(), match[4]))
    return found


def lines(*paths: str | Path) -> list[tuple[str, bytes]]:
    """Stream and content of every line: pieces of one joined, as kubelet does."""
    found: list[tuple[str, bytes]] = []
    begun: dict[str, bytes] = {}
    for stream, tag, content in (entry for path in paths for entry in entries(path)):
        begun[stream] = begun.get(stream, b"") + content
        if tag == "F":
            found.append((stream, begun.pop(stream)))
    assert not begun
    return found


async def logged(server: InProcess, *command: str, **fields: object) -> list[tuple[str, bytes]]:
    """Lines that a command leaves in its log."""
    app = await server.run(await server.run_pod(), command=command, **fields)
    return lines((await server.exited(app)).log_path)


async def test_the_path_is_told_and_holds_every_line(server: InProcess) -> None:
    app = await server.run(await server.run_pod(), command=["echo", "hello World"])
    status = await server.exited(app)
    assert status.log_path == str(server.logs / "web" / "app.log")
    assert entries(status.log_path) == [("stdout", "F", b"hello World")]  # critest looks at the first entry alone


async def test_times_are_those_of_the_container_s_life(server: InProcess) -> None:
    app = await server.run(await server.run_pod(), command=["seq", "3"])
    path = Path((await server.exited(app)).log_path)
    stamps = [line.split()[0] for line in path.read_text().splitlines()]
    assert stamps == sorted(stamps)


async def test_both_streams_are_logged(server: InProcess) -> None:
    found = await logged(server, "ls", "/etc/passwd", "/no/such")
    assert ("stdout", b"/etc/passwd") in found
    assert any(stream == "stderr" and b"/no/such" in content for stream, content in found)


async def test_an_empty_line_is_an_entry(server: InProcess) -> None:
    assert await logged(server, "printf", r"a\n\nb\n") == [("stdout", b"a"), ("stdout", b""), ("stdout", b"b")]


async def test_the_last_line_may_lack_its_newline(server: InProcess) -> None:
    assert await logged(server, "printf", r"a\nb") == [("stdout", b"a"), ("stdout", b"b")]


async def test_bytes_that_are_no_text_stay_as_they_are(server: InProcess) -> None:
    assert await logged(server, "printf", r"\377\376\001\n") == [("stdout", b"\xff\xfe\x01")]


async def test_a_tty_s_output_is_stdout_without_carriage_returns(server: InProcess) -> None:
    found = await logged(server, "ls", "/etc/passwd", "/no/such", tty=True)
    assert {stream for stream, _ in found} == {"stdout"}
    assert not any(content.endswith(b"\r") for _, content in found)


@pytest.mark.parametrize("size", [16383, 16384, 16385, 100_000])
async def test_long_lines_are_split(server: InProcess, size: int) -> None:
    script = f"head -c {size} /dev/zero | tr '\\0' x; echo; echo end"
    app = await server.run(await server.run_pod(), command=["sh", "-c", script])
    path = (await server.exited(app)).log_path
    assert lines(path) == [("stdout", b"x" * size), ("stdout", b"end")]
    assert max(len(content) for _, _, content in entries(path)) <= 16384


async def test_all_of_it_is_there_when_the_exit_is_told(server: InProcess) -> None:
    found = await logged(server, "seq", "20000")
    assert [content for _, content in found] == [b"%d" % number for number in range(1, 20001)]


async def test_folders_are_made(server: InProcess) -> None:
    app = await server.run(await server.run_pod(), command=["echo", "x"], log_path="deep/er/0.log")
    status = await server.exited(app)
    assert status.log_path == str(server.logs / "web" / "deep" / "er" / "0.log")
    assert entries(status.log_path) == [("stdout", "F", b"x")]
    assert Path(status.log_path).stat().st_mode & 0o777 == 0o640


@pytest.mark.parametrize("missing", ["log_directory", "log_path"])
async def test_no_log_is_kept_unless_directory_and_path_are_given(server: InProcess, missing: str) -> None:
    pod = await server.run_pod(**({"log_directory": ""} if missing == "log_directory" else {}))
    app = await server.run(pod, command=["echo", "x"], **({"log_path": ""} if missing == "log_path" else {}))
    assert (await server.exited(app)).log_path == ""
    assert not list(server.logs.rglob("*.log"))


async def test_a_program_that_writes_much_is_not_held_up_without_a_log(server: InProcess) -> None:
    app = await server.run(await server.run_pod(), command=["seq", "300000"], log_path="")
    assert (await server.exited(app)).exit_code == 0


async def test_a_log_may_not_leave_its_directory(server: InProcess) -> None:
    pod = await server.run_pod()
    for path in ("../x", "/etc/passwd", "a/../../x", "a/.."):
        with refused(grpc.StatusCode.INVALID_ARGUMENT, saying="config.log_path"):
            await server.create(pod, log_path=path)


async def test_a_later_container_appends_to_the_log(server: InProcess) -> None:
    pod = await server.run_pod()
    for name in ("one", "two"):
        app = await server.run(pod, name, command=["echo", name], log_path="same.log")
        await server.exited(app)
    assert [content for _, content in lines(server.logs / "web" / "same.log")] == [b"one", b"two"]


# ------------------------------------------------------------------ rotation


async def test_after_a_reopen_the_new_file_exists_and_gets_everything(server: InProcess) -> None:
    app = await server.run(await server.run_pod(), command=CHATTER)
    path = Path((await server.container(app)).log_path)
    await until(lambda: path.stat().st_size > 200)
    old = path.with_name("app.log.1")
    path.rename(old)
    await server.rpc.ReopenContainerLog(container_id=app)
    assert path.exists()
    size = old.stat().st_size
    await until(lambda: path.stat().st_size > 200)
    assert old.stat().st_size == size
    await server.rpc.StopContainer(container_id=app)
    content = [int(text.split()[1]) for _, text in lines(old, path)]
    assert content == list(range(1, len(content) + 1))


async def test_a_storm_of_reopens_loses_nothing(server: InProcess) -> None:
    app = await server.run(await server.run_pod(), command=["seq", "30000"])
    path = Path((await server.container(app)).log_path)
    files = []
    for number in range(20):
        files.append(path.with_name(f"app.log.{number:02}"))
        os.rename(path, files[-1])
        try:
            await server.rpc.ReopenContainerLog(container_id=app)
        except grpc.aio.AioRpcError as error:
            assert error.code() is grpc.StatusCode.FAILED_PRECONDITION  # noqa: PT017 - it has ended meanwhile
            break
    await server.exited(app)
    files = [file for file in (*files, path) if file.exists()]
    content = [int(text) for _, text in lines(*files)]
    assert content == list(range(1, 30001))


async def test_only_a_running_container_s_log_is_reopened(server: InProcess) -> None:
    pod = await server.run_pod()
    created = await server.create(pod)
    with refused(grpc.StatusCode.FAILED_PRECONDITION, saying="running"):
        await server.rpc.ReopenContainerLog(container_id=created)
    assert not (server.logs / "web" / "app.log").exists()
    with refused(grpc.StatusCode.NOT_FOUND):
        await server.rpc.ReopenContainerLog(container_id="nobody")
    silent = await server.run(pod, "silent", log_path="")
    with refused(grpc.StatusCode.FAILED_PRECONDITION, saying="no log"):
        await server.rpc.ReopenContainerLog(container_id=silent)


async def test_a_silent_container_has_an_empty_file(server: InProcess) -> None:
    app = await server.run(await server.run_pod())
    path = Path((await server.container(app)).log_path)
    assert path.read_bytes() == b""
    path.unlink()
    await server.rpc.ReopenContainerLog(container_id=app)
    assert path.exists()


async def test_two_containers_do_not_mix_their_logs(server: InProcess) -> None:
    pod = await server.run_pod()
    apps = await asyncio.gather(*(server.run(pod, f"c{n}", command=["seq", f"{n}00", f"{n}99"]) for n in range(1, 6)))
    for number, app in enumerate(apps, 1):
        found = lines((await server.exited(app)).log_path)
        assert [int(content) for _, content in found] == list(range(number * 100, number * 100 + 100))
