"""Virtual folders: as many assets as wanted, at any speed, without a file."""

from __future__ import annotations

import bisect
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

from emulator.checks import BadInputError, check_kind, check_least, check_names

_NAME_DIGITS = 7
_PREFIX, _SUFFIX = "topic_", ".dita"
_MOST_FILES = 10**_NAME_DIGITS


@dataclass(frozen=True)
class VirtualFolder:
    """A folder of `files` assets named `topic_0000000.dita` and so on.

    `rate` is in assets a second (0: the instance's). The job on it fails once at the share `fail_at` (0: never),
    resumable or not. `failed_assets` says which assets fail: a whole number for so many at the end, a fraction for a
    share spread over the folder, a list for their names. `log_lines` lines are written for each asset.
    `zip_padding_bytes` incompressible bytes are added to its log archive. Creation times are spread evenly between
    `created_from` and `created_to` (epoch milliseconds).
    """

    path: str
    files: int
    rate: float = 0.0
    fail_at: float = 0.0
    resumable: bool = True
    failed_assets: int | float | list[str] = 0
    log_lines: int = 1
    zip_padding_bytes: int = 0
    created_from: int = 1_700_000_000_000
    created_to: int = 1_700_000_000_000

    @classmethod
    def from_json(cls, data: Mapping[str, object]) -> VirtualFolder:
        """Read a folder. Raises BadInputError."""
        sample = cls("/content/dam/sample", 1)
        check_names(list(data), sample.__dataclass_fields__, "field of a virtual folder")
        for name in ("path", "files"):
            if name not in data:
                raise BadInputError(name, None, "It is required.")
        for name, value in data.items():
            if name == "failed_assets":
                _check_failed(value)
                continue
            check_kind(name, value, getattr(sample, name))
            if isinstance(value, (int, float)):
                check_least(name, value, 0)
        folder = cls(**data)  # type: ignore[arg-type]  # names and kinds are checked above
        if not folder.path.startswith("/content/") or folder.path.endswith("/"):
            raise BadInputError("path", folder.path, "Give a path below /content, without a slash at its end.")
        if folder.files > _MOST_FILES:
            raise BadInputError("files", folder.files, f"Give at most {_MOST_FILES}.")
        if folder.fail_at > 1:
            raise BadInputError("fail_at", folder.fail_at, "Give a share between 0 and 1.")
        if folder.created_to < folder.created_from:
            raise BadInputError("created_to", folder.created_to, "It must not lie ahead of created_from.")
        return folder

    def asset_path(self, number: int) -> str:
        return f"{self.path}/{_PREFIX}{number:0{_NAME_DIGITS}}{_SUFFIX}"

    def number_of(self, path: str) -> int | None:
        """The number of the asset with this path, or None."""
        digits = path.removeprefix(f"{self.path}/{_PREFIX}").removesuffix(_SUFFIX)
        if not (len(digits) == _NAME_DIGITS and digits.isascii() and digits.isdigit()):
            return None
        number = int(digits)
        return number if number < self.files and self.asset_path(number) == path else None

    def created(self, number: int) -> int:
        """When an asset was created, in epoch milliseconds, never earlier than the previous one."""
        return self.created_from + (self.created_to - self.created_from) * number // max(1, self.files)

    def created_between(self, after: int | None, before: int | None) -> tuple[int, int]:
        """The first number created at or after `after`, and the first created at or after `before`."""
        numbers = range(self.files)
        first = 0 if after is None else bisect.bisect_left(numbers, after, key=self.created)
        stop = self.files if before is None else bisect.bisect_left(numbers, before, key=self.created)
        return first, max(first, stop)

    def fails(self, number: int) -> bool:
        if isinstance(self.failed_assets, list):
            path = self.asset_path(number)
            return path in self._failing or path.rpartition("/")[2] in self._failing
        if isinstance(self.failed_assets, float):
            return int((number + 1) * self.failed_assets) > int(number * self.failed_assets)
        return number >= self.files - self.failed_assets

    @cached_property
    def _failing(self) -> frozenset[str]:
        return frozenset(self.failed_assets) if isinstance(self.failed_assets, list) else frozenset()


def _check_failed(value: object) -> None:
    good = isinstance(value, int) and not isinstance(value, bool) and value >= 0
    good = good or (isinstance(value, float) and 0 <= value <= 1)
    good = good or (isinstance(value, list) and all(isinstance(entry, str) for entry in value))
    if not good:
        raise BadInputError("failed_assets", value, "Give a count, a share between 0.0 and 1.0, or a list of names.")
