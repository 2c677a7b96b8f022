/* The noise stream splitmix64-boxmuller-1 (docs/embedding.md), in C11 and C++.
 *
 * uint64_t wraps at 2^64, which is what the stream wants.
 */
#ifndef DRAW_NOISE_H
#define DRAW_NOISE_H

#include <errno.h>
#include <math.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>

/* Output m of SplitMix64. */
static inline uint64_t raw(uint64_t seed, uint64_t m) {
  uint64_t x = seed + (m + 1) * UINT64_C(0x9E3779B97F4A7C15);
  x = (x ^ (x >> 30)) * UINT64_C(0xBF58476D1CE4E5B9);
  x = (x ^ (x >> 27)) * UINT64_C(0x94D049BB133111EB);
  return x ^ (x >> 31);
}

/* In (0, 1]. The integer becomes a double before 1/2 is added. */
static inline double uniform(uint64_t integer) { return ((double)(integer >> 11) + 0.5) * 0x1p-53; }

/* Element n of the stream; picture k has elements k*T*Z .. (k + 1)*T*Z - 1. */
static inline float noise_value(uint64_t seed, uint64_t n) {
  const double two_pi = 6.283185307179586;
  double radius = sqrt(-2.0 * log(uniform(raw(seed, 2 * n))));
  return (float)(radius * cos(two_pi * uniform(raw(seed, 2 * n + 1))));
}

/* FNV-1a-64 over the eight bytes of an integer, lowest first. */
static inline uint64_t fnv1a64(uint64_t hash, uint64_t integer) {
  for (int shift = 0; shift < 64; shift += 8) {
    hash = (hash ^ ((integer >> shift) & 0xFF)) * UINT64_C(0x100000001B3);
  }
  return hash;
}

/* A whole number 0 .. 2^64 - 1, or false; strtoull alone would take "-1" and "7x". */
static inline bool parse_whole(const char *text, uint64_t *number) {
  char *end;
  errno = 0;
  *number = strtoull(text, &end, 10);
  return text[0] >= '0' && text[0] <= '9' && !*end && !errno;
}

/* What the noise is multiplied by, 0 .. 10, as the nearest float32, or false. */
static inline bool parse_temperature(const char *text, float *temperature) {
  char *end;
  double value = strtod(text, &end);
  if (end == text || *end || !(value >= 0 && value <= 10)) return false;
  *temperature = (float)value;
  return true;
}

#endif
