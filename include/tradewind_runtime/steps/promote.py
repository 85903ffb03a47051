"""`promote`: a version whose rollout is finished becomes the champion. Twice is as once."""

from __future__ import annotations

from tradewind_runtime.context import StepContext
from tradewind_runtime.contract.errors import StepError
from tradewind_runtime.contract.promote import PromoteConfig
from tradewind_runtime.contract.refs import ModelRef
from tradewind_runtime.contract.request import StepOutcome
from tradewind_runtime.registries import registry


def run(context: StepContext) -> StepOutcome:
    """Move the registry's alias.

    Raises:
        StepError: TW574 where the version is not the artefact that it should be.
    """
    config = context.request.configured(PromoteConfig)
    given = context.request.inputs.get("version")
    version = given.version if isinstance(given, ModelRef) else config.version
    digest = given.digest if isinstance(given, ModelRef) else config.digest
    if version is None:
        raise StepError("TW574", f"no version of {config.model!r} to promote", retryable=False)
    source, uri = registry(config.registry), context.registry_uri()
    found = next((one for one in source.versions(uri, config.model) if one.version == version), None)
    if found is None or (digest is not None and found.digest != digest):
        raise StepError(
            "TW574",
            f"version {version} of {config.model!r} is not the model that was rolled out",
            retryable=False,
            got=found.digest if found else "no such version",
            expected=digest,
            fix="look at it: tradewind model show",
        )
    before = source.champion(uri, config.model)
    promoted = source.promote(uri, config.model, version)
    context.log.info("version %s of %s is the champion", version, config.model)
    return StepOutcome(
        outputs={"version": ModelRef(name=config.model, version=version, digest=promoted.digest)},
        facts={
            "model": config.model,
            "version": version,
            "digest": promoted.digest,
            "replaced": before[1] if before and before[1] != version else None,
        },
    )
