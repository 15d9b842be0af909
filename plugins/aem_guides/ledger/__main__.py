"""Create the ledger, or update its schema to this version: `python -m aem_guides.ledger`.

Every task does this when it first opens the ledger. A deployment does it before anything runs, to see at once whether
the ledger can be reached. If it cannot, the exit status is 1 and a message says what to do.
"""

from __future__ import annotations

import os
import sys

from aem_guides.ledger.database import open_engine
from aem_guides.protocol.errors import AemGuidesError


def main() -> int:
    """Open the ledger of connection `aem_guides_ledger`; returns the exit status."""
    # As Airflow's own commands do: otherwise connections in Airflow's database are not found.
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
