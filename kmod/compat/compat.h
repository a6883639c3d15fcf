/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Included before every source file; the only place that names a kernel
 * version. Each shim says which commit made it necessary. All of them can go
 * when the oldest kernel supported has the newer form.
 */
#ifndef LLMOS_COMPAT_H
#define LLMOS_COMPAT_H

#include <linux/version.h>

#ifdef __KERNEL__
#include <linux/dcache.h>
#include <linux/fs.h>
#include <linux/uaccess.h>

#if LINUX_VERSION_CODE < KERNEL_VERSION(6, 12, 0)
#error "llmos needs Linux 6.12 or newer"
#endif

/* 6.13 ("uaccess: add copy_struct_to_user helper") */
#if LINUX_VERSION_CODE < KERNEL_VERSION(6, 13, 0)
static __always_inline int copy_struct_to_user(void __user *dst, size_t usize,
					       const void *src, size_t ksize,
					       bool *ignored_trailing)
{
	size_t size = min(ksize, usize);

	if (usize > ksize && clear_user(dst + size, usize - size))
		return -EFAULT;
	return copy_to_user(dst, src, size) ? -EFAULT : 0;
}
#endif

/* 6.13, cdd30ebb1b9f ("module: Convert symbol namespace to string literal") */
#if LINUX_VERSION_CODE < KERNEL_VERSION(6, 13, 0)
#define LLMOS_IMPORT_DMA_BUF MODULE_IMPORT_NS(DMA_BUF)
#else
#define LLMOS_IMPORT_DMA_BUF MODULE_IMPORT_NS("DMA_BUF")
#endif

/* 6.14, 5be1fa8abd7b ("Pass parent directory inode and expected name to ->d_revalidate()") */
#if LINUX_VERSION_CODE < KERNEL_VERSION(6, 14, 0)
#define LLMOS_D_REVALIDATE(fn) fn(struct dentry *dentry, unsigned int flags)
#else
#define LLMOS_D_REVALIDATE(fn) \
	fn(struct inode *dir, const struct qstr *name, struct dentry *dentry, unsigned int flags)
#endif

/* 6.17 ("new helper: set_default_d_op()") */
#if LINUX_VERSION_CODE < KERNEL_VERSION(6, 17, 0)
static inline void set_default_d_op(struct super_block *sb, const struct dentry_operations *ops)
{
	sb->s_d_op = ops;
}
#endif

/* 6.18, ef9f603fd3d4 ("io_uring/cmd: drop unused res2 param from io_uring_cmd_done()") */
#if LINUX_VERSION_CODE < KERNEL_VERSION(6, 18, 0)
#define llmos_uring_cmd_done(command, result, flags) io_uring_cmd_done(command, result, 0, flags)
#else
#define llmos_uring_cmd_done(command, result, flags) io_uring_cmd_done(command, result, flags)
#endif

/* 6.19, c33e779aba68 ("io_uring: add wrapper type for io_req_tw_func_t arg") */
#if LINUX_VERSION_CODE < KERNEL_VERSION(6, 19, 0)
#define LLMOS_URING_TASK_WORK(fn) \
	fn(struct io_uring_cmd *command, unsigned int issue_flags)
#define LLMOS_URING_TASK_WORK_ARGS
#else
#define LLMOS_URING_TASK_WORK(fn) fn(struct io_tw_req request, io_tw_token_t token)
#define LLMOS_URING_TASK_WORK_ARGS						\
	struct io_uring_cmd *command = io_uring_cmd_from_tw(request);		\
	unsigned int issue_flags = IO_URING_CMD_TASK_WORK_ISSUE_FLAGS;
#endif

#endif /* __KERNEL__ */
#endif
