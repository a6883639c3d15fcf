// SPDX-License-Identifier: GPL-2.0-only
/*
 * The filesystem of models: one read-only superblock, whose one directory shows
 * the table of names. Dentries are only a cache of that table: none outlives
 * its last user, and each is asked again whenever it is walked over, so that
 * removing and replacing a name are single steps in the table.
 */
#include <linux/file.h>
#include <linux/fs_context.h>
#include <linux/fsverity.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/mount.h>
#include <linux/slab.h>
#include <linux/statfs.h>
#include <linux/xattr.h>

#include "llmos.h"

#define ROOT_INO 1

static struct kmem_cache *model_cache;
static struct vfsmount *modelfs_mount;
static int modelfs_pins;

/*
 * Makes the filesystem be there, mounted anywhere or not. Files hold its mount
 * from their opening on, models from their naming on; each takes it from
 * llmos_modelfs_mount(), under a pin of its own.
 */
int llmos_modelfs_pin(void)
{
	return simple_pin_fs(&llmos_modelfs_type, &modelfs_mount, &modelfs_pins);
}

void llmos_modelfs_unpin(void)
{
	simple_release_fs(&modelfs_mount, &modelfs_pins);
}

struct vfsmount *llmos_modelfs_mount(void)
{
	return modelfs_mount;
}

/* ---- a model's file ---- */

static int file_open(struct inode *inode, struct file *file)
{
	int ret;

	if (file->f_mode & FMODE_WRITE)
		return -EROFS;
	ret = llmos_grant_open(llmos_model(inode), file, 0);
	llmos_event(LLMOS_EVENT_OPEN, llmos_model(inode), 0, ret);
	if (!ret)
		file->f_mode |= FMODE_CAN_ODIRECT | FMODE_NOWAIT;
	return ret;
}

static int file_release(struct inode *inode, struct file *file)
{
	llmos_grant_close(llmos_model(inode), file);
	return 0;
}

/* Not generic_file_read_iter(): with O_DIRECT that wants a ->direct_IO. */
static ssize_t file_read(struct kiocb *iocb, struct iov_iter *to)
{
	int ret = llmos_grant_check(iocb->ki_filp);

	return ret ?: filemap_read(iocb, to, 0);
}

static ssize_t file_splice_read(struct file *file, loff_t *pos, struct pipe_inode_info *pipe,
				size_t size, unsigned int flags)
{
	int ret = llmos_grant_check(file);

	return ret ?: filemap_splice_read(file, pos, pipe, size, flags);
}

static int run_stat(struct llmos_call *call)
{
	llmos_model_stat(llmos_model_of(call->file), call->args);
	return 0;
}

static int run_fill(struct llmos_call *call)
{
	struct llmos_model *model = llmos_model_of(call->file);
	struct llmos_model_fill *args = call->args;
	int ret;

	args->done = 0;
	if (!(call->file->f_mode & FMODE_WRITE))
		return -EBADF;
	if (llmos_model_begin_write(model)) {
		ret = llmos_fill(model, args);
		llmos_model_end_write(model);
	} else {
		ret = READ_ONCE(model->state) == LLMOS_STATE_SEALING ? -EBUSY : -EPERM;
	}
	llmos_event(LLMOS_EVENT_FILL, model, args->done, ret);
	return ret;
}

static int run_seal(struct llmos_call *call)
{
	struct llmos_model *model = llmos_model_of(call->file);
	struct llmos_model_seal *args = call->args;
	int ret;

	if (!(call->file->f_mode & FMODE_WRITE))
		return -EBADF;
	if (args->signature_size > LLMOS_SIGNATURE_MAX)
		return -EMSGSIZE;
	ret = llmos_model_seal(model, args);
	if (!ret)
		memcpy(args->digest, model->digest, sizeof(args->digest));
	return ret;
}

static int run_dmabuf(struct llmos_call *call)
{
	struct file *file = llmos_dmabuf_export(call->file, call->args);

	if (IS_ERR(file))
		return PTR_ERR(file);
	call->result = file;
	return 0;
}

static const struct llmos_command file_commands[] = {
	{ LLMOS_MODEL_STAT, sizeof(struct llmos_model_stat), run_stat },
	{ LLMOS_MODEL_FILL, sizeof(struct llmos_model_fill), run_fill },
	{ LLMOS_MODEL_SEAL, sizeof(struct llmos_model_seal), run_seal },
	{ LLMOS_MODEL_DMABUF, sizeof(struct llmos_model_dmabuf), run_dmabuf },
};

