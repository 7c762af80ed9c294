"""The subcommand that chooses which documents people should label next."""

from __future__ import annotations

from tlnlp.cli.options import Call, command
from tlnlp.cli.settings_help import Keys
from tlnlp.config import QueueSettings

_FIRST = ("warehouse", "registry", "table", "labels", "queue", "size", "random_share", "documents")


@command("queue", "tlnlp queue --set table=tickets --set labels=my/labels/", Keys(QueueSettings, first=_FIRST))
def queue(call: Call) -> None:
    """Choose the documents that are worth labelling next. People label them on the pages of `tlnlp explore`."""
    settings = call.settings(QueueSettings)
    from tlnlp.labelling.build_queue import build_queue

    call.show_result(build_queue(settings))
