"""`select`: the version to roll out, if there is one.

The challenger, unless its digest is served already or was once: what was rolled out is never rolled
out again by a cached run. Given a version, it says whether that is still the challenger: a newer one
supersedes it while it has no traffic. A person may ask for any version: that is how one goes back.
"""

from __future__ import annotations

from tradewind_runtime import endpoints
from tradewind_runtime.context import StepContext
from tradewind_runtime.contract.deploy import SelectConfig
from tradewind_runtime.contract.errors import StepError
from tradewind_runtime.contract.refs import ModelRef
from tradewind_runtime.contract.request import StepOutcome, Verdict
from tradewind_runtime.registries import registry


def run(context: StepContext) -> StepOutcome:
    """Ask the registry for the challenger and the endpoint for what it has served.

    Raises:
        StepError: TW572 where a person asks for a version that there is not.
    """
    config = context.request.configured(SelectConfig)
    if config.wanted:
        return _wanted(context, config, config.wanted)
    found = registry(config.registry).challenger(context.registry_uri(), config.model)
    chosen = context.request.inputs.get("version")
    if found is None:
        return _no(f"{config.model} has no challenger")
    digest, version = found
    if isinstance(chosen, ModelRef) and chosen.digest != digest:
        return _no(f"version {chosen.version} was superseded by version {version}")
    if endpoints.served(context.lake.documents, config.endpoint, digest):
        return _no(f"version {version} was rolled out before")
    now = endpoints.latest(context.lake.documents, config.endpoint)
    under_way = now is not None and now.canary == digest
    tried = any(one.canary == digest for one in endpoints.generations(context.lake.documents, config.endpoint))
    if tried and not under_way and not config.again:
        return _no(f"version {version} was rolled back before; trigger this DAG by hand to try it again")
    return _yes(config, version, digest, now)


def _wanted(context: StepContext, config: SelectConfig, version: str) -> StepOutcome:
    known = {one.version: one for one in registry(config.registry).versions(context.registry_uri(), config.model)}
    if version not in known:
        raise StepError(
            "TW572",
            f"model {config.model!r} has no version {version}",
            retryable=False,
            got=version,
            expected=", ".join(sorted(known, key=int)) or "none yet",
            fix="tradewind model ls",
        )
    now = endpoints.latest(context.lake.documents, config.endpoint)
    if now is not None and now.stable == known[version].digest and now.canary is None:
        return _no(f"version {version} is what is served")
    return _yes(config, version, known[version].digest, now)


def _yes(config: SelectConfig, version: str, digest: str, now: endpoints.EndpointGeneration | None) -> StepOutcome:
    return StepOutcome(
        outputs={"version": ModelRef(name=config.model, version=version, digest=digest)},
        facts={
            "model": config.model,
            "version": version,
            "digest": digest,
            "replaces": now.stable if now else None,
            "generation": now.number if now else 0,
        },
        verdict=Verdict(passed=True),
    )


def _no(reason: str) -> StepOutcome:
    return StepOutcome(verdict=Verdict(passed=False, reasons=(reason,)))
