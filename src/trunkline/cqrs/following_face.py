"""The line as those see it who look after what follows: channels, routes, projections."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar, Unpack

from trunkline.cqrs.face import CommandFace

if TYPE_CHECKING:
    from trunkline.cqrs.channel_options import ChannelOptions
    from trunkline.cqrs.domain import Subject
    from trunkline.cqrs.projections import Projections
    from trunkline.cqrs.routes import RouteTable
    from trunkline.cqrs.traces import Traces


F = TypeVar("F", bound=Callable[..., Any])


class FollowingFace(CommandFace):
    """Tell sockets of events, show who hears what, and look after projections."""

    def channel(self, *subjects: Subject, **options: Unpack[ChannelOptions]) -> Callable[[F], F]:
        """Declare what sockets are told of events; see :meth:`Domain.channel`."""
        return self.commands.main.channel(*subjects, **options)

    def routes(self) -> RouteTable:
        """Return who hears what; as text it is a table.

        Raises:
            ConfigError: What was registered makes no sense.
        """
        found: RouteTable = self.commands.followers.routes()
        return found

    @property
    def traces(self) -> Traces:
        """Return what shows traces, and which handler did what with an event."""
        found: Traces = self.commands.followers.traces
        return found

    @property
    def projections(self) -> Projections:
        """Return what looks after projections: ``list`` and ``rebuild``."""
        found: Projections = self.commands.followers.projections
        return found
