"""A small network in PyTorch. It scales by itself, ends with a probability, and goes on where it was killed."""

from __future__ import annotations

import torch
from torch import nn

from tradewind_runtime.frameworks.pytorch import dumps, loads
from tradewind_runtime.training import TrainContext


class Scaled(nn.Module):
    """Features less their mean, by their deviation; a gap is the mean. Saved with the weights."""

    def __init__(self, x: torch.Tensor) -> None:
        super().__init__()
        there, count = torch.nan_to_num(x), (~torch.isnan(x)).sum(0).clamp(min=1)
        mean = there.sum(0) / count
        self.register_buffer("mean", mean)
        self.register_buffer("deviation", (torch.nan_to_num(x - mean).square().sum(0) / count).sqrt().clamp(min=1e-6))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Of any number of rows."""
        return torch.nan_to_num((x - self.mean) / self.deviation)


def train(ctx: TrainContext) -> nn.Module:
    """The probability that a tumour is benign. `epochs`, `width` and `rate` are this function's own parameters."""
    torch.manual_seed(ctx.seed)
    torch.set_num_threads(ctx.threads)
    x, y = (torch.tensor(part, dtype=torch.float32, device=ctx.device) for part in ctx.train.numpy())
    valid_x, valid_y = (torch.tensor(part, dtype=torch.float32, device=ctx.device) for part in ctx.valid.numpy())
    width = int(ctx.params.get("width", 32))
    body = nn.Sequential(Scaled(x), nn.Linear(x.shape[1], width), nn.ReLU(), nn.Linear(width, 1)).to(ctx.device)
    optimizer = torch.optim.Adam(body.parameters(), lr=float(ctx.params.get("rate", 0.01)))
    loss, done = nn.BCEWithLogitsLoss(), 0
    if latest := ctx.checkpoints.latest():
        done, state = latest[0], loads(latest[1])
        body.load_state_dict(state["body"])
        optimizer.load_state_dict(state["optimizer"])
    for epoch in range(done, int(ctx.params.get("epochs", 60))):
        # Chance comes from the epoch, so that one that goes on sees the rows in the order that it would have.
        order = torch.randperm(len(x), generator=torch.Generator().manual_seed(ctx.seed + epoch)).to(ctx.device)
        for rows in order.split(64):
            optimizer.zero_grad()
            loss(body(x[rows])[:, 0], y[rows]).backward()
            optimizer.step()
        with torch.no_grad():
            ctx.report(epoch, valid_loss=loss(body(valid_x)[:, 0], valid_y).item())
        ctx.checkpoints.offer(
            epoch + 1, lambda: dumps({"body": body.state_dict(), "optimizer": optimizer.state_dict()})
        )
    return nn.Sequential(body, nn.Sigmoid())
