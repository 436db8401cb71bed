"""Vectors of 16 float32 in numba: memory by address, and the instructions that the decode step is made of.

The vectors are LLVM's own, so every processor runs them, in as many pieces as its registers need. An address is an
int64, which is not checked.
"""

import platform
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from inspect import Parameter, Signature
from typing import Any

import numba
import numpy as np
from llvmlite import ir  # type: ignore[import-untyped]
from numba import types
from numba.core.datamodel import models, register_default
from numba.core.extending import intrinsic

LANES = 16
I8, I16, I32, I64, F32 = *map(ir.IntType, (8, 16, 32, 64)), ir.FloatType()
F32X16, I32X16, I16X16 = ir.VectorType(F32, LANES), ir.VectorType(I32, LANES), ir.VectorType(I16, LANES)
I8X16 = ir.VectorType(I8, LANES)


class Vector(types.Type):
    """The type of 16 float32."""


vector = Vector("float32x16")
register_default(Vector)(lambda manager, kind: models.PrimitiveModel(manager, kind, F32X16))
Build = Callable[..., ir.Value | None]


def instruction(result: Any, *arguments: Any) -> Callable[[Build], Any]:
    """Make `build(builder, *values)` a function that jitted code calls with arguments of these types."""

    def wrap(build: Build) -> Any:
        def generate(context: Any, builder: ir.IRBuilder, signature: Any, values: Sequence[ir.Value]) -> ir.Value:
            value = build(builder, *values)
            return context.get_dummy_value() if value is None else value

        def typed(context: Any, *given: Any) -> Any:
            return result(*arguments), generate

        # From this numba learns how many arguments there are.
        names = ["context", *(f"value_{number}" for number in range(len(arguments)))]
        parameters = [Parameter(name, Parameter.POSITIONAL_OR_KEYWORD) for name in names]
        typed.__signature__ = Signature(parameters)  # type: ignore[attr-defined]
        return intrinsic(typed)

    return wrap


# Parts of instructions


def call(builder: ir.IRBuilder, name: str, result: ir.Type, *values: ir.Value, fastmath: Sequence[str] = ()) -> Any:
    """Call an intrinsic of LLVM by its name."""
    kind = ir.FunctionType(result, [value.type for value in values])
    function = builder.module.globals.get(name) or ir.Function(builder.module, kind, name)
    return builder.call(function, values, fastmath=fastmath)


def read(builder: ir.IRBuilder, address: ir.Value, kind: ir.Type, align: int = 4) -> ir.Value:
    """Load a value from the address."""
    return builder.load(builder.inttoptr(address, kind.as_pointer()), align=align)


def write(builder: ir.IRBuilder, address: ir.Value, value: ir.Value, align: int = 4) -> None:
    """Store the value at the address."""
    builder.store(value, builder.inttoptr(address, value.type.as_pointer()), align=align)


def first_lanes(builder: ir.IRBuilder, count: ir.Value) -> ir.Value:
    """Return a mask of the first `count` lanes."""
    lane = ir.Constant(I32X16, list(range(LANES)))
    return builder.icmp_signed("<", lane, spread(builder, builder.trunc(count, I32)))


def read_part(builder: ir.IRBuilder, address: ir.Value, kind: ir.VectorType, mask: ir.Value) -> ir.Value:
    """Load the masked lanes, zeros in the others."""
    name, align = ("f32", 4) if kind == F32X16 else ("i16", 2)
    at = builder.inttoptr(address, kind.as_pointer())
    return call(builder, f"llvm.masked.load.v16{name}.p0", kind, at, I32(align), mask, ir.Constant(kind, None))


def spread(builder: ir.IRBuilder, value: ir.Value, lanes: int = LANES) -> ir.Value:
    """Return a vector with the value in each lane."""
    empty = ir.Constant(ir.VectorType(value.type, lanes), ir.Undefined)
    first = ir.Constant(ir.VectorType(I32, lanes), None)
    return builder.shuffle_vector(builder.insert_element(empty, value, I32(0)), empty, first)


def lower(builder: ir.IRBuilder, words: ir.Value) -> ir.Value:
    """Return the bfloat16s in the lower halves of words as float32."""
    return builder.bitcast(builder.shl(words, ir.Constant(I32X16, [16] * LANES)), F32X16)


def upper(builder: ir.IRBuilder, words: ir.Value) -> ir.Value:
    """Return the bfloat16s in the upper halves of words as float32."""
    return builder.bitcast(builder.and_(words, ir.Constant(I32X16, [-(1 << 16)] * LANES)), F32X16)


