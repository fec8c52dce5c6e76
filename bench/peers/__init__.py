"""Peers beside the engine: each in an environment and a process of its own, all of them taking turns in one run."""
