"""Trust roots: kept as long as the CA file is the same, and read again when it has changed."""

from __future__ import annotations

import os
import ssl
from pathlib import Path

import pytest

from aem_guides.hooks.tls import tls_context
from tests.support.network import self_signed


def subjects(context: ssl.SSLContext) -> set[str]:
    return {str(entry["subject"]) for entry in context.get_ca_certs()}


@pytest.fixture
def authorities(tmp_path: Path) -> tuple[bytes, bytes]:
    first, second = self_signed(tmp_path / "1", host="one.example"), self_signed(tmp_path / "2", host="two.example")
    return first.file.read_bytes(), second.file.read_bytes()


def test_a_context_is_kept_while_its_file_is_the_same(tmp_path: Path, authorities: tuple[bytes, bytes]) -> None:
    file = tmp_path / "ca.pem"
    file.write_bytes(authorities[0])
    assert tls_context(True, str(file)) is tls_context(True, str(file))
    assert tls_context(True, None) is tls_context(True, None)
    assert tls_context(False, str(file)).verify_mode is ssl.CERT_NONE


@pytest.mark.parametrize("way", ["in place", "moved over", "through a link", "within a tick of the clock"])
def test_a_file_that_changed_is_read_again(way: str, tmp_path: Path, authorities: tuple[bytes, bytes]) -> None:
    file, first, second = tmp_path / "ca.pem", tmp_path / "1.pem", tmp_path / "2.pem"
    first.write_bytes(authorities[0])
    second.write_bytes(authorities[1])
    if way == "through a link":
        file.symlink_to(first)
    else:
        file.write_bytes(authorities[0])
    before = tls_context(True, str(file))
    assert "one.example" in " ".join(subjects(before))
    match way:
        case "in place":
            file.write_bytes(authorities[1])
        case "moved over":
            second.replace(file)
        case "through a link":
            file.unlink()
            file.symlink_to(second)
        case _:
            at = file.stat().st_mtime_ns
            file.write_bytes(authorities[1] + b"\n")
            os.utime(file, ns=(at, at))
    found = " ".join(subjects(tls_context(True, str(file))))
    assert "two.example" in found
    assert "one.example" not in found


def test_while_a_file_is_half_written_the_earlier_one_counts(tmp_path: Path, authorities: tuple[bytes, bytes]) -> None:
    file = tmp_path / "ca.pem"
    file.write_bytes(authorities[0])
    before = tls_context(True, str(file))
    file.write_bytes(authorities[1][:100])
    assert tls_context(True, str(file)) is before
    file.unlink()
    assert tls_context(True, str(file)) is before
    file.write_bytes(authorities[1])
    assert "two.example" in " ".join(subjects(tls_context(True, str(file))))


def test_a_file_that_never_was_one_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="No such file"):
        tls_context(True, str(tmp_path / "none.pem"))
