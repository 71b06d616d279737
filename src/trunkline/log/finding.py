"""What an examination finds: one line of ``trunkline doctor``."""

from __future__ import annotations

from typing import Literal

import msgspec

Level = Literal["ok", "warn", "fail"]


class Finding(msgspec.Struct, frozen=True, omit_defaults=True):
    """Say what was looked at and how it is.

    Args:
        level: ``ok``; ``warn`` for what costs speed or comfort; ``fail`` for what loses messages
            or keeps the line from working.
        subject: What was looked at.
        detail: How it is.
        fix: What to do about it.
    """

    level: Level
    subject: str
    detail: str
    fix: str = ""
