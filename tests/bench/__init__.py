"""What it costs: every goal beside its limit, measured in one run. ``make bench``."""
