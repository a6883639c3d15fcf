// SPDX-License-Identifier: GPL-2.0-only
/* Each device as a region of the kernel's dmem controller; each charge counts there too. */
#include <linux/cgroup_dmem.h>
#include <linux/slab.h>

#include "llmos.h"
#include "device.h"
#include "dmem.h"

/*
 * What one growth of a charge took, in the cgroup of whoever made it grow. The
 * controller takes it back whole: a charge that shrinks by less than its latest
 * growth keeps it there for now.
 */
struct piece {
	struct list_head node;
	struct dmem_cgroup_pool_state *pool;
	u64 bytes;
	u64 left;		/* of them, still wanted */
};

/*
 * A region stays as long as the device's object, not its presence: charges that
 * outlive a removal count in it. Without one, our own limits work as ever.
 */
void llmos_dmem_register(struct llmos_device *device)
{
	struct dmem_cgroup_region *region;

	if (device->dmem)
		return;
	region = llmos_dmem_register_region(device->memory, "llmos/%s", device->id);
	if (IS_ERR(region))
		pr_warn("llmos: device %s is no region of dmem: %ld\n", device->id,
			PTR_ERR(region));
	else
		device->dmem = region;
}

void llmos_dmem_unregister(struct llmos_device *device)
{
	if (device->dmem)
		dmem_cgroup_unregister_region(device->dmem);
}

void llmos_dmem_init(struct llmos_dmem_charge *charge)
{
	INIT_LIST_HEAD(&charge->pieces);
}

/* Refused by a limit of that controller: its EAGAIN would mean something else to our callers. */
int llmos_dmem_charge(struct llmos_dmem_charge *charge, struct llmos_device *device, u64 bytes)
{
	struct piece *piece;
	int ret;

	if (!device->dmem || !bytes)
		return 0;
	piece = kzalloc(sizeof(*piece), GFP_KERNEL_ACCOUNT);
	if (!piece)
		return -ENOMEM;
	ret = dmem_cgroup_try_charge(device->dmem, bytes, &piece->pool, NULL);
	if (ret) {
		kfree(piece);
		return ret == -EAGAIN ? -EDQUOT : ret;
	}
	piece->bytes = bytes;
	piece->left = bytes;
	list_add(&piece->node, &charge->pieces);
	return 0;
}

void llmos_dmem_uncharge(struct llmos_dmem_charge *charge, u64 bytes)
{
	struct piece *piece, *next;
	u64 taken;

	list_for_each_entry_safe(piece, next, &charge->pieces, node) {
		taken = min(bytes, piece->left);
		piece->left -= taken;
		bytes -= taken;
		if (piece->left)
			break;
		list_del(&piece->node);
		dmem_cgroup_uncharge(piece->pool, piece->bytes);
		kfree(piece);
	}
}
