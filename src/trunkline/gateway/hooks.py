"""What an application plugs into the gateway, as one value."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from trunkline.channels.presence import Presences
from trunkline.cqrs.entry import Entries
from trunkline.entities.wing import Entities
from trunkline.gateway.access import Access, Identify
from trunkline.gateway.application import Application, ExtraHeaders
from trunkline.gateway.failures import OnError


@dataclass(frozen=True, slots=True, kw_only=True)
class Hooks:
    """Hold the application's functions; all but the first two may be left out.

    Args:
        identify: Says who a request comes from.
        access: Says which channels an identity may read.
        open: Say True to do without one of these two.
        on_error: Called when an endpoint or a hook fails.
        extra_headers: Called with each request; returns headers for its answer.
        wrapped: Takes what is not the gateway's; 404 without it.
        entities: How entities are fetched, and who watches them; none are served without it.
        entries: Commands that clients may send; none without it.
        presences: Gives what knows who is where; nobody is seen without it.
    """

    identify: Identify | None = None
    access: Access | None = None
    open: bool = False
    on_error: OnError | None = None
    extra_headers: ExtraHeaders | None = None
    wrapped: Application | None = None
    entities: Entities | None = None
    entries: Entries | None = None
    presences: Callable[[], Presences] | None = None
