"""tuners: one file a system."""
