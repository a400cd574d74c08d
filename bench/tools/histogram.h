/* SPDX-License-Identifier: Apache-2.0 */
#ifndef BENCH_HISTOGRAM_H
#define BENCH_HISTOGRAM_H

#include <stdint.h>
#include <stdio.h>

/*
 * Counts of durations in ns, each to better than 0.1%: values below 2^11 have a
 * bucket each, and every doubling above has 2^10.
 */
#define HISTOGRAM_BITS    10
#define HISTOGRAM_HALF    (1u << HISTOGRAM_BITS)
#define HISTOGRAM_SHIFTS  28 /* up to 2^38 ns, 4 minutes */
#define HISTOGRAM_BUCKETS ((HISTOGRAM_SHIFTS + 1) * HISTOGRAM_HALF)

struct histogram {
	uint64_t counts[HISTOGRAM_BUCKETS];
};

static inline unsigned histogram_index(uint64_t ns)
{
	const uint64_t most = ((uint64_t)1 << (HISTOGRAM_BITS + HISTOGRAM_SHIFTS)) - 1;
	unsigned shift;

	if (ns > most)
		ns = most;
	if (ns < 2 * HISTOGRAM_HALF)
		return (unsigned)ns;
	shift = 63 - (unsigned)__builtin_clzll(ns) - HISTOGRAM_BITS;
	return shift * HISTOGRAM_HALF + (unsigned)(ns >> shift);
}

/* The middle of a bucket. */
static inline uint64_t histogram_value(unsigned index)
{
	unsigned shift;

	if (index < 2 * HISTOGRAM_HALF)
		return index;
	shift = index / HISTOGRAM_HALF - 1;
	return ((uint64_t)(index - shift * HISTOGRAM_HALF) << shift) +
	       ((uint64_t)1 << shift) / 2;
}

static inline void histogram_record(struct histogram *h, uint64_t ns)
{
	h->counts[histogram_index(ns)]++;
}

/* As JSON: [[value, count], ...]. */
static inline void histogram_print(const struct histogram *h)
{
	const char *sep = "";

	putchar('[');
	for (unsigned i = 0; i < HISTOGRAM_BUCKETS; i++)
		if (h->counts[i]) {
			printf("%s[%llu,%llu]", sep,
			       (unsigned long long)histogram_value(i),
			       (unsigned long long)h->counts[i]);
			sep = ",";
		}
	putchar(']');
}

#endif
