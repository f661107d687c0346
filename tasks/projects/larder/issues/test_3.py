from larder import Cache, Events


def test_once_does_not_hide_the_next_listener() -> None:
    events, heard = Events(), []
    events.once("bell", lambda: heard.append("once"))
    events.on("bell", lambda: heard.append("always"))

    assert events.emit("bell") == 2
    assert heard == ["once", "always"]


def test_several_may_leave_at_the_same_time() -> None:
    events, heard = Events(), []
    for name in "abc":
        events.once("bell", lambda name=name: heard.append(name))

    assert events.emit("bell") == 3
    assert heard == ["a", "b", "c"]
    assert events.emit("bell") == 0


def test_who_comes_meanwhile_is_told_the_next_time() -> None:
    events, heard = Events(), []

    def first() -> None:
        heard.append("first")
        if len(heard) < 10:
            events.once("bell", lambda: heard.append("new"))

    events.on("bell", first)

    assert events.emit("bell") == 1
    assert heard == ["first"]
    assert events.emit("bell") == 2
    assert heard == ["first", "first", "new"]


def test_every_listener_hears_of_an_eviction() -> None:
    cache, heard = Cache(1), []
    cache.events.once("evict", lambda key, value: heard.append(("once", key)))
    cache.events.on("evict", lambda key, value: heard.append(("always", key)))
    for key in "abc":
        cache.put(key, 0)

    assert heard == [("once", "a"), ("always", "a"), ("always", "b")]
