"""Placement: filter, then pick the node for a piece of work, with reasons (docs/explanation/placement.md)."""

from orchestrator.domain.placement.node_state import NodeState, Residency
from orchestrator.domain.placement.options import PolicyOptions, Thresholds, Weights
from orchestrator.domain.placement.placement import (
    DEFAULT_POLICY,
    POLICIES,
    Considered,
    Placement,
    policy_name,
)
from orchestrator.domain.placement.policy import Policy, Rating
from orchestrator.domain.placement.prefix import PrefixAffinity, prefix_chain
from orchestrator.domain.placement.record import Outcome, Record
from orchestrator.domain.placement.rejection import Rejection, eligibility, no_candidate
from orchestrator.domain.placement.request import CandidateSet, PlacementRequest
from orchestrator.domain.placement.roster import Roster
from orchestrator.domain.placement.weighted import weighted_parts, weighted_score

__all__ = [
    "DEFAULT_POLICY",
    "POLICIES",
    "CandidateSet",
    "Considered",
    "NodeState",
    "Outcome",
    "Placement",
    "PlacementRequest",
    "Policy",
    "PolicyOptions",
    "PrefixAffinity",
    "Rating",
    "Record",
    "Rejection",
    "Residency",
    "Roster",
    "Thresholds",
    "Weights",
    "eligibility",
    "no_candidate",
    "policy_name",
    "prefix_chain",
    "weighted_parts",
    "weighted_score",
]
