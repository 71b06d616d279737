"""The line as those see it who look after what follows from commands: routes and projections."""

from __future__ import annotations

from typing import TYPE_CHECKING

from trunkline.cqrs.face import CommandFace

if TYPE_CHECKING:
    from trunkline.cqrs.projections import Projections
    from trunkline.cqrs.routes import RouteTable


class FollowingFace(CommandFace):
    """Show who hears what, and look after projections."""

    def routes(self) -> RouteTable:
        """Return who hears what; as text it is a table.

        Raises:
            ConfigError: What was registered makes no sense.
        """
        return self.commands.followers.routes()

    @property
    def projections(self) -> Projections:
        """Return what looks after projections: ``list`` and ``rebuild``."""
        return self.commands.followers.projections
