"""Generated cases are not timed, and a failing one prints what brings it back."""

from __future__ import annotations

from hypothesis import settings

settings.register_profile("contract", deadline=None, print_blob=True)
settings.load_profile("contract")
