"""frameworks: one file a system."""
