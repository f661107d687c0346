import pytest
from quill import Template


@pytest.mark.parametrize(("value", "text"), [(0, "0"), (0.0, "0.0"), (False, "False"), ([], "[]")])
def test_values_that_count_as_false_are_shown(value: object, text: str) -> None:
    assert Template("{{ value }}").render(value=value) == text


def test_a_difference_of_nothing_is_shown() -> None:
    assert Template("{{ a - a }}").render(a=3) == "0"


@pytest.mark.parametrize("value", [0, False, ""])
def test_the_default_is_for_what_is_missing(value: object) -> None:
    assert Template("{{ value | default('none') }}").render(value=value) == str(value)


@pytest.mark.parametrize("values", [{}, {"value": None}])
def test_what_is_missing_has_a_default(values: dict[str, None]) -> None:
    assert Template("{{ value | default('none') }}").render(**values) == "none"
    assert Template("[{{ value }}]").render(**values) == "[]"
