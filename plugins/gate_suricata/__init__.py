"""The suricata plugin: rules as a tar.gz with its md5, taken by suricata-update."""
