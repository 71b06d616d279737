"""A small domain for the tests of commands: carts, a read model, and those who hear of them."""

from __future__ import annotations

import msgspec

from tests.store.databases import Ground
from trunkline import Trunkline
from trunkline.cqrs.command import Command, Event
from trunkline.cqrs.errors import Refused


class OpenCart(Command, name="open.cart"):
    cart_id: str
    owner: str = "nobody"


class AddItem(Command, name="add.item"):
    cart_id: str
    item: str
    count: int = 1


class CartOpened(Event, name="cart.:cart_id.opened"):
    cart_id: str
    owner: str


class ItemAdded(Event, name="cart.:cart_id.added"):
    cart_id: str
    item: str
    count: int


class Cart(msgspec.Struct, frozen=True):
    cart_id: str
    items: tuple[str, ...] = ()


class Shop:
    """Be a line with carts, on one of the databases; ``mark`` fills in its placeholders."""

    def __init__(self, ground: Ground, **settings):
        self.ground = ground
        self.line = ground.line(**settings)
        self.seen: list[str] = []
        declare(self.line, self)

    def sql(self, statement: str) -> str:
        return marked(self.ground, statement)

    async def __aenter__(self) -> Trunkline:
        await self.line.__aenter__()
        async with self.line.transaction() as tx:
            await tx.execute("DROP TABLE IF EXISTS cart")
            await tx.execute("CREATE TABLE cart (cart_id text PRIMARY KEY, items integer)")
        return self.line

    async def __aexit__(self, *error: object) -> None:
        await self.line.close()

    async def rows(self, statement: str = "SELECT cart_id, items FROM cart ORDER BY cart_id"):
        async with self.line.transaction() as tx:
            return [tuple(row) for row in await tx.fetch(statement)]

    async def stored(self) -> list[str]:
        """Return the names of all events on the log, in order."""
        log = self.line._premises.log
        page = await log.read_all(0, 10_000)
        catalog = self.line.commands.plan.catalog
        return [
            catalog.recorded(record).name
            for record in page.records
            if record.channel.name.startswith("/stream/")
        ]


def marked(ground: Ground, statement: str) -> str:
    if ground.dialect == "sqlite":
        return statement
    parts = statement.split("?")
    return "".join(f"{part}${n}" for n, part in enumerate(parts[:-1], 1)) + parts[-1]


def declare(line: Trunkline, shop: Shop) -> None:
    line.aggregate(id="cart_id")(Cart)

    @line.evolve
    def opened(cart: Cart | None, event: CartOpened) -> Cart:
        return Cart(event.cart_id)

    @line.evolve
    def added(cart: Cart, event: ItemAdded) -> Cart:
        return Cart(cart.cart_id, (*cart.items, event.item))

    @line.command(OpenCart)
    def open_cart(command, cart: Cart | None):
        if cart is not None:
            raise Refused(f"{command.cart_id} is open", code="cart-open")
        yield CartOpened(command.cart_id, command.owner)

    @line.command(AddItem)
    async def add_item(command: AddItem, cart: Cart | None):
        if cart is None:
            raise Refused("no such cart")
        yield ItemAdded(command.cart_id, command.item, command.count)

    @line.projector(CartOpened)
    async def row(event: CartOpened, tx):
        await tx.write(shop.sql("INSERT INTO cart VALUES (?, 0)"), event.cart_id)

    @line.projector("cart.:cart_id.added")
    async def count(event: ItemAdded, tx, cart_id: str):
        await tx.write(shop.sql("UPDATE cart SET items = items + 1 WHERE cart_id = ?"), cart_id)
