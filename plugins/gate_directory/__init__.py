"""The directory plugin: a drop folder (or an SMB or NFS share) as source, a folder as target."""
