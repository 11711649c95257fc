// A cell in registers: 16 floats as the widest vectors that the instruction set has. GCC's and Clang's vector types.
#pragma once

#include <cstdint>

#include "kernels.h"

#if defined(__AVX512F__)
#include <immintrin.h>
#endif
#if defined(PRUNEMARK_WIDTH)  // given: wider than the processor, to test the tiles of AVX-512 elsewhere
#elif defined(__AVX512F__)
#define PRUNEMARK_WIDTH 16
#elif defined(__AVX2__)
#define PRUNEMARK_WIDTH 8
#else
#define PRUNEMARK_WIDTH 4
#endif

#define UNROLL _Pragma("GCC unroll 16")

namespace prunemark {
namespace {

constexpr int WIDTH = PRUNEMARK_WIDTH;
constexpr int PARTS = LANES / WIDTH;
typedef float Floats __attribute__((vector_size(4 * WIDTH), may_alias));
typedef int32_t Ints __attribute__((vector_size(4 * WIDTH), may_alias));

struct Cell {
  Floats part[PARTS];
};

#define INLINE static inline __attribute__((always_inline))

template <class F>
INLINE Cell parts(F f) {
  Cell out;
  UNROLL for (int i = 0; i < PARTS; i++) out.part[i] = f(i);
  return out;
}

INLINE Cell load(const float* p) {
  return parts([&](int i) { return ((const Floats*)p)[i]; });
}

INLINE void store(float* p, const Cell& c) {
  UNROLL for (int i = 0; i < PARTS; i++)((Floats*)p)[i] = c.part[i];
}

// Past the caches, where the instruction set can.
INLINE void stream(float* p, const Cell& c) {
#if defined(__AVX512F__)
  _mm512_stream_ps(p, (__m512)c.part[0]);
#else
  store(p, c);
#endif
}

INLINE Cell all(float value) {
  return parts([&](int) { return value - Floats{}; });
}

INLINE Cell operator+(const Cell& a, const Cell& b) {
  return parts([&](int i) { return a.part[i] + b.part[i]; });
}
INLINE Cell operator-(const Cell& a, const Cell& b) {
  return parts([&](int i) { return a.part[i] - b.part[i]; });
}
INLINE Cell operator*(const Cell& a, const Cell& b) {
  return parts([&](int i) { return a.part[i] * b.part[i]; });
}

// a where a > b, else b: b where one of them is not a number.
INLINE Cell larger(const Cell& a, const Cell& b) {
  return parts([&](int i) { return a.part[i] > b.part[i] ? a.part[i] : b.part[i]; });
}

// max(v, 0), and not a number where v is not.
INLINE Cell relu(const Cell& v) { return larger(all(0), v); }

// v where the condition's bits are 1, else 0.
struct Bits {
  Ints part[PARTS];
};
INLINE Cell where(const Bits& condition, const Cell& v) {
  return parts([&](int i) { return (Floats)((Ints)v.part[i] & condition.part[i]); });
}
INLINE Bits positive(const Cell& v) {
  Bits out;
  UNROLL for (int i = 0; i < PARTS; i++) out.part[i] = v.part[i] > Floats{};
  return out;
}
INLINE Bits first_lanes(int lanes) {
  Bits out;
  for (int i = 0; i < PARTS; i++)
    for (int j = 0; j < WIDTH; j++) out.part[i][j] = i * WIDTH + j < lanes ? -1 : 0;
  return out;
}

INLINE float lane_sum(const Cell& c) {
  Floats total = c.part[0];
  UNROLL for (int i = 1; i < PARTS; i++) total += c.part[i];
  float sum = 0;
  UNROLL for (int j = 0; j < WIDTH; j++) sum += total[j];
  return sum;
}

// e^v for v <= 0, to about 1e-7 relative.
INLINE Cell exponential(const Cell& v) {
  return parts([&](int i) {
    Floats x = v.part[i];
    x = x < Floats{} - 87.0f ? Floats{} - 87.0f : x;  // not a number stays so
    const float magic = 12582912.0f;  // 1.5 * 2^23: adding it rounds to a whole number
    const Floats shifted = x * 1.44269504f + magic;
    const Floats whole = shifted - magic;
    const Floats r = (x - whole * 0.693359375f) + whole * 2.12194440e-4f;
    Floats p = r * 1.9875691500e-4f + 1.3981999507e-3f;
    p = p * r + 8.3334519073e-3f;
    p = p * r + 4.1665795894e-2f;
    p = p * r + 1.6666665459e-1f;
    p = p * r + 5.0000001201e-1f;
    p = p * r * r + r + 1.0f;
    const Ints power = ((Ints)shifted - (Ints)(Floats{} + magic) + 127) << 23;
    return p * (Floats)power;
  });
}

}  // namespace
}  // namespace prunemark
