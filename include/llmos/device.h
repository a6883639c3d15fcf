/* SPDX-License-Identifier: MIT */
/*
 * Devices, groups and charges: what may be taken of a device's memory and time,
 * and by whom. Part of llmos.h; the kernel module does all of it, so everything
 * here fails with ENODEV where it is not loaded.
 */
#ifndef LLMOS_LLMOS_H
#error "include <llmos/llmos.h>"
#endif
#ifndef LLMOS_DEVICE_H
#define LLMOS_DEVICE_H

#ifdef __cplusplus
extern "C" {
#endif

/* ---- Devices ------------------------------------------------------------ */

typedef struct llmos_device_info {
	char id[LLMOS_DEVICE_ID_SIZE];
	char kind[16];		/* "cpu", "pci" (found by itself), "added" */
	uint64_t memory;	/* bytes, or LLMOS_DEVICE_MEMORY_UNKNOWN */
	uint64_t memory_current; /* bytes charged, by everybody */
	uint32_t slots;		/* lanes that may run at once */
	uint32_t running;	/* lanes that have a turn */
	uint32_t waiting;	/* lanes that wait for one */
	uint32_t reserved;
	uint64_t used_ns;	/* device time that was charged, in all */
	uint64_t overruns;	/* turns that went far beyond their slice */
	uint64_t lost;		/* turns taken from holders that stalled */
} llmos_device_info;

/* Calls `each` once per device; stops with its result when that is not 0. */
typedef int (*llmos_device_fn)(void *context, const llmos_device_info *device);
LLMOS_API int llmos_devices(llmos_device_fn each, void *context);

/* Administrators only (EPERM). _set changes what is not 0. */
LLMOS_API int llmos_device_add(const char *id, uint64_t memory, uint32_t slots);
LLMOS_API int llmos_device_remove(const char *id);
LLMOS_API int llmos_device_set(const char *id, uint64_t memory, uint32_t slots);

/* ---- Charges ------------------------------------------------------------ */

/*
 * Charges bytes of a device's memory to the cgroup of the caller. Returns a
 * descriptor: the charge lasts until its last copy is closed. `group`, if not
 * NULL, is told the id of the cgroup (its directory's inode number) whose limit
 * refused it, or 0.
 *
 * Errors: EDQUOT: memory.max of a group would be passed; ENOSPC: the device's
 * capacity; ENODEV: no such device.
 */
LLMOS_API int llmos_charge_open(const char *device, uint64_t bytes, uint64_t *group);
/* All of its bytes from now on; when it fails, they are as they were. */
LLMOS_API int llmos_charge_set(int charge, uint64_t bytes, uint64_t *group);

/* ---- Groups -------------------------------------------------------------- */

/*
 * Control files of a group, such as "memory.max". `group` is a path below
 * /sys/fs/cgroup, with that prefix or without; "" is the root. Any other path of
 * a cgroup2 directory will do too, such as "/proc/self/fd/3". Where no groups are
 * mounted, as in a container, a right to open /dev/llmos is needed. _read ends the
 * text with a NUL, and returns its length, as if `size` were enough (as
 * snprintf() does). _write takes one or more lines "DEVICE VALUE". Errors: ENOENT,
 * EACCES, EPERM and EROFS (no right to change it), EINVAL, ERANGE, ENODEV.
 */
LLMOS_API int llmos_group_read(const char *group, const char *control, char *text, size_t size);
LLMOS_API int llmos_group_write(const char *group, const char *control, const char *lines);

#ifdef __cplusplus
}
#endif

#endif /* LLMOS_DEVICE_H */
