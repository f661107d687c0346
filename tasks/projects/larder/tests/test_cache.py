import pytest
from larder import Cache


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def test_what_is_put_can_be_got() -> None:
    cache = Cache(2)
    cache.put("a", 1)

    assert cache.get("a") == 1
    assert "a" in cache


def test_what_is_not_there_is_the_default() -> None:
    assert Cache(2).get("a") is None
    assert Cache(2).get("a", 7) == 7


def test_the_least_recently_used_goes_first() -> None:
    cache = Cache(2)
    cache.put("a", 1)
    cache.put("b", 2)
    cache.get("a")
    cache.put("c", 3)

    assert list(cache) == ["a", "c"]


def test_peeking_is_not_using() -> None:
    cache = Cache(2)
    cache.put("a", 1)
    cache.put("b", 2)

    assert cache.peek("a") == 1
    assert list(cache) == ["a", "b"]
    assert cache.stats.hits == 0


def test_entries_expire(clock: Clock) -> None:
    cache = Cache(2, ttl=10, clock=clock)
    cache.put("a", 1)
    clock.now += 9
    assert cache.get("a") == 1
    clock.now += 1
    assert cache.get("a") is None


def test_an_entry_can_have_a_time_of_its_own(clock: Clock) -> None:
    cache = Cache(2, ttl=10, clock=clock)
    cache.put("a", 1, ttl=30)
    clock.now += 20

    assert "a" in cache


def test_without_a_time_entries_stay(clock: Clock) -> None:
    cache = Cache(2, clock=clock)
    cache.put("a", 1)
    clock.now += 1e9

    assert "a" in cache


def test_pruning_tells_how_many_went(clock: Clock) -> None:
    cache = Cache(3, ttl=10, clock=clock)
    cache.put("a", 1)
    cache.put("b", 2)
    clock.now += 5
    cache.put("c", 3)
    clock.now += 5

    assert cache.prune() == 2
    assert list(cache) == ["c"]


def test_popping_takes_out() -> None:
    cache = Cache(2)
    cache.put("a", 1)

    assert cache.pop("a") == 1
    assert cache.pop("a", "gone") == "gone"


def test_clearing_forgets_everything() -> None:
    cache = Cache(2)
    cache.put("a", 1)
    cache.clear()

    assert len(cache) == 0


def test_statistics_count_look_ups() -> None:
    cache = Cache(2)
    cache.put("a", 1)
    cache.get("a")
    cache.get("b")

    assert (cache.stats.hits, cache.stats.misses) == (1, 1)
    assert cache.stats.hit_rate == 0.5


def test_an_eviction_is_an_event() -> None:
    cache, heard = Cache(1), []
    cache.events.on("evict", lambda key, value: heard.append((key, value)))
    cache.put("a", 1)
    cache.put("b", 2)

    assert heard == [("a", 1)]
    assert cache.stats.evictions == 1


def test_a_cache_must_hold_something() -> None:
    with pytest.raises(ValueError, match="at least 1"):
        Cache(0)
