"""Functions compiled by numba, whose machine code is kept in the user's cache folder for all checkouts alike.

numba's own cache lies beside each source file and does not notice that a function called from another file has changed.
Here all compiled functions, and the constants that they read, lie in files called `kernels.py` or `…_kernels.py` or
are among OTHERS, and the code is kept under a hash of all of these.
"""

import hashlib
from collections.abc import Callable, Collection
from functools import cache, partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numba
from numba.core.caching import CompileResultCacheImpl, FunctionCache, _CacheLocator

from understudy.files import cache_folder, locked

SOURCES = "*kernels.py"
OTHERS = ("native/pointwise.py", "native/vectors.py")
"""Files beside these whose functions are compiled into theirs."""
SETTINGS: dict[str, Any] = {"nogil": True, "error_model": "numpy", "_nrt": False}


def compiled(function: Callable[..., Any], fastmath: Collection[str] = (), inline: bool = False) -> Any:
    """Compile a function of a file `…kernels.py` at its first call.

    It runs without holding Python's lock, and can make no arrays: without the counting of references that these would
    need, the kitchen steps seven times as fast. Nothing is raised for a division by zero or an index out of bounds.
    `fastmath` names what LLVM may do to sums and products of floats; `inline` says that compiled callers get a copy of
    the function rather than call it, as handing over arrays takes time.
    """
    assert Path(function.__code__.co_filename).match(SOURCES)
    dispatcher: Any = numba.njit(**SETTINGS, fastmath=set(fastmath), forceinline=inline)(function)
    dispatcher._cache = _Cache(function)
    return dispatcher


inlined = partial(compiled, inline=True)


@cache
def _folder() -> str:
    package = Path(__file__).parent
    sources = [*sorted(package.glob(f"**/{SOURCES}")), *(package / name for name in OTHERS)]
    digest = hashlib.sha256(b"\0".join([path.read_bytes() for path in sources]))
    digest.update(f"{version('numba')} {version('llvmlite')}".encode())
    folder = cache_folder("kernels") / digest.hexdigest()[:24]
    folder.mkdir(exist_ok=True)
    return str(folder)


class _Locator(_CacheLocator):
    def __init__(self, function: Callable[..., Any], file: str) -> None:
        self._py_file = file
        self._name = hashlib.sha256(f"{function.__module__}:{function.__code__.co_firstlineno}".encode()).hexdigest()

    def get_cache_path(self) -> str:
        return _folder()

    def get_source_stamp(self) -> str:
        return _folder()

    def get_disambiguator(self) -> str:
        return self._name[:8]

    @classmethod
    def from_function(cls, py_func: Callable[..., Any], py_file: str) -> "_Locator":
        return cls(py_func, py_file)


class _Kept(CompileResultCacheImpl):
    _locator_classes: list[type[object]] = [_Locator]  # noqa: RUF012 - as numba has it


class _Cache(FunctionCache):
    _impl_class = _Kept

    def save_overload(self, sig: Any, data: Any) -> None:
        """Save under a lock: of two processes that save at once, one could give its name to the other's code."""
        with locked(Path(_folder()) / "lock"):
            super().save_overload(sig, data)
