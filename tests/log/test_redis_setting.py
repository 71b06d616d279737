"""URLs, options and servers: what is taken, what is refused, and that each refusal names a fix."""

from __future__ import annotations

import asyncio
import contextlib

import pytest
from redis.asyncio import ConnectionPool, Redis
from redis.exceptions import ResponseError

from tests.log.test_redis_faults import opened
from trunkline.errors import ConfigError, LineClosedError, LogError, LogUnavailableError
from trunkline.log.redis import RedisLog
from trunkline.log.redis.faults import fault_of, is_doubtful, is_passing
from trunkline.log.redis.link import check_server
from trunkline.log.redis.location import parse_location
from trunkline.log.registry import engine_for
from trunkline.testing.contracts.support import append, eventually, plain, values, whole_line
from trunkline.testing.redis_server import RedisSentinel, RedisServer


@pytest.mark.parametrize("scheme", ["redis", "rediss", "redis+sentinel"])
def test_schemes_are_registered(scheme):
    """All three schemes lead to the engine."""
    assert engine_for(f"{scheme}://localhost") is RedisLog


def test_url_says_where_and_how():
    """Host, port, database, login and TLS come from the URL; options of ours and the driver's."""
    found = parse_location(
        "rediss://me:p%40ss@db.example:7000/3?prefix=x:&socket_timeout=2.5&health_check_interval=9"
        "&ssl_check_hostname=no&ssl_min_version=TLSv1_3&queue_limit=5",
        {"client_name": "me"},
    )
    assert (found.driver["host"], found.driver["port"]) == ("db.example", 7000)
    assert (found.driver["db"], found.driver["ssl"]) == (3, True)
    assert (found.driver["username"], found.driver["password"]) == ("me", "p@ss")
    assert found.driver["socket_timeout"] == 2.5
    assert found.driver["health_check_interval"] == 9
    assert found.driver["ssl_check_hostname"] is False
    assert found.driver["ssl_min_version"].name == "TLSv1_3"
    assert found.driver["client_name"] == "me"
    assert (found.tuning.prefix, found.tuning.queue_limit) == ("x:", 5)
    assert "p%40ss" not in found.shown


def test_sentinel_url_names_hosts_and_service():
    """Several Sentinels, the service's name and database, and a login of their own."""
    found = parse_location(
        "redis+sentinel://u:p@one,two:5000,[::1]:7/line/2?sentinel_password=s", {}
    )
    assert found.sentinels == (("one", 26379), ("two", 5000), ("::1", 7))
    assert (found.service, found.driver["db"], found.driver["password"]) == ("line", 2, "p")
    assert found.sentinel_driver == {"password": "s"}


@pytest.mark.parametrize(
    ("url", "options", "words"),
    [
        ("redis://h?socket_timeot=1", {}, "did you mean socket_timeout"),
        ("redis://h", {"layuot": "native"}, "did you mean layout"),
        ("redis://h?zzzzzz=1", {}, "ours are layout"),
        ("redis://h?layout=ruby", {}, "native, message_bus"),
        ("redis://h?layout=message_bus&prefix=x", {}, "no prefix"),
        ("redis://h?max_global_backlog_size=5", {}, "max_line_size"),
        ("redis://h?queue_limit=0", {}, "more than 0"),
        ("redis://h?queue_timeout=soon", {}, "wrong"),
        ("redis://h?prefix=a%20b", {}, "without spaces"),
        ("redis://h?socket_timeout=x", {}, "socket_timeout"),
        ("redis://h/x", {}, "no number"),
        ("redis://h/1/2", {}, "one server"),
        ("redis://a,b", {}, "no host and port"),
        ("redis://h:port", {}, "no host and port"),
        ("redis+sentinel://h", {}, "service"),
        ("redis://h", {"decode_responses": True}, "no option"),
        ("redis://h", {"client": object()}, "redis.asyncio.Redis"),
        ("redis://h", {"client": Redis(decode_responses=True)}, "decode"),
        ("redis://h", {"connection_pool": ConnectionPool(decode_responses=True)}, "decode"),
        ("http://h", {}, "redis://"),
    ],
)
def test_what_makes_no_sense_is_refused(url, options, words):
    """One clear error that names what would be right."""
    with pytest.raises(ConfigError, match=words):
        parse_location(url, options)


def test_server_that_will_not_do_is_refused():
    """Too old, a cluster, or a read-only replica: each says what to use instead."""
    good = {"redis_version": "6.2.0", "cluster_enabled": 0, "role": "master"}
    check_server(good, "redis://h")
    check_server({**good, "redis_version": "8.0.1"}, "redis://h")
    check_server({**good, "role": "slave", "slave_read_only": 0}, "redis://h")
    for wrong, words in (
        ({"redis_version": "6.0.16"}, "6.2 or newer"),
        ({"redis_version": "?"}, "6.2 or newer"),
        ({"cluster_enabled": 1}, "redis\\+sentinel"),
        ({"role": "slave", "master_host": "m", "master_port": 1}, "m:1"),
    ):
        with pytest.raises(LogError, match=words):
            check_server({**good, **wrong}, "redis://h")


