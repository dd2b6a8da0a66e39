"""Web servers: nginx, httpd, and python's http.server by another name."""

from __future__ import annotations

import re
import time

from criadapt.backends.mock.process import SIGINT, SIGTERM
from criadapt.backends.mock.program_table import Place, program
from criadapt.backends.mock.programs.context import Context
from criadapt.backends.mock.sockets import Reader, Service, Writer

_SIGQUIT, _SIGHUP, _SIGWINCH = 3, 1, 28
_HEAD_LIMIT = 64 * 1024
_NGINX_PAGE = b"""<!DOCTYPE html>
<html>
<head>
<title>Welcome to nginx!</title>
</head>
<body><h1>Welcome to nginx!</h1><p>A scripted nginx, in a mock container.</p></body>
</html>
"""
_HTTPD_PAGE = b"<html><body><h1>It works!</h1></body></html>\n"


def web_service(ctx: Context, root: str, page: bytes, server: str) -> Service:
    """Serve the files below `root`; `page` is what / shows if there is no index.html. Logs to stdout."""

    async def serve(reader: Reader, writer: Writer) -> None:
        rest = b""
        while True:
            while b"\r\n\r\n" not in rest:
                data = await reader.read(65536)
                rest += data
                if not data or len(rest) > _HEAD_LIMIT:
                    return
            head, _, rest = rest.partition(b"\r\n\r\n")
            lines = head.decode("latin-1").split("\r\n")
            method, path, version = [*lines[0].split(" "), "", ""][:3]
            headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines[1:])}
            length = int(headers["content-length"]) if headers.get("content-length", "").isdigit() else 0
            while len(rest) < length and (data := await reader.read(65536)):
                rest += data
            rest = rest[length:]
            status, body = _answer(ctx, root, page, method, path.partition("?")[0])
            keep = version == "HTTP/1.1" and headers.get("connection", "").lower() != "close"
            writer.write(_head(ctx, server, status, len(body), keep) + (body if method != "HEAD" else b""))
            await writer.drain()
            ctx.emit(f'127.0.0.1 - - [{_clf(ctx)}] "{lines[0]}" {status.partition(" ")[0]} {len(body)} "-" "-" "-"\n')
            if not keep:
                return

    return serve


def _answer(ctx: Context, root: str, page: bytes, method: str, path: str) -> tuple[str, bytes]:
    if method not in ("GET", "HEAD"):
        return "405 Not Allowed", b"405 Not Allowed\n"
    index = path + "index.html" if path.endswith("/") else path
    if "/../" not in index and ctx.files.exists(root + index) and not ctx.files.is_dir(root + index):
        return "200 OK", ctx.files.read(root + index)
    return ("200 OK", page) if index == "/index.html" else ("404 Not Found", b"404 Not Found\n")


