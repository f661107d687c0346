from typing import Any

import pytest
from quill import TemplateError
from quill.expressions import read

SCOPE = {"price": 12, "name": "tea", "tags": ["hot", "green"], "shop": {"town": {"name": "Ulm"}}}


@pytest.mark.parametrize(
    ("source", "value"),
    [
        ("1 + 2 * 3", 7),
        ("(1 + 2) * 3", 9),
        ("-price + 2", -10),
        ("price / 5", 2.4),
        ("price % 5", 2),
        ("price > 10", True),
        ("price == 12 and name == 'tea'", True),
        ("price < 5 or name", "tea"),
        ("not price", False),
        ("'hot' in tags", True),
        ("shop.town.name", "Ulm"),
        ("true", True),
        ("none", None),
        ("1.5", 1.5),
    ],
)
def test_expressions_have_values(source: str, value: Any) -> None:
    assert read(source)(SCOPE) == value


@pytest.mark.parametrize(
    ("source", "value"),
    [
        ("name | upper", "TEA"),
        ("tags | length", 2),
        ("tags | join(', ')", "hot, green"),
        ("tags | first | upper", "HOT"),
        ("missing | default('none left')", "none left"),
        ("price / 7 | round(2)", 1.71),
        ("(tags | length) + 1", 3),
    ],
)
def test_filters_change_values(source: str, value: Any) -> None:
    assert read(source)(SCOPE) == value


def test_what_is_missing_is_none() -> None:
    assert read("shop.street.number")(SCOPE) is None


def test_private_names_are_not_found() -> None:
    assert read("name.__class__")(SCOPE) is None


@pytest.mark.parametrize("source", ["1 +", "(1", "1 2", "a | shout", "$", "tags | join('a'"])
def test_nonsense_is_an_error(source: str) -> None:
    with pytest.raises(TemplateError):
        read(source)
