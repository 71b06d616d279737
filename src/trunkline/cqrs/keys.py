"""Command keys: the same key again brings the first result, with another payload an error."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from itertools import groupby
from typing import Any

import msgspec

from trunkline.cqrs.catalog import Catalog
from trunkline.cqrs.command import Recorded
from trunkline.cqrs.result import Result
from trunkline.errors import InvalidMessageError, KeyReusedError
from trunkline.log.port import Log
from trunkline.model.channel import ChannelKey
from trunkline.model.message import MAX_KEY_BYTES
from trunkline.model.position import Position
from trunkline.store.command_table import Known

_encoder = msgspec.json.Encoder()


class Kept(msgspec.Struct, frozen=True):
    """Be a result as it is kept.

    Args:
        events: Tenant, channel and version of each, in order.
        reply: What the deciding function gave back beside events.
        values: What other handlers gave back.
        data: The same, merged.
        deferred: Commands that were left to run after the commit.
        attempts: How often it was decided.
    """

    events: Sequence[tuple[str | None, str, int]] = ()
    reply: Any = None
    values: dict[str, Any] = {}
    data: dict[str, Any] = {}
    deferred: list[str] = []
    attempts: int = 1


_decoder = msgspec.json.Decoder(Kept)


def checked_key(key: str) -> str:
    """Return a key, or raise when it is none.

    Raises:
        InvalidMessageError: It is empty, too long or no text.
    """
    if not isinstance(key, str) or not key or len(key.encode(errors="replace")) > MAX_KEY_BYTES:
        raise InvalidMessageError(f"a command's key is text of 1 to {MAX_KEY_BYTES} bytes: {key!r}")
    return key


def fingerprint(name: str, command: Any) -> bytes:
    """Return a digest of what must be equal when a key returns.

    Args:
        name: The command's stored name.
        command: The command as it was sent.
    """
    digest = hashlib.blake2b(name.encode() + b"\0", digest_size=16)
    digest.update(_encoder.encode(command))
    return digest.digest()


def kept(result: Result, events: Sequence[tuple[str | None, str, int]]) -> bytes:
    """Return a result as it is kept.

    Raises:
        InvalidMessageError: A handler gave back what JSON can't carry.
    """
    try:
        return _encoder.encode(
            Kept(
                events=events,
                reply=result.reply,
                values=result.values,
                data=result.data,
                deferred=result.deferred,
                attempts=result.attempts,
            )
        )
    except (TypeError, ValueError, RecursionError, msgspec.MsgspecError) as error:
        raise InvalidMessageError(
            f"what handlers of {result.name!r} gave back can't be kept under a key: {error}"
        ) from error


async def repeated(known: Known, key: str, print_: bytes, log: Log, catalog: Catalog) -> Result:
    """Return what a key came to the first time.

    Args:
        known: What is kept under it.
        key: The key.
        print_: Of the command that is sent now.
        log: Has its events.
        catalog: Decodes them.

    Raises:
        KeyReusedError: It was used for another command, or for other fields.
    """
    if known.fingerprint != print_:
        raise KeyReusedError(known.name, key)
    found = _decoder.decode(known.result)
    result = Result(known.command_id, known.name, key)
    result.is_repeat = True
    result.reply, result.values, result.data = found.reply, found.values, found.data
    result.deferred, result.attempts = found.deferred, found.attempts
    result.events, epoch = await _events(found.events, log, catalog)
    if result.events:
        result.position = Position(epoch, max(one.position for one in result.events))
    return result


async def _events(
    wanted: Sequence[tuple[str | None, str, int]], log: Log, catalog: Catalog
) -> tuple[tuple[Recorded[Any], ...], str]:
    found: dict[tuple[str | None, str, int], Recorded[Any]] = {}
    epoch = ""
    for (site, name), run in groupby(sorted(wanted, key=_place), key=lambda one: one[:2]):
        versions = [one[2] for one in run]
        after, last = versions[0] - 1, versions[-1]
        while after < last:
            page = await log.read(ChannelKey(name, site), after, last - after)
            epoch = page.epoch
            for record in page.records:
                found[site, name, record.message_id] = catalog.recorded(record)
            after = page.upto if page.records else last
    return tuple(
        found[site, name, at] for site, name, at in wanted if (site, name, at) in found
    ), epoch


def _place(one: tuple[str | None, str, int]) -> tuple[str, str, int]:
    return (one[0] or "", one[1], one[2])
