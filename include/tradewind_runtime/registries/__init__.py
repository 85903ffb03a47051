"""registries: one file a system."""
