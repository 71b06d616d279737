"""What is said about who is there, on our WebSocket and over HTTP: requests, answers, changes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Annotated, Final

import msgspec

from trunkline.errors import GrammarError
from trunkline.model.pattern import is_pattern
from trunkline.wire.start import Refusal, check_channels

Id = (
    Annotated[int, msgspec.Meta(ge=-(2**63), le=2**63 - 1)]
    | Annotated[str, msgspec.Meta(max_length=128)]
)

_encoder: Final = msgspec.json.Encoder()


class Member(msgspec.Struct, frozen=True):
    """Be a client on a channel.

    Args:
        client_id: The client.
        user_id: The user behind it, None for a stranger.
    """

    client_id: str
    user_id: int | str | None = None


class Attended(msgspec.Struct, frozen=True):
    """Say who is on a channel, in the order they came."""

    channel: str
    members: list[Member]


# -- requests ---------------------------------------------------------------------------------


class FollowRequest(msgspec.Struct, frozen=True, tag_field="type", tag="follow"):
    """Ask who is on channels, and to be told who comes and who leaves.

    Args:
        id: The request's id.
        channels: Names, no patterns.
    """

    id: Id
    channels: list[str]


class UnfollowRequest(msgspec.Struct, frozen=True, tag_field="type", tag="unfollow"):
    """Give that up.

    Args:
        id: The request's id.
        channels: Names.
    """

    id: Id
    channels: list[str]


PresenceRequest = FollowRequest | UnfollowRequest


def check_followed(names: Iterable[str], *, max_channels: int) -> list[str]:
    """Check the channels whose presence is asked for.

    Args:
        names: As they were sent.
        max_channels: How many there may be.

    Returns:
        Each once.

    Raises:
        GrammarError: None is named, a name is outside the grammar, or one is a pattern.
        LimitExceededError: There are too many.
    """
    checked = list(check_channels(list(names), max_channels=max_channels))
    if patterns := [name for name in checked if is_pattern(name)]:
        raise GrammarError(f"nobody is on a pattern: name the channels of {patterns[0]!r}")
    return checked


# -- answers and pushes -----------------------------------------------------------------------


class Following(msgspec.Struct, frozen=True, tag_field="type", tag="following"):
    """Say who is on channels, and which are refused; also that some are not told of any longer.

    Args:
        id: The request's id; None over HTTP, and when nobody asked.
        channels: Who is where.
        refused: Which are not told of, and why.
    """

    id: Id | None
    channels: list[Attended]
    refused: list[Refusal] = []


class Unfollowed(msgspec.Struct, frozen=True, tag_field="type", tag="unfollowed"):
    """Acknowledge that channels were given up."""

    id: Id
    channels: list[str]


class Moved(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag="presence"):
    """Say who came to a channel and who left it.

    Args:
        channel: Which.
        joined: Clients that were not there.
        left: Clients that are not there any more.
    """

    channel: str
    joined: Sequence[Member]
    left: Sequence[Member]


PresencePush = Following | Unfollowed | Moved
PRESENCE_PUSHES: Final = frozenset({"following", "unfollowed", "presence"})

_following: Final = msgspec.json.Decoder(Following)


def encode_presence(push: PresencePush) -> bytes:
    """Write an answer or a push as JSON."""
    return _encoder.encode(push)


def parse_following(body: bytes) -> Following:
    """Read who is on channels, for clients.

    Raises:
        msgspec.MsgspecError: It is something else.
    """
    return _following.decode(body)
