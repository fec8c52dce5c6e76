"""Questions, each with its protocol, its committed result and its figure: ``python -m experiments NAME``."""
