/* Elementary functions in float32 for loops that the compiler turns into vector code.

   Every function is branch-free and calls no library, so that GCC and Clang vectorise a `#pragma omp simd` loop around
   it with

       -O3 -march=native -fopenmp-simd -fno-math-errno -fno-trapping-math

   and without -ffast-math, which would break the rounding tricks and the treatment of NaN. NaN in gives NaN out;
   results below the smallest normal number, 1.2e-38, may be flushed to zero. docs/accuracy.md has the measured error of
   each function, tests/kernels/test_vector_math.py measures it and benchmarks/fit_polynomials.py made the coefficients.

   Two habits hold throughout:
   - a comparison names the limit first, `limit < u ? limit : u`, because it is false for NaN and so hands NaN on;
     it is also the one order that x86's min and max instructions have;
   - polynomials are in Horner's form unless noted: the iterations of a loop are independent, so the processor overlaps
     their chains and what counts is mostly the number of instructions. */
#ifndef LIMEN_VECTOR_MATH_H
#define LIMEN_VECTOR_MATH_H

#include <stdint.h>

#if defined(__FAST_MATH__) || (defined(__FINITE_MATH_ONLY__) && __FINITE_MATH_ONLY__)
#error "vector_math.h needs IEEE arithmetic: compile it without -ffast-math and -ffinite-math-only"
#endif

/* Always inlined: a call that is left inside a loop keeps it from being vectorised. */
#define VM_INLINE static inline __attribute__((always_inline, unused))

/* Without an FMA instruction __builtin_fmaf is a library call; a product and a sum cost about an ulp instead. */
#if defined(__FMA__) || defined(__ARM_FEATURE_FMA) || defined(__FP_FAST_FMAF)
#define VM_HAS_FMA 1
#define vm_fma(a, b, c) __builtin_fmaf((a), (b), (c))
#else
#define VM_HAS_FMA 0
#define vm_fma(a, b, c) ((a) * (b) + (c))
#endif

#define VM_INFINITY __builtin_inff()
#define VM_NAN __builtin_nanf("")

/* 1.5 * 2^23: adding it rounds to the nearest integer, which is then in the low bits of the sum. */
#define VM_ROUND 12582912.0f
#define VM_ROUND_BITS 0x4b400000u

/* ln 2 in two parts. The high part has 9 bits, so its product with an exponent is exact. */
#define VM_LN2_HIGH 0.693359375f
#define VM_LN2_LOW (-2.12194440e-4f)
#define VM_LOG2E 1.44269504f

VM_INLINE uint32_t vm_bits(float u) {
    union { float f; uint32_t i; } cast = {.f = u};
    return cast.i;
}

VM_INLINE float vm_from_bits(uint32_t i) {
    union { uint32_t i; float f; } cast = {.i = i};
    return cast.f;
}

/* ---- choosing ------------------------------------------------------------------------------------------------- */

/* The smaller, and NaN if either is. */
VM_INLINE float vm_min(float a, float b) {
    float smaller = a < b ? a : b; /* b wherever either is NaN */
    return a != a ? a : smaller;
}

/* The larger, and NaN if either is. */
VM_INLINE float vm_max(float a, float b) {
    float larger = a > b ? a : b;
    return a != a ? a : larger;
}

/* -1, 1, or u itself where it is a zero or NaN. */
VM_INLINE float vm_sign(float u) {
    float negative = u < 0.0f ? -1.0f : u;
    return u > 0.0f ? 1.0f : negative;
}

VM_INLINE float vm_sqrt(float u) { return __builtin_sqrtf(u); }

/* ---- exponentials --------------------------------------------------------------------------------------------- */

/* e^r - 1 for |r| <= ln(2) / 2, with a small error relative to itself. */
VM_INLINE float vm_expm1_reduced(float r) {
    /* Estrin's order, for as many instructions as Horner's: the shorter chain made a swish loop 4 % faster. */
    float square = r * r;
    float low = vm_fma(0x1.5554b4p-3f, r, 0x1.fffffep-2f);
    float q = vm_fma(0x1.12253ep-7f, r, 0x1.5556f6p-5f);
    q = vm_fma(0x1.6b9712p-10f, square, q);
    q = vm_fma(q, square, low);
    return vm_fma(square, q, r);
}

/* e^-a = scale * (1 + p). */
typedef struct {
    float scale, p;
} vm_power;

