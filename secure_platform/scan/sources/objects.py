"""The objects below a prefix of an S3 bucket, each read as it comes and never written to a disk.

An object is always read as the version that was listed, by its entity tag: one that changed meanwhile is
skipped, not mixed.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import IO, Any, Final, Protocol
from urllib.parse import urlsplit

from secure_platform.errors import IntegrityError, ServiceError, UsageError
from secure_platform.scan.sources.documents import UNREADABLE, SkippedError, flowing
from secure_platform.scan.sources.work import Source

SCHEME: Final = "s3://"


class Store(Protocol):
    """What asks AWS; `keys.providers.aws_session.AwsSession` is one."""

    def call(self, service: str, operation: str, /, *, about: str, **parameters: Any) -> dict[str, Any]:
        """What AWS answers."""


@dataclass(frozen=True)
class ObjectDocument:
    """An object.

    Attributes:
        name: Its whole URL.
        tag: Of the version that was listed.
    """

    store: Store
    bucket: str
    key: str
    name: str
    size: int
    tag: str

    @contextmanager
    def open(self) -> Iterator[IO[bytes]]:
        """The object's bytes, as they come."""
        from botocore.exceptions import BotoCoreError

        try:
            answer = self.store.call(
                "s3", "get_object", about=self.name, Bucket=self.bucket, Key=self.key, IfMatch=self.tag
            )
        except (ServiceError, IntegrityError) as error:
            raise SkippedError(error.culprit) from None
        body = answer["Body"]
        try:
            yield flowing(body)
        except BotoCoreError:
            raise SkippedError(UNREADABLE) from None
        finally:
            body.close()


def objects(store: Store, url: str) -> Iterator[Source]:
    """The objects of a bucket below a prefix.

    Args:
        store: Asks AWS.
        url: `s3://bucket/prefix`.

    Raises:
        UsageError: If it is no such URL, or nothing is below it.
        ServiceError: If they cannot be listed.
    """
    bucket, prefix = _parsed(url)
    found = False
    token: dict[str, str] = {}
    while True:
        listed = store.call("s3", "list_objects_v2", about=url, Bucket=bucket, Prefix=prefix, **token)
        for body in listed.get("Contents", ()):
            if not (body["Key"].endswith("/") and body["Size"] == 0):
                found = True
                yield _source(store, bucket, body)
        if not listed.get("IsTruncated"):
            break
        token = {"ContinuationToken": listed["NextContinuationToken"]}
    if not found:
        raise UsageError(f"There is nothing at {url}", "Name a bucket and prefix that has objects.")


def _parsed(url: str) -> tuple[str, str]:
    parts = urlsplit(url)
    if parts.scheme != "s3" or not parts.hostname or "@" in parts.netloc or parts.query or parts.fragment:
        raise UsageError("This is no URL of objects", "Write s3://BUCKET/PREFIX.")
    return parts.netloc, parts.path.removeprefix("/")


def _source(store: Store, bucket: str, body: dict[str, Any]) -> Source:
    name = f"{SCHEME}{bucket}/{body['Key']}"
    document = ObjectDocument(store, bucket, body["Key"], name, body["Size"], body["ETag"])
    return Source(name, f"{body['ETag']} {body['Size']}", lambda inspection: inspection.document(document))
