"""A user who wants something and does not say all of it: ask, then commit to an offer.

The user is a table and a rule, not a model: what is known of each attribute is a list of options
left, equally likely, so that the entropy of what is still to be found out is exact.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Sequence
from functools import lru_cache
from itertools import chain
from typing import Any, ClassVar, NamedTuple

import numpy as np

from agentgym.actions import Action, Argument, Grammar, Verb
from agentgym.env import Env
from agentgym.errors import InvalidAction, TaskError, did_you_mean
from agentgym.types import Outcome, Reply, Task

MOST_OFFERED = 3
_LISTED = {"train": (0, 1_000), "valid": (1_000_000, 100), "test": (2_000_000, 100)}
SPLITS = {split: range(first, first + count) for split, (first, count) in _LISTED.items()}
"""Seeds that are listed; a split's own are the million from its first one on."""

# Each option has one phrase that users say instead, so what a phrase leaves is equally likely.
_TABLE = """
trip season: warm days = spring, summer; short days = autumn, winter
trip place: by the water = beach, island, lake; inland = mountains, city, countryside
trip length: not too long = weekend, week; a proper break = fortnight, month
trip travel: over land = train, car, bus; over sea = plane, ferry
trip lodging: something simple = hostel, campsite; some comfort = hotel, apartment, cottage
laptop screen: easy to carry = 11 inch, 13 inch, 14 inch; good to look at = 16 inch, 17 inch
laptop memory: for letters = 4 GB, 8 GB; for heavy programs = 16 GB, 32 GB, 64 GB
laptop storage: no big files = 128 GB, 256 GB; many films = 1 TB, 2 TB, 4 TB
laptop system: something with a terminal = Linux, macOS; as at work = Windows, ChromeOS
laptop colour: dark = black, grey, blue; bright = silver, white
pizza crust: a light one = thin, sourdough; a filling one = thick, stuffed
pizza size: for a small hunger = small, medium; for a big hunger = large, family
pizza sauce: something red = tomato, barbecue, arrabbiata; nothing red = cream, pesto
pizza cheese: a mild one = mozzarella, ricotta; a strong one = gorgonzola, pecorino
pizza topping: no meat = mushrooms, spinach, olives; some meat = ham, salami, chicken
"""
DOMAINS: dict[str, dict[str, dict[str, tuple[str, ...]]]] = {}
"""Domain to attribute to phrase to the options it leaves."""
for _domain, _attribute, _said in re.findall(r"(\w+) (\w+): (.+)", _TABLE):
    _phrases = (phrase.split(" = ") for phrase in _said.split("; "))
    _leaving = {phrase: tuple(left.split(", ")) for phrase, left in _phrases}
    DOMAINS.setdefault(_domain, {})[_attribute] = _leaving
_ID = re.compile(rf"({'|'.join(DOMAINS)}):seed=(0|[1-9][0-9]{{0,8}})")
_TASKS = {name: [f"{d}:seed={i}" for i in r for d in DOMAINS] for name, r in SPLITS.items()}


class Wish(NamedTuple):
    """All options, the ones wanted of what matters, and the phrases for what is only described."""

    options: dict[str, tuple[str, ...]]
    intent: dict[str, str]
    vague: dict[str, str]


@lru_cache(maxsize=4096)
def find_wish(task_id: str) -> Wish:
    """The hidden wish of a task: a function of its id."""
    domain, _, seed = task_id.partition(":seed=")
    attributes = DOMAINS[domain]
    rng = np.random.default_rng((int(seed), *domain.encode()))
    order = [list(attributes)[i] for i in rng.permutation(len(attributes))]
    asides, described = (int(rng.integers(1, 3)) for _ in range(2))
    options = {name: tuple(chain(*phrases.values())) for name, phrases in attributes.items()}
    drawn = {name: all_[int(rng.integers(len(all_)))] for name, all_ in options.items()}
    intent = {name: drawn[name] for name in attributes if name not in order[:asides]}
    vague = {
        name: next(said for said, left in attributes[name].items() if intent[name] in left)
        for name in sorted(order[-described:])
    }
    return Wish(options, intent, vague)


