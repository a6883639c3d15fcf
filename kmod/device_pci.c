// SPDX-License-Identifier: GPL-2.0-only
/*
 * Devices that the PCI bus tells of: display controllers and accelerators. What
 * they have of memory the bus does not tell; whoever knows it says so later.
 */
#include <linux/device.h>
#include <linux/notifier.h>
#include <linux/pci.h>

#include "llmos.h"
#include "device.h"

#define BASE_CLASS_ACCELERATOR 0x12

static bool pci_wanted(const struct pci_dev *pci)
{
	u32 base = pci->class >> 16;

	return base == PCI_BASE_CLASS_DISPLAY || base == BASE_CLASS_ACCELERATOR;
}

static void pci_appear(struct pci_dev *pci)
{
	const struct llmos_device_spec spec = {
		.id = pci_name(pci),
		.kind = LLMOS_DEVICE_PCI,
		.memory = LLMOS_DEVICE_MEMORY_UNKNOWN,
		.slots = 1,
		.origin = &pci->dev.kobj,
	};
	int ret;

	if (!pci_wanted(pci))
		return;
	ret = llmos_device_add(&spec);
	/* Told of twice: by the bus, and by the walk over what was there before. */
	if (ret && ret != -EEXIST)
		pr_warn("llmos: device %s: %d\n", pci_name(pci), ret);
}

static int pci_notify(struct notifier_block *block, unsigned long action, void *data)
{
	struct pci_dev *pci = to_pci_dev(data);

	switch (action) {
	case BUS_NOTIFY_ADD_DEVICE:
		pci_appear(pci);
		break;
	case BUS_NOTIFY_DEL_DEVICE:
		if (pci_wanted(pci))
			llmos_device_remove(pci_name(pci), LLMOS_DEVICE_PCI);
		break;
	}
	return NOTIFY_DONE;
}

static struct notifier_block pci_notifier = {
	.notifier_call = pci_notify,
};

/* The lock keeps functions from going between the walk's finding and adding them. */
int llmos_device_pci_init(void)
{
	struct pci_dev *pci = NULL;
	int ret;

	ret = bus_register_notifier(&pci_bus_type, &pci_notifier);
	if (ret)
		return ret;
	pci_lock_rescan_remove();
	for_each_pci_dev(pci)
		pci_appear(pci);
	pci_unlock_rescan_remove();
	return 0;
}

void llmos_device_pci_exit(void)
{
	bus_unregister_notifier(&pci_bus_type, &pci_notifier);
}
