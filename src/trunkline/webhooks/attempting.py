"""One attempt: read the latest state, sign, send, and say what became of it."""

from __future__ import annotations

import logging
import random
from collections.abc import Mapping
from typing import Any, Final

import msgspec

from trunkline.runtime.clock import Clock
from trunkline.webhooks.claims import Attempt, Claim, Endpoint, Outcome
from trunkline.webhooks.errors import PayloadError
from trunkline.webhooks.outgoing import Outgoing, Prepare, WithdrawnError
from trunkline.webhooks.outlet import Answer, Call, CallFailedError, Outlet, Timing
from trunkline.webhooks.retrying import THROTTLED, Step, after_answer, after_failure
from trunkline.webhooks.seam import DEAD, WITHDRAWN
from trunkline.wire.signature import SIGNATURE, sign, sign_as_demux

logger = logging.getLogger("trunkline.webhooks")

ATTEMPT: Final = "webhook-attempt"
#: Characters of an error that are kept.
ERROR_LENGTH: Final = 500
#: Headers whose values are not kept.
_HIDDEN: Final = frozenset({SIGNATURE, "x-demux-signature", "authorization", "cookie"})
_BROKEN_REQUEST: Final = "it was given up without an attempt"

_encode = msgspec.json.Encoder().encode


class Attempting:
    """Make attempts.

    Args:
        outlet: Sends.
        clock: Tells the time.
        chance: Spreads the waits.
        keep_bodies: Whether request bodies are kept with the attempts.
    """

    def __init__(
        self, outlet: Outlet, clock: Clock, *, chance: random.Random, keep_bodies: bool
    ) -> None:
        self.outlet = outlet
        self._clock = clock
        self._chance = chance
        self._keep_bodies = keep_bodies

    async def make(self, claim: Claim, endpoint: Endpoint, prepare: Prepare) -> Outcome:
        """Make one attempt; whatever happens is in what is returned."""
        started = self._clock.now()
        sent = claim.transmission
        if sent.expires_at is not None and started >= sent.expires_at:
            return Outcome(claim=claim, state=DEAD, error="it expired before it could be delivered")
        if claim.tries > len(endpoint.options.schedule):
            return Outcome(claim=claim, state=DEAD, error="each attempt ended with its process")
        try:
            outgoing = await prepare(sent)
            call = self._call(claim, endpoint, outgoing)
        except WithdrawnError as error:
            return Outcome(claim=claim, state=WITHDRAWN, error=clean(str(error)))
        except Exception as error:  # noqa: BLE001 - whatever a payload does is recorded
            return self._failed(
                claim,
                endpoint,
                Attempt(
                    number=sent.attempts + 1,
                    started_at=started,
                    outcome="payload",
                    error=clean(_told(error)),
                ),
            )
        return await self._send(claim, endpoint, call, started)

    def _call(self, claim: Claim, endpoint: Endpoint, outgoing: Outgoing) -> Call:
        sent, options = claim.transmission, endpoint.options
        given = {"user-agent": "Trunkline", **options.headers, **outgoing.headers}
        headers = {name.lower(): value for name, value in given.items()}
        keys = outgoing.secrets
        if options.is_standard:
            timestamp = int(self._clock.now())
            headers |= sign(keys, delivery_id=sent.id, timestamp=timestamp, body=outgoing.body)
        else:
            headers["webhook-id"] = sent.id
        if options.is_demux:
            key = next((key for key in keys if key.scheme == "v1"), None)
            if key is not None:
                signed = sign_as_demux(key, sent.signal_name, outgoing.body)
                headers |= {name.lower(): value for name, value in signed.items()}
        headers[ATTEMPT] = str(sent.attempts + 1)
        return Call(
            purpose="delivery",
            url=outgoing.url,
            body=outgoing.body,
            headers=headers,
            timeout=options.timeout,
        )

    async def _send(self, claim: Claim, endpoint: Endpoint, call: Call, started: float) -> Outcome:
        attempt = Attempt(
            number=claim.transmission.attempts + 1,
            started_at=started,
            outcome="delivered",
            request=_request(call),
            request_body=call.body if self._keep_bodies else None,
        )
        try:
            answer = await self.outlet.send(call)
        except CallFailedError as error:
            told = {"outcome": error.outcome, "error": str(error), "timing": _timing(error.timing)}
            return self._failed(claim, endpoint, msgspec.structs.replace(attempt, **told))
        except Exception as error:  # the hook's
            logger.warning("the hook around outgoing calls failed", exc_info=True)
            told = {"outcome": "hook", "error": clean(_told(error))}
            return self._failed(claim, endpoint, msgspec.structs.replace(attempt, **told))
        return self._answered(claim, endpoint, attempt, answer)

    def _answered(
        self, claim: Claim, endpoint: Endpoint, attempt: Attempt, answer: Answer
    ) -> Outcome:
        step = after_answer(
            answer.status,
            answer.headers.get("retry-after"),
            options=endpoint.options,
            tries=claim.tries + 1,
            now=self._clock.now(),
            factor=self._chance.uniform(-1, 1),
        )
        error = None if step.is_success else f"the endpoint answered {answer.status}"
        attempt = msgspec.structs.replace(
            attempt,
            outcome="delivered" if step.is_success else "status",
            status=answer.status,
            error=error,
            timing=_timing(answer.timing),
            response_headers=_encode(
                {clean(name): clean(value) for name, value in answer.headers.items()}
            ).decode(),
            response_body=answer.body,
        )
        is_trouble = answer.status in THROTTLED or answer.status >= 500
        return _outcome(claim, step, attempt, is_trouble=is_trouble)

    def _failed(self, claim: Claim, endpoint: Endpoint, attempt: Attempt) -> Outcome:
        step = after_failure(
            endpoint.options,
            claim.tries + 1,
            now=self._clock.now(),
            factor=self._chance.uniform(-1, 1),
        )
        if attempt.outcome == "blocked":
            step = Step(state=DEAD)  # another attempt would be refused here as well
        is_trouble = attempt.outcome not in {"payload", "hook", "blocked"}
        return _outcome(claim, step, attempt, is_trouble=is_trouble)


def _outcome(claim: Claim, step: Step, attempt: Attempt, *, is_trouble: bool) -> Outcome:
    return Outcome(
        claim=claim,
        state=step.state,
        due_at=step.due_at,
        error=attempt.error,
        attempt=attempt,
        pause=step.pause,
        gone=step.gone,
        is_trouble=is_trouble,
    )


def _told(error: Exception) -> str:
    """Name an error, and what caused it when it only says so."""
    cause = error.__cause__ if isinstance(error, PayloadError) and error.__cause__ else error
    return f"{type(cause).__name__}: {cause}"


def _timing(timing: Timing) -> str:
    return _encode(timing).decode()


def _request(call: Call) -> str:
    shown: Mapping[str, Any] = {
        name: value for name, value in call.headers.items() if name.lower() not in _HIDDEN
    }
    return clean(_encode({"url": call.url, "headers": shown}).decode())


def clean(text: str) -> str:
    """Return text that every database takes: without NULs and lone surrogates, and not long."""
    safe = text[: ERROR_LENGTH * 8].encode("utf-8", "replace").decode()
    return safe.replace("\x00", "\ufffd")
