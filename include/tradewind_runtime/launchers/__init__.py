"""launchers: one file a system."""
