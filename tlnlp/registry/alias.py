"""Read and move the champion alias of a model: one stored object, changed by compare-and-swap."""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from tlnlp.errors import ModelNotFoundError, NotFoundError, PromotionRefusedError, StorageError
from tlnlp.registry.names import CHAMPION
from tlnlp.storage import Storage

FORMAT = 1
KEY = f"{CHAMPION}.json"
# Most former champions that the alias holds: the most rollbacks in a row.
_HISTORY = 100


@dataclass(frozen=True)
class Reign:
    """Describe a version's time as champion.

    Fields:
        by: who promoted the version.
        reason: why it was promoted.
        at: when it was promoted, in ISO 8601 with a zone.
        forced: whether the promotion overrode the gate.
    """

    version: int
    by: str
    reason: str
    at: str
    forced: bool


@dataclass(frozen=True)
class Champion(Reign):
    """Describe the current champion.

    Fields:
        history: former reigns, oldest first.
        token: random text that identifies one move of the alias.
        tag: the store's tag of the object; compare-and-swap needs it to move the alias.
    """

    history: tuple[Reign, ...]
    token: str
    tag: str = ""

    @property
    def previous(self) -> int | None:
        """Return the version that a rollback would make champion, or None."""
        return self.history[-1].version if self.history else None

    @property
    def reign(self) -> Reign:
        """Return the current reign, without history, token and tag."""
        return Reign(self.version, self.by, self.reason, self.at, self.forced)

    def to_json(self) -> bytes:
        """Return the content of ``champion.json``."""
        values = {key: value for key, value in asdict(self).items() if key != "tag"}
        return dump({"format": FORMAT, **values, "previous": self.previous})

    @staticmethod
    def from_json(values: dict[str, Any], tag: str) -> Champion:
        """Build a champion from the parsed content of ``champion.json`` and the object's tag."""
        reign = {key: values[key] for key in ("version", "by", "reason", "at", "forced")}
        history = tuple(Reign(**one) for one in values["history"])
        return Champion(**reign, history=history, token=values["token"], tag=tag)


class Alias:
    """Read and move the champion alias of one model; it does not check that a version exists.

    Args:
        storage: the folder of the model.
        name: the model's name, for messages.
        now: returns the time, with a zone.
    """

    def __init__(self, storage: Storage, name: str, now: Callable[[], datetime]) -> None:
        self._storage, self._name, self._now = storage, name, now

    def read(self) -> Champion | None:
        """Return the current champion, or None before the first promotion.

        Raises:
            StorageError: the alias cannot be read, or its content is not an alias.
        """
        try:
            stored = self._storage.read_tagged(KEY)
        except NotFoundError:
            return None
        try:
            return Champion.from_json(json.loads(stored.data), stored.tag)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise StorageError(
                f"{self._storage.url(KEY)}: not a champion alias of tlnlp ({type(error).__name__}); restore it, "
                "or delete it and promote a version again"
            ) from error

    def set(self, version: int, *, expected: str | None, by: str, reason: str, forced: bool) -> Champion:
        """Make ``version`` champion, if the alias still has the tag ``expected`` (None: there is no alias yet).

        Raises:
            PromotionRefusedError: another promotion came first, or the version is champion already.
        """
        before = self.read()
        if (before.tag if before else None) != expected:
            raise self._came_first(version, before)
        if before and before.version == version:
            raise PromotionRefusedError(f"{self._name}@{version} is the champion already; nothing was moved")
        history = (*before.history, before.reign)[-_HISTORY:] if before else ()
        after = Champion(version, by, reason, self._now().isoformat(), forced, history, secrets.token_hex(8))
        return self._move(before, after)

    def back(self, before: Champion, *, by: str, reason: str) -> Champion:
        """Make the predecessor of ``before`` champion again.

        Args:
            before: the current champion, as read.

        Raises:
            ModelNotFoundError: ``before`` has no predecessor.
            PromotionRefusedError: the alias has moved since ``before`` was read.
        """
        if before.previous is None:
            raise ModelNotFoundError(
                f"{self._name}: no champion came before version {before.version}, so there is nothing to roll back to; "
                "it stays champion"
            )
        at, token = self._now().isoformat(), secrets.token_hex(8)
        return self._move(before, Champion(before.previous, by, reason, at, False, before.history[:-1], token))

    def _move(self, before: Champion | None, after: Champion) -> Champion:
        if before is None:
            moved = self._storage.put_if_absent(KEY, after.to_json())
        else:
            moved = self._storage.compare_and_swap(KEY, after.to_json(), before.tag)
        # If the store's answer is lost, its client tries again, and the second attempt is refused although the first
        # one moved the alias. The token shows whether the stored alias is this one.
        stored = self.read()
        if stored and stored.token == after.token:
            return stored
        if moved:
            return after
        raise self._came_first(after.version, stored)

    def _came_first(self, version: int, champion: Champion | None) -> PromotionRefusedError:
        now = f"version {champion.version} is champion now" if champion else "there is no champion now"
        return PromotionRefusedError(
            f"{self._name}@{version} did not become champion: another promotion came first ({now}); "
            "compare with the current champion and try again"
        )


def dump(value: dict[str, Any]) -> bytes:
    """Return an object of the registry as JSON in UTF-8."""
    return (json.dumps(value, indent=1, ensure_ascii=False) + "\n").encode()
