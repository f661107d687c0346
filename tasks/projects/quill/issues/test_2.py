from quill import Template


def test_a_loop_leaves_the_variables_of_the_page_alone() -> None:
    page = Template("{% for name in friends %}{{ name }} {% end %}signed, {{ name }}")

    assert page.render(name="Ada", friends=["Bob", "Cyd"]) == "Bob Cyd signed, Ada"


def test_the_variable_of_a_loop_ends_with_it() -> None:
    assert Template("{% for x in xs %}{% end %}[{{ x }}{{ loop.index }}]").render(xs="ab") == "[]"


def test_an_outer_loop_goes_on_counting() -> None:
    page = Template("{% for x in xs %}{% for y in ys %}.{% end %}{{ loop.index }}{% end %}")

    assert page.render(xs="ab", ys="123") == "...1...2"


def test_an_inner_loop_may_have_the_same_variable() -> None:
    page = Template("{% for x in xs %}{% for x in x %}{{ x }}{% end %}{{ x | length }} {% end %}")

    assert page.render(xs=["ab", "c"]) == "ab2 c1 "


def test_variables_of_the_page_are_seen_in_loops() -> None:
    page = Template("{% for x in xs %}{{ greeting }} {{ x }}! {% end %}")

    assert page.render(greeting="Hi", xs=["Ada"]) == "Hi Ada! "
