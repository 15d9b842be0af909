"""Make the ledger, or bring its schema up to this version: `python -m aem_guides.ledger`.

Every task does so by itself when it first opens the ledger; a deployment does it before anything runs, and sees at once
whether the ledger can be reached. Exit status 1 and a message that says what to do where it cannot.
"""

from __future__ import annotations

import os
import sys

from aem_guides.ledger.database import open_engine
from aem_guides.protocol.errors import AemGuidesError


def main() -> int:
    """Open the ledger of connection `aem_guides_ledger`; returns the exit status."""
    # As Airflow's own commands do: else connections that are kept in Airflow's database are not seen.
    os.environ.setdefault("_AIRFLOW_PROCESS_CONTEXT", "server")
    try:
        engine = open_engine()
    except AemGuidesError as error:
        print(error, file=sys.stderr)
        return 1
    print(f"The ledger is ready: {engine.url.render_as_string(hide_password=True)}")
    engine.dispose()
    return 0


if __name__ == "__main__":
    sys.exit(main())
