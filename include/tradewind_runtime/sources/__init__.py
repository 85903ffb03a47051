"""sources: one file a system."""
