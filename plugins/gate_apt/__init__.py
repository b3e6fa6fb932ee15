"""The apt plugin: Debian packages from a signed repository or a folder, served as a signed repository for each ring."""
