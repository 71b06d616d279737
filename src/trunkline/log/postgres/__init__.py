"""The engine on PostgreSQL: one line for many processes and machines, appended to at its tail."""

from trunkline.log.postgres.engine import PostgresLog

__all__ = ["PostgresLog"]
