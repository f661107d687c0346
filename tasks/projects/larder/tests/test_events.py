from larder import Events


def test_listeners_are_told_in_order() -> None:
    events, heard = Events(), []
    events.on("bell", lambda: heard.append("first"))
    events.on("bell", lambda: heard.append("second"))

    assert events.emit("bell") == 2
    assert heard == ["first", "second"]


def test_nobody_may_listen() -> None:
    assert Events().emit("bell") == 0


def test_listening_can_end() -> None:
    events, heard = Events(), []
    end = events.on("bell", heard.append)
    events.emit("bell", 1)
    end()
    events.emit("bell", 2)

    assert heard == [1]


def test_once_is_once() -> None:
    events, heard = Events(), []
    events.once("bell", heard.append)
    events.emit("bell", 1)
    events.emit("bell", 2)

    assert heard == [1]


def test_ending_twice_is_fine() -> None:
    end = Events().on("bell", print)

    end()
    end()
