from larder import Cache, memoize


def test_none_is_a_result_as_any_other() -> None:
    calls = []

    @memoize(Cache(4))
    def find(name: str) -> None:
        calls.append(name)

    assert find("nobody") is None
    assert find("nobody") is None
    assert calls == ["nobody"]


def test_the_order_of_keywords_does_not_matter() -> None:
    calls = []

    @memoize(Cache(4))
    def find(**filters: str) -> int:
        calls.append(filters)
        return len(filters)

    assert find(name="ada", country="uk") == 2
    assert find(country="uk", name="ada") == 2
    assert len(calls) == 1


def test_the_values_of_keywords_do() -> None:
    @memoize(Cache(4))
    def show(**values: int) -> str:
        return str(values)

    assert show(a=1, b=2) == "{'a': 1, 'b': 2}"
    assert show(a=2, b=1) == "{'a': 2, 'b': 1}"


def test_pairs_are_not_taken_for_keywords() -> None:
    @memoize(Cache(4))
    def show(*args: object, **kwargs: object) -> str:
        return f"{args} {kwargs}"

    assert show(("a", 1)) == "(('a', 1),) {}"
    assert show(a=1) == "() {'a': 1}"
