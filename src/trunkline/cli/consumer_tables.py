"""What ``trunkline consumers`` prints: tables for people, JSON for programs."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import msgspec

from trunkline.channels.consumers import Consumers, ConsumerState
from trunkline.cli.table import moment, print_table
from trunkline.store.parked_table import ParkedMessage


async def print_list(consumers: Consumers, *, as_json: bool) -> None:
    """Print all consumers."""
    found = await consumers.list()
    if as_json:
        for one in found:
            print(json.dumps(_object(one)))
        return
    print_table(
        ("consumer", "status", "behind", "parked", "holder", "channels"),
        (
            (
                one.name,
                one.status,
                one.behind,
                one.parked,
                one.holder or "-",
                " ".join(one.channels),
            )
            for one in found
        ),
    )


async def print_one(consumers: Consumers, name: str, *, as_json: bool) -> None:
    """Print everything about a consumer."""
    one, gaps = await consumers.show(name), await consumers.gaps(name)
    told = _object(one)
    if as_json:
        print(json.dumps({**told, "gaps": [gap._asdict() for gap in gaps]}))
        return
    told["channels"] = " ".join(one.channels)
    told["moved_at"] = moment(one.moved_at)
    told["keep"] = "" if one.keep is None else json.dumps(told["keep"])
    print_table(("", ""), ((name, value) for name, value in told.items()))
    for gap in gaps:
        print(f"gap ({gap.reason}) after {gap.position} up to {gap.floor}, {moment(gap.met_at)}")


async def print_lag(consumers: Consumers, name: str, *, as_json: bool) -> None:
    """Print how far a consumer is behind."""
    lag = await consumers.lag(name)
    if as_json:
        print(json.dumps({"name": name, **msgspec.structs.asdict(lag)}))
        return
    more = "more than " if lag.is_more else ""
    age = f", the oldest {lag.seconds:.1f} s old" if lag.messages else ""
    gap = "; messages before them are gone" if lag.is_broken else ""
    print(f"{more}{lag.messages} messages{age}{gap}")


def print_parked(found: Sequence[ParkedMessage], *, as_json: bool) -> None:
    """Print parked messages."""
    if as_json:
        for one in found:
            print(json.dumps(_parked(one)))
        return
    print_table(
        ("number", "state", "tries", "key", "channel", "id", "error"),
        (
            (
                one.seq,
                one.state,
                one.attempts,
                one.key,
                one.record.channel,
                one.record.message_id,
                one.error,
            )
            for one in found
        ),
    )


def _object(one: ConsumerState) -> dict[str, Any]:
    told: dict[str, Any] = msgspec.to_builtins(one)
    return {**told, "position": str(one.position)}


def _parked(one: ParkedMessage) -> dict[str, Any]:
    record = one.record
    return {
        "number": one.seq,
        "state": str(one.state),
        "attempts": one.attempts,
        "key": one.key,
        "channel": record.channel.name,
        "site_id": record.channel.site_id,
        "message_id": record.message_id,
        "global_id": record.global_id,
        "data": msgspec.json.decode(record.data),
        "error": one.error,
        "due_at": one.due_at,
        "parked_at": one.parked_at,
    }
