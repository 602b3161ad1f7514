"""``ganbench push``: mirrors a results folder to W&B."""

from __future__ import annotations

import os
from pathlib import Path

from harness.errors import GanbenchError
from harness.tracking.choice import choose_mode


def push_results(folder: Path, *, wandb: str | None, project: str) -> None:
    """Mirror a results folder to W&B and say how many runs were sent.

    Raises:
        GanbenchError: if there is nowhere to push to.
    """
    from harness.tracking.wandb_mirror import push

    mode, message = choose_mode(wandb, os.environ)
    if mode == "disabled":
        raise GanbenchError(message or "--wandb disabled leaves nowhere to push to")
    print(f"pushed {push(folder, mode=mode, project=project, announce=print)} runs")
