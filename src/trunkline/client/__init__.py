"""Python clients for the gateway's protocols; they need the extra ``client``."""

from trunkline.channels.catchup import Gap
from trunkline.client.client import Client
from trunkline.client.entities import EntityState, EntityWatch
from trunkline.client.message_bus import MessageBusClient, Stats, Status
from trunkline.client.settings import ClientOptions
from trunkline.client.subscription import Subscription

__all__ = [
    "Client",
    "ClientOptions",
    "EntityState",
    "EntityWatch",
    "Gap",
    "MessageBusClient",
    "Stats",
    "Status",
    "Subscription",
]
