"""How do PQN and DQN compare on MinAtar's Breakout, at a laptop's scale?"""

from experiments.protocol import Protocol

_STEPS = ("--total-steps", "500000")
PROTOCOL = Protocol(
    question="Greedy return over 128 episodes of Breakout-MinAtar after 500,000 steps (and 5 M), by kind of agent",
    arms={
        "dqn 0.5 M": ("--preset", "breakout", *_STEPS),
        "pqn 0.5 M": ("--preset", "breakout", "--agent.kind", "pqn", *_STEPS),
        "pqn 5 M": ("--preset", "breakout", "--agent.kind", "pqn"),
    },
    seeds=range(3),
    measure="mean_return",
    pairs=(("pqn 0.5 M", "dqn 0.5 M"),),
)
