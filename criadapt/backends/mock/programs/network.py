"""Programs about the network, which is the pod: wget, curl, nc, ping, netstat, ip."""

from __future__ import annotations

import asyncio
import re
from urllib.parse import urlsplit

from criadapt.backends.mock.capabilities import effective
from criadapt.backends.mock.program_table import program
from criadapt.backends.mock.programs.context import Context
from criadapt.backends.mock.sockets import Reader, Service, Writer, connect
from criadapt.model.linux import NamespaceMode

_MAX_ANSWER = 16 << 20


def _local(ctx: Context, host: str) -> bool:
    known = {"localhost", "127.0.0.1", "::1", "0.0.0.0", ctx.machine.hostname, *ctx.machine.ips}
    return host in known


def _service(ctx: Context, host: str, port: int) -> Service | None:
    """Who answers at an address: servers inside the same pod only."""
    return ctx.machine.answering(port) if _local(ctx, host) else None


async def _ask(service: Service, request: bytes) -> bytes:
    reader, writer, task = connect(service)
    try:
        writer.write(request)
        answer = b""
        while len(answer) < _MAX_ANSWER and (data := await reader.read(65536)):
            answer += data
        return answer
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


@program("wget", "curl")
async def wget(ctx: Context) -> int:
    """Fetch from a server in the same pod: -q -O FILE as wget, -s -f -o FILE -I -X -d as curl."""
    curl = ctx.name == "curl"
    options, words = (
        ctx.options("sSfo:IX:H:d:LkvmO", ["max-time=", "connect-timeout=", "fail", "silent"]) if curl
        else ctx.options("qO:ST:t:", ["spider", "timeout=", "tries=", "header=", "post-data=", "no-check-certificate"])
    )  # fmt: skip
    if not words:
        ctx.usage("missing URL")
    url = urlsplit(words[0] if "://" in words[0] else f"http://{words[0]}")
    host, port = url.hostname or "", url.port or (443 if url.scheme == "https" else 80)
    service = _service(ctx, host, port)
    if service is None:
        return _refused(ctx, curl, host, port)
    if not curl and "q" not in options:
        ctx.put(2, f"Connecting to {host}:{port} (127.0.0.1:{port})\n".encode())
    method = options.get("X") or (
        "POST" if "d" in options or "post-data" in options else "HEAD" if "I" in options else "GET"
    )
    body = (options.get("d") or options.get("post-data") or "").encode()
    path = (url.path or "/") + (f"?{url.query}" if url.query else "")
    head = (
        f"{method} {path} HTTP/1.1\r\nHost: {host}:{port}\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    )
    answer = await ctx.outside(_ask(service, head.encode() + body))
    head_lines, _, content = answer.partition(b"\r\n\r\n")
    status = head_lines.split(b"\r\n")[0].decode("latin-1")
    code = int(match[1]) if (match := re.search(r" (\d{3})", status)) else 0
    if "I" in options or (curl and "v" in options):
        ctx.put(1, head_lines + b"\r\n\r\n")
    if code >= 400 and (not curl or "f" in options or "fail" in options):
        if curl:
            ctx.error(f"(22) The requested URL returned error: {code}")
        else:
            ctx.error(f"server returned error: {status}")
        return 22 if curl else 1
    name = options.get("o" if curl else "O") or ("-" if curl else url.path.rpartition("/")[2] or "index.html")
    if "spider" in options or "I" in options:
        return 0
    if name == "-":
        ctx.put(1, content)
    else:
        ctx.files.write(name, content)
    return 0


def _refused(ctx: Context, curl: bool, host: str, port: int) -> int:
    if not _local(ctx, host) and not re.fullmatch(r"[\d.]+|[0-9a-f:]+", host):
        ctx.error(f"(6) Could not resolve host: {host}" if curl else f"bad address '{host}'")
        return 6 if curl else 1
    if curl:
        ctx.error(f"(7) Failed to connect to {host} port {port} after 0 ms: Couldn't connect to server")
        return 7
    ctx.put(2, f"Connecting to {host}:{port} ({host}:{port})\n".encode())
    ctx.error(f"can't connect to remote host ({host}): Connection refused")
    return 1


@program("nc", "ncat", "netcat")
async def nc(ctx: Context) -> int:
    """Netcat: -l -p PORT takes one connection (-k any number) and prints what comes; else connects; -z only tries.

    ``-e cat`` makes a listener that sends everything back; it runs no other program.
    """
    options, words = ctx.options("lp:kzvw:nue:q:")
    if "l" in options:
        port = options.get("p") or (words[-1] if words else "")
        if not port.isdigit():
            ctx.usage("missing port")
        if options.get("e", "cat") != "cat":
            ctx.usage("-e runs cat only")
        listen = _echo if "e" in options else _listen
        return await listen(ctx, int(port), keep="k" in options)
    if len(words) != 2 or not words[1].isdigit():
        ctx.usage("usage: nc [-l -p PORT] [HOST PORT]")
    service = _service(ctx, words[0], int(words[1]))
    if service is None:
        ctx.error(f"{words[0]} ({words[0]}:{words[1]}): Connection refused")
        return 1
    if "z" in options:
        return 0
    reader, writer, task = connect(service)

    async def upstream() -> None:
        while data := await ctx.read():
            writer.write(data)
        writer.write_eof()

    # The two directions cannot run in one process here: first all of stdin, then the answer.
    try:
        await upstream()
        while data := await ctx.outside(reader.read(65536)):
            await ctx.write(data)
    finally:
        task.cancel()
    return 0


async def _listen(ctx: Context, port: int, *, keep: bool) -> int:
    received: asyncio.Queue[bytes] = asyncio.Queue(maxsize=16)

    async def serve(reader: Reader, writer: Writer) -> None:
        if not keep and ctx.machine.listeners is not None:
            ctx.machine.listeners.unlisten(port)
        while data := await reader.read(65536):
            await received.put(data)
        if not keep:
            await received.put(b"")

    if not ctx.listen(port, serve):
        ctx.usage("bind: Address already in use")
    while data := await ctx.outside(received.get()):
        await ctx.write(data)
    return 0


async def _echo(ctx: Context, port: int, *, keep: bool) -> int:
    done = asyncio.Event()

    async def serve(reader: Reader, writer: Writer) -> None:
        if not keep and ctx.machine.listeners is not None:
            ctx.machine.listeners.unlisten(port)
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
        if not keep:
            done.set()

    if not ctx.listen(port, serve):
        ctx.usage("bind: Address already in use")
    await ctx.outside(done.wait())
    return 0


@program("ping")
async def ping(ctx: Context) -> int:
    """Packets to a host, which takes CAP_NET_RAW: -c so many, -W, -q."""
    options, words = ctx.options("c:W:w:qi:s:46n")
    if not words:
        ctx.usage("usage: ping [OPTIONS] HOST")
    host = words[0]
    address = "127.0.0.1" if _local(ctx, host) else host
    ctx.print(f"PING {host} ({address}): 56 data bytes")
    if "NET_RAW" not in effective(ctx.machine.spec, 0):
        ctx.error("permission denied (are you root?)")
        return 1
    count, number = int(options.get("c", "0")), 0
    while not count or number < count:
        if number:
            await ctx.sleep(1)
        if _local(ctx, host):
            ctx.print(f"64 bytes from {address}: seq={number} ttl=64 time=0.050 ms")
        number += 1
    got = number if _local(ctx, host) else 0
    ctx.print(f"\n--- {host} ping statistics ---")
    ctx.print(f"{number} packets transmitted, {got} packets received, {100 - got * 100 // number}% packet loss")
    return int(got == 0)


@program("netstat", "ss")
async def netstat(ctx: Context) -> int:
    """Listening sockets: those of the pod, or the host's own on the host network."""
    ctx.options("lntuap46W")
    ctx.print("Active Internet connections (only servers)")
    ctx.print("Proto Recv-Q Send-Q Local Address           Foreign Address         State       ")
    ports = {port for peer in ctx.machine.peers() if peer.listeners is not None for port, _ in peer.listeners.ports()}
    if ctx.machine.spec.namespaces.network is NamespaceMode.NODE:
        ports |= _host_ports()
    for port in sorted(ports):
        ctx.print(f"tcp        0      0 {f'0.0.0.0:{port}':<23} {'0.0.0.0:*':<23} LISTEN      ")
    return 0


def _host_ports() -> set[int]:
    """Ports that processes of the real host listen on."""
    ports = set()
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        try:
            with open(table, encoding="ascii") as file:
                rows = [line.split() for line in file.readlines()[1:]]
        except OSError:  # no such protocol on this host
            continue
        ports |= {int(row[1].rpartition(":")[2], 16) for row in rows if row[3] == "0A"}
    return ports


@program("ip", "ifconfig")
async def ip(ctx: Context) -> int:
    """Addresses of the pod. Changes take CAP_NET_ADMIN and are forgotten."""
    if {"add", "del", "set", "up", "down"} & set(ctx.args):
        return _administer(ctx)
    for number, (name, addresses) in enumerate((("lo", ("127.0.0.1",)), ("eth0", ctx.machine.ips)), 1):
        ctx.print(f"{number}: {name}: <BROADCAST,MULTICAST,UP,LOWER_UP> mtu {65536 if name == 'lo' else 1500} state UP")
        for address in addresses:
            family, length = ("inet6", 64) if ":" in address else ("inet", 8 if name == "lo" else 24)
            ctx.print(f"    {family} {address}/{length} scope {'host' if name == 'lo' else 'global'} {name}")
    return 0


@program("brctl", "iptables", "route")
async def administer(ctx: Context) -> int:
    """Change the network, as far as capabilities go; nothing is remembered."""
    return _administer(ctx)


def _administer(ctx: Context) -> int:
    if "NET_ADMIN" in effective(ctx.machine.spec, ctx.user.uid):
        return 0
    subject = {"brctl": "bridge " + (ctx.args[-1] if ctx.args else ""), "ip": "RTNETLINK answers"}.get(
        ctx.name, "ioctl"
    )
    ctx.error(f"{subject}: Operation not permitted")
    return 1


@program("nslookup")
async def nslookup(ctx: Context) -> int:
    """Look up a name in /etc/hosts; there is no other name service here."""
    if not ctx.args:
        ctx.usage("usage: nslookup HOST")
    for line in ctx.files.read("/etc/hosts").decode(errors="replace").splitlines():
        fields = line.partition("#")[0].split()
        if ctx.args[0] in fields[1:]:
            ctx.print(f"Name:\t{ctx.args[0]}\nAddress: {fields[0]}")
            return 0
    ctx.print(f"** server can't find {ctx.args[0]}: NXDOMAIN")
    return 1


@program("ipcs", "ipcmk", "ipcrm")
async def ipcs(ctx: Context) -> int:
    """Shared memory segments: the host's where its ipc namespace is shared, else none."""
    if ctx.name != "ipcs":
        ctx.usage("not supported by this kernel")
    ctx.options("mqsa")
    ctx.print("\n------ Shared Memory Segments --------")
    ctx.print("key        shmid      owner      perms      bytes      nattch     status      ")
    for line in ctx.files.read("/proc/sysvipc/shm").decode().splitlines()[1:]:
        key, shmid, perms, length, _, _, attached, uid = line.split()[:8]
        owner = "root" if uid == "0" else uid
        ctx.print(f"0x{int(key) & 0xFFFFFFFF:08x} {shmid:<10} {owner:<10} {perms[-3:]:<10} {length:<10} {attached:<10}")
    return 0