def _head(ctx: Context, server: str, status: str, length: int, keep: bool) -> bytes:
    date = time.strftime("%a, %d %b %Y %H:%M:%S GMT", time.gmtime(ctx.wall_ns // 10**9))
    connection = "keep-alive" if keep else "close"
    return (
        f"HTTP/1.1 {status}\r\nServer: {server}\r\nDate: {date}\r\nContent-Type: text/html\r\n"
        f"Content-Length: {length}\r\nConnection: {connection}\r\n\r\n"
    ).encode()


def _clf(ctx: Context) -> str:
    return time.strftime("%d/%b/%Y:%H:%M:%S +0000", time.gmtime(ctx.wall_ns // 10**9))


@program("nginx", place=Place.SBIN)
async def nginx(ctx: Context) -> int:
    """nginx in the foreground: notices on stderr, pages on the ports of its configuration, SIGQUIT and SIGTERM."""
    options, _ = ctx.options("g:c:p:s:tTvVqe:")
    version = f"nginx/{ctx.env.get('NGINX_VERSION', '1.29.1')}"
    if "v" in options or "V" in options:
        ctx.put(2, f"nginx version: {version}\n".encode())
        return 0
    if "t" in options:
        ctx.put(2, b"nginx: the configuration file /etc/nginx/nginx.conf syntax is ok\n"
                   b"nginx: configuration file /etc/nginx/nginx.conf test is successful\n")  # fmt: skip
        return 0
    pid = ctx.proc.pid
    ports = ctx.image_numbers("/etc/nginx/", r"^\s*listen\s+(?:\S+:)?(\d+)") or [80]
    for port in ports:
        if not ctx.listen(port, web_service(ctx, "/usr/share/nginx/html", _NGINX_PAGE, version)):
            ctx.put(
                2, f"{_notice(ctx, 'emerg')}bind() to 0.0.0.0:{port} failed (98: Address already in use)\n".encode()
            )
            return 1
    for text in ('using the "epoll" event method', version, "OS: Linux", "start worker processes"):
        ctx.put(2, f"{_notice(ctx, 'notice')}{text}\n".encode())
    title = " ".join(["nginx", *ctx.args])
    ctx.proc.args = (f"nginx: master process {title}",)
    ctx.machine.provide("/run/nginx.pid", f"{pid}\n".encode())
    ctx.proc.memory += 3 << 20
    ctx.proc.load = 1
    number = await ctx.wait_signal(SIGTERM, SIGINT, _SIGQUIT)
    name = {SIGTERM: "SIGTERM", SIGINT: "SIGINT", _SIGQUIT: "SIGQUIT"}[number]
    how = "gracefully shutting down" if number == _SIGQUIT else "exiting"
    for text in (f"signal {number} ({name}) received, {how}", "exit"):
        ctx.put(2, f"{_notice(ctx, 'notice')}{text}\n".encode())
    return 0


def _notice(ctx: Context, level: str) -> str:
    moment = time.strftime("%Y/%m/%d %H:%M:%S", time.gmtime(ctx.now_ns // 10**9))
    return f"{moment} [{level}] {ctx.proc.pid}#{ctx.proc.pid}: "


@program("httpd", "httpd-foreground", "apache2", "apache2-foreground", place=Place.SBIN)
async def httpd(ctx: Context) -> int:
    """Apache in the foreground: its two complaints and two notices on stderr, a page on port 80."""
    ctx.options("D:f:k:hp:")
    address = (ctx.machine.ips or ("127.0.0.1",))[0]
    complaint = (
        "AH00558: httpd: Could not reliably determine the server's fully qualified domain name, using "
        f"{address}. Set the 'ServerName' directive globally to suppress this message\n"
    )
    ctx.put(2, complaint.encode() * 2)
    ports = ctx.image_numbers("/usr/local/apache2/conf/", r"^\s*Listen\s+(?:\S+:)?(\d+)") or [80]
    for port in ports:
        if not ctx.listen(port, web_service(ctx, "/usr/local/apache2/htdocs", _HTTPD_PAGE, "Apache/2.4.39 (Unix)")):
            ctx.put(2, f"(98)Address already in use: AH00072: make_sock: could not bind to 0.0.0.0:{port}\n".encode())
            return 1
    _apache_notice(ctx, "mpm_event", "AH00489: Apache/2.4.39 (Unix) configured -- resuming normal operations")
    _apache_notice(ctx, "core", "AH00094: Command line: 'httpd -D FOREGROUND'")
    ctx.proc.args = ("httpd", "-DFOREGROUND")
    ctx.proc.name = "httpd"
    ctx.proc.memory += 8 << 20
    ctx.proc.load = 1
    number = await ctx.wait_signal(SIGTERM, SIGINT, _SIGWINCH)
    end = "AH00491: caught SIGTERM, shutting down"
    if number == _SIGWINCH:
        end = "AH00492: caught SIGWINCH, shutting down gracefully"
    _apache_notice(ctx, "mpm_event", end)
    return 0


def _apache_notice(ctx: Context, module: str, text: str) -> None:
    moment = time.strftime("%a %b %d %H:%M:%S.000000 %Y", time.gmtime(ctx.now_ns // 10**9))
    ctx.put(2, f"[{moment}] [{module}:notice] [pid {ctx.proc.pid}:tid 140000] {text}\n".encode())


@program("http-server", "agnhost", "whoami-server", place=Place.ROOT)
async def http_server(ctx: Context) -> int:
    """A plain web server: ``http-server [PORT]``; agnhost's netexec and serve-hostname listen on theirs."""
    numbers = re.findall(r"--(?:http-)?port[= ](\d+)|^(\d+)$", " ".join(ctx.args))
    default = {"serve-hostname": 9376}.get(ctx.args[0] if ctx.args else "", 8080)
    port = int(next((a or b for a, b in numbers), default))
    body = f"{ctx.machine.hostname}\n".encode()
    if not ctx.listen(port, web_service(ctx, "/srv", body, "mock")):
        ctx.usage(f"bind: port {port}: Address already in use")
    ctx.print(f"Serving on port {port}")
    await ctx.wait_signal()
    return 0
