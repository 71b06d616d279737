"""The end of a commit: keys, events and tags of its commands, and what must still be true."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from trunkline.cqrs.member import Member
from trunkline.cqrs.scope import Scope
from trunkline.cqrs.state_cache import StateCache
from trunkline.errors import ConflictError, TrunklineError
from trunkline.log.joint import JointTransaction
from trunkline.model.message import Receipt
from trunkline.store.command_table import CommandTable


class KeyTakenError(ConflictError):
    """Report that a key was used in the meantime; what it came to there is the answer."""

    code = "key-taken"


class BoundaryMovedError(ConflictError):
    """Report that events matching a command's boundary came after it was decided."""

    code = "boundary-moved"


class EpochMovedError(ConflictError):
    """Report that a command was decided on a state from before the line was reset."""

    code = "epoch-moved"


class Closing:
    """Write what commands leave at their end.

    Args:
        table: Keeps keys and tags.
        cache: Has the states that commands were decided on.
        is_exclusive: Whether nobody else can write while a command is decided.
    """

    def __init__(self, table: CommandTable, cache: StateCache, *, is_exclusive: bool) -> None:
        self.table = table
        self._cache = cache
        self._is_exclusive = is_exclusive

    async def close(
        self, transaction: JointTransaction, members: Sequence[Member]
    ) -> dict[Member, Exception]:
        """Write it, in the members' transaction.

        Args:
            transaction: The transaction.
            members: Those that ran well.

        Returns:
            Those that can't be stored, and why: the transaction must be undone then, as far as
            it is theirs.
        """
        refused = await self._keep_keys(transaction, members)
        if refused:
            return refused
        groups = [one.scope.unit.drafts for one in members if one.scope is not None]
        appending = [one for one, group in zip(members, groups, strict=True) if group]
        if not appending:
            return {}
        is_last = not any(one.scope.has_marks for one in members if one.scope is not None)
        guessed = any(one.scope.has_guessed for one in members if one.scope is not None)
        drafts = [group for group in groups if group]
        if is_last:
            epoch = self._cache.epoch if guessed else ""
            outcomes = await transaction.append_last(drafts, epoch=epoch)
        else:
            outcomes = await transaction.append(drafts)
        for member, outcome in zip(appending, outcomes, strict=True):
            if isinstance(outcome, TrunklineError):
                refused[member] = outcome
            else:
                member.receipts = outcome
                if self._cache.adopt(outcome[0].epoch) and guessed:
                    refused[member] = EpochMovedError("the line began anew: send it again")
        if not refused:
            await self._tag(transaction, appending, refused)
        return refused

    async def holds(self, transaction: JointTransaction, scope: Scope | None) -> bool:
        """Tell whether what a command was decided on is still all there is; all being appended."""
        if scope is None or self._is_exclusive:
            return True
        for site_id, query, after in scope.conditions:
            if await self.table.tagged(transaction, site_id, query, after):
                return False
        return True

    async def _keep_keys(
        self, transaction: JointTransaction, members: Sequence[Member]
    ) -> dict[Member, Exception]:
        rows = [one.job.row for one in members if one.job.row is not None]
        if not rows:
            return {}
        added = await self.table.add(transaction, rows)
        return {
            member: KeyTakenError(f"the key {row.key!r} was used a moment ago")
            for member in members
            if (row := member.job.row) is not None and row.command_id not in added
        }

    async def _tag(
        self,
        transaction: JointTransaction,
        members: Sequence[Member],
        refused: dict[Member, Exception],
    ) -> None:
        for member in members:
            if not await self.holds(transaction, member.scope):
                refused[member] = moved()
        if refused:
            return
        for member in members:
            if member.scope is not None:
                rows = tag_rows(member.scope.staged, member.receipts)
                if rows:
                    await self.table.add_tags(transaction, rows)


def moved() -> BoundaryMovedError:
    """Return that a boundary moved."""
    return BoundaryMovedError(
        "events matching the command's boundary came after it was decided: send it again"
    )


def tag_rows(staged: Any, receipts: Sequence[Receipt]) -> list[tuple[str, str, int, str]]:
    """Return the tags of events that were appended."""
    return [
        (
            one.draft.channel.site_id or "",
            tag,
            receipts[one.place].global_id,
            header.type or header.name,
        )
        for one in staged
        if (header := one.recorded.headers).tags
        for tag in dict.fromkeys(header.tags)
    ]
