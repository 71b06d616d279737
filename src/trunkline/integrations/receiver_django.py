"""Receiving webhooks in Django.

@webhook(inbox)
def hook(request, delivery):
with transaction.atomic():
if inbox.accept_in(connection, delivery):
...
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

from django.http import HttpRequest, HttpResponse
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_POST

from trunkline.errors import UsageError
from trunkline.webhooks.inbox import Delivery, Inbox


def received(inbox: Inbox, request: HttpRequest) -> Delivery:
    """Verify a request.

    Args:
        inbox: Knows the sender.
        request: The request, whose body nobody has read.

    Raises:
        SignatureError: It doesn't hold.
        BodyTooLargeError: There is too much of it.
    """
    return inbox.verify(dict(request.headers), request.read(inbox.largest + 1))


def webhook(inbox: Inbox) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Have a view called with the request and the delivery; None as its answer becomes 204.

    What doesn't hold is answered 401 or 413. The signature takes the place of Django's token
    against forged requests.

    Args:
        inbox: Knows the sender.
    """

    def wrap(view: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(view)
        def verified(request: HttpRequest, *args: Any, **options: Any) -> Any:
            try:
                delivery = received(inbox, request)
            except UsageError as error:
                return HttpResponse(str(error), status=error.status)
            answer = view(request, delivery, *args, **options)
            return HttpResponse(status=204) if answer is None else answer

        exempt: Callable[..., Any] = csrf_exempt(require_POST(verified))
        return exempt

    return wrap
