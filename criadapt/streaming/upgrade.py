"""Which protocol a client gets: the rules for its HTTP request, as k8s.io/cri-streaming has them.

Pure: a request in; an answer out, together with the protocol that follows it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import h11

from criadapt.remote import protocols
from criadapt.remote.protocols import Version
from criadapt.remote.websocket import accept_key

Headers = list[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class Agreed:
    """The protocol that the connection goes on in, and the headers of the 101 that says so.

    `version` is None for port-forward streams, which have none, whether over SPDY or tunnelled.
    """

    websocket: bool
    version: Version | None
    headers: Headers


class Refused(Exception):
    """The request gets this answer, and the connection is closed."""

    def __init__(self, status: int, text: str, headers: Iterable[tuple[str, str]] = ()) -> None:
        super().__init__(text)
        self.status = status
        self.text = text
        self.headers = list(headers)


def check_method(request: h11.Request) -> None:
    """Raises Refused for a method that leads nowhere."""
    if request.method not in (b"GET", b"POST"):
        text = "" if request.method == b"HEAD" else "only GET and POST\n"  # an answer to HEAD has no body
        raise Refused(405, text, [("Allow", "GET, POST")])


def target(request: h11.Request) -> tuple[str, str]:
    """Kind and token that the request's path names. Raises Refused."""
    path = request.target.partition(b"?")[0].decode("ascii", "replace")
    parts = path.split("/")
    if len(parts) != 3 or parts[0] or parts[1] not in ("exec", "attach", "portforward"):
        raise Refused(404, "404 page not found\n")
    return parts[1], parts[2]


def agree(request: h11.Request, *, ports: bool) -> Agreed:
    """The protocol for a request of exec and attach, or, with `ports`, of port-forward. Raises Refused."""
    upgrades = [value.lower() for value in _values(request, b"upgrade")]
    connects = any("upgrade" in value.lower() for value in _values(request, b"connection"))
    if connects and protocols.WEBSOCKET in upgrades:
        return _over_websocket(request, ports=ports)
    offered = _values(request, protocols.VERSION_HEADER.lower().encode())
    if not offered:
        raise Refused(400, f"unable to upgrade: header {protocols.VERSION_HEADER} does not exist or has no value\n")
    known: Mapping[str, Version | None] = {protocols.PORT_FORWARD: None} if ports else protocols.OVER_SPDY
    chosen = next((name for name in offered if name in known), None)
    if chosen is None:
        raise Refused(
            403,
            f"unable to upgrade: none of {', '.join(offered)} is spoken here, but {', '.join(known)}\n",
            [(protocols.ACCEPTED_HEADER, name) for name in known],
        )
    if not connects or protocols.SPDY.lower() not in upgrades:
        raise Refused(400, f"unable to upgrade: missing upgrade headers; ask for Upgrade: {protocols.SPDY}\n")
    headers = [("Connection", "Upgrade"), ("Upgrade", protocols.SPDY), (protocols.VERSION_HEADER, chosen)]
    return Agreed(False, known[chosen], headers)


def _over_websocket(request: h11.Request, *, ports: bool) -> Agreed:
    if request.method != b"GET":
        raise Refused(405, "a WebSocket begins with GET\n", [("Allow", "GET")])
    if _values(request, b"sec-websocket-version") != ["13"]:
        raise Refused(400, "WebSocket version 13 is spoken here\n", [("Sec-WebSocket-Version", "13")])
    keys = _values(request, b"sec-websocket-key")
    if len(keys) != 1:
        raise Refused(400, "Sec-WebSocket-Key is missing\n")
    known: dict[str, Version | None] = {**(protocols.PORTS_OVER_WEBSOCKET if ports else protocols.OVER_WEBSOCKET)}
    if ports:
        known[protocols.TUNNEL] = None
    offered = _values(request, b"sec-websocket-protocol")
    chosen = next((name for name in offered if name in known), None)
    if offered and chosen is None:
        raise Refused(403, "")  # as the reference has it
    headers = [("Connection", "Upgrade"), ("Upgrade", "websocket"), ("Sec-WebSocket-Accept", accept_key(keys[0]))]
    if chosen is None:
        return Agreed(True, protocols.WS_V4 if ports else protocols.WS_V1, headers)
    return Agreed(True, known[chosen], [*headers, ("Sec-WebSocket-Protocol", chosen)])


def _values(request: h11.Request, name: bytes) -> list[str]:
    """All values of a header, whether on lines of their own or between commas."""
    lines = (value.decode("latin-1") for key, value in request.headers if key == name)
    return [value.strip() for line in lines for value in line.split(",") if value.strip()]
