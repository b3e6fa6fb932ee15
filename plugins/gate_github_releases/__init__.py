"""The github_releases plugin: assets of a project's releases, with the digests that GitHub keeps of them."""
