"""Say in one sentence why Spark failed: what happened, where, and what to do about it.

Spark's messages may quote documents, so nothing but names of classes and paths is taken from them, and these only from
places where Java, Hadoop or Python write them.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from tlnlp.errors import EngineError, InputDataError, TlnlpError

MEMORY = "on one machine by --set spark.driver_memory=, on a cluster by --set spark.conf.spark.executor.memory="
RESUMED = "run the night again: it takes over what is finished"


@dataclass(frozen=True)
class Cause:
    """One known cause of a failure.

    Fields:
        pattern: matches Spark's message where this is the cause.
        sentence: the cause and the next step; ``{found}`` is the pattern's first group, a path or the name of a class.
        kind: the class of the error.
    """

    pattern: re.Pattern[str]
    sentence: str
    kind: type[TlnlpError] = EngineError

    def found_in(self, error: Exception) -> str | None:
        """Return the sentence, if this is the cause of an exception."""
        found = self.pattern.search(f"{type(error).__name__}: {error}")
        if found is None:
            return None
        named = next((group for group in found.groups() if group), "a file")
        return self.sentence.format(found=re.sub("^s3a:", "s3:", re.sub("^file:(//)?/", "/", named)))


def _cause(pattern: str, sentence: str, kind: type[TlnlpError] = EngineError) -> Cause:
    return Cause(re.compile(pattern, re.MULTILINE), sentence, kind)


# The first cause that matches counts: what is particular stands above what is general.
CAUSES = (
    _cause(
        r"PYTHON_VERSION_MISMATCH",
        "the workers run another minor version of Python than this process; set PYSPARK_PYTHON to the same version on "
        "every machine, or ship it (make pack, --archives)",
    ),
    _cause(
        r'^(?:Caused by: )?java\.io\.IOException: Cannot run program "([^"\n]+)"',
        "a worker cannot start Python: it has no program {found}; set PYSPARK_PYTHON to one that all machines have",
    ),
    _cause(
        r"^\s*ModuleNotFoundError: No module named '([\w.]+)'",
        "the Python of the workers lacks the package {found}; install tlnlp[score] for it, or ship it (make pack, "
        "--archives)",
    ),
    _cause(
        r"No space left on device|Disk quota exceeded|DiskChecker\$DiskErrorException",
        "a disk is full; free space below the warehouse and in the temporary folder of Spark (/tmp, or set "
        f"--set spark.conf.spark.local.dir=), then {RESUMED}",
    ),
    _cause(
        r"INVALID_DRIVER_MEMORY|System memory \d+ must be at least",
        "the driver's memory is too small for Spark; raise it to 1g or more, by --set spark.driver_memory=",
    ),
    _cause(
        r"java\.lang\.OutOfMemoryError|SparkOutOfMemoryError|UNABLE_TO_ACQUIRE_MEMORY",
        f"a process of Spark ran out of memory; give it more, {MEMORY}, or let fewer tasks run at once",
    ),
    _cause(
        r"Python worker exited unexpectedly|^\s*MemoryError",
        "a Python worker was killed or ran out of memory; leave it more memory of the machine: fewer tasks at once "
        "(--set spark.master=local[1]), on a cluster more spark.executor.memoryOverhead",
    ),
    _cause(
        r"ExecutorLostFailure|Slave lost|Container killed|exit (?:code|status):? 137",
        "an executor was lost: its machine went away, or it was killed because it took too much memory; raise "
        f"spark.executor.memoryOverhead if it was killed, then {RESUMED}",
    ),
    _cause(
        r"^Caused by: java\.io\.FileNotFoundException: (.+) \(Permission denied\)$",
        "this user may not read or write {found}; grant that to the user who runs Spark",
    ),
    _cause(
        r"Permission denied|AccessControlException|AccessDeniedException|Mkdirs failed to create",
        "this user may not read or write a file or folder; grant the user who runs Spark reading of the documents and "
        "writing of the warehouse and of Spark's temporary folder",
    ),
    _cause(
        r"FILE_NOT_EXIST(?:\] Encountered error while reading file (\S+)\. +File)?|PATH_NOT_FOUND",
        "{found} vanished while the night read it; score a folder that nobody changes meanwhile",
        InputDataError,
    ),
    _cause(
        r"BadConfigurationException: Class (\S+Codec) was not found|The codec (\S+) is not available",
        "a file is compressed by {found}, which this Spark lacks; write it anew with zstd, snappy or gzip",
        InputDataError,
    ),
    _cause(
        r"CODEC_NOT_AVAILABLE|UnsatisfiedLinkError|native \w+ library not available",
        "a file is compressed by a codec that this Spark lacks; write it anew with zstd, snappy or gzip",
        InputDataError,
    ),
    _cause(
        r"java\.net\.BindException|Address already in use|Cannot assign requested address",
        "Spark cannot listen on its address or port; free the port, or unset SPARK_LOCAL_IP and spark.driver.port",
    ),
    _cause(
        r"All masters are unresponsive|UnknownHostException|java\.net\.ConnectException|NoRouteToHostException",
        "a machine of the cluster or a store cannot be reached; check that they run, that spark.master and "
        f"AWS_ENDPOINT_URL name them, and that the machines reach each other, then {RESUMED}",
    ),
    _cause(
        r"Py4JNetworkError|Answer from Java side is empty|Error while sending or receiving|ConnectionRefusedError",
        f"the Java process of Spark ended, most often for want of memory; give it more, {MEMORY}, and leave some "
        "memory of the machine free",
    ),
    _cause(
        r"has been (?:stopped|shut ?down)|SparkContext was shut down|cancelled because",
        f"the job was cancelled, or Spark was stopped from outside; {RESUMED}",
    ),
)


def known_cause(error: Exception) -> tuple[type[TlnlpError], str] | None:
    """Return the class of the error to raise and the sentence that says why Spark failed; None for other causes.

    Args:
        error: an exception of PySpark or Py4J.
    """
    return next(((cause.kind, found) for cause in CAUSES if (found := cause.found_in(error))), None)


def class_names(error: Exception) -> list[str]:
    """Return what names an error without any data: Spark's condition, and the classes of the exceptions behind it."""
    get = getattr(error, "getCondition", None)
    condition = get() if callable(get) else None
    message = str(error)
    java = re.findall(r"^Caused by: (?:[a-z][\w]*\.)+([A-Z]\w*)", message, re.MULTILINE)
    python = re.findall(r"^(?:[a-z_]\w*\.)*([A-Z]\w*(?:Error|Exception))(?=:|$)", message, re.MULTILINE)
    return list(dict.fromkeys(filter(None, [condition or type(error).__name__, *python[-1:], *java[-1:]])))
