// SPDX-License-Identifier: GPL-2.0-only
/*
 * The filesystem of groups: the tree of a mounted cgroup2 with the control files
 * of control.c in each directory. It mirrors nothing: a directory is looked up and
 * listed in the cgroup2 below, under the caller's rights there.
 *
 * Who may write a control file, llmos_control_may_set() says. From inside a cgroup
 * namespace nothing outside of it is seen.
 *
 * Mounted inside a namespace, over that namespace's cgroup2, the tree starts at
 * its root. Option cgroup=DIRECTORY says where cgroup2 is, if not in
 * /sys/fs/cgroup.
 *
 * Locks: the inode lock of a directory here, then that of the cgroup2 directory.
 */
#include <linux/cgroup.h>
#include <linux/cred.h>
#include <linux/file.h>
#include <linux/fs_context.h>
#include <linux/fs_parser.h>
#include <linux/magic.h>
#include <linux/module.h>
#include <linux/mount.h>
#include <linux/namei.h>
#include <linux/seq_file.h>
#include <linux/slab.h>
#include <linux/statfs.h>

#include "llmos.h"
#include "control.h"
#include "group.h"

#define DEFAULT_CGROUP2	"/sys/fs/cgroup"
#define CONTROL_INO	2	/* in listings; each open finds another */

struct group_inode {
	struct inode inode;
	struct dentry *lower;		/* the cgroup's directory in cgroup2; held */
	struct llmos_control_file file;	/* ->control is NULL: a directory */
};

static struct kmem_cache *inode_cache;

static struct group_inode *group_inode(const struct inode *inode)
{
	return container_of(inode, struct group_inode, inode);
}

static struct vfsmount *lower_mount(const struct super_block *sb)
{
	return sb->s_fs_info;
}

/* ---- rights ---- */

static int control_permission(struct mnt_idmap *idmap, struct inode *inode, int mask)
{
	struct group_inode *group = group_inode(inode);

	if (!(mask & MAY_WRITE))
		return 0;
	return mask & MAY_NOT_BLOCK ? -ECHILD :
		llmos_control_may_set(group->file.control, group->file.cgroup, group->lower);
}

static int dir_permission(struct mnt_idmap *idmap, struct inode *inode, int mask)
{
	if (mask & MAY_WRITE)
		return -EACCES;
	if (mask & MAY_NOT_BLOCK)
		return -ECHILD;
	return inode_permission(&nop_mnt_idmap, d_inode(group_inode(inode)->lower), mask);
}

/* A control file is shown as belonging to who owns the directory that rules it. */
static int group_getattr(struct mnt_idmap *idmap, const struct path *path, struct kstat *stat,
			 u32 mask, unsigned int flags)
{
	struct group_inode *group = group_inode(d_inode(path->dentry));
	struct dentry *owner = group->file.control ? dget_parent(group->lower) : dget(group->lower);

	generic_fillattr(idmap, mask, &group->inode, stat);
	stat->uid = d_inode(owner)->i_uid;
	stat->gid = d_inode(owner)->i_gid;
	dput(owner);
	return 0;
}

/* ---- a control file ---- */

static int file_open(struct inode *inode, struct file *file)
{
	return single_open(file, llmos_control_show, &group_inode(inode)->file);
}

static const struct file_operations file_fops = {
	.owner = THIS_MODULE,
	.open = file_open,
	.release = single_release,
	.read_iter = seq_read_iter,
	.splice_read = copy_splice_read,
	.write = llmos_control_write,
	.llseek = seq_lseek,
};

/* O_TRUNC, as the shell's redirection has it, changes nothing; neither does anything else. */
static int group_setattr(struct mnt_idmap *idmap, struct dentry *dentry, struct iattr *attr)
{
	const unsigned int harmless = ATTR_SIZE | ATTR_MTIME | ATTR_CTIME | ATTR_OPEN | ATTR_FILE |
				      ATTR_TOUCH | ATTR_KILL_SUID | ATTR_KILL_SGID |
				      ATTR_KILL_PRIV;

	return attr->ia_valid & ~harmless ? -EPERM : 0;
}

