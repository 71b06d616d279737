"""From a publish as an application writes it to a draft as a log takes it: checked and encoded."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, TypedDict

import msgspec

from trunkline.errors import InvalidMessageError
from trunkline.model import codec
from trunkline.model.audience import audience_of
from trunkline.model.channel import GLOBAL_PREFIX, writable_key
from trunkline.model.identity import Id
from trunkline.model.message import MAX_KEY_BYTES, Draft

_AUDIENCE = (
    "user_ids",
    "group_ids",
    "client_ids",
    "exclude_user_ids",
    "exclude_group_ids",
    "exclude_client_ids",
)


class PublishOptions(TypedDict, total=False):
    """Be the options of a publish, all of them optional.

    Attributes:
        user_ids: Only these users receive it, or members of *group_ids*.
        group_ids: Only members of these groups receive it, or *user_ids*.
        client_ids: Only these clients receive it.
        exclude_user_ids: These users don't receive it.
        exclude_group_ids: Members of these groups don't receive it.
        exclude_client_ids: These clients don't receive it.
        site_id: The tenant, instead of the one the site lookup gives.
        headers: A JSON object that travels with the message.
        key: Idempotency key, scoped to the channel, remembered for 24 hours.
        max_backlog_size: Trim the channel to this size now, if it has no settings of its own.
        max_backlog_age: Trim the channel to this age, seconds, likewise.
    """

    user_ids: Iterable[Id] | None
    group_ids: Iterable[Id] | None
    client_ids: Iterable[str] | None
    exclude_user_ids: Iterable[Id] | None
    exclude_group_ids: Iterable[Id] | None
    exclude_client_ids: Iterable[str] | None
    site_id: str | None
    headers: Mapping[str, Any] | None
    key: str | None
    max_backlog_size: int | None
    max_backlog_age: float | None


def draft_of(
    channel: str,
    data: Any,
    options: PublishOptions,
    *,
    site_id: str | None,
    internal: bool = False,
) -> Draft:
    """Check a publish and encode it.

    Args:
        channel: The channel's name.
        data: Any JSON value.
        options: As given by the caller.
        site_id: The tenant where *options* name none.
        internal: Whether Trunkline's own channels are allowed.

    Returns:
        The draft.

    Raises:
        GrammarError: The channel or the site is outside the grammar.
        InvalidMessageError: The audience, the data, the key or a limit can't be accepted.
    """
    key = writable_key(channel, options.get("site_id", site_id), internal=internal)
    if not options:
        # Most publishes; the rest of this function costs more than all else before the append.
        return Draft(channel=key, data=codec.encode(data)).check_size()
    audience = _audience(channel, options)
    headers = options.get("headers")
    if headers is not None and not isinstance(headers, Mapping):
        raise InvalidMessageError(f"headers is a mapping, not {type(headers).__name__}")
    return Draft(
        channel=key,
        data=codec.encode(data),
        audience=audience,
        headers=codec.encode(headers) if headers else None,
        key=_checked_key(options.get("key")),
        max_backlog_size=_checked_limit("max_backlog_size", options.get("max_backlog_size"), int),
        max_backlog_age=_checked_limit("max_backlog_age", options.get("max_backlog_age"), float),
    ).check_size()


def _audience(channel: str, options: PublishOptions) -> bytes | None:
    lists: dict[str, Any] = {name: options.get(name) for name in _AUDIENCE}
    restricted = next(
        (name for name in _AUDIENCE if "client" not in name and lists[name] is not None), None
    )
    if restricted and channel.startswith(GLOBAL_PREFIX):
        raise InvalidMessageError(
            f"{restricted} on {channel!r}: a global channel reaches every site, whose users and "
            "groups differ; publish to a channel of one site, or leave it out"
        )
    audience = audience_of(**lists)
    return None if audience is None else msgspec.json.encode(audience)


def _checked_key(key: str | None) -> str | None:
    if key is None:
        return None
    if not isinstance(key, str) or not key:
        raise InvalidMessageError(f"key {key!r} must be text of 1 to {MAX_KEY_BYTES} bytes")
    try:
        size = len(key.encode())
    except UnicodeEncodeError:
        raise InvalidMessageError(f"key {key!r} is not valid UTF-8") from None
    if size > MAX_KEY_BYTES:
        raise InvalidMessageError(f"key {key[:40]!r}… must have 1 to {MAX_KEY_BYTES} bytes")
    return key


def _checked_limit(name: str, value: Any, kind: type) -> Any:
    if value is None:
        return None
    wanted = (int, float) if kind is float else (int,)
    if isinstance(value, bool) or not isinstance(value, wanted) or not value > 0:
        raise InvalidMessageError(f"{name}={value!r} must be a number above 0")
    return value
