"""Deep Q-learning and transfer in JAX."""
