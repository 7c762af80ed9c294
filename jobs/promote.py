"""Compare a candidate version with the champion, and make it the champion if it is no worse."""

from __future__ import annotations

from tlnlp.cli.job import run_job
from tlnlp.cli.options import Result
from tlnlp.config import PromoteSettings


def stage(settings: PromoteSettings) -> Result:
    """Run the gate and move the champion alias."""
    # Imported late: the environment of the process must be set before the engine is loaded.
    from tlnlp.evaluate.promotion_gate import promote

    return promote(settings)


if __name__ == "__main__":
    run_job(__doc__ or "", PromoteSettings, stage)
