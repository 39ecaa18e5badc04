"""Whole numbers out of ratios, and orders that depend on names and a seed alone.

Sizes come from the method of largest remainders (Hamilton), which is at least as near to the ratios
as any other rounding, in every norm. Things are taken in the order of a keyed hash of their names,
so that neither the order of the input nor the generator of a library can change a result.
"""

import hashlib
import math
from collections.abc import Sequence
from fractions import Fraction

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from engine.errors import ConfigError

__all__ = ["exact_ratios", "lacking", "largest_remainder", "mixed_bits", "seeded_order", "shuffled"]

_Int = npt.NDArray[np.int64]
_AT_ONCE = 1 << 16  # names that are held as Python objects


def exact_ratios(ratios: Sequence[float], count: int = 3) -> tuple[Fraction, ...]:
    """Take ratios as the decimal fractions that were typed: 0.1 is 1/10.

    Args:
        ratios: shares of a whole, in the order of the splits.
        count: how many there have to be.

    Returns:
        Fractions whose sum is exactly 1.

    Raises:
        ConfigError: they are not so many shares of a whole.
    """
    shares = [float(ratio) for ratio in ratios]
    typed = "/".join(f"{share:g}" for share in shares)
    if len(shares) != count or not all(math.isfinite(share) and share >= 0 for share in shares):
        raise ConfigError("--ratios", f"not {count} numbers from 0 to 1", got=typed)
    exact = [Fraction(repr(share)) for share in shares]
    total = sum(exact, Fraction(0))
    if abs(total - 1) > Fraction(1, 10**9):
        raise ConfigError("--ratios", "do not sum to 1", got=f"{typed} = {sum(shares):g}")
    return tuple(share / total for share in exact)


def mixed_bits(values: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    """Hash 64-bit numbers: SplitMix64's finaliser (Steele, Lea, Flood 2014).

    Args:
        values: uint64, any shape.

    Returns:
        uint64 of that shape, different for different numbers.
    """
    value = values + np.uint64(0x9E3779B97F4A7C15)
    value = (value ^ (value >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    value = (value ^ (value >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return value ^ (value >> np.uint64(31))


def shuffled(count: int, start: int) -> npt.NDArray[np.intp]:
    """Permute `count` things, in another way for every start, the same everywhere.

    Args:
        count: how many.
        start: number of the permutation, >= 0.

    Returns:
        intp (count,).
    """
    return np.argsort(mixed_bits(np.arange(count, dtype=np.uint64) + np.uint64(start * count)))


def largest_remainder(total: int, ratios: Sequence[Fraction]) -> _Int:
    """Sizes that sum to `total`, each its quota rounded down or up.

    Args:
        total: number of things to share out, >= 0.
        ratios: wanted shares, none negative, their sum exactly 1.

    Returns:
        int64 (len(ratios),). The largest remainders are rounded up, of equal ones the first. With
        fewer things than positive ratios the first positive ratio is never left with nothing.
    """
    sizes = _nearest(total, ratios)
    positive = [split for split, ratio in enumerate(ratios) if ratio > 0]
    if 0 < total < len(positive) and sizes[positive[0]] == 0:
        sizes[sizes.index(max(sizes))] -= 1
        sizes[positive[0]] = 1
    return np.array(sizes, dtype=np.int64)


def _nearest(total: int, ratios: Sequence[Fraction]) -> list[int]:
    sizes = [int(total * ratio) for ratio in ratios]
    by_remainder = sorted(range(len(sizes)), key=lambda s: sizes[s] - total * ratios[s])
    for split in by_remainder[: total - sum(sizes)]:
        sizes[split] += 1
    return sizes


def lacking(count: int, ratios: Sequence[Fraction], held: Sequence[int]) -> _Int:
    """What each of several parts gets of newcomers, so that all together come near the ratios.

    Args:
        count: newcomers, >= 0.
        ratios: wanted shares, none negative, their sum exactly 1.
        held: things that each part has, and keeps.

    Returns:
        int64 (len(ratios),), none negative, their sum `count`. What a part lacks to its size by
        `largest_remainder` of all; where others have more than theirs, that is missing here, and
        every lack is met in the same proportion (rounded by largest remainders), never exceeded.
    """
    wanted = largest_remainder(sum(held) + count, ratios).tolist()
    lack = [max(0, want - have) for want, have in zip(wanted, held, strict=True)]
    if not count:
        return np.zeros(len(lack), dtype=np.int64)
    return np.array(_nearest(count, [Fraction(n, sum(lack)) for n in lack]), dtype=np.int64)


def seeded_order(names: Sequence[str] | pa.StringArray, seed: int) -> npt.NDArray[np.intp]:
    """A random order that depends on the names and the seed alone.

    Args:
        names: n unique names.
        seed: any integer.

    Returns:
        intp (n,): positions in `names`, by BLAKE2b-128 keyed by the seed. About 1 us a name.
    """
    salted = hashlib.blake2b(f"{seed}\0".encode(), digest_size=16)

    def digest(name: str) -> bytes:
        state = salted.copy()
        state.update(name.encode("utf-8", "surrogatepass"))
        return state.digest()

    keys = np.empty((len(names), 2), dtype=np.uint64)
    for start in range(0, len(names), _AT_ONCE):
        some = names[start : start + _AT_ONCE]
        plain = some.to_pylist() if isinstance(some, pa.Array) else some
        digests = b"".join(map(digest, plain))
        keys[start : start + _AT_ONCE] = np.frombuffer(digests, dtype=">u8").reshape(-1, 2)
    return np.lexsort((keys[:, 1], keys[:, 0]))
