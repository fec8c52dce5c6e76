"""What is memory worth where walls cut off the view?"""

from experiments.protocol import Protocol

_WORLD = (
    *("--env.observation", "egocentric", "--env.view", "5", "--env.occlusion", "--agent.gamma", "0.95"),
    *("--total-steps", "3000000"),
)
_PQN = ("--agent.kind", "pqn", "--replay.collect", "16", "--agent.minibatches", "8", *_WORLD)
PROTOCOL = Protocol(
    question="Success on held-out 7x7 layouts seen through a 5x5 window with occlusion, with and without memory",
    arms={"pqn": _PQN, "pqn gru": (*_PQN, "--net.memory", "gru")},
    pairs=(("pqn gru", "pqn"),),
)
