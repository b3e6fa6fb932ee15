"""What holds when processes die and machines come all at once. ``make soak``."""
