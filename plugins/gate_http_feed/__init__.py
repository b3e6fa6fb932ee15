"""The http_feed plugin: a JSON document on a web server that lists releases with their digests."""
