"""Who is told of what: one small file a system."""
