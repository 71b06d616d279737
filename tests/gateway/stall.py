"""A gateway that serves a shelf of items in memory, to clients who say who they are."""

from __future__ import annotations

from tests.entities.shelves import Shelf
from tests.gateway.serving import serving
from trunkline import Identity, Trunkline

ITEM = ("items", "100")


class Stall:
    """Serve a shelf in memory, whose things have an owner in their value."""

    def __init__(self, server="handed-over", *, scope=None, access=None, batch=False, **settings):
        self.line = Trunkline("memory://", **settings)
        self.shelf = Shelf()
        self.server = server
        self.calls = []
        options = {"scope": scope, "access": access, "batch": batch, "timeout": 1.0}
        self.line.entity("items", **options)(self.batch if batch else self.shelf.fetch)

    async def batch(self, wanted):
        self.calls.append(len(wanted))
        return [await self.shelf.fetch(key, viewer) for key, viewer in wanted]

    async def __aenter__(self):
        await self.line.open()
        self.gateway = self.line.gateway(identify=_identify, access=lambda *_: True)
        self._serving = serving(self.gateway, self.server)
        self.port = await self._serving.__aenter__()
        return self

    async def __aexit__(self, *told):
        await self._serving.__aexit__(*told)
        await self.gateway.close()
        await self.line.close()

    async def put(self, value, key=ITEM):
        await self.shelf.put(self.line, *key, value)


def _identify(request):
    user = request.query.get("user", ["ann"])[0]
    return Identity(user_id=user)
