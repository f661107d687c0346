"""A world in one file: find a number from 1 to 100 in seven guesses.

Try it: `agentgym play examples/guess_number.py`, and `agentgym check examples/guess_number.py`.
"""

import agentgym
from agentgym import Argument, Grammar, Outcome, Reply, Task, Verb


class GuessNumber(agentgym.Env):
    """Find a number from 1 to 100 in seven guesses."""

    instructions = "I think of a number from 1 to 100. You have seven guesses."
    grammar = Grammar(Verb("guess", "Guess it", Argument("number", int, minimum=1, maximum=100)))
    provides = frozenset({"distance", "warmer"})  # the facts below, for signals to read
    max_turns = 7

    def begin(self, task: Task) -> str:
        """Think of a number."""
        self.number = int(self.np_random.integers(1, 101))
        self.low, self.high = 1, 100
        self.distance = 100
        return "I have it. What is your guess?"

    def respond(self, action: agentgym.Action) -> Reply:
        """Say whether the guess was too low or too high, and whether it came closer."""
        guess = action.arguments["number"]
        before, self.distance = self.distance, abs(guess - self.number)
        facts = {"distance": self.distance, "warmer": self.distance < before}
        if guess == self.number:
            return Reply("Yes, that is it!", Outcome(1.0, True, "found"), facts)
        if guess < self.number:
            self.low = max(self.low, guess + 1)
            return Reply(f"{guess} is too low.", facts=facts)
        self.high = min(self.high, guess - 1)
        return Reply(f"{guess} is too high.", facts=facts)

    def oracle(self) -> str:
        """Bisect what is left; not needed to train on, but it shows that the task can be done."""
        return f"guess({(self.low + self.high) // 2})"

    def save_state(self) -> tuple[int, ...]:
        """Two more lines, and search may branch here."""
        return self.number, self.low, self.high, self.distance

    def load_state(self, state: tuple[int, ...]) -> None:
        """Go back to what `save_state` returned."""
        self.number, self.low, self.high, self.distance = state


agentgym.register("examples/GuessNumber-v0", GuessNumber)