/* The common part of e^-a and e^-a - 1: a kernel that calls both for one a pays for this once. */
VM_INLINE vm_power vm_exp_np_parts(float a) {
    /* From a = 88 on, 2^-127 has the bits of 0: the result is 0, not a subnormal number. */
    a = 88.0f < a ? 88.0f : a;
    /* 127 - n lands in the low bits, so that one shift makes 2^-n. */
    float shifted = vm_fma(-a, VM_LOG2E, VM_ROUND + 127.0f);
    float minus_n = shifted - (VM_ROUND + 127.0f);
    float r = vm_fma(minus_n, -VM_LN2_HIGH, -a);
    r = vm_fma(minus_n, -VM_LN2_LOW, r);
    vm_power power = {vm_from_bits(vm_bits(shifted) << 23), vm_expm1_reduced(r)};
    return power;
}

/* e^-a for a >= 0. */
VM_INLINE float vm_exp_np(float a) {
    vm_power power = vm_exp_np_parts(a);
    return vm_fma(power.scale, power.p, power.scale);
}

/* e^-a - 1 for a >= 0. */
VM_INLINE float vm_expm1_np(float a) {
    vm_power power = vm_exp_np_parts(a);
    return vm_fma(power.scale, power.p, power.scale - 1.0f);
}

/* e^u for any u. Subnormal results are right too: the price of reaching 2^128, which takes two factors anyway. */
VM_INLINE float vm_exp(float u) {
    u = 89.0f < u ? 89.0f : u;
    u = -105.0f > u ? -105.0f : u;
    float shifted = vm_fma(u, VM_LOG2E, VM_ROUND);
    float n = shifted - VM_ROUND;
    float r = vm_fma(n, -VM_LN2_HIGH, u);
    r = vm_fma(n, -VM_LN2_LOW, r);
    float p = vm_expm1_reduced(r);
    /* 2^n is past the largest power of two at n = 128 and below the smallest normal one from n = -127 on. */
    uint32_t whole = vm_bits(shifted) - VM_ROUND_BITS;
    uint32_t half = (uint32_t)((int32_t)whole >> 1);
    float scale = vm_from_bits((half + 127u) << 23);
    float rest = vm_from_bits((whole - half + 127u) << 23);
    return vm_fma(scale, p, scale) * rest;
}

/* tanh u = -z / (z + 2) with z = e^-2|u| - 1, which keeps the relative error small near 0. */
VM_INLINE float vm_tanh(float u) {
    float z = vm_expm1_np(2.0f * __builtin_fabsf(u));
    return __builtin_copysignf(z / (z + 2.0f), u);
}

/* erf u = 1 - e^-g(|u|), where g(a) = a + a Q(a) is smooth from 0 on: one polynomial serves the whole line, and the
   error of g fades as e^-g does. */
VM_INLINE float vm_erf(float u) {
    float a = __builtin_fabsf(u);
    a = 4.0f < a ? 4.0f : a; /* erf 4 rounds to 1 */
    float q = -0x1.3af112p-17f;
    q = vm_fma(q, a, 0x1.f27c4ep-14f);
    q = vm_fma(q, a, -0x1.4e2516p-11f);
    q = vm_fma(q, a, 0x1.b74236p-10f);
    q = vm_fma(q, a, -0x1.636f46p-13f);
    q = vm_fma(q, a, -0x1.39b7cep-6f);
    q = vm_fma(q, a, 0x1.a4f8c4p-4f);
    q = vm_fma(q, a, 0x1.45f300p-1f);
    q = vm_fma(q, a, 0x1.06eba8p-3f);
    return __builtin_copysignf(vm_expm1_np(vm_fma(a, q, a)), u);
}

/* ---- logarithms ----------------------------------------------------------------------------------------------- */

/* ln(1 + t) for 0 <= t <= 1. */
VM_INLINE float vm_log1p_01(float t) {
    float q = -0x1.af49cep-9f;
    q = vm_fma(q, t, 0x1.4917cep-6f);
    q = vm_fma(q, t, -0x1.d6b08cp-5f);
    q = vm_fma(q, t, 0x1.b4ae08p-4f);
    q = vm_fma(q, t, -0x1.3a435ep-3f);
    q = vm_fma(q, t, 0x1.934b54p-3f);
    q = vm_fma(q, t, -0x1.ff23e6p-3f);
    q = vm_fma(q, t, 0x1.554dd0p-2f);
    q = vm_fma(q, t, -0x1.ffffd2p-2f);
    return vm_fma(t * t, q, t);
}

