"""layout=message_bus to the byte: what Ruby's message_bus writes and expects, both ways.

The vectors were observed on Ruby's message_bus over Redis. Where Ruby and its gem are installed,
the last test lets the two talk to each other.
"""

from __future__ import annotations

import asyncio
import json
import shutil
import subprocess

import pytest
from redis.asyncio import Redis

from tests.log.test_redis_faults import opened
from trunkline.errors import ChannelKindError, InvalidMessageError
from trunkline.log.redis.envelope import decode_name, decode_text, encode_name
from trunkline.model import codec
from trunkline.model.channel import ChannelKey
from trunkline.model.interest import EVERYTHING, Interest
from trunkline.model.message import decode_audience
from trunkline.testing.contracts.support import (
    append,
    plain,
    stream,
    values,
    whole_line,
)
from trunkline.testing.redis_server import RedisServer

WEEK = 604_800
AUDIENCE = b'{"user_ids":[1,"2"],"group_ids":["g"],"client_ids":["c"]}'
VECTORS = [
    (
        plain("/a", {"x": 1, "sym": "s", "t": None}, audience=AUDIENCE),
        b"__mb_backlog_n_/a",
        (
            b'1|1|/a|{"data":{"x":1,"sym":"s","t":null},"user_ids":[1,"2"],"group_ids":["g"],'
            b'"client_ids":["c"]}'
        ),
        b"1|/a",
    ),
    (
        plain("/pi|pe", "||"),
        b"__mb_backlog_n_/pi|pe",
        b'2|1|/pi$$123$$pe|{"data":"||","user_ids":null,"group_ids":null,"client_ids":null}',
        b"1|/pi|pe",
    ),
    (
        plain("/a", 5, site="s", audience=b'{"client_ids":["c"]}'),
        b"__mb_backlog_n_/a$|$s",
        b'3|1|/a$$$123$$$s|{"data":5,"user_ids":null,"group_ids":null,"client_ids":["c"]}',
        b"1|/a$|$s",
    ),
]


@pytest.fixture
async def server():
    async with RedisServer() as server:
        yield server


@pytest.fixture
async def client(server):
    client = Redis(host="127.0.0.1", port=server.port)
    yield client
    await client.aclose()


def bus(server, **options):
    return opened(f"{server.log_url}?layout=message_bus", **options)


async def ruby_publish(client, name, envelope, *, age=WEEK, size=1000, most=2000):
    """Do to Redis what Ruby's publish does, command for command."""
    global_id = await client.incr("__mb_global_id_n")
    message_id = await client.incr(f"__mb_backlog_id_n_{name}")
    text = f"{global_id}|{message_id}|{name.replace('|', '$$123$$')}|{envelope}"
    await client.zadd(f"__mb_backlog_n_{name}", {text: message_id})
    await client.expire(f"__mb_backlog_n_{name}", age)
    await client.zadd("__mb_global_backlog_n", {f"{message_id}|{name}": global_id})
    await client.expire("__mb_global_backlog_n", age)
    await client.publish("_message_bus_0", text)
    await client.expire(f"__mb_backlog_id_n_{name}", age)
    if message_id > size:
        await client.zremrangebyscore(f"__mb_backlog_n_{name}", 1, message_id - size)
    if global_id > most:
        await client.zremrangebyscore("__mb_global_backlog_n", 1, global_id - most)
    return message_id


def ruby_envelope(data, users=None, groups=None, clients=None):
    lists = {"user_ids": users, "group_ids": groups, "client_ids": clients}
    return json.dumps({"data": data, **lists}, separators=(",", ":"))


async def test_stored_bytes_are_rubys(server, client):
    """Keys, members, scores and expiry are those that Ruby's own publish leaves."""
    async with bus(server) as log:
        for draft, _, _, _ in VECTORS:
            await append(log, [draft])
        for number, (_, key, member, pointer) in enumerate(VECTORS, 1):
            assert await client.zrange(key, 0, -1, withscores=True) == [(member, 1.0)]
            assert await client.zscore("__mb_global_backlog_n", pointer) == number
            assert WEEK - 5 <= await client.ttl(key) <= WEEK
            assert WEEK - 5 <= await client.ttl(key.replace(b"backlog_n", b"backlog_id_n")) <= WEEK
        assert await client.get("__mb_global_id_n") == b"3"
        assert await client.ttl("__mb_global_id_n") == -1
        assert await client.get("__mb_backlog_id_n_/pi|pe") == b"1"
        assert all(key.startswith(b"__mb_") for key in await client.keys())


