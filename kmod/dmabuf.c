// SPDX-License-Identifier: GPL-2.0-only
/*
 * A sealed model as a dma-buf. The buffer holds an open of its own, so that it
 * shows as a grant, keeps the pages, and can be revoked for its mappings;
 * devices that mapped it already count as busy.
 */
#include <linux/capability.h>
#include <linux/cred.h>
#include <linux/dma-buf.h>
#include <linux/dma-mapping.h>
#include <linux/file.h>
#include <linux/module.h>
#include <linux/scatterlist.h>
#include <linux/slab.h>

#include "llmos.h"

LLMOS_IMPORT_DMA_BUF;

struct dmabuf {
	struct file *file;
	bool bidirectional;
};

static struct sg_table *table_new(struct llmos_model *model)
{
	struct sg_table *table = kzalloc(sizeof(*table), GFP_KERNEL);
	struct scatterlist *sg;
	struct folio *folio;
	u64 offset = 0;
	int ret, i;

	if (!table)
		return ERR_PTR(-ENOMEM);
	ret = sg_alloc_table(table, model->folios, GFP_KERNEL);
	if (ret) {
		kfree(table);
		return ERR_PTR(ret);
	}
	for_each_sgtable_sg(table, sg, i) {
		folio = llmos_pages_folio(model, offset);
		sg_set_folio(sg, folio, folio_size(folio), 0);
		offset += folio_size(folio);
	}
	return table;
}

static void table_free(struct sg_table *table)
{
	sg_free_table(table);
	kfree(table);
}

static struct sg_table *table_map(struct dma_buf_attachment *attachment, struct file *file,
				  enum dma_data_direction direction)
{
	struct sg_table *table;
	int ret = llmos_grant_check(file);

	if (ret)
		return ERR_PTR(ret);
	table = table_new(llmos_model_of(file));
	if (IS_ERR(table))
		return table;
	ret = dma_map_sgtable(attachment->dev, table, direction, 0);
	if (ret) {
		table_free(table);
		return ERR_PTR(ret);
	}
	return table;
}

/*
 * Counted before the grant is looked at, as a revocation marks the grant before
 * it looks at the count: one of the two sees the other.
 */
static struct sg_table *dmabuf_map(struct dma_buf_attachment *attachment,
				   enum dma_data_direction direction)
{
	struct dmabuf *buffer = attachment->dmabuf->priv;
	struct llmos_model *model = llmos_model_of(buffer->file);
	struct sg_table *table;

	if (direction == DMA_FROM_DEVICE ||
	    (direction == DMA_BIDIRECTIONAL && !buffer->bidirectional))
		return ERR_PTR(-EPERM);
	atomic_inc(&model->dma_maps);
	smp_mb__after_atomic();		/* pairs with synchronize_rcu() in llmos_unmap() */
	table = table_map(attachment, buffer->file, direction);
	if (IS_ERR(table))
		atomic_dec(&model->dma_maps);
	return table;
}

static void dmabuf_unmap(struct dma_buf_attachment *attachment, struct sg_table *table,
			 enum dma_data_direction direction)
{
	struct dmabuf *buffer = attachment->dmabuf->priv;

	dma_unmap_sgtable(attachment->dev, table, direction, 0);
	table_free(table);
	atomic_dec(&llmos_model_of(buffer->file)->dma_maps);
}

static int dmabuf_mmap(struct dma_buf *dmabuf, struct vm_area_struct *vma)
{
	struct dmabuf *buffer = dmabuf->priv;

	vma_set_file(vma, buffer->file);
	return llmos_mmap(buffer->file, vma);
}

static void dmabuf_release(struct dma_buf *dmabuf)
{
	struct dmabuf *buffer = dmabuf->priv;

	fput(buffer->file);
	kfree(buffer);
}

/* Nobody writes: the CPU's view is always coherent. */
static int dmabuf_cpu_access(struct dma_buf *dmabuf, enum dma_data_direction direction)
{
	return 0;
}

static const struct dma_buf_ops dmabuf_ops = {
	.map_dma_buf = dmabuf_map,
	.unmap_dma_buf = dmabuf_unmap,
	.begin_cpu_access = dmabuf_cpu_access,
	.end_cpu_access = dmabuf_cpu_access,
	.mmap = dmabuf_mmap,
	.release = dmabuf_release,
};

static struct dmabuf *dmabuf_new(struct file *file, u32 flags)
{
	struct dmabuf *buffer = kzalloc(sizeof(*buffer), GFP_KERNEL_ACCOUNT);
	int ret;

	if (!buffer)
		return ERR_PTR(-ENOMEM);
	buffer->bidirectional = flags & LLMOS_DMABUF_BIDIRECTIONAL;
	buffer->file = dentry_open(&file->f_path, O_RDONLY | O_LARGEFILE, current_cred());
	if (IS_ERR(buffer->file)) {
		ret = PTR_ERR(buffer->file);
		kfree(buffer);
		return ERR_PTR(ret);
	}
	return buffer;
}

struct file *llmos_dmabuf_export(struct file *file, const struct llmos_model_dmabuf *args)
{
	DEFINE_DMA_BUF_EXPORT_INFO(info);
	struct dmabuf *buffer;
	struct dma_buf *dmabuf;
	int ret;

	if (args->flags & ~LLMOS_DMABUF_BIDIRECTIONAL)
		return ERR_PTR(-EINVAL);
	if ((args->flags & LLMOS_DMABUF_BIDIRECTIONAL) && !capable(CAP_SYS_RAWIO))
		return ERR_PTR(-EPERM);
	ret = llmos_grant_check(file);
	if (ret)
		return ERR_PTR(ret);
	buffer = dmabuf_new(file, args->flags);
	if (IS_ERR(buffer))
		return ERR_CAST(buffer);

	info.exp_name = "llmos";
	info.ops = &dmabuf_ops;
	info.size = PAGE_ALIGN(llmos_model_of(file)->bytes);
	info.flags = O_RDONLY | O_CLOEXEC;
	info.priv = buffer;
	dmabuf = dma_buf_export(&info);
	if (IS_ERR(dmabuf)) {
		fput(buffer->file);
		kfree(buffer);
		return ERR_CAST(dmabuf);
	}
	return dmabuf->file;
}
