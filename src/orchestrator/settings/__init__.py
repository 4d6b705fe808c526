"""One typed tree of settings: defaults < file (YAML or TOML) < environment < flags < live changes."""

from __future__ import annotations

from orchestrator.settings.change import Change, apply, diff
from orchestrator.settings.document import NO_FILE
from orchestrator.settings.document_change import replacing
from orchestrator.settings.dump import dump
from orchestrator.settings.exposure import check_exposure
from orchestrator.settings.key import Key, keys, live_paths
from orchestrator.settings.legacy import SECTIONS, from_legacy, from_legacy_tree, inert_keys, legacy_view
from orchestrator.settings.load import Loaded, Origin, load
from orchestrator.settings.mask import MASK
from orchestrator.settings.reference import reference, schema
from orchestrator.settings.tree import Settings
from orchestrator.settings.url import loopback, normal_url

__all__ = [
    "MASK",
    "NO_FILE",
    "SECTIONS",
    "Change",
    "Key",
    "Loaded",
    "Origin",
    "Settings",
    "apply",
    "check_exposure",
    "diff",
    "dump",
    "from_legacy",
    "from_legacy_tree",
    "inert_keys",
    "keys",
    "legacy_view",
    "live_paths",
    "load",
    "loopback",
    "normal_url",
    "reference",
    "replacing",
    "schema",
]