async def test_batch_leaves_what_rubys_publishes_leave(server, client):
    """One turn of many messages and as many Ruby publishes make the same keys, to the byte."""
    names = ["/a", "/b", "/a", "/a", "/b$|$s", "/a"]
    for number, name in enumerate(names):
        await ruby_publish(client, name, ruby_envelope(number), size=2, most=4)

    async def everything():
        keys = [key for key in sorted(await client.keys()) if b"trunkline" not in key]
        sets = [key for key in keys if b"_id_n" not in key]
        counters = [key for key in keys if b"_id_n" in key]
        stored = {key: await client.zrange(key, 0, -1, withscores=True) for key in sets}
        return stored | dict(zip(counters, await client.mget(counters), strict=True))

    expected = await everything()
    await server.flush()
    async with bus(server, max_global_backlog_size=4) as log:
        log._retention.max_backlog_size = 2
        keys = [decode_name(name) for name in names]
        await log.append([[plain(key.name, n, site=key.site_id)] for n, key in enumerate(keys)])
    assert await everything() == expected


async def test_each_message_is_told_on_the_firehose(server, client):
    """Every message is published as it is stored, in order, also of one batch."""
    pubsub = client.pubsub(ignore_subscribe_messages=True)
    await pubsub.subscribe("_message_bus_0")
    await pubsub.get_message(timeout=1)
    async with bus(server) as log:
        await log.append([[draft] for draft, _, _, _ in VECTORS])
        told = []
        async with asyncio.timeout(10):
            while len(told) < 3:
                if (message := await pubsub.get_message(timeout=1)) is not None:
                    told.append(message["data"])
        assert told == [member for _, _, member, _ in VECTORS]
        log.watch(lambda: None)
    while (message := await pubsub.get_message(timeout=0.05)) is not None:
        assert message["data"] != b"$$UNSUBSCRIBE", "it would silence every Ruby process"
    await pubsub.aclose()


async def test_rubys_messages_are_read(server, client):
    """Backlog, sites, pipes and targeting of what Ruby wrote; an empty list restricts nothing."""
    await ruby_publish(client, "/a", ruby_envelope({"ü": "☃|"}, [1, "2"], ["g"], ["c"]))
    await ruby_publish(client, "/pi|pe", ruby_envelope(None, [], [], []))
    await ruby_publish(client, "/a$|$s", ruby_envelope([1.5]))
    async with bus(server) as log:
        first, second, third = await whole_line(log)
        audience = decode_audience(first.audience)
        assert (audience.user_ids, audience.group_ids) == ((1, "2"), ("g",))
        assert audience.client_ids == ("c",)
        assert codec.decode(first.data) == {"ü": "☃|"}
        assert (second.channel, second.audience) == (ChannelKey("/pi|pe"), None)
        assert (third.channel, third.message_id, third.global_id) == (ChannelKey("/a", "s"), 1, 3)
        page = await log.read(ChannelKey("/a", "s"), 0)
        assert values(page.records) == [[1.5]]
        assert [one.key for one in await log.channels()] == [
            ChannelKey("/a"),
            ChannelKey("/pi|pe"),
            ChannelKey("/a", "s"),
        ]


async def test_rubys_publish_wakes_us(server, client):
    """A watcher hears of what Ruby publishes, and reads it."""
    async with bus(server) as log:
        woken = asyncio.Event()
        log.watch(woken.set)
        await woken.wait()
        for number in range(3):
            woken.clear()
            await ruby_publish(client, "/a", ruby_envelope(number))
            async with asyncio.timeout(10):
                await woken.wait()
        assert values(await whole_line(log)) == [0, 1, 2]


async def test_unsubscribe_from_ruby_is_answered_by_subscribing_again(server, client):
    """A Ruby process that shuts down silences its kind; here listening begins anew."""
    async with bus(server, poll_interval=60) as log:
        woken = asyncio.Event()
        log.watch(woken.set)
        await woken.wait()
        woken.clear()
        await client.publish("_message_bus_0", "$$UNSUBSCRIBE")
        async with asyncio.timeout(10):
            await woken.wait()
        woken.clear()
        await ruby_publish(client, "/a", ruby_envelope(1))
        async with asyncio.timeout(10):
            await woken.wait()


