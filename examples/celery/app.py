"""Celery: what is published becomes tasks, which Celery's own workers run.

    pip install trunkline celery
    python examples/celery/app.py

It starts a worker of Celery's beside itself, with a folder as the broker.
"""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

from celery import Celery

from trunkline import Message
from trunkline.integrations.celery import LineTasks
from trunkline.sync import Trunkline

FOLDER = Path(os.environ.setdefault("SHOP_FOLDER", tempfile.mkdtemp()))

queue = Celery("shop", broker="filesystem://")
queue.conf.broker_transport_options = {
    "data_folder_in": str(FOLDER / "queue"),
    "data_folder_out": str(FOLDER / "queue"),
    "control_folder": str(FOLDER / "control"),
}
queue.conf.worker_hijack_root_logger = False
for name in ("queue", "control"):
    (FOLDER / name).mkdir(exist_ok=True)

line = Trunkline(f"sqlite:///{FOLDER}/trunkline.db")
tasks = LineTasks(queue, line)


@line.consumer("mails", "/orders")
@tasks.handler
def mail(message: Message) -> None:
    # A task may run twice: the key makes its effect happen once.
    text = f"order {message.data['order']} is confirmed"
    line.publish("/mails", text, key=f"mail-{message.global_id}")


def main(orders: int) -> None:
    """Place orders, and print what Celery made of them."""
    command = (sys.executable, "-m", "celery", "-A", "app:queue", "worker", "--concurrency=2")
    options = ("--pool=prefork", "--without-mingle", "--without-gossip", "--loglevel=WARNING")
    celery = subprocess.Popen([*command, *options], cwd=Path(__file__).parent)
    try:
        line.open()
        line.start_services()  # a `trunkline worker` elsewhere would do the same
        with line.subscribe("/mails") as mails:
            for number in range(orders):
                line.publish("/orders", {"order": number})
            for _ in range(orders):
                print(next(mails).data, flush=True)
    finally:
        celery.terminate()
        celery.wait()
        line.close()


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 3)
