"""URLs, options and servers: what is taken, what is refused, and that each refusal names a fix."""

from __future__ import annotations

import asyncio
import contextlib
import json
import secrets

import nats
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.log.nats_line import draft, opened
from trunkline.errors import (
    ConfigError,
    LimitExceededError,
    LineClosedError,
    LogError,
    LogUnavailableError,
    MessageTooLargeError,
)
from trunkline.log.nats import NatsLog
from trunkline.log.nats.address import parse_address
from trunkline.log.nats.subjects import key_of, pattern_tail, tail
from trunkline.log.registry import engine_for
from trunkline.model.channel import ChannelKey
from trunkline.model.interest import ANY_SITE, PatternInterest
from trunkline.testing.contracts.support import append, eventually, plain, values, whole_line
from trunkline.testing.nats_server import NatsServer
from trunkline.testing.servers import free_port


@pytest.fixture(scope="module")
async def server():
    async with NatsServer() as server:
        yield server


@pytest.fixture
def line():
    return secrets.token_hex(4)


@pytest.mark.parametrize("scheme", ["nats", "tls"])
def test_schemes_are_registered(scheme):
    """Both schemes lead to the engine."""
    assert engine_for(f"{scheme}://localhost") is NatsLog


def test_url_says_where_and_how():
    """All servers share the login; options of ours and the driver's are told apart and typed."""
    found = parse_address(
        "tls://me:p%40ss@a,b:5000,[::1]:7?line=x&replicas=1&timeout=7.5&connect_timeout=0.5"
        "&dont_randomize=true&ping_interval=9",
        {"name": "mine", "inbox_prefix": "_MINE"},
    )
    assert found.servers == (
        "tls://me:p%40ss@a:4222",
        "tls://me:p%40ss@b:5000",
        "tls://me:p%40ss@[::1]:7",
    )
    assert (found.line, found.replicas, found.timeout) == ("x", 1, 7.5)
    assert found.driver["connect_timeout"] == 0.5
    assert found.driver["dont_randomize"] is True
    assert (found.driver["ping_interval"], found.driver["name"]) == (9, "mine")
    assert found.driver["max_reconnect_attempts"] == -1
    assert "p%40ss" not in found.place


def test_three_servers_mean_three_replicas():
    """Whoever names three servers wants to lose one of them; one server has one copy."""
    assert parse_address("nats://a,b,c", {}).replicas == 3
    assert parse_address("nats://a", {}).replicas == 1
    assert parse_address("nats://a,b,c?replicas=1", {}).replicas == 1


@pytest.mark.parametrize(
    ("url", "options", "words"),
    [
        ("nats://h?replica=3", {}, "did you mean replicas"),
        ("nats://h?conect_timeout=1", {}, "did you mean connect_timeout"),
        ("nats://h", {"zzzzzz": 1}, "there are line"),
        ("nats://h?line=a.b", {}, "A-Z"),
        ("nats://h?stream=a%20b", {}, "A-Z"),
        ("nats://h?replicas=7", {}, "from 1 to 5"),
        ("nats://h?replicas=many", {}, "wrong"),
        ("nats://h?storage=tape", {}, "wrong"),
        ("nats://h?sync=never", {}, "wrong"),
        ("nats://h?timeout=1", {}, "at least 5"),
        ("nats://h?connect_timeout=soon", {}, "connect_timeout"),
        ("nats://h/path", {}, "write nats://"),
        ("nats://h:port", {}, "names no server"),
        ("nats://", {}, "names no server"),
        ("nats://a,,b", {}, "names no server"),
        ("http://h", {}, "write nats://"),
        ("nats://h", {"client": object()}, "nats.aio.client.Client"),
    ],
)
def test_what_makes_no_sense_is_refused(url, options, words):
    """Each refusal says what would be right, and shows no password."""
    with pytest.raises(ConfigError, match=words) as caught:
        parse_address(url.replace("://h", "://u:secret@h"), options)
    assert "secret" not in str(caught.value)


names = st.text(min_size=1, max_size=40).filter(lambda text: text.isprintable())


