"""How do PQN and DQN compare on MinAtar's Breakout, at a laptop's scale?"""

from experiments.protocol import Protocol

_STEPS = ("--total-steps", "500000")
PROTOCOL = Protocol(
    question="Greedy return over 128 episodes of Breakout-MinAtar after 500,000 steps, by kind of agent",
    arms={
        "dqn": ("--preset", "breakout", *_STEPS),
        "pqn": ("--preset", "breakout", "--agent.kind", "pqn", *_STEPS),
    },
    seeds=range(3),
    measure="mean_return",
    pairs=(("pqn", "dqn"),),
)
