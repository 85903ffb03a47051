"""What each window was found to be, kept one document a window, and the patience before anything is done."""

from __future__ import annotations

from pydantic import Field

from tradewind_runtime.contract.base import Frozen
from tradewind_runtime.contract.monitor import Patience
from tradewind_runtime.contract.refs import Window
from tradewind_runtime.documents import Documents


class WindowDrift(Frozen):
    """The latest result of one window, for one endpoint and digest. Late captures replace it."""

    endpoint: str
    digest: str
    window: Window
    requests: int = Field(description="Version of the table of requests that it was computed from.")
    rows: int
    enough: bool = Field(description="Whether there were rows enough to say anything.")
    share: float = Field(0.0, description="Of features that drift.")
    drifting: bool = False
    features: dict[str, float] = Field(default_factory=dict, description="Feature → population stability index.")
    columns: tuple[str, ...] = Field((), description="Those that drift, the worst first.")
    prediction: float | None = Field(None, description="Index of the answers themselves; it decides nothing.")
    metrics: dict[str, float] = Field(default_factory=dict, description="Against labels, where there are any.")
    labelled: int = Field(0, description="Rows whose label has come.")
    report: str | None = Field(None, description="Path of the report, below the lake.")

    @property
    def path(self) -> str:
        """Where it lies, below the lake."""
        return f"{folder(self.endpoint, self.digest)}/{self.window.key}.json"

    def says(self) -> str:
        """It, in a line."""
        name = f"model {self.digest[:12]}"
        if not self.enough:
            return f"{name}: {self.rows} rows are too few to say anything"
        worst = ", ".join(f"{column} {self.features[column]:.2f}" for column in self.columns[:5])
        what = f"{len(self.columns)} of {len(self.features)} features drift" + (f" ({worst})" if worst else "")
        return f"{name}: {what}, over {self.rows} rows"


def folder(endpoint: str, digest: str) -> str:
    """Where a digest's windows lie, below the lake."""
    return f"monitor/{endpoint}/{digest[:12]}"


def keep(documents: Documents, found: WindowDrift) -> None:
    """Make it the window's latest result, unless one of newer requests is there."""
    known = documents.get_model(found.path, WindowDrift)
    if known is None or known.requests <= found.requests:
        documents.put(found.path, found.model_dump_json(indent=1).encode())


def among(documents: Documents, now: WindowDrift, count: int) -> list[WindowDrift]:
    """The latest windows that end with this one, this one included; those with too few rows do not count."""
    found = [now]
    for path in sorted(documents.names(folder(now.endpoint, now.digest)), reverse=True):
        if len(found) >= count:
            break
        one = documents.get_model(path, WindowDrift)
        if one is not None and one.enough and one.window.end <= now.window.end and one.window != now.window:
            found.append(one)
    return found


def held(latest: list[WindowDrift], patience: Patience) -> tuple[bool, str]:
    """Whether drift has lasted long enough to act on it, and why. A window that does not drift acts on nothing."""
    now, hits = latest[0], sum(window.drifting for window in latest)
    if not now.drifting:
        return False, now.says()
    tally = f"{hits} of the last {len(latest)} windows drift (asked for: {patience.hits} of {patience.among})"
    return hits >= patience.hits, f"{now.says()}; {tally}"
