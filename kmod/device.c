// SPDX-License-Identifier: GPL-2.0-only
/*
 * The table of devices, and /sys/fs/llmos/devices.
 *
 * The CPU is always there. device_pci.c adds and removes what the bus tells,
 * administrators add others.
 */
#include <linux/capability.h>
#include <linux/cgroup.h>
#include <linux/cpumask.h>
#include <linux/idr.h>
#include <linux/kobject.h>
#include <linux/math64.h>
#include <linux/mm.h>
#include <linux/mutex.h>
#include <linux/slab.h>
#include <linux/sysfs.h>

#include "llmos.h"
#include "device.h"
#include "group.h"
#include "dmem.h"

#define DEVICES_MAX 1024	/* objects, gone ones included */

/* A device's directory: made when it appears, removed when it goes. */
struct device_dir {
	struct kobject kobj;
	struct llmos_device *device;	/* not held: see dir_remove() */
};

/*
 * Appearing and going, one at a time, with their directories. Outside of
 * llmos_device_mutex, because a directory's removal waits for its readers and
 * writers, who take that.
 */
static DEFINE_MUTEX(presence_mutex);

static DEFINE_MUTEX(llmos_device_mutex);	/* see device.h */
static LIST_HEAD(devices);			/* every object, by ascending index */
static unsigned int device_count;
static DEFINE_IDA(indices);

static struct kobject *devices_kobj;

/* A name, but not a word that control files have another meaning for. */
bool llmos_device_id_valid(const char *id)
{
	return strnlen(id, LLMOS_DEVICE_ID_SIZE) < LLMOS_DEVICE_ID_SIZE && llmos_name_valid(id) &&
	       strcmp(id, "default");
}

/* ---- the table ---- */

static struct llmos_device *table_find(const char *id)
{
	struct llmos_device *device;

	lockdep_assert_held(&llmos_device_mutex);
	list_for_each_entry(device, &devices, node)
		if (!strcmp(device->id, id))
			return device;
	return NULL;
}

/* By index, so that listings keep an order although indices are used again. */
static void table_add(struct llmos_device *device)
{
	struct llmos_device *next;

	list_for_each_entry(next, &devices, node)
		if (next->index > device->index)
			break;
	list_add_tail(&device->node, &next->node);
	device_count++;
}

struct llmos_device *llmos_device_find(const char *id)
{
	struct llmos_device *device;

	mutex_lock(&llmos_device_mutex);
	device = table_find(id);
	if (device && device->gone)
		device = NULL;
	if (device)
		llmos_device_get(device);
	mutex_unlock(&llmos_device_mutex);
	return device;
}

struct llmos_device *llmos_device_find_user(const char id[LLMOS_DEVICE_ID_SIZE])
{
	struct llmos_device *device;

	if (!llmos_device_id_valid(id))
		return ERR_PTR(-EINVAL);
	device = llmos_device_find(id);
	return device ?: ERR_PTR(-ENODEV);
}

struct llmos_device *llmos_device_next(struct llmos_device *device)
{
	struct llmos_device *next, *found = NULL;

	mutex_lock(&llmos_device_mutex);
	list_for_each_entry(next, &devices, node) {
		if (next->gone || (device && next->index <= device->index))
			continue;
		found = llmos_device_get(next);
		break;
	}
	mutex_unlock(&llmos_device_mutex);
	llmos_device_put(device);
	return found;
}

/* ---- the object ---- */

static void device_free(struct llmos_device *device)
{
	llmos_dmem_unregister(device);
	llmos_lanes_exit(device);
	ida_free(&indices, device->index);
	kfree(device);
}

static void device_release(struct kref *kref)
{
	struct llmos_device *device = container_of(kref, struct llmos_device, kref);

	list_del(&device->node);
	device_count--;
	mutex_unlock(&llmos_device_mutex);
	device_free(device);
}

void llmos_device_put(struct llmos_device *device)
{
	if (device)
		kref_put_mutex(&device->kref, device_release, &llmos_device_mutex);
}

