"""The house of `plugins/aem_guides`, from the ground up."""

from __future__ import annotations

FLOORS = (
    ("protocol",),
    ("hooks",),
    ("runtime",),
    ("storage",),
    ("archive", "ledger", "results"),
    ("triggers",),
    ("assets", "reconciliation"),
    ("operators",),
    ("sensors",),
    ("pipelines",),
    ("plans",),
    ("console",),
)
"""The packages and modules of the house, from the ground up: each imports from lower floors only."""
OUTSIDE = {"__init__", "provider_info", "workarounds"}
"""What only Airflow and its plugin manager load."""
