"""serving: one file a system."""