/* Gone, and known to nobody. */
static struct llmos_device *device_alloc(const char *id)
{
	struct llmos_device *device = kzalloc(sizeof(*device), GFP_KERNEL);
	int ret;

	if (!device)
		return ERR_PTR(-ENOMEM);
	kref_init(&device->kref);
	strscpy(device->id, id);
	device->gone = true;
	ret = ida_alloc(&indices, GFP_KERNEL);
	if (ret < 0)
		goto err_free;
	device->index = ret;
	ret = llmos_lanes_init(device);
	if (ret)
		goto err_index;
	return device;

err_index:
	ida_free(&indices, device->index);
err_free:
	kfree(device);
	return ERR_PTR(ret);
}

/* The object of that id, gone, with a reference: the former one if it is still used. */
static struct llmos_device *device_get_gone(const char *id)
{
	struct llmos_device *device;

	mutex_lock(&llmos_device_mutex);
	device = table_find(id);
	if (device) {
		device = device->gone ? llmos_device_get(device) : ERR_PTR(-EEXIST);
	} else if (device_count >= DEVICES_MAX) {
		device = ERR_PTR(-ENOSPC);
	} else {
		device = device_alloc(id);
		if (!IS_ERR(device))
			table_add(device);
	}
	mutex_unlock(&llmos_device_mutex);
	return device;
}

void llmos_device_set_memory(struct llmos_device *device, u64 bytes)
{
	WRITE_ONCE(device->memory, bytes);
}

void llmos_device_set_slots(struct llmos_device *device, u32 slots)
{
	mutex_lock(&llmos_device_mutex);
	WRITE_ONCE(device->slots, slots);
	if (!device->gone)
		llmos_lanes_changed(device);
	mutex_unlock(&llmos_device_mutex);
}

/* ---- its directory ---- */

static struct llmos_device *device_of(struct kobject *kobj)
{
	return container_of(kobj, struct device_dir, kobj)->device;
}

static ssize_t kind_show(struct kobject *kobj, struct kobj_attribute *attr, char *buf)
{
	static const char *const names[] = {
		[LLMOS_DEVICE_CPU] = "cpu",
		[LLMOS_DEVICE_PCI] = "pci",
		[LLMOS_DEVICE_ADDED] = "added",
	};

	return sysfs_emit(buf, "%s\n", names[device_of(kobj)->kind]);
}

static ssize_t memory_show(struct kobject *kobj, struct kobj_attribute *attr, char *buf)
{
	u64 bytes = READ_ONCE(device_of(kobj)->memory);

	return bytes == S64_MAX ? sysfs_emit(buf, "max\n") : sysfs_emit(buf, "%llu\n", bytes);
}

static ssize_t memory_store(struct kobject *kobj, struct kobj_attribute *attr, const char *buf,
			    size_t size)
{
	u64 bytes;

	if (llmos_parse_bytes(buf, &bytes))
		return -EINVAL;
	llmos_device_set_memory(device_of(kobj), bytes);
	return size;
}

static ssize_t slots_show(struct kobject *kobj, struct kobj_attribute *attr, char *buf)
{
	return sysfs_emit(buf, "%u\n", READ_ONCE(device_of(kobj)->slots));
}

static ssize_t slots_store(struct kobject *kobj, struct kobj_attribute *attr, const char *buf,
			   size_t size)
{
	u32 slots;

	if (kstrtou32(buf, 10, &slots) || !slots || slots > LLMOS_DEVICE_SLOTS_MAX)
		return -EINVAL;
	llmos_device_set_slots(device_of(kobj), slots);
	return size;
}

static ssize_t memory_current_show(struct kobject *kobj, struct kobj_attribute *attr, char *buf)
{
	return sysfs_emit(buf, "%llu\n", llmos_group_root_current(device_of(kobj)));
}