static const struct inode_operations file_iops = {
	.permission = control_permission,
	.setattr = group_setattr,
	.getattr = group_getattr,
};

/* ---- directories ---- */

static const struct inode_operations dir_iops;
static const struct file_operations dir_fops;

/* Takes over the reference to @cgroup; @lower gets one of its own. */
static struct inode *inode_make(struct super_block *sb, struct dentry *lower,
				struct cgroup *cgroup, const struct llmos_control *control)
{
	struct inode *inode = new_inode(sb);
	struct group_inode *group;

	if (!inode) {
		cgroup_put(cgroup);
		return NULL;
	}
	group = group_inode(inode);
	group->lower = dget(lower);
	group->file.cgroup = cgroup;
	group->file.control = control;
	simple_inode_init_ts(inode);
	if (control) {
		inode->i_ino = get_next_ino();
		inode->i_mode = S_IFREG | (control->set ? 0644 : 0444);
		inode->i_op = &file_iops;
		inode->i_fop = &file_fops;
	} else {
		inode->i_ino = d_inode(lower)->i_ino;
		inode->i_mode = S_IFDIR | 0555;
		inode->i_op = &dir_iops;
		inode->i_fop = &dir_fops;
		set_nlink(inode, 2);
	}
	return inode;
}

static struct inode *lookup_control(struct inode *dir, const struct llmos_control *control)
{
	struct group_inode *group = group_inode(dir);
	struct cgroup *cgroup = group->file.cgroup;

	if (!llmos_cgroup_is_online(cgroup))
		return NULL;
	cgroup_get(cgroup);
	return inode_make(dir->i_sb, group->lower, cgroup, control) ?: ERR_PTR(-ENOMEM);
}

/*
 * The cgroup of a directory of cgroup2, by its inode number. NULL: it is none, or
 * none that the caller can see.
 */
static struct inode *inode_of_lower(struct super_block *sb, struct dentry *lower)
{
	struct cgroup *cgroup;

	if (!d_is_dir(lower))
		return NULL;
	cgroup = cgroup_get_from_id(d_inode(lower)->i_ino);
	if (IS_ERR(cgroup))
		return cgroup == ERR_PTR(-ENOENT) ? NULL : ERR_CAST(cgroup);
	return inode_make(sb, lower, cgroup, NULL) ?: ERR_PTR(-ENOMEM);
}

static struct inode *lookup_dir(struct inode *dir, const char *name)
{
	struct inode *inode;
	struct path path;
	int ret;

	ret = vfs_path_lookup(group_inode(dir)->lower, lower_mount(dir->i_sb), name, 0, &path);
	if (ret)
		return ret == -ENOENT ? NULL : ERR_PTR(ret);
	inode = inode_of_lower(dir->i_sb, path.dentry);
	path_put(&path);
	return inode;
}

static struct dentry *dir_lookup(struct inode *dir, struct dentry *dentry, unsigned int flags)
{
	const struct llmos_control *control = llmos_control_find(dentry->d_name.name);
	struct inode *inode;

	if (control && llmos_control_there(control, group_inode(dir)->file.cgroup))
		inode = lookup_control(dir, control);
	else
		inode = lookup_dir(dir, dentry->d_name.name);
	return d_splice_alias(inode, dentry);	/* NULL: there is no such name */
}

/* Listing the directory of cgroup2: only what is a cgroup passes. */
struct lower_context {
	struct dir_context ctx;
	struct dir_context *upper;
	loff_t base;
};

static bool lower_emit(struct dir_context *ctx, const char *name, int length, loff_t offset,
		       u64 ino, unsigned int type)
{
	struct lower_context *lower = container_of(ctx, struct lower_context, ctx);

	if (type != DT_DIR || name[0] == '.')
		return true;
	lower->upper->pos = lower->base + offset;
	return dir_emit(lower->upper, name, length, ino, type);
}