static long file_measure(struct llmos_model *model, struct fsverity_digest __user *user)
{
	struct fsverity_digest head;

	if (READ_ONCE(model->state) < LLMOS_STATE_SEALED)
		return -ENODATA;
	if (copy_from_user(&head, user, sizeof(head)))
		return -EFAULT;
	if (head.digest_size < LLMOS_DIGEST_SIZE)
		return -EOVERFLOW;
	head.digest_algorithm = FS_VERITY_HASH_ALG_SHA256;
	head.digest_size = LLMOS_DIGEST_SIZE;
	if (copy_to_user(user, &head, sizeof(head)) ||
	    copy_to_user(user->digest, model->digest, LLMOS_DIGEST_SIZE))
		return -EFAULT;
	return 0;
}

static long file_ioctl(struct file *file, unsigned int number, unsigned long address)
{
	if (READ_ONCE(llmos_grant_of(file)->revoked))
		return -ESTALE;
	if (number == FS_IOC_MEASURE_VERITY)
		return file_measure(llmos_model_of(file), (void __user *)address);
	return llmos_command_run(file_commands, ARRAY_SIZE(file_commands), file, number,
				 (void __user *)address);
}

static const struct file_operations file_fops = {
	.owner = THIS_MODULE,
	.open = file_open,
	.release = file_release,
	.llseek = generic_file_llseek,
	.read_iter = file_read,
	.write_iter = llmos_write,
	.splice_read = file_splice_read,
	.splice_write = iter_file_splice_write,
	.mmap = llmos_mmap,
	.get_unmapped_area = thp_get_unmapped_area,
	.unlocked_ioctl = file_ioctl,
	.compat_ioctl = compat_ptr_ioctl,
	.fsync = noop_fsync,
};

static int LLMOS_D_REVALIDATE(dentry_revalidate)
{
	struct inode *inode = d_inode_rcu(dentry);

	return inode && READ_ONCE(llmos_model(inode)->named);
}

/* What /proc shows of the loader's descriptor, whose dentry is in no directory. */
static char *loader_dname(struct dentry *dentry, char *buffer, int length)
{
	const struct llmos_model *model = llmos_model(d_inode(dentry));
	bool sealed = READ_ONCE(model->state) >= LLMOS_STATE_SEALED;
	char name[LLMOS_NAME_SIZE + 24];
	int size = 1 + scnprintf(name, sizeof(name), "/llmos:%s (%s)", model->name,
				 sealed ? "sealed" : "filling");

	if (size > length)
		return ERR_PTR(-ENAMETOOLONG);
	return memcpy(buffer + length - size, name, size);
}

/* As the superblock's, which alloc_file_pseudo() gives the dentry: its flags stay right. */
static const struct dentry_operations loader_dentry_ops = {
	.d_revalidate = dentry_revalidate,
	.d_delete = always_delete_dentry,
	.d_dname = loader_dname,
};

/* The one descriptor that can write; the model has no name yet. */
struct file *llmos_modelfs_open_loader(struct llmos_model *model)
{
	struct file *file;
	int ret;

	file = alloc_file_pseudo(&model->inode, modelfs_mount, model->name, O_RDWR | O_LARGEFILE,
				 &file_fops);
	if (IS_ERR(file)) {
		iput(&model->inode);
		return file;
	}
	file->f_path.dentry->d_op = &loader_dentry_ops;
	/* What do_dentry_open() would have done; __fput() undoes the first. */
	__module_get(THIS_MODULE);
	file->f_mode |= FMODE_LSEEK | FMODE_PREAD | FMODE_PWRITE | FMODE_CAN_ODIRECT;
	ret = llmos_grant_open(model, file, LLMOS_GRANT_LOADER);
	if (ret) {
		fput(file);
		return ERR_PTR(ret);
	}
	return file;
}

/* ---- inodes ---- */

/* S_IMMUTABLE alone does not stop ftruncate() on the loader's descriptor. */
static int file_setattr(struct mnt_idmap *idmap, struct dentry *dentry, struct iattr *attr)
{
	return -EPERM;
}

static int file_getattr(struct mnt_idmap *idmap, const struct path *path, struct kstat *stat,
			u32 mask, unsigned int flags)
{
	generic_fillattr(idmap, mask, d_inode(path->dentry), stat);
	stat->blksize = HPAGE_PMD_SIZE;
	stat->attributes |= STATX_ATTR_VERITY | STATX_ATTR_IMMUTABLE;
	stat->attributes_mask |= STATX_ATTR_VERITY | STATX_ATTR_IMMUTABLE;
	if (mask & STATX_DIOALIGN) {
		stat->result_mask |= STATX_DIOALIGN;
		stat->dio_mem_align = 1;
		stat->dio_offset_align = 1;
	}
	return 0;
}