def summed(builder: ir.IRBuilder, value: ir.Value) -> ir.Value:
    """Return the sum of a vector's lanes."""
    if value.type == F32X16:
        return call(builder, "llvm.vector.reduce.fadd.v16f32", F32, F32(-0.0), value, fastmath=["reassoc"])
    return call(builder, "llvm.vector.reduce.add.v16i32", I32, value)


def summed_by_four(builder: ir.IRBuilder, four: Sequence[ir.Value]) -> ir.Value:
    """Return the sums of the lanes of four vectors side by side, in a third of the instructions of four sums."""
    add = builder.fadd if four[0].type == F32X16 else builder.add

    def pick(a: ir.Value, b: ir.Value, lanes: Iterable[int]) -> ir.Value:
        chosen = list(lanes)
        return builder.shuffle_vector(a, b, ir.Constant(ir.VectorType(I32, len(chosen)), chosen))

    def join(a: ir.Value, b: ir.Value, *orders: tuple[int, ...]) -> ir.Value:
        """Add two selections of lanes from each quarter of a and b."""
        quarters = range(0, LANES, 4)
        return add(*(pick(a, b, [start + lane for start in quarters for lane in order]) for order in orders))

    first, second = (join(a, b, (0, 16, 1, 17), (2, 18, 3, 19)) for a, b in (four[:2], four[2:]))
    quarters = join(first, second, (0, 1, 16, 17), (2, 3, 18, 19))
    halves = add(*(pick(quarters, quarters, range(start, start + 8)) for start in (0, 8)))
    return add(*(pick(halves, halves, range(start, start + 4)) for start in (0, 4)))


def fetch(builder: ir.IRBuilder, address: ir.Value) -> None:
    """Prefetch the cache line at the address."""
    place = builder.inttoptr(address, I8.as_pointer())
    call(builder, "llvm.prefetch.p0", ir.VoidType(), place, I32(0), I32(3), I32(1))


# Memory: 16 float32, one float32, one int64


load = instruction(vector, types.int64)(partial(read, kind=F32X16))
get = instruction(types.float32, types.int64)(partial(read, kind=F32))
get_integer = instruction(types.int64, types.int64)(partial(read, kind=I64, align=8))
store = instruction(types.void, types.int64, vector)(write)
put = instruction(types.void, types.int64, types.float32)(write)
put_integer = instruction(types.void, types.int64, types.int64)(partial(write, align=8))
prefetch = instruction(types.void, types.int64)(fetch)
# 16 int8 as float32, and an integer as an int32
load_bytes = instruction(vector, types.int64)(lambda builder, at: builder.sitofp(read(builder, at, I8X16, 1), F32X16))
put_whole = instruction(types.void, types.int64, types.float32)(
    lambda builder, at, value: write(builder, at, builder.fptosi(value, I32))
)
# Halves of 16 words, which are bfloat16, as float32
load_lower = instruction(vector, types.int64)(lambda builder, at: lower(builder, read(builder, at, I32X16)))
load_upper = instruction(vector, types.int64)(lambda builder, at: upper(builder, read(builder, at, I32X16)))


@instruction(vector, types.int64, types.int64)
def load_part(builder: ir.IRBuilder, address: ir.Value, count: ir.Value) -> ir.Value:
    """Load the first `count` of 16 float32, zeros after them."""
    return read_part(builder, address, F32X16, first_lanes(builder, count))


@instruction(vector, types.int64, types.int64)
def load_halves(builder: ir.IRBuilder, address: ir.Value, count: ir.Value) -> ir.Value:
    """Load the first `count` of 16 bfloat16 as float32, zeros after them."""
    return lower(builder, builder.zext(read_part(builder, address, I16X16, first_lanes(builder, count)), I32X16))


@instruction(types.void, types.int64, vector, vector)
def store_halves(builder: ir.IRBuilder, address: ir.Value, lower: ir.Value, upper: ir.Value) -> None:
    """Store 16 words of two bfloat16s, rounded to nearest even."""
    sixteen, one = (ir.Constant(I32X16, [number] * LANES) for number in (16, 1))

    def rounded_up(value: ir.Value) -> ir.Value:
        bits = builder.bitcast(value, I32X16)
        odd = builder.and_(builder.lshr(bits, sixteen), one)
        return builder.add(builder.add(bits, ir.Constant(I32X16, [(1 << 15) - 1] * LANES)), odd)

    above = builder.and_(rounded_up(upper), ir.Constant(I32X16, [-(1 << 16)] * LANES))
    write(builder, address, builder.or_(builder.lshr(rounded_up(lower), sixteen), above))


