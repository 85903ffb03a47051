"""engines: one file a system."""
