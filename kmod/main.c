// SPDX-License-Identifier: GPL-2.0-only
#include <linux/init.h>
#include <linux/module.h>

#include "llmos.h"
#include "device.h"
#include "group.h"
#include "hook.h"
#include "lane.h"
#include "task_class.h"

static int __init llmos_init(void)
{
	int ret;

	ret = llmos_memory_init();
	if (ret)
		return ret;
	ret = llmos_digest_init();
	if (ret)
		return ret;
	ret = llmos_signature_init();
	if (ret)
		goto err_digest;
	ret = llmos_modelfs_init();
	if (ret)
		goto err_signature;
	ret = llmos_evict_init();
	if (ret)
		goto err_modelfs;
	ret = llmos_sysfs_init();
	if (ret)
		goto err_evict;
	ret = llmos_hook_init();
	if (ret)
		goto err_sysfs;
	ret = llmos_knobs_init();
	if (ret)
		goto err_hook;
	ret = llmos_task_class_init();
	if (ret)
		goto err_knobs;
	ret = llmos_lane_init();
	if (ret)
		goto err_task_class;
	ret = llmos_group_init();
	if (ret)
		goto err_lane;
	ret = llmos_device_init();
	if (ret)
		goto err_group;
	ret = llmos_groupfs_init();
	if (ret)
		goto err_device;
	ret = llmos_chardev_init();
	if (ret)
		goto err_groupfs;

	pr_info("llmos " LLMOS_VERSION ": at most %llu MiB for models\n", llmos_memory_max() >> 20);
	return 0;

err_groupfs:
	llmos_groupfs_exit();
err_device:
	llmos_device_exit();
err_group:
	llmos_group_exit();
err_lane:
	llmos_lane_exit();
err_task_class:
	llmos_task_class_exit();
err_knobs:
	llmos_knobs_exit();
err_hook:
	llmos_hook_exit();
err_sysfs:
	llmos_sysfs_exit();
err_evict:
	llmos_evict_exit();
err_modelfs:
	llmos_modelfs_exit();
err_signature:
	llmos_signature_exit();
err_digest:
	llmos_digest_exit();
	return ret;
}

/* Every model, mount and descriptor holds the module: nothing of them is left here. */
static void __exit llmos_exit(void)
{
	llmos_chardev_exit();
	llmos_groupfs_exit();
	llmos_device_exit();
	llmos_group_exit();
	llmos_lane_exit();
	llmos_task_class_exit();
	llmos_knobs_exit();
	llmos_hook_exit();
	llmos_sysfs_exit();
	llmos_evict_exit();
	llmos_modelfs_exit();
	llmos_signature_exit();
	llmos_digest_exit();
}

module_init(llmos_init);
module_exit(llmos_exit);
MODULE_LICENSE("GPL");
MODULE_AUTHOR("The llmos authors");
MODULE_DESCRIPTION("Operating-system support for large language models");
MODULE_VERSION(LLMOS_VERSION);
/* Accelerated drivers of SHA-256, where the kernel has them as modules. */
MODULE_SOFTDEP("pre: crypto-sha256");
