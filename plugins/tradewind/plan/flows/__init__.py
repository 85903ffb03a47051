"""One module a flow: `steps` yields those of its DAG, in order."""
