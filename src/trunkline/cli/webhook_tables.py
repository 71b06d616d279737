"""What the commands of the webhooks print: tables for people, JSON for programs."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from trunkline.cli.table import moment, print_table
from trunkline.webhooks.app import App
from trunkline.webhooks.connection import Connection
from trunkline.webhooks.keys import key_json
from trunkline.webhooks.ring import SecretInfo
from trunkline.webhooks.transmissions import AttemptInfo, TransmissionInfo


def print_apps(found: Sequence[App], *, as_json: bool) -> None:
    """Print apps."""
    if as_json:
        _print_json(found)
        return
    rows = (
        (
            one.id,
            one.indicator or "-",
            one.name,
            one.endpoint_state or "-",
            " ".join(one.signals) or "-",
            one.signal_url or "-",
        )
        for one in found
    )
    print_table(("app", "indicator", "name", "state", "signals", "signal_url"), rows)


def print_app(one: App, secrets: Sequence[SecretInfo], *, as_json: bool) -> None:
    """Print everything about an app, its secrets as hints."""
    told = _object(one)
    if as_json:
        print(json.dumps({**told, "secrets": [_object(secret) for secret in secrets]}))
        return
    for name in ("signals", "account_types"):
        told[name] = " ".join(told[name])
    for name in ("configuration", "options"):
        told[name] = json.dumps(told[name])
    print_table(("", ""), _pairs(told))
    for secret in secrets:
        end = "" if secret.expires_at is None else f", until {moment(secret.expires_at)}"
        print(f"secret for {secret.purpose} {secret.hint}{end}")


def print_connections(found: Sequence[Connection], *, as_json: bool) -> None:
    """Print connections."""
    if as_json:
        for one in found:
            print(json.dumps({**_object(one), "pending": one.pending}))
        return
    rows = (
        (
            one.id,
            one.app_name,
            one.account_type,
            _key(one.account_id),
            " ".join(one.signals) or "-",
            " ".join(one.pending) or "-",
        )
        for one in found
    )
    print_table(("connection", "app", "type", "account", "granted", "waiting"), rows)


def print_transmissions(found: Sequence[TransmissionInfo], *, as_json: bool) -> None:
    """Print transmissions."""
    if as_json:
        _print_json(found)
        return
    rows = (
        (
            one.seq,
            one.id,
            one.state,
            f"{one.signal_name}.{one.action}",
            "-" if one.object_id is None else _key(one.object_id),
            f"{one.account_type} {_key(one.account_id)}",
            one.attempts,
            moment(one.created_at),
            one.last_error or "-",
        )
        for one in found
    )
    titles = ("number", "id", "state", "signal", "object", "account", "tries", "created", "error")
    print_table(titles, rows)


def print_transmission(
    one: TransmissionInfo, attempts: Sequence[AttemptInfo], *, as_json: bool
) -> None:
    """Print a transmission and its attempts."""
    told = _object(one)
    if as_json:
        print(json.dumps({**told, "tries": [_attempt(attempt) for attempt in attempts]}))
        return
    told["context"] = json.dumps(told["context"])
    print_table(("", ""), _pairs(told))
    if attempts:
        rows = (
            (
                attempt.number,
                moment(attempt.started_at),
                attempt.outcome,
                attempt.status or "-",
                attempt.error or "-",
            )
            for attempt in attempts
        )
        print_table(("try", "at", "outcome", "status", "error"), rows)


def print_counts(counts: Mapping[str, int], *, as_json: bool) -> None:
    """Print how many there are of each state."""
    if as_json:
        print(json.dumps(dict(counts)))
    else:
        print_table(("state", "count"), counts.items())


def _pairs(told: Mapping[str, Any]) -> list[tuple[str, Any]]:
    return [
        (name, moment(value) if name.endswith("_at") else "-" if value is None else value)
        for name, value in told.items()
    ]


def _attempt(one: AttemptInfo) -> dict[str, Any]:
    bodies = {
        name: None if body is None else body.decode(errors="replace")
        for name, body in (
            ("request_body", one.request_body),
            ("response_body", one.response_body),
        )
    }
    return {**msgspec.structs.asdict(one), **bodies}


def _print_json(found: Sequence[Any]) -> None:
    for one in found:
        print(json.dumps(_object(one)))


def _object(one: Any) -> dict[str, Any]:
    """Return a struct as JSON, ids with their types."""
    told = msgspec.structs.asdict(one)
    for name in ("account_id", "object_id"):
        if told.get(name) is not None:
            told[name] = key_json(told[name])
    plain: dict[str, Any] = msgspec.to_builtins(told)
    return plain


def _key(key: Any) -> str:
    return json.dumps(key) if isinstance(key, str) else str(key)
