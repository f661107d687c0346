"""Rewards: signals and outcomes, combined in one expression that is recorded with its numbers.

from agentgym.rewards import bind, parse

reward = parse("outcome + 0.2 * format.mean().when(outcome >= 0.5)")
scored = bind(reward, env).score(trajectories)
"""

from agentgym.rewards import action_match as action_match
from agentgym.rewards import attribution as attribution
from agentgym.rewards import cursor as cursor
from agentgym.rewards import evidence as evidence
from agentgym.rewards import facts as facts
from agentgym.rewards import grounding as grounding
from agentgym.rewards import information as information
from agentgym.rewards import lengths as lengths
from agentgym.rewards import novelty as novelty
from agentgym.rewards import presets as presets
from agentgym.rewards import retrieval as retrieval
from agentgym.rewards import shaping as shaping
from agentgym.rewards import unit_tests as unit_tests
from agentgym.rewards.batch import Batch, PerTurn
from agentgym.rewards.bound import Bound, Scored, bind
from agentgym.rewards.expression import Form, Number, OutcomeScore, Reward, Signal, Stage
from agentgym.rewards.text import PRESETS, SIGNALS, parse, register

outcome = OutcomeScore()
"""What the environment verified, paid at the last turn."""

__all__ = [
    "PRESETS",
    "SIGNALS",
    "Batch",
    "Bound",
    "Form",
    "Number",
    "OutcomeScore",
    "PerTurn",
    "Reward",
    "Scored",
    "Signal",
    "Stage",
    "bind",
    "outcome",
    "parse",
    "register",
]
