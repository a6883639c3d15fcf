// SPDX-License-Identifier: GPL-2.0-only
/* /dev/llmos: the table of commands, and how any command's struct gets in and out. */
#include <linux/file.h>
#include <linux/miscdevice.h>
#include <linux/module.h>
#include <linux/mutex.h>

#include "llmos.h"
#include "charge.h"
#include "control.h"
#include "device.h"
#include "hook.h"
#include "lane.h"

union llmos_args {
	u32 size;
	struct llmos_query query;
	struct llmos_model_create create;
	struct llmos_model_name name;
	struct llmos_model_set set;
	struct llmos_model_revoke revoke;
	struct llmos_grant_list list;
	struct llmos_model_stat stat;
	struct llmos_model_fill fill;
	struct llmos_model_seal seal;
	struct llmos_model_dmabuf dmabuf;
	struct llmos_device_args device;
	struct llmos_charge charge;
	struct llmos_group_open group;
	struct llmos_lane_create lane;
	struct llmos_lane_turn turn;
	struct llmos_lane_stat lane_stat;
};

/* ---- any command ---- */

static const struct llmos_command *command_find(const struct llmos_command *table, size_t count,
						unsigned int number)
{
	size_t i;

	for (i = 0; i < count; i++)
		if (table[i].number == number)
			return &table[i];
	return NULL;
}

/* The descriptor is installed last: nothing that can fail comes after it. */
static long command_finish(struct llmos_call *call, void __user *address, size_t usize, u32 size,
			   int ret)
{
	int fd = -1;

	if (call->result) {
		fd = get_unused_fd_flags(O_CLOEXEC);
		if (fd < 0)
			ret = fd;
	}
	if (copy_struct_to_user(address, usize, call->args, size, NULL))
		ret = -EFAULT;
	if (!call->result)
		return ret;
	if (ret) {
		if (fd >= 0)
			put_unused_fd(fd);
		fput(call->result);
		return ret;
	}
	fd_install(fd, call->result);
	return fd;
}

long llmos_command_run(const struct llmos_command *table, size_t count, struct file *file,
		       unsigned int number, void __user *address)
{
	const struct llmos_command *command = command_find(table, count, number);
	union llmos_args args = {};
	struct llmos_call call = { .file = file, .args = &args };
	u32 usize;
	int ret;

	if (!command)
		return -ENOTTY;
	if (get_user(usize, (u32 __user *)address))
		return -EFAULT;
	if (usize < sizeof(usize))
		return -EINVAL;
	if (usize > PAGE_SIZE)
		return -E2BIG;
	ret = copy_struct_from_user(&args, command->size, address, usize);
	if (ret)
		return ret;
	args.size = usize;
	ret = command->run(&call);
	args.size = command->size;
	return command_finish(&call, address, usize, command->size, ret);
}

/* ---- the commands of /dev/llmos ---- */

/* A named model that the caller may read the attributes of, or control. */
static struct llmos_model *named_model(const char *name, bool control)
{
	struct llmos_model *model;

	if (!llmos_name_valid(name))
		return ERR_PTR(-EINVAL);
	model = llmos_model_get(name);
	if (!model)
		return ERR_PTR(-ENOENT);
	if (control && !llmos_model_may_control(model)) {
		llmos_model_put(model);
		return ERR_PTR(-EPERM);
	}
	return model;
}

static int run_query(struct llmos_call *call)
{
	struct llmos_query *query = call->args;

	if (query->abi != LLMOS_ABI_VERSION)
		return -EPROTO;
	if (query->features & ~LLMOS_FEATURES_ALL)
		return -EOPNOTSUPP;
	if (query->flags || query->reserved)
		return -EINVAL;

	query->features = LLMOS_FEATURES_ALL;
	query->memory_max = llmos_memory_max();
	query->memory_current = llmos_memory_current();
	query->memory_peak = llmos_memory_peak();
	query->page_size = HPAGE_PMD_SIZE;
	query->models = llmos_model_count();
	query->keyring = llmos_signature_keyring();
	query->flags = llmos_signature_required() ? LLMOS_QUERY_SIGNATURE_REQUIRED : 0;
	call->file->private_data = call->file;	/* any value but NULL: negotiated */
	return 0;
}

static int run_create(struct llmos_call *call)
{
	struct llmos_model *model;
	int ret;

	ret = llmos_modelfs_pin();
	if (ret)
		return ret;
	model = llmos_model_create(call->args);
	if (IS_ERR(model)) {
		ret = PTR_ERR(model);
	} else {
		call->result = llmos_modelfs_open_loader(model);
		ret = PTR_ERR_OR_ZERO(call->result);
		if (ret)
			call->result = NULL;
	}
	llmos_modelfs_unpin();	/* the file holds it now */
	return ret;
}

