from larder import Cache


def test_replacing_a_value_counts_as_using_it() -> None:
    cache = Cache(2)
    cache.put("tea", 3)
    cache.put("cup", 8)
    cache.put("tea", 4)

    assert list(cache) == ["cup", "tea"]


def test_what_was_replaced_last_stays() -> None:
    cache = Cache(2)
    cache.put("tea", 3)
    cache.put("cup", 8)
    cache.put("tea", 4)
    cache.put("pot", 20)

    assert cache.get("tea") == 4
    assert "cup" not in cache


def test_replacing_evicts_nothing() -> None:
    cache = Cache(2)
    cache.put("tea", 3)
    cache.put("cup", 8)
    cache.put("tea", 4)

    assert len(cache) == 2
    assert cache.stats.evictions == 0
