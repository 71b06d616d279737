"""A pipeline of a command, functions and a read view; run by itself it dies at a point."""

from __future__ import annotations

import asyncio
import sys

from tests.cqrs.saga_town import Record, die_at, dying
from trunkline import Trunkline
from trunkline.cqrs.command import Command, Event
from trunkline.cqrs.pipeline_runner import PipelineRunner
from trunkline.cqrs.undoing import Undoing

STEPS = ("open", "write", "call", "view")


class Open(Command, name="open.shop"):
    shop: str


class Opened(Event, name="shop.:shop.opened"):
    shop: str
    street: str = "Main"


class Close(Command, name="close.shop"):
    shop: str


class Closed(Event, name="shop.:shop.closed"):
    shop: str


def town(line, record, *, point="", wish="fine", on_error="stop"):
    """Declare the commands and the pipeline."""
    line.event(Opened, Closed)

    @line.command(Open)
    def open_shop(command):
        yield Opened(command.shop)

    @line.command(Close)
    def close_shop(command):
        yield Closed(command.shop)

    pipeline = line.pipeline("opening", on_error=on_error)
    pipeline.step(
        "open",
        Open,
        zip={"street": "street"},
        undo=lambda data, key: Close(data["shop"]),
    )

    @pipeline.step("write", merge=True)
    async def write(body, tx):
        await tx.execute(f"INSERT INTO note VALUES ('{body['shop']} in {body['street']}')")
        die_at("within write", point)
        return {"written": True}

    def uncall(data, key):
        record.add("undid", "call", key)

    @pipeline.step("call", undo=uncall)
    async def call(body, key):
        record.add("did", "call", key)
        die_at("called", point)
        if wish == "fail":
            raise ConnectionError("away")

    @pipeline.step("view")
    async def view(body, tx):
        return [row[0] for row in await tx.fetch("SELECT text FROM note ORDER BY text")]

    return pipeline


async def main(url: str, path: str, point: str) -> None:
    wrapped = dying(point)
    Undoing.write = wrapped(Undoing.write)
    PipelineRunner._write = wrapped(PipelineRunner._write)
    PipelineRunner.begin = wrapped(PipelineRunner.begin)
    line = Trunkline(url)
    pipeline = town(line, Record(path), point=point)
    async with line:
        await line.run(pipeline, {"shop": "s"}, key="k")


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
