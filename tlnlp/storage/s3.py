"""Translate the AWS configuration of the environment into the S3 settings of each library.

boto3 finds endpoint, region, addressing style and credentials once (``AWS_*`` variables, profiles, SSO, roles). Our own
config files hold none of them. Credentials stay in memory, and nothing here is logged.
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
# Spark sends keys of the driver's environment to executors; each executor finds roles and profiles itself.
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
    """The S3 settings of this process.

    Attributes:
        region: AWS region.
        endpoint: URL of the S3 server; None for AWS itself.
        path_style: True if the bucket is part of the URL's path, False if it is part of the host name.
        session: boto3 session that supplies the credentials.
    """

    region: str
    endpoint: str | None
    path_style: bool
    session: Any

    @property
    def secure(self) -> bool:
        """True if the endpoint is reached by HTTPS."""
        return self.endpoint is None or self.endpoint.startswith("https://")

    def object_store(self, bucket: str, prefix: str) -> ObjectStore:
        """Return an obstore store, which asks boto3 for new credentials when they expire."""
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
        """Return the properties of PyIceberg's FileIO. It does not renew short-lived credentials: open one per use."""
        keys = self._keys()
        named = {"access-key-id": keys[0], "secret-access-key": keys[1], "session-token": keys[2]} if keys else {}
        found = {f"s3.{name}": value for name, value in named.items() if value}
        found |= {"s3.region": self.region, "s3.force-virtual-addressing": str(not self.path_style).lower()}
        return found | ({"s3.endpoint": self.endpoint} if self.endpoint else {})

    def arrow_filesystem(self) -> S3FileSystem:
        """Return a pyarrow file system that Ray Train can send to other machines.

        Permanent keys are sent with it; short-lived credentials, as of a role, are looked up on each machine.
        """
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
        """Return Spark's properties for ``s3a://``, without keys: Spark takes these from ``AWS_*`` itself."""
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


# Hadoop's "magic" committer makes output visible only when the job commits, without renames, which object stores lack;
# spark-hadoop-cloud has the classes that bind it to Parquet. Spark 4.3 sets these properties itself if it finds the
# classes. They are set here for older releases, and for sessions that were started without the classes.
COMMITTER = {
    "spark.sql.sources.commitProtocolClass": COMMIT_CLASS,
    "spark.sql.parquet.output.committer.class": f"{_COMMIT}.BindingParquetOutputCommitter",
    "spark.hadoop.fs.s3a.committer.name": "magic",
    "spark.hadoop.fs.s3a.committer.magic.enabled": "true",
    "spark.hadoop.mapreduce.outputcommitter.factory.scheme.s3a": "org.apache.hadoop.fs.s3a.commit.S3ACommitterFactory",
}


def is_s3(uri: str) -> bool:
    """Return True for a URI of S3."""
    return uri.startswith(("s3://", "s3a://"))


def s3_of_environment(uri: str = "s3://") -> S3:
    """Return the S3 settings of this process's present environment; errors name ``uri``.

    Raises:
        StorageError: the AWS configuration is incomplete or invalid.
    """
    from botocore.exceptions import BotoCoreError

    try:
        return _settings(tuple(sorted((name, value) for name, value in os.environ.items() if name.startswith("AWS_"))))
    except (BotoCoreError, ValueError) as error:
        raise _unusable(uri, error) from error


def aws_client(service: str, region: str | None = None) -> Any:
    """Return boto3's client of an AWS service, configured by the environment (also ``AWS_ENDPOINT_URL_<SERVICE>``).

    Raises:
        StorageError: no region is set, or the AWS configuration is incomplete or invalid.
    """
    from botocore.config import Config
    from botocore.exceptions import BotoCoreError, NoRegionError

    config = Config(connect_timeout=10, read_timeout=60, retries={"mode": "standard", "total_max_attempts": 4})
    try:
        return _session().client(service, region_name=region, config=config)
    except NoRegionError as error:
        raise StorageError(f"{service}: no AWS region is set; set AWS_REGION, or the region of the target") from error
    except (BotoCoreError, ValueError) as error:
        raise _unusable(service, error) from error


def _session() -> Any:
    import boto3

    # boto3 reads AWS_DEFAULT_REGION only; the other AWS SDKs read AWS_REGION.
    return boto3.Session(region_name=os.environ.get("AWS_REGION") or None)


@lru_cache(maxsize=4)
def _settings(environment: tuple[tuple[str, str], ...]) -> S3:
    """Return the S3 settings; ``environment`` (all ``AWS_*`` variables) is only the cache key."""
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
