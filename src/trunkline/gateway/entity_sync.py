"""entity-sync's old socket: its actions in, raw rows out, and its silence about all else."""

from __future__ import annotations

import logging
from collections import deque
from typing import Final

from trunkline.errors import ProtocolError
from trunkline.gateway.context import Context
from trunkline.gateway.dialogue import Dialogue
from trunkline.gateway.entity_speech import RawSpeech
from trunkline.gateway.entity_talk import Speech
from trunkline.gateway.request import Request as Handshake
from trunkline.gateway.switchboard import Switchboard
from trunkline.wire.entity_sync import (
    Action,
    Foreign,
    Malformed,
    Secret,
    Subscribe,
    Unknown,
    Unsubscribe,
    parse_action,
)
from trunkline.wire.frames import CloseCode
from trunkline.wire.watch import Named, Watching

logger = logging.getLogger("trunkline.gateway")

MAX_WAITING: Final = 64
_NOT_TAKEN: Final = "a message that nobody takes"


class EntitySyncSession(Dialogue):
    """Serve one client of entity-sync; see :class:`Dialogue`.

    Its protocol has no answers and no errors: what is wrong is told in the log, and a client that
    goes on with it is closed.
    """

    __slots__ = ("_is_working", "_waiting")

    def __init__(
        self, context: Context, board: Switchboard, *, key: str, handshake: Handshake | None
    ) -> None:
        super().__init__(context, board, key=key, handshake=handshake)
        self._waiting: deque[tuple[Action, str]] = deque()
        self._is_working = False

    def _hear(self, text: str) -> None:
        action = parse_action(text)
        if isinstance(action, Malformed):
            self._mistake(action.detail.encode())
        elif isinstance(action, Foreign | Unknown) and not self._is_wanted(action):
            self._mistake(_NOT_TAKEN.encode())
        elif len(self._waiting) >= MAX_WAITING + self._context.options.max_watches:
            raise ProtocolError("too many messages wait", close_code=CloseCode.POLICY)
        else:
            self._mistakes = 0
            self._waiting.append((action, text))
            if not self._is_working:
                self._is_working = True
                self._board.crew.start("entity-sync client", self._work())

    def _is_wanted(self, action: Foreign | Unknown) -> bool:
        entities = self._context.entities
        if entities is None or entities.receiver is None:
            return False
        return isinstance(action, Foreign) or self._context.options.entity_pass_unknown

    async def _work(self) -> None:
        try:
            while self._waiting and not self.connection.has_ended:
                await self._serve(*self._waiting.popleft())
        finally:
            self._is_working = False
            self._waiting.clear()

    async def _serve(self, action: Action, text: str) -> None:
        talk = self._talk()
        if isinstance(action, Subscribe):
            try:
                await talk.watch([Named(*action.key)], self._look)
            except Exception as error:  # noqa: BLE001 - it is reported; the client comes again
                await self._context.failures.report(self._handshake, error)
                self._close(CloseCode.RESTART, "try again")
                return
        elif isinstance(action, Unsubscribe):
            talk.unwatch([action.key])
        elif isinstance(action, Secret):
            talk.set_secret(action.text)
        elif not talk.pass_on(text):
            self._close(CloseCode.POLICY, "too many messages wait")

    def _look(self, watching: Watching) -> None:
        for refusal in watching.refused:
            self._mistake(f"{refusal.code}: {refusal.detail}".encode())

    def _complain(self, told: bytes) -> None:
        logger.info("an entity-sync client erred: %s", told.decode())

    def _speech(self) -> Speech:
        return RawSpeech(self._framing)
