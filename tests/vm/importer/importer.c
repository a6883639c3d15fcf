// SPDX-License-Identifier: GPL-2.0-only
/*
 * A driver for a device that is not there: it imports dma-bufs and pins user
 * memory as drivers of real ones do, and reads what their device would read,
 * at the bus addresses it was given. For tests alone; see importer.h.
 */
#include <linux/dma-buf.h>
#include <linux/dma-direct.h>
#include <linux/dma-mapping.h>
#include <linux/fs.h>
#include <linux/iommu.h>
#include <linux/miscdevice.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/platform_device.h>
#include <linux/slab.h>
#include <linux/uaccess.h>

#include "importer.h"

LLMOS_IMPORT_DMA_BUF;

#define PINS_MAX (1UL << 18)

static struct platform_device *platform;

struct importer {
	struct mutex lock;
	struct dma_buf_attachment *attachment;
	struct sg_table *table;
	enum dma_data_direction direction;
	struct page **pages;
	unsigned long pinned;
};

/* ---- dma-buf ---- */

static int importer_attach(struct importer *importer, int fd)
{
	struct dma_buf_attachment *attachment;
	struct dma_buf *dmabuf;

	if (importer->attachment)
		return -EBUSY;
	dmabuf = dma_buf_get(fd);
	if (IS_ERR(dmabuf))
		return PTR_ERR(dmabuf);
	attachment = dma_buf_attach(dmabuf, &platform->dev);
	if (IS_ERR(attachment)) {
		dma_buf_put(dmabuf);
		return PTR_ERR(attachment);
	}
	importer->attachment = attachment;
	return 0;
}

static int importer_map(struct importer *importer, struct importer_map *args)
{
	struct scatterlist *sg;
	struct sg_table *table;
	int i;

	if (!importer->attachment)
		return -ENOTCONN;
	if (importer->table)
		return -EBUSY;
	if (args->direction > DMA_FROM_DEVICE)
		return -EINVAL;
	table = dma_buf_map_attachment_unlocked(importer->attachment, args->direction);
	if (IS_ERR(table))
		return PTR_ERR(table);
	importer->table = table;
	importer->direction = args->direction;
	args->segments = 0;
	args->bytes = 0;
	for_each_sgtable_dma_sg(table, sg, i) {
		args->segments++;
		args->bytes += sg_dma_len(sg);
	}
	return 0;
}

static int importer_unmap(struct importer *importer)
{
	if (!importer->table)
		return -ENOTCONN;
	dma_buf_unmap_attachment_unlocked(importer->attachment, importer->table,
					  importer->direction);
	importer->table = NULL;
	return 0;
}

static int importer_detach(struct importer *importer)
{
	struct dma_buf *dmabuf;

	if (!importer->attachment)
		return -ENOTCONN;
	if (importer->table)
		return -EBUSY;
	dmabuf = importer->attachment->dmabuf;
	dma_buf_detach(dmabuf, importer->attachment);
	dma_buf_put(dmabuf);
	importer->attachment = NULL;
	return 0;
}

/* ---- pins ---- */

static unsigned int pin_flags(u32 flags)
{
	return (flags & IMPORTER_PIN_WRITE ? FOLL_WRITE : 0) |
	       (flags & IMPORTER_PIN_LONGTERM ? FOLL_LONGTERM : 0) |
	       (flags & IMPORTER_PIN_FORCE ? FOLL_FORCE : 0);
}

static int importer_pin(struct importer *importer, const struct importer_pin *args)
{
	unsigned long count = args->bytes >> PAGE_SHIFT;
	struct page **pages;
	int pinned;

	if (importer->pages)
		return -EBUSY;
	if (!count || count > PINS_MAX || !PAGE_ALIGNED(args->address | args->bytes))
		return -EINVAL;
	pages = kvmalloc_array(count, sizeof(*pages), GFP_KERNEL);
	if (!pages)
		return -ENOMEM;
	pinned = pin_user_pages_fast(args->address, count, pin_flags(args->flags), pages);
	if (pinned != count) {
		if (pinned > 0)
			unpin_user_pages(pages, pinned);
		kvfree(pages);
		return pinned < 0 ? pinned : -EFAULT;
	}
	importer->pages = pages;
	importer->pinned = count;
	return 0;
}

static int importer_unpin(struct importer *importer)
{
	if (!importer->pages)
		return -ENOTCONN;
	unpin_user_pages(importer->pages, importer->pinned);
	kvfree(importer->pages);
	importer->pages = NULL;
	importer->pinned = 0;
	return 0;
}

/* ---- what the device sees ---- */

static void *mapped_at(struct importer *importer, u64 offset)
{
	struct scatterlist *sg;
	int i;

	for_each_sgtable_dma_sg(importer->table, sg, i) {
		if (offset < sg_dma_len(sg))
			return phys_to_virt(dma_to_phys(&platform->dev, sg_dma_address(sg)) +
					    offset);
		offset -= sg_dma_len(sg);
	}
	return NULL;
}

