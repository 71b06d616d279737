"""What is put behind servers of WSGI applications: polls below /events, and a shop around them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from trunkline.integrations.wsgi import LineMiddleware
from trunkline.sync import Trunkline

line = Trunkline()


def shop(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    """Answer what is not the line's, after a publish by a synchronous view."""
    receipt = line.publish("/views", environ["PATH_INFO"])
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"published %d" % receipt.message_id]


application = LineMiddleware(shop, line, path="/events", open=True)
