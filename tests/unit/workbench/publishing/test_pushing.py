"""A repository is published so that devices never see what is not there yet."""

import hashlib
from datetime import UTC, datetime
from pathlib import Path

import pytest

from appliance.core.errors import ConfigError, ModelError, UnavailableError
from appliance.workbench.publishing.ceremony import Holders, rotate
from appliance.workbench.publishing.checking import verify
from appliance.workbench.publishing.pushing import push
from appliance.workbench.publishing.serving import RepositoryServer, serving
from appliance.workbench.publishing.stores import BucketStore, Credentials, FolderStore, open_store, signature
from tests.simulators.bucket import Bucket, serve_bucket
from tests.simulators.publishing import Fleet, write_model

EXAMPLE = Credentials("AKIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY")


@pytest.fixture
def fleet(tmp_path: Path) -> Fleet:
    fleet = Fleet(tmp_path)
    fleet.add(write_model(tmp_path / "mine"))
    fleet.publish()
    return fleet


def test_files_come_first_then_metadata_and_the_timestamp_last(fleet: Fleet) -> None:
    bucket = Bucket(EXAMPLE)
    with serve_bucket(bucket) as url:
        done = push(fleet.repository, BucketStore("models", "cam", url, EXAMPLE))
    order = [path.removeprefix("/models/cam/") for path in bucket.objects]
    assert len(order) == done.files
    assert order[-1] == "metadata/timestamp.json"
    first_metadata = next(at for at, path in enumerate(order) if path.startswith("metadata/"))
    assert all(path.startswith("targets/") for path in order[:first_metadata])
    assert all(path.startswith("metadata/") for path in order[first_metadata:])
    assert bucket.cache["/models/cam/metadata/timestamp.json"] == "public, max-age=60"
    assert bucket.cache["/models/cam/metadata/1.root.json"].endswith("immutable")


def test_what_is_there_is_not_sent_again(fleet: Fleet, tmp_path: Path) -> None:
    store = FolderStore(tmp_path / "www")
    first = push(fleet.repository, store)
    fleet.refresh()
    second = push(fleet.repository, store)
    assert (second.files, second.there) == (1, first.files - 1)


def test_a_push_that_was_cut_short_leaves_devices_with_what_they_had_and_goes_on(fleet: Fleet, tmp_path: Path) -> None:
    bucket = Bucket(EXAMPLE)
    with serve_bucket(bucket) as url:
        store = BucketStore("models", "", url, EXAMPLE)
        push(fleet.repository, store)
        before = dict(bucket.objects)
        fleet.add(write_model(tmp_path / "next" / "mine", "1.1", (0.8,)))
        fleet.publish()
        for taken in range(len(before), len(before) + 6):
            bucket.fail_after = taken
            with pytest.raises(UnavailableError, match="503"):
                push(fleet.repository, store)
            assert bucket.objects["/models/metadata/timestamp.json"] == before["/models/metadata/timestamp.json"]
            assert before.items() <= bucket.objects.items()
        bucket.fail_after = None
        push(fleet.repository, store)
    folder = tmp_path / "copy"
    for path, content in bucket.objects.items():
        file = folder / path.removeprefix("/models/")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)
    assert verify(str(folder), fleet.root, lambda: fleet.now).releases == ("mine 1.0", "mine 1.1")


def test_a_copy_that_is_behind_does_not_publish_over_a_later_one(fleet: Fleet, tmp_path: Path) -> None:
    store = FolderStore(tmp_path / "www")
    behind = (fleet.repository.metadata / "timestamp.json").read_bytes()
    fleet.refresh()
    push(fleet.repository, store)
    (fleet.repository.metadata / "timestamp.json").write_bytes(behind)
    with pytest.raises(ConfigError, match="somebody publishes from another copy"):
        push(fleet.repository, store)


def test_a_root_is_the_last_before_the_timestamp_for_devices_follow_it_at_once(fleet: Fleet) -> None:
    holders = Holders([fleet.keys[f"root-{number}"] for number in (1, 2)], 2)
    rotate(fleet.repository, "root", holders, None, fleet.now)
    fleet.publish()
    bucket = Bucket(EXAMPLE)
    with serve_bucket(bucket) as url:
        push(fleet.repository, BucketStore("models", "", url, EXAMPLE))
    last = [path.rpartition("/")[2] for path in bucket.objects][-3:]
    assert last == ["1.root.json", "2.root.json", "timestamp.json"]