class Clarify(Env):
    """Find out what a user wants by asking, then commit to it; passes if all that matters fits."""

    provides = frozenset(
        {"target_entropy", "belief", "shown", "relevant", "asked", "cost", "state_key", "matched"}
    )
    splits: ClassVar[tuple[str, ...]] = tuple(SPLITS)
    instructions = (
        "A user wants something and has not said all of it. Ask about one attribute a turn, openly "
        f"or by offering up to {MOST_OFFERED} options: some wishes are told when asked, some only "
        "when offered, and some attributes do not matter. Then commit, to one value each."
    )
    _offer = Argument("options", list, "Which of these?", default=None, max_length=MOST_OFFERED)
    _choices = Argument("choices", list, min_length=1, max_length=20, example=["colour=red"])
    grammar = Grammar(
        Verb("ask", "Ask about an attribute", Argument("attribute", example="colour"), _offer),
        Verb("commit", "One value for each attribute; ends the conversation", _choices),
    )
    max_turns = 20

    def tasks(self) -> Sequence[str]:
        """Every domain with every listed seed of the split."""
        return _TASKS[self.split]

    def find_task(self, task_id: str) -> Task:
        """Any seed of the split's own million, listed or not."""
        found, first = _ID.fullmatch(task_id), SPLITS[self.split][0]
        if found is None or not first <= int(found[2]) < first + 1_000_000:
            told = f"no task {task_id!r} in split {self.split!r}: give one like trip:seed={first}"
            raise TaskError(f"{self._name} has {told}")
        return Task(task_id, self._name, self.split)

    def begin(self, task: Task) -> Reply:
        """The user says what comes to mind."""
        domain, wish = task.id.partition(":")[0], find_wish(task.id)
        self.wish, self.asked, self.indifferent = wish, 0, frozenset[str]()
        described = {name: DOMAINS[domain][name][said] for name, said in wish.vague.items()}
        self.left = {**wish.options, **described}
        said = "; ".join(f"{name}: {phrase}" for name, phrase in wish.vague.items())
        listed = "\n".join(f"- {name}: {', '.join(o)}" for name, o in wish.options.items())
        text = f"I would like a {domain}. {said.capitalize()}.\n\nAttributes:\n{listed}"
        return Reply(text, facts=self._facts(list(wish.vague)))

    def respond(self, action: Action) -> Reply:
        """Answer a question, or judge what was committed to."""
        if action.verb == "commit":
            return self._commit(action.arguments["choices"])
        name = self._known(action.arguments["attribute"], self.wish.options)
        given = action.arguments["options"] or ()
        offered = [self._known(option, self.wish.options[name]) for option in given]
        before, self.asked = (self.left, self.indifferent), self.asked + 1
        wanted, told = self.wish.intent.get(name), "None of these."
        if wanted is None:
            self.indifferent |= {name}
            told = f"I do not mind the {name}."
        elif wanted in offered or (not offered and name not in self.wish.vague):
            self.left = {**self.left, name: (wanted,)}
            told = f"{name}: {wanted}, please."
        elif not offered:
            told = f"{name}: {self.wish.vague[name]}. What is there?"
        else:
            left = tuple(option for option in self.left[name] if option not in offered)
            self.left = {**self.left, name: left}
        cost = 2 if before == (self.left, self.indifferent) else 1
        return Reply(told, facts=self._facts([name], cost))

    def _commit(self, choices: Sequence[str]) -> Reply:
        options, chosen = self.wish.options, dict[str, str]()
        for attribute, _, value in (choice.partition("=") for choice in choices):
            name = self._known(attribute, options)
            chosen[name] = self._known(value, options[name])
        if not len(choices) == len(chosen) == len(options):
            told = f"give one value for each attribute: {', '.join(options)}"
            raise InvalidAction("choices", told, self._facts())
        right = [chosen[name] == wanted for name, wanted in self.wish.intent.items()]
        won, parts = all(right), {"matched": sum(right) / len(right)}
        text, label = ("Just what I wanted!", "right") if won else ("That is not it.", "wrong")
        return Reply(text, Outcome(float(won), won, label, parts), self._facts())

    def _known(self, said: str, names: Iterable[str]) -> str:
        folded = {name.casefold(): name for name in names}
        if (word := said.strip().casefold()) in folded:
            return folded[word]
        told = f"there is no {said[:40]!r}{did_you_mean(word[:40], folded)}"
        raise InvalidAction("unknown", f"{told} ({', '.join(names)})", self._facts())

    def _facts(self, shown: Sequence[str] = (), cost: int = 0) -> dict[str, Any]:
        belief = {name: list(left) for name, left in self.left.items()}
        entropy = math.fsum(math.log(len(self.left[name])) for name in self.wish.intent)
        facts = {"target_entropy": entropy, "belief": belief, "asked": self.asked, "cost": cost}
        facts |= {"shown": list(shown), "relevant": list(self.wish.intent)}
        return {**facts, "state_key": json.dumps([belief, sorted(self.indifferent)])}

    def _asking(self, name: str, *, offer: bool) -> Action:
        offered = f", options={json.dumps(self.left[name][:MOST_OFFERED])}" if offer else ""
        return Action(f"ask({json.dumps(name)}{offered})")

    def admissible(self) -> list[Action]:
        """To commit; to ask openly about each attribute, or to offer what may be wanted of it."""
        commit = json.dumps([f"{name}={left[0]}" for name, left in self.left.items()])
        openly = [self._asking(name, offer=False) for name in self.left]
        offers = [self._asking(name, offer=True) for name, o in self.left.items() if len(o) > 1]
        return [Action(f"commit({commit})"), *openly, *offers]

    def oracle(self) -> Action:
        """Knows what matters, not what is wanted: one question for each attribute left open."""
        unsettled = (name for name in self.wish.intent if len(self.left[name]) > 1)
        name = next(unsettled, None)
        return self._asking(name, offer=name in self.wish.vague) if name else self.admissible()[0]

    def save_state(self) -> tuple[Any, ...]:
        """The wish, what is left of it, what does not matter, and the questions asked."""
        return self.wish, self.left, self.indifferent, self.asked

    def load_state(self, state: tuple[Any, ...]) -> None:
        """Go back to what `save_state` returned."""
        self.wish, self.left, self.indifferent, self.asked = state
