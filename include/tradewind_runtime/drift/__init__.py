"""drift: one file a system."""
