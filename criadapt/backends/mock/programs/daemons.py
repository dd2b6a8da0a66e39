"""Programs that start, say so, and then wait for the end: pause, databases, anybody's ``app``."""

from __future__ import annotations

import time

from criadapt.backends.mock.process import SIGINT, SIGTERM
from criadapt.backends.mock.program_table import Place, program
from criadapt.backends.mock.programs.context import Context
from criadapt.backends.mock.programs.system import become
from criadapt.backends.mock.sockets import Reader, Writer

_MIB = 1 << 20


@program("pause", place=Place.ROOT)
async def pause(ctx: Context) -> int:
    """Hold a pod's namespaces: wait for a signal and say that it came."""
    number = await ctx.wait_signal()
    ctx.put(2, b"Shutting down, got signal: " + (b"Terminated\n" if number == SIGTERM else b"Interrupt\n"))
    return 0


@program("app", place=Place.ROOT)
async def app(ctx: Context) -> int:
    """Stands for any server: idle until SIGTERM or SIGINT, then leave quietly. Anything echoes on port 8080."""
    ctx.listen(8080, _echo)
    ctx.proc.load = 1
    await ctx.wait_signal()
    return 0


@program("echo-server", place=Place.ROOT)
async def echo_server(ctx: Context) -> int:
    """Send back whatever comes to a TCP port (8080 by default)."""
    port = int(ctx.args[0]) if ctx.args else 8080
    if not ctx.listen(port, _echo):
        ctx.usage(f"bind: port {port}: Address already in use")
    ctx.print(f"listening on port {port}")
    await ctx.wait_signal()
    return 0


async def _echo(reader: Reader, writer: Writer) -> None:
    while data := await reader.read(65536):
        writer.write(data)
        await writer.drain()


@program("redis-server", place=Place.SBIN)
async def redis_server(ctx: Context) -> int:
    """Redis: its log lines, PING on port 6379, and a good end on SIGTERM."""
    stamp = f"{ctx.proc.pid}:C {_stamp(ctx)}"
    ctx.print(f"{stamp} * oO0OoO0OoO0Oo Redis is starting oO0OoO0OoO0Oo")
    ctx.print(f"{stamp} * Redis version=7.2.4, bits=64, commit=00000000, modified=0, pid={ctx.proc.pid}, just started")
    ctx.print(f"{ctx.proc.pid}:M {_stamp(ctx)} * Ready to accept connections tcp")
    await ctx.allocate(3 * _MIB)
    ctx.listen(6379, _redis)
    ctx.proc.load = 1
    number = await ctx.wait_signal()
    name = "SIGTERM" if number == SIGTERM else "SIGINT"
    ctx.print(f"{ctx.proc.pid}:signal-handler ({ctx.now_ns // 10**9}) Received {name} scheduling shutdown...")
    ctx.print(f"{ctx.proc.pid}:M {_stamp(ctx)} # Redis is now ready to exit, bye bye...")
    return 0


async def _redis(reader: Reader, writer: Writer) -> None:
    while data := await reader.read(65536):
        for _ in range(max(1, data.upper().count(b"PING"))):
            writer.write(b"+PONG\r\n" if b"PING" in data.upper() else b"-ERR unknown command\r\n")
        await writer.drain()


def _stamp(ctx: Context) -> str:
    return time.strftime("%d %b %Y %H:%M:%S", time.gmtime(ctx.now_ns // 10**9)) + f".{ctx.now_ns // 10**6 % 1000:03}"


@program("postgres", "mysqld", "mongod", place=Place.SBIN)
async def database(ctx: Context) -> int:
    """A database server: start lines on stderr, a port, a good end."""
    ports = {"postgres": 5432, "mysqld": 3306, "mongod": 27017}
    moment = time.strftime("%Y-%m-%d %H:%M:%S.000 UTC", time.gmtime(ctx.now_ns // 10**9))
    label = f"{moment} [{ctx.proc.pid}] LOG:  "
    port = ports.get(ctx.name, 5432)
    ctx.put(2, f'{label}starting {ctx.name}\n{label}listening on IPv4 address "0.0.0.0", port {port}\n'.encode())
    ctx.put(2, f"{label}database system is ready to accept connections\n".encode())
    await ctx.allocate(20 * _MIB)
    ctx.listen(port, _echo)
    ctx.proc.load = 1
    await ctx.wait_signal(SIGTERM, SIGINT, 3)
    ctx.put(2, f"{label}received smart shutdown request\n{label}database system is shut down\n".encode())
    return 0


@program("docker-entrypoint.sh", "entrypoint.sh", place=Place.ROOT)
async def entrypoint(ctx: Context) -> int:
    """An image's entrypoint script: run what follows."""
    return await become(ctx, ctx.args) if ctx.args else 0


@program("nnp", "nnp2", place=Place.ROOT)
async def nnp(ctx: Context) -> int:
    """The set-uid helper of critest's image: the effective user, which is root unless new privileges are refused."""
    ctx.print(f"Effective uid: {ctx.user.uid if ctx.machine.spec.no_new_privs else 0}")
    return 0
