/* SPDX-License-Identifier: GPL-2.0-only */
/* The control files of a group: what they are called, say and take. groupfs.c and group_file.c make them files. */
#ifndef LLMOS_CONTROL_H
#define LLMOS_CONTROL_H

#include <linux/types.h>

struct cgroup;
struct dentry;
struct file;
struct llmos_call;
struct seq_file;

struct llmos_control {
	const char *name;
	bool not_root;		/* the root of the hierarchy has none */
	int (*show)(struct seq_file *seq, struct cgroup *cgroup);
	int (*set)(struct cgroup *cgroup, char *line);	/* NULL: read-only */
};

unsigned int llmos_control_count(void);
/* By position, or NULL beyond the last. */
const struct llmos_control *llmos_control_at(unsigned int index);
const struct llmos_control *llmos_control_find(const char *name);
bool llmos_control_there(const struct llmos_control *control, struct cgroup *cgroup);
/* May the caller set it? @dir: the cgroup's directory in cgroup2. */
int llmos_control_may_set(const struct llmos_control *control, struct cgroup *cgroup,
			  struct dentry *dir);

/* One that is open: what single_open() got for llmos_control_show(). */
struct llmos_control_file {
	struct cgroup *cgroup;		/* held */
	const struct llmos_control *control;
};

int llmos_control_show(struct seq_file *seq, void *unused);
/* Each line in turn, until one fails. */
ssize_t llmos_control_write(struct file *file, const char __user *user, size_t size, loff_t *pos);

int llmos_group_run_open(struct llmos_call *call);	/* LLMOS_GROUP_OPEN; group_file.c */

#endif
