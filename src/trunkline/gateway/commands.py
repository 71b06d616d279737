"""Commands over HTTP: those that the application exposed, and nobody else's."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from trunkline.cqrs.context import Origin
from trunkline.cqrs.entry import Entries, Entry
from trunkline.cqrs.errors import InvalidCommandError, UnknownCommandError
from trunkline.errors import UsageError
from trunkline.gateway.answer import Answer, json_answer
from trunkline.gateway.context import Context
from trunkline.gateway.request import Request, Send

#: Everything right below it is a command's name.
COMMANDS: Final = "/api/commands/"
KEY_HEADER: Final = "idempotency-key"


class BadCommandBodyError(UsageError):
    """Report a body that is no JSON."""

    code = "bad-body"


class CommandEndpoint:
    """Serve ``POST /api/commands/{name}``.

    Args:
        context: What the gateway's endpoints share.
        entries: What clients may have run.
    """

    def __init__(self, context: Context, entries: Entries) -> None:
        self._context = context
        self._entries = entries

    async def __call__(self, request: Request, send: Send) -> Answer:  # noqa: ARG002 - see Endpoint
        """Run one command and answer when it is durable."""
        context, options = self._context, self._context.options
        identity = await context.admit(request)
        name = request.path.removeprefix(COMMANDS)
        entry = self._entries.get(name)
        if entry is None:
            raise UnknownCommandError(f"no command called {name[:100]!r} is exposed here")
        text = await request.body(options.max_body_bytes, timeout=options.body_timeout)
        value = _read(entry, text)
        await entry.check(identity, value)
        key = request.headers.get(KEY_HEADER)
        origin = Origin(key, identity.user_id, identity.site_id)
        told = await entry.run(value, origin)
        return json_answer(msgspec.json.encode(told))


def _read(entry: Entry, text: bytes) -> Any:
    try:
        return msgspec.json.decode(text, type=entry.kind)
    except msgspec.ValidationError as error:
        raise InvalidCommandError(f"{entry.name}: {error}") from error
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise BadCommandBodyError(f"the body is no JSON object with fields: {error}") from error
