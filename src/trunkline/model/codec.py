"""Strict JSON: what goes in comes out the same for every peer, or is refused before storing."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import msgspec

from trunkline.errors import UnencodableDataError

_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder()


def encode(data: Any) -> bytes:
    """Encode *data* as compact UTF-8 JSON.

    Args:
        data: Anything strict JSON can carry; a ``msgspec.Raw`` is checked and taken as it is.

    Returns:
        The JSON text.

    Raises:
        UnencodableDataError: It holds NaN, an infinity, a lone surrogate or a foreign type, or
            nests too deep.
    """
    try:
        if isinstance(data, msgspec.Raw):
            _decoder.decode(data)
            return bytes(data).strip()
        text = _encoder.encode(data)
    except (TypeError, ValueError, OverflowError, RecursionError, msgspec.MsgspecError) as error:
        raise UnencodableDataError(f"this data is no strict JSON: {error}") from error
    # msgspec writes NaN and the infinities as null, so only a text with a null can hide one.
    if b"null" in text and _has_non_finite(data):
        raise UnencodableDataError(
            "this data is no strict JSON: NaN and infinities are not allowed"
        )
    return text


def decode(text: bytes | str) -> Any:
    """Decode strict JSON.

    Args:
        text: UTF-8 JSON.

    Returns:
        The value, made of dict, list, str, int, float, bool and None.

    Raises:
        UnencodableDataError: The text is no strict JSON.
    """
    try:
        return _decoder.decode(text)
    except (ValueError, RecursionError, msgspec.MsgspecError) as error:
        raise UnencodableDataError(f"this is no strict JSON: {error}") from error


def _has_non_finite(data: Any) -> bool:
    if isinstance(data, float):
        return not math.isfinite(data)
    if isinstance(data, Mapping):
        return any(_has_non_finite(one) for pair in data.items() for one in pair)
    if isinstance(data, (list, tuple, set, frozenset)):
        return any(map(_has_non_finite, data))
    if isinstance(data, (str, bytes, int)) or data is None:
        return False
    return _has_non_finite(msgspec.to_builtins(data))
