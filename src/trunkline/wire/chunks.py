r"""message_bus's stream framing: blocks that end in a separator, each in an HTTP chunk of its own.

A block is a JSON array followed by ``CR LF | CR LF``. Proxies may cut HTTP chunks anew, so readers
split on the separator and on nothing else. A separator within the text is doubled
(``CR LF || CR LF``); JSON never contains one, for it escapes line breaks within strings and has no
bar outside of them.
"""

from __future__ import annotations

from typing import Final

from trunkline.errors import ProtocolError

SEPARATOR: Final = b"\r\n|\r\n"
ESCAPED: Final = b"\r\n||\r\n"
EMPTY_BLOCK: Final = b"[]" + SEPARATOR
EMPTY_CHUNK: Final = b"7\r\n" + EMPTY_BLOCK + b"\r\n"
LAST_CHUNK: Final = b"0\r\n\r\n"
FINAL_CHUNKS: Final = EMPTY_CHUNK + LAST_CHUNK


def block(array: bytes) -> bytes:
    """Frame a JSON array as a block, without an HTTP chunk around it.

    Args:
        array: A JSON array, UTF-8.

    Returns:
        The array and the separator.
    """
    # Doubling one separator can leave another that overlapped it, hence the loop.
    while SEPARATOR in array:
        array = array.replace(SEPARATOR, ESCAPED)
    return array + SEPARATOR


def chunk(part: bytes) -> bytes:
    """Wrap bytes in one HTTP chunk (RFC 9112 section 7.1), its length in lower-case hex.

    Args:
        part: Any bytes. Nothing becomes nothing, for a chunk of length 0 would end the response.

    Returns:
        The chunk.
    """
    return b"%x\r\n%b\r\n" % (len(part), part) if part else b""


def block_chunk(array: bytes) -> bytes:
    """Frame a JSON array as a block in its own HTTP chunk, as written to a held connection."""
    return chunk(block(array))


class BlockDecoder:
    """Split a stream of blocks wherever the network cut it.

    Args:
        limit: The most bytes a block may have.
    """

    __slots__ = ("_buffer", "_limit")

    def __init__(self, limit: int = 16 * 1024 * 1024) -> None:
        self._buffer = bytearray()
        self._limit = limit

    @property
    def pending(self) -> int:
        """Count the bytes of a block whose separator has not come yet."""
        return len(self._buffer)

    def feed(self, data: bytes) -> list[bytes]:
        """Take bytes from the network and return the blocks they complete, unescaped.

        Args:
            data: The next bytes of the response's body, HTTP chunks already removed.

        Returns:
            The JSON arrays, in order.

        Raises:
            ProtocolError: A block is over the limit.
        """
        buffer = self._buffer
        scanned = max(0, len(buffer) - len(SEPARATOR) + 1)
        buffer += data
        blocks = []
        start = 0
        while (end := buffer.find(SEPARATOR, max(start, scanned))) >= 0:
            self._check(end - start)
            blocks.append(bytes(buffer[start:end]).replace(ESCAPED, SEPARATOR))
            start = end + len(SEPARATOR)
        del buffer[:start]
        self._check(len(buffer) - len(SEPARATOR))
        return blocks

    def _check(self, size: int) -> None:
        if size > self._limit:
            self._buffer.clear()
            raise ProtocolError(
                f"a block of the stream has more than {self._limit} bytes", close_code=1009
            )
