import pytest
from quill import Template


def test_a_key_comes_before_a_method() -> None:
    page = Template("{% for item in order.items %}{{ item }} {% end %}")

    assert page.render(order={"items": ["tea", "cup"]}) == "tea cup "


@pytest.mark.parametrize("name", ["copy", "values", "keys", "get", "pop"])
def test_variables_may_have_the_names_of_methods(name: str) -> None:
    assert Template("{{ " + name + " }}").render(**{name: "second"}) == "second"


def test_variables_are_found_in_loops_too() -> None:
    page = Template("{% for x in xs %}{{ maps }}{% end %}")

    assert page.render(xs="ab", maps="m") == "mm"


def test_keys_may_begin_with_an_underscore() -> None:
    assert Template("{{ row._id }}").render(row={"_id": 7}) == "7"


def test_private_attributes_stay_hidden() -> None:
    assert Template("[{{ row.__class__ }}]").render(row={"_id": 7}) == "[]"
