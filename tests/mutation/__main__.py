"""How many changes of the protocol its unit tests notice, on a sample that is always the same for the same source.

Run as `python -m tests.mutation [SEED]`. It needs mutmut, works in `.local/mutants`, and takes some minutes on two
cores. Exits with 1 if fewer mutants than `LEAST_SCORE` are noticed. Not measured: constants outside of functions,
fields of dataclasses, and changes that only change a text for people.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

from tests.mutation.sampling import Mutant, mutants_in, sample, undecorate_properties

ROOT = Path(__file__).resolve().parents[2]
WORK = ROOT / ".local" / "mutants"
EQUIVALENT = Path(__file__).with_name("equivalent.json")
PROTOCOL = "src/aem_guides/protocol"
SIZE = 300
LEAST_SCORE = 0.85
TESTS = [
    "tests/unit/protocol",
    "tests/unit/test_credentials.py",
    "tests/unit/test_token_answers.py",
    "tests/unit/test_connection.py",
    "tests/unit/batch/test_lease.py",
    "tests/unit/batch/test_rows_and_plan.py",
    "tests/unit/batch/test_shared_look.py",
]
# A mutant may take so many times the duration of its tests, plus the seconds, because it may loop forever.
SETTINGS = f"""
[tool.mutmut]
source_paths = ["src"]
only_mutate = ["{PROTOCOL}/*"]
also_copy = ["include"]
pytest_add_cli_args_test_selection = {TESTS}
timeout_multiplier = 4.0
timeout_constant = 4.0
use_git_change_detection = false
track_dependencies = false
"""
GENERATE = """
import os
from mutmut.__main__ import copy_src_dir, create_mutants
copy_src_dir()
create_mutants(os.cpu_count() or 1)
"""


def main(seed: int) -> int:
    """Generate, sample, run, and print; returns the exit status."""
    began = time.monotonic()
    prepare()
    mutmut("-c", GENERATE)
    found = [mutant for file in generated() for mutant in mutants_in(file, module_of(file))]
    counted = [mutant for mutant in found if not mutant.only_words_differently]
    equivalent = {(e["function"], e["change"]) for e in json.loads(EQUIVALENT.read_text(encoding="utf-8"))}
    if stale := equivalent - {(f"{mutant.module}.{mutant.function}", mutant.change) for mutant in counted}:
        raise SystemExit(f"{EQUIVALENT.name} lists what are no mutants (any more): {sorted(stale)}")
    mutants = [m for m in sample(counted, SIZE, seed) if (f"{m.module}.{m.function}", m.change) not in equivalent]
    print(f"{len(mutants)} of {len(counted):,} mutants, by seed {seed}", flush=True)
    mutmut("-m", "mutmut", "run", *(mutant.name for mutant in mutants))
    score = report(mutants, verdicts())
    print(f"It took {(time.monotonic() - began) / 60:.0f} min.")
    return 0 if score >= LEAST_SCORE else 1


def prepare() -> None:
    """Copy the files that the tests need to a place where mutmut may change them."""
    shutil.rmtree(WORK, ignore_errors=True)
    (WORK / "tmp").mkdir(parents=True)
    ignored = shutil.ignore_patterns("__pycache__")
    for source, target in (("plugins", "src"), ("include", "include"), ("tests", "tests")):
        shutil.copytree(ROOT / source, WORK / target, ignore=ignored)
    settings = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    (WORK / "pyproject.toml").write_text(settings.replace('["plugins", ', '["src", ') + SETTINGS, encoding="utf-8")
    for file in (WORK / PROTOCOL).rglob("*.py"):
        file.write_text(undecorate_properties(file.read_text(encoding="utf-8")), encoding="utf-8")


def mutmut(*command: str) -> None:
    """Run Python in the copy. Its output is kept in a file, and shown if it fails."""
    environment = os.environ | {"TMPDIR": str(WORK / "tmp"), "PYTHONPATH": str(WORK / "src")}
    log = WORK / "mutmut.log"
    with log.open("w", encoding="utf-8") as said:
        done = subprocess.run(
            [sys.executable, *command], cwd=WORK, env=environment, stdout=said, stderr=said, check=False
        )
    if done.returncode:
        raise SystemExit(f"mutmut failed:\n{log.read_text(encoding='utf-8')[-4000:]}")


def generated() -> list[Path]:
    """The files into which mutmut wrote the mutants."""
    return sorted(file.with_suffix("") for file in (WORK / "mutants" / PROTOCOL).rglob("*.spans"))


def module_of(file: Path) -> str:
    return ".".join(file.relative_to(WORK / "mutants" / "src").with_suffix("").parts)


def verdicts() -> dict[str, str]:
    """The result of each mutant, by its name: killed, timed out, or survived."""
    found: dict[str, str] = {}
    for file in generated():
        meta = json.loads(file.with_name(f"{file.name}.meta").read_text(encoding="utf-8"))
        found |= {name: verdict(code) for name, code in meta["exit_code_by_key"].items()}
    return found


def verdict(code: int | None) -> str:
    """The result for the exit status of pytest, or for the signal that ended it (24: its time was up)."""
    if code in (1, 3):
        return "killed"
    return "timed out" if code in (24, -24, 152, 36) else "survived"


def report(mutants: list[Mutant], became: dict[str, str]) -> float:
    """Print figures and survivors; returns the share of mutants that did not survive."""
    for mutant in mutants:
        if became[mutant.name] == "survived":
            print(f"\nsurvived: {mutant.module}.{mutant.function}\n{mutant.diff}")
    print(f"\n{'module':<50}{'mutants':>9}{'killed':>9}{'survived':>10}{'timed out':>11}{'score':>8}")
    modules = sorted({mutant.module for mutant in mutants})
    for module in modules:
        print_line(module, Counter(became[m.name] for m in mutants if m.module == module))
    return print_line("all", Counter(became[m.name] for m in mutants))


def print_line(title: str, counts: Counter[str]) -> float:
    total = counts.total()
    score = 1 - counts["survived"] / total
    print(f"{title:<50}{total:>9}{counts['killed']:>9}{counts['survived']:>10}{counts['timed out']:>11}{score:>8.0%}")
    return score


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]) if len(sys.argv) > 1 else 0))
