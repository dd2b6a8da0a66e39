"""A registry whose images are hard to pull. The first part of a path says how; all of them are the same image.

=============  ====================================================================================
``fine/…``     nothing is wrong
``slow/…``     the layer comes at :data:`CHUNK` bytes each tenth of a second, which takes half a minute
``stalled/…``  half of the layer comes, the rest does not
``mute/…``     what the tag means is asked for, and there is no answer
``limited/…``  too many requests
``broken/…``   out of service
=============  ====================================================================================

Where it wants a token, that is :data:`TOKEN`, which its token service gives for :data:`IDENTITY`.
"""

import json
import random
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs

from . import busybox
from .registry import MANIFEST, digest_of, made

TOKEN, IDENTITY = "token-of-access", "token-of-identity"
CHUNK = 16 * 1024
SIZE = 300 * CHUNK


class Faulty(ThreadingHTTPServer):
    """The server."""

    daemon_threads = True
    block_on_close = False

    def __init__(self, token: bool) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.token = token
        """Whether it wants one."""
        self.host = f"127.0.0.1:{self.server_port}"
        self.closing = threading.Event()
        self.broken_off = threading.Event()
        """Whether a client has left while a layer was sent."""
        self.manifest, blobs = made([busybox.tar({"data": random.Random(1).randbytes(SIZE)})])
        self.blobs = {digest_of(blob): blob for blob in blobs}

    def handle_error(self, request: object, client_address: object) -> None:
        """Clients leave when they like, and begin with TLS to see whether it is spoken."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = default_request_version = "HTTP/1.1"  # in which TLS is answered, too
    server: Faulty

    def log_message(self, format: str, *args: object) -> None:
        pass

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        parts = self.path.partition("?")[0].split("/")  # /v2/HOW/…/manifests/TAG, /v2/HOW/…/blobs/DIGEST
        how = parts[2] if len(parts) > 2 else ""
        if self.server.token and self.headers.get("Authorization") != f"Bearer {TOKEN}":
            challenge = f'Bearer realm="http://{self.server.host}/token",service="test",scope="repository:x:pull"'
            self._refuse(401, "UNAUTHORIZED", "authentication required", challenge)
        elif len(parts) < 5:  # /v2/, where engines look which kind of login is wanted
            self._answer(b"{}", "application/json")
        elif how == "mute":
            self.server.closing.wait()
        elif how == "limited":
            self._refuse(429, "TOOMANYREQUESTS", "You have reached your pull rate limit.")
        elif how == "broken":
            self._refuse(503, "UNAVAILABLE", "service unavailable")
        elif parts[-2] == "manifests":
            self._answer(self.server.manifest, MANIFEST)
        else:
            self._blob(how, self.server.blobs[parts[-1]])

    def do_POST(self) -> None:
        """The token service, as OAuth 2 has it."""
        form = parse_qs(self.rfile.read(int(self.headers.get("Content-Length", 0))).decode())
        if form.get("refresh_token") == [IDENTITY]:
            self._answer(json.dumps({"access_token": TOKEN, "expires_in": 60}).encode(), "application/json")
        else:
            self._refuse(401, "UNAUTHORIZED", "the refresh token is wrong")

    def _blob(self, how: str, data: bytes) -> None:
        if how not in ("slow", "stalled") or len(data) < CHUNK:
            self._answer(data, "application/octet-stream")
            return
        self._head(200, len(data), "application/octet-stream")
        try:
            for begin in range(0, len(data), CHUNK):
                if how == "stalled" and begin > len(data) // 2:
                    self.server.closing.wait()
                self.wfile.write(data[begin : begin + CHUNK])
                if self.server.closing.wait(0.1 if how == "slow" else 0):
                    return
        except OSError:
            self.server.broken_off.set()
            raise

    def _refuse(self, code: int, word: str, text: str, challenge: str = "") -> None:
        body = json.dumps({"errors": [{"code": word, "message": text}]}).encode()
        self._answer(body, "application/json", code, challenge)

    def _answer(self, body: bytes, kind: str, code: int = 200, challenge: str = "") -> None:
        self._head(code, len(body), kind, challenge)
        if self.command != "HEAD":
            self.wfile.write(body)

    def _head(self, code: int, length: int, kind: str, challenge: str = "") -> None:
        self.send_response(code)
        self.send_header("Docker-Distribution-Api-Version", "registry/2.0")
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(length))
        if kind == MANIFEST:
            self.send_header("Docker-Content-Digest", digest_of(self.server.manifest))
        if challenge:
            self.send_header("WWW-Authenticate", challenge)
        self.end_headers()


@contextmanager
def running(*, token: bool = False) -> Iterator[Faulty]:
    """Start one, in threads of this process."""
    with Faulty(token) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield server
        finally:
            server.closing.set()
            server.shutdown()
            thread.join()
