"""Start Spark for a scoring run, on any machine that has Java, and say why where it does not start."""

from __future__ import annotations

import os
import pwd
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pyspark
from py4j.protocol import Py4JError
from pyspark import SparkConf, SparkContext
from pyspark.errors import PySparkException
from pyspark.sql import SparkSession

from tlnlp.config import SparkSettings
from tlnlp.errors import EngineError, StorageError
from tlnlp.runs.environment import user_name
from tlnlp.runs.scratch import process_folder
from tlnlp.score.spark_failures import MEMORY, class_names, known_cause
from tlnlp.storage.causes import reason_of

JAVA_VERSION = 17
JAVA_ANSWERS_S = 60.0
# In the locale C, Java cannot open a file whose name is not ASCII.
UTF8_LOCALE = "C.UTF-8"
# Variables that another Spark of the same user may need, and that can keep ours from starting.
FOREIGN = ("SPARK_HOME", "SPARK_CONF_DIR", "PYSPARK_SUBMIT_ARGS", "JAVA_TOOL_OPTIONS")


def start(settings: SparkSettings) -> SparkSession:
    """Start a session with the settings, or take the one of spark-submit.

    Raises:
        EngineError: there is no suitable Java, or Spark does not start; the message names the cause.
    """
    builder = SparkSession.builder.appName("tlnlp-score")
    submitted = "PYSPARK_GATEWAY_PORT" in os.environ
    options: dict[str, str] = {}
    if not submitted:
        _check_programs()
        _prepare_environment(settings)
        options = _defaults(settings) | {"spark.master": settings.master or "local[*]"}
    elif settings.master:
        options = {"spark.master": settings.master}
    options |= settings.conf
    for key, value in options.items():
        builder = builder.config(key, value)
    try:
        if not submitted and not _has_name():
            _start_as_user(options)
        return builder.getOrCreate()
    except (PySparkException, Py4JError, RuntimeError, OSError) as error:
        raise EngineError(f"Spark does not start, so nothing was scored: {_why(error, settings, submitted)}") from error


def _is_local(settings: SparkSettings) -> bool:
    """Return whether Spark runs on this machine alone."""
    return (settings.master or "local").startswith("local")


def _prepare_environment(settings: SparkSettings) -> None:
    """Set the variables that Spark's launcher and its Python workers read, where the user has not set them."""
    os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
    if _is_local(settings):
        os.environ.setdefault("SPARK_LOCAL_IP", "127.0.0.1")
    locale = next(filter(None, map(os.environ.get, ("LC_ALL", "LC_CTYPE", "LANG"))), "C")
    if locale in ("C", "POSIX"):
        os.environ["LC_ALL"] = UTF8_LOCALE
    if not _has_name():
        os.environ.setdefault("SPARK_USER", user_name())


def _defaults(settings: SparkSettings) -> dict[str, str]:
    # Spark's launcher reads the quotes, so a folder may have a space.
    java_options = [f'-Dlog4j2.configurationFile="{Path(__file__).with_name("log4j2.properties")}"']
    if not _has_name():
        # Java would take the folder "?" for the home of such a user, and Spark refuses it.
        java_options.append(f'-Duser.home="{os.environ.get("HOME") or tempfile.gettempdir()}"')
    defaults = {
        "spark.driver.memory": settings.driver_memory,
        "spark.ui.enabled": "false",
        "spark.ui.showConsoleProgress": "false",
    }
    if _is_local(settings):
        # Spark removes its temporary files unless it is killed. In this folder a later run removes them.
        folder = score_folder()
        java_options.append(f'-Djava.io.tmpdir="{folder}"')
        defaults["spark.local.dir"] = str(folder)
        defaults |= {"spark.driver.host": "127.0.0.1", "spark.driver.bindAddress": "127.0.0.1"}
    else:
        defaults["spark.executorEnv.LC_ALL"] = UTF8_LOCALE
    return defaults | {"spark.driver.extraJavaOptions": " ".join(java_options)}


def score_folder() -> Path:
    """Return the folder for the temporary files of this process. Raises StorageError if it is another user's."""
    try:
        return process_folder("score")
    except PermissionError as error:
        raise StorageError(str(error)) from error


