"""The step as machine code: compiled once per source and processor, by a process of its own, then loaded.

numba compiles it, but only the code is kept. llvmlite loads that in a few hundredths of a second, where numba with its
own cache takes half a second.
"""

import ctypes
import hashlib
import subprocess
import sys
from collections.abc import Callable
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

from llvmlite import binding  # type: ignore[import-untyped]

from understudy.files import cache_folder, locked, write_atomically

NAME = "take_part"
ARGUMENTS = 7
TakePart = Callable[..., int]


def code_file() -> Path:
    """Return where the code of this source for this processor is kept, in the user's `files.cache_folder`."""
    parts = [path.read_bytes() for path in sorted(Path(__file__).parent.glob("*.py"))]
    parts += [text.encode() for text in (version("numba"), version("llvmlite"), *_processor())]
    name = hashlib.sha256(b"\0".join(parts)).hexdigest()[:24] + ".o"
    return cache_folder("native", name) / name


@cache
def load(file: Path) -> TakePart:
    """Return `steps.take_part` from its machine code. It runs without holding Python's lock."""
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

    # The code lives as long as its engine.
    take_part.engine = engine  # type: ignore[attr-defined]
    return take_part


def start_compiling() -> "subprocess.Popen[bytes]":
    """Start a process that compiles the code and writes its file."""
    return subprocess.Popen(
        [sys.executable, "-m", __name__], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    )


def compile_code() -> bytes:
    """Return machine code of `steps.take_part`, as an object file with a plain name."""
    from numba import types
    from numba.core import config

    # At level 3 LLVM 22 makes an endless loop of the remainder of an unswitched, unrolled one (docs/journal.md).
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
    """Write the code to its file. If another process is compiling it, wait for that one."""
    file = code_file()
    with locked(file.parent / "lock"):
        if not file.exists():
            write_atomically(file, compile_code())


if __name__ == "__main__":
    main()
