"""The client's half of the HTTP upgrade, without I/O: which URL, which request, what the answer means."""

from __future__ import annotations

import base64
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

import h11

from criadapt.errors import CriadaptError, EngineError, NotFound, Unavailable, Unsupported
from criadapt.remote import protocols
from criadapt.remote.websocket import accept_key

MAX_ANSWER = 64 * 1024  # bytes of a refusal that are read


@dataclass(frozen=True, slots=True)
class Address:
    """Where a streaming server is, and what to ask it for."""

    host: str
    port: int
    path: str
    tls: bool

    @property
    def name(self) -> str:
        """Host and port as they stand in a URL."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def address_of(url: str) -> Address:
    """Where a runtime's URL leads. Raises EngineError for a URL that leads nowhere.

    cri-dockerd sends ``//[::]:33733/cri/exec/...``: no scheme means http, and an address that stands for all of a
    machine's means this machine, since the runtime is here.
    """
    try:
        parts = urlsplit(url, scheme="http")
        host, port = parts.hostname or "", parts.port
    except ValueError as error:
        raise EngineError(f"the runtime gave a URL that cannot be read: {url!r}: {error}") from error
    if parts.scheme not in ("http", "https") or not (host or parts.netloc.startswith(":")):
        raise EngineError(f"the runtime gave a URL that leads nowhere: {url!r}")
    host = {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    tls = parts.scheme == "https"
    return Address(host, port or (443 if tls else 80), path, tls)


class Upgrade:
    """One request to change protocols, and its answer."""

    def __init__(self, address: Address, offered: Sequence[str], *, websocket: bool) -> None:
        """`offered` are the versions of SPDY streams or the WebSocket subprotocols, the best first."""
        self._address = address
        self._offered = offered
        self._websocket = websocket
        self._key = base64.b64encode(secrets.token_bytes(16)).decode()
        self._http = h11.Connection(h11.CLIENT)
        self._refusal: h11.Response | None = None
        self._text = b""

    def request(self) -> bytes:
        """What to send. Nothing else may be sent before the answer."""
        headers = [("Host", self._address.name), ("User-Agent", "criadapt"), ("Connection", "Upgrade")]
        if self._websocket:
            headers += [
                ("Upgrade", "websocket"),
                ("Sec-WebSocket-Version", "13"),
                ("Sec-WebSocket-Key", self._key),
                ("Sec-WebSocket-Protocol", ", ".join(self._offered)),
            ]
        else:
            headers += [("Content-Length", "0"), ("Upgrade", protocols.SPDY)]
            headers += [(protocols.VERSION_HEADER, name) for name in self._offered]
        method = "GET" if self._websocket else "POST"
        request = h11.Request(method=method, target=self._address.path, headers=headers)
        return b"".join(self._http.send(event) or b"" for event in (request, h11.EndOfMessage()))

    def receive(self, data: bytes) -> tuple[str, bytes] | None:
        """Feed the answer: chosen protocol and the bytes behind the head, or None while there is too little.

        Raises NotFound for a URL that is used up, Unsupported when the server speaks none of what was offered,
        Unavailable when it hangs up, EngineError for any other answer.
        """
        try:
            self._http.receive_data(data)
            while True:
                event = self._http.next_event()
                if event is h11.NEED_DATA:
                    return None
                if isinstance(event, h11.InformationalResponse) and event.status_code == 101:
                    return self._chosen(event), self._http.trailing_data[0]
                if isinstance(event, h11.Response):
                    self._refusal = event
                elif isinstance(event, h11.Data):
                    self._text += bytes(event.data)[: MAX_ANSWER - len(self._text)]
                elif isinstance(event, h11.EndOfMessage) and self._refusal is not None:
                    raise self._refused(self._refusal)
                elif isinstance(event, h11.ConnectionClosed) or event is h11.PAUSED:
                    raise Unavailable(f"the streaming server at {self._address.name} hung up without an answer")
        except h11.RemoteProtocolError as error:
            if not data:
                hung_up = f"the streaming server at {self._address.name} hung up in the middle of its answer"
                raise Unavailable(hung_up) from error
            hint = " (it may speak TLS, or the client may)" if not self._address.tls else ""
            raise EngineError(f"{self._address.name} does not answer in HTTP/1.1{hint}: {error}") from error

    def _chosen(self, answer: h11.InformationalResponse) -> str:
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in answer.headers}
        if self._websocket:
            if headers.get("sec-websocket-accept") != accept_key(self._key):
                raise EngineError(f"{self._address.name} sent a wrong Sec-WebSocket-Accept")
            chosen = headers.get("sec-websocket-protocol", "")
        else:
            chosen = headers.get(protocols.VERSION_HEADER.lower(), "")
            # A server that names no version speaks the first one there was (client-go, remotecommand).
            if not chosen and protocols.V1.name in self._offered:
                chosen = protocols.V1.name
        if chosen not in self._offered:
            raise Unsupported(f"{self._address.name} chose protocol {chosen!r}, which was not offered")
        return chosen

    def _refused(self, answer: h11.Response) -> CriadaptError:
        text = self._text.decode("utf-8", "replace").strip()
        said = f"{self._address.name} answered {answer.status_code}" + (f": {text}" if text else "")
        if answer.status_code == 404:
            return NotFound(f"{said}; a streaming URL works once, and for a minute")
        if answer.status_code == 403:
            other = " over WebSocket; most runtimes speak SPDY only" if self._websocket else ""
            return Unsupported(f"{said}; it does not speak {', '.join(self._offered)}{other}")
        if answer.status_code in (429, 503):
            return Unavailable(said)
        return EngineError(said)
