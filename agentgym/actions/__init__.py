r"""Action grammars: one registry of verbs that instructs, parses and checks.

::

    grammar = Grammar(
        Verb("click", "Click an element", Argument("id", int, "its number")),
        Verb("fill", "Fill a field", Argument("id", int), Argument("text")),
    )
    action = grammar.parse("<think>the second button</think>\nclick(2) opens it")
    action, action.verb, action.arguments, action.ignored
    # ('click(2)', 'click', {'id': 2}, 'opens it')

What a model says is only ever read, never evaluated. This package imports the standard library and
`agentgym.errors`, nothing else.
"""

from agentgym.actions.action import Action, Call
from agentgym.actions.arguments import REQUIRED, Argument
from agentgym.actions.grammar import DIALECTS, Grammar
from agentgym.actions.markup import tool_call
from agentgym.actions.verbs import Verb

__all__ = ["DIALECTS", "REQUIRED", "Action", "Argument", "Call", "Grammar", "Verb", "tool_call"]
