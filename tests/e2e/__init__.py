"""A package, so that fixtures may have its scope: the stack goes down after the last of these tests."""
