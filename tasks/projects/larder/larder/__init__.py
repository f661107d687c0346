"""A cache in memory that forgets what is old or little used."""

from larder.cache import Cache, Stats
from larder.events import Events
from larder.memoize import memoize

__all__ = ["Cache", "Events", "Stats", "memoize"]
