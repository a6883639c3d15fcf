// SPDX-License-Identifier: GPL-2.0-only
/*
 * The control files of a group. One line for each device, "ID VALUE": those of
 * memory as in dmem.max, those of time as in io.weight, cpu.max and io.stat.
 * Reading makes no group: what nobody has used or limited has the defaults.
 */
#include <linux/cgroup.h>
#include <linux/dcache.h>
#include <linux/fs.h>
#include <linux/kstrtox.h>
#include <linux/mutex.h>
#include <linux/seq_file.h>
#include <linux/slab.h>
#include <linux/string.h>
#include <linux/uaccess.h>

#include "llmos.h"
#include "control.h"
#include "device.h"
#include "group.h"

#define PERIOD_MIN_US	1000
#define PERIOD_MAX_US	1000000
#define QUOTA_MIN_US	1000
#define WRITE_MAX	4096

/* Outside of llmos_groups_lock; makes quota and period one setting. */
static DEFINE_MUTEX(config_mutex);

/* ---- showing ---- */

/* One line: @gd is NULL where nothing has happened yet. */
typedef void (*show_line)(struct seq_file *seq, const struct llmos_group_device *gd);

static int show_lines(struct seq_file *seq, struct cgroup *cgroup, show_line show)
{
	struct llmos_group *group = llmos_group_find(cgroup_id(cgroup));
	struct llmos_device *device = NULL;

	while ((device = llmos_device_next(device))) {
		seq_puts(seq, device->id);
		show(seq, group ? llmos_group_device_peek(group, device) : NULL);
		seq_putc(seq, '\n');
	}
	llmos_group_put(group);
	return 0;
}

static void put_bytes(struct seq_file *seq, u64 bytes)
{
	if (bytes == S64_MAX)
		seq_puts(seq, " max");
	else
		seq_printf(seq, " %llu", bytes);
}

static u64 count(const atomic64_t *counter)
{
	return atomic64_read(counter);
}

static void line_memory_max(struct seq_file *seq, const struct llmos_group_device *gd)
{
	put_bytes(seq, gd ? READ_ONCE(gd->memory_max) : S64_MAX);
}

static void line_memory_low(struct seq_file *seq, const struct llmos_group_device *gd)
{
	put_bytes(seq, gd ? READ_ONCE(gd->memory_low) : 0);
}

static void line_memory_current(struct seq_file *seq, const struct llmos_group_device *gd)
{
	put_bytes(seq, gd ? count(&gd->memory_current) : 0);
}

static void line_memory_peak(struct seq_file *seq, const struct llmos_group_device *gd)
{
	put_bytes(seq, gd ? count(&gd->memory_peak) : 0);
}

static void line_memory_events(struct seq_file *seq, const struct llmos_group_device *gd)
{
	seq_printf(seq, " low=%llu max=%llu", gd ? count(&gd->memory_events_low) : 0,
		   gd ? count(&gd->memory_events_max) : 0);
}

static void line_time_max(struct seq_file *seq, const struct llmos_group_device *gd)
{
	u64 quota = gd ? READ_ONCE(gd->time_quota_us) : U64_MAX;
	u64 period = gd ? READ_ONCE(gd->time_period_us) : LLMOS_PERIOD_DEFAULT_US;

	if (quota == U64_MAX)
		seq_printf(seq, " max %llu", period);
	else
		seq_printf(seq, " %llu %llu", quota, period);
}

static void line_time_stat(struct seq_file *seq, const struct llmos_group_device *gd)
{
	if (!gd) {
		seq_puts(seq, " usage_usec=0 turns=0 nr_periods=0 nr_throttled=0 throttled_usec=0");
		return;
	}
	seq_printf(seq, " usage_usec=%llu turns=%llu nr_periods=%llu nr_throttled=%llu throttled_usec=%llu",
		   div_u64(count(&gd->time_usage_ns), NSEC_PER_USEC), count(&gd->time_turns),
		   count(&gd->time_periods), count(&gd->time_throttled),
		   div_u64(count(&gd->time_throttled_ns), NSEC_PER_USEC));
}

static int show_memory_max(struct seq_file *seq, struct cgroup *cgroup)
{
	return show_lines(seq, cgroup, line_memory_max);
}

static int show_memory_low(struct seq_file *seq, struct cgroup *cgroup)
{
	return show_lines(seq, cgroup, line_memory_low);
}

static int show_memory_current(struct seq_file *seq, struct cgroup *cgroup)
{
	return show_lines(seq, cgroup, line_memory_current);
}

static int show_memory_peak(struct seq_file *seq, struct cgroup *cgroup)
{
	return show_lines(seq, cgroup, line_memory_peak);
}

static int show_memory_events(struct seq_file *seq, struct cgroup *cgroup)
{
	return show_lines(seq, cgroup, line_memory_events);
}

static int show_time_max(struct seq_file *seq, struct cgroup *cgroup)
{
	return show_lines(seq, cgroup, line_time_max);
}

