/* Small samples, many at a time: a tile has one sample a lane and one element a row, so that what is computed for a
   sample is the same whichever others stand beside it. The element type T and everything else that is not defined here is
   of the source that includes this. */

#define LEAST 1e-30f /* a mean square below which squares may vanish */
#define ROOM ((FEW + SIDE) * WIDE)

/* The widest vectors whose elements change places within a register. */
#if defined(__AVX512F__)
#define SIDE 16
#elif defined(__AVX__)
#define SIDE 8
#else
#define SIDE 4
#endif

/* Samples in a tile: two of those vectors, so that sums over a sample's elements are two chains. */
#if SIDE == 16
#define WIDE 32
#else
#define WIDE 16
#endif

typedef float side __attribute__((vector_size(SIDE * sizeof(float)), aligned(sizeof(float)), may_alias));

#if defined(__has_builtin)
#if __has_builtin(__builtin_shufflevector)
#define TURNS 1
#endif
#endif

#ifdef TURNS
/* Of two rows of a square: exchange those elements that stand across its diagonal, single ones, pairs, fours, eights. */
#if SIDE == 16
#define PLACES(f, s) f(0, s), f(1, s), f(2, s), f(3, s), f(4, s), f(5, s), f(6, s), f(7, s), f(8, s), f(9, s), \
  f(10, s), f(11, s), f(12, s), f(13, s), f(14, s), f(15, s)
#elif SIDE == 8
#define PLACES(f, s) f(0, s), f(1, s), f(2, s), f(3, s), f(4, s), f(5, s), f(6, s), f(7, s)
#else
#define PLACES(f, s) f(0, s), f(1, s), f(2, s), f(3, s)
#endif
#define FIRST(l, s) ((l) & (s) ? SIDE + (l) - (s) : (l))
#define SECOND(l, s) ((l) & (s) ? SIDE + (l) : (l) + (s))
#define EXCHANGE(s) \
  for (int i = 0; i < SIDE; i++) \
    if (!(i & (s))) { \
      const side a = rows[i], b = rows[i + (s)]; \
      rows[i] = __builtin_shufflevector(a, b, PLACES(FIRST, s)); \
      rows[i + (s)] = __builtin_shufflevector(a, b, PLACES(SECOND, s)); \
    }
#endif

/* A square whose rows lie `across` apart, its rows written as columns. */
static inline __attribute__((always_inline)) void turn_square(
    const float *from, int64_t across, float *to, int64_t apart) {
#ifdef TURNS
  side rows[SIDE];
  _Pragma("GCC unroll 16") for (int i = 0; i < SIDE; i++) rows[i] = *(const side *)(from + i * across);
#if SIDE > 8
  _Pragma("GCC unroll 16") EXCHANGE(8)
#endif
#if SIDE > 4
  _Pragma("GCC unroll 16") EXCHANGE(4)
#endif
  _Pragma("GCC unroll 16") EXCHANGE(2)
  _Pragma("GCC unroll 16") EXCHANGE(1)
  _Pragma("GCC unroll 16") for (int i = 0; i < SIDE; i++) *(side *)(to + i * apart) = rows[i];
#else
  float rows[SIDE * SIDE];
  for (int i = 0; i < SIDE * SIDE; i++) rows[i] = from[i / SIDE * across + i % SIDE];
  for (int i = 0; i < SIDE * SIDE; i++) to[i / SIDE * apart + i % SIDE] = rows[i % SIDE * SIDE + i / SIDE];
#endif
}

/* Ask for so much of the next tile's memory as one row of this one is: all of it at once is more than a processor fetches
   at a time, and its own prefetching ends where a tile does. */
#define NEXT(place, row, write) \
  for (uintptr_t at_ = 0; at_ < WIDE * sizeof *(place); at_ += 64) \
    __builtin_prefetch((const void *)((uintptr_t)((place) + (row) * WIDE) + at_), write)

/* Samples as a tile; lanes without a sample are 0. Where squares would read past the last of all, and where the type is
   another, by way of room, where they lie as they did. Room and tile have space for SIDE rows more. */
static inline void take(
    const T *restrict from, int64_t samples, int64_t n, int is_last, float *restrict room, float *restrict tile) {
  const float *rows = (const float *)from;
  if (sizeof(T) != sizeof(float) || n == 1 || samples < WIDE || (is_last && n % SIDE)) {
    float *to = n == 1 ? tile : room;
    for (int64_t i = 0; i < samples * n; i++) to[i] = LOAD(from[i]);
    for (int64_t i = samples * n; i < WIDE * n; i++) to[i] = 0;
    if (n == 1) return;
    rows = room;
  }
  for (int64_t e = 0; e < n; e += SIDE)
    for (int j = 0; j < WIDE; j += SIDE) turn_square(rows + j * n + e, n, tile + e * WIDE + j, WIDE);
}

