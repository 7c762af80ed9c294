"""The subcommand that explains the score of one text, sentence by sentence."""

from __future__ import annotations

import sys

import click

from tlnlp.cli.completion import complete_models
from tlnlp.cli.options import Call, command
from tlnlp.cli.settings_help import Keys
from tlnlp.config import ScoreSettings
from tlnlp.errors import InputDataError, UsageError, counted
from tlnlp.runs import console
from tlnlp.runs.progress import say

# The keys of a night that say which document is explained, and how it is scored.
_KEYS = ("documents", "id_column", "text_column", "format", "encoding", "csv", "registry", "optimise", "engine")
# Sentences that a terminal shows.
SHOWN = 12


@command(
    "explain",
    'tlnlp explain tickets --text "The soup was cold. The staff were kind."',
    Keys(ScoreSettings, first=("documents", "id_column", "text_column", "registry"), only=_KEYS),
)
@click.argument("model", shell_complete=complete_models)
@click.option("--text", metavar="TEXT", help="The text.  [default: stdin, unless --id is given]")
@click.option("--id", "document_id", metavar="ID", help="Read the text of this document from the key documents.")
@click.option("--label", metavar="CLASS", help="The class to explain.  [default: the predicted one]")
@click.option(
    "--sentences",
    "most_sentences",
    metavar="N",
    type=click.IntRange(min=0),
    default=50,
    show_default=True,
    help="Most sentences that the encoder is read without.",
)
def explain(
    call: Call, model: str, text: str | None, document_id: str | None, label: str | None, most_sentences: int
) -> None:
    """Show what each sentence of a text contributes to its label. MODEL is a name, name@champion or name@VERSION.

    The text is scored as in a night, then without each of its sentences. The config file of tlnlp score serves too.
    """
    if text is not None and document_id is not None:
        raise UsageError("--text and --id exclude each other: give one of the two")
    given: dict[str, object] = {"model": model, "score_date": "2000-01-01"}  # The day is required, and not used.
    if document_id is None:
        given["documents"] = "-"
    settings = call.settings(ScoreSettings, **given)
    from tlnlp.score.explain import COLUMNS, explain_document, explain_text

    if document_id is not None:
        found = explain_document(settings, document_id, label, most_sentences)
    else:
        found = explain_text(settings, _stdin() if text is None else text, label, most_sentences)
    if call.as_json:
        console.print_json(found.to_json(), is_data=True)
        return
    console.print_facts(found.facts())
    console.heading(f"What each sentence contributes to {found.evidence.explained}: to its probability and log-odds")
    rows = found.rows(SHOWN if sys.stdout.isatty() else None)
    console.print_cells(COLUMNS, rows)
    if left_out := len(found.evidence.sentences) - len(rows):
        say(f"{counted(left_out, 'sentence')} that contribute less are not shown; --json has all")


def _stdin() -> str:
    """Return the text on stdin."""
    if sys.stdin.isatty():
        say("the text is read from stdin: type or paste it, then press Ctrl-D")
    try:
        return sys.stdin.buffer.read().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputDataError("stdin: the text is not UTF-8; convert it (iconv -t UTF-8)") from error
