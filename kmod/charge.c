// SPDX-License-Identifier: GPL-2.0-only
/*
 * Charges: bytes of a device's memory accounted to a group, for as long as a
 * descriptor lives.
 *
 * Bytes are added to each account from the group's to the root's, each by a
 * compare and exchange that checks its limit: no limit is passed, whoever else is
 * charging. What was added below an account that refuses is taken back; in that
 * moment it can refuse others in the same subtree, as in the kernel's own
 * controllers.
 */
#include <linux/anon_inodes.h>
#include <linux/file.h>
#include <linux/fs.h>
#include <linux/mutex.h>
#include <linux/seq_file.h>
#include <linux/slab.h>

#include "llmos.h"
#include "charge.h"
#include "device.h"
#include "dmem.h"
#include "group.h"
#include "hook.h"

struct charge {
	struct mutex lock;		/* bytes, dmem */
	struct llmos_group_device *gd;	/* constant; its group is held */
	u64 bytes;
	struct llmos_dmem_charge dmem;
};

/* ---- accounts ---- */

static s64 account_limit(const struct llmos_group_device *gd)
{
	return gd->parent ? READ_ONCE(gd->memory_max) : READ_ONCE(gd->device->memory);
}

static bool account_try_add(struct llmos_group_device *gd, s64 bytes)
{
	s64 now = atomic64_read(&gd->memory_current);

	do {
		if (bytes > account_limit(gd) - now)
			return false;
	} while (!atomic64_try_cmpxchg(&gd->memory_current, &now, now + bytes));
	return true;
}

static void account_note_peak(struct llmos_group_device *gd)
{
	s64 now = atomic64_read(&gd->memory_current), peak = atomic64_read(&gd->memory_peak);

	while (now > peak && !atomic64_try_cmpxchg(&gd->memory_peak, &peak, now))
		;
}

static void accounts_sub(struct llmos_group_device *from, const struct llmos_group_device *end,
			 s64 bytes)
{
	for (; from != end; from = from->parent)
		atomic64_sub(bytes, &from->memory_current);
}

/* Returns the account that refused, or NULL. */
static struct llmos_group_device *accounts_add(struct llmos_group_device *first, s64 bytes)
{
	struct llmos_group_device *gd;

	for (gd = first; gd; gd = gd->parent) {
		if (account_try_add(gd, bytes))
			continue;
		accounts_sub(first, gd, bytes);
		return gd;
	}
	for (gd = first; gd; gd = gd->parent)
		account_note_peak(gd);
	return NULL;
}

static int account_refused(struct llmos_group_device *first, struct llmos_group_device *refused,
			   u64 *group)
{
	struct llmos_group_device *gd;

	for (gd = first; gd != refused; gd = gd->parent)
		if (atomic64_read(&gd->memory_current) < READ_ONCE(gd->memory_low))
			atomic64_inc(&gd->memory_events_low);
	if (!refused->parent)
		return -ENOSPC;
	atomic64_inc(&refused->memory_events_max);
	*group = refused->group->id;
	return -EDQUOT;
}

/* ---- a charge ---- */

/* What a policy says to it. */
static int charge_admit(const struct charge *charge, u64 bytes)
{
	struct llmos_admit_ctx ctx = {
		.what = LLMOS_ADMIT_CHARGE,
		.bytes = bytes,
		.current_bytes = atomic64_read(&charge->gd->memory_current),
		.max_bytes = READ_ONCE(charge->gd->memory_max),
	};

	strscpy(ctx.device, charge->gd->device->id);
	return llmos_ask_admit(&ctx);
}

static int charge_grow(struct charge *charge, u64 bytes, u64 *group)
{
	struct llmos_group_device *refused;
	int ret;

	if (READ_ONCE(charge->gd->device->gone))
		return -ENODEV;
	ret = charge_admit(charge, bytes);
	if (ret)
		return ret;
	refused = accounts_add(charge->gd, bytes);
	if (refused)
		return account_refused(charge->gd, refused, group);
	ret = llmos_dmem_charge(&charge->dmem, charge->gd->device, bytes);
	if (ret)
		accounts_sub(charge->gd, NULL, bytes);
	return ret;
}

static void charge_shrink(struct charge *charge, u64 bytes)
{
	llmos_dmem_uncharge(&charge->dmem, bytes);
	accounts_sub(charge->gd, NULL, bytes);
}

