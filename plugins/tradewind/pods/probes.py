"""The pods that a plan's steps will have, made before there is a run: what a cluster is asked about. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from tradewind.plan.model import Flow, Plan, PlanStep
from tradewind.plan.replay import in_pod
from tradewind_runtime.contract.errors import Problem, StepError
from tradewind_runtime.contract.request import StepRequest
from tradewind_runtime.launchers.pod import PodSettings, pod, wanted

Object = Mapping[str, Any]


@dataclass(frozen=True)
class Reference:
    """Something in the pod's namespace that it needs: a Secret's key, a claim, a ConfigMap."""

    kind: str
    name: str
    key: str | None = None


@dataclass(frozen=True)
class Probe:
    """One step's pod."""

    plan: Plan
    step: PlanStep
    pod: dict[str, Any]

    @property
    def name(self) -> str:
        """For people."""
        return f"{self.plan.pipeline}.{self.step.id}"

    @property
    def container(self) -> dict[str, Any]:
        """The step's own."""
        return dict(self.pod["spec"]["containers"][0])

    @property
    def profile(self) -> str:
        """The file of the plan's profile."""
        return f"profiles/{self.plan.profile}.yaml"

    def resources_at(self) -> tuple[str, str]:
        """File and path where it is said what the step asks for."""
        if not self.step.resources:
            return self.profile, f"kubernetes.resources.{self.step.kind}"
        own = "train" if self.step.kind in {"tune", "train"} else f"defaults.steps.{self.step.kind}"
        return self.plan.file, f"{own}.resources"

    def references(self) -> Iterator[tuple[Reference, str, str]]:
        """What it needs, each with the file and the path that say so."""
        secrets = PodSettings.model_validate(self.plan.kubernetes).secrets
        held = {text: f"kubernetes.secrets.{id}" for id, text in secrets.items()}
        held |= dict.fromkeys(self.step.secrets.values(), "serving.own.token")
        for variable in self.container.get("env") or ():
            source = variable.get("valueFrom") or {}
            for word, kind in (("secretKeyRef", "Secret"), ("configMapKeyRef", "ConfigMap")):
                if word in source:
                    found = Reference(kind, source[word]["name"], source[word]["key"])
                    at = held.get(f"{found.name}/{found.key}")
                    yield found, *((self.profile, at) if at else self.resources_at())
        for one in self.pod["spec"].get("imagePullSecrets") or ():
            yield Reference("Secret", one["name"]), self.profile, "kubernetes.image_pull_secrets"
        for volume in self.pod["spec"].get("volumes") or ():
            if "persistentVolumeClaim" in volume:
                claim = volume["persistentVolumeClaim"]["claimName"]
                yield Reference("PersistentVolumeClaim", claim), *self.resources_at()
            if "configMap" in volume:
                yield Reference("ConfigMap", volume["configMap"]["name"]), *self.resources_at()


def probes(plan: Plan, flows: Collection[Flow] | None = None) -> tuple[list[Probe], list[Problem]]:
    """A plan's pods, and why some cannot even be made.

    Args:
        plan: of a profile with pods.
        flows: of whose DAGs; all if not given.
    """
    found, problems = [], []
    for dag in plan.dags:
        for step in map(in_pod, dag.steps):
            if step.runner != "kubernetes" or (flows is not None and dag.flow not in flows):
                continue
            try:
                found.append(Probe(plan, step, _pod(plan, step)))
            except StepError as error:
                problems += [one.model_copy(update={"file": f"profiles/{plan.profile}.yaml"}) for one in error.problems]
    return found, list(dict.fromkeys(problems))


def image_of(plan: Plan, step: PlanStep) -> str:
    """The image that a step asks for, else the one of its environment.

    Raises:
        StepError: TW593 where the profile names none.
    """
    own = wanted(step.kind, step.resources, PodSettings.model_validate(plan.kubernetes)).image
    named = own or plan.environments.get(step.environment, {}).get("image")
    if not named:
        raise StepError(
            "TW593", f"the profile {plan.profile!r} names no image for {step.environment!r}",
            retryable=False, fix=f"environments: {{{step.environment}: {{image: …}}}}",
        )  # fmt: skip
    return str(named)


def _pod(plan: Plan, step: PlanStep) -> dict[str, Any]:
    """As the operator makes it, of a request without pins and inputs: they are in the lake, not in the pod."""
    request = StepRequest(
        step=step.kind, id=step.id, pipeline=plan.pipeline, run_id="preflight", lake=plan.lake, engine=step.engine,
        settings=step.settings, connections=step.connections,
    )  # fmt: skip
    settings = PodSettings.model_validate(plan.kubernetes)
    resources = wanted(step.kind, step.resources, settings)
    image = image_of(plan, step)
    return pod(request, settings, image=image, resources=resources, timeout=step.timeout, secrets=step.secrets)
