"""Elementary functions in Triton, from float32 to float32: what ``vector_math.h`` is to C.

A GPU has an instruction for 2^u, so exponentials are Triton's own. The rest are the polynomials of ``vector_math.h``,
because Triton's interpreter knows neither tanh nor log1p, and the libraries that its compilers link differ from device
to device. NaN in gives NaN out. No ``from __future__ import annotations``: Triton reads them.
"""

import triton
import triton.language as tl

INTERPRETED = tl.constexpr(not isinstance(tl.cdiv, triton.runtime.jit.JITFunction))

LN2_HIGH = tl.constexpr(0.693359375)
LN2_LOW = tl.constexpr(-2.12194440e-4)
ROUND = tl.constexpr(12582912.0)
"""1.5·2^23: adding it rounds to the nearest integer, which is then in the low bits of the sum."""
TWO_THIRDS = tl.constexpr(0x3F2AAAAB)
"""The bits of 2/3: a positive number is 2^e·m with m in [2/3, 4/3), so that e = 0 around 1, where ln vanishes."""
GOLDEN = tl.constexpr(0x9E3779B9)


@triton.jit
def extent(units, UNIT: tl.constexpr, WIDE: tl.constexpr):
    """A size from how many units it has; ``WIDE``: sizes may need more than 31 bits."""
    if WIDE:
        return tl.cast(units, tl.int64) * UNIT
    else:
        return units * UNIT


@triton.jit
def rounded(v, to: tl.constexpr):
    """A float32 in another element type, to nearest, ties to even."""
    # The interpreter cuts a bfloat16 off where a GPU rounds.
    if INTERPRETED and to == tl.bfloat16:
        bits = v.to(tl.uint32, bitcast=True)
        bits = tl.where(v != v, 0x7FC00000, bits + 0x7FFF + ((bits >> 16) & 1))
        return (bits >> 16).to(tl.uint16).to(tl.bfloat16, bitcast=True)
    else:
        return v.to(to)


@triton.jit
def smaller(a, b):
    """The smaller, and NaN if either is."""
    return tl.minimum(a, b, propagate_nan=tl.PropagateNan.ALL)


@triton.jit
def larger(a, b):
    """The larger, and NaN if either is."""
    return tl.maximum(a, b, propagate_nan=tl.PropagateNan.ALL)


@triton.jit
def sign(u):
    """-1, 1, or u itself where it is a zero or NaN."""
    return tl.where(u > 0.0, 1.0, tl.where(u < 0.0, -1.0, u))


@triton.jit
def with_sign_of(u, size):
    """The size, which is not negative, with the sign of u."""
    bit = u.to(tl.uint32, bitcast=True) & 0x80000000
    return (size.to(tl.uint32, bitcast=True) | bit).to(tl.float32, bitcast=True)


@triton.jit
def copysign(size, u):
    """The size of the first with the sign of the second."""
    return with_sign_of(u, tl.abs(size))


@triton.jit
def exp_neg(a):
    """e^-a for a >= 0."""
    return tl.exp(-a)


@triton.jit
def expm1_neg(a):
    """e^-a - 1 for a >= 0: by a polynomial where the difference would cancel."""
    r = -a
    square = r * r
    q = 0.008366256020963192 * r + 0.04166744276881218
    q = 0.0013869862305000424 * square + q
    q = q * square + (0.1666654646396637 * r + 0.4999999701976776)
    return tl.where(a < 0.34657359, q * square + r, tl.exp(r) - 1.0)


@triton.jit
def erf(u):
    """The error function, 1 - e^-g(|u|) with g smooth from 0 on."""
    a = tl.abs(u)
    a = tl.where(a > 4.0, 4.0, a)
    q = -9.385993507748935e-06 * a + 0.0001188482201541774
    q = q * a - 0.0006373307551257312
    q = q * a + 0.0016756387194618583
    q = q * a - 0.000169484454090707
    q = q * a - 0.019147826358675957
    q = q * a + 0.10277630388736725
    q = q * a + 0.6366195678710938
    q = q * a + 0.12837916612625122
    return with_sign_of(u, -expm1_neg(a * q + a))


@triton.jit
def log1p_unit(t):
    """ln(1 + t) for 0 <= t <= 1."""
    q = -0.003290468594059348 * t + 0.020086241886019707
    q = q * t - 0.05745723098516464
    q = q * t + 0.10661128163337708
    q = q * t - 0.15344880521297455
    q = q * t + 0.19692102074623108
    q = q * t - 0.24958018958568573
    q = q * t + 0.33330464363098145
    q = q * t - 0.4999993145465851
    return t * t * q + t