async def test_ids_go_on_between_the_two(server, client):
    """Ruby and we share the counters: dense ids, whoever publishes."""
    async with bus(server) as log:
        for number in range(6):
            if number % 2:
                await ruby_publish(client, "/a", ruby_envelope(number))
            else:
                await append(log, [plain("/a", number)])
        line = await whole_line(log)
        assert [(one.global_id, one.message_id) for one in line] == [(n, n) for n in range(1, 7)]
        assert values(line) == list(range(6))


async def test_trimmed_by_ruby_is_a_gap_here(server, client):
    """What Ruby's trimming took is told by the floor, of a channel and of the line."""
    for number in range(5):
        await ruby_publish(client, "/a", ruby_envelope(number), size=2)
    async with bus(server) as log:
        page = await log.read(ChannelKey("/a"), 0)
        assert (page.floor, [one.message_id for one in page.records]) == (3, [4, 5])
        for interest in (None, EVERYTHING, Interest(keys=frozenset({ChannelKey("/a")}))):
            line = await log.read_all(0, interest=interest)
            assert (line.floor, [one.global_id for one in line.records]) == (3, [4, 5])
        quiet = await log.read_all(0, interest=Interest(keys=frozenset({ChannelKey("/b")})))
        assert quiet.floor == 0


async def test_global_cap_counts_pointers(server):
    """clear_every 5 with two pointers: four after four publishes, two after the fifth."""
    async with bus(server, max_global_backlog_size=2) as log:
        log._retention.clear_every = 5
        counts = []
        for number in range(5):
            await append(log, [plain(f"/c/{number}", number)])
            counts.append(await server.execute("ZCARD", "__mb_global_backlog_n"))
        assert counts == [1, 2, 3, 4, 2]
        named = Interest(keys=frozenset({ChannelKey("/c/0")}))
        assert values((await log.read_all(0, interest=named)).records) == [0]
        assert (await log.read_all(0)).floor == 3


async def test_idle_channel_expires_and_counts_from_one(server, client):
    """A channel's age is that of its last publish; then its counter is gone too, as in Ruby."""
    async with bus(server) as log:
        await append(log, [plain("/a", 1, max_backlog_age=1.0)], [plain("/b", 1)])
        assert await client.ttl("__mb_global_backlog_n") > 1, "others' messages stay reachable"
        while await client.exists("__mb_backlog_n_/a"):
            await asyncio.sleep(0.02)
        heads = await log.last_ids([ChannelKey("/a"), ChannelKey("/b")])
        assert list(heads.ids.values()) == [0, 1]
        (receipt,) = await append(log, [plain("/a", 2)])
        assert (receipt.message_id, receipt.global_id) == (1, 3)


async def test_reset_by_ruby_is_a_new_epoch(server, client):
    """Reset! deletes every key that begins with __mb_; whoever reads next sees another epoch."""
    async with bus(server) as log:
        await append(log, [plain("/a", 1)])
        before = await log.last_ids([])
        await client.delete(*await client.keys("__mb_*"))
        await ruby_publish(client, "/a", ruby_envelope("anew"))
        page = await log.read_all(0)
        assert page.epoch != before.epoch
        assert [(one.global_id, one.message_id) for one in page.records] == [(1, 1)]


async def test_other_history_is_a_new_epoch(server, client):
    """A counter as high as before with another message there is another line."""
    async with bus(server) as log:
        await append(log, [plain("/a", 1)])
        before = await log.last_ids([])
        ours = await client.get("__mb_trunkline")
        await client.delete(*await client.keys("__mb_*"))
        await client.set("__mb_trunkline", ours)
        await ruby_publish(client, "/b", ruby_envelope("other"))
        assert (await log.last_ids([])).epoch != before.epoch