static int show_time_stat(struct seq_file *seq, struct cgroup *cgroup)
{
	return show_lines(seq, cgroup, line_time_stat);
}

/* As io.weight: the default, then the devices that have one of their own. */
static int show_time_weight(struct seq_file *seq, struct cgroup *cgroup)
{
	struct llmos_group *group = llmos_group_find(cgroup_id(cgroup));
	struct llmos_group_device *gd;
	struct llmos_device *device = NULL;
	u32 weight;

	seq_printf(seq, "default %u\n", group ? READ_ONCE(group->weight) : LLMOS_WEIGHT_DEFAULT);
	while (group && (device = llmos_device_next(device))) {
		gd = llmos_group_device_peek(group, device);
		weight = gd ? READ_ONCE(gd->time_weight) : 0;
		if (weight)
			seq_printf(seq, "%s %u\n", device->id, weight);
	}
	llmos_group_put(group);
	return 0;
}

static int show_models_current(struct seq_file *seq, struct cgroup *cgroup)
{
	seq_printf(seq, "%llu\n", llmos_models_of_group(cgroup));
	return 0;
}

/* ---- setting ---- */

/* The account that a line is about; its group is held. */
static struct llmos_group_device *account_get(struct cgroup *cgroup, const char *id)
{
	struct llmos_device *device = llmos_device_find(id);
	struct llmos_group_device *gd;
	struct llmos_group *group;

	if (!device)
		return ERR_PTR(-ENODEV);
	group = llmos_group_of_cgroup(cgroup);
	if (IS_ERR(group)) {
		llmos_device_put(device);
		return ERR_CAST(group);
	}
	gd = llmos_group_device(group, device);
	if (IS_ERR(gd))
		llmos_group_put(group);
	llmos_device_put(device);
	return gd;
}

/* A cgroup removed in the meantime must not keep a limit. */
static int account_put(struct llmos_group_device *gd)
{
	bool dead = READ_ONCE(gd->group->dead);

	if (dead)
		llmos_group_lift_limits(gd->group);
	llmos_share_changed(gd);
	llmos_group_put(gd->group);
	return dead ? -ENODEV : 0;
}

/* Splits off a word; NULL when there is none. */
static char *next_word(char **line)
{
	char *word;

	*line = skip_spaces(*line);
	word = strsep(line, " \t");
	if (!*line)
		*line = "";
	return *word ? word : NULL;
}

static int set_bytes(struct cgroup *cgroup, char *line, size_t field)
{
	const char *id = next_word(&line), *value = next_word(&line);
	struct llmos_group_device *gd;
	u64 bytes;
	int ret;

	if (!id || !value || next_word(&line) || llmos_parse_bytes(value, &bytes))
		return -EINVAL;
	mutex_lock(&config_mutex);
	gd = account_get(cgroup, id);
	ret = PTR_ERR_OR_ZERO(gd);
	if (!ret) {
		WRITE_ONCE(*(u64 *)((void *)gd + field), bytes);
		ret = account_put(gd);
	}
	mutex_unlock(&config_mutex);
	return ret;
}

static int set_memory_max(struct cgroup *cgroup, char *line)
{
	return set_bytes(cgroup, line, offsetof(struct llmos_group_device, memory_max));
}

static int set_memory_low(struct cgroup *cgroup, char *line)
{
	return set_bytes(cgroup, line, offsetof(struct llmos_group_device, memory_low));
}

static int parse_weight(const char *text, u32 *weight)
{
	if (kstrtou32(text, 10, weight))
		return -EINVAL;
	return *weight < LLMOS_WEIGHT_MIN || *weight > LLMOS_WEIGHT_MAX ? -ERANGE : 0;
}

static int set_weight_default(struct cgroup *cgroup, u32 weight)
{
	struct llmos_group *group = llmos_group_of_cgroup(cgroup);
	struct llmos_group_device *gd;
	unsigned long index;

	if (IS_ERR(group))
		return PTR_ERR(group);
	WRITE_ONCE(group->weight, weight);
	xa_for_each(&group->devices, index, gd)
		llmos_share_changed(gd);
	llmos_group_put(group);
	return 0;
}

static int set_weight_device(struct cgroup *cgroup, const char *id, u32 weight)
{
	struct llmos_group_device *gd = account_get(cgroup, id);

	if (IS_ERR(gd))
		return PTR_ERR(gd);
	WRITE_ONCE(gd->time_weight, weight);
	return account_put(gd);
}

/* "200", "default 200", "ID 200", "ID default" */
static int set_time_weight(struct cgroup *cgroup, char *line)
{
	const char *id = next_word(&line), *value = next_word(&line);
	bool whole = id && (!value || !strcmp(id, "default"));
	u32 weight = 0;
	int ret = 0;

	if (!id || next_word(&line))
		return -EINVAL;
	if (whole || strcmp(value, "default"))
		ret = parse_weight(value ?: id, &weight);
	if (ret)
		return ret;
	mutex_lock(&config_mutex);
	ret = whole ? set_weight_default(cgroup, weight) : set_weight_device(cgroup, id, weight);
	mutex_unlock(&config_mutex);
	return ret;
}

