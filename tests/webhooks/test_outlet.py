"""Whatever an endpoint answers, or doesn't, a call ends in time, with little read."""

from __future__ import annotations

import asyncio
import datetime as dt
import gzip
import ssl
import tracemalloc

import pytest

from tests.webhooks.calling import LOOPBACK, OK, Names, named, ok, outlet_of, refused, says, send
from tests.webhooks.receiving import raw_server


@pytest.mark.parametrize(
    ("beginning", "drop"),
    [
        pytest.param(b"HTTP/1.1 200 OK\r\n", b"X: y\r\n", id="headers"),
        pytest.param(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n", b"x", id="body"),
    ],
)
async def test_an_answer_that_drips_is_cut_by_the_total_time(beginning, drop) -> None:
    async def drips(reader, writer) -> None:
        await reader.readuntil(b"\r\n\r\n")
        await says(writer, beginning)
        while True:
            await says(writer, drop)
            await asyncio.sleep(0.03)

    async with raw_server(drips) as (port, _), outlet_of() as outlet:
        error = await refused(outlet, f"http://127.0.0.1:{port}/", timeout=0.3)

    assert error.outcome == "timeout"


async def endless(reader, writer) -> None:
    await reader.readuntil(b"\r\n\r\n")
    await says(writer, b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    while True:
        await says(writer, b"10000\r\n" + b"x" * 0x10000 + b"\r\n")


async def test_an_endless_body_is_read_up_to_the_limit() -> None:
    async with raw_server(endless) as (port, _), outlet_of(response_bytes=4096) as outlet:
        answer = await send(outlet, f"http://127.0.0.1:{port}/", timeout=5)

    assert (answer.status, len(answer.body), answer.is_cut) == (200, 4096, True)


async def test_a_compressed_bomb_stays_compressed() -> None:
    bomb = gzip.compress(b"\0" * 50_000_000)

    async def bombs(reader, writer) -> None:
        await reader.readuntil(b"\r\n\r\n")
        head = f"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: {len(bomb)}\r\n\r\n"
        await says(writer, head.encode() + bomb)

    async with raw_server(bombs) as (port, _), outlet_of() as outlet:
        tracemalloc.start()
        answer = await send(outlet, f"http://127.0.0.1:{port}/")
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()

    assert answer.body == bomb[:16384]
    assert peak < 5_000_000


@pytest.mark.parametrize(
    "head",
    [
        b"X: " + b"y" * 100_000 + b"\r\n",
        b"X: y\r\n" * 20_000,
        b"y" * 100_000,
        b"\x00\xff: \xfe\r\n",
        b"Content-Length: -1\r\n",
        b"Content-Length: 5\r\nContent-Length: 6\r\n",
    ],
)
async def test_headers_too_large_or_broken_are_a_bad_answer(head) -> None:
    async def answers(reader, writer) -> None:
        await reader.readuntil(b"\r\n\r\n")
        await says(writer, b"HTTP/1.1 200 OK\r\n" + head + b"\r\n")

    async with raw_server(answers) as (port, _), outlet_of() as outlet:
        error = await refused(outlet, f"http://127.0.0.1:{port}/", timeout=5)

    assert error.outcome in {"bad_answer", "broken"}


async def test_what_is_no_http_is_a_bad_answer() -> None:
    async def answers(reader, writer) -> None:
        await reader.readuntil(b"\r\n\r\n")
        await says(writer, b"220 smtp.example.com ESMTP\r\n")

    async with raw_server(answers) as (port, _), outlet_of() as outlet:
        error = await refused(outlet, f"http://127.0.0.1:{port}/")

    assert error.outcome == "bad_answer"
    assert "smtp" not in str(error)


async def test_a_kept_connection_that_was_closed_meanwhile_is_made_anew() -> None:
    requests = []

    async def answers_once(reader, writer) -> None:
        requests.append(await reader.readuntil(b"\r\n\r\n"))
        await says(writer, OK)
        await reader.readuntil(b"\r\n\r\n")  # the next one on this connection is not answered

    async with raw_server(answers_once) as (port, peers), outlet_of() as outlet:
        url = f"http://127.0.0.1:{port}/"
        assert [(await send(outlet, url)).status for _ in range(2)] == [200, 200]
        assert len(peers) == 2


@pytest.mark.parametrize("usage", ["self-signed", "wrong name"])
async def test_a_certificate_that_does_not_hold_is_refused(usage, tmp_path) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    path = certificate(tmp_path, "other.test" if usage == "wrong name" else "tls.test")
    context.load_cert_chain(path)
    trusting = ssl.create_default_context()
    if usage == "wrong name":
        trusting.load_verify_locations(path)
    server = await asyncio.start_server(ok, "127.0.0.1", 0, ssl=context)
    port = server.sockets[0].getsockname()[1]
    async with named(LOOPBACK, Names(["127.0.0.1"]), ssl=trusting) as outlet:
        error = await refused(outlet, f"https://tls.test:{port}/")
    server.close()

    assert error.outcome == "tls"


async def test_a_certificate_that_holds_is_for_the_name_and_not_the_address(tmp_path) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    path = certificate(tmp_path, "tls.test")
    context.load_cert_chain(path)
    trusting = ssl.create_default_context(cafile=path)
    server = await asyncio.start_server(ok, "127.0.0.1", 0, ssl=context)
    port = server.sockets[0].getsockname()[1]
    async with named(LOOPBACK, Names(["127.0.0.1"]), ssl=trusting) as outlet:
        assert (await send(outlet, f"https://tls.test:{port}/")).status == 200
    server.close()


def certificate(folder, name):
    """Make a certificate for a name, signed by itself, with its key in one file."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    now = dt.datetime.now(dt.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .sign(key, hashes.SHA256())
    )
    path = folder / "certificate.pem"
    path.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        + made.public_bytes(serialization.Encoding.PEM)
    )
    return path
