"""The publish API stores what it acknowledges, and says of everything else why not."""

from __future__ import annotations

import msgspec
import pytest

from tests.gateway.edge import a_line, call, code_of
from trunkline.gateway.options import GatewayOptions

KEY = "a-key-of-our-own"
AUTH = ("authorization", f"Bearer {KEY}")


def keyed(line, **options):
    return line.gateway(options=GatewayOptions(publish_keys=("another-key", KEY), **options))


async def post(app, value, *, headers=(AUTH,)):
    body = value if isinstance(value, bytes) else msgspec.json.encode(value)
    return await call(app, "POST", "/api/publish", body=body, headers=headers)


async def test_one_message_is_stored_and_acknowledged():
    async with a_line() as line:
        told = await post(keyed(line), {"channel": "/a", "data": {"x": [1, None]}})
        assert told.status == 200
        message = await line.bus.last_message("/a")
        assert told.json == {
            "channel": "/a",
            "message_id": 1,
            "global_id": 1,
            "position": str(message.position),
            "repeated": False,
        }
        assert message.data == {"x": [1, None]}


async def test_every_option_reaches_the_line():
    given = {
        "channel": "/a",
        "data": "x",
        "user_ids": ["u", 1],
        "group_ids": ["g"],
        "client_ids": ["c"],
        "exclude_user_ids": ["v"],
        "exclude_group_ids": ["h"],
        "exclude_client_ids": ["d"],
        "site_id": "site",
        "headers": {"h": 1},
        "key": "k",
        "max_backlog_size": 5,
        "max_backlog_age": 60,
    }
    async with a_line() as line:
        assert (await post(keyed(line), given)).status == 200
        message = await line.bus.last_message("/a", site_id="site")
        assert message.audience.user_ids == ("u", 1)
        assert message.audience.exclude_client_ids == ("d",)
        assert message.headers == {"h": 1}


async def test_a_key_makes_a_repetition_harmless():
    async with a_line() as line:
        app = keyed(line)
        first = await post(app, {"channel": "/a", "data": 1, "key": "k"})
        again = await post(app, {"channel": "/a", "data": 1, "key": "k"})
        assert again.json == {**first.json, "repeated": True}
        other = await post(app, {"channel": "/a", "data": 2, "key": "k"})
        assert (other.status, code_of(other)) == (409, "key-reused")
        assert await line.bus.last_id("/a") == 1


async def test_a_batch_is_stored_in_order_or_not_at_all():
    async with a_line() as line:
        app = keyed(line)
        told = await post(app, [{"channel": f"/c{n % 2}", "data": n} for n in range(4)])
        assert [(one["channel"], one["message_id"]) for one in told.json] == [
            ("/c0", 1),
            ("/c1", 1),
            ("/c0", 2),
            ("/c1", 2),
        ]
        await post(app, {"channel": "/c0", "data": 0, "key": "k"})
        batch = [{"channel": "/c1", "data": 1}, {"channel": "/c0", "data": 9, "key": "k"}]
        told = await post(app, batch)
        assert (told.status, code_of(told)) == (409, "key-reused")
        assert "message 1" in told.json["detail"]
        assert await line.bus.last_id("/c1") == 2


@pytest.mark.parametrize(
    ("bad", "status", "words"),
    [
        ({"channel": "/a"}, 422, "data"),
        ({"channel": 7, "data": 1}, 422, "channel"),
        ({"channel": "/a", "data": 1, "colour": "red"}, 422, "colour"),
        ({"channel": "a", "data": 1}, 400, "'/a'"),
        ({"channel": "/__trunkline/revoke", "data": {}}, 400, "reserved"),
        ({"channel": "/a", "data": 1, "user_ids": []}, 422, "user_ids"),
        ({"channel": "/a", "data": 1, "max_backlog_size": 0}, 422, "max_backlog_size"),
        ({"channel": "/a", "data": 1, "key": ""}, 422, "key"),
        ({"channel": "/global/a", "data": 1, "user_ids": ["u"]}, 422, "user_ids"),
        ({"channel": "/a", "data": "x" * (1024 * 1024 + 1)}, 413, "bytes"),
    ],
)
async def test_a_wrong_message_is_refused_by_field_and_index(bad, status, words):
    async with a_line() as line:
        app = keyed(line)
        told = await post(app, bad)
        assert told.status == status
        assert words in told.json["detail"]
        told = await post(app, [{"channel": "/good", "data": 1}, bad])
        assert told.status == status
        assert words in told.json["detail"]
        assert "message 1 of the batch" in told.json["detail"]
        code_of(told)
        assert await line.bus.last_id("/good") == 0


@pytest.mark.parametrize(
    "body",
    [b"", b"{", b"null", b"3", b'"x"', b'{"channel":"/a","data":NaN}', b"\xff", b"[" * 9999, b"[]"],
)
async def test_what_is_no_message_is_a_4xx(body):
    async with a_line() as line:
        told = await post(keyed(line), body)
        assert 400 <= told.status < 500
        code_of(told)


async def test_a_batch_has_a_limit():
    async with a_line() as line:
        told = await post(keyed(line, max_batch=2), [{"channel": "/a", "data": 1}] * 3)
        assert (told.status, told.json["limit"], told.json["allowed"]) == (413, "max_batch", 2)


@pytest.mark.parametrize(
    "headers",
    [
        [],
        [("authorization", "Bearer")],
        [("authorization", "Bearer wrong")],
        [("authorization", f"Basic {KEY}")],
        [("authorization", f"Bearer {KEY}x")],
        [("authorization", "Bearer \xff\xfe")],
    ],
)
async def test_without_a_key_nothing_is_published(headers):
    async with a_line() as line:
        told = await post(keyed(line), {"channel": "/a", "data": 1}, headers=headers)
        assert (told.status, code_of(told)) == (401, "publish-key")
        assert told.headers["www-authenticate"].startswith("Bearer")
        assert await line.bus.last_id("/a") == 0


async def test_it_is_closed_until_a_key_is_set():
    async with a_line() as line:
        app = line.gateway()
        told = await post(app, {"channel": "/a", "data": 1})
        assert (told.status, code_of(told)) == (403, "publish-closed")
        assert "publish_keys" in told.json["detail"]
        app.options.publish_keys = (KEY,)
        assert (await post(app, {"channel": "/a", "data": 1})).status == 200


async def test_a_line_that_is_off_says_so():
    async with a_line() as line:
        line.bus.off(disable_publish=True)
        for value in ({"channel": "/a", "data": 1}, [{"channel": "/a", "data": 1}]):
            told = await post(keyed(line), value)
            assert (told.status, code_of(told)) == (503, "publishing-off")
