"""``trunkline routes`` and ``trunkline projections``, as operators run them."""

from __future__ import annotations

import subprocess
import sys
from textwrap import dedent

import pytest

from tests.cli.conftest import Shell

SHOP = dedent(
    """
    import asyncio

    from trunkline import Trunkline
    from trunkline.cqrs.command import Command, Event

    line = Trunkline("sqlite:///shop.db")

    class Order(Command, name="place.order"):
        order_id: str

    class Ordered(Event, name="order.:order_id.placed"):
        order_id: str

    @line.command(Order)
    def place(cmd):
        yield Ordered(cmd.order_id)

    @line.before("*.order", priority=10)
    def check(cmd): ...

    TABLE = "CREATE TABLE {orders} (order_id text PRIMARY KEY)"

    @line.projector(tables={"orders": TABLE}, version=VERSION)
    async def orders(event: Ordered, tx):
        await tx.execute("INSERT INTO {orders} (order_id) VALUES (?)", event.order_id)

    @line.processor("order.**", consistency="eventual", domains="*")
    async def thank(event): ...

    async def main():
        async with line:
            for number in range(3):
                result = await line.send(Order(str(number)))
            print(result.events[0].id)

    if __name__ == "__main__":
        asyncio.run(main())
    """
)


@pytest.fixture
def shop(shell: Shell) -> Shell:
    (shell.folder / "shop.py").write_text(SHOP.replace("VERSION", "1"))
    return shell


def test_routes_are_a_table_and_lines_of_json(shop: Shell) -> None:
    """Commands, hooks, then those who hear events, each in its order."""
    lines = shop.out("routes", "shop:line").splitlines()

    assert lines[0].split() == ["pattern", "role", "handler", "takes", "when", "priority", "hears"]
    assert [line.split()[:3] for line in lines[1:]] == [
        ["place.order", "command", "main.place"],
        ["*.order", "before", "main.check"],
        ["order.:order_id.placed", "projector", "main.orders"],
        ["order.**", "processor", "main.thank"],
    ]
    assert lines[4].split()[3:] == ["any", "eventual", "255", "*,", "main"]
    rows = shop.objects("routes", "shop:line")
    assert [row["handler"] for row in rows] == [line.split()[2] for line in lines[1:]]
    assert rows[2]["wants"] == ["tx"]


def ordered(shop: Shell) -> str:
    """Place three orders, and return the id of the last event."""
    done = subprocess.run(
        [sys.executable, "shop.py"],
        cwd=shop.folder,
        env=shop.environ,
        check=True,
        capture_output=True,
        text=True,
    )
    return done.stdout.strip()


def test_a_trace_is_a_tree_and_json(shop: Shell) -> None:
    """By the id of an event; with the line, where each handler stands."""
    event_id = ordered(shop)
    tree = shop.out("trace", event_id, "--line", "shop:line").splitlines()

    assert f"→ order.2.placed {event_id} @3" in tree[1]
    assert "projector main.orders done" in tree[2]
    assert "processor main.thank waiting" in tree[3]
    (found,) = shop.objects("trace", event_id, "--line", "shop:line")
    assert found["commands"][0]["events"][0]["id"] == event_id
    bare = shop.out("trace", event_id, "--log", "sqlite:///shop.db")
    assert f"→ order.2.placed {event_id} @3" in bare
    assert "nothing is known" in shop.run("trace", "zzz", "--line", "shop:line", status=1).stderr


def test_projections_are_listed_and_rebuilt(shop: Shell) -> None:
    """Also those that this code is ahead of, before it is deployed."""
    ordered(shop)
    flag = ("--line", "shop:line")
    assert shop.out("projections", "list", *flag) == "main.orders  strong  version 1\n"
    (shop.folder / "shop.py").write_text(SHOP.replace("VERSION", "2"))
    assert "this code: 2" in shop.out("projections", "list", *flag)
    said = shop.out("projections", "rebuild", "orders", *flag).splitlines()
    assert said[-1] == "main.orders  live   3 events, up to 3"
    (state,) = shop.objects("projections", "list", *flag)
    assert (state["version"], state["is_whole"], state["building"]) == (2, True, None)


def test_a_mistaken_name_is_told(shop: Shell) -> None:
    """With the names there are."""
    done = shop.run("projections", "rebuild", "nothing", "--line", "shop:line", status=1)

    assert "main.orders" in done.stderr
