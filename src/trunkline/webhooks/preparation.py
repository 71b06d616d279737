"""Making the request of a claimed transmission, from the state as it is now.

Whether the app may still have it, where it goes and with which secrets it is signed is looked up
for a whole batch, after the claim; the payload is made for each by itself.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Mapping, Sequence
from typing import Any, Final

from trunkline.errors import TrunklineError
from trunkline.model import codec
from trunkline.runtime.clock import Clock
from trunkline.sql.database import Database
from trunkline.webhooks.bodies import body_of, plain_payload
from trunkline.webhooks.catalogue import Catalogue
from trunkline.webhooks.connection import grants
from trunkline.webhooks.errors import PayloadError
from trunkline.webhooks.outgoing import Outgoing, Prepare, Transmission, WithdrawnError
from trunkline.webhooks.ring import SecretRing
from trunkline.webhooks.settings import WebhookOptions
from trunkline.webhooks.statements import listed, paired, statements_of
from trunkline.webhooks.vault import Vault
from trunkline.wire.signature import SigningKey

#: Characters of an error of the application's that are kept.
TOLD: Final = 500

Grant = tuple[str, str, str]  # app, account type, account
Endpoint = tuple[str, Mapping[str, Any]]  # url, options


class Preparation:
    """Look up what a batch of claimed transmissions needs.

    Args:
        database: Where the tables are.
        catalogue: The declared signals.
        vault: Opens secrets.
        options: The settings.
        clock: Tells the time.
    """

    def __init__(
        self,
        database: Database,
        catalogue: Catalogue,
        vault: Vault,
        options: WebhookOptions,
        clock: Clock,
    ) -> None:
        self._database = database
        self._catalogue = catalogue
        self._options = options
        self._clock = clock
        self._ring = SecretRing(database, vault, clock)
        self._sql = statements_of(database)
        self._keys: dict[bytes, SigningKey] = {}

    async def look_up(self, transmissions: Sequence[Transmission]) -> Prepare:
        """Look up whether, where to and how signed; return what prepares each of them.

        Args:
            transmissions: Claimed before.
        """
        desk = Desk(self._catalogue, self._options)
        await self._find_endpoints(desk, {one.endpoint_id for one in transmissions})
        owners = {one.app_id or one.endpoint_id for one in transmissions}
        accounts = {
            (one.account_type, one.account_id) for one in transmissions if one.app_id is not None
        }
        if accounts:
            await self._find_grants(desk, sorted(accounts))
        await self._find_secrets(desk, owners)
        return desk.prepare

    async def _find_endpoints(self, desk: Desk, ids: set[str]) -> None:
        for row in await self._database.fetch(self._sql.prepared_apps, self._listed(sorted(ids))):
            desk.endpoints[row[0]] = (row[1], codec.decode(row[2]))

    async def _find_grants(self, desk: Desk, accounts: Sequence[tuple[str, str]]) -> None:
        fetched = await self._database.fetch(
            self._sql.prepared_grants, *paired(self._database.dialect, accounts)
        )
        for row in fetched:
            desk.grants[row[0], row[1], row[2]] = codec.decode(row[3])

    async def _find_secrets(self, desk: Desk, owners: set[str]) -> None:
        fetched = await self._database.fetch(
            self._sql.prepared_secrets, self._listed(sorted(owners)), self._clock.now()
        )
        for row in fetched:
            try:
                key = self._key(row[1], row[0], bytes(row[3]))
            except TrunklineError as error:
                desk.unsigned[row[1]] = told(error)
            else:
                desk.secrets.setdefault(row[1], []).append(key)

    def _key(self, owner: str, ident: str, sealed: bytes) -> SigningKey:
        """Open a secret, or remember it: what is sealed never changes."""
        found = self._keys.get(sealed)
        if found is None:
            if len(self._keys) >= 10_000:
                self._keys.clear()
            opened = self._ring.opened(owner, ident, sealed)
            found = self._keys[sealed] = SigningKey.read(opened)
        return found

    def _listed(self, values: Sequence[str]) -> Any:
        return listed(self._database.dialect, list(values))


class Desk:
    """Hold what was looked up for a batch.

    Args:
        catalogue: The declared signals.
        options: The settings.
    """

    def __init__(self, catalogue: Catalogue, options: WebhookOptions) -> None:
        self._catalogue = catalogue
        self._options = options
        self.endpoints: dict[str, Endpoint] = {}
        self.grants: dict[Grant, Sequence[str]] = {}
        self.secrets: dict[str, list[SigningKey]] = {}
        self.unsigned: dict[str, str] = {}

    async def prepare(self, one: Transmission) -> Outgoing:
        """Read the latest state of one of them, and make its request.

        Raises:
            WithdrawnError: It must not be sent any more.
            PayloadError: Its payload can't be made.
        """
        url, options = self._endpoint(one)
        owner = one.app_id or one.endpoint_id
        if owner in self.unsigned:  # what some of its secrets can't sign isn't sent without
            raise PayloadError(self.unsigned[owner])
        keys = tuple(self.secrets.get(owner, ()))
        if one.body is not None:
            headers = {"content-type": "application/json"}
            return Outgoing(url=url, body=one.body, headers=headers, secrets=keys)
        kind = self._body_kind(str(options.get("format", "standard")))
        payload = await self._payload(one)
        try:
            body, headers = body_of(kind, one, payload, source=self._options.source)
        except TrunklineError as error:
            raise PayloadError(told(error)) from error
        if len(body) > (limit := self._options.payload_limit):
            raise PayloadError(
                f"the body has {len(body)} bytes, and webhooks.payload_limit={limit}"
            )
        return Outgoing(url=url, body=body, headers=headers, secrets=keys)

    def _body_kind(self, how: str) -> str:
        if how in {"demux", "both"}:
            return "demux"
        return how if how == "cloudevents" else self._options.body

    def _endpoint(self, one: Transmission) -> Endpoint:
        endpoint = self.endpoints.get(one.endpoint_id)
        if endpoint is None:
            raise WithdrawnError("the app has no signal_url any more")
        if one.app_id is not None:
            granted = self.grants.get((one.app_id, one.account_type, one.account_id))
            if granted is None:
                raise WithdrawnError("the app was disconnected from the account")
            if not grants(list(granted), one.signal_name):
                raise WithdrawnError(f"the account does not grant {one.signal_name!r} any more")
        return endpoint

    async def _payload(self, one: Transmission) -> dict[str, Any]:
        """Run the application's code, in its time and with its errors told."""
        try:
            async with asyncio.timeout(self._options.payload_timeout):
                signal = self._catalogue.restore(
                    one.signal_name,
                    object_id=one.object_id,
                    account_id=one.account_id,
                    context=codec.decode(one.context),
                )
                return plain_payload(await called(signal.payload_for(one.action)))
        except TimeoutError as error:
            limit = self._options.payload_timeout
            raise PayloadError(f"the payload was not there after {limit:g} seconds") from error
        except Exception as error:
            raise PayloadError(told(error)) from error


async def called(method: Any) -> Any:
    """Call a method of the application's: awaited if it is asynchronous, else in a thread."""
    if inspect.iscoroutinefunction(method):
        return await method()
    found = await asyncio.to_thread(method)
    return await found if inspect.isawaitable(found) else found


def told(error: BaseException) -> str:
    """Return an error as it is kept."""
    text = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
    return text.replace("\0", "\ufffd").encode(errors="replace").decode()[:TOLD]
