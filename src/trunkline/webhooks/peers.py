"""The services that we know: kept with hashed passwords and sealed secrets."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Any

import msgspec

from trunkline.errors import ConfigError, ConflictError
from trunkline.model import codec
from trunkline.runtime.clock import Clock
from trunkline.sql.database import Database, Row
from trunkline.webhooks.errors import UnknownPeerError
from trunkline.webhooks.peer import (
    Credentials,
    Peer,
    PeerKeys,
    Scheme,
    check_channels,
    check_name,
    check_password,
    hash_password,
)
from trunkline.webhooks.ring import SIGNAL, SecretRing, checked_secret, new_secret
from trunkline.webhooks.sibling_statements import SiblingStatements, sibling_statements
from trunkline.webhooks.statements import listed
from trunkline.webhooks.vault import Vault
from trunkline.wire.signature import SigningKey, encode_secret
from trunkline.wire.toot import Format


class PeerTerms(msgspec.Struct, frozen=True, kw_only=True):
    """Say how we and a peer deal with each other.

    Args:
        channels: Patterns of what it may subscribe to, such as ``org.example.users.**``.
        format: ``standard``, or ``toot`` for a service that runs the gem.
        scheme: How we prove who we are to it: a signature by default, Basic to Toot.
    """

    channels: tuple[str, ...] = ("**",)
    format: Format = "standard"
    scheme: Scheme | None = None


class Peers:
    """Keep peers.

    Args:
        ready: Opens the line if need be, and returns its database.
        vault: Seals what goes out.
        clock: Tells the time.
        grace: Seconds that an old secret stays valid beside a new one, if nothing else is said.
    """

    def __init__(
        self,
        ready: Callable[[], Awaitable[Database]],
        vault: Vault,
        clock: Clock,
        *,
        grace: float = 86400.0,
    ) -> None:
        self._ready = ready
        self._vault = vault
        self._clock = clock
        self._grace = grace

    async def add(
        self,
        name: str,
        *,
        send: Credentials | None = None,
        password: str | None = None,
        secret: str | None = None,
        **terms: Any,
    ) -> Credentials:
        """Add a peer, or replace what is kept of it at once; :meth:`rotate_secret` overlaps.

        Args:
            name: Its name here; it comes under this one.
            send: What it gave us; with its secret both sides sign.
            password: What it comes with; a new one by default, none where *send* is given.
            secret: What both sign with; the one in *send* or a new one by default, and none
                for the format ``toot``.
            **terms: As :class:`PeerTerms`.

        Returns:
            What to give it, told only now.

        Raises:
            ConfigError: Something can't be used.
        """
        given = _terms(terms)
        check_name(name)
        if password is None and send is None:
            password = secrets.token_urlsafe(24)
        if secret is None and given.format != "toot":
            secret = encode_secret(secrets.token_bytes(32)) if send is None else send.secret
        scheme = _scheme(given, send, secret)
        hashed = (
            None
            if password is None
            else await asyncio.to_thread(hash_password, check_password(password))
        )
        outgoing = None if send is None else codec.encode(msgspec.to_builtins(send)).decode()
        database, sql = await self._open()
        now = self._clock.now()
        async with database.transaction() as tx:
            await tx.execute(
                sql.put_peer,
                name,
                hashed,
                None if secret is None else self._vault.seal(secret, owner=f"peer {name}"),
                None if outgoing is None else self._vault.seal(outgoing, owner=f"to {name}"),
                scheme,
                given.format,
                codec.encode(list(given.channels)).decode(),
                now,
                now,
            )
            await tx.execute(sql.forget_retired, _ring_of(name))
        return Credentials(name=name, password=password, secret=secret)

    async def rotate_secret(
        self, name: str, *, grace: float | None = None, value: str | None = None
    ) -> str:
        """Give a peer a new secret; the old ones stay valid for a while.

        Until then what we send is signed with all of them, and what comes may be signed with any:
        so the other side may take the new one whenever it likes before.

        Args:
            name: Which.
            grace: Seconds that old ones stay valid; 0 when one may be in wrong hands. As the
                webhooks' setting ``secret_grace`` says by default.
            value: The secret that the other side has made; a new one by default.

        Returns:
            The new secret, told only now.

        Raises:
            UnknownPeerError: There is none.
            ConfigError: Nothing between us is signed.
            SignalError: The value can't be used, or too many are valid still.
            ConflictError: Somebody else changed it meanwhile.
        """
        new = new_secret(SIGNAL) if value is None else checked_secret(SIGNAL, value)
        database, sql = await self._open()
        rows = await database.fetch(sql.peer, name)
        if not rows:
            raise UnknownPeerError(f"no peer {name!r}")
        if rows[0]["secret"] is None:
            raise ConfigError(f"peer {name!r} has no secret: add it again with one")
        sealed, owner = bytes(rows[0]["secret"]), f"peer {name}"
        old = self._vault.open(sealed, owner=owner)
        if old == new:
            return new  # repeated, as by an operator who is not sure: it ends nothing
        changed = (self._vault.seal(new, owner=owner), self._clock.now(), name, sealed)
        ring = SecretRing(database, self._vault, self._clock)
        async with database.transaction() as tx:
            if not await tx.execute(sql.rotate_peer, *changed):
                raise ConflictError(f"peer {name!r} was changed meanwhile: look, and try again")
            wait = self._grace if grace is None else grace
            await ring.retire(tx, _ring_of(name), old, grace=wait)
        return new

    async def list(self, *, after: str = "", limit: int = 1000) -> Sequence[Peer]:
        """Return peers, by name.

        Args:
            after: Begin after this name.
            limit: Peers at most.
        """
        database, sql = await self._open()
        return [_peer(row) for row in await database.fetch(sql.peers, after, limit)]

    async def find(self, name: str) -> Peer | None:
        """Return a peer, or None."""
        database, sql = await self._open()
        rows = await database.fetch(sql.peer, name)
        return _peer(rows[0]) if rows else None

    async def remove(self, name: str) -> None:
        """Remove a peer and its subscriptions; what is queued for it is not sent any more.

        Raises:
            UnknownPeerError: There is none.
        """
        database, sql = await self._open()
        async with database.transaction() as tx:
            if not await tx.execute(sql.remove_peer, name):
                raise UnknownPeerError(f"no peer {name!r}")
            await tx.execute(sql.forget_retired, _ring_of(name))
            await tx.execute(sql.remove_peer_endpoints, name)
            await tx.execute(sql.remove_peer_callbacks, name)

    async def keys(self, names: Iterable[str]) -> Mapping[str, PeerKeys]:
        """Return what requests are proven with, by peer; those that there are.

        Raises:
            SecretError: A secret can't be opened.
        """
        database, sql = await self._open()
        wanted = sorted(set(names))
        # In this order: a secret that is replaced in between is found twice, and never not at all.
        rows = await database.fetch(sql.some_peers, listed(database.dialect, wanted))
        rings = listed(database.dialect, [_ring_of(name) for name in wanted])
        retired: dict[str, tuple[str, ...]] = {}
        ring = SecretRing(database, self._vault, self._clock)
        for ident, owner, sealed in await database.fetch(sql.retired, rings, self._clock.now()):
            opened = ring.opened(owner, ident, sealed)
            retired[owner] = (*retired.get(owner, ()), opened)
        return {
            row["name"]: self._keys(row, retired.get(_ring_of(row["name"]), ())) for row in rows
        }

    def _keys(self, row: Row, retired: tuple[str, ...]) -> PeerKeys:
        name, scheme = row["name"], row["scheme"]
        secret, sealed = row["secret"], row["outgoing"]
        sent = Credentials(name=name)
        if sealed is not None:
            opened = self._vault.open(bytes(sealed), owner=f"to {name}")
            sent = msgspec.json.decode(opened, type=Credentials)
        token = None if sent.token is None else f"Bearer {sent.token}"
        return PeerKeys(
            name=name,
            us=sent.name if sealed is not None else "",
            scheme=scheme,
            secret=None
            if secret is None
            else self._vault.open(bytes(secret), owner=f"peer {name}"),
            authorization={"basic": sent.basic, "bearer": token}.get(scheme),
            password=row["password"],
            retired=retired,
        )

    async def _open(self) -> tuple[Database, SiblingStatements]:
        database = await self._ready()
        return database, sibling_statements(database)


def _ring_of(name: str) -> str:
    """Return whose a peer's old secrets are in the ring: no app's id has a slash."""
    return f"peer/{name}"


def _terms(given: Mapping[str, Any]) -> PeerTerms:
    try:
        terms = msgspec.convert({**given}, PeerTerms)
    except msgspec.ValidationError as error:
        raise ConfigError(f"a peer's terms: {error}") from error
    if unknown := sorted(set(given) - set(PeerTerms.__struct_fields__)):
        raise ConfigError(f"a peer has no {unknown[0]!r}")
    check_channels(terms.channels)
    return terms


def _scheme(terms: PeerTerms, send: Credentials | None, secret: str | None) -> Scheme:
    scheme = terms.scheme
    if scheme is None:
        is_known = send is not None and send.password is not None
        scheme = "signature" if secret is not None else "basic" if is_known else "none"
    if scheme == "signature" and secret is None:
        raise ConfigError("a signature needs a secret that both sides have")
    if scheme == "signature":
        SigningKey.read(secret or "")
    if scheme in {"basic", "bearer"} and (send is None or send.password is None):
        raise ConfigError(f"{scheme} needs what the peer gave us: send=Credentials(…)")
    return scheme


def _peer(row: Row) -> Peer:
    return Peer(
        name=row["name"],
        channels=tuple(codec.decode(row["channels"])),
        format=row["format"],
        scheme=row["scheme"],
        has_password=row["password"] is not None,
        has_secret=row["secret"] is not None,
        created_at=row["created_at"],
        updated_at=row["updated_at"],
    )
