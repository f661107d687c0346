from dataclasses import dataclass

import pytest
from quill import Template, TemplateError


@dataclass
class Item:
    name: str
    price: float = 1.0


def test_text_stays_as_it_is() -> None:
    assert Template("a { b } c\n").render() == "a { b } c\n"


def test_values_are_filled_in() -> None:
    assert Template("Dear {{ name }},").render(name="Ada") == "Dear Ada,"


def test_what_is_missing_is_left_empty() -> None:
    assert Template("[{{ name }}]").render() == "[]"


def test_remarks_are_left_out() -> None:
    assert Template("a{# to do #}b").render() == "ab"


def test_attributes_are_found() -> None:
    assert Template("{{ item.name }}").render(item=Item("tea")) == "tea"


@pytest.mark.parametrize(("age", "said"), [(3, "child"), (14, "teenager"), (40, "adult")])
def test_the_first_condition_that_holds_counts(age: int, said: str) -> None:
    source = "{% if age < 13 %}child{% elif age < 20 %}teenager{% else %}adult{% end %}"

    assert Template(source).render(age=age) == said


def test_without_else_there_is_nothing() -> None:
    assert Template("[{% if x %}yes{% end %}]").render(x=False) == "[]"


def test_loops() -> None:
    source = "{% for item in cart %}{{ item.name }};{% end %}"

    assert Template(source).render(cart=[Item("tea"), Item("cup")]) == "tea;cup;"


def test_loops_count() -> None:
    source = "{% for x in xs %}{{ loop.index }}{{ x }} {% end %}"

    assert Template(source).render(xs="ab") == "1a 2b "


def test_a_loop_over_nothing() -> None:
    source = "{% for x in xs %}{{ x }}{% else %}nothing{% end %}"

    assert Template(source).render(xs=[]) == "nothing"
    assert Template(source).render() == "nothing"


def test_conditions_in_loops() -> None:
    source = "{% for x in xs %}{% if x > 1 %}{{ x }}{% end %}{% end %}"

    assert Template(source).render(xs=[1, 2, 3]) == "23"


@pytest.mark.parametrize(
    "source", ["{% if x %}", "{% for x in xs %}", "{% end %}", "{% while x %}{% end %}"]
)
def test_tags_must_match(source: str) -> None:
    with pytest.raises(TemplateError):
        Template(source)


def test_only_collections_can_be_gone_through() -> None:
    with pytest.raises(TemplateError, match="cannot go through 'price'"):
        Template("{% for x in price %}{% end %}").render(price=3)
