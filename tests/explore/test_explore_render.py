"""How values become HTML."""

from __future__ import annotations

import pytest

from tlnlp.explore.render import _environment, number, points, share, shown


def test_every_template_is_valid_and_escapes() -> None:
    environment = _environment()
    names = environment.list_templates()
    assert len(names) > 5
    for name in names:
        environment.get_template(name)
        source = environment.loader.get_source(environment, name)[0] if environment.loader else ""
        assert "| safe" not in source
        assert "autoescape" not in source
        assert "style=" not in source


@pytest.mark.parametrize(
    ("value", "text"),
    [(None, "-"), ("a\nb\u202ec", "a\\nb\\u202ec"), ("x" * 300, "x" * 100 + " … " + "x" * 100), (7, "7")],
)
def test_values_are_shown_on_one_line_of_bounded_length(value: object, text: str) -> None:
    assert shown(value) == text


def test_numbers_have_their_forms() -> None:
    assert [number(value) for value in (1234567, 0.12345, None, "NaN", True)] == [
        "1,234,567",
        "0.123",
        "-",
        "NaN",
        "True",
    ]
    assert [share(value) for value in (0.1234, None)] == ["12.3%", "-"]
    assert [points(value) for value in (0.0123, -0.05, 0.0001, None)] == ["+1.2", "-5.0", "0.0", "-"]
