/* SPDX-License-Identifier: GPL-2.0-only */
/* The control files of a group: what they are called, say and take. groupfs.c makes them files. */
#ifndef LLMOS_CONTROL_H
#define LLMOS_CONTROL_H

#include <linux/types.h>

struct cgroup;
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
/* Each line of @text in turn, until one fails. */
int llmos_control_write(const struct llmos_control *control, struct cgroup *cgroup, char *text);

#endif
