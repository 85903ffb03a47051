"""`notify`: tell people once.

The message is put into an outbox first, created once under the event's own key, and marked when it has gone out.
So a retry, a cleared task or a second run for the same event sends nothing again. A kill between sending and
marking sends it twice: Slack has no transaction, and at least once is what is promised.
"""

from __future__ import annotations

from urllib.parse import quote

from tradewind_runtime import endpoints, slack
from tradewind_runtime.context import StepContext
from tradewind_runtime.contract import messages
from tradewind_runtime.contract.alerts import Message, Notice, NotifyConfig, Sent
from tradewind_runtime.contract.base import digest
from tradewind_runtime.contract.refs import ModelRef, ValueRef, Window
from tradewind_runtime.contract.request import StepOutcome


def run(context: StepContext) -> StepOutcome:
    """Send what the event asks for, unless it was sent.

    Raises:
        StepError: TW588 where Slack does not take it; TW511, TW512 without the connection.
    """
    config, documents = context.request.configured(NotifyConfig), context.lake.documents
    message, event = _message(context, config)
    key = digest(context.request.pipeline, config.channel, config.event, event)[:40]
    wanted = Notice(event=config.event, pipeline=context.request.pipeline, run_id=context.request.run_id,
                    channel=config.channel, message=message)  # fmt: skip
    documents.create_model(Notice.path(key), wanted)
    notice = documents.get_model(Notice.path(key), Notice) or wanted
    sent = documents.get_model(Sent.path(key), Sent)
    new = sent is None
    if sent is None:
        sent = slack.send(context.connection("slack"), notice.channel, notice.message, key=key, event=notice.event)
        documents.create_model(Sent.path(key), sent)
    context.log.info("%s: %s", "sent" if new else "was sent before", notice.message.text.splitlines()[0])
    return StepOutcome(
        metrics={"sent": int(new)},
        facts={"key": key, "channel": notice.channel, "ts": sent.ts, "text": notice.message.text, "new": new},
    )


def _message(context: StepContext, config: NotifyConfig) -> tuple[Message, list[str]]:
    """What to say, and what makes the event that event and no other."""
    version, value = context.request.inputs.get("version"), context.request.inputs.get("drift")
    run = context.request.run_id
    if config.title is not None:
        message = messages.message(config.title, config.text, config.fields, {"Open in Airflow": config.link})
        return message, [run, config.title, config.text]
    if config.event == "drift" and isinstance(value, ValueRef):
        window, endpoint = Window.model_validate(value.value["window"]), str(value.value["endpoint"])
        path = value.value.get("report")
        report = f"{config.reports.rstrip('/')}/{quote(str(path))}" if config.reports and path else None
        message = messages.drift(endpoint, window, value.value, link=config.link, report=report)
        return message, [endpoint, str(value.value["digest"]), window.key]
    if config.event in ("promotion", "rollback") and isinstance(version, ModelRef):
        return _served(context, config, version), [run, version.digest]
    title = f"{context.request.pipeline}: {config.event}"
    return messages.message(title, config.text, config.fields, {"Open in Airflow": config.link}), [run, config.text]


def _served(context: StepContext, config: NotifyConfig, version: ModelRef) -> Message:
    now = endpoints.latest(context.lake.documents, version.name)
    versions = now.model_versions if now else {}
    if config.event == "rollback":
        stable = now.stable if now else ""
        back = f"version {versions[stable]}" if stable in versions else stable[:12]
        return messages.rollback(version.name, back_to=back, away_from=f"version {version.version}",
                                 reason=config.text or (now.reason if now else ""), link=config.link)  # fmt: skip
    before = now.replaced if now else None
    replaces = (f"version {versions[before]}" if before in versions else before[:12]) if before else None
    return messages.promotion(version.name, version.version, version.digest, generation=now.number if now else None,
                              replaces=replaces, link=config.link)  # fmt: skip