static const struct inode_operations file_iops = {
	.setattr = file_setattr,
	.getattr = file_getattr,
	.listxattr = generic_listxattr,
};

static const struct address_space_operations file_aops = {
	.dirty_folio = noop_dirty_folio,
};

/* A model in state FILLING, with no pages and no name. */
struct inode *llmos_modelfs_inode(void)
{
	struct inode *inode = new_inode(modelfs_mount->mnt_sb);

	if (!inode)
		return NULL;
	inode->i_ino = get_next_ino();
	inode->i_flags |= S_IMMUTABLE | S_NOATIME | S_NOCMTIME;
	inode->i_op = &file_iops;
	inode->i_fop = &file_fops;
	inode->i_mapping->a_ops = &file_aops;
	simple_inode_init_ts(inode);
	clear_nlink(inode);
	mapping_set_unevictable(inode->i_mapping);
	mapping_set_large_folios(inode->i_mapping);
	return inode;
}

static struct inode *super_alloc_inode(struct super_block *sb)
{
	struct llmos_model *model = alloc_inode_sb(sb, model_cache, GFP_KERNEL);

	if (!model)
		return NULL;
	memset((void *)model + sizeof(model->inode), 0, sizeof(*model) - sizeof(model->inode));
	spin_lock_init(&model->lock);
	xa_init(&model->grants);
	xa_init(&model->users_of);
	INIT_LIST_HEAD(&model->denied);
	INIT_HLIST_NODE(&model->hash);
	return &model->inode;
}

static void super_free_inode(struct inode *inode)
{
	kmem_cache_free(model_cache, llmos_model(inode));
}

static void super_evict_inode(struct inode *inode)
{
	struct llmos_model *model = llmos_model(inode);

	if (model->charged) {
		llmos_event(LLMOS_EVENT_FREE, model, model->resident, 0);
		llmos_pages_free(model);
	}
	llmos_grant_forget_denied(model);
	xa_destroy(&model->grants);	/* empty */
	xa_destroy(&model->users_of);
	truncate_inode_pages_final(&inode->i_data);
	clear_inode(inode);
}

static int super_drop_inode(struct inode *inode)
{
	return 1;	/* nothing on a disk to cache */
}

static int super_statfs(struct dentry *dentry, struct kstatfs *stat)
{
	u64 max = llmos_memory_max(), used = llmos_memory_current();

	stat->f_type = LLMOS_MODELS_MAGIC;
	stat->f_bsize = PAGE_SIZE;
	stat->f_namelen = LLMOS_NAME_SIZE - 1;
	stat->f_blocks = max >> PAGE_SHIFT;
	stat->f_bfree = max > used ? (max - used) >> PAGE_SHIFT : 0;
	stat->f_bavail = stat->f_bfree;
	stat->f_files = llmos_model_count();
	return 0;
}

static const struct super_operations super_ops = {
	.alloc_inode = super_alloc_inode,
	.free_inode = super_free_inode,
	.drop_inode = super_drop_inode,
	.evict_inode = super_evict_inode,
	.statfs = super_statfs,
};

/* ---- the digest as an extended attribute ---- */

static int xattr_get(const struct xattr_handler *handler, struct dentry *dentry,
		     struct inode *inode, const char *name, void *buffer, size_t size)
{
	struct llmos_model *model = llmos_model(inode);
	char text[sizeof("sha256:") + 2 * LLMOS_DIGEST_SIZE];
	int length;

	if (!S_ISREG(inode->i_mode) || READ_ONCE(model->state) < LLMOS_STATE_SEALED)
		return -ENODATA;
	length = snprintf(text, sizeof(text), "sha256:%*phN", LLMOS_DIGEST_SIZE, model->digest);
	if (!buffer)
		return length;
	if (size < length)
		return -ERANGE;
	memcpy(buffer, text, length);
	return length;
}

static bool xattr_list(struct dentry *dentry)
{
	return d_is_reg(dentry);
}

static const struct xattr_handler digest_xattr = {
	.name = LLMOS_DIGEST_XATTR,
	.get = xattr_get,
	.list = xattr_list,
};

static const struct xattr_handler *const xattr_handlers[] = { &digest_xattr, NULL };

/* ---- the directory ---- */

static const struct dentry_operations dentry_ops = {
	.d_revalidate = dentry_revalidate,
	.d_delete = always_delete_dentry,
};

/*
 * A name replaced or removed after llmos_model_get() leaves a dentry that
 * dentry_revalidate() refuses: this open was simply first.
 */
