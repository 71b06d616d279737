"""Services tell each other: publish, subscribe, callbacks, handlers, over real servers."""

from __future__ import annotations

from datetime import UTC

from tests.webhooks.services import come, pair


async def test_what_is_published_reaches_a_handler_elsewhere(ground) -> None:
    async with pair(ground) as (line, hearer, _):
        hearer.line.siblings.subscribe("school", "users.updated.v1", hearer.hear)
        await hearer.line.open(run_consumers=True)
        [done] = await hearer.line.siblings.register()
        assert (done.status, done.error) == (201, None)
        [again] = await hearer.line.siblings.register()
        assert again.status == 204
        sent = await line.siblings.publish("users.updated.v1", {"id": 123, "name": "\0ü"})
        await come(lambda: hearer.heard)
        [event] = hearer.heard
        assert event == sent
        assert event.timestamp == sent.timestamp
        assert event.timestamp.tzinfo == UTC
        assert sent.timestamp.tzinfo == UTC
        assert event.channel == "org.example.users.updated.v1"
        assert (event["id"], event.payload) == (123, {"id": 123, "name": "\0ü"})