static int parse_quota(const char *quota, const char *period, u64 *quota_us, u64 *period_us)
{
	if (!strcmp(quota, "max"))
		*quota_us = U64_MAX;
	else if (kstrtou64(quota, 10, quota_us) || *quota_us > PERIOD_MAX_US * 4096ULL)
		return -EINVAL;
	if (period && kstrtou64(period, 10, period_us))
		return -EINVAL;
	if (period && (*period_us < PERIOD_MIN_US || *period_us > PERIOD_MAX_US))
		return -ERANGE;
	return *quota_us < QUOTA_MIN_US ? -ERANGE : 0;
}

/* "ID QUOTA [PERIOD]", microseconds as in cpu.max; the period stays when it is left out. */
static int set_time_max(struct cgroup *cgroup, char *line)
{
	const char *id = next_word(&line), *quota = next_word(&line), *period = next_word(&line);
	struct llmos_group_device *gd;
	u64 quota_us, period_us = 0;
	int ret;

	if (!id || !quota || next_word(&line))
		return -EINVAL;
	ret = parse_quota(quota, period, &quota_us, &period_us);
	if (ret)
		return ret;
	mutex_lock(&config_mutex);
	gd = account_get(cgroup, id);
	ret = PTR_ERR_OR_ZERO(gd);
	if (!ret) {
		WRITE_ONCE(gd->time_quota_us, quota_us);
		if (period)
			WRITE_ONCE(gd->time_period_us, period_us);
		ret = account_put(gd);
	}
	mutex_unlock(&config_mutex);
	return ret;
}

static int set_lines(const struct llmos_control_file *file, char *text)
{
	char *line;
	int ret = -EINVAL;	/* of a text without any line */

	while ((line = strsep(&text, "\n"))) {
		if (!*skip_spaces(line))
			continue;
		ret = file->control->set(file->cgroup, line);
		if (ret)
			break;
	}
	return ret;
}

/* ---- one that is open ---- */

int llmos_control_show(struct seq_file *seq, void *unused)
{
	struct llmos_control_file *file = seq->private;

	return file->control->show(seq, file->cgroup);
}

ssize_t llmos_control_write(struct file *file, const char __user *user, size_t size, loff_t *pos)
{
	struct seq_file *seq = file->private_data;
	char *text;
	int ret;

	if (size > WRITE_MAX)
		return -E2BIG;
	text = memdup_user_nul(user, size);
	if (IS_ERR(text))
		return PTR_ERR(text);
	ret = strlen(text) == size ? set_lines(seq->private, text) : -EINVAL;
	kfree(text);
	return ret ?: size;
}

/* ---- rights ---- */

bool llmos_control_there(const struct llmos_control *control, struct cgroup *cgroup)
{
	return !control->not_root || cgroup_parent(cgroup);
}

/* Is the cgroup below the root of the caller's cgroup namespace, and not that root? */
static bool below_own_root(struct cgroup *cgroup)
{
	struct cgroup *root = cgroup_get_from_path("/");
	bool below;

	if (IS_ERR(root))
		return false;
	below = cgroup != root && cgroup_is_descendant(cgroup, root);
	cgroup_put(root);
	return below;
}

/*
 * Who may write the directory that *holds* the cgroup's: limits of a cgroup share
 * out what its parent has, so, as in cgroup v2, a delegated subtree's owner sets
 * those of everything below its top, and not the top's. And the root of the caller's
 * cgroup namespace cannot be changed from inside.
 */
int llmos_control_may_set(const struct llmos_control *control, struct cgroup *cgroup,
			  struct dentry *dir)
{
	struct dentry *parent;
	int ret;

	if (!control->set)
		return -EACCES;
	if (!below_own_root(cgroup))
		return -EPERM;
	parent = dget_parent(dir);
	ret = inode_permission(&nop_mnt_idmap, d_inode(parent), MAY_WRITE);
	dput(parent);
	return ret;
}

/* ---- the table ---- */

static const struct llmos_control controls[] = {
	{ "memory.current", false, show_memory_current },
	{ "memory.events", true, show_memory_events },
	{ "memory.low", true, show_memory_low, set_memory_low },
	{ "memory.max", true, show_memory_max, set_memory_max },
	{ "memory.peak", false, show_memory_peak },
	{ "models.current", false, show_models_current },
	{ "time.max", true, show_time_max, set_time_max },
	{ "time.stat", false, show_time_stat },
	{ "time.weight", true, show_time_weight, set_time_weight },
};

unsigned int llmos_control_count(void)
{
	return ARRAY_SIZE(controls);
}

const struct llmos_control *llmos_control_at(unsigned int index)
{
	return index < ARRAY_SIZE(controls) ? &controls[index] : NULL;
}

const struct llmos_control *llmos_control_find(const char *name)
{
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(controls); i++)
		if (!strcmp(controls[i].name, name))
			return &controls[i];
	return NULL;
}