/* e ln 2 + ln(1 + f) for |f| <= 1/3. */
VM_INLINE float vm_log_reduced(float e, float f) {
    float q = -0x1.07c872p-3f;
    q = vm_fma(q, f, 0x1.1e678cp-3f);
    q = vm_fma(q, f, -0x1.f33300p-4f);
    q = vm_fma(q, f, 0x1.1ed662p-3f);
    q = vm_fma(q, f, -0x1.559c44p-3f);
    q = vm_fma(q, f, 0x1.99d044p-3f);
    q = vm_fma(q, f, -0x1.fffefcp-3f);
    q = vm_fma(q, f, 0x1.555506p-2f);
    q = vm_fma(q, f, -0.5f);
    float low = vm_fma(f * f, q, e * VM_LN2_LOW);
    return vm_fma(e, VM_LN2_HIGH, f + low);
}

/* The bits of 2/3: every positive number is 2^e m with m in [2/3, 4/3), so that e = 0 around 1, where ln vanishes. */
#define VM_TWO_THIRDS 0x3f2aaaabu

/* ln u; -inf at 0, NaN below. */
VM_INLINE float vm_log(float u) {
    int32_t small = 0x1p-126f > u;
    float v = small ? u * 0x1p23f : u; /* a subnormal number becomes a normal one */
    uint32_t i = vm_bits(v) - VM_TWO_THIRDS;
    float e = (float)((int32_t)i >> 23) - (small ? 23.0f : 0.0f);
    float f = vm_from_bits((i & 0x7fffffu) + VM_TWO_THIRDS) - 1.0f;
    float result = vm_log_reduced(e, f);
    result = u < VM_INFINITY ? result : u; /* inf and NaN stay what they are */
    result = 0.0f > u ? VM_NAN : result;
    return u == 0.0f ? -VM_INFINITY : result;
}

/* ln(1 + u); -inf at -1, NaN below. */
VM_INLINE float vm_log1p(float u) {
    float w = 1.0f + u;
    /* What rounding took from w. For |u| > 1 this may itself be rounded, when the result is too large to notice. */
    float lost = u - (w - 1.0f);
    uint32_t i = vm_bits(w) - VM_TWO_THIRDS;
    int32_t e = (int32_t)i >> 23;
    /* 2^-e; at e = 128 there is no such number, and lost is 0. */
    uint32_t scale = (uint32_t)(127 - (e < 127 ? e : 126)) << 23;
    float f = vm_from_bits((i & 0x7fffffu) + VM_TWO_THIRDS) - 1.0f;
    f = vm_fma(vm_from_bits(scale), lost, f);
    float result = vm_log_reduced((float)e, f);
    result = u < VM_INFINITY ? result : u;
    result = -1.0f > u ? VM_NAN : result;
    return u == -1.0f ? -VM_INFINITY : result;
}

/* ---- circular functions --------------------------------------------------------------------------------------- */

/* pi / 2 in three parts. With FMA, u - n * high is exact: both are multiples of 2^-23 and the difference is below 1.
   Without it the parts are short enough for exact products up to |u| = 1e4. */
#if VM_HAS_FMA
#define VM_HALF_PI_1 0x1.921fb6p+0f
#define VM_HALF_PI_2 -0x1.777a5cp-25f
#define VM_HALF_PI_3 -0x1.ee59dap-50f
#else
#define VM_HALF_PI_1 1.5703125f
#define VM_HALF_PI_2 4.837512969970703125e-4f
#define VM_HALF_PI_3 7.54978995489188e-8f
#endif

/* sin(u + quarter * pi / 2). Right to 1e-7 up to |u| = 1e6 (without FMA 1e4). Beyond, the quotient is rounded more and
   more coarsely, and what is left of u after the reduction is limited so that every finite u still gives a number in
   [-1, 1]; from 1e7 on, where neighbouring floats are a unit or more apart, it means nothing. */
VM_INLINE float vm_sin_shifted(float u, uint32_t quarter) {
    float shifted = vm_fma(u, 0.636619772f, VM_ROUND);
    float n = shifted - VM_ROUND;
    float r = vm_fma(n, -VM_HALF_PI_1, u);
    r = vm_fma(n, -VM_HALF_PI_2, r);
    r = vm_fma(n, -VM_HALF_PI_3, r);
    r = 1.0f < r ? 1.0f : r;
    r = -1.0f > r ? -1.0f : r;
    float square = r * r;
    float s = vm_fma(-0x1.991c26p-13f, square, 0x1.1106c6p-7f);
    s = vm_fma(s, square, -0x1.555544p-3f);
    s = vm_fma(s, square * r, r);
    float c = vm_fma(0x1.99e714p-16f, square, -0x1.6c0c26p-10f);
    c = vm_fma(c, square, 0x1.55554ap-5f);
    c = vm_fma(c, square, -0.5f);
    c = vm_fma(c, square, 1.0f);
    uint32_t turn = vm_bits(shifted) + quarter;
    float result = (turn & 1u) ? c : s;
    return vm_from_bits(vm_bits(result) ^ ((turn & 2u) << 30));
}

