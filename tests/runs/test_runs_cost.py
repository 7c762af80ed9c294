"""Prices and budgets."""

from __future__ import annotations

from pathlib import Path

import pytest

from tlnlp.config import CostSettings
from tlnlp.errors import BudgetError, UsageError
from tlnlp.runs.cost import Budget, Price, price_of
from tlnlp.runs.ledger import Ledger

PRICES = str(Path(__file__).parents[2] / "conf" / "prices.yaml")


def test_a_price_by_name_and_by_hand() -> None:
    assert price_of(CostSettings()) is None
    listed = price_of(CostSettings(instance="m7i.xlarge", instances=3, prices=PRICES))
    assert listed is not None
    assert listed.usd_per_hour == pytest.approx(3 * 0.2016)
    assert (listed.instance, listed.instances) == ("m7i.xlarge", 3)
    assert listed.usd(1800) == pytest.approx(0.3024)
    # A given price needs no price list.
    assert price_of(CostSettings(instance="ours", instances=2, usd_per_hour=0.5, prices="none")) == Price(
        1.0, "ours", 2
    )
    assert price_of(CostSettings(usd_per_hour=0.0)) == Price(0.0)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"instance": "m7i.xlrage", "prices": PRICES}, "m7i.xlarge"),
        ({"instance": "mainframe", "prices": PRICES}, "usd_per_hour"),
        ({"budget_usd": 1.0}, "needs a price"),
        ({"instance": "m7i.xlarge", "prices": "none.yaml"}, "none.yaml"),
    ],
)
def test_a_wrong_price_is_explained(values: dict[str, object], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        price_of(CostSettings.model_validate(values))


def test_a_budget_refuses_what_would_pass_it() -> None:
    now = [100.0]
    budget = Budget(CostSettings(usd_per_hour=3.6, budget_usd=0.05), timer=lambda: now[0])
    budget.check(49.0, "a start")
    with pytest.raises(
        BudgetError, match=r"a start: 0\.0000 USD spent and about 0\.0510 USD expected in the end, more than "
    ):
        budget.check(51.0, "a start")
    now[0] += 20
    budget.check(29.0, "a step")
    with pytest.raises(BudgetError, match=r"0\.0200 USD spent"):
        budget.check(31.0, "a step")
    Budget(CostSettings(usd_per_hour=3.6)).check(1e9, "no limit")
    assert BudgetError.exit_code == 10


def test_the_ledger_carries_the_cost() -> None:
    now = [0.0]
    ledger = Ledger("score", "run", {}, timer=lambda: now[0])
    assert ledger.to_json()["cost"] is None
    ledger.priced(1.8, instance="m7i.large", instances=2)
    now[0] = 600.0
    assert ledger.to_json()["cost"] == {"instance": "m7i.large", "instances": 2, "usd_per_hour": 1.8, "usd": 0.3}
    ledger.finish("succeeded")
    now[0] = 1200.0
    assert ledger.cost is not None
    assert ledger.cost["usd"] == 0.3
