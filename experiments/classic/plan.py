"""What do the presets of the classic tasks reach, and how soon?"""

from experiments.protocol import Protocol

PROTOCOL = Protocol(
    question="Greedy return over 100 episodes of the classic gymnax tasks, by preset and kind of agent",
    arms={
        f"{preset} {kind}": ("--preset", preset, "--agent.kind", kind)
        for preset in ("cartpole", "acrobot", "mountaincar")
        for kind in ("pqn", "dqn")
    },
    measure="mean_return",
)