@pytest.mark.parametrize(
    ("text", "words", "passes"),
    [
        ("READONLY You can't write against a read only replica.", "redis\\+sentinel", True),
        ("Error running script: @user_script:9: -READONLY You can't", "read-only replica", True),
        ("LOADING Redis is loading the dataset in memory", "still loading", True),
        ("MISCONF Redis is configured to save RDB snapshots", "make room", False),
        ("OOM command not allowed when used memory > 'maxmemory'.", "maxmemory", False),
        ("NOAUTH Authentication required.", "user and password", False),
        ("NOPERM this user has no permissions", "may run scripts", False),
        ("ERR unknown", "refuses: ERR unknown", False),
    ],
)
def test_refusals_say_what_to_do(text, words, passes):
    """Every known refusal of a server becomes one sentence with its fix."""
    error = ResponseError(text)
    with pytest.raises(LogError, match=words):
        raise fault_of(error, "redis://h")
    assert is_passing(error) is passes
    assert not is_doubtful(error)


async def test_wrong_login_is_one_clear_error():
    """A wrong or missing password fails at once, without its text."""
    async with RedisServer(password="right") as server:
        for url in (server.log_url, server.log_url.replace("//", "//:wrong@")):
            with pytest.raises(LogError, match="user and password") as told:
                async with opened(url):
                    pass
            assert "wrong@" not in str(told.value)
        async with opened(server.log_url.replace("//", "//:right@")) as log:
            await append(log, [plain("/a", 1)])


async def test_cluster_replica_and_nobody_are_refused():
    """A Redis Cluster, a replica and an address where nobody listens: open says which it is."""
    async with RedisServer("--cluster-enabled", "yes") as cluster:
        with pytest.raises(LogError, match="Cluster"):
            async with opened(cluster.log_url):
                pass
        url = cluster.log_url
    with pytest.raises(LogUnavailableError, match="cannot be reached"):
        async with opened(url):
            pass
    async with RedisServer() as master, RedisServer() as replica:
        await replica.follow(master)
        with pytest.raises(LogError, match=f"its master, 127.0.0.1:{master.port}"):
            async with opened(replica.log_url):
                pass


async def test_doctor_looks_at_what_matters():
    """A durable server is fine; each setting that loses messages is a failure with its fix."""
    async with RedisServer() as server:

        async def look():
            found = await asyncio.to_thread(RedisLog.examine, server.log_url, {})
            return {one.subject: one for one in found}

        assert {one.level for one in (await look()).values()} == {"ok"}
        for name, value, subject in (
            ("appendfsync", "everysec", "appendfsync"),
            ("maxmemory-policy", "allkeys-lru", "maxmemory-policy"),
            ("appendonly", "no", "appendonly"),
        ):
            await server.execute("CONFIG", "SET", name, value)
            finding = (await look())[subject]
            assert finding.level in {"warn", "fail"}
            assert "CONFIG SET" in finding.fix
        url = server.log_url
        assert await server.execute("EXISTS", "trunkline:line") == 0, "a look changes nothing"
    (finding,) = await asyncio.to_thread(RedisLog.examine, url, {})
    assert (finding.level, finding.subject) == ("fail", "server")


async def test_prefixes_keep_lines_apart():
    """Two lines on one database do not see each other; resetting one leaves the other."""
    async with RedisServer() as server:
        url = f"{server.log_url}?prefix="
        async with opened(f"{url}one:") as one, opened(f"{url}two:") as two:
            await append(one, [plain("/a", 1)])
            await append(two, [plain("/a", 2)])
            await two.reset()
            assert values(await whole_line(one)) == [1]
            keys = await server.execute("KEYS", "*")
            assert all(key.startswith((b"one:", b"two:")) for key in keys)


async def test_pool_of_the_application_serves():
    """A connection pool given as an option is used."""
    async with RedisServer() as server:
        pool = ConnectionPool(host="127.0.0.1", port=server.port)
        async with opened("redis://ignored", connection_pool=pool) as log:
            await append(log, [plain("/a", 1)])
            assert len(await whole_line(log)) == 1
        await pool.aclose()


async def test_sentinel_failover_goes_on_with_the_new_master():
    """The master dies; the Sentinel promotes its replica, and publishes that waited go through."""
    async with contextlib.AsyncExitStack() as stack:
        master = await stack.enter_async_context(RedisServer())
        replica = await stack.enter_async_context(RedisServer())
        await replica.follow(master)
        sentinel = await stack.enter_async_context(RedisSentinel(master))
        async with asyncio.timeout(20):
            while await sentinel.replicas() == 0:
                await asyncio.sleep(0.05)
        log = await stack.enter_async_context(opened(sentinel.log_url, queue_timeout=25))
        woken = []
        log.watch(lambda: woken.append(1))
        (receipt,) = await append(log, [plain("/a", 1)])
        await master.execute("WAIT", 1, 5000)
        await master.kill9()
        (after,) = await append(log, [plain("/a", 2)])
        assert (after.global_id, after.epoch) == (2, receipt.epoch), "nothing was lost"
        assert values(await whole_line(log)) == [1, 2]
        woken.clear()
        async with opened(replica.log_url) as other:
            await append(other, [plain("/a", 3)])
        await eventually(lambda: bool(woken))


async def test_closed_log_leaves_no_connection():
    """Close ends every connection, the listening one too; later calls say so."""
    async with RedisServer() as server:
        async with opened(server.log_url) as log:
            log.watch(lambda: None)
            await append(log, [plain("/a", 1)])
        with pytest.raises(LineClosedError):
            await log.last_ids([])
        async with asyncio.timeout(10):
            while (await server.execute("INFO", "clients"))["connected_clients"] > 1:
                await asyncio.sleep(0.01)
