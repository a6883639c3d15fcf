// SPDX-License-Identifier: GPL-2.0-only
/*
 * What all models take together. Charged before a page is allocated, so that
 * the limit is never overshot, also not by many loaders at once.
 */
#include <linux/math64.h>
#include <linux/mm.h>
#include <linux/module.h>

#include "llmos.h"

static unsigned int memory_percent = 80;
module_param(memory_percent, uint, 0444);
MODULE_PARM_DESC(memory_percent, "Initial limit of all models together, in percent of memory (default 80)");

static atomic64_t memory_max;
static atomic64_t memory_current;
static atomic64_t memory_peak;

u64 llmos_memory_max(void)
{
	return atomic64_read(&memory_max);
}

u64 llmos_memory_current(void)
{
	return atomic64_read(&memory_current);
}

u64 llmos_memory_peak(void)
{
	return atomic64_read(&memory_peak);
}

/* A limit below what is in use refuses new models; it takes nothing away. */
void llmos_memory_set_max(u64 bytes)
{
	atomic64_set(&memory_max, bytes);
}

static void memory_note_peak(s64 now)
{
	s64 peak = atomic64_read(&memory_peak);

	while (now > peak && !atomic64_try_cmpxchg(&memory_peak, &peak, now))
		;
}

static bool memory_try_charge(s64 bytes)
{
	s64 now = atomic64_read(&memory_current);

	do {
		if (bytes > atomic64_read(&memory_max) - now)
			return false;
	} while (!atomic64_try_cmpxchg(&memory_current, &now, now + bytes));
	memory_note_peak(now + bytes);
	return true;
}

/* Would it fit if everything idle went? */
static bool memory_could_fit(u64 bytes)
{
	s64 room = llmos_memory_max() - llmos_memory_current() + llmos_evict_possible();

	return (s64)bytes <= room;
}

/* Idle evictable models make room, but not for what would not fit even then. */
int llmos_memory_charge(u64 bytes)
{
	while (!memory_try_charge(bytes))
		if (!memory_could_fit(bytes) || !llmos_evict_idle())
			return -EDQUOT;
	return 0;
}

void llmos_memory_uncharge(u64 bytes)
{
	atomic64_sub(bytes, &memory_current);
}

int llmos_memory_init(void)
{
	u64 total = (u64)totalram_pages() << PAGE_SHIFT;

	if (memory_percent > 100) {
		pr_err("llmos: memory_percent=%u: must be 0 to 100\n", memory_percent);
		return -EINVAL;
	}
	llmos_memory_set_max(div_u64(total, 100) * memory_percent);
	return 0;
}
