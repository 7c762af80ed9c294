"""Configure the Spark session of a scoring run, and turn Spark's exceptions into errors with advice."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from pyspark.errors import PySparkException
from pyspark.sql import SparkSession

from tlnlp.config import SparkSettings
from tlnlp.data.tables import unreadable
from tlnlp.errors import BundleError, EngineError, InputDataError, TlnlpError, counted
from tlnlp.runs.memory import peak_bytes
from tlnlp.runs.progress import say
from tlnlp.score.spark_failures import class_names, known_cause
from tlnlp.score.spark_start import start
from tlnlp.storage.s3 import COMMIT_CLASS, COMMITTER, is_s3, s3_of_environment

ARROW_BATCH_BYTES = 16 << 20
# Advice by Spark's error condition.
_ADVICE = {
    "PARQUET_TYPE_ILLEGAL": "a column has a type that Spark cannot read, such as nanosecond timestamps: write "
    "microseconds (pandas: to_parquet(..., coerce_timestamps='us'))",
    "COLUMN_ALREADY_EXISTS": "two columns have the same name, or differ in upper and lower case only: rename one",
}
# Spark's message holds one of these if an input file cannot be read.
_UNREADABLE = ("FAILED_READ_FILE", "CANNOT_READ_FILE_FOOTER", "MALFORMED_RECORD", "PATH_NOT_FOUND", "is not a Parquet")


def spark_uri(uri: str) -> str:
    """Return the URI with the scheme that Hadoop expects: ``s3a://`` for ``s3://``."""
    return "s3a://" + uri.removeprefix("s3://") if uri.startswith("s3://") else uri


def spark_input(uri: str) -> str:
    """Return the URI for Spark's readers, with the characters escaped that they take for patterns (``[``, ``*``)."""
    return re.sub(r"([\[\]{}*?\\])", r"\\\1", spark_uri(uri))


@contextmanager
def spark_session(settings: SparkSettings, arrow_batch_rows: int, stores: Sequence[str] = ()) -> Iterator[SparkSession]:
    """Yield a configured session. An active session is used and stays active; a new one is stopped after the block.

    Args:
        settings: master, memory and further configuration of a new session.
        arrow_batch_rows: most rows of a batch that is sent to a Python worker.
        stores: the URIs that Spark will read and write.

    Raises:
        EngineError: there is no Java, Spark does not start, or it lacks a library to reach a store.
        StorageError: the AWS configuration is inconsistent.
    """
    active = SparkSession.getActiveSession()
    spark = active or start(settings)
    spark.conf.set("spark.sql.execution.arrow.maxRecordsPerBatch", str(arrow_batch_rows))
    spark.conf.set("spark.sql.execution.arrow.maxBytesPerBatch", str(ARROW_BATCH_BYTES))
    spark.conf.set("spark.sql.session.timeZone", "UTC")
    spark.conf.set("spark.sql.parquet.outputTimestampType", "TIMESTAMP_MICROS")
    try:
        if any(map(is_s3, stores)):
            _configure_s3(spark)
        yield spark
    finally:
        if active is None:
            spark.stop()


def _configure_s3(spark: SparkSession) -> None:
    """Configure S3 from the AWS environment. Settings that the Spark configuration has already stay as they are."""
    if not _has_class(spark, "org.apache.hadoop.fs.s3a.S3AFileSystem"):
        hadoop = spark._jvm.org.apache.hadoop.util.VersionInfo.getVersion()  # type: ignore[union-attr]
        raise EngineError(
            "Spark cannot reach s3://: hadoop-aws is not on its class path; submit the job with --packages "
            f"org.apache.hadoop:hadoop-aws:{hadoop}, or name that package with --set spark.conf.spark.jars.packages="
        )
    wanted = s3_of_environment().spark()
    if _has_class(spark, COMMIT_CLASS):
        wanted |= COMMITTER
    else:
        say(
            "spark: spark-hadoop-cloud is not on the class path; files are committed by copying, which is slower; add "
            "its package as you added hadoop-aws"
        )
    configured = spark.sparkContext.getConf()
    for name, value in wanted.items():
        if not configured.contains(name):
            spark.conf.set(name.removeprefix("spark.hadoop."), value)


def _has_class(spark: SparkSession, name: str) -> bool:
    try:
        loader = spark._jvm.org.apache.spark.util.Utils  # type: ignore[union-attr]
        loader.classForName(name, False, True)
    except Exception as error:  # Py4J raises its own exception for a ClassNotFoundException.
        if type(error).__module__.startswith("py4j"):
            return False
        raise
    return True


@contextmanager
def spark_errors(what: str) -> Iterator[None]:
    """Turn exceptions of Spark into errors of tlnlp. ``what`` names the step or the input in the message.

    Spark's own message is left out, because it may quote documents (see ``spark_failures``).

    Raises:
        InputDataError: an input file cannot be read.
        BundleError: a worker found the bundle damaged.
        EngineError: a worker cannot use its GPU, or Spark failed for any other reason; the message names the cause, if
            it is a known one.
    """
    try:
        yield
    except TlnlpError:
        raise
    except Exception as error:
        # The exceptions of Py4J and PySpark share no base class. Any other exception is a fault of tlnlp itself.
        if not (isinstance(error, PySparkException) or type(error).__module__.startswith("py4j")):
            raise
        message = str(error)
        # This one stands first: the traceback of any error while a bundle is loaded names BundleError, too.
        if found := re.search(r"tlnlp\.errors\.EngineError: ([^\n]+)", message):
            raise EngineError(f"{what}: nothing was published: {found[1]}") from error
        if "BundleError" in message:
            raise BundleError(
                f"{what}: a worker found the bundle damaged; nothing was published; run the night again, and train the "
                "model again if this repeats"
            ) from error
        if found := re.search(r"tlnlp\.errors\.InputDataError: ([^\n]+)", message):
            raise InputDataError(found[1]) from error  # A worker found a file that it cannot read.
        if advice := _ADVICE.get(_condition(error) or ""):
            raise InputDataError(f"{what}: {advice}") from error
        if known := known_cause(error):
            kind, sentence = known
            raise kind(f"{what}: nothing was published: {sentence}") from error
        if any(sign in message for sign in _UNREADABLE):
            raise InputDataError(f"{what}: {_unreadable(error)}") from error
        raise EngineError(
            f"{what}: nothing was published: Spark failed ({', '.join(class_names(error))}); add --debug for its own "
            "message"
        ) from error


def _condition(error: Exception) -> str | None:
    get = getattr(error, "getCondition", None)
    return get() if callable(get) else None


def _unreadable(error: Exception) -> str:
    parameters = getattr(error, "getMessageParameters", lambda: None)() or {}
    path = parameters.get("path") or parameters.get("file")
    if not path:
        uris = [word for word in str(error).replace("'", " ").split() if word.startswith(("file:", "s3a:"))]
        path = uris[0].rstrip(".,;)") if uris else "an input file"
    path = re.sub("^s3a:", "s3:", path)
    return unreadable(path)


def jvm_peak_bytes(spark: SparkSession) -> int:
    """Return the largest resident set of the JVM that this process started, in bytes.

    Returns 0 if this process started no JVM, or if the system is not Linux.
    """
    process = getattr(getattr(spark.sparkContext, "_gateway", None), "proc", None)
    return peak_bytes(process.pid) if process is not None else 0


def report_session(spark: SparkSession) -> None:
    """Print Spark's version, its master and the number of parallel tasks."""
    context = spark.sparkContext
    tasks = context.defaultParallelism
    say(f"spark: version {context.version} on {context.master}, {counted(tasks, 'parallel task')}")