static int iterate_lower(struct file *file, struct dir_context *ctx, loff_t base)
{
	struct inode *dir = file_inode(file);
	struct lower_context lower = {
		.ctx = { .actor = lower_emit, .pos = ctx->pos - base },
		.upper = ctx,
		.base = base,
	};
	const struct path path = {
		.mnt = lower_mount(dir->i_sb),
		.dentry = group_inode(dir)->lower,
	};
	struct file *listed = dentry_open(&path, O_RDONLY | O_DIRECTORY, current_cred());
	int ret;

	if (IS_ERR(listed))
		return PTR_ERR(listed);
	ret = vfs_llseek(listed, lower.ctx.pos, SEEK_SET);
	if (ret >= 0)
		ret = iterate_dir(listed, &lower.ctx);
	ctx->pos = base + lower.ctx.pos;
	fput(listed);
	return ret;
}

static int dir_iterate(struct file *file, struct dir_context *ctx)
{
	struct cgroup *cgroup = group_inode(file_inode(file))->file.cgroup;
	const struct llmos_control *control;
	unsigned int i;

	if (!dir_emit_dots(file, ctx))
		return 0;
	for (i = ctx->pos - 2; (control = llmos_control_at(i)); i++) {
		ctx->pos = i + 2;
		if (!llmos_control_there(control, cgroup))
			continue;
		if (!dir_emit(ctx, control->name, strlen(control->name), CONTROL_INO, DT_REG))
			return 0;
	}
	i = llmos_control_count() + 2;
	ctx->pos = max_t(loff_t, ctx->pos, i);
	return iterate_lower(file, ctx, i);
}

static const struct inode_operations dir_iops = {
	.lookup = dir_lookup,
	.permission = dir_permission,
	.setattr = group_setattr,
	.getattr = group_getattr,
};

static const struct file_operations dir_fops = {
	.owner = THIS_MODULE,
	.read = generic_read_dir,
	.iterate_shared = dir_iterate,
	.llseek = generic_file_llseek,
	.fsync = noop_fsync,
};

/* ---- dentries ---- */

/* Gone with the cgroup; a new one of that name is looked up anew. */
static int LLMOS_D_REVALIDATE(dentry_revalidate)
{
	struct inode *inode = d_inode_rcu(dentry);

	return inode && llmos_cgroup_is_online(group_inode(inode)->file.cgroup);
}

static const struct dentry_operations dentry_ops = {
	.d_revalidate = dentry_revalidate,
	.d_delete = always_delete_dentry,
};

/* ---- the superblock ---- */

static struct inode *super_alloc_inode(struct super_block *sb)
{
	struct group_inode *group = alloc_inode_sb(sb, inode_cache, GFP_KERNEL);

	if (!group)
		return NULL;
	group->lower = NULL;
	group->file.cgroup = NULL;
	group->file.control = NULL;
	return &group->inode;
}

static void super_free_inode(struct inode *inode)
{
	kmem_cache_free(inode_cache, group_inode(inode));
}

static void super_evict_inode(struct inode *inode)
{
	struct group_inode *group = group_inode(inode);

	truncate_inode_pages_final(&inode->i_data);
	clear_inode(inode);
	dput(group->lower);
	if (group->file.cgroup)
		cgroup_put(group->file.cgroup);
}

static int super_drop_inode(struct inode *inode)
{
	return 1;	/* nothing on a disk to cache */
}

static const struct super_operations super_ops = {
	.alloc_inode = super_alloc_inode,
	.free_inode = super_free_inode,
	.drop_inode = super_drop_inode,
	.evict_inode = super_evict_inode,
	.statfs = simple_statfs,
};

struct mount_options {
	char *cgroup;		/* where cgroup2 is mounted; NULL: DEFAULT_CGROUP2 */
};

enum { OPTION_CGROUP };

static const struct fs_parameter_spec parameters[] = {
	fsparam_string("cgroup", OPTION_CGROUP),
	{}
};

static int context_parse(struct fs_context *fc, struct fs_parameter *parameter)
{
	struct mount_options *options = fc->fs_private;
	struct fs_parse_result result;
	int option = fs_parse(fc, parameters, parameter, &result);

	if (option < 0)
		return option;
	swap(options->cgroup, parameter->string);
	return 0;
}