static ssize_t lanes_stat_show(struct kobject *kobj, struct kobj_attribute *attr, char *buf)
{
	struct llmos_lanes_stat stat;

	llmos_lanes_stat(device_of(kobj), &stat);
	return sysfs_emit(buf, "running %u\nwaiting %u\nused_usec %llu\noverruns %llu\nlost %llu\n",
			  stat.running, stat.waiting, div_u64(stat.used_ns, NSEC_PER_USEC),
			  stat.overruns, stat.lost);
}

static struct kobj_attribute kind_attr = __ATTR_RO(kind);
static struct kobj_attribute memory_attr = __ATTR_RW(memory);
static struct kobj_attribute slots_attr = __ATTR_RW(slots);
/* Not by __ATTR(): names with a dot, and "current" would be expanded. */
static struct kobj_attribute memory_current_attr = {
	.attr = { .name = "memory.current", .mode = 0444 },
	.show = memory_current_show,
};

static struct kobj_attribute lanes_stat_attr = {
	.attr = { .name = "lanes.stat", .mode = 0444 },
	.show = lanes_stat_show,
};

static struct attribute *dir_attrs[] = {
	&kind_attr.attr,
	&memory_attr.attr,
	&slots_attr.attr,
	&memory_current_attr.attr,
	&lanes_stat_attr.attr,
	NULL,
};
ATTRIBUTE_GROUPS(dir);

static void dir_release(struct kobject *kobj)
{
	kfree(container_of(kobj, struct device_dir, kobj));
}

static const struct kobj_type dir_type = {
	.release = dir_release,
	.sysfs_ops = &kobj_sysfs_ops,
	.default_groups = dir_groups,
};

static struct device_dir *dir_create(struct llmos_device *device, struct kobject *origin)
{
	struct device_dir *dir = kzalloc(sizeof(*dir), GFP_KERNEL);
	int ret;

	if (!dir)
		return ERR_PTR(-ENOMEM);
	dir->device = device;
	ret = kobject_init_and_add(&dir->kobj, &dir_type, devices_kobj, "%s", device->id);
	if (!ret && origin)
		ret = sysfs_create_link(&dir->kobj, origin, "device");
	if (ret) {
		kobject_put(&dir->kobj);
		return ERR_PTR(ret);
	}
	return dir;
}

/* Waits for those who are in a file of it. */
static void dir_remove(struct device_dir *dir)
{
	kobject_del(&dir->kobj);
	kobject_put(&dir->kobj);
}

/* ---- appearing and going ---- */

static void device_appear(struct llmos_device *device, const struct llmos_device_spec *spec)
{
	mutex_lock(&llmos_device_mutex);
	device->kind = spec->kind;
	WRITE_ONCE(device->memory, spec->memory);
	WRITE_ONCE(device->slots, spec->slots);
	llmos_dmem_register(device);
	WRITE_ONCE(device->generation, device->generation + 1);
	smp_wmb();	/* who sees it present sees the generation that it is present in */
	WRITE_ONCE(device->gone, false);
	mutex_unlock(&llmos_device_mutex);
}

/* Its reference becomes the one that a present device has. */
int llmos_device_add(const struct llmos_device_spec *spec)
{
	struct llmos_device *device;
	struct device_dir *dir;

	mutex_lock(&presence_mutex);
	device = device_get_gone(spec->id);
	if (IS_ERR(device)) {
		mutex_unlock(&presence_mutex);
		return PTR_ERR(device);
	}
	dir = dir_create(device, spec->origin);
	if (IS_ERR(dir)) {
		mutex_unlock(&presence_mutex);
		llmos_device_put(device);
		return PTR_ERR(dir);
	}
	device->dir = dir;
	device_appear(device, spec);
	mutex_unlock(&presence_mutex);
	return 0;
}

/* Under presence_mutex, and so nobody else is removing it. */
static void device_go(struct llmos_device *device)
{
	mutex_lock(&llmos_device_mutex);
	WRITE_ONCE(device->gone, true);
	llmos_lanes_shutdown(device);
	mutex_unlock(&llmos_device_mutex);
	dir_remove(device->dir);
	device->dir = NULL;
}

