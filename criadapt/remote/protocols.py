"""The names under which clients ask for a protocol, and what each can do.

Sources: KEP-4006; k8s.io/streaming and k8s.io/cri-streaming, whose behaviour towards clients is followed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

SPDY: Final = "SPDY/3.1"
WEBSOCKET: Final = "websocket"

PORT_FORWARD: Final = "portforward.k8s.io"
"""Port-forward over SPDY."""

TUNNEL: Final = "SPDY/3.1+portforward.k8s.io"
"""Port-forward over SPDY inside WebSocket messages."""

VERSION_HEADER: Final = "X-Stream-Protocol-Version"
ACCEPTED_HEADER: Final = "X-Accepted-Stream-Protocol-Versions"


@dataclass(frozen=True, slots=True)
class Version:
    """A version of the remote command protocol."""

    name: str
    resize: bool = False
    """A terminal's size can be changed."""
    json: bool = False
    """The error stream always gets a Status object; before, it got text, and only on failure."""
    stdin_ends: bool = True
    """Standard input can end while the connection goes on."""
    base64: bool = False


V1: Final = Version("channel.k8s.io", stdin_ends=False)
V2: Final = Version("v2.channel.k8s.io")
V3: Final = Version("v3.channel.k8s.io", resize=True)
V4: Final = Version("v4.channel.k8s.io", resize=True, json=True)

OVER_SPDY: Final = {version.name: version for version in (V4, V3, V2, V1)}
"""Remote command over SPDY. v5 would add nothing there."""

WS_V5: Final = Version("v5.channel.k8s.io", resize=True, json=True)
WS_V4: Final = Version("v4.channel.k8s.io", resize=True, json=True, stdin_ends=False)
WS_V1: Final = Version("channel.k8s.io", resize=True, stdin_ends=False)
WS_V4_BASE64: Final = Version("v4.base64.channel.k8s.io", resize=True, json=True, stdin_ends=False, base64=True)
WS_V1_BASE64: Final = Version("base64.channel.k8s.io", resize=True, stdin_ends=False, base64=True)

OVER_WEBSOCKET: Final = {version.name: version for version in (WS_V5, WS_V4, WS_V1, WS_V4_BASE64, WS_V1_BASE64)}
"""Remote command over WebSocket; a client that names none gets :data:`WS_V1`."""

PORTS_OVER_WEBSOCKET: Final = {version.name: version for version in (WS_V4, WS_V4_BASE64)}
"""Port-forward over WebSocket channels; a client that names none gets :data:`WS_V4`."""
