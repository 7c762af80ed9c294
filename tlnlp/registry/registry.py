"""Versions of models in a store: published once, found, fetched. See ``tlnlp.registry`` for the layout."""

from __future__ import annotations

import json
import re
import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from tlnlp.errors import BundleError, NotFoundError, StorageError
from tlnlp.registry.alias import FORMAT, Alias, Champion, dump
from tlnlp.registry.names import ModelVersion, check_name, is_name, parse_model
from tlnlp.runs.ledger import Ledger, list_ledgers, utc_now
from tlnlp.storage import Storage

MANIFEST = "manifest.json"
_FILE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*(/[A-Za-z0-9][A-Za-z0-9._-]*)*")


@dataclass(frozen=True)
class VersionInfo:
    """One line of ``tlnlp models``; ``size_bytes`` is that of all files, ``created_at`` when the number was taken."""

    name: str
    version: int
    uri: str
    created_at: datetime
    size_bytes: int
    champion: bool


class Registry:
    """The models below a URI. ``now`` gives times with a zone."""

    check_name = staticmethod(check_name)

    def __init__(self, uri: str, now: Callable[[], datetime] = utc_now) -> None:
        self.storage = Storage(uri)
        self._now = now

    def __repr__(self) -> str:
        return f"Registry({self.storage.uri!r})"

    # --- finding

    def models(self) -> list[str]:
        """Names of the models that have a version, sorted."""
        return [name for name in self.storage.folders() if is_name(name) and self._existing(name)]

    def versions(self, name: str) -> list[VersionInfo]:
        """The versions of a model, oldest first; empty for a model that has none. Unfinished ones do not exist."""
        check_name(name)
        sizes = self._existing(name)
        champion = self.champion(name) if sizes else None
        return [
            VersionInfo(
                name=name,
                version=version,
                uri=self._uri(name, version),
                created_at=self._created_at(name, version),
                size_bytes=size_bytes,
                champion=champion is not None and champion.version == version,
            )
            for version, size_bytes in sorted(sizes.items())
        ]

    def resolve(self, spec: str) -> ModelVersion:
        """The version that ``name`` or ``name@champion`` (the champion now) or ``name@3`` means.

        Raises:
            UsageError: not one of these forms.
            NotFoundError: no such model or version, or no champion yet; says what there is.
        """
        parsed = parse_model(spec)
        version = parsed.version
        if version is None:
            champion = self.champion(parsed.name)
            if champion is None:
                raise NotFoundError(self._no_champion(parsed.name))
            version = champion.version
        self._require(parsed.name, version)
        return ModelVersion(parsed.name, version, self._uri(parsed.name, version))

    # --- versions

    def publish(self, name: str, folder: Path) -> ModelVersion:
        """Store a finished bundle (its ``manifest.json`` lists the files) as the next version of ``name``.

        Raises:
            UsageError: not a name for a model.
            BundleError: a listed file is missing, or an unlisted one is there; nothing was stored.
            StorageError: the store failed; a number may be lost, no version exists.
        """
        check_name(name)
        manifest, files = _finished(folder)
        version = self._claim(name)
        target = self.storage.at(f"{name}/versions/{version}")
        for file in files:
            target.write(file, folder / file)
        if not target.put_if_absent(MANIFEST, manifest) and target.read(MANIFEST) != manifest:
            raise StorageError(f"{target.url(MANIFEST)} was written by something else; publish again for a new version")
        return ModelVersion(name, version, self._uri(name, version))

    def fetch(self, version: ModelVersion, folder: Path) -> Path:
        """Copy the bundle's files into ``folder``, the manifest last; returns ``folder``. Verify them on loading.

        Raises:
            NotFoundError: the version does not exist.
            BundleError: the manifest is damaged, a file it lists is missing, or one it does not list is there.
        """
        self._require(version.name, version.version)
        source = self.storage.at(f"{version.name}/versions/{version.version}")
        files = _listed(source.read(MANIFEST), source.url(MANIFEST))
        present = {entry.key for entry in source.list()} - {MANIFEST}
        if extra := sorted(present - set(files)):
            raise BundleError(
                f"{version}: {_some(extra)} stored but not in the manifest; the version was altered, use another one"
            )
        if missing := sorted(set(files) - present):
            raise BundleError(f"{version}: {_some(missing)} missing from {source.uri}; use another version")
        # A folder that has a manifest is complete, also while this one is being filled.
        try:
            (folder / MANIFEST).unlink(missing_ok=True)
        except OSError as error:
            raise StorageError(f"{folder}: cannot be filled ({error.strerror}); name another folder") from error
        source.download([*files, MANIFEST], folder)
        return folder

    # --- the alias

    def champion(self, name: str) -> Champion | None:
        """Where the alias points, or None before the first promotion. Raises UsageError, StorageError."""
        return self._alias(name).read()

    def set_champion(
        self, name: str, version: int, *, expected: str | None, by: str, reason: str, forced: bool = False
    ) -> Champion:
        """Move the alias to ``version``, if it is still where the caller saw it.

        ``expected`` is the ``tag`` of the champion that the decision was made against; None: there was none.

        Raises:
            NotFoundError: no such version.
            PromotionRefusedError: another promotion came first, or the version is champion already.
        """
        self._require(name, version)
        return self._alias(name).set(version, expected=expected, by=by, reason=reason, forced=forced)

    def rollback(self, name: str, *, by: str, reason: str) -> Champion:
        """Move the alias back to the champion before; again, to the one before that.

        Raises:
            NotFoundError: there is no champion, none before it, or that version is gone.
            PromotionRefusedError: another promotion or rollback came first.
        """
        before = self.champion(name)
        if before is None:
            raise NotFoundError(self._no_champion(name))
        if before.previous is not None:
            self._require(name, before.previous)
        return self._alias(name).back(before, by=by, reason=reason)

    # --- ledgers

    def write_ledger(self, name: str, ledger: Ledger) -> str:
        """Keep the ledger of a fine-tuning run beside the model; returns its URI."""
        check_name(name)
        key = f"{name}/ledgers/{ledger.run_id}.json"
        ledger.save(self.storage, key)
        return self.storage.url(key)

    def ledgers(self, name: str | None = None) -> list[dict[str, Any]]:
        """The ledgers of a model's fine-tuning runs, or of all models', newest first; failed runs too."""
        if name is not None:
            check_name(name)
        names = [name] if name is not None else self.storage.folders()
        found = [ledger for one in names for ledger in list_ledgers(self.storage, f"{one}/ledgers")]
        return sorted(found, key=lambda ledger: (str(ledger["started_at"]), str(ledger["run_id"])), reverse=True)

    # --- inside

    def _alias(self, name: str) -> Alias:
        check_name(name)
        return Alias(self.storage.at(name), name, self._now)

    def _uri(self, name: str, version: int) -> str:
        return self.storage.url(f"{name}/versions/{version}")

    def _existing(self, name: str) -> dict[int, int]:
        """Versions that have a manifest, each with the size of its files in bytes."""
        sizes: dict[int, int] = {}
        finished = set()
        for entry in self.storage.at(f"{name}/versions").list():
            version, _, file = entry.key.partition("/")
            if version.isdecimal():
                sizes[int(version)] = sizes.get(int(version), 0) + entry.size_bytes
                finished |= {int(version)} if file == MANIFEST else set()
        return {version: sizes[version] for version in finished}

    def _claimed(self, name: str) -> set[int]:
        claims = (entry.key.removesuffix(".json") for entry in self.storage.at(f"{name}/claims").list())
        return {int(claim) for claim in claims if claim.isdecimal()}

    def _claim(self, name: str) -> int:
        """Take the next number: above every claim, and above every folder that came without one."""
        token = secrets.token_hex(16)
        folders = {int(folder) for folder in self.storage.folders(f"{name}/versions") if folder.isdecimal()}
        version = max(self._claimed(name) | folders, default=0) + 1
        while not self._take(name, version, token):
            version += 1
        return version

    def _take(self, name: str, version: int, token: str) -> bool:
        key = f"{name}/claims/{version}.json"
        claim = dump({"format": FORMAT, "token": token, "claimed_at": self._now().isoformat()})
        if self.storage.put_if_absent(key, claim):
            return True
        # The store's client tries again when an answer is lost: the claim that is there may be this very one.
        return _claim_of(self.storage.read(key)).get("token") == token

    def _created_at(self, name: str, version: int) -> datetime:
        try:
            return datetime.fromisoformat(_claim_of(self.storage.read(f"{name}/claims/{version}.json"))["claimed_at"])
        except (NotFoundError, KeyError, TypeError, ValueError):
            # A version that was copied here without its claim.
            files = self.storage.at(f"{name}/versions/{version}").list()
            return next(entry.modified for entry in files if entry.key == MANIFEST)

    def _require(self, name: str, version: int) -> None:
        check_name(name)
        if self.storage.exists(f"{name}/versions/{version}/{MANIFEST}"):
            return
        existing = sorted(self._existing(name))
        if not existing:
            raise NotFoundError(self._no_model(name))
        unfinished = ", it was begun and never finished" if version in self._claimed(name) else ""
        raise NotFoundError(f"{name} has no version {version}{unfinished}; it has {_some(existing)}")

    def _no_champion(self, name: str) -> str:
        existing = sorted(self._existing(name))
        if not existing:
            return self._no_model(name)
        return (
            f"{name} has no champion yet; it has {_some(existing)}: "
            f"promote one first (tlnlp promote {name}@{existing[-1]}) or name a version"
        )

    def _no_model(self, name: str) -> str:
        known = f"it holds {', '.join(models)}" if (models := self.models()) else "it is empty"
        return (
            f"no model {name!r} in the registry {self.storage.uri} ({known}); run tlnlp finetune, or check the address"
        )


