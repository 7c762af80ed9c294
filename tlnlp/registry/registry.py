"""Publish, list, fetch and promote versions of models in a store; ``tlnlp.registry`` describes the layout."""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from tlnlp.errors import BundleError, ModelNotFoundError, NotFoundError, StorageError, listed
from tlnlp.model.bundle import FETCH_AGAIN, MANIFEST, verify
from tlnlp.registry.alias import FORMAT, Alias, Champion, dump
from tlnlp.registry.names import ModelVersion, check_name, is_name, nearest_first, parse_model
from tlnlp.registry.version_files import files_of_version, finished_bundle
from tlnlp.runs.ledger import Ledger, list_ledgers, utc_now
from tlnlp.storage import Storage


@dataclass(frozen=True)
class VersionInfo:
    """Describe a version for ``tlnlp models``: ``size_bytes`` of all files, ``created_at`` when it got its number."""

    name: str
    version: int
    uri: str
    created_at: datetime
    size_bytes: int
    champion: bool


class Registry:
    """Access the models below a URI. ``now`` returns the time, with a zone."""

    check_name = staticmethod(check_name)

    def __init__(self, uri: str, now: Callable[[], datetime] = utc_now) -> None:
        self.storage = Storage(uri)
        self._now = now

    def __repr__(self) -> str:
        return f"Registry({self.storage.uri!r})"

    # --- listing

    def models(self) -> list[str]:
        """Return the names of the models that have a version, sorted."""
        return [name for name in self.storage.folders() if is_name(name) and self._existing(name)]

    def versions(self, name: str) -> list[VersionInfo]:
        """Return the versions of a model, oldest first, without unfinished ones; empty where there are none."""
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
        """Return the version that ``name@3`` names; for ``name`` or ``name@champion`` the current champion.

        Raises:
            UsageError: ``spec`` has none of these forms.
            ModelNotFoundError: no such model or version, or no champion yet; the message lists what exists.
        """
        parsed = parse_model(spec)
        version = parsed.version
        if version is None:
            champion = self.champion(parsed.name)
            if champion is None:
                raise ModelNotFoundError(self._no_champion(parsed.name))
            version = champion.version
        self._require(parsed.name, version)
        return ModelVersion(parsed.name, version, self._uri(parsed.name, version))

    # --- versions

    def publish(self, name: str, folder: Path) -> ModelVersion:
        """Store a finished bundle (its ``manifest.json`` lists the files) as the next version of ``name``.

        Raises:
            UsageError: ``name`` is no model name.
            BundleError: a file is missing, or is not in the manifest; nothing was stored.
            StorageError: the store failed; no version was made, but its number may be lost.
        """
        check_name(name)
        manifest, files = finished_bundle(folder)
        version = self._claim(name)
        target = self.storage.at(f"{name}/versions/{version}")
        for file in files:
            target.write(file, folder / file)
        if not target.put_if_absent(MANIFEST, manifest) and target.read(MANIFEST) != manifest:
            raise StorageError(
                f"{target.url(MANIFEST)}: another program wrote this version; publish again for a new one"
            )
        return ModelVersion(name, version, self._uri(name, version))

    def fetch(self, version: ModelVersion, folder: Path) -> Path:
        """Copy the bundle's files into ``folder``, the manifest last; check their digests and what they mean.

        Returns:
            ``folder``.

        Raises:
            ModelNotFoundError: the version does not exist.
            BundleError: the manifest is damaged; a file is missing from the version or from its manifest, or is no
                regular file; or the files hold what no sound model has.
        """
        # What lists and promotes versions needs none of the libraries that read weights.
        from tlnlp.model.bundle_checks import check_contents

        self._require(version.name, version.version)
        source = self.storage.at(f"{version.name}/versions/{version.version}")
        files = files_of_version(source, version)
        # A manifest marks a folder as complete, so an old one must go before the files are copied.
        try:
            (folder / MANIFEST).unlink(missing_ok=True)
        except OSError as error:
            raise StorageError(f"{folder}: cannot be written ({error.strerror}); choose another folder") from error
        source.download([*files, MANIFEST], folder)
        try:
            verify(folder)
            check_contents(folder)
        except BundleError as error:  # It names the copy, which is as damaged as what it was copied from.
            problem = str(error).replace(str(folder), source.url("").rstrip("/"))
            raise BundleError(problem.replace(FETCH_AGAIN, "use another version, or fine-tune again")) from error
        return folder

    # --- the alias

    def champion(self, name: str) -> Champion | None:
        """Return the current champion, or None before the first promotion. Raises UsageError or StorageError."""
        return self._alias(name).read()

    def set_champion(
        self, name: str, version: int, *, expected: str | None, by: str, reason: str, forced: bool = False
    ) -> Champion:
        """Make ``version`` champion, if the alias has not moved since the caller read it.

        ``expected`` is the ``tag`` of the champion that the caller compared with; None means that there was none.

        Raises:
            ModelNotFoundError: the version does not exist.
            PromotionRefusedError: another promotion came first, or the version is champion already.
        """
        self._require(name, version)
        return self._alias(name).set(version, expected=expected, by=by, reason=reason, forced=forced)

    def rollback(self, name: str, *, by: str, reason: str) -> Champion:
        """Make the previous champion champion again; a second rollback goes one champion further back.

        Raises:
            ModelNotFoundError: there is no champion or no previous one, or the previous version no longer exists.
            PromotionRefusedError: another promotion or rollback came first.
        """
        before = self.champion(name)
        if before is None:
            raise ModelNotFoundError(self._no_champion(name))
        if before.previous is not None:
            self._require(name, before.previous)
        return self._alias(name).back(before, by=by, reason=reason)

    # --- ledgers

    def write_ledger(self, name: str, ledger: Ledger) -> str:
        """Store the ledger of a fine-tuning run beside the model; return its URI."""
        check_name(name)
        key = f"{name}/ledgers/{ledger.run_id}.json"
        ledger.save(self.storage, key)
        return self.storage.url(key)

    def ledgers(self, name: str | None = None) -> list[dict[str, Any]]:
        """Return the ledgers of the fine-tuning runs, failed ones too, of one model or of all; newest first."""
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
        """Return the versions that have a manifest, each with the size of its files in bytes."""
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
        """Reserve the next number, above all claims and above version folders that were copied without a claim."""
        token = secrets.token_hex(16)
        folders = {int(folder) for folder in self.storage.folders(f"{name}/versions") if folder.isdecimal()}
        version = max(self._claimed(name) | folders, default=0) + 1
        while not self._try_claim(name, version, token):
            version += 1
        return version

    def _try_claim(self, name: str, version: int, token: str) -> bool:
        key = f"{name}/claims/{version}.json"
        claim = dump({"format": FORMAT, "token": token, "claimed_at": self._now().isoformat()})
        if self.storage.put_if_absent(key, claim):
            return True
        # If the store's answer was lost, its client tried again, and the existing claim may be this one.
        return _claim_of(self.storage.read(key)).get("token") == token

    def _created_at(self, name: str, version: int) -> datetime:
        try:
            return datetime.fromisoformat(_claim_of(self.storage.read(f"{name}/claims/{version}.json"))["claimed_at"])
        except (NotFoundError, KeyError, TypeError, ValueError):
            # The version was copied here without its claim.
            files = self.storage.at(f"{name}/versions/{version}").list()
            return next(entry.modified for entry in files if entry.key == MANIFEST)

    def _require(self, name: str, version: int) -> None:
        check_name(name)
        if self.storage.exists(f"{name}/versions/{version}/{MANIFEST}"):
            return
        existing = sorted(self._existing(name))
        if not existing:
            raise ModelNotFoundError(self._no_model(name))
        unfinished = ", its publication never finished" if version in self._claimed(name) else ""
        raise ModelNotFoundError(f"{name} has no version {version}{unfinished}; it has {listed(existing)}")

    def _no_champion(self, name: str) -> str:
        existing = sorted(self._existing(name))
        if not existing:
            return self._no_model(name)
        return (
            f"{name} has no champion yet; it has {listed(existing)}: "
            f"promote one first (tlnlp promote {name}@{existing[-1]}) or name a version"
        )

    def _no_model(self, name: str) -> str:
        models = nearest_first(name, self.models())
        known = f"it holds {listed(models)}" if models else "it is empty"
        check = "check the name and the address" if models else "check the address"
        return f"no model {name!r} in the registry {self.storage.uri} ({known}); run tlnlp finetune, or {check}"


def _claim_of(data: bytes) -> dict[str, Any]:
    try:
        claim = json.loads(data)
    except ValueError:
        return {}
    return claim if isinstance(claim, dict) else {}
