"""Unusual log archives: names of entries, bytes after the end, a wrong checksum."""

from __future__ import annotations

import json
import struct
import zipfile
from dataclasses import dataclass, fields
from pathlib import Path

from emulator.checks import BadInputError

ODD_ZIP = "zip_odd"
_LONGEST_NAME = 65_535
_LOCAL_CRC, _CENTRAL_CRC = 14, 16
_LENGTHS, _CENTRAL_BYTES = 28, 46


@dataclass(frozen=True)
class Oddities:
    """The unusual features of an archive.

    `names`: the names of its entries, unchanged. The first entry has the log, each other one its own line. `behind`: a
    text after its end. `wrong_crc`: the number of the entry with a wrong checksum, counted from 0.
    """

    names: tuple[str, ...] = ()
    behind: str = ""
    wrong_crc: int | None = None

    @classmethod
    def from_json(cls, body: str) -> Oddities:
        """Read the `body` of a fault. Raises BadInputError."""
        try:
            asked = json.loads(body)
        except ValueError:
            asked = None
        known = {entry.name for entry in fields(cls)}
        if not isinstance(asked, dict) or not asked or set(asked) - known:
            raise BadInputError("body", body, f"Give a JSON object with some of {', '.join(sorted(known))}.")
        names, behind, wrong_crc = asked.get("names", []), asked.get("behind", ""), asked.get("wrong_crc")
        if not isinstance(names, list) or not all(_can_be_packed(name) for name in names):
            raise BadInputError("names", names, f"Give a list of texts of at most {_LONGEST_NAME} bytes.")
        if not isinstance(behind, str):
            raise BadInputError("behind", behind, "Give a text.")
        if wrong_crc is not None and (type(wrong_crc) is not int or not 0 <= wrong_crc < max(1, len(names))):
            raise BadInputError("wrong_crc", wrong_crc, "Give the number of one of the entries, counted from 0.")
        return cls(tuple(names), behind, wrong_crc)


def check_odd_zip(kind: str, body: str) -> None:
    """Raises BadInputError for a fault of this kind that is not possible."""
    if kind == ODD_ZIP:
        Oddities.from_json(body)


def make_odd(path: Path, oddities: Oddities) -> None:
    """Change the checksum of an entry in a complete archive, and append bytes."""
    if oddities.wrong_crc is not None:
        falsify_crc(path, oddities.wrong_crc)
    with path.open("ab") as file:
        file.write(oddities.behind.encode())


def falsify_crc(path: Path, number: int) -> None:
    """Change the checksum of an entry in a complete archive, in both places where it is stored."""
    with zipfile.ZipFile(path) as archive:
        local, central = archive.infolist()[number].header_offset, archive.start_dir
    with path.open("r+b") as file:
        for _ in range(number):
            file.seek(central + _LENGTHS)
            central += _CENTRAL_BYTES + sum(struct.unpack("<HHH", file.read(6)))
        for place in (local + _LOCAL_CRC, central + _CENTRAL_CRC):
            file.seek(place)
            byte = file.read(1)
            file.seek(place)
            file.write(bytes([byte[0] ^ 0xFF]))


def _can_be_packed(name: object) -> bool:
    try:
        return isinstance(name, str) and 0 < len(name.encode()) <= _LONGEST_NAME
    except UnicodeEncodeError:
        return False
