"""Random tables in every format, by several writers: Spark finds every row (``make acceptance`` tries many more)."""

from __future__ import annotations

import pytest
from generated_documents import check
from generated_tables import WRITERS, tables
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pyspark.sql import SparkSession

FEW, MANY = 5, 75


@pytest.mark.parametrize("writer", sorted(WRITERS))
@settings(max_examples=FEW, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_spark_finds_every_row(spark: SparkSession, writer: str, data: st.DataObject) -> None:
    check(spark, data.draw(tables(writer)))


@pytest.mark.acceptance
@pytest.mark.parametrize("writer", sorted(WRITERS))
@settings(max_examples=MANY, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_spark_finds_every_row_of_many_tables(spark: SparkSession, writer: str, data: st.DataObject) -> None:
    check(spark, data.draw(tables(writer)))
