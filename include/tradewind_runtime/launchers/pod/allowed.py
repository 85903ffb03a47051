"""What a step asks for, held against what the profile has and allows."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from tradewind_runtime.contract.errors import StepError
from tradewind_runtime.contract.resources import Resources, Volume
from tradewind_runtime.launchers.pod.place import given_selector, gpu_resource
from tradewind_runtime.launchers.pod.settings import GPU, PodSettings


@dataclass(frozen=True)
class Refusal:
    """One thing that is asked for in vain."""

    code: str
    path: tuple[str | int, ...]  # below `resources`
    message: str
    got: object
    known: tuple[str, ...]  # what may stand here
    fix: str | None  # in the profile

    def error(self) -> StepError:
        """As the error of a step, where it was not found earlier."""
        path = ".".join(("resources", *map(str, self.path)))
        expected = ", ".join(self.known) or None
        return StepError(
            self.code, self.message, retryable=False, path=path, got=self.got, expected=expected, fix=self.fix
        )


def refusals(wanted: Resources, settings: PodSettings) -> Iterator[Refusal]:
    """All that the profile does not have (TW162) or does not allow (TW163)."""
    yield from _gpu(wanted, settings)
    if wanted.spot and settings.spot is None:
        fix = "kubernetes: {spot: {selector: {…}, tolerations: […]}} in the profile"
        yield Refusal("TW162", ("spot",), "the profile knows no spot nodes", True, (), fix)
    yield from _labels(wanted, settings)
    if wanted.image and not settings.allows_image(wanted.image):
        yield _forbidden(("image",), f"image {wanted.image!r}", wanted.image, "images", settings.images)
    for name, held in wanted.env.items():
        secret = held.partition("/")[0]
        if not settings.allows_secret(secret):
            yield _forbidden(("env", name), f"Secret {secret!r}", held, "env_secrets", settings.env_secrets)
    for index, volume in enumerate(wanted.volumes):
        yield from _volume(index, volume, settings)
    if wanted.pod_override is not None and not settings.pod_override:
        fix = "kubernetes: {pod_override: true} in the profile"
        yield Refusal("TW163", ("pod_override",), "the profile allows no pod_override", None, (), fix)


def _gpu(wanted: Resources, settings: PodSettings) -> Iterator[Refusal]:
    kind, kinds = wanted.gpu.kind, settings.gpu_kinds
    if kind is not None and kinds and kind not in kinds:
        fix = f"kubernetes: {{gpu_kinds: {{{kind}: {{selector: {{…}}}}}}}} in the profile"
        yield Refusal("TW162", ("gpu", "kind"), f"the profile knows no GPU {kind!r}", kind, tuple(kinds), fix)
    elif wanted.gpu.mig and not gpu_resource(wanted, settings).startswith(GPU.partition("/")[0]):
        message = f"a GPU of the kind {kind!r} has no MIG"
        yield Refusal("TW162", ("gpu", "mig"), message, wanted.gpu.mig, (), "leave mig out, or take another kind")


def _labels(wanted: Resources, settings: PodSettings) -> Iterator[Refusal]:
    given = given_selector(wanted, settings)
    for key, value in wanted.node_selector.items():
        if given.get(key, value) != value:
            message = f"the profile's pods run on nodes of {key}: {given[key]}"
            yield Refusal("TW163", ("node_selector", key), message, value, (given[key],), "leave it out")


def _volume(index: int, volume: Volume, settings: PodSettings) -> Iterator[Refusal]:
    if volume.claim and not settings.allows_claim(volume.claim):
        what = f"claim {volume.claim!r}"
        yield _forbidden(("volumes", index, "claim"), what, volume.claim, "claims", settings.claims)
    if volume.config_map and not settings.allows_config_map(volume.config_map):
        what = f"ConfigMap {volume.config_map!r}"
        yield _forbidden(("volumes", index, "config_map"), what, volume.config_map, "config_maps", settings.config_maps)


def _forbidden(path: tuple[str | int, ...], what: str, got: str, key: str, known: tuple[str, ...]) -> Refusal:
    fix = f"kubernetes: {{{key}: […]}} in the profile says which"
    return Refusal("TW163", path, f"the profile does not allow the {what}", got, known, fix)
