"""`python -m local demo` runs the demo and ends; `python -m local up` stays until Ctrl-C."""

from __future__ import annotations

import os
import sys
import threading
import time

import httpx

from local.demo import run_demo, say
from local.interruption import Interrupted, Interruption
from local.problems import StackError
from local.settings import INSTANCE_CONNECTION, USERNAME
from local.stack import Stack, StackOptions

COMMANDS = ("demo", "up")


def main(arguments: list[str]) -> int:
    """Run a command; returns the exit status."""
    if len(arguments) != 1 or arguments[0] not in COMMANDS:
        say(f"Usage: python -m local {'|'.join(COMMANDS)}")
        return 2
    command = arguments[0]
    interruption = Interruption()
    interruption.listen()
    stack = Stack(_options(command, interruption))
    try:
        return _run(stack, command)
    except StackError as error:
        say(f"Error: {error}")
        return 1
    except httpx.HTTPError as error:
        say(f"Error: Airflow's API at {stack.url} did not answer as expected: {error}. See {stack.programs.logs}.")
        return 1
    except Interrupted:
        say("\nEnding ...")
        return 0 if command == "up" else 130
    finally:
        interruption.ignore()
        if stack.stop():
            say("Everything that was started has ended.")


def _options(command: str, interruption: Interruption) -> StackOptions:
    """The demo uses our content on our emulator. `up` uses the instance of the environment, if there is one."""
    given = bool(os.environ.get(INSTANCE_CONNECTION))
    if given and command == "demo":
        say(f"The demo runs on the emulator. `make up` works with the instance of {INSTANCE_CONNECTION}.")
    return StackOptions(
        emulator=command == "demo" or not given,
        report=say,
        grace_seconds=3.0 if command == "demo" else 5.0,
        uninterrupted=interruption.held,
    )


def _run(stack: Stack, command: str) -> int:
    began = time.monotonic()
    say(f"Starting PostgreSQL{', the emulator' if stack.options.emulator else ''} and Airflow on this machine ...")
    stack.start()
    say(f"Ready after {time.monotonic() - began:.0f} s.")
    return run_demo(stack) if command == "demo" else _stay(stack)


def _stay(stack: Stack) -> int:
    file = stack.write_up_file()
    say(f"\n  Airflow:   {stack.url}\n  User:      {USERNAME}\n  Password:  {stack.password}")
    if stack.emulator_url:
        say(f"  Emulator:  {stack.emulator_url}")
    say(f"\nThe same is in {file}. Ctrl-C ends everything.\n")
    if stack.options.emulator:
        _run_main_job(stack)
        say(f"\nAirflow stays at {stack.url} (user {USERNAME}, password {stack.password}). Ctrl-C ends everything.")
    pause = threading.Event()
    while not pause.wait(1.0):
        stack.mend()
    return 0


def _run_main_job(stack: Stack) -> None:
    """Run the demo. If it fails, the stack stays up, so that the failure can be examined."""
    try:
        run_demo(stack)
    except (StackError, httpx.HTTPError) as error:
        stack.mend()
        say(f"The run could not be followed to its end: {error}")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
