"""A shop on Celery whose line was used before the workers were forked."""

from __future__ import annotations

import os
from pathlib import Path

from celery import Celery

from trunkline.cqrs.command import Command, Event
from trunkline.integrations.celery import LineTasks
from trunkline.sync import Trunkline

FOLDER = Path(os.environ["SHOP_FOLDER"])

queue = Celery("shop", broker="filesystem://")
queue.conf.broker_transport_options = {
    "data_folder_in": str(FOLDER / "queue"),
    "data_folder_out": str(FOLDER / "queue"),
    "control_folder": str(FOLDER / "control"),
}
queue.conf.worker_hijack_root_logger = False
queue.conf.worker_prefetch_multiplier = 1

line = Trunkline(f"sqlite:///{FOLDER}/line.db")
tasks = LineTasks(queue, line)
heard: list[int] = []


class Open(Command, name="open.account"):
    account: str


class Greet(Command, name="greet.account"):
    account: str


class Opened(Event, name="account.:account.opened"):
    account: str


class Greeted(Event, name="account.:account.greeted"):
    account: str


line.event(Greeted)


@line.command(Open)
async def open_account(command: Open):
    yield Opened(command.account)


@line.command(Greet)
async def greet_account(command: Greet):
    yield Greeted(command.account)


@line.processor("account.:account.opened", consistency="eventual")
@tasks.handler
def greet(event: Opened) -> list[Command]:
    return [Greet(event.account)]


@queue.task(name="shop.work", acks_late=True)
def work(number: int) -> None:
    line.publish("/done", [os.getpid(), number])


# What is used before the fork goes on after it, in the parent and in each child.
line.subscribe("/numbers", lambda message: heard.append(message.data))
line.publish("/numbers", 0)
