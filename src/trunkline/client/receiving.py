"""What comes on a WebSocket, for whoever talks over one: texts, or a reason to connect again."""

from __future__ import annotations

from typing import TYPE_CHECKING

from trunkline.client.failures import Interruption
from trunkline.errors import ProtocolError
from trunkline.wire.frames import Opcode

if TYPE_CHECKING:
    import aiohttp


async def receive_text(socket: aiohttp.ClientWebSocketResponse, silence_timeout: float) -> str:
    """Return the next text that the server sends.

    Args:
        socket: The connection.
        silence_timeout: Seconds after which a silent server is given up.

    Raises:
        Interruption: It fell silent, or closed the socket.
        ProtocolError: It sent something else than text.
    """
    try:
        message = await socket.receive(silence_timeout)
    except TimeoutError:
        raise Interruption("the server fell silent") from None
    if isinstance(message.data, str) and message.type.value == Opcode.TEXT:
        return message.data
    if message.type.value == Opcode.BINARY:
        raise ProtocolError("the server sent a binary frame")
    raise Interruption(f"the socket was closed with {socket.close_code}")
