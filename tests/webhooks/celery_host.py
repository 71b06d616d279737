"""A host whose signals are carried by Celery; imported by its worker, a process of its own."""

from __future__ import annotations

import os
from pathlib import Path

from celery import Celery

from trunkline import Trunkline
from trunkline.webhooks.celery import celery_demuxer
from trunkline.webhooks.signal import Signal

FOLDER = Path(os.environ["HOST_FOLDER"])

queue = Celery("host", broker="filesystem://")
queue.conf.broker_transport_options = {
    "data_folder_in": str(FOLDER / "queue"),
    "data_folder_out": str(FOLDER / "queue"),
    "control_folder": str(FOLDER / "control"),
}
queue.conf.worker_hijack_root_logger = False

line = Trunkline(os.environ["HOST_LOG"], webhooks={"demuxer": celery_demuxer(queue, lambda: line)})


@line.webhooks.declare
class PageSignal(Signal):
    signal_name = "page"

    def find(self, object_id):
        return object_id

    def payload(self):
        return {}


class Notebook:
    """Write down what it is asked to send."""

    def poke(self) -> None: ...

    async def transmit(self, ids) -> None:
        with (FOLDER / "sent").open("a") as file:
            file.writelines(f"{one}\n" for one in ids)


line.webhooks.attach(Notebook())
