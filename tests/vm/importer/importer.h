/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
/*
 * What the tests say to the module llmos-importer, which stands for a driver
 * that lets a device read a model.
 *
 * Each open of /dev/llmos-importer is one device. It can be attached to one
 * dma-buf, or hold one run of pinned pages; closing lets go of all. read() and
 * pread() give the bytes that the device would see.
 */
#ifndef LLMOS_TEST_IMPORTER_H
#define LLMOS_TEST_IMPORTER_H

#include <linux/ioctl.h>
#include <linux/types.h>

#define IMPORTER_DEVICE "/dev/llmos-importer"

/* As the kernel's enum dma_data_direction */
#define IMPORTER_BIDIRECTIONAL	0
#define IMPORTER_TO_DEVICE	1
#define IMPORTER_FROM_DEVICE	2

struct importer_map {
	__u32 direction;
	__u32 segments;		/* out */
	__u64 bytes;		/* out: of all segments */
};

#define IMPORTER_PIN_WRITE	(1U << 0)
#define IMPORTER_PIN_LONGTERM	(1U << 1)
#define IMPORTER_PIN_FORCE	(1U << 2)

struct importer_pin {
	__u64 address;		/* of whole pages of the caller's memory */
	__u64 bytes;
	__u32 flags;
	__u32 reserved;
};

struct importer_frame {
	__u64 offset;
	__u64 frame;		/* out: number of the page that holds that byte */
};

#define IMPORTER_ATTACH	_IO(0xe8, 0)	/* argument: the dma-buf's descriptor */
#define IMPORTER_MAP	_IOWR(0xe8, 1, struct importer_map)
#define IMPORTER_UNMAP	_IO(0xe8, 2)
#define IMPORTER_DETACH	_IO(0xe8, 3)
#define IMPORTER_PIN	_IOW(0xe8, 4, struct importer_pin)
#define IMPORTER_UNPIN	_IO(0xe8, 5)
#define IMPORTER_FRAME	_IOWR(0xe8, 6, struct importer_frame)

#endif
