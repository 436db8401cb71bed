"""The step as machine code: compiled once for this source and this processor by a process of its own, then read.

numba compiles it, but only the code is kept: to read that takes llvmlite and a few hundredths of a second, where numba
with its own cache takes half a second.
"""

import ctypes
import hashlib
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

from llvmlite import binding  # type: ignore[import-untyped]

from understudy.files import locked, write_atomically

NAME = "take_part"
ARGUMENTS = 7
TakePart = Callable[..., int]


def code_file() -> Path:
    """Where the code of this source for this processor is kept: below XDG_CACHE_HOME, by default ~/.cache.

    Without a home that can be written, in a folder of the user's own among the temporary ones.
    """
    parts = [path.read_bytes() for path in sorted(Path(__file__).parent.glob("*.py"))]
    parts += [text.encode() for text in (version("numba"), version("llvmlite"), *_processor())]
    name = hashlib.sha256(b"\0".join(parts)).hexdigest()[:24] + ".o"
    kept = os.environ.get("XDG_CACHE_HOME")
    home = Path(kept) if kept else Path("~/.cache").expanduser()
    try:
        if kept or home.parent.exists():  # whoever has no home gets none made
            (home / "understudy" / "native").mkdir(parents=True, exist_ok=True)
        if (home / "understudy" / "native" / name).exists() or os.access(home / "understudy" / "native", os.W_OK):
            return home / "understudy" / "native" / name
    except OSError:
        pass
    return _own_temporary_folder() / name


def _own_temporary_folder() -> Path:
    user = os.getuid() if hasattr(os, "getuid") else None
    folder = Path(tempfile.gettempdir()) / f"understudy-native-{user or 0}"
    folder.mkdir(mode=0o700, exist_ok=True)
    if user is not None and (folder.stat().st_uid != user or folder.stat().st_mode & 0o022):
        raise PermissionError(f"others can write {folder}, so no code is run from there; remove it")
    return folder


@cache
def load(file: Path) -> TakePart:
    """`steps.take_part`, from its machine code; other threads run while it does."""
    engine = binding.create_mcjit_compiler(binding.parse_assembly(""), _machine())
    engine.add_object_file(binding.ObjectFileRef.from_path(str(file)))
    engine.finalize_object()
    integers = [ctypes.c_int64] * ARGUMENTS
    function = ctypes.CFUNCTYPE(ctypes.c_int32, ctypes.c_void_p, ctypes.c_void_p, *integers)(
        engine.get_function_address(NAME)
    )

    def take_part(*arguments: int) -> int:
        result, complaint = ctypes.c_int64(), ctypes.c_void_p()
        function(ctypes.addressof(result), ctypes.addressof(complaint), *arguments)
        return result.value

    take_part.engine = engine  # type: ignore[attr-defined]  # the code lives as long as this
    return take_part


def start_compiling() -> "subprocess.Popen[bytes]":
    """A process that compiles the code and puts it into its file."""
    return subprocess.Popen(
        [sys.executable, "-m", __name__], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    )


def compile_code() -> bytes:
    """Machine code of `steps.take_part` under its plain name."""
    from numba import types
    from numba.core import config

    # At level 3 LLVM 22 turns the rest of an unswitched and unrolled loop into one without an end (docs/journal.md).
    setattr(config, "OPT", type(vars(config)["OPT"])(2))  # noqa: B010 - numba's stubs know no settings
    from understudy.native.steps import take_part

    signature = (types.int64,) * ARGUMENTS
    take_part.compile(signature)
    name = take_part.overloads[signature].fndesc.llvm_func_name
    module = binding.parse_assembly(take_part.inspect_llvm(signature).replace(name, NAME))
    code: bytes = _machine().emit_object(module)
    return code


@cache
def _processor() -> tuple[str, str]:
    return binding.get_host_cpu_name(), binding.get_host_cpu_features().flatten()


@cache
def _machine() -> Any:
    binding.initialize_native_target()
    binding.initialize_native_asmprinter()
    cpu, features = _processor()
    return binding.Target.from_default_triple().create_target_machine(
        cpu=cpu, features=features, opt=2, codemodel="jitdefault", jit=True
    )


def main() -> None:
    """Put the code into its file, unless another process is just about it: then wait until it is there."""
    file = code_file()
    with locked(file.parent / "lock"):
        if not file.exists():
            write_atomically(file, compile_code())


if __name__ == "__main__":
    main()
