"""Handlers: imported when Django starts; a worker (``manage.py trunkline worker``) runs them."""

from shop.models import Order
from trunkline import Message
from trunkline.entities import EntityKey, Viewer
from trunkline.integrations.django import line


@line.consumer("mails", "/users/*/orders")
def mail(message: Message, tx) -> None:
    tx.publish("/mails", f"order {message.data['order']} is confirmed")


@line.asynchronous.entity("orders")
async def order(key: EntityKey, viewer: Viewer):
    found = await Order.objects.filter(pk=key.id, user_id=viewer.user_id).afirst()
    return found and {"number": found.number}