int llmos_device_remove(const char *id, enum llmos_device_kind kind)
{
	struct llmos_device *device;
	int ret = 0;

	mutex_lock(&presence_mutex);
	device = llmos_device_find(id);
	if (!device)
		ret = -ENODEV;
	else if (device->kind != kind)
		ret = -EBUSY;
	else
		device_go(device);
	mutex_unlock(&presence_mutex);
	if (device && !ret)
		llmos_device_put(device);	/* that of being present */
	llmos_device_put(device);
	return ret;
}

/* ---- commands ---- */

static bool slots_valid(u32 slots)
{
	return slots && slots <= LLMOS_DEVICE_SLOTS_MAX;
}

int llmos_device_run_add(struct llmos_call *call)
{
	const struct llmos_device_args *args = call->args;
	const struct llmos_device_spec spec = {
		.id = args->id,
		.kind = LLMOS_DEVICE_ADDED,
		.memory = args->memory,
		.slots = args->slots,
	};

	if (!capable(CAP_SYS_ADMIN))
		return -EPERM;
	if (args->mask || args->reserved || args->memory > S64_MAX || !slots_valid(args->slots) ||
	    !llmos_device_id_valid(args->id))
		return -EINVAL;
	return llmos_device_add(&spec);
}

int llmos_device_run_remove(struct llmos_call *call)
{
	const struct llmos_device_args *args = call->args;

	if (!capable(CAP_SYS_ADMIN))
		return -EPERM;
	if (args->mask || args->reserved || args->memory || args->slots ||
	    !llmos_device_id_valid(args->id))
		return -EINVAL;
	return llmos_device_remove(args->id, LLMOS_DEVICE_ADDED);
}

int llmos_device_run_set(struct llmos_call *call)
{
	const struct llmos_device_args *args = call->args;
	struct llmos_device *device;

	if (!capable(CAP_SYS_ADMIN))
		return -EPERM;
	if (args->mask & ~(LLMOS_DEVICE_SET_MEMORY | LLMOS_DEVICE_SET_SLOTS) || args->reserved ||
	    args->memory > S64_MAX)
		return -EINVAL;
	if (args->mask & LLMOS_DEVICE_SET_SLOTS && !slots_valid(args->slots))
		return -EINVAL;
	device = llmos_device_find_user(args->id);
	if (IS_ERR(device))
		return PTR_ERR(device);
	if (args->mask & LLMOS_DEVICE_SET_MEMORY)
		llmos_device_set_memory(device, args->memory);
	if (args->mask & LLMOS_DEVICE_SET_SLOTS)
		llmos_device_set_slots(device, args->slots);
	llmos_device_put(device);
	return 0;
}

/* ---- init ---- */

static int add_cpu(void)
{
	const struct llmos_device_spec cpu = {
		.id = "cpu",
		.kind = LLMOS_DEVICE_CPU,
		.memory = (u64)totalram_pages() << PAGE_SHIFT,
		.slots = num_online_nodes(),
	};

	return llmos_device_add(&cpu);
}

/* At unload: charges and lanes hold the module, so only groups refer to devices. */
static void remove_all(void)
{
	struct llmos_device *device;

	while ((device = llmos_device_next(NULL))) {
		llmos_device_remove(device->id, device->kind);
		llmos_device_put(device);
	}
}

int llmos_device_init(void)
{
	int ret;

	devices_kobj = kobject_create_and_add("devices", llmos_kobj);
	if (!devices_kobj)
		return -ENOMEM;
	ret = add_cpu();
	if (ret)
		goto err_kobj;
	ret = llmos_device_pci_init();
	if (ret)
		goto err_devices;
	return 0;

err_devices:
	remove_all();
err_kobj:
	kobject_put(devices_kobj);
	return ret;
}

/* The objects go with the groups: llmos_group_exit() comes after. */
void llmos_device_exit(void)
{
	llmos_device_pci_exit();
	remove_all();
	kobject_put(devices_kobj);
}
