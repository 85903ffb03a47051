"""`tradewind doctor`: what is missing on this machine, or on a profile's cluster, and how to get it."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from tradewind.profile import Profile, home, load_profile, project_root

if TYPE_CHECKING:
    from tradewind.pods.preflight import Checked

_SIGNS = {"ok": "[green]ok[/]     ", "warning": "[yellow]warning[/]", "missing": "[red]missing[/]"}


def command(
    profile: Annotated[str | None, typer.Option(help="Of profiles/: one with pods has its cluster examined.")] = None,
    kubeconfig: Annotated[
        Path | None, typer.Option(help="Of the cluster, if not the profile's connection.", exists=True, dir_okay=False)
    ] = None,
    pull: Annotated[bool, typer.Option("--pull", help="Start a pod of each image, which does nothing.")] = False,
    format: Annotated[Literal["text", "json"], typer.Option(help="text or json.")] = "text",
) -> None:
    """Show what Tradewind needs and finds, here or on a cluster; exit code 1 where something needed is missing.

    Example: tradewind doctor --profile cluster --kubeconfig ~/.kube/config --pull
    """
    project = project_root()
    named = load_profile(profile, project=project) if profile else None
    if named is not None and "kubernetes" in (named.runner, *named.runners.values()):
        ok = _cluster(project, named, kubeconfig, pull=pull, as_json=format == "json")
    else:
        ok = _machine(project, profile, as_json=format == "json")
    raise typer.Exit(0 if ok else 1)


def _cluster(project: Path, profile: Profile, kubeconfig: Path | None, *, pull: bool, as_json: bool) -> bool:
    from rich.console import Console

    from tradewind.cli.cluster import examined
    from tradewind.cli.show import rendered

    console = Console(highlight=False, soft_wrap=True, quiet=as_json)
    checks = []
    for check in examined(project, profile, kubeconfig, pull=pull):
        checks.append(check)
        console.print(_line(_state(check), check.what, check.found))
        for problem in check.problems:
            console.print(rendered(problem))
    ok = not any(check.errors for check in checks)
    if as_json:
        problems = [problem.model_dump(mode="json") for check in checks for problem in check.problems]
        found = [{"what": check.what, "state": _state(check), "found": check.found} for check in checks]
        typer.echo(json.dumps({"ok": ok, "findings": found, "problems": problems}))
    else:
        console.print("The cluster has all that is needed." if ok else "Something that is needed is missing.")
    return ok


def _state(check: Checked) -> str:
    return "missing" if check.errors else "warning" if check.problems else "ok"


def _machine(project: Path, profile: str | None, *, as_json: bool) -> bool:
    from tradewind.dev.examine import examine

    findings = examine(project, home(project), profile)
    ok = all(finding.state != "missing" for finding in findings)
    if as_json:
        typer.echo(json.dumps({"ok": ok, "findings": [asdict(finding) for finding in findings]}))
        return ok
    from rich.console import Console
    from rich.markup import escape

    console = Console(highlight=False, soft_wrap=True)
    for finding in findings:
        console.print(_line(finding.state, finding.what, finding.found))
        if finding.fix:
            console.print(f"{'':29}fix: {escape(finding.fix)}")
    console.print("All that is needed is here." if ok else "Something that is needed is missing.")
    return ok


def _line(state: str, what: str, found: str) -> str:
    from rich.markup import escape

    return f"{_SIGNS[state]} {what:20} {escape(found)}"
