import pytest
from quill import Template


@pytest.mark.parametrize(
    ("source", "text"),
    [
        ("10 - 3 - 2", "5"),
        ("10 - 3 + 2", "9"),
        ("1 - 2 - 3 - 4", "-8"),
        ("60 / 6 / 2", "5.0"),
        ("8 / 2 * 4", "16.0"),
        ("17 % 10 % 4", "3"),
        ("2 * 7 % 4", "2"),
        ("10 - 2 * 3 - 1", "3"),
    ],
)
def test_operators_of_one_strength_go_from_left_to_right(source: str, text: str) -> None:
    assert Template("{{ " + source + " }}").render() == text


def test_parentheses_go_first() -> None:
    assert Template("{{ 10 - (3 - 2) }}").render() == "9"


def test_an_invoice() -> None:
    template = Template("{{ total - discount - paid }}")

    assert template.render(total=100, discount=10, paid=40) == "50"
