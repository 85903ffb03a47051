"""`tradewind doctor --profile cluster`: what the pods of all pipelines need, and the cluster has or lacks."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from datetime import timedelta
from pathlib import Path
from uuid import uuid4

from tradewind.plan.model import Plan
from tradewind.pods.client import client_of
from tradewind.pods.preflight import Checked, Preflight
from tradewind.pods.probes import Probe, probes
from tradewind.pods.trial import trials
from tradewind.profile import Profile
from tradewind_runtime.connections import connection, store_options, variable
from tradewind_runtime.contract.errors import Problem, TradewindError
from tradewind_runtime.documents import Documents

PULLING = 600  # seconds that an image may take


def examined(project: Path, profile: Profile, kubeconfig: Path | None, *, pull: bool) -> Iterator[Checked]:
    """Check by check, as they are done; a cluster that gives no answer is the last one."""
    plans, problems = plans_of(project, profile)
    yield Checked("pipelines", ", ".join(plan.pipeline for plan in plans) or "none", tuple(problems))
    found, wrong = _probes(plans)
    if wrong:
        yield Checked("profile's pods", "", tuple(wrong))
    yield _lake(profile)
    file = f"profiles/{profile.profile}.yaml"
    try:
        client, place = client_of(profile.kubernetes, kubeconfig)
        yield Checked("cluster", f"{client.configuration.host}, by {place}")
        sound = True
        for check in Preflight(client, profile.kubernetes, found, file).checks():
            sound = sound and not (check.errors and check.what in {"namespace", "rights"})
            yield check
        if pull and sound:
            images = {probe.container["image"] for probe in found}
            hindered = tuple(trials(client, found, seconds=PULLING))
            yield Checked("images", "" if hindered else f"{', '.join(sorted(images))}: a pod of each runs", hindered)
    except TradewindError as error:
        yield Checked("cluster", "", tuple(one.model_copy(update={"file": file}) for one in error.problems))


def plans_of(project: Path, profile: Profile) -> tuple[list[Plan], list[Problem]]:
    """Of every pipeline that compiles, and why others do not."""
    from tradewind.plan.build import build
    from tradewind.plan.code import UserCode
    from tradewind.spec import load_all
    from tradewind.spec.folders import pipeline_files

    code, plans, problems = UserCode.of(project), [], list[Problem]()
    for loaded in load_all(pipeline_files(project)):
        file = loaded.path.relative_to(project).as_posix()
        if loaded.pipeline is None:
            problems += loaded.errors
            continue
        try:
            plans.append(build(loaded.pipeline, profile, code, file=file, text=loaded.text, node=loaded.node))
        except TradewindError as error:
            problems += error.problems
    return plans, problems


def _probes(plans: Sequence[Plan]) -> tuple[list[Probe], list[Problem]]:
    made = [probes(plan) for plan in plans]
    return [probe for found, _ in made for probe in found], list(
        dict.fromkeys(one for _, wrong in made for one in wrong)
    )


def _lake(profile: Profile) -> Checked:
    """Whether a document can be made and taken away again, from here."""
    file, id = f"profiles/{profile.profile}.yaml", profile.lake.connection
    if id and variable(id) not in os.environ:
        return Checked("lake", "not looked at", (
            Problem(code="TW579", severity="warning", message=f"the lake {profile.lake.uri} cannot be asked from here",
                    file=file, path="lake.connection", got=f"no {variable(id)}", fix=f"set {variable(id)}"),
        ))  # fmt: skip
    quickly = {"retry_config": {"max_retries": 1, "retry_timeout": timedelta(seconds=10)}}
    path = f"preflight/{uuid4().hex}"
    try:
        options = store_options(connection(id)) if id else {}
        documents = Documents(profile.lake.uri, options | quickly)
        documents.create(path, b"{}")
        documents.delete(path)
    except Exception as error:  # the store's own, of which there are many
        why = " ".join(str(error).split())[:300]
        return Checked("lake", "", (
            Problem(code="TW579", message=f"the lake {profile.lake.uri} cannot be written from here", file=file,
                    path="lake", got=why, fix="is the address right, and may the connection's user write there?"),
        ))  # fmt: skip
    return Checked("lake", f"{profile.lake.uri} can be written from here")