@pytest.mark.parametrize("name", ["1.models.json", "timestamp.json"])
def test_another_copy_s_metadata_of_the_same_version_is_not_written_over(
    fleet: Fleet, tmp_path: Path, name: str
) -> None:
    store, file = FolderStore(tmp_path / "www"), tmp_path / "www" / "metadata" / name
    push(fleet.repository, store)
    file.write_bytes(file.read_bytes().replace(b'{"signatures":[', b'{"signatures": ['))
    before = {one: one.read_bytes() for one in (tmp_path / "www").rglob("*.json")}
    fleet.add(write_model(tmp_path / "next" / "mine", "1.1", (0.8,)))
    fleet.sign()
    if name != "timestamp.json":
        fleet.refresh()
    with pytest.raises(ConfigError, match="somebody publishes from another copy"):
        push(fleet.repository, store)
    assert {one: one.read_bytes() for one in (tmp_path / "www").rglob("*.json")} == before


def test_metadata_of_many_releases_is_not_sent_to_a_bucket_again(fleet: Fleet) -> None:
    bucket = Bucket(EXAMPLE)
    (fleet.repository.metadata / "9.large.json").write_bytes(b" " * (3 << 20))
    with serve_bucket(bucket) as url:
        store = BucketStore("models", "", url, EXAMPLE)
        first = push(fleet.repository, store)
        assert push(fleet.repository, store).there == first.files - 1


def test_a_bucket_of_another_region_is_told_and_no_signature_follows_it(fleet: Fleet) -> None:
    elsewhere = Bucket(EXAMPLE)
    with (
        serve_bucket(elsewhere) as other,
        serve_bucket(Bucket(EXAMPLE, moved_to=other)) as url,
        pytest.raises(UnavailableError, match="set AWS_REGION to its region"),
    ):
        push(fleet.repository, BucketStore("models", "", url, EXAMPLE))
    assert not elsewhere.asked


def test_requests_are_signed_as_amazon_s_own_examples_are() -> None:
    """https://docs.aws.amazon.com/AmazonS3/latest/API/sig-v4-header-based-auth.html"""
    moment = datetime(2013, 5, 24, tzinfo=UTC)
    empty = hashlib.sha256(b"").hexdigest()
    headers = {
        "Host": "examplebucket.s3.amazonaws.com",
        "Range": "bytes=0-9",
        "x-amz-content-sha256": empty,
        "x-amz-date": "20130524T000000Z",
    }
    url = "https://examplebucket.s3.amazonaws.com/test.txt"
    found = signature("GET", url, headers, empty, credentials=EXAMPLE, moment=moment)
    assert found.endswith("Signature=f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41")
    digest = hashlib.sha256(b"Welcome to Amazon S3.").hexdigest()
    headers = {
        "Host": "examplebucket.s3.amazonaws.com",
        "Date": "Fri, 24 May 2013 00:00:00 GMT",
        "x-amz-content-sha256": digest,
        "x-amz-date": "20130524T000000Z",
        "x-amz-storage-class": "REDUCED_REDUNDANCY",
    }
    url = "https://examplebucket.s3.amazonaws.com/test%24file.text"
    found = signature("PUT", url, headers, digest, credentials=EXAMPLE, moment=moment)
    assert found.endswith("Signature=98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd")


def test_a_wrong_secret_is_refused_by_the_store_and_shown_nowhere(fleet: Fleet) -> None:
    with serve_bucket(Bucket(EXAMPLE)) as url, pytest.raises(UnavailableError, match="403") as caught:
        push(fleet.repository, BucketStore("models", "", url, Credentials("AKIAIOSFODNN7EXAMPLE", "hush")))
    assert "hush" not in str(caught.value) + repr(Credentials("a", "hush"))


def test_where_to_is_told_with_what_is_accepted() -> None:
    with pytest.raises(ConfigError, match="accepted: a folder, s3://BUCKET"):
        open_store("ftp://there", None, {})
    with pytest.raises(ConfigError, match="lacks AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"):
        open_store("s3://bucket/here", None, {})


def test_a_repository_is_verified_by_its_address_too(fleet: Fleet) -> None:
    with serving(RepositoryServer(fleet.published)) as url:
        found = verify(url, fleet.root, lambda: fleet.now)
    assert (found.releases, found.files) == (("mine 1.0",), 4)


def test_a_file_that_is_missing_or_another_one_is_found_by_verify(fleet: Fleet) -> None:
    weights = next((fleet.published / "targets" / "models" / "mine" / "1.0").glob("*.int8.onnx"))
    content = weights.read_bytes()
    weights.write_bytes(content[:-1] + b"?")
    with pytest.raises(ModelError, match="is not what was signed"):
        verify(str(fleet.published), fleet.root, lambda: fleet.now)
    weights.unlink()
    with pytest.raises(ModelError, match="answers 404"):
        verify(str(fleet.published), fleet.root, lambda: fleet.now)
