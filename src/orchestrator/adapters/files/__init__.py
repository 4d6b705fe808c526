"""Files below a root, and archives of them."""

from orchestrator.adapters.files.tree import FileTree

__all__ = ["FileTree"]
