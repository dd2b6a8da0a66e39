"""How Kubernetes carries exec, attach and port-forward: what both ends need, the server's and the client's.

Modules here do no I/O, except for the two rooms `aio` and `sync`: the same session over an asyncio or a blocking
socket. Everything below them is a multiplexer (:class:`criadapt.remote.mux.Mux`) in one of three wire forms: SPDY,
WebSocket messages that begin with a channel number, and SPDY inside WebSocket messages.
"""
