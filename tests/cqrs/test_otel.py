"""Traces as OpenTelemetry spans: the same tree, with the times it really had."""

from __future__ import annotations

import sys

import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from tests.cqrs.following import Create, Created, Rename, with_tests
from trunkline.cqrs.errors import Refused, RefusedError
from trunkline.errors import MissingExtraError


@pytest.fixture
def spans():
    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    yield provider, exporter
    provider.shutdown()


async def test_commands_become_spans_under_the_current_one(sqlite_ground, spans):
    """Steps and nested commands are children, with events and ids."""
    provider, exporter = spans
    line = with_tests(sqlite_ground.line())

    @line.processor(Created)
    def again(event):
        return Rename(event.test_id, "x")

    line.traces.export_to_opentelemetry(provider)
    async with line:
        with provider.get_tracer("test").start_as_current_span("request") as outer:
            result = await line.send(Create("1"))
    found = {span.name: span for span in exporter.get_finished_spans()}

    command = found["create.test process"]
    assert command.parent.span_id == outer.get_span_context().span_id
    assert command.attributes["trunkline.command.id"] == result.command_id
    assert [event.name for event in command.events] == ["test.1.created"]
    assert found["command main.create"].parent.span_id == command.context.span_id
    assert found["rename.test process"].parent.span_id == command.context.span_id
    seconds = (command.end_time - command.start_time) / 1e9
    assert seconds == pytest.approx(result.trace.seconds, abs=1e-3)


async def test_what_fails_is_marked(sqlite_ground, spans):
    """With what went wrong, on the command and on the step."""
    provider, exporter = spans
    line = with_tests(sqlite_ground.line())

    @line.before("create.test")
    def never(cmd):
        raise Refused("not today")

    line.traces.export_to_opentelemetry(provider)
    async with line:
        with pytest.raises(RefusedError):
            await line.send(Create("1"))
    found = {span.name: span.status for span in exporter.get_finished_spans()}

    assert "not today" in found["create.test process"].description
    assert "not today" in found["before main.never"].description


def test_without_the_extra_the_error_names_it(sqlite_ground, monkeypatch):
    """Nothing else needs it."""
    monkeypatch.setitem(sys.modules, "opentelemetry", None)

    with pytest.raises(MissingExtraError, match="otel"):
        sqlite_ground.line().traces.export_to_opentelemetry()
