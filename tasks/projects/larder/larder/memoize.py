"""Functions that remember what they returned."""

from __future__ import annotations

import functools
from collections.abc import Callable, Hashable
from typing import Any, TypeVar

from larder.cache import Cache

Function = TypeVar("Function", bound=Callable[..., Any])

_MISSING = object()
_KEYWORDS = object()


def memoize(cache: Cache) -> Callable[[Function], Function]:
    """Keep the results of a function in a cache, None being a result as any other.

    Functions that share a cache do not see each other's results. The order in which keyword
    arguments are given does not matter; what is raised is not kept.
    """

    def decorate(function: Function) -> Function:
        @functools.wraps(function)
        def remembered(*args: Hashable, **kwargs: Hashable) -> Any:
            key = (function, args, _KEYWORDS, tuple(sorted(kwargs.items())))
            found = cache.get(key, _MISSING)
            if found is _MISSING:
                found = function(*args, **kwargs)
                cache.put(key, found)
            return found

        return remembered  # type: ignore[return-value]

    return decorate
