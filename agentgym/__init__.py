"""A gym for training and benchmarking LLM agents by reinforcement learning.

Importing it registers environment ids and loads nothing heavy; clients, engines and terminals are
imported where they are used.
"""

from agentgym.actions import Action, Argument, Grammar, Verb
from agentgym.env import Env
from agentgym.errors import AgentGymError, InvalidAction
from agentgym.registry import make, register, register_plugins
from agentgym.spaces import Image, Unicode
from agentgym.types import (
    Completion,
    EpisodeKey,
    Observation,
    Outcome,
    Policy,
    Reply,
    Sampling,
    Snapshot,
    Stop,
    Task,
    Trajectory,
    Turn,
)

__version__ = "0.1.0"

__all__ = [
    "Action",
    "AgentGymError",
    "Argument",
    "Completion",
    "Env",
    "EpisodeKey",
    "Grammar",
    "Image",
    "InvalidAction",
    "Observation",
    "Outcome",
    "Policy",
    "Reply",
    "Sampling",
    "Snapshot",
    "Stop",
    "Task",
    "Trajectory",
    "Turn",
    "Unicode",
    "Verb",
    "make",
    "register",
]

register(
    "agentgym/TextWorld-v0",
    "agentgym.envs.textworld:TextWorld",
    "Text adventures by the TextWorld engine: five families of games, by level and seed",
)
register(
    "agentgym/ALFWorld-v0",
    "agentgym.envs.alfworld:ALFWorld",
    "Household tasks in text, generated or ALFWorld's own, on a native engine",
)
register(
    "agentgym/Clarify-v0",
    "agentgym.envs.clarify:Clarify",
    "A user who does not say all that is wanted: ask, then commit; exact beliefs",
)
register(
    "agentgym/Search-v0",
    "agentgym.envs.search:Search",
    "Questions over a corpus: search, read, answer; a record of exactly what was shown",
)
register(
    "agentgym/VisualSearch-v0",
    "agentgym.envs.visual_search:VisualSearch",
    "The same questions over pages of print: search, open, crop, answer; exact boxes of evidence",
)
register(
    "agentgym/SWE-v0",
    "agentgym.envs.swe:SWE",
    "Software engineering: mend a real repository in a sandbox; hidden tests decide",
)
register(
    "agentgym/MiniWoB-v0",
    "agentgym.envs.miniwob:MiniWoB",
    "MiniWoB++: 130 small tasks on web pages, in a real browser whose time stands still",
)
register(
    "agentgym/Web-v0",
    "agentgym.envs.web:Web",
    "Web sites of our own in a real browser: a shop, a back office; the database decides",
)
register(
    "agentgym/GUI-v0",
    "agentgym.envs.gui:GUI",
    "The same sites from screenshots, by points and keys, with the boxes of what is to be hit",
)
register(
    "agentgym/GUIGround-v0",
    "agentgym.envs.ground:GUIGround",
    "GUI grounding: say where on a screenshot an element is; ScreenSpot, or our own sites by seed",
)
register(
    "agentgym/GUICursor-v0",
    "agentgym.envs.cursor:GUICursor",
    "GUI grounding step by step: move a cursor that is seen until it is on the target",
)
register_plugins()
