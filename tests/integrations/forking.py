"""A WSGI application whose line was used before the server forked."""

import json
import os

from trunkline.integrations.wsgi import LineMiddleware
from trunkline.sync import Trunkline

line = Trunkline(os.environ["FORKING_LOG"])
heard: list = []
line.subscribe("/a", lambda message: heard.append(message.data))
line.publish("/a", "before the fork")


def pages(environ, start_response):
    if environ["REQUEST_METHOD"] == "POST":
        line.publish("/a", environ["PATH_INFO"])
    start_response("200 OK", [("Content-Type", "application/json")])
    return [json.dumps([os.getpid(), heard]).encode()]


app = LineMiddleware(pages, line, path="/events", open=True)
