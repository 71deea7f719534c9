"""Everything is restarted, one process after the other, while it works."""
