/* Work that threads share, on torch's own: by the entry points of its OpenMP runtime rather than by a pragma, which each
   compiler turns into calls of a runtime of its own. Whoever loads a library sets the entry points; where they are not
   set, or a caller asks for one thread, the work is done where it is asked for. Which thread does what follows from the
   numbers alone, as with schedule(static). */

typedef struct {
  void (*parallel)(void (*run)(void *), void *given, unsigned threads, unsigned flags);
  int (*number)(void), (*threads)(void); /* of the thread that asks, and how many there are with it */
} entry_points;

/* Weak: one for all kernels in a library. */
EXPORT __attribute__((weak)) entry_points limen_threads;

typedef void work(const void *given, int64_t begin, int64_t end);
typedef struct { work *run; const void *given; int64_t count; } shared_work;

static void own_share(void *given) {
  const shared_work *all = given;
  const int64_t threads = limen_threads.threads(), number = limen_threads.number();
  const int64_t each = all->count / threads, more = all->count % threads;
  const int64_t begin = number * each + smaller(number, more);
  all->run(all->given, begin, begin + each + (number < more));
}

/* Any number of threads may say so. */
#define FAIL(failed) __atomic_store_n(failed, 1, __ATOMIC_RELAXED)

static APART void share(int threads, int64_t count, work *run, const void *given) {
  if (threads > 1 && limen_threads.parallel) {
    shared_work all = {run, given, count};
    limen_threads.parallel(own_share, &all, (unsigned)threads, 0);
  } else {
    run(given, 0, count);
  }
}
