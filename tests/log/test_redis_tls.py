"""``rediss://``: the engine over TLS, with a certificate of our own making.

The wheel's redis-server speaks no TLS, so a TLS endpoint of ours stands before it, as stunnel does
in many places; the client's side is the engine's and the driver's own.
"""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import ipaddress
import ssl

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from trunkline.errors import LogUnavailableError
from trunkline.log.redis import RedisLog
from trunkline.log.retention import Retention
from trunkline.runtime.clock import SystemClock
from trunkline.testing.contracts.support import append, eventually, plain, values, whole_line
from trunkline.testing.redis_server import RedisServer
from trunkline.testing.servers import HOST


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    """Make a certificate for the loopback, and return the files of it and of its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "redis.test")])
    now = dt.datetime.now(dt.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address(HOST))]),
            critical=False,
        )
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    folder = tmp_path_factory.mktemp("tls")
    (folder / "cert.pem").write_bytes(made.public_bytes(serialization.Encoding.PEM))
    (folder / "key.pem").write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return folder / "cert.pem", folder / "key.pem"


class Endpoint:
    """Take TLS connections and hand their bytes on."""

    def __init__(self, target, certificate):
        self._target = target
        self._context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        self._context.load_cert_chain(*certificate)
        self._writers = []
        self.versions = set()

    async def __aenter__(self):
        self._server = await asyncio.start_server(self._carry, HOST, 0, ssl=self._context)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_):
        self._server.close()
        self.cut()

    def cut(self):
        """End every connection."""
        for writer in self._writers:
            writer.transport.abort()
        self._writers.clear()

    async def _carry(self, reader, writer):
        self.versions.add(writer.get_extra_info("ssl_object").version())
        redis_reader, redis_writer = await asyncio.open_connection(HOST, self._target)
        self._writers += [writer, redis_writer]
        pumps = [pump(reader, redis_writer), pump(redis_reader, writer)]
        await asyncio.gather(*pumps)


async def pump(reader, writer):
    with contextlib.suppress(OSError, ssl.SSLError):
        while chunk := await reader.read(65536):
            writer.write(chunk)
            await writer.drain()
    writer.transport.abort()


@pytest.fixture
async def endpoint(certificate):
    async with RedisServer() as server, Endpoint(server.port, certificate) as endpoint:
        yield endpoint


@contextlib.asynccontextmanager
async def opened(url):
    log = RedisLog.from_url(url, retention=Retention(), clock=SystemClock(), options={})
    await log.open()
    try:
        yield log
    finally:
        await log.close()


async def test_a_line_over_tls_is_like_any_other(endpoint, certificate):
    """It stores, reads, hears of news, and comes back after its connections were cut."""
    url = f"rediss://{HOST}:{endpoint.port}/0?ssl_ca_certs={certificate[0]}"
    woken = []
    async with opened(url) as log, opened(url) as other:
        log.watch(lambda: woken.append(1))
        await append(other, [plain("/a", 1)])
        await eventually(lambda: bool(woken))
        endpoint.cut()
        woken.clear()
        await append(other, [plain("/a", 2)])
        await eventually(lambda: bool(woken))
        assert values(await whole_line(log)) == [1, 2]
    assert endpoint.versions <= {"TLSv1.2", "TLSv1.3"}
    assert endpoint.versions


async def test_a_certificate_that_nobody_vouches_for_is_refused(endpoint):
    """Without its authority named nothing is sent; the error says what is wrong."""
    with pytest.raises(LogUnavailableError, match=r"(?i)certificate.*TLS"):
        async with opened(f"rediss://{HOST}:{endpoint.port}/0"):
            pass


async def test_tls_where_there_is_none_is_one_clear_error():
    """``rediss://`` to a server without TLS says so, rather than hang."""
    async with RedisServer() as server:
        with pytest.raises(LogUnavailableError, match="TLS"):
            async with opened(f"rediss://{HOST}:{server.port}/0?socket_connect_timeout=2"):
                pass
