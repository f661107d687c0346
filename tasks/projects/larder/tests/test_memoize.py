import pytest
from larder import Cache, memoize


def test_a_result_is_remembered() -> None:
    calls = []

    @memoize(Cache(4))
    def double(number: int) -> int:
        calls.append(number)
        return 2 * number

    assert [double(2), double(3), double(2)] == [4, 6, 4]
    assert calls == [2, 3]


def test_what_is_raised_is_not_kept() -> None:
    calls = []

    @memoize(Cache(4))
    def fail() -> None:
        calls.append(1)
        raise LookupError

    for _ in range(2):
        with pytest.raises(LookupError):
            fail()
    assert len(calls) == 2


def test_the_function_keeps_its_name() -> None:
    @memoize(Cache(4))
    def named() -> None:
        """Do nothing."""

    assert named.__name__ == "named"
    assert named.__doc__ == "Do nothing."
