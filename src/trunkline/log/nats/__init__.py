"""The engine on NATS JetStream: for a cluster of processes and machines."""

from trunkline.log.nats.engine import NatsLog

__all__ = ["NatsLog"]
