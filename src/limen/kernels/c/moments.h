/* Mean and deviation of a sample in one pass over memory. The element type T and everything else that is not defined
   here is of the source that includes this. */

typedef struct { double total, centre, spread; } moments;

/* Sums over a span of the deviations from a number, and of their squares. */
static inline void deviations_of_span(
    const T *restrict span, int64_t m, const float about, double *first, double *second) {
  const int64_t whole = m / GROUP * GROUP;
  float f[LANES] = {0}, v[LANES] = {0};
  for (int64_t i = 0; i < whole; i += GROUP) {
    AHEAD(span + i, GROUP, 0);
    #pragma omp simd
    for (int j = 0; j < LANES; j++) {
      const T *at = span + i + j;
      const float a = LOAD(at[0]) - about, b = LOAD(at[LANES]) - about;
      const float c = LOAD(at[2 * LANES]) - about, d = LOAD(at[3 * LANES]) - about;
      f[j] += (a + b) + (c + d);
      v[j] += (a * a + b * b) + (c * c + d * d);
    }
  }
  for (int64_t i = whole; i < m; i += LANES) {
    #pragma omp simd
    for (int j = 0; j < smaller(LANES, m - i); j++) {
      const float a = LOAD(span[i + j]) - about;
      f[j] += a;
      v[j] += a * a;
    }
  }
  *first = sum_of_lanes(f);
  *second = sum_of_lanes(v);
}

/* The mean of a span, and the sum of squares about it: in one pass from a number near the mean, the mean of the first few
   values. Where that turns out to lie more than two deviations off, there is a second pass from the mean, so that no
   square of a large mean is ever taken from a square of the same size. A constant span has its value as mean, to the
   last bit, and so no spread. */
static void moments_of_span(const T *restrict span, int64_t m, double *mean, double *spread) {
  float about = LOAD(span[0]);
  if (m >= 8) {
    about *= 0.125f; /* eighths of a number add up to it exactly */
    for (int j = 1; j < 8; j++) about += 0.125f * LOAD(span[j]);
  }
  double first, second;
  deviations_of_span(span, m, about, &first, &second);
  if (!(first * first <= 0.8 * (double)m * second)) {
    const float nearer = (float)((double)about + first / (double)m);
    if (nearer - nearer == 0) { /* finite */
      about = nearer;
      deviations_of_span(span, m, about, &first, &second);
    }
  }
  /* Squares beyond float32, or so small that they vanish: once more in doubles. */
  if (!(second < (double)VM_INFINITY) || (first != 0 && second < 1e-30 * (double)m)) {
    first = second = 0;
    for (int64_t i = 0; i < m; i++) {
      const double a = (double)LOAD(span[i]) - (double)about;
      first += a; second += a * a;
    }
  }
  const double own = second - first * first / (double)m;
  *mean = (double)about + first / (double)m;
  *spread = own < 0 ? 0 : own;
}

/* Spans are joined exactly, in memory order (Chan et al. 1979). */
static inline void join(moments *all, int64_t m, double mean, double spread) {
  const double apart = mean - all->centre, joined = all->total + (double)m;
  all->spread += spread + (all->total > 0 ? apart * apart * all->total * (double)m / joined : 0);
  all->centre += all->total > 0 ? apart * (double)m / joined : mean;
  all->total = joined;
}

static inline void finish(const moments *all, float *statistics) {
  statistics[0] = (float)all->centre;
  statistics[1] = (float)__builtin_sqrt(all->total > 0 ? all->spread / all->total : 0);
}