def _has_name() -> bool:
    """Return whether the machine has a name for the user; containers often run as a user id without one."""
    try:
        return bool(pwd.getpwuid(os.getuid()).pw_name)
    except KeyError:
        return False


def _start_as_user(options: dict[str, str]) -> None:
    """Start Spark's Java process, and log in to Hadoop under a name of our own.

    Hadoop asks the machine for the name of the user, and fails where there is none.
    """
    configuration = SparkConf(loadDefaults=False)
    for key, value in options.items():
        configuration.set(key, value)
    SparkContext._ensure_initialized(conf=configuration)
    users = SparkContext._jvm.org.apache.hadoop.security.UserGroupInformation  # type: ignore[union-attr]
    users.setLoginUser(users.createRemoteUser(user_name()))


def _check_programs() -> None:
    """Raise EngineError if Java or Spark is not where the environment says it is."""
    home, spark = os.environ.get("JAVA_HOME"), os.environ.get("SPARK_HOME")
    if home and not (Path(home) / "bin" / "java").is_file():
        raise EngineError(
            f"JAVA_HOME={home} is no folder of Java, since there is no bin/java in it; set it to that of Java "
            f"{JAVA_VERSION} or newer, or unset it to use the java of PATH"
        )
    if not home and not shutil.which("java"):
        raise EngineError(
            f"there is no Java, and Spark needs {JAVA_VERSION} or newer; install it, or set JAVA_HOME to its folder"
        )
    if spark:
        _check_spark(Path(spark))


def _check_spark(home: Path) -> None:
    """Raise EngineError if a folder holds no Spark, or another one than the installed pyspark belongs to."""
    remedy = "correct it, or unset it to use the Spark that is installed with pyspark"
    if not (home / "bin" / "spark-submit").is_file():
        raise EngineError(
            f"SPARK_HOME={home} is no folder of Spark, since there is no bin/spark-submit in it; {remedy}"
        )
    jars = [re.search(r"-(\d+\.\d+)[^-]*\.jar$", path.name) for path in home.glob("jars/spark-core_*.jar")]
    versions = {found[1] for found in jars if found}
    installed = ".".join(pyspark.__version__.split(".")[:2])
    if versions and installed not in versions:
        raise EngineError(
            f"SPARK_HOME={home} holds Spark {', '.join(sorted(versions))}, and the pyspark of this Python is of Spark "
            f"{installed}; {remedy}"
        )


def _why(error: Exception, settings: SparkSettings, submitted: bool) -> str:
    """Return the sentence that says why Spark did not start."""
    if known := known_cause(error):
        return known[1]
    if not submitted and (fault := _java_fault(settings)):
        return fault
    checks = [f"spark.conf ({', '.join(sorted(settings.conf))})"] if settings.conf else []
    checks += [f"spark.master ({settings.master})"] if settings.master else []
    checks += [f"{name}={os.environ[name]}" for name in FOREIGN if os.environ.get(name)]
    check = f"check {' and '.join(checks)}; " if checks else ""
    return f"{', '.join(class_names(error))}; {check}Spark's own messages stand above, or add --debug for more"


def _java_fault(settings: SparkSettings) -> str | None:
    """Return what is wrong with Java; None if it starts with the memory that the driver gets.

    Java tells its reasons on stderr alone, before PySpark can read them, so it is started once more.
    """
    home = os.environ.get("JAVA_HOME")
    java = str(Path(home) / "bin" / "java") if home else "java"
    try:
        version = _output(java, "-version")
        found = re.search(r'version "(?:1\.)?(\d+)', version)
        if found and int(found[1]) < JAVA_VERSION:
            return (
                f"Java {found[1]} ({java}) is too old, and Spark needs {JAVA_VERSION} or newer; install it, and set "
                "JAVA_HOME to its folder"
            )
        heap = settings.conf.get("spark.driver.memory", settings.driver_memory)
        answer = _output(java, f"-Xmx{heap}", "-version")
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"Java ({java}) cannot be run ({reason_of(error)}); install Java {JAVA_VERSION} or newer"
    if "version" not in answer:
        return f"Java cannot get a heap of {heap} on this machine; lower it, {MEMORY}, or free memory"
    return None


def _output(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, timeout=JAVA_ANSWERS_S, check=False)
    return (done.stderr + done.stdout).decode(errors="replace")
