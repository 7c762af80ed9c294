"""Take the GPU that Spark leases to a task, and refuse a session that leases none.

Executors import this module, so it starts no Java.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pyspark import TaskContext

from tlnlp.errors import EngineError, UsageError
from tlnlp.model.engines.ctranslate2_cuda import check_gpu
from tlnlp.model.profile import CTRANSLATE2_CUDA_INT8

if TYPE_CHECKING:
    from pyspark import SparkContext

AMOUNT = "spark.task.resource.gpu.amount"
_NEEDS = f"engine: {CTRANSLATE2_CUDA_INT8} runs on a GPU that Spark leases to each task"
_NEXT = "see docs/operations.md, or score with another engine (--set engine=auto)"


def check_leases(context: SparkContext) -> None:
    """Check that the session leases GPUs to its tasks, and that one task can use the GPU that it got.

    So a night without GPUs ends before it reads any document.

    Raises:
        UsageError: the session leases no GPUs, or more than one to a task.
        PythonException, Py4JJavaError: a worker cannot use its GPU, which ``spark_errors`` turns into an EngineError.
    """
    check_amount(str(context.master), context.getConf().get(AMOUNT) or "0")
    context.parallelize([0], 1).foreach(_check_worker)


def check_amount(master: str, amount: str) -> None:
    """Check by the settings of a session that it leases GPUs to its tasks. Raises UsageError.

    Args:
        master: address of the Spark master.
        amount: the value of ``spark.task.resource.gpu.amount``. With one below 1, several tasks share a GPU: whoever
            writes it wants that.
    """
    if master.startswith("local") and not master.startswith("local-cluster"):
        raise UsageError(f"{_NEEDS}, and Spark leases none in local mode ({master}); start a cluster, {_NEXT}")
    if float(amount) <= 0:
        raise UsageError(
            f"{_NEEDS}, and this session leases none: set spark.executor.resource.gpu.amount and {AMOUNT}, {_NEXT}"
        )
    if float(amount) > 1:
        raise UsageError(f"{_NEEDS}, and a task uses one, not {AMOUNT}={amount}; set it to 1, or to a share of 1")


def leased_gpu() -> int:
    """Return the index of the GPU that Spark has leased to the task of this process.

    Raises:
        EngineError: it has leased none, or names it otherwise than by an index.
    """
    task = TaskContext.get()
    lease = task.resources().get("gpu") if task is not None else None
    if lease is None or not lease.addresses:
        raise EngineError(f"Spark has leased no GPU to a task, though {AMOUNT} is set; {_NEXT}")
    address = lease.addresses[0]
    if not address.isdecimal():
        raise EngineError(
            f"Spark has leased a GPU by the address {address!r}, which is no index; let the discovery script print the "
            "indexes that nvidia-smi shows"
        )
    return int(address)


def _check_worker(_: int) -> None:
    check_gpu(leased_gpu())
