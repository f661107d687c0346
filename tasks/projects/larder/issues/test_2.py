import pytest
from larder import Cache


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def test_none_is_for_ever(clock: Clock) -> None:
    cache = Cache(10, ttl=60, clock=clock)
    cache.put("config", 1, ttl=None)
    clock.now = 1e6

    assert cache.get("config") == 1


def test_nothing_is_not_at_all(clock: Clock) -> None:
    cache = Cache(10, ttl=60, clock=clock)
    cache.put("brief", 1, ttl=0)

    assert "brief" not in cache


def test_nothing_is_not_for_ever_either(clock: Clock) -> None:
    cache = Cache(10, clock=clock)
    cache.put("brief", 1, ttl=0)

    assert "brief" not in cache


def test_the_default_is_the_cache_s_own(clock: Clock) -> None:
    cache = Cache(10, ttl=60, clock=clock)
    cache.put("a", 1)
    clock.now = 59.0
    assert "a" in cache
    clock.now = 60.0
    assert "a" not in cache
