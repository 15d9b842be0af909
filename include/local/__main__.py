"""`python -m local demo` runs the demo and ends; `python -m local up` stays until Ctrl-C."""

from __future__ import annotations

import signal
import sys
import threading
import time
from types import FrameType

from local.demo import run_demo, say
from local.problems import StackError
from local.stack import USERNAME, Stack, StackOptions

COMMANDS = ("demo", "up")


class Interrupted(BaseException):
    """A signal asks to end."""


def main(arguments: list[str]) -> int:
    """Run a command; returns the exit status."""
    if len(arguments) != 1 or arguments[0] not in COMMANDS:
        say(f"Usage: python -m local {'|'.join(COMMANDS)}")
        return 2
    command = arguments[0]
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _interrupt)
    began = time.monotonic()
    stack = Stack(StackOptions(tell=say, grace_seconds=3.0 if command == "demo" else 15.0))
    try:
        say("Starting PostgreSQL, the emulator and Airflow on this machine ...")
        stack.start()
        say(f"Ready after {time.monotonic() - began:.0f} s.")
        return run_demo(stack) if command == "demo" else _stay(stack)
    except StackError as error:
        say(f"Error: {error}")
        return 1
    except Interrupted:
        say("\nEnding ...")
        return 0 if command == "up" else 130
    finally:
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, signal.SIG_IGN)
        stack.stop()
        say("Everything that was started has ended.")


def _stay(stack: Stack) -> int:
    file = stack.write_up_file()
    say(f"\n  Airflow:   {stack.url}\n  User:      {USERNAME}\n  Password:  {stack.password}")
    if stack.emulator_url:
        say(f"  Emulator:  {stack.emulator_url}")
    say(f"\nThe same is in {file}. Ctrl-C ends everything.")
    pause = threading.Event()
    while not pause.wait(1.0):
        stack.programs.check()
    return 0


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    raise Interrupted


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
