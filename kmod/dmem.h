/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The kernel's own controller of device memory, where it has one: each device is
 * a region of it, "llmos/ID", and each charge counts there as well, so that
 * dmem.max binds our clients as it binds drivers.
 */
#ifndef LLMOS_DMEM_H
#define LLMOS_DMEM_H

#include <linux/list.h>
#include <linux/types.h>

struct llmos_device;

#ifdef LLMOS_HAVE_DMEM

#include <linux/cgroup_dmem.h>

/* The registration took a struct later; Kbuild looks which one this kernel has. */
#ifdef LLMOS_DMEM_HAS_INIT
#define llmos_dmem_register_region(bytes, format, ...)				\
	dmem_cgroup_register_region(&(const struct dmem_cgroup_init) { .size = (bytes) },	\
				    format, __VA_ARGS__)
#else
#define llmos_dmem_register_region dmem_cgroup_register_region
#endif

struct llmos_dmem_charge {
	struct list_head pieces;	/* one for each growth, the latest first */
};

void llmos_dmem_register(struct llmos_device *device);
void llmos_dmem_unregister(struct llmos_device *device);
void llmos_dmem_init(struct llmos_dmem_charge *charge);
int llmos_dmem_charge(struct llmos_dmem_charge *charge, struct llmos_device *device, u64 bytes);
void llmos_dmem_uncharge(struct llmos_dmem_charge *charge, u64 bytes);

#else

struct llmos_dmem_charge {
};

static inline void llmos_dmem_register(struct llmos_device *device) { }
static inline void llmos_dmem_unregister(struct llmos_device *device) { }
static inline void llmos_dmem_init(struct llmos_dmem_charge *charge) { }

static inline int llmos_dmem_charge(struct llmos_dmem_charge *charge, struct llmos_device *device,
				    u64 bytes)
{
	return 0;
}

static inline void llmos_dmem_uncharge(struct llmos_dmem_charge *charge, u64 bytes) { }

#endif
#endif