/* For its owner and CAP_SYS_ADMIN. */
static int with_model(struct llmos_call *call, int (*act)(struct llmos_model *model))
{
	struct llmos_model_name *args = call->args;
	struct llmos_model *model;
	int ret;

	if (args->flags)
		return -EINVAL;
	model = named_model(args->name, true);
	if (IS_ERR(model))
		return PTR_ERR(model);
	ret = act(model);
	llmos_model_put(model);
	return ret;
}

static int run_remove(struct llmos_call *call)
{
	return with_model(call, llmos_model_remove);
}

static int run_evict(struct llmos_call *call)
{
	return with_model(call, llmos_evict_model);
}

static int run_set(struct llmos_call *call)
{
	struct llmos_model_set *args = call->args;
	struct llmos_model *model;

	if (args->mask & ~(LLMOS_SET_EVICTABLE | LLMOS_SET_PRIORITY) ||
	    args->flags & ~LLMOS_MODEL_EVICTABLE)
		return -EINVAL;
	model = named_model(args->name, true);
	if (IS_ERR(model))
		return PTR_ERR(model);
	llmos_model_set(model, args);
	llmos_model_put(model);
	return 0;
}

static int run_revoke(struct llmos_call *call)
{
	struct llmos_model_revoke *args = call->args;
	struct llmos_model *model = named_model(args->name, true);
	int ret;

	if (IS_ERR(model))
		return PTR_ERR(model);
	ret = llmos_grant_revoke(model, args);
	llmos_event(LLMOS_EVENT_REVOKE, model, ret ? 0 : args->revoked, ret);
	llmos_model_put(model);
	return ret;
}

static int run_list(struct llmos_call *call)
{
	struct llmos_grant_list *args = call->args;
	struct llmos_model *model = named_model(args->name, true);
	int ret;

	if (IS_ERR(model))
		return PTR_ERR(model);
	ret = llmos_grant_list(model, args);
	llmos_model_put(model);
	return ret;
}

static int run_stat(struct llmos_call *call)
{
	struct llmos_model_stat *args = call->args;
	struct llmos_model *model = named_model(args->name, false);

	if (IS_ERR(model))
		return PTR_ERR(model);
	llmos_model_stat(model, args);
	llmos_model_put(model);
	return 0;
}

static const struct llmos_command commands[] = {
	{ LLMOS_QUERY, sizeof(struct llmos_query), run_query },
	{ LLMOS_MODEL_CREATE, sizeof(struct llmos_model_create), run_create },
	{ LLMOS_MODEL_REMOVE, sizeof(struct llmos_model_name), run_remove },
	{ LLMOS_MODEL_SET, sizeof(struct llmos_model_set), run_set },
	{ LLMOS_MODEL_EVICT, sizeof(struct llmos_model_name), run_evict },
	{ LLMOS_MODEL_REVOKE, sizeof(struct llmos_model_revoke), run_revoke },
	{ LLMOS_GRANT_LIST, sizeof(struct llmos_grant_list), run_list },
	{ LLMOS_MODEL_STAT, sizeof(struct llmos_model_stat), run_stat },
	{ LLMOS_DEVICE_ADD, sizeof(struct llmos_device_args), llmos_device_run_add },
	{ LLMOS_DEVICE_REMOVE, sizeof(struct llmos_device_args), llmos_device_run_remove },
	{ LLMOS_DEVICE_SET, sizeof(struct llmos_device_args), llmos_device_run_set },
	{ LLMOS_CHARGE_CREATE, sizeof(struct llmos_charge), llmos_charge_run_create },
	{ LLMOS_GROUP_OPEN, sizeof(struct llmos_group_open), llmos_group_run_open },
	{ LLMOS_LANE_CREATE, sizeof(struct llmos_lane_create), llmos_lane_create },
};

static long chardev_ioctl(struct file *file, unsigned int number, unsigned long address)
{
	if (number != LLMOS_QUERY && !READ_ONCE(file->private_data))
		return -EPROTO;
	return llmos_command_run(commands, ARRAY_SIZE(commands), file, number,
				 (void __user *)address);
}

static int chardev_open(struct inode *inode, struct file *file)
{
	file->private_data = NULL;	/* misc_open() left the device here */
	return 0;
}

static const struct file_operations chardev_fops = {
	.owner = THIS_MODULE,
	.open = chardev_open,
	.unlocked_ioctl = chardev_ioctl,
	.compat_ioctl = compat_ptr_ioctl,
	.llseek = noop_llseek,
};

/* Root's alone until udev gives it to the group llmos. */
static struct miscdevice chardev = {
	.minor = MISC_DYNAMIC_MINOR,
	.name = "llmos",
	.fops = &chardev_fops,
	.mode = 0600,
};

int llmos_chardev_init(void)
{
	return misc_register(&chardev);
}

void llmos_chardev_exit(void)
{
	misc_deregister(&chardev);
}
