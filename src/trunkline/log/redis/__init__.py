"""The engine on a Redis server, shared by many processes; alone in naming the Redis driver."""

from trunkline.log.redis.engine import RedisLog

__all__ = ["RedisLog"]
