"""Archives on an S3-compatible store, reached over real HTTP by the connection that docker-compose.yaml names."""

from __future__ import annotations

import hashlib
import json
import traceback
from collections.abc import Iterator

import boto3
import pytest
from airflow.sdk import ObjectStoragePath
from moto.server import ThreadedMotoServer

from aem_guides.archive.place import archive_folder, verify_archive
from aem_guides.protocol.errors import AemGuidesError
from aem_guides.storage import ArchiveCondition
from local.processes import free_port
from tests.support.archives import ID, LINES, NOW, FakeSource, a_zip, as_zip, store

BUCKET = "aem-guides"
KEY_ID, SECRET = "archiver", "canary-s3-secret"
BASE = f"s3://aem_guides_archive@{BUCKET}/archive"


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    url = f"http://{host}:{port}"
    boto3.client(
        "s3", endpoint_url=url, region_name="us-east-1", aws_access_key_id=KEY_ID, aws_secret_access_key=SECRET
    ).create_bucket(Bucket=BUCKET)
    yield url
    server.stop()


@pytest.fixture
def folder(endpoint: str, monkeypatch: pytest.MonkeyPatch) -> ObjectStoragePath:
    connection = {
        "conn_type": "aws",
        "login": KEY_ID,
        "password": SECRET,
        "extra": {"endpoint_url": endpoint, "region_name": "us-east-1"},
    }
    monkeypatch.setenv("AIRFLOW_CONN_AEM_GUIDES_ARCHIVE", json.dumps(connection))
    return archive_folder(BASE, "author.example.com", NOW, ID)


def test_an_archive_is_stored_found_again_and_whole(folder: ObjectStoragePath) -> None:
    content = a_zip({"job.log": LINES})
    stored = store(FakeSource(as_zip(content)), folder)
    assert stored.uri.startswith(BASE)
    assert stored.sha256 == hashlib.sha256(content).hexdigest()
    assert store(FakeSource([]), folder) == stored
    assert verify_archive(folder) is ArchiveCondition.OK
    assert sorted(path.name for path in folder.iterdir()) == ["logs.zip", "manifest.json"]
    assert SECRET not in stored.uri + stored.manifest_uri


def test_a_store_that_is_not_there_is_reported_without_the_key(
    folder: ObjectStoragePath, monkeypatch: pytest.MonkeyPatch
) -> None:
    connection = {"conn_type": "aws", "login": KEY_ID, "password": SECRET}
    nowhere = {
        "endpoint_url": f"http://127.0.0.1:{free_port()}",
        "region_name": "us-east-1",
        "config_kwargs": {"retries": {"max_attempts": 0}},
    }
    monkeypatch.setenv("AIRFLOW_CONN_NOBODY_THERE", json.dumps(connection | {"extra": nowhere}))
    elsewhere = archive_folder(f"s3://nobody_there@{BUCKET}/archive", "author.example.com", NOW, ID)
    with pytest.raises(AemGuidesError, match="Check that this storage can be reached") as caught:
        store(FakeSource(as_zip(a_zip())), elsewhere)
    assert SECRET not in "".join(traceback.format_exception(caught.value))
