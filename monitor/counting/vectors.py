"""Many bytes at once, for `kernel`: what numba cannot say, in the compiler's own terms. Any processor with vectors runs them, AVX2 in few steps.

All read a whole block, or half of one, whatever of it is meant: the arrays must go on for as long.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

BLOCK = 64
"""Bytes that `marks` reads."""
HALF = 32
"""Bytes that `digits` and `differ` read."""
_BYTE, _WORD = ir.IntType(8), ir.IntType(64)
_QUOTE, _BACKSLASH, _SPACE, _PRINTABLE = 0x22, 0x5C, 0x20, 0x7F - 0x20
_ZERO, _TEN, _POINT = 0x30, 10, 0x2E


def _load(context: Any, builder: Any, kind: Any, place: Sequence[Any], width: int) -> Any:
    array, at = place
    begin = builder.gep(context.make_array(kind)(context, builder, array).data, [at])
    loaded = builder.load(builder.bitcast(begin, ir.VectorType(_BYTE, width).as_pointer()))
    loaded.align = 1
    return loaded


def _each(block: Any, byte: int) -> Any:
    """The byte, as often as the block has bytes."""
    return ir.Constant(block.type, [byte] * block.type.count)


def _bits(builder: Any, truths: Any, width: int) -> Any:
    found = builder.bitcast(truths, ir.IntType(width))
    return found if width == _WORD.width else builder.zext(found, _WORD)


@intrinsic  # type: ignore[untyped-decorator]  # numba ships no types
def marks(_: Any, text: Any, at: Any) -> Any:
    """Of `BLOCK` bytes from a place on, a bit each, the first one's lowest: the quotes, and what is no printable ASCII or a backslash."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        block = _load(context, builder, signature.args[0], arguments, BLOCK)
        quotes = builder.icmp_unsigned("==", block, _each(block, _QUOTE))
        beyond = builder.icmp_unsigned(">=", builder.sub(block, _each(block, _SPACE)), _each(block, _PRINTABLE))
        wrong = builder.or_(beyond, builder.icmp_unsigned("==", block, _each(block, _BACKSLASH)))
        both = [_bits(builder, truths, BLOCK) for truths in (quotes, wrong)]
        return context.make_tuple(builder, signature.return_type, both)

    return types.UniTuple(types.uint64, 2)(text, at), generate


@intrinsic  # type: ignore[untyped-decorator]  # numba ships no types
def digits(_: Any, text: Any, at: Any) -> Any:
    """Of `HALF` bytes from a place on, a bit each, the first one's lowest: the digits, and the points."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        block = _load(context, builder, signature.args[0], arguments, HALF)
        figures = builder.icmp_unsigned("<", builder.sub(block, _each(block, _ZERO)), _each(block, _TEN))
        points = builder.icmp_unsigned("==", block, _each(block, _POINT))
        both = [_bits(builder, truths, HALF) for truths in (figures, points)]
        return context.make_tuple(builder, signature.return_type, both)

    return types.UniTuple(types.uint64, 2)(text, at), generate


@intrinsic  # type: ignore[untyped-decorator]  # numba ships no types
def differ(_: Any, one: Any, at: Any, other: Any, begin: Any) -> Any:
    """Of `HALF` bytes from two places on, a bit each, the first one's lowest: those that are not the same."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        mine = _load(context, builder, signature.args[0], arguments[:2], HALF)
        theirs = _load(context, builder, signature.args[2], arguments[2:], HALF)
        return _bits(builder, builder.icmp_unsigned("!=", mine, theirs), HALF)

    return types.uint64(one, at, other, begin), generate


@intrinsic  # type: ignore[untyped-decorator]  # numba ships no types
def first(_: Any, bits: Any) -> Any:
    """The place of the lowest bit that is set; one is."""

    def generate(_: Any, builder: Any, __: Any, arguments: Any) -> Any:
        return builder.cttz(arguments[0], ir.Constant(ir.IntType(1), 1))

    return types.uint64(bits), generate


@intrinsic  # type: ignore[untyped-decorator]  # numba ships no types
def count(_: Any, bits: Any) -> Any:
    """How many bits are set."""

    def generate(_: Any, builder: Any, __: Any, arguments: Any) -> Any:
        return builder.ctpop(arguments[0])

    return types.uint64(bits), generate


@intrinsic  # type: ignore[untyped-decorator]  # numba ships no types
def prefetch(_: Any, array: Any, at: Any) -> Any:
    """Have what stands at a place of a flat array at hand soon: a hint, which any place may be given."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        place = builder.gep(context.make_array(signature.args[0])(context, builder, arguments[0]).data, [arguments[1]])
        place = builder.bitcast(place, _BYTE.as_pointer())
        flag = ir.IntType(32)
        hint = builder.module.declare_intrinsic(
            "llvm.prefetch", [place.type], ir.FunctionType(ir.VoidType(), [place.type, flag, flag, flag])
        )
        # To be read, into all caches, of data.
        builder.call(hint, [place, flag(0), flag(3), flag(1)])
        return context.get_dummy_value()

    return types.none(array, at), generate


@intrinsic  # type: ignore[untyped-decorator]  # numba ships no types
def word(_: Any, text: Any, at: Any) -> Any:
    """The eight bytes from a place on."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.bitcast(_load(context, builder, signature.args[0], arguments, _WORD.width // 8), _WORD)

    return types.uint64(text, at), generate


@intrinsic  # type: ignore[untyped-decorator]  # numba ships no types
def product(_: Any, one: Any, other: Any) -> Any:
    """The two halves of the product of two numbers, one XOR the other: each of their bits bears upon all of it."""

    def generate(_: Any, builder: Any, __: Any, arguments: Any) -> Any:
        wide = ir.IntType(2 * _WORD.width)
        whole = builder.mul(*(builder.zext(each, wide) for each in arguments))
        upper = builder.lshr(whole, ir.Constant(wide, _WORD.width))
        return builder.trunc(builder.xor(whole, upper), _WORD)

    return types.uint64(one, other), generate
