"""Redis: words between replicas."""

from orchestrator.adapters.redis.counters import RedisCounters
from orchestrator.adapters.redis.wakeups import RedisWakeups

__all__ = ["RedisCounters", "RedisWakeups"]
