"""Commands of a fresh line: load, decide one event, append, one strong projector; tell the rate."""

from __future__ import annotations

import argparse
import asyncio
import json
import time

import msgspec
import uvloop

from trunkline import Trunkline
from trunkline.cqrs.command import Command, Event

AGGREGATES = 1000
HISTORY = 10
BULK = 100
TEXT = "x" * 180


class Fill(Command, name="fill"):
    account_id: str
    count: int


class Deposit(Command, name="deposit"):
    account_id: str
    amount: int


class Deposited(Event, name="account.deposited"):
    account_id: str
    amount: int
    text: str


class Entered(Event, name="account.entered"):
    account_id: str
    amount: int
    text: str


class Account(msgspec.Struct, frozen=True):
    balance: int = 0


def line_at(url: str) -> Trunkline:
    """Return a line with accounts and a read model of their balances."""
    line = Trunkline(url)
    line.aggregate(id="account_id")(Account)
    mark = "?" if url.startswith("sqlite") else "$1"

    @line.evolve
    def moved(account: Account | None, event: Deposited | Entered) -> Account:
        return Account((account.balance if account else 0) + event.amount)

    @line.command(Deposit)
    def deposit(command, account: Account | None):
        assert account is not None
        yield Deposited(command.account_id, command.amount, TEXT)

    @line.command(Fill, aggregate=Account)
    def fill(command):
        return [Entered(command.account_id, 1, TEXT) for _ in range(command.count)]

    @line.projector(Deposited)
    async def balance(event, tx):
        await tx.write(
            f"UPDATE balance SET amount = amount + 1 WHERE account_id = {mark}", event.account_id
        )

    return line


async def prepare(line: Trunkline, accounts: list[str], mark: str) -> None:
    async with line.transaction() as tx:
        await tx.execute("CREATE TABLE balance (account_id text PRIMARY KEY, amount bigint)")
        for one in accounts:
            await tx.write(f"INSERT INTO balance VALUES ({mark}, 0)", one)
    for start in range(0, len(accounts), 50):
        some = accounts[start : start + 50]
        await asyncio.gather(*(line.send(Fill(one, HISTORY)) for one in some))


async def cycles(line: Trunkline, accounts: list[str], callers: int, seconds: float) -> float:
    """Have callers send to different aggregates and return commands per second."""
    count, until = 0, time.perf_counter() + seconds

    async def call(number: int) -> None:
        nonlocal count
        own, turn = accounts[number::callers], 0
        while time.perf_counter() < until:
            await line.send(Deposit(own[turn % len(own)], 1))
            turn += 1
            count += 1

    began = time.perf_counter()
    await asyncio.gather(*(call(number) for number in range(callers)))
    return count / (time.perf_counter() - began)


async def bulk(line: Trunkline, seconds: float) -> float:
    """Append a hundred events per command and return events per second."""
    count, began = 0, time.perf_counter()
    while time.perf_counter() - began < seconds:
        await line.send(Fill(f"bulk {count}", BULK))
        count += 1
    return BULK * count / (time.perf_counter() - began)


async def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--log", required=True)
    parser.add_argument("--seconds", type=float, required=True)
    parser.add_argument("--what", choices=("1", "64", "bulk"), action="append", required=True)
    given = parser.parse_args()
    accounts = [f"account {number:04d}" for number in range(AGGREGATES)]
    mark = "?" if given.log.startswith("sqlite") else "$1"
    told = {}
    async with line_at(given.log) as line:
        await prepare(line, accounts, mark)
    for what in given.what:
        async with line_at(given.log) as line:  # one that remembers nothing
            if what == "bulk":
                told[what] = await bulk(line, given.seconds)
            else:
                told[what] = await cycles(line, accounts, int(what), given.seconds)
    print(json.dumps(told))


if __name__ == "__main__":
    uvloop.run(main())