static struct dentry *root_lookup(struct inode *dir, struct dentry *dentry, unsigned int flags)
{
	struct llmos_model *model;

	if (dentry->d_name.len >= LLMOS_NAME_SIZE)
		return ERR_PTR(-ENAMETOOLONG);
	model = llmos_model_get(dentry->d_name.name);
	if (model)
		ihold(&model->inode);	/* the dentry's, which the mount outlives */
	dentry = d_splice_alias(model ? &model->inode : NULL, dentry);
	llmos_model_put(model);
	return dentry;
}

static int root_iterate(struct file *file, struct dir_context *ctx)
{
	struct llmos_model *model;
	char name[LLMOS_NAME_SIZE];
	u64 ino;
	u32 id;

	if (!dir_emit_dots(file, ctx))
		return 0;
	for (;; ctx->pos = id + 2) {
		if (ctx->pos > INT_MAX)
			return 0;
		id = ctx->pos - 1;	/* ids begin at 1, behind the dots */
		spin_lock(&llmos_names_lock);
		model = llmos_model_next(&id);
		if (model) {
			strscpy(name, model->name);
			ino = model->inode.i_ino;
		}
		spin_unlock(&llmos_names_lock);
		if (!model || !dir_emit(ctx, name, strlen(name), ino, DT_REG))
			return 0;
	}
}

static const struct inode_operations root_iops = {
	.lookup = root_lookup,
};

static const struct file_operations root_fops = {
	.owner = THIS_MODULE,
	.read = generic_read_dir,
	.iterate_shared = root_iterate,
	.llseek = generic_file_llseek,
	.fsync = noop_fsync,
};

/* ---- the superblock ---- */

static int super_fill(struct super_block *sb, struct fs_context *fc)
{
	struct inode *inode;

	sb->s_magic = LLMOS_MODELS_MAGIC;
	sb->s_maxbytes = MAX_LFS_FILESIZE;
	sb->s_blocksize = PAGE_SIZE;
	sb->s_blocksize_bits = PAGE_SHIFT;
	sb->s_time_gran = 1;
	sb->s_iflags |= SB_I_NOEXEC | SB_I_NODEV;
	sb->s_op = &super_ops;
	sb->s_xattr = xattr_handlers;
	set_default_d_op(sb, &dentry_ops);

	inode = new_inode(sb);
	if (!inode)
		return -ENOMEM;
	inode->i_ino = ROOT_INO;
	inode->i_mode = S_IFDIR | 0755;
	inode->i_op = &root_iops;
	inode->i_fop = &root_fops;
	simple_inode_init_ts(inode);
	set_nlink(inode, 2);
	sb->s_root = d_make_root(inode);
	return sb->s_root ? 0 : -ENOMEM;
}

static int context_get_tree(struct fs_context *fc)
{
	return get_tree_single(fc, super_fill);
}

static int context_reconfigure(struct fs_context *fc)
{
	return fc->sb_flags & SB_RDONLY ? 0 : -EROFS;
}

static const struct fs_context_operations context_ops = {
	.get_tree = context_get_tree,
	.reconfigure = context_reconfigure,
};

static int init_fs_context(struct fs_context *fc)
{
	fc->ops = &context_ops;
	fc->global = true;
	if (fc->purpose != FS_CONTEXT_FOR_RECONFIGURE) {
		fc->sb_flags |= SB_RDONLY;
		fc->sb_flags_mask |= SB_RDONLY;
	}
	return 0;
}

struct file_system_type llmos_modelfs_type = {
	.owner = THIS_MODULE,
	.name = LLMOS_MODELS_FSTYPE,
	.init_fs_context = init_fs_context,
	.kill_sb = kill_anon_super,
	.fs_flags = FS_ALLOW_IDMAP,
};
MODULE_ALIAS_FS("llmos_models");

static void model_cache_init_once(void *model)
{
	inode_init_once(&((struct llmos_model *)model)->inode);
}

int llmos_modelfs_init(void)
{
	int ret;

	model_cache = kmem_cache_create("llmos_model", sizeof(struct llmos_model), 0,
					SLAB_RECLAIM_ACCOUNT | SLAB_ACCOUNT, model_cache_init_once);
	if (!model_cache)
		return -ENOMEM;
	ret = register_filesystem(&llmos_modelfs_type);
	if (ret)
		kmem_cache_destroy(model_cache);
	return ret;
}

void llmos_modelfs_exit(void)
{
	unregister_filesystem(&llmos_modelfs_type);
	rcu_barrier();		/* inodes are freed after a grace period */
	kmem_cache_destroy(model_cache);
}
