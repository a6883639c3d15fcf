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

#endif /* __KERNEL__ */
#endif
