"""Machine code, made by numba when it first runs, and kept beside the module or in the user's cache (`NUMBA_CACHE_DIR` names another place)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import numba

_Function = TypeVar("_Function", bound=Callable[..., Any])


def compiled(function: _Function) -> _Function:
    """Machine code for it; kept where that can be done."""
    try:
        made: _Function = numba.njit(cache=True, boundscheck=False)(function)
    except RuntimeError:  # there is no place to keep it
        made = numba.njit(boundscheck=False)(function)
    return made