static void *pinned_at(struct importer *importer, u64 offset)
{
	if (offset >> PAGE_SHIFT >= importer->pinned)
		return NULL;
	return page_address(importer->pages[offset >> PAGE_SHIFT]) + offset_in_page(offset);
}

static void *importer_at(struct importer *importer, u64 offset)
{
	if (importer->table)
		return mapped_at(importer, offset);
	return importer->pages ? pinned_at(importer, offset) : NULL;
}

static int importer_frame(struct importer *importer, struct importer_frame *args)
{
	void *at = importer_at(importer, args->offset);

	if (!at)
		return -ENXIO;
	args->frame = PHYS_PFN(virt_to_phys(at));
	return 0;
}

static ssize_t importer_read(struct file *file, char __user *user, size_t size, loff_t *pos)
{
	struct importer *importer = file->private_data;
	size_t done = 0, part;
	void *at;

	if (*pos < 0)
		return -EINVAL;
	mutex_lock(&importer->lock);
	while (done < size) {
		at = importer_at(importer, *pos + done);
		if (!at)
			break;
		part = min(size - done, PAGE_SIZE - offset_in_page(at));
		if (copy_to_user(user + done, at, part)) {
			mutex_unlock(&importer->lock);
			return -EFAULT;
		}
		done += part;
		cond_resched();
	}
	mutex_unlock(&importer->lock);
	*pos += done;
	return done;
}

/* ---- the character device ---- */

static int command_run(struct importer *importer, unsigned int number, unsigned long value,
		       void *args)
{
	switch (number) {
	case IMPORTER_ATTACH:
		return importer_attach(importer, value);
	case IMPORTER_MAP:
		return importer_map(importer, args);
	case IMPORTER_UNMAP:
		return importer_unmap(importer);
	case IMPORTER_DETACH:
		return importer_detach(importer);
	case IMPORTER_PIN:
		return importer_pin(importer, args);
	case IMPORTER_UNPIN:
		return importer_unpin(importer);
	case IMPORTER_FRAME:
		return importer_frame(importer, args);
	default:
		return -ENOTTY;
	}
}

static long importer_ioctl(struct file *file, unsigned int number, unsigned long value)
{
	struct importer *importer = file->private_data;
	union {
		struct importer_map map;
		struct importer_pin pin;
		struct importer_frame frame;
	} args;
	int ret;

	if (_IOC_SIZE(number) > sizeof(args))
		return -ENOTTY;
	if ((_IOC_DIR(number) & _IOC_WRITE) &&
	    copy_from_user(&args, (void __user *)value, _IOC_SIZE(number)))
		return -EFAULT;
	mutex_lock(&importer->lock);
	ret = command_run(importer, number, value, &args);
	mutex_unlock(&importer->lock);
	if (!ret && (_IOC_DIR(number) & _IOC_READ) &&
	    copy_to_user((void __user *)value, &args, _IOC_SIZE(number)))
		ret = -EFAULT;
	return ret;
}

static int importer_open(struct inode *inode, struct file *file)
{
	struct importer *importer = kzalloc(sizeof(*importer), GFP_KERNEL);

	if (!importer)
		return -ENOMEM;
	mutex_init(&importer->lock);
	file->private_data = importer;
	return 0;
}

static int importer_release(struct inode *inode, struct file *file)
{
	struct importer *importer = file->private_data;

	importer_unpin(importer);
	importer_unmap(importer);
	importer_detach(importer);
	kfree(importer);
	return 0;
}

static const struct file_operations importer_fops = {
	.owner = THIS_MODULE,
	.open = importer_open,
	.release = importer_release,
	.read = importer_read,
	.llseek = default_llseek,
	.unlocked_ioctl = importer_ioctl,
};

static struct miscdevice importer_misc = {
	.minor = MISC_DYNAMIC_MINOR,
	.name = "llmos-importer",
	.fops = &importer_fops,
	.mode = 0600,
};

/* Bus addresses are taken for physical ones when they are read. */
static int __init platform_init(void)
{
	int ret;

	platform = platform_device_register_simple("llmos-importer", PLATFORM_DEVID_NONE, NULL, 0);
	if (IS_ERR(platform))
		return PTR_ERR(platform);
	ret = dma_coerce_mask_and_coherent(&platform->dev, DMA_BIT_MASK(64));
	if (!ret && device_iommu_mapped(&platform->dev))
		ret = -EOPNOTSUPP;
	if (ret) {
		platform_device_unregister(platform);
		return ret;
	}
	dma_set_max_seg_size(&platform->dev, UINT_MAX);
	return 0;
}

static int __init importer_init(void)
{
	int ret = platform_init();

	if (ret)
		return ret;
	ret = misc_register(&importer_misc);
	if (ret)
		platform_device_unregister(platform);
	return ret;
}

static void __exit importer_exit(void)
{
	misc_deregister(&importer_misc);
	platform_device_unregister(platform);
}

module_init(importer_init);
module_exit(importer_exit);
MODULE_LICENSE("GPL");
MODULE_AUTHOR("The llmos authors");
MODULE_DESCRIPTION("Test importer of dma-bufs and pins");