/* A private mount of the cgroup2 directory that becomes the root; dentry held with it. */
static int lower_find(const struct mount_options *options, struct fs_context *fc,
		      struct path *lower)
{
	const char *name = options->cgroup ?: DEFAULT_CGROUP2;
	struct path path;
	int ret;

	ret = kern_path(name, LOOKUP_FOLLOW | LOOKUP_DIRECTORY, &path);
	if (ret)
		return invalf(fc, "llmos: %s: %d", name, ret);
	ret = -EINVAL;
	if (path.dentry->d_sb->s_magic != CGROUP2_SUPER_MAGIC) {
		errorf(fc, "llmos: %s is no cgroup2; say where it is with -o cgroup=", name);
		goto out;
	}
	lower->mnt = clone_private_mount(&path);
	ret = PTR_ERR_OR_ZERO(lower->mnt);
	if (!ret)
		lower->dentry = lower->mnt->mnt_root;
out:
	path_put(&path);
	return ret;
}

static int super_fill(struct super_block *sb, struct fs_context *fc)
{
	struct inode *inode;
	struct path lower;
	int ret;

	ret = lower_find(fc->fs_private, fc, &lower);
	if (ret)
		return ret;
	sb->s_fs_info = lower.mnt;	/* super_kill() lets go of it, also when this fails */
	sb->s_magic = LLMOS_GROUPS_MAGIC;
	sb->s_maxbytes = MAX_LFS_FILESIZE;
	sb->s_blocksize = PAGE_SIZE;
	sb->s_blocksize_bits = PAGE_SHIFT;
	sb->s_time_gran = 1;
	sb->s_iflags |= SB_I_NOEXEC | SB_I_NODEV;
	sb->s_op = &super_ops;
	set_default_d_op(sb, &dentry_ops);

	inode = inode_of_lower(sb, lower.dentry);
	if (IS_ERR_OR_NULL(inode))
		return inode ? PTR_ERR(inode) : -ENOENT;
	sb->s_root = d_make_root(inode);
	return sb->s_root ? 0 : -ENOMEM;
}

static void super_kill(struct super_block *sb)
{
	struct vfsmount *lower = lower_mount(sb);

	kill_anon_super(sb);
	if (lower)
		kern_unmount(lower);
}

static int context_get_tree(struct fs_context *fc)
{
	return get_tree_nodev(fc, super_fill);
}

static void context_free(struct fs_context *fc)
{
	struct mount_options *options = fc->fs_private;

	kfree(options->cgroup);
	kfree(options);
}

static const struct fs_context_operations context_ops = {
	.parse_param = context_parse,
	.get_tree = context_get_tree,
	.free = context_free,
};

static int init_fs_context(struct fs_context *fc)
{
	struct mount_options *options = kzalloc(sizeof(*options), GFP_KERNEL);

	if (!options)
		return -ENOMEM;
	fc->fs_private = options;
	fc->ops = &context_ops;
	return 0;
}

static struct file_system_type groupfs_type = {
	.owner = THIS_MODULE,
	.name = LLMOS_GROUPS_FSTYPE,
	.init_fs_context = init_fs_context,
	.parameters = parameters,
	.kill_sb = super_kill,
};
MODULE_ALIAS_FS("llmos_groups");

static void inode_cache_init_once(void *group)
{
	inode_init_once(&((struct group_inode *)group)->inode);
}

int llmos_groupfs_init(void)
{
	int ret;

	inode_cache = kmem_cache_create("llmos_group_inode", sizeof(struct group_inode), 0,
					SLAB_RECLAIM_ACCOUNT | SLAB_ACCOUNT,
					inode_cache_init_once);
	if (!inode_cache)
		return -ENOMEM;
	ret = register_filesystem(&groupfs_type);
	if (ret)
		kmem_cache_destroy(inode_cache);
	return ret;
}

void llmos_groupfs_exit(void)
{
	unregister_filesystem(&groupfs_type);
	rcu_barrier();		/* inodes are freed after a grace period */
	kmem_cache_destroy(inode_cache);
}
