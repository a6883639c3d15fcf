// SPDX-License-Identifier: GPL-2.0-only
/*
 * LLMOS_GROUP_OPEN: a control file of the group whose cgroup's directory the caller
 * has open, for who sees a cgroup2 but no mount of the groups, as in a container.
 * The rights are those of groupfs.c, and the mount of the directory must be writable.
 */
#include <linux/anon_inodes.h>
#include <linux/cgroup.h>
#include <linux/file.h>
#include <linux/magic.h>
#include <linux/module.h>
#include <linux/mount.h>
#include <linux/seq_file.h>
#include <linux/slab.h>

#include "llmos.h"
#include "control.h"

static void put(struct llmos_control_file *open)
{
	cgroup_put(open->cgroup);
	kfree(open);
}

static int release(struct inode *inode, struct file *file)
{
	struct seq_file *seq = file->private_data;

	if (!seq)	/* single_open() failed */
		return 0;
	put(seq->private);
	return single_release(inode, file);
}

static const struct file_operations fops = {
	.owner = THIS_MODULE,
	.release = release,
	.read_iter = seq_read_iter,
	.write = llmos_control_write,
	.llseek = seq_lseek,
};

/* By the directory's inode number, as groupfs.c does: none that the caller's namespace hides. */
static struct cgroup *cgroup_of(const struct path *dir)
{
	if (dir->dentry->d_sb->s_magic != CGROUP2_SUPER_MAGIC || !d_is_dir(dir->dentry))
		return ERR_PTR(-EINVAL);
	return cgroup_get_from_id(d_inode(dir->dentry)->i_ino);
}

static int may_write(const struct llmos_control_file *open, const struct path *dir)
{
	int ret = mnt_want_write(dir->mnt);

	if (ret)
		return ret;
	ret = llmos_control_may_set(open->control, open->cgroup, dir->dentry);
	mnt_drop_write(dir->mnt);
	return ret;
}

static struct llmos_control_file *open_control(const struct llmos_control *control,
					       const struct path *dir)
{
	struct llmos_control_file *open = kmalloc(sizeof(*open), GFP_KERNEL_ACCOUNT);

	if (!open)
		return ERR_PTR(-ENOMEM);
	open->control = control;
	open->cgroup = cgroup_of(dir);
	if (IS_ERR(open->cgroup)) {
		int ret = PTR_ERR(open->cgroup);

		kfree(open);
		return ERR_PTR(ret);
	}
	return open;
}

/* Owns @open, also when it fails. */
static struct file *make_file(struct llmos_control_file *open, bool write)
{
	struct file *file = anon_inode_getfile("[llmos-group]", &fops, NULL,
					       write ? O_RDWR : O_RDONLY);
	int ret;

	if (IS_ERR(file)) {
		put(open);
		return file;
	}
	ret = single_open(file, llmos_control_show, open);
	if (ret) {
		put(open);
		fput(file);
		return ERR_PTR(ret);
	}
	return file;
}

static int open_in(struct llmos_call *call, const struct llmos_control *control,
		   const struct path *dir)
{
	const struct llmos_group_open *args = call->args;
	bool write = args->flags & LLMOS_GROUP_WRITE;
	struct llmos_control_file *open = open_control(control, dir);
	struct file *file;
	int ret = 0;

	if (IS_ERR(open))
		return PTR_ERR(open);
	if (!llmos_control_there(control, open->cgroup))
		ret = -ENOENT;
	else if (write)
		ret = may_write(open, dir);
	if (ret) {
		put(open);
		return ret;
	}
	file = make_file(open, write);
	if (IS_ERR(file))
		return PTR_ERR(file);
	call->result = file;
	return 0;
}

int llmos_group_run_open(struct llmos_call *call)
{
	const struct llmos_group_open *args = call->args;
	const struct llmos_control *control;
	struct file *dir;
	int ret;

	if (args->flags & ~LLMOS_GROUP_WRITE || args->reserved ||
	    strnlen(args->control, sizeof(args->control)) == sizeof(args->control))
		return -EINVAL;
	control = llmos_control_find(args->control);
	if (!control)
		return -ENOENT;
	dir = fget_raw(args->cgroup_fd);
	if (!dir)
		return -EBADF;
	ret = open_in(call, control, &dir->f_path);
	fput(dir);
	return ret;
}
