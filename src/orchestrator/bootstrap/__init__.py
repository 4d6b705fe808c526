"""The only place that knows everything: settings become adapters, services and entry points here."""

from orchestrator.bootstrap.run import run, serve
from orchestrator.bootstrap.service import Service, assemble
from orchestrator.bootstrap.watcher import watched

__all__ = ["Service", "assemble", "run", "serve", "watched"]
