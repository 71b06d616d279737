"""The engine in one SQLite file: the default, durable, shared by several processes."""

from trunkline.log.sqlite.engine import SQLiteLog

__all__ = ["SQLiteLog"]
