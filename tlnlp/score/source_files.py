"""Find the files of a night and the options by which Spark reads them; check that Spark reads exactly these."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from urllib.parse import unquote

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from tlnlp.config import ScoreSettings
from tlnlp.data.tables import CODECS, FORMATS, SourceFile, format_of, list_source, split_uri
from tlnlp.errors import InputDataError, counted, listed
from tlnlp.runs.progress import say
from tlnlp.score.session import spark_input
from tlnlp.storage import local_path

SHOWN_NAMES = 3
# The folder of rows whose value is null, as Hive names it.
_NO_VALUE = "__HIVE_DEFAULT_PARTITION__"
# A night that cannot read a file ends, whatever the session is set to.
_COMPLETE = {"ignoreMissingFiles": "false", "ignoreCorruptFiles": "false"}


@dataclass(frozen=True)
class SourceFiles:
    """The files of a night, and the options and paths by which Spark reads them.

    Fields:
        uri: the documents, as the settings name them.
        partitions: the wanted columns that are in the names of the folders (``day=2026-01-31``).
        left_out: the names of the files in the folder that are not read.
    """

    uri: str
    files: list[SourceFile]
    options: dict[str, str]
    paths: list[str]
    partitions: tuple[str, ...] = ()
    left_out: tuple[str, ...] = field(default=())

    @property
    def format(self) -> str:
        """Return the format of the files; a night reads one."""
        return self.files[0].format

    def options_of(self, files: Sequence[SourceFile]) -> tuple[dict[str, str], list[str]]:
        """Return the options and the paths by which Spark reads some of the files.

        Spark lists all of them by itself. It opens tens of thousands of paths slowly.
        """
        if len(files) == len(self.files):
            return self.options, self.paths
        options = {key: value for key, value in self.options.items() if key != "pathGlobFilter"}
        return options, [spark_input(file.uri) for file in files]

    def folder_value(self, file: SourceFile, column: str) -> str | None:
        """Return the value of a column in the names of the folders above a file, as Spark decodes it."""
        prefix = f"{column}="
        (raw,) = [part.removeprefix(prefix) for part in file.key.split("/")[:-1] if part.startswith(prefix)][-1:]
        return None if raw == _NO_VALUE else unquote(raw)

    def report(self) -> None:
        """Say what is left out, so that no file is missed without a word."""
        if self.left_out:
            say(
                f"{self.uri}: {counted(len(self.files), 'file')} of documents; left out, since their names say that "
                f"they are hidden or of another format: {listed(self.left_out, SHOWN_NAMES)}"
            )


def find_files(settings: ScoreSettings, wanted: Sequence[str]) -> SourceFiles:
    """List the files, check that Spark can read them all in one way, and return them with Spark's options and paths.

    Raises:
        InputDataError: there are no files that a night can read.
        StorageError: the store cannot be read.
    """
    listing = list_source(settings.documents, settings.format)
    files = listing.files
    if len({file.format for file in files}) > 1:
        raise InputDataError(
            f"{settings.documents}: the folder holds several formats ({_formats(files)}), and a night reads one; check "
            "the path; --set format= reads the files of one format and leaves the others out"
        )
    for file in files:
        ending = file.key[file.key.rfind(".") :]
        if file.codec is not None and (file.format == "parquet" or ending not in CODECS):
            raise InputDataError(f"{file.uri}: Spark cannot read such a file; decompress it, or write it as {ending}")
        if ":" in file.key and local_path(file.uri) is not None:
            raise InputDataError(f"{file.uri}: Spark cannot open a local file with a colon in its name; rename it")
    _, name = split_uri(settings.documents)
    left_out = tuple(listing.left_out)
    if len(files) == 1 and files[0].key == name:
        return SourceFiles(settings.documents, files, _COMPLETE, [spark_input(settings.documents)])
    partitions = _partitions(settings, files, name, wanted)
    options = _COMPLETE | ({"basePath": spark_input(settings.documents)} if partitions else {})
    if not partitions:
        options["recursiveFileLookup"] = "true"
    if all(format_of(file.key) == file.format for file in files):
        options["pathGlobFilter"] = _name_pattern(files[0].format)
        return SourceFiles(settings.documents, files, options, [spark_input(settings.documents)], partitions, left_out)
    return SourceFiles(
        settings.documents, files, options, [spark_input(file.uri) for file in files], partitions, left_out
    )


def check_files(frames: Sequence[DataFrame], files: Sequence[SourceFile], documents: str) -> None:
    """Check that Spark has listed the same files.

    Args:
        frames: frames that Spark reads from files, before any other step.

    Raises:
        InputDataError: a file is missing in one of both lists.
    """
    found = [unquote(path) for frame in frames for path in frame.inputFiles()]
    if len(found) == len(files):
        return
    names = {path.rpartition("/")[2] for path in found} ^ {unquote(file.uri).rpartition("/")[2] for file in files}
    differ = listed(sorted(names), SHOWN_NAMES) if names else "files of one name"
    raise InputDataError(
        f"{documents}: the listing has {counted(len(files), 'file')}, but Spark would read {len(found)} (they differ "
        f"in {differ}); nothing was scored; run the night again when no one writes there"
    )


def _formats(files: Sequence[SourceFile]) -> str:
    """Return how many files of each format there are."""
    found = Counter(file.format for file in files)
    return ", ".join(f"{counted(count, 'file')} of {name}" for name, count in sorted(found.items()))


def quoted(name: str) -> Column:
    """Return the column of this very name, which may hold points and quotes."""
    return F.col(quoted_name(name))


def quoted_name(name: str) -> str:
    """Return a name as SQL quotes it."""
    return "`" + name.replace("`", "``") + "`"


def _partitions(
    settings: ScoreSettings, files: Sequence[SourceFile], name: str, wanted: Sequence[str]
) -> tuple[str, ...]:
    """Return the wanted columns that are in the names of folders.

    Raises:
        InputDataError: some files lie in other folders, which Spark would leave out; or a folder names no value.
    """
    layouts = {_layout(file.key.removeprefix(f"{name}/").split("/")[:-1]) for file in files}
    found = tuple(column for column in wanted if any(column in layout for layout in layouts))
    if found and (len(layouts) > 1 or "" in next(iter(layouts))):
        raise InputDataError(
            f"{settings.documents}: column {found[0]!r} is in the names of folders ({found[0]}=...), but not all files "
            "are in such folders, at the same depth; move the others away, or leave the column out"
        )
    if found and (
        empty := [file.key for file in files if any(part.endswith("=") for part in file.key.split("/")[:-1])]
    ):
        raise InputDataError(
            f"{settings.documents}: {empty[0]} is in a folder whose name has no value after '='; name it "
            f"{found[0]}={_NO_VALUE} if the value is missing"
        )
    return found


def _layout(folders: Sequence[str]) -> tuple[str, ...]:
    """Return the columns in the names of the folders above a file; empty for a plain folder above one of these."""
    last = max((place for place, folder in enumerate(folders) if "=" in folder), default=-1)
    return tuple(folder.partition("=")[0] if "=" in folder else "" for folder in folders[: last + 1])


def _name_pattern(format: str) -> str:
    """Return the pattern of Hadoop that the names of files in a format match, in upper and lower case."""
    endings = [ending for ending, kind in FORMATS.items() if kind == format]
    codecs = ["", *CODECS] if format != "parquet" else [""]
    either = {letter: f"[{letter}{letter.upper()}]" for letter in "abcdefghijklmnopqrstuvwxyz"}
    return "*{" + ",".join("".join(either.get(c, c) for c in e) + codec for e in endings for codec in codecs) + "}"