/* The samples of a tile as they lie in memory. What a square writes past its samples' ends others overwrite, so that such
   squares need the room. */
static inline void give(const float *restrict tile, int64_t samples, int64_t n, float *restrict room, T *restrict to) {
  const int at_once = sizeof(T) == sizeof(float) && samples == WIDE && n % SIDE == 0;
  const float *from = n == 1 ? tile : room;
  float *rows = at_once ? (float *)to : room;
  if (n > 1)
    for (int j = 0; j < WIDE; j += SIDE)
      for (int64_t e = (n - 1) / SIDE * SIDE; e >= 0; e -= SIDE)
        turn_square(tile + e * WIDE + j, WIDE, rows + j * n + e, n);
  if (!at_once)
    for (int64_t i = 0; i < samples * n; i++) to[i] = STORE(from[i]);
}

/* A sample of a tile whose squares do not fit float32, in doubles. */
static APART void moments_in_doubles(const float *tile, int64_t n, float *mean, float *deviation) {
  double sum = 0, spread = 0;
  for (int64_t e = 0; e < n; e++) sum += (double)tile[e * WIDE];
  const double centre = sum / (double)n;
  for (int64_t e = 0; e < n; e++) {
    const double a = (double)tile[e * WIDE] - centre;
    spread += a * a;
  }
  *mean = (float)centre;
  *deviation = (float)__builtin_sqrt(spread / (double)n);
}

/* Mean and deviation of each sample of a tile: the mean from the first value on, so that a constant sample has that to the
   last bit, then squares about the mean. A sample of one value deviates by 0. */
static APART void moments_of_tile(const float *restrict tile, int64_t n, float *restrict mean, float *restrict deviation) {
  const double part = 1 / (double)n;
  float about[WIDE], first[WIDE] = {0}, second[WIDE] = {0};
  if (n == 1) {
    for (int j = 0; j < WIDE; j++) {
      mean[j] = tile[j];
      deviation[j] = tile[j] - tile[j]; /* NaN where there is no such mean */
    }
    return;
  }
  for (int64_t e = 1; e < n; e++) {
    #pragma omp simd
    for (int j = 0; j < WIDE; j++) first[j] += tile[e * WIDE + j] - tile[j];
  }
  #pragma omp simd
  for (int j = 0; j < WIDE; j++) {
    about[j] = tile[j] + first[j] / (float)n;
    first[j] = 0;
  }
  for (int64_t e = 0; e < n; e++) {
    #pragma omp simd
    for (int j = 0; j < WIDE; j++) {
      const float a = tile[e * WIDE + j] - about[j];
      first[j] += a;
      second[j] += a * a;
    }
  }
  int beyond = 0;
  #pragma omp simd reduction(|:beyond)
  for (int j = 0; j < WIDE; j++) {
    const double own = (double)second[j] - (double)first[j] * (double)first[j] * part;
    mean[j] = (float)((double)about[j] + (double)first[j] * part);
    deviation[j] = __builtin_sqrtf((float)((own < 0 ? 0 : own) * part));
    beyond |= !(second[j] < VM_INFINITY) | (second[j] < LEAST * (float)n);
  }
  if (!beyond) return;
  int uneven[WIDE] = {0}; /* constant samples, such as all zeros, are right as they are */
  for (int64_t e = 1; e < n; e++) {
    #pragma omp simd
    for (int j = 0; j < WIDE; j++) uneven[j] |= tile[e * WIDE + j] != tile[j];
  }
  for (int j = 0; j < WIDE; j++)
    if (uneven[j] && !(second[j] >= LEAST * (float)n && second[j] < VM_INFINITY))
      moments_in_doubles(tile + j, n, mean + j, deviation + j);
}

/* Slopes become gradients: with what mean and deviation hand on to each element, by the sums of each sample. */
static inline void tilt(
    float *restrict slopes, const float *restrict tile, int64_t n, const float *restrict mean,
    const float *restrict deviation, const double *restrict handed) {
  const double part = 1 / (double)n;
  float level[WIDE], slope[WIDE];
  for (int j = 0; j < WIDE; j++) {
    level[j] = (float)(handed[j] * part);
    slope[j] = deviation[j] == 0 ? 0 : (float)(handed[WIDE + j] * part / (double)deviation[j]);
  }
  for (int64_t e = 0; e < n; e++) {
    #pragma omp simd
    for (int j = 0; j < WIDE; j++)
      slopes[e * WIDE + j] += level[j] + slope[j] * (tile[e * WIDE + j] - mean[j]);
  }
}

/* What is left of samples of one value as a whole vector, so that they are computed as all others are. */
static inline void last(const T *from, int64_t n, T *to) {
  for (int64_t j = 0; j < LANES; j++) to[j] = from[j < n ? j : 0];
}
