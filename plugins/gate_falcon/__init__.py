"""CrowdStrike Falcon's content updates, held by content update policies."""
