"""Connections to one PostgreSQL database, made with the settings that the guarantees rest on."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Mapping
from typing import Any, Final, TypeAlias

import asyncpg

from trunkline.errors import LogError, LogUnavailableError
from trunkline.sql.postgres.address import Address
from trunkline.sql.postgres.faults import FAILURES, fault_of

#: An ``asyncpg.Connection``, or what a pool lends in its place; the driver has no types.
Connection: TypeAlias = Any

OLDEST_SERVER: Final = 140000
CONNECT_WITHIN: Final = 10.0


class Database:
    """Make and take back connections, from the application's pool if there is one.

    Args:
        address: Where the database is.
    """

    def __init__(self, address: Address) -> None:
        self.address = address

    async def connect(self, *, within: float = CONNECT_WITHIN) -> Connection:
        """Return a connection that nobody else uses.

        Args:
            within: Seconds it may take.

        Raises:
            LogError: There is none to be had; the message names the cause and the fix.
        """
        pool = self.address.pool
        try:
            async with asyncio.timeout(within):
                if pool is not None:
                    return await pool.acquire()
                return await asyncpg.connect(self.address.dsn or None, **self._arguments())
        except TimeoutError as error:
            raise LogUnavailableError(
                f"{self.address.place} does not answer within {within:.1f} s: see that it runs, "
                "and that no firewall is in between"
            ) from error
        except (*FAILURES, ValueError) as error:
            raise fault_of(error, self.address) from error

    async def give_back(self, connection: Connection) -> None:
        """Let go of a connection that is in order."""
        with contextlib.suppress(*FAILURES):
            if self.address.pool is not None:
                await self.address.pool.release(connection)
            else:
                await connection.close(timeout=2.0)

    def discard(self, connection: Connection) -> None:
        """Cut a connection that is in doubt."""
        connection.terminate()
        # A pool takes the news of it by itself.

    def _arguments(self) -> Mapping[str, Any]:
        given = dict(self.address.driver)
        if self.address.is_pooled:
            given.setdefault("statement_cache_size", 0)
            return given
        settings = {
            "application_name": "trunkline",
            "idle_in_transaction_session_timeout": _milliseconds(self.address.idle_timeout),
            "jit": "off",
            # What is done by a statement alone is done as in our transactions.
            "default_transaction_isolation": "read committed",
            **(given.get("server_settings") or {}),
        }
        return {**given, "server_settings": settings}


async def check_server(connection: Connection, address: Address) -> None:
    """Check that a server can carry what we keep.

    Raises:
        LogError: It is too old, its text is not UTF-8, or it only reads.
    """
    version, encoding, is_standby = await connection.fetchrow(
        "SELECT current_setting('server_version_num')::int, "
        "current_setting('server_encoding'), pg_is_in_recovery()"
    )
    if version < OLDEST_SERVER:
        raise LogError(
            f"{address.place} is PostgreSQL {version // 10000}: "
            f"upgrade it to {OLDEST_SERVER // 10000} or newer"
        )
    if encoding != "UTF8":
        raise LogError(
            f"{address.place} keeps text as {encoding}: create a database with ENCODING 'UTF8'"
        )
    if is_standby:
        raise LogUnavailableError(
            f"{address.place} is a standby and only reads: name the primary, or several hosts "
            "with target_session_attrs=primary"
        )


def _milliseconds(seconds: float) -> str:
    return str(max(1, round(seconds * 1000)))
