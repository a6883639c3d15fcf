// SPDX-License-Identifier: GPL-2.0-only
/* /sys/fs/llmos/lanes: what holds for the turns of every device. */
#include <linux/kobject.h>
#include <linux/kstrtox.h>
#include <linux/sysfs.h>

#include "lane.h"
#include "llmos.h"

struct llmos_knobs llmos_knobs = {
	.slice_ns = 50 * NSEC_PER_MSEC,
	.claim_ns = 2 * NSEC_PER_SEC,
	.stall_ns = 30 * NSEC_PER_SEC,
	.wait_max_ns = 10 * NSEC_PER_SEC,
	.lanes_max = 100000,
};

static struct kobject *lanes_kobj;

/* A value in the file's unit, kept in another. */
struct knob {
	struct kobj_attribute attr;
	u64 *value;
	u64 unit;
	u64 min;
	u64 max;
};

static struct knob *knob_of(struct kobj_attribute *attr)
{
	return container_of(attr, struct knob, attr);
}

static ssize_t knob_show(struct kobject *kobj, struct kobj_attribute *attr, char *buf)
{
	struct knob *knob = knob_of(attr);

	return sysfs_emit(buf, "%llu\n", div64_u64(READ_ONCE(*knob->value), knob->unit));
}

static ssize_t knob_store(struct kobject *kobj, struct kobj_attribute *attr, const char *buf,
			  size_t size)
{
	struct knob *knob = knob_of(attr);
	u64 value;

	if (kstrtou64(buf, 0, &value) || value < knob->min || value > knob->max)
		return -EINVAL;
	WRITE_ONCE(*knob->value, value * knob->unit);
	return size;
}

#define KNOB(file, field, scale, least, most) {					\
	.attr = { .attr = { .name = file, .mode = 0644 },			\
		  .show = knob_show, .store = knob_store },			\
	.value = &llmos_knobs.field, .unit = scale, .min = least, .max = most	\
}

static struct knob knobs[] = {
	KNOB("slice_us", slice_ns, NSEC_PER_USEC, 100, 10 * USEC_PER_SEC),
	KNOB("claim_ms", claim_ns, NSEC_PER_MSEC, 1, 60 * MSEC_PER_SEC),
	KNOB("stall_ms", stall_ns, NSEC_PER_MSEC, 1, 3600 * MSEC_PER_SEC),
	KNOB("wait_max_ms", wait_max_ns, NSEC_PER_MSEC, 1, 3600 * MSEC_PER_SEC),
	KNOB("max", lanes_max, 1, 0, 10 * 1000 * 1000),
};

static ssize_t current_show(struct kobject *kobj, struct kobj_attribute *attr, char *buf)
{
	return sysfs_emit(buf, "%llu\n", llmos_lane_count());
}

/* Not by __ATTR(), which would expand "current". */
static struct kobj_attribute current_attr = {
	.attr = { .name = "current", .mode = 0444 },
	.show = current_show,
};

/* Removing the directory removes its files. */
int llmos_knobs_init(void)
{
	size_t i;
	int ret;

	lanes_kobj = kobject_create_and_add("lanes", llmos_kobj);
	if (!lanes_kobj)
		return -ENOMEM;
	ret = sysfs_create_file(lanes_kobj, &current_attr.attr);
	for (i = 0; !ret && i < ARRAY_SIZE(knobs); i++) {
		sysfs_attr_init(&knobs[i].attr.attr);
		ret = sysfs_create_file(lanes_kobj, &knobs[i].attr.attr);
	}
	if (ret)
		kobject_put(lanes_kobj);
	return ret;
}

void llmos_knobs_exit(void)
{
	kobject_put(lanes_kobj);
}
