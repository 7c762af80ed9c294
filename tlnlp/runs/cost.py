"""What a run costs: a price per hour, by name from a list or as given, and a limit that a run may not pass.

Costs are list prices of the machines for as long as the run takes; storage, requests and a cluster's idle time are not
in them.
"""

from __future__ import annotations

import difflib
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date

from tlnlp.config import CostSettings
from tlnlp.config.base import Settings, load_settings
from tlnlp.errors import BudgetError, UsageError


class Instance(Settings):
    """One machine of the list: ``usd_per_hour`` on ``date``, by ``source``."""

    name: str
    usd_per_hour: float
    vcpus: int
    memory_gib: float
    region: str
    source: str
    date: date


class PriceList(Settings):
    instances: tuple[Instance, ...]


@dataclass(frozen=True)
class Price:
    """What an hour of all the machines of a run costs."""

    usd_per_hour: float
    instance: str | None = None
    instances: int = 1

    def usd(self, seconds: float) -> float:
        return self.usd_per_hour * seconds / 3600

    def to_json(self) -> dict[str, object]:
        return {"instance": self.instance, "instances": self.instances, "usd_per_hour": round(self.usd_per_hour, 6)}


def price_of(settings: CostSettings) -> Price | None:
    """The price that the settings name, None if they name none.

    Raises:
        UsageError: there is a budget but no price, or the instance is not in the list.
    """
    if settings.usd_per_hour is not None:
        return Price(settings.usd_per_hour * settings.instances, settings.instance, settings.instances)
    if settings.instance is None:
        if settings.budget_usd is not None:
            raise UsageError(
                "cost.budget_usd needs a price: name cost.instance (see conf/prices.yaml), or give cost.usd_per_hour"
            )
        return None
    found = {one.name: one for one in load_settings(PriceList, settings.prices).instances}
    if settings.instance not in found:
        near = difflib.get_close_matches(settings.instance, found, n=1)
        hint = f"did you mean {near[0]}?" if near else "add it there, or give cost.usd_per_hour"
        raise UsageError(f"cost.instance={settings.instance!r} is not in {settings.prices}; {hint}")
    return Price(found[settings.instance].usd_per_hour * settings.instances, settings.instance, settings.instances)


class Budget:
    """The clock of a run against its limit; without a limit nothing is ever refused."""

    def __init__(self, settings: CostSettings, timer: Callable[[], float] = time.monotonic) -> None:
        """Raises UsageError, as ``price_of``."""
        self.price, self.limit_usd = price_of(settings), settings.budget_usd
        self._timer, self._began_s = timer, timer()

    @property
    def spent_s(self) -> float:
        return self._timer() - self._began_s

    def refuse(self, expected_s: float, what: str) -> None:
        """Before work that should take ``expected_s`` from now on.

        Raises:
            BudgetError: that would pass the limit.
        """
        if self.limit_usd is None or self.price is None:
            return
        spent = self.price.usd(self.spent_s)
        expected = spent + self.price.usd(expected_s)
        if expected > self.limit_usd:
            raise BudgetError(
                f"{what}: {spent:.4f} USD spent and about {expected:.4f} USD in the end, more than "
                f"cost.budget_usd={self.limit_usd:g}; what is finished is kept and the next run of the same goes on "
                "from it: raise the budget, or choose cheaper machines"
            )