@triton.jit
def log_reduced(e, f):
    """e·ln 2 + ln(1 + f) for |f| <= 1/3."""
    q = -0.12880028784275055 * f + 0.13984593749046326
    q = q * f - 0.12187480926513672
    q = q * f + 0.14005734026432037
    q = q * f - 0.16680195927619934
    q = q * f + 0.2001042664051056
    q = q * f - 0.2499980628490448
    q = q * f + 0.3333321511745453
    q = q * f - 0.5
    return e * LN2_HIGH + (f + (f * f * q + e * LN2_LOW))


@triton.jit
def log(u):
    """Natural logarithm; -inf at 0, NaN below."""
    small = u < 1.1754943508222875e-38
    v = tl.where(small, u * 8388608.0, u)  # a subnormal number becomes a normal one
    bits = v.to(tl.uint32, bitcast=True) - TWO_THIRDS
    e = (bits.to(tl.int32, bitcast=True) >> 23).to(tl.float32) - tl.where(small, 23.0, 0.0)
    f = ((bits & 0x7FFFFF) + TWO_THIRDS).to(tl.float32, bitcast=True) - 1.0
    result = tl.where(u < float("inf"), log_reduced(e, f), u)
    result = tl.where(u < 0.0, float("nan"), result)
    return tl.where(u == 0.0, -float("inf"), result)


@triton.jit
def log1p(u):
    """ln(1 + u); -inf at -1, NaN below."""
    w = 1.0 + u
    lost = u - (w - 1.0)  # what rounding took from w
    bits = w.to(tl.uint32, bitcast=True) - TWO_THIRDS
    e = bits.to(tl.int32, bitcast=True) >> 23
    scale = ((127 - tl.where(e < 127, e, 126)) << 23).to(tl.float32, bitcast=True)
    f = ((bits & 0x7FFFFF) + TWO_THIRDS).to(tl.float32, bitcast=True) - 1.0
    result = log_reduced(e.to(tl.float32), scale * lost + f)
    result = tl.where(u < float("inf"), result, u)
    result = tl.where(u < -1.0, float("nan"), result)
    return tl.where(u == -1.0, -float("inf"), result)


@triton.jit
def sin_shifted(u, QUARTER: tl.constexpr):
    """sin(u + QUARTER·π/2), to 1e-7 up to |u| = 1e4; every finite u gives a number in [-1, 1]."""
    shifted = u * 0.636619772 + ROUND
    n = shifted - ROUND
    r = u - n * 1.5703125  # π/2 in three parts, so short that their products are exact
    r = r - n * 4.837512969970703125e-4
    r = r - n * 7.54978995489188e-8
    r = tl.where(r > 1.0, 1.0, r)
    r = tl.where(r < -1.0, -1.0, r)
    square = r * r
    s = -0.00019507882825564593 * square + 0.008332106284797192
    s = s * square - 0.16666653752326965
    s = s * (square * r) + r
    c = 2.4432101781712845e-05 * square - 0.0013887308305129409
    c = c * square + 0.04166664555668831
    c = c * square - 0.5
    c = c * square + 1.0
    turn = shifted.to(tl.uint32, bitcast=True) + QUARTER
    result = tl.where((turn & 1) != 0, c, s).to(tl.uint32, bitcast=True)
    return (result ^ ((turn & 2) << 30)).to(tl.float32, bitcast=True)


@triton.jit
def sin(u):
    """Sine."""
    return sin_shifted(u, 0)


@triton.jit
def cos(u):
    """Cosine."""
    return sin_shifted(u, 1)


@triton.jit
def mix(h):
    """The bijection of 32 bits that ``vm_mix`` is."""
    h = h ^ (h >> 16)
    h = h * 0x21F0AAAD
    h = h ^ (h >> 15)
    h = h * 0xD35A2D97
    return h ^ (h >> 15)


@triton.jit
def uniform(place, seed, WIDE: tl.constexpr):
    """The noise in [0, 1) of the element at a place in memory: bit for bit that of the other paths.

    Without ``WIDE`` places have 32 bits at most, and the two keys are the same for all elements.
    """
    if WIDE:
        seed = seed ^ (place >> 32).to(tl.uint32)
    first = mix(mix(seed) + GOLDEN)
    second = mix(first + GOLDEN)
    h = (place.to(tl.uint32) ^ first) * 0x9E3779B1
    h = h ^ (h >> 15)
    h = h * 0x21F0AAAD + second
    h = h ^ (h >> 16)
    h = h * 0xD35A2D97
    return (h >> 8).to(tl.float32) * 5.9604644775390625e-08