static int charge_set(struct charge *charge, struct llmos_charge *args)
{
	int ret = 0;

	args->refused = 0;
	if (args->flags)
		return -EINVAL;
	if (args->bytes > S64_MAX)
		return -ENOSPC;
	mutex_lock(&charge->lock);
	if (args->bytes > charge->bytes)
		ret = charge_grow(charge, args->bytes - charge->bytes, &args->refused);
	else if (args->bytes < charge->bytes)
		charge_shrink(charge, charge->bytes - args->bytes);
	if (!ret)
		charge->bytes = args->bytes;
	mutex_unlock(&charge->lock);
	return ret;
}

static void charge_stat(struct charge *charge, struct llmos_charge *args)
{
	mutex_lock(&charge->lock);
	args->bytes = charge->bytes;
	mutex_unlock(&charge->lock);
	args->group = charge->gd->group->id;
	args->refused = 0;
	strscpy_pad(args->id, charge->gd->device->id);
}

static void charge_free(struct charge *charge)
{
	charge_shrink(charge, charge->bytes);
	llmos_group_put(charge->gd->group);
	mutex_destroy(&charge->lock);
	kfree(charge);
}

/* Of nothing, to the caller's group. */
static struct charge *charge_alloc(struct llmos_device *device)
{
	struct llmos_group *group = llmos_group_of_current();
	struct llmos_group_device *gd;
	struct charge *charge;

	if (IS_ERR(group))
		return ERR_CAST(group);
	gd = llmos_group_device(group, device);
	if (IS_ERR(gd)) {
		llmos_group_put(group);
		return ERR_CAST(gd);
	}
	charge = kzalloc(sizeof(*charge), GFP_KERNEL_ACCOUNT);
	if (!charge) {
		llmos_group_put(group);
		return ERR_PTR(-ENOMEM);
	}
	mutex_init(&charge->lock);
	charge->gd = gd;
	llmos_dmem_init(&charge->dmem);
	return charge;
}

/* ---- its descriptor ---- */

static int run_set(struct llmos_call *call)
{
	struct charge *charge = call->file->private_data;
	struct llmos_charge *args = call->args;

	args->group = charge->gd->group->id;
	strscpy_pad(args->id, charge->gd->device->id);
	return charge_set(charge, args);
}

static int run_stat(struct llmos_call *call)
{
	struct llmos_charge *args = call->args;

	if (args->flags)
		return -EINVAL;
	charge_stat(call->file->private_data, args);
	return 0;
}

static const struct llmos_command charge_commands[] = {
	{ LLMOS_CHARGE_SET, sizeof(struct llmos_charge), run_set },
	{ LLMOS_CHARGE_STAT, sizeof(struct llmos_charge), run_stat },
};

static long charge_ioctl(struct file *file, unsigned int number, unsigned long address)
{
	return llmos_command_run(charge_commands, ARRAY_SIZE(charge_commands), file, number,
				 (void __user *)address);
}

static int charge_release(struct inode *inode, struct file *file)
{
	charge_free(file->private_data);
	return 0;
}

static void charge_fdinfo(struct seq_file *seq, struct file *file)
{
	struct llmos_charge args;

	charge_stat(file->private_data, &args);
	seq_printf(seq, "llmos-device:\t%s\nllmos-bytes:\t%llu\nllmos-group:\t%llu\n", args.id,
		   args.bytes, args.group);
}

static const struct file_operations charge_fops = {
	.owner = THIS_MODULE,
	.release = charge_release,
	.unlocked_ioctl = charge_ioctl,
	.compat_ioctl = compat_ptr_ioctl,
	.show_fdinfo = charge_fdinfo,
	.llseek = noop_llseek,
};

int llmos_charge_run_create(struct llmos_call *call)
{
	struct llmos_charge *args = call->args;
	struct llmos_device *device = llmos_device_find_user(args->id);
	struct charge *charge;
	int ret;

	if (IS_ERR(device))
		return PTR_ERR(device);
	charge = charge_alloc(device);
	llmos_device_put(device);	/* the account holds it */
	if (IS_ERR(charge))
		return PTR_ERR(charge);
	args->group = charge->gd->group->id;
	ret = charge_set(charge, args);
	if (!ret) {
		call->result = anon_inode_getfile("[llmos-charge]", &charge_fops, charge, O_RDWR);
		ret = PTR_ERR_OR_ZERO(call->result);
	}
	if (ret) {
		call->result = NULL;
		charge_free(charge);
	}
	return ret;
}
