"""Traces as OpenTelemetry spans, under the span that is current where the command was sent.

Spans are made when a command has ended, with the times it really had, so that tracing costs
nothing while it runs. Names follow the semantic conventions for messaging (OpenTelemetry 1.27).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from trunkline.cqrs.trace import CommandTrace
from trunkline.errors import MissingExtraError

if TYPE_CHECKING:
    from collections.abc import Iterable

_NANO = 1_000_000_000


class SpanExporter:
    """Hand traces to OpenTelemetry.

    Args:
        provider: Makes tracers; the global one if not given.

    Raises:
        MissingExtraError: ``opentelemetry-api`` is not installed.
    """

    def __init__(self, provider: Any = None) -> None:
        try:
            from opentelemetry import trace
        except ImportError as error:
            raise MissingExtraError("opentelemetry-api", extra="otel") from error
        self._api = trace
        self._tracer = trace.get_tracer("trunkline", tracer_provider=provider)

    def export(self, trace: CommandTrace) -> None:
        """Make the spans of a command and of the commands inside it."""
        self._export(trace, None, trace.at)

    def _export(self, trace: CommandTrace, context: Any, at: float) -> None:
        attributes: dict[str, Any] = {
            "messaging.system": "trunkline",
            "trunkline.command.id": trace.command_id,
            "trunkline.correlation": trace.correlation,
            "trunkline.causation": trace.causation,
            "trunkline.domain": trace.domain,
            "trunkline.attempts": trace.attempts,
        }
        span = self._tracer.start_span(
            f"{trace.name} process",
            context=context,
            attributes=attributes,
            start_time=int(at * _NANO),
        )
        self._fail(span, trace.error)
        inside = self._api.set_span_in_context(span)
        for role, name, start, seconds, error in _steps(trace):
            step = self._tracer.start_span(
                f"{role} {name}".strip(), context=inside, start_time=int((at + start) * _NANO)
            )
            self._fail(step, error)
            step.end(int((at + start + seconds) * _NANO))
        for event in trace.events:
            span.add_event(event.name, {"trunkline.event.id": event.id})
        for child in trace.nested:
            self._export(child, inside, child.at)
        span.end(int((at + trace.seconds) * _NANO))

    def _fail(self, span: Any, error: str) -> None:
        if error:
            span.set_status(self._api.StatusCode.ERROR, error)


def _steps(trace: CommandTrace) -> Iterable[tuple[str, str, float, float, str]]:
    for step in trace.steps:
        yield step.role, step.name, step.at, step.seconds, step.error
