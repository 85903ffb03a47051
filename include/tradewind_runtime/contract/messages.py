"""What each event looks like in Slack: pure functions, from facts to Block Kit."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from tradewind_runtime.contract.alerts import Message
from tradewind_runtime.contract.refs import Window

# Slack refuses more than this.
_HEADER, _TEXT, _FIELD, _FIELDS = 150, 3000, 2000, 10


def message(
    title: str,
    text: str = "",
    fields: Mapping[str, object] | None = None,
    links: Mapping[str, str | None] | None = None,
) -> Message:
    """A title, a few lines, figures beside each other, and where to go on."""
    blocks: list[dict[str, Any]] = [{"type": "header", "text": {"type": "plain_text", "text": _cut(title, _HEADER)}}]
    if text:
        blocks.append({"type": "section", "text": _markdown(_cut(_escape(text), _TEXT))})
    if fields:
        cells = [_markdown(_cut(f"*{_escape(name)}*\n{_escape(value)}", _FIELD)) for name, value in fields.items()]
        blocks.append({"type": "section", "fields": cells[:_FIELDS]})
    found = [f"<{address}|{_escape(name)}>" for name, address in (links or {}).items() if address]
    if found:
        blocks.append({"type": "context", "elements": [_markdown(_cut(" · ".join(found), _TEXT))]})
    return Message(text=_cut(f"{title}\n{text}".strip(), _TEXT), blocks=tuple(blocks))


def promotion(model: str, version: str, digest: str, *, generation: int | None = None, replaces: str | None = None,
              link: str | None = None) -> Message:  # fmt: skip
    """A version's rollout has ended well."""
    fields: dict[str, object] = {"Version": version, "Digest": digest[:12]}
    if generation is not None:
        fields["Generation"] = generation
    if replaces:
        fields["Replaces"] = replaces
    return message(f"{model}: version {version} is the champion", "It answers all requests.", fields,
                   {"Open in Airflow": link})  # fmt: skip


def rollback(
    model: str, *, back_to: str, away_from: str | None = None, reason: str = "", link: str | None = None
) -> Message:
    """All requests go to an earlier version again."""
    fields = {"Serves now": back_to} | ({"Taken back": away_from} if away_from else {})
    return message(f"{model}: rolled back to {back_to}", reason, fields, {"Open in Airflow": link})


def drift(
    endpoint: str, window: Window, found: Mapping[str, Any], *, link: str | None = None, report: str | None = None
) -> Message:
    """What is asked of a model is not what it learnt from any more.

    Args:
        endpoint: the model's name.
        window: that was judged.
        found: the value that the step `monitor` puts out.
        link: the run's address.
        report: the report's address.
    """
    columns = [str(name) for name in found.get("columns") or ()]
    fields: dict[str, object] = {
        "Window": spell(window), "Requests": f"{int(found.get('rows') or 0):,}",
        "Drifting": f"{len(columns)} of {found.get('features') or '?'} features ({float(found.get('share') or 0):.0%})",
        "Model": str(found.get("digest") or "")[:12],
    }  # fmt: skip
    for name, value in list((found.get("metrics") or {}).items())[:4]:
        fields[f"Live {name}"] = f"{value:.4g}"
    text = "Most of all: " + ", ".join(columns[:8]) if columns else ""
    return message(
        f"{endpoint}: requests have drifted", text, fields, {"Open in Airflow": link, "Drift report": report}
    )


def refusal(
    model: str, reasons: Sequence[str], metrics: Mapping[str, float] | None = None, *, link: str | None = None
) -> Message:
    """The gate said no: nothing was registered, the champion stays."""
    fields = {name: f"{value:.4g}" for name, value in (metrics or {}).items()}
    return message(f"{model}: the candidate was refused", "\n".join(f"• {reason}" for reason in reasons), fields,
                   {"Open in Airflow": link})  # fmt: skip


def failure(dag_id: str, run_id: str, failed: Iterable[tuple[str, str]], *, link: str | None = None) -> Message:
    """A run has failed.

    Args:
        dag_id: the DAG's.
        run_id: the run's.
        failed: tasks, each with the line that says why.
        link: the run's address.
    """
    tasks = list(failed)
    lines = [f"• {task}: {_line(reason)}" if reason else f"• {task}" for task, reason in tasks]
    fields = {"Run": run_id} | ({"Failed": ", ".join(task for task, _ in tasks)} if tasks else {})
    return message(f"{dag_id} failed", "\n".join(lines), fields, {"Open in Airflow": link})


def spell(window: Window) -> str:
    """A window for people: dates where it begins and ends at midnight."""
    shapes = ["%Y-%m-%d" if at.time() == at.min.time() else "%Y-%m-%d %H:%M" for at in (window.start, window.end)]
    return f"{window.start:{shapes[0]}} to {window.end:{shapes[1]}}"


def _line(text: str) -> str:
    return _cut(next((line for line in text.strip().splitlines() if line.strip()), ""), 400)


def _markdown(text: str) -> dict[str, str]:
    return {"type": "mrkdwn", "text": text}


def _escape(value: object) -> str:
    """Slack's three special characters: without this, a text could mention everybody."""
    return str(value).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else text[: most - 1] + "…"