@pytest.mark.parametrize(
    "draft",
    [
        plain("/a", 1, audience=b'{"exclude_client_ids":["c"]}'),
        plain("/a", 1, headers=b'{"h":1}'),
        plain("/a", 1, expected_version=0),
        plain("/a$$123$$b", 1),
    ],
)
async def test_what_ruby_would_mishandle_is_refused(server, draft):
    """Exclusions, headers, versions and names that Ruby misreads raise; nothing is stored."""
    async with bus(server) as log:
        outcomes = await log.append([[plain("/b", 1), draft], [plain("/b", 2)]])
        assert isinstance(outcomes[0], InvalidMessageError)
        assert values(await whole_line(log)) == [2]
        (refused,) = await log.append([[stream("/stream/t/1", 1, 0)]])
        assert isinstance(refused, ChannelKindError)


async def test_poisoned_message_is_passed_over(server, client, caplog):
    """A NaN, which Ruby stores and cannot read, neither stops the readers nor stays unsaid."""
    await ruby_publish(client, "/a", ruby_envelope(1))
    await ruby_publish(client, "/a", '{"data":NaN,"user_ids":null,"group_ids":null}')
    await ruby_publish(client, "/a", ruby_envelope(3))
    async with bus(server) as log:
        assert values(await whole_line(log)) == [1, 3]
        assert "passed over" in caplog.text


async def test_firehose_is_named_by_the_db_option_alone(server, client):
    """As in Ruby, a database in the URL's path does not change the pub/sub channel's name."""
    for url, channel in {
        f"redis://127.0.0.1:{server.port}/3?layout=message_bus": b"_message_bus_0",
        f"redis://127.0.0.1:{server.port}/?layout=message_bus&db=4": b"_message_bus_4",
    }.items():
        async with opened(url) as log:
            log.watch(lambda: None)
            async with asyncio.timeout(10):
                while channel not in await client.pubsub_channels():
                    await asyncio.sleep(0.01)


def test_names_with_sites_come_back():
    """Name and site are joined and split as Ruby does; text is decoded up to the third pipe."""
    for key in (ChannelKey("/a"), ChannelKey("/a|b", "s"), ChannelKey("/x/||", "t-1")):
        assert decode_name(encode_name(key)) == key
    record = decode_text(b'7|3|/x/$$123$$$$123$$$$$123$$$t|{"data":"|||"}')
    assert (record.channel, record.data) == (ChannelKey("/x/||", "t"), b'"|||"')


RUBY = """
require "message_bus"
require "json"
MessageBus.configure(backend: :redis, url: "redis://127.0.0.1:#{ARGV[0]}")
MessageBus.subscribe("/to-ruby", 0) do |m|
  puts JSON.dump([m.global_id, m.message_id, m.data, m.user_ids, m.group_ids, m.client_ids])
  $stdout.flush
end
3.times { |i| MessageBus.publish("/from-ruby", { "n" => i }, user_ids: [1, "2"]) }
puts JSON.dump(MessageBus.backlog("/to-ruby").map(&:data))
$stdout.flush
STDIN.read
"""


def has_ruby():
    if shutil.which("ruby") is None:
        return False
    return subprocess.run(["ruby", "-e", 'require "message_bus"'], check=False).returncode == 0


@pytest.mark.skipif(not has_ruby(), reason="Ruby's message_bus is not installed")
async def test_a_real_ruby_and_we_hear_each_other(server):
    """A Ruby process reads our backlog and our live messages, and we read its own."""
    async with bus(server) as log:
        await append(log, [plain("/to-ruby", "backlog", audience=AUDIENCE)])
        process = await asyncio.create_subprocess_exec(
            "ruby", "-e", RUBY, str(server.port), stdin=-1, stdout=-1
        )

        async def line():
            async with asyncio.timeout(30):
                return json.loads(await process.stdout.readline())

        lines = [await line(), await line()]
        assert ["backlog"] in lines
        assert [1, 1, "backlog", [1, "2"], ["g"], ["c"]] in lines
        (receipt,) = await append(log, [plain("/to-ruby", {"live": "☃"})])
        assert await line() == [receipt.global_id, 2, {"live": "☃"}, None, None, None]
        page = await log.read(ChannelKey("/from-ruby"), 0)
        assert values(page.records) == [{"n": 0}, {"n": 1}, {"n": 2}]
        assert decode_audience(page.records[0].audience).user_ids == (1, "2")
        process.stdin.close()
        process.terminate()
        await process.wait()
