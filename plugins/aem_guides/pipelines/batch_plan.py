"""How a batch of thousands of paths is split into the lists that Airflow maps over.

Airflow maps over at most `[core] max_map_length` values of one list (1,024 by default), but over every pair of two
lists. So the planning task returns the numbers of blocks of ten requests, and the mapped task runs for every block and
every place in it. The requests of each block are in an XCom of their own, because a mapped task reads whole XComs.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

from airflow.sdk.configuration import conf

from aem_guides.protocol.errors import InvalidInputError
from aem_guides.protocol.models import JsonObject, JsonValue, ProcessingRequest, number, text

BLOCK = 10
PLANNED_KEY = "planned"


def block_key(block: int) -> str:
    """The XCom with the requests of a block."""
    return f"block_{block}"


@dataclass(frozen=True)
class BatchPlan:
    """The plan of a run: `paths` and the fingerprints of their requests. `done_before` paths are left out."""

    instance: str
    batch_name: str
    paths: tuple[tuple[str, str], ...]
    done_before: int = 0

    @property
    def blocks(self) -> int:
        return -(-len(self.paths) // BLOCK)

    @property
    def tasks(self) -> int:
        """The number of mapped tasks. The last block may have places without a path."""
        return self.blocks * BLOCK

    def to_json(self) -> JsonObject:
        return {
            "instance": self.instance,
            "batch_name": self.batch_name,
            "paths": [[path, fingerprint] for path, fingerprint in self.paths],
            "done_before": self.done_before,
        }

    @classmethod
    def from_json(cls, stored: JsonValue) -> BatchPlan:
        """Read what `to_json` wrote. Anything else gives a plan without paths."""
        data = stored if isinstance(stored, dict) else {}
        paths = data.get("paths")
        pairs = paths if isinstance(paths, list) else []
        return cls(
            text(data.get("instance")) or "",
            text(data.get("batch_name")) or "",
            tuple((str(pair[0]), str(pair[1])) for pair in pairs if isinstance(pair, list) and len(pair) == 2),
            number(data.get("done_before")) or 0,
        )


def most_paths() -> int:
    """The most paths of one batch: `[core] max_map_length` blocks."""
    return BLOCK * int(conf.getint("core", "max_map_length", fallback=1024))


def check_size(requests: Sequence[ProcessingRequest]) -> None:
    """Raise InvalidInputError if there are more paths than one run can take."""
    if len(requests) > (most := most_paths()):
        raise InvalidInputError(
            "paths",
            f"{len(requests):,} paths",
            f"A batch has at most {most:,} paths (10 times [core] max_map_length). Split it into several batches, or "
            "give folders above these paths.",
        )


def digest(requests: Sequence[ProcessingRequest]) -> str:
    """64 hexadecimal digits that identify the requests and their order."""
    return hashlib.sha256("\n".join(request.fingerprint() for request in requests).encode()).hexdigest()


def cut(requests: Sequence[ProcessingRequest]) -> list[list[JsonValue]]:
    """The requests as plain JSON, block by block."""
    plain: list[JsonValue] = [request.to_json() for request in requests]
    return [plain[start : start + BLOCK] for start in range(0, len(plain), BLOCK)]
