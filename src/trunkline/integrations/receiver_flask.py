"""Receiving webhooks in Flask.

@app.post("/hooks")
@webhook(inbox)
def hook(delivery: Delivery) -> str: ...
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

from flask import Response, abort, request

from trunkline.errors import UsageError
from trunkline.webhooks.inbox import Delivery, Inbox


def received(inbox: Inbox) -> Delivery:
    """Verify the current request, and end it with 401 or 413 if it doesn't hold.

    Args:
        inbox: Knows the sender.
    """
    body = request.stream.read(inbox.largest + 1)
    try:
        return inbox.verify(dict(request.headers.items()), body)
    except UsageError as error:
        abort(Response(str(error), error.status))


def webhook(inbox: Inbox) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Have a view called with the delivery first; None as its answer becomes 204.

    Args:
        inbox: Knows the sender.
    """

    def wrap(view: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(view)
        def verified(*args: Any, **options: Any) -> Any:
            answer = view(received(inbox), *args, **options)
            return Response(status=204) if answer is None else answer

        return verified

    return wrap
