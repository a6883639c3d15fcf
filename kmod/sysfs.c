// SPDX-License-Identifier: GPL-2.0-only
/* /sys/fs/llmos: limits of the whole module, and where its filesystems are mounted. */
#include <linux/ctype.h>
#include <linux/fs.h>
#include <linux/kobject.h>
#include <linux/kstrtox.h>
#include <linux/string.h>
#include <linux/sysfs.h>

#include "llmos.h"

#define MODELS_MAX	1000000

struct kobject *llmos_kobj;

static ssize_t version_show(struct kobject *kobj, struct kobj_attribute *attr, char *buf)
{
	return sysfs_emit(buf, "%s\n", LLMOS_VERSION);
}

static ssize_t memory_max_show(struct kobject *kobj, struct kobj_attribute *attr, char *buf)
{
	u64 max = llmos_memory_max();

	return max == S64_MAX ? sysfs_emit(buf, "max\n") : sysfs_emit(buf, "%llu\n", max);
}

/* Like memparse(), but says when a number is too large. */
int llmos_parse_bytes(const char *text, u64 *bytes)
{
	static const char units[] = "KMGTPE";
	size_t digits = strspn(text, "0123456789");
	const char *unit;
	char number[24];

	if (sysfs_streq(text, "max")) {
		*bytes = S64_MAX;
		return 0;
	}
	if (!digits || digits >= sizeof(number))
		return -EINVAL;
	strscpy(number, text, digits + 1);
	if (kstrtou64(number, 10, bytes))
		return -EINVAL;
	text += digits;
	unit = *text ? strchr(units, toupper(*text)) : NULL;
	if (unit) {
		if (*bytes > S64_MAX >> (10 * (unit - units + 1)))
			return -EINVAL;
		*bytes <<= 10 * (unit - units + 1);
		text++;
	}
	return *bytes > S64_MAX || !sysfs_streq(text, "") ? -EINVAL : 0;
}

static ssize_t memory_max_store(struct kobject *kobj, struct kobj_attribute *attr, const char *buf,
				size_t size)
{
	u64 max;

	if (llmos_parse_bytes(buf, &max))
		return -EINVAL;
	llmos_memory_set_max(max);
	return size;
}

static ssize_t memory_current_show(struct kobject *kobj, struct kobj_attribute *attr, char *buf)
{
	return sysfs_emit(buf, "%llu\n", llmos_memory_current());
}

static ssize_t memory_peak_show(struct kobject *kobj, struct kobj_attribute *attr, char *buf)
{
	return sysfs_emit(buf, "%llu\n", llmos_memory_peak());
}

static ssize_t models_max_show(struct kobject *kobj, struct kobj_attribute *attr, char *buf)
{
	return sysfs_emit(buf, "%u\n", llmos_models_max());
}

static ssize_t models_max_store(struct kobject *kobj, struct kobj_attribute *attr, const char *buf,
				size_t size)
{
	unsigned int count;

	if (kstrtouint(buf, 10, &count) || count > MODELS_MAX)
		return -EINVAL;
	llmos_models_set_max(count);
	return size;
}

static struct kobj_attribute version_attr = __ATTR_RO(version);
static struct kobj_attribute memory_max_attr =
	__ATTR(memory.max, 0644, memory_max_show, memory_max_store);
/* Not by __ATTR(), which would expand "current". */
static struct kobj_attribute memory_current_attr = {
	.attr = { .name = "memory.current", .mode = 0444 },
	.show = memory_current_show,
};
static struct kobj_attribute memory_peak_attr =
	__ATTR(memory.peak, 0444, memory_peak_show, NULL);

static struct kobj_attribute models_max_attr =
	__ATTR(models.max, 0644, models_max_show, models_max_store);

static const struct attribute *llmos_attrs[] = {
	&version_attr.attr,
	&memory_max_attr.attr,
	&memory_current_attr.attr,
	&memory_peak_attr.attr,
	&models_max_attr.attr,
	NULL,
};

int llmos_sysfs_init(void)
{
	int ret;

	llmos_kobj = kobject_create_and_add("llmos", fs_kobj);
	if (!llmos_kobj)
		return -ENOMEM;
	ret = sysfs_create_files(llmos_kobj, llmos_attrs);
	if (!ret)
		ret = sysfs_create_mount_point(llmos_kobj, "models");
	if (!ret)
		ret = sysfs_create_mount_point(llmos_kobj, "groups");
	if (ret)
		kobject_put(llmos_kobj);
	return ret;
}

void llmos_sysfs_exit(void)
{
	sysfs_remove_mount_point(llmos_kobj, "groups");
	sysfs_remove_mount_point(llmos_kobj, "models");
	sysfs_remove_files(llmos_kobj, llmos_attrs);
	kobject_put(llmos_kobj);
}
