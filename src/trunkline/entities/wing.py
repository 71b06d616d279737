"""The wing: what was declared, who watches what, and which changes were heard."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any

from trunkline.channels.transaction import LineTransaction
from trunkline.channels.wing import Premises
from trunkline.entities.declaration import Declaration, Declarations
from trunkline.entities.fetching import Fetching
from trunkline.entities.group import Group, Watch
from trunkline.entities.notices import NoticeBoard, notice_channel, notice_draft
from trunkline.entities.passing import Receiver
from trunkline.entities.viewer import Scope
from trunkline.errors import ConfigError, TrunklineError, UsageError
from trunkline.model.entity import EntityKey, entity_key
from trunkline.model.message import Draft
from trunkline.model.position import Position
from trunkline.runtime.service import Service
from trunkline.wire.entity_sync import encode_notice
from trunkline.wire.watch import Version

logger = logging.getLogger("trunkline.entities")


class Entities:
    """Keep the watchers of this process, and see to it that they see what is.

    Args:
        premises: What a wing works with.
        prefix: Gives the setting ``entity_prefix``.
    """

    def __init__(self, premises: Premises, *, prefix: Callable[[], str]) -> None:
        self._premises = premises
        self._prefix = prefix
        self._boards: dict[str, NoticeBoard] = {}
        self._fetchings: dict[str, Fetching] = {}
        self._groups: dict[EntityKey, dict[Scope, Group]] = {}
        self._floor: tuple[str, Position] = ("", Position("", 0))
        self.declarations = Declarations()
        self.receiver: Receiver | None = None

    def receive_with(self, receiver: Receiver) -> None:
        """Hand clients' own messages to a function.

        Raises:
            ConfigError: There is one already.
        """
        if self.receiver is not None:
            raise ConfigError("clients' messages have a receiver already: let one call the other")
        self.receiver = receiver

    # -- living with the line -----------------------------------------------------------------

    async def open(self) -> None:
        """Check the names of what was declared."""
        for declaration in self.declarations:
            notice_channel(self._prefix(), declaration.name)

    async def close(self) -> None:
        """Hear and fetch nothing more. Idempotent."""
        for board in self._boards.values():
            board.close()
        self._boards.clear()
        for groups in self._groups.values():
            for group in groups.values():
                self._fetchings[group.declaration.name].forget(group)
        self._groups.clear()
        self._fetchings.clear()

    def services(self) -> Sequence[Service]:
        """Return nothing: fetching happens where clients are."""
        return ()

    # -- telling changes ----------------------------------------------------------------------

    def notices(self, entity: str, ids: Iterable[Any]) -> list[Draft]:
        """Make the notices that entities changed.

        Raises:
            UnknownEntityError: No such kind is declared.
            GrammarError: An id is none.
        """
        if self.declarations.find(entity) is None:
            raise UnknownEntityError(
                f"no entity {entity!r} is declared on this line: declare it with "
                f"@line.entity({entity!r}) wherever it is changed"
            )
        keys = dict.fromkeys(entity_key(entity, one) for one in ids)
        return [notice_draft(self._prefix(), key) for key in keys]

    async def tell(self, entity: str, ids: Iterable[Any], tx: Any = None) -> None:
        """Tell every process that entities changed; see :meth:`EntitiesFace.changed`."""
        drafts = self.notices(entity, ids)
        if not drafts or not self._premises.bus.publishes:
            return
        if isinstance(tx, LineTransaction):
            channel = notice_channel(self._prefix(), entity)
            for key in dict.fromkeys(entity_key(entity, one) for one in ids):
                tx.publish_internal(channel, encode_notice(key))
            return
        await self._premises.bus.be_ready()
        if tx is not None:
            await self._premises.store.publish(tx, drafts)
            return
        outcome = (await self._premises.log.append((drafts,)))[0]
        if isinstance(outcome, TrunklineError):
            raise outcome

    def tell_now(self, tx: Any, entity: str, ids: Iterable[Any]) -> None:
        """Tell it inside a synchronous transaction, from any thread."""
        drafts = self.notices(entity, ids)
        if drafts and self._premises.bus.publishes:
            self._premises.store.publish_now(tx, drafts)

    # -- hearing them -------------------------------------------------------------------------

    async def listen(self) -> None:
        """Hear the changes of everything that is declared. Idempotent.

        Raises:
            LogError: The log cannot be read.
            LineClosedError: The line is closed.
        """
        for declaration in self.declarations:
            await self.hear(declaration.name)

    async def hear(self, name: str) -> None:
        """Make certain that every change of a kind is heard from now on. Idempotent."""
        board = self._boards.get(name)
        if board is None:
            premises = self._premises
            board = self._boards[name] = NoticeBoard(
                notice_channel(self._prefix(), name),
                premises.log,
                premises.hub,
                on_change=self._on_change,
                on_loss=partial(self._on_loss, name),
            )
        await board.open()

    def _on_change(self, key: EntityKey, global_id: int) -> None:
        groups = self._groups.get(key)
        if groups:
            position = Position(self._premises.hub.epoch, global_id)
            for group in groups.values():
                group.note_change(position)
                self._fetching(group).want(group)

    def _on_loss(self, name: str) -> None:
        logger.warning("notices of %r may have been missed: everything watched is fetched", name)
        for key, groups in self._groups.items():
            if key.entity == name:
                for group in groups.values():
                    group.note_need()
                    self._fetching(group).want(group)

    def position(self) -> Position:
        """Return how far along the line this process has heard, or a client has been told."""
        here, (epoch, floor) = self._premises.hub.position, self._floor
        if floor.epoch == here.epoch:
            return max(here, floor, key=lambda one: one.global_id)
        # A floor of another epoch was read from the log itself; the hub may have yet to learn.
        return floor if epoch == here.epoch and floor.epoch else here

    # -- what watch lists ask -----------------------------------------------------------------

    def declared(self, name: str) -> Declaration | None:
        """Return the declaration of a kind, or None."""
        return self.declarations.find(name)

    async def know(self, key: EntityKey, version: Version) -> None:
        """Learn, as far as can be told, whether an entity changed after a version.

        Raises:
            LogError: The log cannot be read.
        """
        here = self.position()
        if version.position.epoch == here.epoch and version.position > here:
            # Another process told it that, which is further ahead than this one.
            heads = await self._premises.log.last_ids(())
            self._floor = (self._premises.hub.epoch, Position(heads.epoch, heads.head))
        await self._boards[key.entity].reach_back(version.position)

    def is_unchanged(self, key: EntityKey, version: Version) -> bool:
        """Tell whether an entity is known not to have changed after a version."""
        if version.position.global_id > self.position().global_id:
            return False
        known = self._boards[key.entity].recollection
        return known.is_unchanged(key.id, version.position)

    def join(self, watch: Watch, scope: Scope) -> None:
        """Take a watch into its group."""
        groups = self._groups.setdefault(watch.key, {})
        group = groups.get(scope)
        if group is None:
            declaration = self.declarations.find(watch.key.entity)
            assert declaration is not None  # noqa: S101 - a watch list asked
            group = groups[scope] = Group(declaration, watch.key, scope)
        group.admit((watch,))

    def leave(self, watch: Watch) -> None:
        """Let a watch go, and its group with the last one."""
        group = watch.group
        if group is None:
            return
        group.dismiss(watch)
        if not group.members:
            self._fetching(group).forget(group)
            groups = self._groups.get(group.key, {})
            groups.pop(group.scope, None)
            if not groups:
                self._groups.pop(group.key, None)

    def fetch(self, watch: Watch) -> None:
        """Have the state of a watch fetched by a fetch that begins from now on."""
        group = watch.group
        if group is not None:
            group.note_need()
            self._fetching(group).want(group)

    @property
    def watched(self) -> int:
        """Count the entities watched in this process."""
        return len(self._groups)

    def _fetching(self, group: Group) -> Fetching:
        name = group.declaration.name
        found = self._fetchings.get(name)
        if found is None:
            premises = self._premises
            found = self._fetchings[name] = Fetching(
                group.declaration,
                position=self.position,
                run=premises.run,
                clock=premises.clock,
            )
        return found


class UnknownEntityError(UsageError):
    """Report a kind of entity that is not declared on this line."""

    code = "unknown-entity"
    status = 404
