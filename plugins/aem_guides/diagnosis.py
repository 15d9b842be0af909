"""What the Test button of the connection says."""

from __future__ import annotations

from aem_guides.connection import InstanceSettings
from aem_guides.protocol import contract
from aem_guides.protocol.conversation import Conversation
from aem_guides.protocol.errors import NotFoundError
from aem_guides.protocol.steps import Steps


def diagnose(talk: Conversation, settings: InstanceSettings) -> Steps[str]:
    """A sentence on each thing that works. Raises what a call raises for the first that does not."""
    history = yield from talk.call(contract.history())
    active = sum(job.is_active for job in history.jobs)
    said = [
        f"{settings.base_url} was reached and accepts the credentials",
        f"the history is readable ({len(history.jobs)} jobs, {active} active)",
    ]
    try:
        status = yield from talk.call(contract.system_status())
    except NotFoundError:
        said.append("this instance does not tell its system status")
    else:
        kind = {True: "database-based", False: "JCR-based", None: "of unknown kind"}[status.is_database]
        check = f", database check: {status.database_check}" if status.database_check else ""
        said.append(f"processing is {kind}{check}")
    return "; ".join([*settings.warnings, *said]) + "."
