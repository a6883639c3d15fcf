/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Devices: what lanes run on and charges are made on.
 *
 * A device is present or gone. Its object outlives its presence while anybody
 * holds a reference, and a device that comes back under the same id is given
 * the same object: limits and charges of groups belong to the object, so hot
 * removal loses none of them. Lanes do not come back to life: each remembers the
 * generation in which it was made.
 *
 * Locks: llmos_device_mutex (device.c) covers the table, presence, and setting of
 * memory and slots; lanes' own lock nests inside it. Readers of ->memory, ->slots,
 * ->gone and ->generation take no lock and use READ_ONCE().
 */
#ifndef LLMOS_DEVICE_H
#define LLMOS_DEVICE_H

#include <linux/kobject.h>
#include <linux/kref.h>
#include <linux/list.h>
#include <linux/types.h>
#include <linux/llmos.h>

#include "lane.h"

struct device_dir;
struct dmem_cgroup_region;
struct pci_dev;

enum llmos_device_kind {
	LLMOS_DEVICE_CPU,
	LLMOS_DEVICE_PCI,	/* found by itself */
	LLMOS_DEVICE_ADDED,	/* by an administrator */
};

struct llmos_device {
	struct kref kref;
	char id[LLMOS_DEVICE_ID_SIZE];	/* "cpu", "0000:01:00.0"; constant */
	enum llmos_device_kind kind;	/* constant while present */
	u32 index;			/* key of groups' tables; not reused while the object lives */

	u64 memory;			/* capacity in bytes; S64_MAX: nobody has told */
	u32 slots;			/* lanes that may run at once, at least 1 */
	u32 generation;			/* presence begins: + 1 */
	bool gone;			/* no new lane or charge, ENODEV */

	struct llmos_lanes lanes;	/* of lane.h: everything that lane.c keeps per device */

	/* device.c */
	struct list_head node;
	struct device_dir *dir;		/* in sysfs; NULL when gone */
	struct dmem_cgroup_region *dmem;	/* dmem.c */
};

/*
 * What device.c calls in lane.c (lane.h has them):
 *
 *   llmos_lanes_init(device)      once per object, before anybody can find it; may
 *                                 fail
 *   llmos_lanes_shutdown(device)  on removal; ->gone is set already. Wakes every
 *                                 waiting lane with ENODEV; takes turns away. Waits
 *                                 for nobody: holders find out at their release.
 *   llmos_lanes_changed(device)   ->slots was changed
 *   llmos_lanes_exit(device)      once per object: no lane is left, since each
 *                                 holds a reference to the device
 *
 * All of them in process context; init, shutdown and changed under
 * llmos_device_mutex. Nothing is called when a device comes back: ->generation is
 * increased, then ->gone cleared.
 */

bool llmos_device_id_valid(const char *id);

int llmos_device_init(void);
void llmos_device_exit(void);

/* The present device of that id with a reference, or NULL. */
struct llmos_device *llmos_device_find(const char *id);
/* The same for an id from userspace, that may not be terminated; ERR_PTR(-EINVAL, -ENODEV). */
struct llmos_device *llmos_device_find_user(const char id[LLMOS_DEVICE_ID_SIZE]);
static inline struct llmos_device *llmos_device_get(struct llmos_device *device)
{
	kref_get(&device->kref);
	return device;
}
/* May sleep; not under llmos_device_mutex. NULL is nothing. */
void llmos_device_put(struct llmos_device *device);

/*
 * All present devices, by ascending index: begin with NULL; takes a reference to
 * the next and drops the one to @device.
 */
struct llmos_device *llmos_device_next(struct llmos_device *device);

struct llmos_device_spec {
	const char *id;
	enum llmos_device_kind kind;
	u64 memory;
	u32 slots;
	struct kobject *origin;		/* what the link "device" leads to, or NULL */
};
int llmos_device_add(const struct llmos_device_spec *spec);	/* EEXIST, ENOSPC, ENOMEM */
int llmos_device_remove(const char *id, enum llmos_device_kind kind);	/* ENODEV, EBUSY: of another kind */
void llmos_device_set_memory(struct llmos_device *device, u64 bytes);
void llmos_device_set_slots(struct llmos_device *device, u32 slots);

/* The commands LLMOS_DEVICE_* */
struct llmos_call;
int llmos_device_run_add(struct llmos_call *call);
int llmos_device_run_remove(struct llmos_call *call);
int llmos_device_run_set(struct llmos_call *call);

/* device_pci.c */
#ifdef CONFIG_PCI
int llmos_device_pci_init(void);
void llmos_device_pci_exit(void);
#else
static inline int llmos_device_pci_init(void) { return 0; }
static inline void llmos_device_pci_exit(void) { }
#endif

#endif
