"""A fixture that runs the scripts of ``deploy/`` unchanged, with recorders in place of the clients that they call."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import deploy_kit as kit
import pytest

# A program in place of a cluster's client. It writes its arguments to a file.
RECORDER = '#!/bin/sh\nfor word in "$@"; do printf "%s\\0" "$word"; done > "$RECORDED"\nexit "${RECORDER_EXIT:-0}"\n'


@pytest.fixture
def run_script(tmp_path: Path) -> kit.Recorded:
    """A function that runs a script of deploy/ and returns the arguments that the script gave to its client.

    The function's ``settings`` replace lines of deploy/settings.env.
    """
    (tmp_path / "bin").mkdir()
    for client in ("spark-submit", "ray", "aws", "curl", "gcloud", "python"):
        recorder = tmp_path / "bin" / client
        recorder.write_text("#!/bin/sh\necho token\n" if client == "gcloud" else RECORDER)
        recorder.chmod(0o755)
    recorded = tmp_path / "recorded"

    def run(script: str, *arguments: str, settings: dict[str, str] | None = None, **environment: str) -> list[str]:
        changes = {"SPARK_HOME": str(tmp_path)} | (settings or {})
        own = {
            "PATH": f"{tmp_path / 'bin'}:{os.environ['PATH']}",
            "TMPDIR": str(tmp_path),
            "RECORDED": str(recorded),
            "TLNLP_SETTINGS": str(kit.own_settings(tmp_path, **changes)),
            "RAY": str(tmp_path / "bin" / "ray"),
            "PYTHON": str(tmp_path / "bin" / "python"),
        }
        subprocess.run([kit.DEPLOY / script, *arguments], env=own | environment, cwd=tmp_path, check=True, timeout=60)
        return recorded.read_text().split("\0")[:-1]

    return run
