"""Rewards of papers, by name: what `parse` reads for `gra` or `verpo`."""

from __future__ import annotations

from agentgym.rewards.text import PRESETS

SPA = "outcome + 0.2 * spa('FILE', calibrate='shift')"
"""How SPA is written (arXiv 2505.20732): no preset, for it takes the file of an estimator."""

PRESETS.update(
    {
        # GUI-G2 (arXiv 2507.15846), nu = gamma = 1, without its bonus for the format.
        "gui-g2": "gaussian_point(of='box') + gaussian_coverage",
        # GUI-Cursor (arXiv 2509.21552), authors' code.
        "gui-cursor": "0.9 * gui_cursor + 0.1 * format.mean()",
        # G-RA (arXiv 2508.10548): a gate at a non-empty patch, and means in place of its sums. Both
        # together are at most 0.2, less than a rung of the ladder 0, .25, .5, 1; gate, ladder and
        # weight are our proposals, for the paper's could not be verified.
        "gra": "outcome + 0.1 * (format + tool_ok).mean().when(outcome >= 0.5)",
        # The same without the gate.
        "dra": "outcome + 0.1 * (format + tool_ok).mean()",
        # Both as in the paper, summed over turns: they pay for delay.
        "gra-sum": "outcome + 0.1 * (format + tool_ok).sum().when(outcome >= 0.5)",
        "dra-sum": "outcome + 0.1 * (format + tool_ok).sum()",
        # VeRPO (arXiv 2601.03525), beta = 1: advantages, centred and not divided.
        "verpo": (
            "discounted_pass.group(center(pool='totals')).broadcast()"
            " + weighted_tests.group(center())"
        ),
        # PURE (arXiv 2504.15275) with a verifier, weight 1.
        "pure": "outcome + fact('step_score').min_form(0.1)",
        # The outcome, and the way made good on the way there, in steps of the world's planner.
        "dense-progress": "outcome + 0.1 * progress",
        # Search-R1 (arXiv 2503.09516): the answer, and nothing else.
        "search-r1": "outcome",
        # The answer, and the share of the evidence that each turn showed first: at most 0.2, which
        # repeats cannot raise. Our own weights, here and below.
        "search-evidence": "outcome + 0.2 * evidence",
        # The answer, and that it was there to be read: what is left of IGPO without a model.
        "search-answer-seen": "outcome + 0.2 * answer_seen",
        # Evidence, a price for each call and for asking again, and the sources if it was right.
        "search-frugal": (
            "outcome + 0.2 * evidence + 0.1 * citation.when(outcome >= 1)"
            " + 0.05 * repeat + 0.01 * cost"
        ),
        # VRAG-RL (arXiv 2505.22019), the outcome in place of its judge; there, a wrong format takes
        # the rest, too.
        "vrag-rl": "0.7 * outcome + 0.1 * format.mean() + 0.2 * ndcg(of='episode')",
        # IGPO (arXiv 2510.14967): gains and outcomes normalised apart, and summed to go.
        "igpo": "(info_gain.group(zscore()) + outcome.group(zscore(pool='totals'))).to_go()",
        # InfoPO (arXiv 2603.00656): its signal only where the group's outcomes do not differ.
        "infopo": (
            "outcome.group(zscore(pool='totals')).broadcast()"
            " + 0.1 * feedback_gain.group(zscore()).group(variance_gate())"
        ),
    }
)
