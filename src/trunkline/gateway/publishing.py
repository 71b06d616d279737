"""The publish API: services without a client library publish with one HTTP request and a key."""

from __future__ import annotations

import hmac
from typing import Any, cast

import msgspec

from trunkline.channels.drafting import PublishOptions
from trunkline.errors import AccessDeniedError, KeyReusedError, TrunklineError, UsageError
from trunkline.gateway.answer import Answer, json_answer, problem_answer
from trunkline.gateway.context import Context
from trunkline.gateway.request import Request, Send
from trunkline.model.message import Receipt
from trunkline.wire.problem import problem_of
from trunkline.wire.publish import PublishBody, PublishRequest, encode_receipts, parse_body


class PublishClosedError(AccessDeniedError):
    """Report that the publish API has no key and therefore is closed."""

    code = "publish-closed"


class PublishKeyError(AccessDeniedError):
    """Report a publish without a key, or with a wrong one."""

    status = 401
    code = "publish-key"


class PublishingOffError(UsageError):
    """Report that publishing is switched off in this process."""

    status = 503
    code = "publishing-off"


class PublishEndpoint:
    """Serve ``POST /api/publish``.

    Args:
        context: What the gateway's endpoints share.
    """

    def __init__(self, context: Context) -> None:
        self._context = context

    async def __call__(self, request: Request, send: Send) -> Answer:  # noqa: ARG002 - see Endpoint
        """Publish one message or a batch."""
        context, options = self._context, self._context.options
        number = self._key_number(request)
        context.rates.check(f"key:{number}")
        text = await request.body(options.max_body_bytes, timeout=options.body_timeout)
        body = parse_body(text, max_batch=options.max_batch)
        try:
            receipts = await self._publish(body)
        except TrunklineError as error:
            if error.status >= 500 or not body.is_batch:
                raise
            return _batch_problem(error, body)
        if not receipts:
            raise PublishingOffError("publishing is switched off here: nothing was stored")
        return json_answer(encode_receipts(receipts, is_batch=body.is_batch))

    def _key_number(self, request: Request) -> int:
        """Return which key a request has; how long it takes tells nothing about the keys."""
        keys = self._context.options.publish_keys
        if not keys:
            raise PublishClosedError(
                "the publish API is closed: set publish_keys to a list of keys of your own making"
            )
        given = (request.bearer or "").encode("utf-8", "surrogatepass")
        found = [n for n, key in enumerate(keys) if hmac.compare_digest(key.encode(), given)]
        if not found:
            self._context.rates.check(f"address:{request.address}")
            raise PublishKeyError(
                "a publish needs one of the keys: send it as 'Authorization: Bearer <key>'"
            )
        return found[0]

    async def _publish(self, body: PublishBody) -> list[Receipt]:
        bus = self._context.bus
        publications = [_publication(one) for one in body.requests]
        if body.is_batch:
            return list(await bus.publish_many(publications))
        channel, data, options = publications[0]
        receipt = await bus.publish(channel, data, **options)
        return [] if receipt is None else [receipt]


def _publication(request: PublishRequest) -> tuple[str, Any, PublishOptions]:
    return request.channel, request.data, cast("PublishOptions", request.options)


def _batch_problem(error: TrunklineError, body: PublishBody) -> Answer:
    """Answer what kept a batch out, naming the message it was about."""
    problem = problem_of(error)
    note = next(iter(getattr(error, "__notes__", ())), "") or _place(error, body)
    detail = f"{note}: {problem.detail}" if note else problem.detail
    detail += "; nothing of the batch was stored"
    return problem_answer(msgspec.structs.replace(problem, detail=detail))


def _place(error: TrunklineError, body: PublishBody) -> str:
    if isinstance(error, KeyReusedError):
        for index, request in enumerate(body.requests):
            if (request.channel, request.key) == (error.channel, error.key):
                return f"in message {index} of the batch"
    return ""