def _finished(folder: Path) -> tuple[bytes, list[str]]:
    """The manifest of a local bundle and the files it lists, all of them there and nothing else."""
    try:
        manifest = (folder / MANIFEST).read_bytes()
        present = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if not path.is_dir()} - {MANIFEST}
    except FileNotFoundError as error:
        raise BundleError(f"{folder}: no {MANIFEST}, so this is no finished bundle; nothing was published") from error
    except OSError as error:
        raise BundleError(f"{folder}: cannot be read ({error.strerror}); nothing was published") from error
    files = _listed(manifest, str(folder / MANIFEST))
    if missing := sorted(set(files) - present):
        raise BundleError(f"{folder}: {_some(missing)} missing; nothing was published")
    if extra := sorted(present - set(files)):
        raise BundleError(f"{folder}: {_some(extra)} not in the manifest; nothing was published")
    return manifest, files


def _listed(manifest: bytes, where: str) -> list[str]:
    try:
        files = sorted(json.loads(manifest)["files"])
    except (ValueError, KeyError, TypeError) as error:
        raise BundleError(f"{where}: not a bundle's manifest ({type(error).__name__}); use another version") from error
    for file in files:
        # These become paths on this machine: nothing may lead out of the folder, or hide in it.
        if not isinstance(file, str) or not _FILE.fullmatch(file) or file == MANIFEST:
            raise BundleError(f"{where}: lists {file!r}, which is no name for a bundle's file; use another version")
    return files


def _claim_of(data: bytes) -> dict[str, Any]:
    try:
        claim = json.loads(data)
    except ValueError:
        return {}
    return claim if isinstance(claim, dict) else {}


def _some(things: Sequence[object]) -> str:
    shown = ", ".join(str(thing) for thing in things[:8])
    return shown if len(things) <= 8 else f"{shown} and {len(things) - 8} more"
