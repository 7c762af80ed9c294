"""What the AWS environment says about S3, told to each library in its own words.

Endpoint, region, addressing and credentials are found once, by boto3 (``AWS_*`` variables, profiles, SSO, roles), and
never in a config file of ours. Credentials pass in memory only; nothing here is logged.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from tlnlp.errors import StorageError

if TYPE_CHECKING:
    from obstore.store import ObjectStore
    from pyarrow.fs import S3FileSystem

DEFAULT_REGION = "us-east-1"
# Keys in the driver's environment reach executors through Hadoop's configuration; roles and profiles are found on each.
_HADOOP_CREDENTIALS = ",".join(
    [
        "org.apache.hadoop.fs.s3a.TemporaryAWSCredentialsProvider",
        "org.apache.hadoop.fs.s3a.SimpleAWSCredentialsProvider",
        "software.amazon.awssdk.auth.credentials.DefaultCredentialsProvider",
    ]
)
_COMMIT = "org.apache.spark.internal.io.cloud"
COMMIT_CLASS = f"{_COMMIT}.PathOutputCommitProtocol"


@dataclass(frozen=True)
class S3:
    """``endpoint``: None for AWS's own. ``path_style``: the bucket stands in the path, not in the host's name."""

    region: str
    endpoint: str | None
    path_style: bool
    session: Any

    @property
    def secure(self) -> bool:
        return self.endpoint is None or self.endpoint.startswith("https://")

    def object_store(self, bucket: str, prefix: str) -> ObjectStore:
        """For obstore, which asks boto3 again whenever credentials run out."""
        from obstore.auth.boto3 import Boto3CredentialProvider
        from obstore.store import S3Store

        try:
            credentials = Boto3CredentialProvider(self.session)
        except ValueError as error:
            raise _unusable(f"s3://{bucket}", error) from error
        options: dict[str, Any] = {"region": self.region, "virtual_hosted_style_request": not self.path_style}
        if self.endpoint is not None:
            options |= {"endpoint": self.endpoint}
        if not self.secure:
            options |= {"client_options": {"allow_http": True}}
        return S3Store(bucket, prefix=prefix or None, credential_provider=credentials, **options)

    def iceberg(self) -> dict[str, str]:
        """Properties of PyIceberg's FileIO. Short-lived credentials are as they are now: open one for each use."""
        keys = self._keys()
        named = {"access-key-id": keys[0], "secret-access-key": keys[1], "session-token": keys[2]} if keys else {}
        found = {f"s3.{name}": value for name, value in named.items() if value}
        found |= {"s3.region": self.region, "s3.force-virtual-addressing": str(not self.path_style).lower()}
        return found | ({"s3.endpoint": self.endpoint} if self.endpoint else {})

    def arrow_filesystem(self) -> S3FileSystem:
        """For Ray Train, on other machines too: keys travel with it, a role is found where it is used."""
        from pyarrow.fs import S3FileSystem

        options: dict[str, Any] = {"region": self.region, "force_virtual_addressing": not self.path_style}
        keys = None if self._short_lived() else self._keys()
        if keys:
            options |= {"access_key": keys[0], "secret_key": keys[1], "session_token": keys[2]}
        if self.endpoint is not None:
            parts = urlsplit(self.endpoint)
            options |= {"endpoint_override": parts.netloc + parts.path.rstrip("/"), "scheme": parts.scheme}
        return S3FileSystem(**options)

    def spark(self) -> dict[str, str]:
        """Properties of Spark for ``s3a://``. Keys are left out: Spark takes them from ``AWS_*`` itself."""
        s3a = {
            "endpoint.region": self.region,
            "path.style.access": str(self.path_style).lower(),
            "connection.ssl.enabled": str(self.secure).lower(),
            "aws.credentials.provider": _HADOOP_CREDENTIALS,
        }
        if self.endpoint is not None:
            s3a["endpoint"] = self.endpoint
        return {f"spark.hadoop.fs.s3a.{name}": value for name, value in s3a.items()}

    def _keys(self) -> tuple[str, str, str | None] | None:
        credentials = self.session.get_credentials()
        if credentials is None:
            return None
        frozen = credentials.get_frozen_credentials()
        return frozen.access_key, frozen.secret_key, frozen.token

    def _short_lived(self) -> bool:
        from botocore.credentials import RefreshableCredentials

        return isinstance(self.session.get_credentials(), RefreshableCredentials)


# Output that becomes visible only when the job commits, without renames, which a store does not have (Hadoop's "magic"
# committer; the classes that bind it to Parquet are those of spark-hadoop-cloud). Spark 4.3 sets these itself where it
# finds the classes; said here for a session that was started without them, and for older releases.
COMMITTER = {
    "spark.sql.sources.commitProtocolClass": COMMIT_CLASS,
    "spark.sql.parquet.output.committer.class": f"{_COMMIT}.BindingParquetOutputCommitter",
    "spark.hadoop.fs.s3a.committer.name": "magic",
    "spark.hadoop.fs.s3a.committer.magic.enabled": "true",
    "spark.hadoop.mapreduce.outputcommitter.factory.scheme.s3a": "org.apache.hadoop.fs.s3a.commit.S3ACommitterFactory",
}


def is_s3(uri: str) -> bool:
    return uri.startswith(("s3://", "s3a://"))


def s3_of_environment(uri: str = "s3://") -> S3:
    """S3 as the environment of this process has it now; ``uri`` is named in the error.

    Raises:
        StorageError: the AWS configuration does not hold together.
    """
    from botocore.exceptions import BotoCoreError

    try:
        return _found(tuple(sorted((name, value) for name, value in os.environ.items() if name.startswith("AWS_"))))
    except (BotoCoreError, ValueError) as error:
        raise _unusable(uri, error) from error


def aws_client(service: str, region: str | None = None) -> Any:
    """The boto3 client of another AWS service, as the environment says (``AWS_ENDPOINT_URL_<SERVICE>`` too).

    Raises:
        StorageError: no region is set, or the AWS configuration does not hold together.
    """
    from botocore.config import Config
    from botocore.exceptions import BotoCoreError, NoRegionError

    patience = Config(connect_timeout=10, read_timeout=60, retries={"mode": "standard", "total_max_attempts": 4})
    try:
        return _session().client(service, region_name=region, config=patience)
    except NoRegionError as error:
        raise StorageError(f"{service}: no AWS region is set; set AWS_REGION, or say the region") from error
    except (BotoCoreError, ValueError) as error:
        raise _unusable(service, error) from error


def _session() -> Any:
    import boto3

    # The other SDKs of AWS read AWS_REGION, and boto3 AWS_DEFAULT_REGION alone.
    return boto3.Session(region_name=os.environ.get("AWS_REGION") or None)


@lru_cache(maxsize=4)
def _found(environment: tuple[tuple[str, str], ...]) -> S3:
    session = _session()
    region = session.region_name or DEFAULT_REGION
    meta = session.client("s3", region_name=region).meta
    own = (urlsplit(meta.endpoint_url).hostname or "").endswith((".amazonaws.com", ".amazonaws.com.cn"))
    virtual = (meta.config.s3 or {}).get("addressing_style") == "virtual"
    return S3(region, None if own else meta.endpoint_url, not own and not virtual, session)


def _unusable(uri: str, error: Exception) -> StorageError:
    return StorageError(
        f"{uri}: no usable AWS credentials ({type(error).__name__}); set AWS_PROFILE or the AWS_* keys, or log in"
    )
