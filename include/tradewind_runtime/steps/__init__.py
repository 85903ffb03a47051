"""One module a step kind, each with `run(context: StepContext) -> StepOutcome`."""
