"""Tests that may be looked at after every block, every row or every second, and stopped whenever they decide.

A test that is valid at one planned size is wrong when somebody watches it: over independent rows with 30, 300 and
3,000 looks, a z-test at 5 % rejects a true null in 28, 45 and 61 % of cases. Here each test keeps an e-value: under
the null hypothesis its expectation is at most 1 at every stopping time, so that it ever exceeds 1/α with probability
α at most (Ville's inequality). Ramdas, Grünwald, Vovk and Shafer, "Game-theoretic statistics and safe anytime-valid
inference", 2023.

    paired    mean of differences over blocks of time: shadow, canary, A/B
    counts    how many went to each arm: sample-ratio mismatch
    rates     faults, missing answers, slow answers: guardrails that are judged by rows
    plan      how long a test takes, before it begins
"""

from skylane.statistics.sequential.arm_shares import RatioTest, ratio_test
from skylane.statistics.sequential.block_means import MeanTest, Verdict, mean_test
from skylane.statistics.sequential.event_rates import RateTest, rate_test
from skylane.statistics.sequential.plan import Plan, plan

__all__ = ["MeanTest", "Plan", "RateTest", "RatioTest", "Verdict", "mean_test", "plan", "rate_test", "ratio_test"]