@given(name=names, site=st.none() | names)
def test_channel_comes_back_from_its_subject(name, site):
    """Whatever a channel is called, its subject is one and leads back to it."""
    key = ChannelKey("/" + name, site)
    subject = tail(key)
    assert not set(subject) & set(" *>\r\n\t")
    assert "" not in subject.split(".")
    assert key_of(subject) == key


def test_wildcards_cover_patterns():
    """A pattern of no site becomes one wildcard; one of a site covers global channels besides."""
    assert pattern_tail(PatternInterest("/a/*/:b")) == "%.a.*.*"
    assert pattern_tail(PatternInterest("/a b/**", ANY_SITE)) == "*.a%20b.>"
    assert pattern_tail(PatternInterest("/a", "s")) is None


async def test_nobody_there_is_told_at_once(line):
    """No server at the address: the error names it and what to do."""
    port = free_port()
    with pytest.raises(LogUnavailableError, match=f"127.0.0.1:{port}.*start it"):
        async with opened(f"nats://127.0.0.1:{port}", open_timeout=0.5, line=line):
            pass


async def test_refused_login_is_told():
    """A wrong password is told as such, without the password."""
    settings = 'authorization { user: "me", password: "right" }'
    async with NatsServer(settings=settings) as server:
        with pytest.raises(LogError, match="refuses the login") as caught:
            async with opened(f"nats://me:wrong@127.0.0.1:{server.port}"):
                pass
        assert "wrong" not in str(caught.value).replace("refuses", "")
        async with opened(f"nats://me:right@127.0.0.1:{server.port}") as log:
            await append(log, [plain("/a", 1)])


async def test_server_without_jetstream_is_told():
    """JetStream must be on; the error says how."""
    async with NatsServer(jetstream=False) as server:
        with pytest.raises(LogError, match="start nats-server with -js"):
            async with opened(server.url, open_timeout=0.5):
                pass


async def test_old_server_is_told():
    """A server without atomic batches is refused by its version."""

    async def serve(reader, writer):
        info = {"server_id": "x", "version": "2.10.29", "max_payload": 1 << 20, "headers": True}
        writer.write(b"INFO " + json.dumps(info).encode() + b"\r\n")
        with contextlib.suppress(OSError):
            while text := await reader.readline():
                if text.startswith(b"PING"):
                    writer.write(b"PONG\r\n")
        writer.close()

    listening = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = listening.sockets[0].getsockname()[1]
    async with listening:
        with pytest.raises(LogError, match=r"2\.10\.29.*2\.12"):
            async with opened(f"nats://127.0.0.1:{port}"):
                pass


async def test_message_too_large_for_the_server_is_refused():
    """A server with the default size takes no whole mebibyte: refused, and the rest goes on."""
    async with NatsServer(max_payload=1024 * 1024) as server, opened(server.url) as log:
        (outcome,) = await log.append([[draft("/a", "x" * (1024 * 1024 - 2))]])
        assert isinstance(outcome, MessageTooLargeError)
        await append(log, [plain("/a", "y" * 1_000_000)])
        (finding,) = [
            one for one in NatsLog.examine(server.url, {}) if one.subject == "message size"
        ]
        assert finding.level == "warn"
        assert "max_payload: 2MB" in finding.fix


async def test_group_larger_than_a_batch_is_refused(server, line):
    """More messages than an atomic batch takes are refused; as many as it takes are stored."""
    async with opened(server.url, line=line) as log:
        group = [draft(f"/c/{number % 7}", number) for number in range(1001)]
        (outcome,) = await log.append([group])
        assert isinstance(outcome, LimitExceededError)
        await append(log, group[:1000])
        assert len(await whole_line(log)) == 1000


