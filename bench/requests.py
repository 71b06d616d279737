"""What the load client sends: requests whose numbers it fills in for each connection.

A run of ``@`` stands for the connection's number, a run of ``#`` for its channel's.
"""

from __future__ import annotations

import json

CHANNEL = "/bench/###"


def request_of(protocol: str, server: str) -> bytes:
    """Return the request that opens a stream.

    Args:
        protocol: ``sse``, ``poll`` or ``ws``.
        server: ``trunkline``, or ``uvicorn`` for the plain fan-out.
    """
    if protocol == "ws":
        path = "/ws" if server == "trunkline" else "/ws?###"
        return (
            f"GET {path} HTTP/1.1\r\nHost: bench\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        ).encode()
    if protocol == "sse":
        query = f"channel={CHANNEL}" if server == "trunkline" else "###"
        return f"GET /sse?{query} HTTP/1.1\r\nHost: bench\r\n\r\n".encode()
    path = "/message-bus/bench@@@@@/poll" if server == "trunkline" else "/poll?###"
    body = json.dumps({CHANNEL: -1})
    return (
        f"POST {path} HTTP/1.1\r\nHost: bench\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(body)}\r\n\r\n{body}"
    ).encode()


def subscription_of() -> bytes:
    """Return the frame that subscribes on a WebSocket, masked with zeros."""
    text = json.dumps({"id": 1, "type": "subscribe", "channels": [CHANNEL]}).encode()
    return bytes([0x81, 0x80 | len(text), 0, 0, 0, 0]) + text
