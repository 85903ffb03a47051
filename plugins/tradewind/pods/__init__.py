"""Pods of steps, as Kubernetes tells of them: why one did not start, how it ended, and what the next one is to do."""
