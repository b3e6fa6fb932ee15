"""ClamAV's signature databases as source, and the machine's clamd and freshclam as target."""
