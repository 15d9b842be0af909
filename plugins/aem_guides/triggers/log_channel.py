"""Wait until the triggerer has read what its triggers logged.

Airflow 3.3.2 runs triggers in a child process. Log lines go through one socket, of which the parent reads 4096 bytes
per round. The end of a trigger goes through another socket. A slow parent may see the end first. Then it writes the
remaining lines of this trigger into its own log, and the task's log lacks them.
"""

from __future__ import annotations

import fcntl
import struct
import termios

import structlog

from aem_guides.hooks.bodies import surroundings

LONGEST_WAIT = 10.0
"""In seconds. A triggerer that reads nothing for this long has other problems."""
_BETWEEN_LOOKS = 0.05


async def until_log_is_read(longest: float = LONGEST_WAIT) -> None:
    """Wait until the triggerer has read all log lines that were written before.

    Returns at once if the log does not go through a socket, or if the system does not show how much is unread.
    """
    elapsed, asleep = surroundings().elapsed, surroundings().asleep
    deadline = elapsed() + longest
    while unread_bytes() and elapsed() < deadline:
        await asleep(_BETWEEN_LOOKS)


def unread_bytes() -> int:
    """About how many bytes of log lines the other end of the channel has not read. 0 if unknown."""
    channel = getattr(structlog.get_config()["logger_factory"], "io", None)
    try:
        answer = fcntl.ioctl(channel.fileno(), termios.TIOCOUTQ, bytes(4)) if channel is not None else bytes(4)
    except (OSError, ValueError, AttributeError):
        return 0
    return int(struct.unpack("i", answer)[0])