async def test_stream_that_drops_messages_is_refused(server, line):
    """Somebody limits the stream: opening says which setting, and how to mend it."""
    async with opened(server.url, line=line) as log:
        await append(log, [plain("/a", 1)])
    client = await nats.connect(server.url)
    context = client.jetstream()
    (info,) = [
        one
        for one in await context.streams_info()
        if line in one.config.name and not one.config.name.endswith("_marks")
    ]
    body = json.dumps(
        {"name": info.config.name, "subjects": info.config.subjects, "max_msgs": 10,
         "storage": "file", "allow_direct": True, "allow_atomic": True}
    )  # fmt: skip
    await client.request(f"$JS.API.STREAM.UPDATE.{info.config.name}", body.encode())
    await client.close()
    with pytest.raises(LogError, match=f"nats stream edit {info.config.name} --max-msgs=-1"):
        async with opened(server.url, line=line):
            pass
    failed = [one for one in NatsLog.examine(server.url, {"line": line}) if one.level == "fail"]
    assert [one.subject for one in failed] == [f"stream {info.config.name}"]


async def test_replicas_that_the_servers_cannot_keep_are_told(server, line):
    """Three copies on one server: the error names both settings."""
    with pytest.raises(LogError, match="replicas=3"):
        async with opened(server.url, line=line, replicas=3):
            pass


async def test_lines_share_servers_and_not_messages(server):
    """Two lines on one server know nothing of each other."""
    one, other = secrets.token_hex(4), secrets.token_hex(4)
    async with opened(server.url, line=one) as first, opened(server.url, line=other) as second:
        await append(first, [plain("/a", 1)])
        assert await whole_line(second) == []
        await second.reset()
        assert values(await whole_line(first)) == [1]


async def test_application_keeps_its_client(server, line):
    """A client that the application brings serves the whole engine, and outlives it."""
    client = await nats.connect(server.url)
    async with (
        opened(server.url, line=line, client=client) as log,
        opened(server.url, line=line) as other,
    ):
        woken = asyncio.Event()
        log.watch(woken.set)
        await asyncio.gather(*(append(log, [plain(f"/c/{n % 3}", n)]) for n in range(60)))
        await append(log, [plain("/a", 1, key="k"), plain("/b", 2)])
        (again,) = await append(log, [plain("/a", 1, key="k")])
        assert again.is_repeat
        assert len(await whole_line(log)) == 62
        woken.clear()
        await append(other, [plain("/a", "theirs")])
        await eventually(woken.is_set)
        assert values(await whole_line(log))[-1] == "theirs"
    assert client.is_connected
    await client.close()
    with pytest.raises(LogError, match="connect it first"):
        async with opened(server.url, line=line, client=client):
            pass


async def test_memory_line_forgets_with_its_server(line):
    """A line in memory works, and after a restart goes on empty, under another epoch."""
    async with NatsServer() as server, opened(server.url, storage="memory") as log:
        await append(log, [plain("/a", 1)])
        before = (await log.read_all(0)).epoch
        await server.kill9()
        await server.restart()
        page = await log.read_all(0)
        assert (list(page.records), page.head) == ([], 0)
        assert page.epoch != before


async def test_closed_log_says_so(server, line):
    """Whatever is called after the close is refused; it can be opened again."""
    async with opened(server.url, line=line) as log:
        await append(log, [plain("/a", 1)])
        await log.close()
        with pytest.raises(LineClosedError):
            await log.sweep()
        await log.open()
        assert values(await whole_line(log)) == [1]


async def test_examination_finds_a_healthy_line(server, line):
    """A line that was used is found with its streams; a lone server is said to be no cluster."""
    async with opened(server.url, line=line) as log:
        await append(log, [plain("/a", 1)])
    found = NatsLog.examine(server.url, {"line": line})
    assert not [one for one in found if one.level == "fail"]
    assert sum(one.subject.startswith("stream ") for one in found) == 2
    (durability,) = [one for one in found if one.subject == "durability"]
    assert (durability.level, "sync_interval: always" in durability.fix) == ("warn", True)
    always = NatsLog.examine(server.url, {"line": line, "sync": "always"})
    assert [one.level for one in always if one.subject == "durability"] == ["ok"]


def test_examination_tells_that_nobody_is_there():
    """Without a server there is one finding, which says so."""
    (finding,) = NatsLog.examine(f"nats://127.0.0.1:{free_port()}", {"open_timeout": 0.5})
    assert finding.level == "fail"
