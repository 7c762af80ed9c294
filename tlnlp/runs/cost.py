"""Compute the cost of a run from a price per hour, and stop a run that would exceed its budget.

The price is given, or taken by instance name from a list. A cost is the list price of the machines for the duration of
the run; storage, requests and a cluster's idle time are not included.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date

from tlnlp.config import CostSettings
from tlnlp.config.base import Settings, load_settings
from tlnlp.config.shipped import shipped_file
from tlnlp.errors import BudgetError, UsageError, did_you_mean


class Instance(Settings):
    """A machine type of the price list.

    Attributes:
        name: the provider's name of the machine type.
        usd_per_hour: list price in ``region`` on ``date``, in USD.
        vcpus: number of virtual CPUs.
        memory_gib: memory, in GiB.
        region: the provider's region.
        source: where the price was read.
        date: when it was read.
    """

    name: str
    usd_per_hour: float
    vcpus: int
    memory_gib: float
    region: str
    source: str
    date: date


class PriceList(Settings):
    """The contents of a price file such as ``conf/prices.yaml``."""

    instances: tuple[Instance, ...]


@dataclass(frozen=True)
class Price:
    """The price of one hour of all machines of a run; ``instance`` is the type of machine, ``instances`` its number."""

    usd_per_hour: float
    instance: str | None = None
    instances: int = 1

    def usd(self, seconds: float) -> float:
        """Return the cost of that many seconds, in USD."""
        return self.usd_per_hour * seconds / 3600

    def to_json(self) -> dict[str, object]:
        """Return the fields as JSON types."""
        return {"instance": self.instance, "instances": self.instances, "usd_per_hour": round(self.usd_per_hour, 6)}


def price_of(settings: CostSettings) -> Price | None:
    """Return the price that the settings give, or None if they give none.

    Raises:
        UsageError: a budget is set without a price, or the price list lacks the instance.
    """
    if settings.usd_per_hour is not None:
        return Price(settings.usd_per_hour * settings.instances, settings.instance, settings.instances)
    if settings.instance is None:
        if settings.budget_usd is not None:
            raise UsageError(
                "cost.budget_usd needs a price: set cost.instance (see conf/prices.yaml), or cost.usd_per_hour"
            )
        return None
    prices = settings.prices or shipped_file("prices.yaml")
    found = {one.name: one for one in load_settings(PriceList, prices).instances}
    if settings.instance not in found:
        hint = did_you_mean(settings.instance, found) or "; add it there, or give cost.usd_per_hour"
        raise UsageError(f"cost.instance={settings.instance!r} is not in {prices}{hint}")
    return Price(found[settings.instance].usd_per_hour * settings.instances, settings.instance, settings.instances)


class Budget:
    """Track the time and cost of a run against its budget.

    Attributes:
        price: price of the run's machines; None if none is set.
        limit_usd: the budget in USD; None for no limit.
    """

    def __init__(self, settings: CostSettings, timer: Callable[[], float] = time.monotonic) -> None:
        """Start the clock. Raises UsageError as ``price_of`` does."""
        self.price, self.limit_usd = price_of(settings), settings.budget_usd
        self._timer, self._began_s = timer, timer()

    @property
    def spent_s(self) -> float:
        """Seconds since the start of the run."""
        return self._timer() - self._began_s

    def check(self, expected_s: float, what: str) -> None:
        """Check the budget before work that is expected to take another ``expected_s`` seconds.

        Args:
            expected_s: expected duration of the work, in seconds.
            what: name of the work, for the error message.

        Raises:
            BudgetError: the run would then cost more than the budget.
        """
        if self.limit_usd is None or self.price is None:
            return
        spent = self.price.usd(self.spent_s)
        expected = spent + self.price.usd(expected_s)
        if expected > self.limit_usd:
            raise BudgetError(
                f"{what}: {spent:.4f} USD spent and about {expected:.4f} USD expected in the end, more than "
                f"cost.budget_usd={self.limit_usd:g}; finished work is saved and the next run with the same settings "
                "resumes from it: raise cost.budget_usd, or choose cheaper machines"
            )
