"""The tuf plugin: targets of an upstream TUF repository, by python-tuf's client."""