@instruction(types.void, types.int64, vector, types.int64)
def store_part(builder: ir.IRBuilder, address: ir.Value, value: ir.Value, count: ir.Value) -> None:
    """Store the first `count` of 16 float32."""
    at = builder.inttoptr(address, F32X16.as_pointer())
    call(builder, "llvm.masked.store.v16f32.p0", ir.VoidType(), value, at, I32(4), first_lanes(builder, count))


@instruction(types.void, types.int64, vector)
def store_bytes(builder: ir.IRBuilder, address: ir.Value, value: ir.Value) -> None:
    """Store 16 integers from −128 to 255 as bytes."""
    narrow = builder.trunc(builder.fptosi(value, I32X16), I8X16)
    write(builder, address, narrow, align=1)


# Arithmetic


splat = instruction(vector, types.float32)(spread)
add = instruction(vector, vector, vector)(ir.IRBuilder.fadd)
sub = instruction(vector, vector, vector)(ir.IRBuilder.fsub)
mul = instruction(vector, vector, vector)(ir.IRBuilder.fmul)
div = instruction(vector, vector, vector)(ir.IRBuilder.fdiv)


def _of_llvm(name: str, arguments: int) -> Any:
    """Make LLVM's intrinsic of this name an instruction on vectors."""
    return instruction(vector, *[vector] * arguments)(
        lambda builder, *values: call(builder, f"llvm.{name}.v16f32", F32X16, *values)
    )


def _chosen(relation: str) -> Any:
    """Make the instruction that returns the one of each two lanes that is in this relation to the other."""
    return instruction(vector, vector, vector)(
        lambda builder, a, b: builder.select(builder.fcmp_ordered(relation, a, b), a, b)
    )


larger, smaller = _chosen(">"), _chosen("<")
magnitude = _of_llvm("fabs", 1)
# To the nearest integer, ties to even
rounded = _of_llvm("roundeven", 1)
# a · b + c, rounded once where the processor can
muladd = _of_llvm("fmuladd", 3)


@instruction(vector, vector)
def two_to_the(builder: ir.IRBuilder, whole: ir.Value) -> ir.Value:
    """Return powers of two, for integers from −126 to 127."""
    biased = builder.add(builder.fptosi(whole, I32X16), ir.Constant(I32X16, [127] * LANES))
    return builder.bitcast(builder.shl(biased, ir.Constant(I32X16, [23] * LANES)), F32X16)


total = instruction(types.float32, vector)(summed)


@instruction(types.float32, vector)
def largest(builder: ir.IRBuilder, value: ir.Value) -> ir.Value:
    """Return the largest of the lanes."""
    return call(builder, "llvm.vector.reduce.fmax.v16f32", F32, value, fastmath=["nnan"])


def table(dtype: np.dtype) -> Any:
    """Make the function that returns row `index` of a table of this dtype at an address."""
    record = numba.from_dtype(dtype)

    @instruction(record, types.int64, types.int64)
    def row(builder: ir.IRBuilder, address: ir.Value, index: ir.Value) -> ir.Value:
        at = builder.add(address, builder.mul(index, I64(dtype.itemsize)))
        return builder.inttoptr(at, ir.ArrayType(I8, dtype.itemsize).as_pointer())

    return row


# Synchronization of threads


@instruction(types.int64, types.int64)
def load_acquire(builder: ir.IRBuilder, address: ir.Value) -> ir.Value:
    """Load an int64 that other threads may be changing."""
    return builder.load_atomic(builder.inttoptr(address, I64.as_pointer()), "acquire", 8)


@instruction(types.void, types.int64, types.int64)
def store_release(builder: ir.IRBuilder, address: ir.Value, value: ir.Value) -> None:
    """Store an int64 that other threads read."""
    builder.store_atomic(value, builder.inttoptr(address, I64.as_pointer()), "seq_cst", 8)


@instruction(types.int64, types.int64, types.int64)
def fetch_add(builder: ir.IRBuilder, address: ir.Value, value: ir.Value) -> ir.Value:
    """Add to an int64 that other threads add to. Returns what it was before."""
    return builder.atomic_rmw("add", builder.inttoptr(address, I64.as_pointer()), value, "seq_cst")


@instruction(types.boolean, types.int64, types.int64, types.int64)
def compare_exchange(builder: ir.IRBuilder, address: ir.Value, old: ir.Value, new: ir.Value) -> ir.Value:
    """Set an int64 to `new` if it is `old`. Returns whether it was."""
    at = builder.inttoptr(address, I64.as_pointer())
    return builder.extract_value(builder.cmpxchg(at, old, new, "seq_cst"), 1)


@instruction(types.void)
def pause(builder: ir.IRBuilder) -> None:
    """Tell the processor that this loop waits."""
    if platform.machine().lower() in ("x86_64", "amd64"):
        call(builder, "llvm.x86.sse2.pause", ir.VoidType())
