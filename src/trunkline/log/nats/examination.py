"""Looking at a NATS line from outside: the servers, JetStream, and the streams' settings."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Final

import msgspec
from nats.aio.client import Client

from trunkline.errors import LogError
from trunkline.log.finding import Finding
from trunkline.log.nats.address import Address
from trunkline.log.nats.connection import connect
from trunkline.log.nats.courier import Courier
from trunkline.log.nats.envelope import OVERHEAD
from trunkline.log.nats.jetstream import (
    NOT_ENABLED,
    STREAM_NOT_FOUND,
    ApiError,
    JetStream,
    StreamConfig,
    StreamInfo,
    UnansweredError,
)
from trunkline.log.nats.streams import check_stream
from trunkline.model.message import MAX_MESSAGE_BYTES
from trunkline.runtime.clock import SystemClock

#: The first server with atomic batches.
OLDEST: Final = (2, 12)


def check_server(address: Address, client: Client) -> None:
    """Check that the server is new enough.

    Raises:
        LogError: It is not.
    """
    version = client.connected_server_version
    if (version.major, version.minor) < OLDEST:
        raise LogError(
            f"the NATS server at {address.place} is {version.major}.{version.minor}."
            f"{version.patch}: atomic batches need 2.12 or later; upgrade it"
        )


def examine(address: Address) -> list[Finding]:
    """Look at everything that guarantees or speed rest on; changes nothing. Blocks.

    Args:
        address: Where the line is, or shall be.
    """
    # In a thread of its own, for whoever asks may stand in an event loop.
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(asyncio.run, _examine(address)).result()


async def _examine(address: Address) -> list[Finding]:
    try:
        # A client that the application gave belongs to another loop.
        wire = await connect(address, lost=_nothing, found=_nothing)
    except LogError as error:
        return [Finding("fail", "connection", str(error), "see that the servers run")]
    courier = Courier(wire, SystemClock())
    try:
        await courier.open()
        found = list(_server(address, wire))
        jet = JetStream(courier, address.api_prefix)
        found += await _streams(address, jet)
        return found
    finally:
        courier.close()
        await wire.close()


def _nothing() -> None:
    """Do nothing about a connection that comes and goes."""


def _server(address: Address, client: Client) -> Iterator[Finding]:
    version = client.connected_server_version
    detail = f"{version.major}.{version.minor}.{version.patch} at {address.place}"
    try:
        check_server(address, client)
        yield Finding("ok", "server", detail)
    except LogError as error:
        yield Finding("fail", "server", str(error), "upgrade nats-server to 2.12 or later")
    room = client.max_payload - OVERHEAD
    detail = f"max_payload is {client.max_payload} bytes"
    if room < MAX_MESSAGE_BYTES:
        yield Finding(
            "warn",
            "message size",
            f"{detail}: messages above {room} bytes are refused",
            "set max_payload: 2MB in the servers' configuration",
        )
    else:
        yield Finding("ok", "message size", detail)


async def _streams(address: Address, jet: JetStream) -> list[Finding]:
    try:
        await jet.account()
    except ApiError as error:
        if error.number not in NOT_ENABLED:
            raise
        return [Finding("fail", "JetStream", "it is not enabled", "start nats-server with -js")]
    except UnansweredError:
        fix = "start nats-server with -js, or wait for the cluster's leader"
        return [Finding("fail", "JetStream", "it does not answer", fix)]
    found = [Finding("ok", "JetStream", "enabled")]
    names = await jet.names(f"tl.{address.line}.>")
    if not names:
        found.append(Finding("ok", "line", f"{address.line}: the first use makes its streams"))
        found.append(_durability(address, StreamConfig(num_replicas=address.replicas)))
        return found
    for name in names:
        try:
            found += _stream(address, await jet.info(name))
        except ApiError as error:
            if error.number != STREAM_NOT_FOUND:
                raise
    return found


def _stream(address: Address, info: StreamInfo) -> Iterator[Finding]:
    config, state = info.config, info.state
    detail = f"{state.messages} messages, {state.bytes / 1024**2:.1f} MiB"
    if config.name.endswith("_marks"):
        yield Finding("ok", f"stream {config.name}", detail)
        return
    try:
        check_stream(config)
    except LogError as error:
        yield Finding("fail", f"stream {config.name}", str(error), "nats stream edit")
    else:
        yield Finding("ok", f"stream {config.name}", detail)
    yield _durability(address, config)


def _durability(address: Address, config: StreamConfig) -> Finding:
    detail = f"replicas={config.num_replicas}, storage={config.storage}"
    wanted = msgspec.structs.replace(config, storage=address.storage)
    if wanted.storage == "memory" or config.storage == "memory":
        fix = "use storage=file"
        return Finding("warn", "durability", f"{detail}: a restart loses the line", fix)
    if config.num_replicas < 3 and not address.is_always_synced:
        return Finding(
            "warn",
            "durability",
            f"{detail}: survives a killed process, not a power loss",
            "use three servers and replicas=3, or set sync_interval: always in the servers' "
            "configuration and sync=always in the URL",
        )
    return Finding("ok", "durability", f"{detail}, sync={address.sync}")
