"""Durations, sizes and switches as people write them: ``7d``, ``64MiB``, ``yes``."""

from __future__ import annotations

import re
from typing import Any, Final

from trunkline.errors import ConfigError

SECONDS: Final = {
    "ms": 0.001,
    "s": 1.0,
    "m": 60.0,
    "min": 60.0,
    "h": 3600.0,
    "d": 86400.0,
    "w": 7 * 86400.0,
}
BYTES: Final = {
    "b": 1,
    "kb": 1000,
    "mb": 1000**2,
    "gb": 1000**3,
    "tb": 1000**4,
    "kib": 1024,
    "mib": 1024**2,
    "gib": 1024**3,
    "tib": 1024**4,
}
SWITCHES: Final = {
    "1": True,
    "true": True,
    "yes": True,
    "on": True,
    "0": False,
    "false": False,
    "no": False,
    "off": False,
    "": False,
}
_QUANTITY: Final = re.compile(r"\s*([0-9][0-9_]{0,30}(?:\.[0-9]{1,9})?)\s*([A-Za-z]{0,3})\s*\Z")


def number(name: str, text: str) -> int | float:
    """Read a plain number.

    Args:
        name: Names it in the error.
        text: Digits, with underscores and a point if wanted.

    Raises:
        ConfigError: The text is none.
    """
    value, unit = _parts(name, text, "a number such as 1000")
    if unit:
        raise ConfigError(f"{name}={text!r} takes no unit: write {value}")
    return value


def duration(name: str, text: str) -> int | float:
    """Read seconds, or a number with one of the units ms, s, m, h, d, w.

    Args:
        name: Names it in the error.
        text: For instance ``15``, ``1.5s``, ``7d``.

    Returns:
        Seconds.

    Raises:
        ConfigError: The text is none.
    """
    value, unit = _parts(name, text, "seconds, or a duration such as 15s, 10m, 7d")
    if unit and unit.lower() not in SECONDS:
        raise ConfigError(f"{name}={text!r} has an unknown unit: use one of {', '.join(SECONDS)}")
    return value * SECONDS[unit.lower()] if unit else value


def size(name: str, text: str) -> int:
    """Read bytes, or a number with a unit such as kB (1000) or KiB (1024).

    Args:
        name: Names it in the error.
        text: For instance ``65536``, ``1MiB``.

    Returns:
        Bytes.

    Raises:
        ConfigError: The text is none.
    """
    value, unit = _parts(name, text, "bytes, or a size such as 64KiB, 1MiB")
    if unit and unit.lower() not in BYTES:
        raise ConfigError(f"{name}={text!r} has an unknown unit: use one of B, kB, MB, KiB, MiB")
    return int(value * (BYTES[unit.lower()] if unit else 1))


def switch(name: str, value: Any) -> bool:
    """Read a switch.

    Args:
        name: Names it in the error.
        value: A boolean, or text: 1, true, yes, on; 0, false, no, off, nothing.

    Raises:
        ConfigError: It is neither.
    """
    if isinstance(value, bool):
        return value
    if isinstance(value, str) and value.strip().lower() in SWITCHES:
        return SWITCHES[value.strip().lower()]
    raise ConfigError(f"{name}={value!r} must be true or false")


def _parts(name: str, text: str, wanted: str) -> tuple[int | float, str]:
    found = _QUANTITY.match(text)
    if found is None:
        raise ConfigError(f"{name}={text!r} must be {wanted}")
    digits = found[1].replace("_", "")
    return (float(digits) if "." in digits else int(digits)), found[2]
