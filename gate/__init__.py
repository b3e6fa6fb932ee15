"""gate: a staged update-rollout gatekeeper for pharmacies."""
