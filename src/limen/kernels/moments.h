/* Mean and deviation of a sample in one pass over memory. T and LOAD are its element type and how to read one; SPAN and
   smaller are those of the source that includes this. */

typedef struct { double total, centre, spread; } moments;

/* The mean of a span, and the sum of squares about it. No square of a large mean is ever taken from a square of the
   same size. */
static void moments_of_span(const T *restrict span, int64_t m, double *mean, double *spread) {
  const float one = LOAD(span[0]);
  const int64_t q = m / 4;
  /* Four sums at a time: one would wait four cycles for each addition. */
  float s0 = 0, s1 = 0, s2 = 0, s3 = 0;
  int differs = 0;
  #pragma omp simd reduction(+:s0,s1,s2,s3) reduction(|:differs)
  for (int64_t i = 0; i < q; i++) {
    const float a = LOAD(span[i]), b = LOAD(span[q + i]), c = LOAD(span[2 * q + i]), d = LOAD(span[3 * q + i]);
    s0 += a; s1 += b; s2 += c; s3 += d;
    differs |= (a != one) | (b != one) | (c != one) | (d != one);
  }
  for (int64_t i = 4 * q; i < m; i++) { s0 += LOAD(span[i]); differs |= LOAD(span[i]) != one; }
  /* A constant span has its value as mean, to the last bit, and so no spread. */
  const float about = differs ? ((s0 + s1) + (s2 + s3)) / (float)m : one;
  float f0 = 0, f1 = 0, v0 = 0, v1 = 0;
  #pragma omp simd reduction(+:f0,f1,v0,v1)
  for (int64_t i = 0; i < 2 * q; i++) {
    const float a = LOAD(span[i]) - about, b = LOAD(span[2 * q + i]) - about;
    f0 += a; f1 += b; v0 += a * a; v1 += b * b;
  }
  for (int64_t i = 4 * q; i < m; i++) { const float a = LOAD(span[i]) - about; f0 += a; v0 += a * a; }
  double first = (double)f0 + (double)f1, second = (double)v0 + (double)v1;
  if (!(second < (double)VM_INFINITY)) { /* squares beyond float32: once more in doubles */
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
