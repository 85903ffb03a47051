"""Custom operators and triggers: how a plan's steps become tasks."""
