"""A request as a Kubernetes pod: plain data, from a pure function. Whoever starts it brings the client.

The pod meets the restricted Pod Security Standard, writes only to folders of its own and to claims that it asks for,
and holds references to Secrets, never their values.
"""

from tradewind_runtime.launchers.pod.allowed import Refusal, refusals
from tradewind_runtime.launchers.pod.make import CONTAINER, RESTRICTED, pod, secret_env, security, wanted
from tradewind_runtime.launchers.pod.names import LABEL, label_value, labels, pod_name
from tradewind_runtime.launchers.pod.settings import USER, GpuKind, Placement, PodSettings

__all__ = [
    "CONTAINER",
    "LABEL",
    "RESTRICTED",
    "USER",
    "GpuKind",
    "Placement",
    "PodSettings",
    "Refusal",
    "label_value",
    "labels",
    "pod",
    "pod_name",
    "refusals",
    "secret_env",
    "security",
    "wanted",
]
