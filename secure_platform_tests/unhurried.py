"""No test fails because the machine is busy; a pytest plugin named in pyproject.toml.

Hypothesis would fail an example that takes more than a fifth of a second.
"""

from hypothesis import settings

settings.register_profile("unhurried", settings(), deadline=None)
settings.load_profile("unhurried")
