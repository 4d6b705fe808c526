"""Redis: words between replicas."""

from orchestrator.adapters.redis.wakeups import RedisWakeups

__all__ = ["RedisWakeups"]