VM_INLINE float vm_sin(float u) { return vm_sin_shifted(u, 0u); }

VM_INLINE float vm_cos(float u) { return vm_sin_shifted(u, 1u); }

/* ---- half types ----------------------------------------------------------------------------------------------- */

VM_INLINE float vm_load_bf16(uint16_t b) { return vm_from_bits((uint32_t)b << 16); }

/* Round to nearest, ties to even. NaN is replaced first: rounding could carry it over into a zero. */
VM_INLINE uint16_t vm_store_bf16(float u) {
    uint32_t i = vm_bits(u);
    i = u != u ? 0x7fc00000u : i;
    return (uint16_t)((i + 0x7fffu + ((i >> 16) & 1u)) >> 16);
}

/* float16 in integer arithmetic: GCC 12 does not vectorise conversions of _Float16, and a swish loop with them took
   22 ms where this takes 4 (2^22 elements, AVX-512 with its own float16 instructions). */
VM_INLINE float vm_load_f16_soft(uint16_t h) {
    uint32_t magnitude = h & 0x7fffu;
    float subnormal = (float)(int32_t)magnitude * 0x1p-24f;
    uint32_t rebias = magnitude < 0x7c00u ? 112u << 23 : 224u << 23; /* the latter for inf and NaN */
    uint32_t normal = (magnitude << 13) + rebias;
    uint32_t bits = magnitude < 0x400u ? vm_bits(subnormal) : normal;
    return vm_from_bits(bits | ((uint32_t)(h & 0x8000u) << 16));
}

VM_INLINE uint16_t vm_store_f16_soft(float u) {
    uint32_t i = vm_bits(u);
    uint32_t sign = (i >> 16) & 0x8000u;
    uint32_t magnitude = i & 0x7fffffffu;
    uint32_t normal = (magnitude + 0xfffu + ((magnitude >> 13) & 1u) - (112u << 23)) >> 13;
    /* The last bit of 0.5 is worth the last bit of a subnormal float16, so the sum rounds where it should. */
    uint32_t subnormal = vm_bits(vm_from_bits(magnitude) + 0.5f) - 0x3f000000u;
    uint32_t h = magnitude < 0x38800000u ? subnormal : normal;
    h = magnitude >= 0x47800000u ? 0x7c00u : h; /* 65536 and up; rounding has made inf of 65520 and up */
    h = magnitude > 0x7f800000u ? 0x7e00u : h;
    return (uint16_t)(h | sign);
}

/* ---- noise ---------------------------------------------------------------------------------------------------- */

/* A bijection of 32 bits from the list of C. Wellons's hash-prospector, which gives it a bias of 0.108. */
VM_INLINE uint32_t vm_mix(uint32_t h) {
    h ^= h >> 16;
    h *= 0x21f0aaadu;
    h ^= h >> 15;
    h *= 0xd35a2d97u;
    h ^= h >> 15;
    return h;
}

/* Noise in [0, 1) in steps of 2^-24, the same for the same index and seed. Two keys of the seed enter, before the first
   and before the last product: with one, the streams of two seeds would be the same numbers in another order. The keys do
   not depend on the index, so that a loop computes them once. Three products, because with two the numbers of indices
   that differ by 256 or 1024, the same place in neighbouring channels, were far from independent. */
VM_INLINE float vm_uniform(uint32_t index, uint32_t seed) {
    uint32_t first = vm_mix(seed + 0x9e3779b9u);
    uint32_t second = vm_mix(first + 0x9e3779b9u);
    uint32_t h = (index ^ first) * 0x9e3779b1u;
    h ^= h >> 15;
    h = h * 0x21f0aaadu + second;
    h ^= h >> 16;
    h *= 0xd35a2d97u;
    return (float)(int32_t)(h >> 8) * 0x1p-24f; /* signed: before AVX-512 there is no instruction for unsigned */
}

#endif
