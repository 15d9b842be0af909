"""What importing our modules brings along."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

PLUGINS = Path(__file__).resolve().parents[2] / "plugins"


def test_importing_the_protocol_does_not_import_airflow() -> None:
    code = "import sys, aem_guides.protocol.procedures.start; sys.exit('airflow' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], check=False, env={"PYTHONPATH": str(PLUGINS)})
    assert done.returncode == 0
