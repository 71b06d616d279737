"""What the tests of guard and outlet share: outlets, names that lead anywhere, raw answers."""

from __future__ import annotations

import contextlib
import socket

import aiohttp
import pytest
from aiohttp.abc import AbstractResolver

from trunkline.webhooks.guard import Egress, GuardedConnector
from trunkline.webhooks.outlet import Call, CallFailedError, Outlet

STRICT = Egress(http=True)
LOOPBACK = Egress(http=True, networks=("127.0.0.0/8",))
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


class Names(AbstractResolver):
    """Give addresses as the test says, a new answer at each look."""

    def __init__(self, *answers: list[str]) -> None:
        self.answers = list(answers)
        self.asked = 0

    async def resolve(self, host, port=0, family=socket.AF_INET):
        self.asked += 1
        found = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        return [
            {
                "hostname": host,
                "host": one,
                "port": port,
                "family": socket.AF_INET6 if ":" in one else socket.AF_INET,
                "proto": 0,
                "flags": 0,
            }
            for one in found
        ]

    async def close(self) -> None:
        pass


async def says(writer, data: bytes) -> None:
    writer.write(data)
    await writer.drain()


async def ok(reader, writer) -> None:
    await reader.readuntil(b"\r\n\r\n")
    await says(writer, OK)


@contextlib.asynccontextmanager
async def outlet_of(egress=LOOPBACK, **options):
    outlet = Outlet(egress, **options)
    await outlet.open()
    try:
        yield outlet
    finally:
        await outlet.close()


@contextlib.asynccontextmanager
async def named(egress, names, **options):
    connector = GuardedConnector(egress, resolver=names, use_dns_cache=False, **options)
    async with (
        aiohttp.ClientSession(connector=connector) as session,
        outlet_of(egress, session=session) as outlet,
    ):
        yield outlet


async def send(outlet, url, **values):
    return await outlet.send(Call(purpose="delivery", url=url, body=b"{}", **values))


async def refused(outlet, url, **values) -> CallFailedError:
    with pytest.raises(CallFailedError) as told:
        await send(outlet, url, **values)
    return told.value
