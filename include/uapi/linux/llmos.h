/* SPDX-License-Identifier: (GPL-2.0-only WITH Linux-syscall-note) OR MIT */
/*
 * llmos: operating-system support for large language models.
 *
 * The whole ABI between the module and userspace.
 *
 * Protocol
 * --------
 * Every struct begins with its own size, which the caller sets to sizeof(); the
 * module writes the size that it knows back. A longer struct than the kernel's is accepted when the surplus is zero (else
 * E2BIG); a shorter one reads as if zero-extended. Reserved fields and unknown
 * flags must be zero (EINVAL). Fields marked "out" are written back; when a
 * call fails they are untouched unless the comment says otherwise.
 *
 * The first command on a descriptor of /dev/llmos is LLMOS_QUERY: the caller
 * names the features it is going to use, and learns which there are. Any other
 * command before it fails with EPROTO. EOPNOTSUPP: a wanted feature is absent.
 *
 * A model is made in three steps:
 *
 *   fd = ioctl(dev, LLMOS_MODEL_CREATE, ...)   memory is charged and allocated
 *   pwrite(fd, ...) or LLMOS_MODEL_FILL        in any order, from any thread
 *   ioctl(fd, LLMOS_MODEL_SEAL, ...)           digest, signature, name
 *
 * Until the seal the model has no name and only fd refers to it; closing fd (or
 * dying) frees everything. Bytes never written read as zero. From the seal on
 * nobody can change a byte, and the model is the ordinary file
 * /sys/fs/llmos/models/NAME, opened under POSIX rules. Such a file answers
 *
 *   read, pread, mmap (shared read-only, or private), sendfile, splice
 *   LLMOS_MODEL_STAT, LLMOS_MODEL_DMABUF
 *   FS_IOC_MEASURE_VERITY, getxattr("user.llmos.digest")
 *
 * Errors of a model's file, beyond the usual ones:
 *   EBUSY   open, read or mmap before the seal
 *   EPERM   a write by any path after the seal
 *   ESTALE  open of a model that was evicted; read or mmap by a revoked grant
 *   EACCES  open by a process on the model's deny list
 * A mapping whose grant was revoked raises SIGBUS when touched.
 *
 * A lane is a stream of device work that takes turns:
 *
 *   fd = ioctl(dev, LLMOS_LANE_CREATE, ...)
 *   ioctl(fd, LLMOS_LANE_ACQUIRE, ...)         waits for a turn
 *   ... one step of work on the device ...
 *   ioctl(fd, LLMOS_LANE_YIELD, ...)           reports it; goes on, or waits again
 *   ... the next step ...
 *   ioctl(fd, LLMOS_LANE_RELEASE, ...)         reports it; the turn is over
 *
 * A lane belongs to its descriptor: the last close gives up its turn, or its
 * place in the queue. It counts for the cgroup that its maker was in. One asker
 * at a time may wait on it. Ways to wait:
 *
 *   in the call      until the turn comes, the time-out passes, or a signal
 *   by poll          LLMOS_LANE_NONBLOCK: EAGAIN, and the lane is queued. POLLIN
 *                    says that it has a turn, which another ACQUIRE collects;
 *                    soon, or it is lost
 *   by io_uring      IORING_OP_URING_CMD with the command's number as cmd_op and
 *                    struct llmos_lane_command in the entry's cmd. Completes when
 *                    the turn comes or the time-out passes. To take it back, send
 *                    LLMOS_LANE_CANCEL; IORING_OP_ASYNC_CANCEL does not reach it
 */
#ifndef _UAPI_LINUX_LLMOS_H
#define _UAPI_LINUX_LLMOS_H

#include <linux/ioctl.h>
#include <linux/types.h>

#define LLMOS_ABI_VERSION	1

/* Letters, digits and "._+@:=-", not beginning with '.' or '-'; NUL-terminated. */
#define LLMOS_NAME_SIZE		128
#define LLMOS_DIGEST_SIZE	32	/* SHA-256 */
#define LLMOS_SIGNATURE_MAX	65536
#define LLMOS_NODES_MAX		64	/* NUMA nodes that a node mask can name */

#define LLMOS_DIGEST_XATTR	"user.llmos.digest"	/* "sha256:<hex>" */
#define LLMOS_MODELS_FSTYPE	"llmos_models"
#define LLMOS_MODELS_MAGIC	0x6c6c6d6f

/* Of a device: letters, digits and "._+@:=-", as a name; NUL-terminated. */
#define LLMOS_DEVICE_ID_SIZE	32

#define LLMOS_LANE_NAME_SIZE	32

#define LLMOS_CONTROL_SIZE	32	/* of a control file's name in a group */
#define LLMOS_GROUPS_FSTYPE	"llmos_groups"
#define LLMOS_GROUPS_MAGIC	0x6c6c6d67

#define LLMOS_IOC_MAGIC		0xe7

/* On /dev/llmos */
#define LLMOS_QUERY		_IO(LLMOS_IOC_MAGIC, 0x00)
#define LLMOS_MODEL_CREATE	_IO(LLMOS_IOC_MAGIC, 0x01)	/* returns a descriptor */
#define LLMOS_MODEL_REMOVE	_IO(LLMOS_IOC_MAGIC, 0x02)
#define LLMOS_MODEL_SET		_IO(LLMOS_IOC_MAGIC, 0x03)
#define LLMOS_MODEL_EVICT	_IO(LLMOS_IOC_MAGIC, 0x04)
#define LLMOS_MODEL_REVOKE	_IO(LLMOS_IOC_MAGIC, 0x05)
#define LLMOS_GRANT_LIST	_IO(LLMOS_IOC_MAGIC, 0x06)

#define LLMOS_DEVICE_ADD	_IO(LLMOS_IOC_MAGIC, 0x07)
#define LLMOS_DEVICE_REMOVE	_IO(LLMOS_IOC_MAGIC, 0x08)
#define LLMOS_DEVICE_SET	_IO(LLMOS_IOC_MAGIC, 0x09)
#define LLMOS_CHARGE_CREATE	_IO(LLMOS_IOC_MAGIC, 0x0a)	/* returns a descriptor */
#define LLMOS_GROUP_OPEN	_IO(LLMOS_IOC_MAGIC, 0x0c)	/* returns a descriptor */

/* On a model's descriptor; LLMOS_MODEL_STAT also on /dev/llmos, by name */
#define LLMOS_MODEL_STAT	_IO(LLMOS_IOC_MAGIC, 0x20)
#define LLMOS_MODEL_FILL	_IO(LLMOS_IOC_MAGIC, 0x21)
#define LLMOS_MODEL_SEAL	_IO(LLMOS_IOC_MAGIC, 0x22)
#define LLMOS_MODEL_DMABUF	_IO(LLMOS_IOC_MAGIC, 0x23)	/* returns a descriptor */

/* On a charge's descriptor */
#define LLMOS_CHARGE_SET	_IO(LLMOS_IOC_MAGIC, 0x30)
#define LLMOS_CHARGE_STAT	_IO(LLMOS_IOC_MAGIC, 0x31)

/* Lanes: the first on /dev/llmos, the others on a lane's descriptor */
#define LLMOS_LANE_CREATE	_IO(LLMOS_IOC_MAGIC, 0x0b)	/* returns a descriptor */
#define LLMOS_LANE_ACQUIRE	_IO(LLMOS_IOC_MAGIC, 0x40)
#define LLMOS_LANE_YIELD	_IO(LLMOS_IOC_MAGIC, 0x41)
#define LLMOS_LANE_RELEASE	_IO(LLMOS_IOC_MAGIC, 0x42)
#define LLMOS_LANE_CANCEL	_IO(LLMOS_IOC_MAGIC, 0x43)
#define LLMOS_LANE_STAT		_IO(LLMOS_IOC_MAGIC, 0x44)

/* Features */
#define LLMOS_FEATURE_MODELS		(1ULL << 0)	/* create, fill, seal, remove, stat */
#define LLMOS_FEATURE_GRANTS		(1ULL << 1)	/* grant list, revoke */
#define LLMOS_FEATURE_EVICTION		(1ULL << 2)	/* evictable models, priorities */
#define LLMOS_FEATURE_SIGNATURES	(1ULL << 3)	/* PKCS#7 over the digest */
#define LLMOS_FEATURE_DMABUF		(1ULL << 4)	/* export of sealed models */
#define LLMOS_FEATURE_AUDIT		(1ULL << 5)	/* kernel audit records */
#define LLMOS_FEATURE_DEVICES		(1ULL << 6)	/* devices, groups, charges */
#define LLMOS_FEATURE_LANES		(1ULL << 7)	/* lanes, turns */
#define LLMOS_FEATURE_HOOKS		(1ULL << 8)	/* policies can be attached */

/**
 * struct llmos_query - argument of LLMOS_QUERY
 * @size:          sizeof(struct llmos_query)
 * @abi:           in: LLMOS_ABI_VERSION of the caller; out: the module's.
 *                 EPROTO when the module no longer speaks the caller's.
 * @features:      in: features the caller will use; out: all there are
 * @memory_max:    out: bytes that models may take together
 * @memory_current: out: bytes they take now
 * @memory_peak:   out: the most they took since the module was loaded
 * @page_size:     out: bytes of the largest page a model is made of
 * @models:        out: models that have a name
 * @keyring:       out: serial of the keyring ".llmos", to which root adds the
 *                 certificates that signatures are checked against; 0 if none
 * @flags:         out: LLMOS_QUERY_*
 */
struct llmos_query {
	__u32 size;
	__u32 abi;
	__u64 features;
	__u64 memory_max;
	__u64 memory_current;
	__u64 memory_peak;
	__u64 page_size;
	__u32 models;
	__s32 keyring;
	__u32 flags;
	__u32 reserved;
};
#define LLMOS_QUERY_SIGNATURE_REQUIRED	(1U << 0)	/* unsigned models are refused */

/* Placement of a model's pages */
#define LLMOS_NODES_LOCAL	0	/* the caller's node first, then any */
#define LLMOS_NODES_BIND	1	/* only nodes of the mask, filled in turn, or ENOMEM */
#define LLMOS_NODES_INTERLEAVE	2	/* page by page over the mask, or ENOMEM */

/* Flags of a model */
#define LLMOS_MODEL_EVICTABLE	(1U << 0)	/* may be dropped under pressure while idle */
#define LLMOS_MODEL_SIGNED	(1U << 1)	/* a signature was checked (stat only) */

/**
 * struct llmos_model_create - argument of LLMOS_MODEL_CREATE
 * @size:       sizeof(struct llmos_model_create)
 * @flags:      LLMOS_MODEL_EVICTABLE, LLMOS_CREATE_*
 * @bytes:      exact length, at least 1
 * @name:       taken at the seal; EEXIST now when it is taken already
 * @uid, @gid:  owner, in the caller's user namespace; (__u32)-1: the caller's.
 *              Another's needs CAP_CHOWN (a group the caller is in does not).
 * @mode:       permission bits; only the read bits (0444) are kept
 * @node_policy: LLMOS_NODES_*
 * @nodes:      bit mask of NUMA nodes; 0 with LLMOS_NODES_LOCAL
 * @page_shift: log2 of the page size wanted, 12 to 21: ENOMEM rather than smaller
 *              pages (but for the tail). 0: 2 MiB, smaller where memory is
 *              fragmented.
 * @priority:   of eviction: idle models with the lowest value go first
 * @failed_node: out, also when ENOMEM is returned: the node that had no page
 *              left, or -1 (a cgroup's or the module's limit)
 *
 * Errors: EINVAL, EEXIST, EPERM; EDQUOT when memory_max would be passed even with
 * every idle evictable model gone, of which then none goes; ENOMEM, also when less
 * than 1/64 of the machine's memory would stay available; ENOSPC, of the seal too,
 * when there are as many models as /sys/fs/llmos/models.max allows.
 */
struct llmos_model_create {
	__u32 size;
	__u32 flags;
	__u64 bytes;
	__u64 nodes;
	__u32 node_policy;
	__s32 failed_node;
	__u32 uid;
	__u32 gid;
	__u32 mode;
	__u32 page_shift;
	__s32 priority;
	__u32 reserved;
	char name[LLMOS_NAME_SIZE];
};
/* The seal replaces a model of that name: existing opens keep the old bytes.
 * Needs the rights that removing the old model needs. A deny list belongs to the
 * model, not to the name: the new one begins with none. */
#define LLMOS_CREATE_REPLACE	(1U << 31)

/**
 * struct llmos_model_fill - argument of LLMOS_MODEL_FILL
 * @size:       sizeof(struct llmos_model_fill)
 * @fd:         a file opened for reading; with O_DIRECT the device writes
 *              straight into the model's pages
 * @offset:     where in the model to begin; a multiple of 4096
 * @source_offset: where in the file to begin
 * @length:     bytes, a multiple of 4096 unless it reaches the end of the
 *              model; 0: to the end of the model
 * @depth:      requests in flight, 1 to 256; 0: the module chooses
 * @done:       out, also on failure: bytes that arrived
 *
 * Errors: those of reading @fd; ENODATA when the file ends too early; EFBIG
 * past the end of the model; ESPIPE when @fd is neither a regular file nor a
 * block device; EINTR (after the requests in flight have ended); EPERM after the
 * seal.
 */
struct llmos_model_fill {
	__u32 size;
	__s32 fd;
	__u64 offset;
	__u64 source_offset;
	__u64 length;
	__u64 done;
	__u32 depth;
	__u32 reserved;
};

/**
 * struct llmos_model_seal - argument of LLMOS_MODEL_SEAL
 * @size:       sizeof(struct llmos_model_seal)
 * @signature_size: bytes at @signature; 0: none
 * @signature:  address of a detached PKCS#7 signature (DER) over the model's
 *              struct fsverity_formatted_digest, as "fsverity sign" makes it
 * @digest:     out: the fs-verity digest (SHA-256, 4096-byte blocks, no salt)
 *
 * May be repeated after a failure. Errors: EBUSY while writes are in flight;
 * EPERM when sealed already; EEXIST; EINTR; of the signature ENOKEY (none, but
 * one is required, or signer not in the keyring), EKEYREJECTED, EBADMSG.
 */
struct llmos_model_seal {
	__u32 size;
	__u32 signature_size;
	__u64 signature;
	__u8 digest[LLMOS_DIGEST_SIZE];
};

/* States of a model */
#define LLMOS_STATE_FILLING	0
#define LLMOS_STATE_SEALING	1
#define LLMOS_STATE_SEALED	2
#define LLMOS_STATE_EVICTED	3

/**
 * struct llmos_model_stat - argument of LLMOS_MODEL_STAT
 * @size:       sizeof(struct llmos_model_stat)
 * @state:      out: LLMOS_STATE_*
 * @bytes:      out: length
 * @filled:     out: bytes written or read in so far (progress of a fill)
 * @hashed:     out: bytes digested so far (progress of a seal)
 * @resident:   out: bytes of memory held; 0 when evicted
 * @huge:       out: of these, bytes in pages of 2 MiB
 * @idle_ns:    out: nanoseconds since the last close; 0 while in use
 * @grants:     out: opens that are neither closed nor revoked
 * @flags:      out: LLMOS_MODEL_*
 * @priority:   out: of eviction
 * @uid, @gid, @mode: out: owner in the caller's user namespace; permissions
 * @digest:     out: once sealed
 * @name:       in on /dev/llmos; out on a model's descriptor
 */
struct llmos_model_stat {
	__u32 size;
	__u32 state;
	__u64 bytes;
	__u64 filled;
	__u64 hashed;
	__u64 resident;
	__u64 huge;
	__u64 idle_ns;
	__u32 grants;
	__u32 flags;
	__s32 priority;
	__u32 uid;
	__u32 gid;
	__u32 mode;
	__u8 digest[LLMOS_DIGEST_SIZE];
	char name[LLMOS_NAME_SIZE];
};

/**
 * struct llmos_model_name - argument of LLMOS_MODEL_REMOVE, LLMOS_MODEL_EVICT
 * @size:       sizeof(struct llmos_model_name)
 * @flags:      must be zero
 * @name:       the model
 *
 * Both need the owner or CAP_SYS_ADMIN (EPERM). A removed model's name is free
 * at once, its memory when the last user is gone. Evicting drops the memory and
 * keeps the name; EBUSY while it is open, mapped or pinned for DMA.
 */
struct llmos_model_name {
	__u32 size;
	__u32 flags;
	char name[LLMOS_NAME_SIZE];
};

/**
 * struct llmos_model_set - argument of LLMOS_MODEL_SET
 * @size:       sizeof(struct llmos_model_set)
 * @mask:       LLMOS_SET_*: what to change
 * @flags:      LLMOS_MODEL_EVICTABLE or 0
 * @priority:   of eviction
 * @name:       the model; needs the owner or CAP_SYS_ADMIN
 */
struct llmos_model_set {
	__u32 size;
	__u32 mask;
	__u32 flags;
	__s32 priority;
	char name[LLMOS_NAME_SIZE];
};
#define LLMOS_SET_EVICTABLE	(1U << 0)
#define LLMOS_SET_PRIORITY	(1U << 1)

/* Whom a revocation is about */
#define LLMOS_SUBJECT_UID	1	/* in the caller's user namespace */
#define LLMOS_SUBJECT_PID	2	/* of a process, in the caller's pid namespace */
#define LLMOS_SUBJECT_CGROUP	3	/* descriptor of a cgroup directory; with all below it */

/**
 * struct llmos_model_revoke - argument of LLMOS_MODEL_REVOKE
 * @size:       sizeof(struct llmos_model_revoke)
 * @flags:      LLMOS_REVOKE_*
 * @subject:    LLMOS_SUBJECT_*
 * @value:      the uid, pid or descriptor
 * @revoked:    out: grants that were revoked by this call
 * @busy_bytes: out: bytes of the model that are pinned for DMA, by anyone. A
 *              device may go on reading them; they are not torn away.
 * @name:       the model; needs the owner or CAP_SYS_ADMIN
 *
 * A grant is one open of the model, and belongs to who opened it; a descriptor
 * inherited or passed on shares it. When the call returns, no process can read
 * through a revoked grant (a read already under way may finish), and the
 * subject is on the model's deny list: its opens fail with EACCES until it is
 * allowed again. ESRCH: no such process. ENOSPC: the deny list is full:
 * what was open is revoked (out fields are set), but can be opened again.
 */
struct llmos_model_revoke {
	__u32 size;
	__u32 flags;
	__u32 subject;
	__u32 reserved;
	__s64 value;
	__u64 revoked;
	__u64 busy_bytes;
	char name[LLMOS_NAME_SIZE];
};
#define LLMOS_REVOKE_KEEP_ACCESS	(1U << 0)	/* do not add to the deny list */
#define LLMOS_REVOKE_ALLOW		(1U << 1)	/* only take off the deny list */

/**
 * struct llmos_grant - one open of a model
 * @id:         unique while the module is loaded, ascending
 * @cgroup:     id of the opener's cgroup (its directory's inode number)
 * @opened_ns:  when, in CLOCK_REALTIME nanoseconds
 * @mapped:     bytes of address space that map it, in all processes that share it
 * @pid:        the process that opened it, in the caller's pid namespace, or 0
 * @uid:        its filesystem uid then, in the caller's user namespace
 * @flags:      LLMOS_GRANT_*
 */
struct llmos_grant {
	__u64 id;
	__u64 cgroup;
	__u64 opened_ns;
	__u64 mapped;
	__u32 pid;
	__u32 uid;
	__u32 flags;
	__u32 reserved;
};
#define LLMOS_GRANT_REVOKED	(1U << 0)
#define LLMOS_GRANT_LOADER	(1U << 1)	/* the descriptor that made the model */

/**
 * struct llmos_grant_list - argument of LLMOS_GRANT_LIST
 * @size:       sizeof(struct llmos_grant_list)
 * @count:      in: entries that fit at @grants; out: entries written
 * @grants:     address of an array of struct llmos_grant
 * @after:      in: list grants with a larger id; 0: from the first. To go on,
 *              pass the last id received; done when @count comes back smaller.
 * @entry_size: sizeof(struct llmos_grant)
 * @name:       the model; needs the owner or CAP_SYS_ADMIN
 */
struct llmos_grant_list {
	__u32 size;
	__u32 count;
	__u64 grants;
	__u64 after;
	__u32 entry_size;
	__u32 reserved;
	char name[LLMOS_NAME_SIZE];
};

/**
 * struct llmos_model_dmabuf - argument of LLMOS_MODEL_DMABUF
 * @size:       sizeof(struct llmos_model_dmabuf)
 * @flags:      LLMOS_DMABUF_*
 *
 * The buffer holds a grant of its own. Devices may only read it, unless
 * LLMOS_DMABUF_BIDIRECTIONAL (needs CAP_SYS_RAWIO) promises that an importer
 * which insists on a bidirectional mapping does not write.
 */
struct llmos_model_dmabuf {
	__u32 size;
	__u32 flags;
};
#define LLMOS_DMABUF_BIDIRECTIONAL	(1U << 0)

/**
 * struct llmos_device_args - argument of LLMOS_DEVICE_ADD, _REMOVE and _SET
 * @size:       sizeof(struct llmos_device_args)
 * @mask:       LLMOS_DEVICE_SET_*: what _SET is to change; else zero
 * @memory:     capacity in bytes; LLMOS_DEVICE_MEMORY_UNKNOWN: charges are not
 *              bounded by it. Zero for _REMOVE
 * @slots:      lanes that may run at once, 1 to LLMOS_DEVICE_SLOTS_MAX; zero for
 *              _REMOVE
 * @id:         the device, the name of its directory /sys/fs/llmos/devices/ID
 *
 * All need CAP_SYS_ADMIN (EPERM). _ADD: EEXIST; ENOSPC: too many devices. What
 * was charged and limited on a device that is removed is still there when it is
 * added again. _REMOVE: ENODEV; EBUSY: not a device that was added, it cannot be
 * removed so.
 */
struct llmos_device_args {
	__u32 size;
	__u32 mask;
	__u64 memory;
	__u32 slots;
	__u32 reserved;
	char id[LLMOS_DEVICE_ID_SIZE];
};
#define LLMOS_DEVICE_SET_MEMORY		(1U << 0)
#define LLMOS_DEVICE_SET_SLOTS		(1U << 1)
#define LLMOS_DEVICE_MEMORY_UNKNOWN	0x7fffffffffffffffULL
#define LLMOS_DEVICE_SLOTS_MAX		4096

/**
 * struct llmos_charge - argument of LLMOS_CHARGE_CREATE, _SET and _STAT
 * @size:       sizeof(struct llmos_charge)
 * @flags:      must be zero
 * @bytes:      of the device's memory, altogether: in for _CREATE (may be 0) and
 *              _SET, out for _STAT
 * @group:      out: id of the cgroup it is charged to (its directory's inode
 *              number): the one that the caller of _CREATE was in
 * @refused:    out, also when EDQUOT is returned: id of the cgroup whose
 *              memory.max it was; else 0
 * @id:         the device: in for _CREATE, out for the others
 *
 * A charge is given back when its descriptor is closed, whoever closes it last.
 * Errors: ENODEV: no such device, or it was removed (a charge on it can still
 * shrink); EDQUOT: memory.max of a group above would be passed; ENOSPC: the
 * device's capacity would be. What is refused leaves the charge as it was.
 */
struct llmos_charge {
	__u32 size;
	__u32 flags;
	__u64 bytes;
	__u64 group;
	__u64 refused;
	char id[LLMOS_DEVICE_ID_SIZE];
};

/**
 * struct llmos_group_open - argument of LLMOS_GROUP_OPEN
 * @size:       sizeof(struct llmos_group_open)
 * @flags:      LLMOS_GROUP_WRITE: to read and write, else to read
 * @cgroup_fd:  descriptor of a cgroup's directory in cgroup2; O_PATH will do
 * @reserved:   must be zero
 * @control:    such as "memory.max"; NUL-terminated
 *
 * Returns a descriptor of the group's control file, as that of the filesystem of
 * groups, for who has not mounted it. Errors: EINVAL: no directory of cgroup2;
 * ENOENT: no such control file, the cgroup was removed, or it is outside of the
 * caller's cgroup namespace; EACCES, EPERM, EROFS: not for the caller to write.
 */
struct llmos_group_open {
	__u32 size;
	__u32 flags;
	__s32 cgroup_fd;
	__u32 reserved;
	char control[LLMOS_CONTROL_SIZE];
};
#define LLMOS_GROUP_WRITE	(1U << 0)

/**
 * struct llmos_lane_create - argument of LLMOS_LANE_CREATE
 * @size:       sizeof(struct llmos_lane_create)
 * @flags:      must be zero
 * @weight:     among the lanes of the same cgroup, 1 to 10000; 0: 100
 * @lane_class: a number for policies to interpret; 0 where there is none
 * @deadline_ns: within which each turn is wanted once asked for; 0: none. For
 *              policies; promises nothing
 * @cost_ns:    device time that each turn is expected to take, for policies; 0:
 *              not known
 * @device:     the device's id
 * @name:       for people and policies; may be empty. As a model's name, but
 *              shorter; NUL-terminated
 *
 * Errors: ENODEV; ENOSPC: the machine has too many lanes.
 */
struct llmos_lane_create {
	__u32 size;
	__u32 flags;
	__u32 weight;
	__u32 lane_class;
	__u64 deadline_ns;
	__u64 cost_ns;
	char device[LLMOS_DEVICE_ID_SIZE];
	char name[LLMOS_LANE_NAME_SIZE];
};

/**
 * struct llmos_lane_turn - argument of LLMOS_LANE_ACQUIRE, _YIELD, _RELEASE, _CANCEL
 * @size:       sizeof(struct llmos_lane_turn)
 * @flags:      LLMOS_LANE_NONBLOCK for _ACQUIRE and _YIELD, not by io_uring; else 0
 * @used_ns:    device time used since the last report, for _YIELD and _RELEASE;
 *              else 0. At least the time that the turn was held is charged, and an
 *              hour at most
 * @timeout_ns: of the wait; 0: none. Zero with LLMOS_LANE_NONBLOCK, _RELEASE and
 *              _CANCEL
 * @deadline_ns: as of LLMOS_LANE_CREATE, for this wait; 0: the lane's. Zero for
 *              _RELEASE and _CANCEL; likewise the next
 * @cost_ns:    as of LLMOS_LANE_CREATE, for the next turn; 0: the lane's
 * @slice_ns:   out: how long the turn should be, not by io_uring
 * @waited_ns:  out: for this turn, not by io_uring
 *
 * _YIELD goes on with the turn while its slice lasts; then it asks for another,
 * which the lane may be given at once. When it fails with anything but EAGAIN,
 * EALREADY or EINVAL, the lane neither has a turn nor waits for one.
 *
 * Errors: EAGAIN: not yet (LLMOS_LANE_NONBLOCK). EALREADY: another thread or
 * command waits on this lane. EBUSY: _ACQUIRE of a lane that has a turn. EPERM:
 * _YIELD or _RELEASE of one that has none. ESTALE: the turn was taken away,
 * because it was not collected or nothing was reported for too long; told once.
 * ETIMEDOUT, EINTR. ECANCELED: the wait was taken back by another thread. ENOENT:
 * _CANCEL of a lane that does not wait. ENODEV: the device was removed; for ever.
 */
struct llmos_lane_turn {
	__u32 size;
	__u32 flags;
	__u64 used_ns;
	__u64 timeout_ns;
	__u64 deadline_ns;
	__u64 cost_ns;
	__u64 slice_ns;
	__u64 waited_ns;
};
#define LLMOS_LANE_NONBLOCK	(1U << 0)

/**
 * struct llmos_lane_command - what a lane's io_uring commands carry in cmd
 * @turn:       address of a struct llmos_lane_turn, read when the command is
 *              submitted, not written
 * @reserved:   must be zero
 */
struct llmos_lane_command {
	__u64 turn;
	__u64 reserved;
};

/* States of a lane */
#define LLMOS_LANE_IDLE		0
#define LLMOS_LANE_WAITING	1
#define LLMOS_LANE_HOLDING	2
#define LLMOS_LANE_GONE		3	/* its device was removed */

/**
 * struct llmos_lane_stat - argument of LLMOS_LANE_STAT; all out but @size
 * @size:       sizeof(struct llmos_lane_stat)
 * @state:      LLMOS_LANE_*
 * @id:         unique while the module is loaded
 * @cgroup:     id of the cgroup that it counts for
 * @used_ns:    device time charged
 * @waited_ns:  in all waits that ended with a turn
 * @turns:      turns given
 * @slice_ns:   of this turn, or the last
 * @deadline_ns, @cost_ns, @weight, @lane_class, @device, @name: as made
 * @overruns:   turns longer than twice their slice. From the second in a row on,
 *              what is beyond the slice counts twice
 * @lost:       turns taken away
 */
struct llmos_lane_stat {
	__u32 size;
	__u32 state;
	__u64 id;
	__u64 cgroup;
	__u64 used_ns;
	__u64 waited_ns;
	__u64 turns;
	__u64 slice_ns;
	__u64 deadline_ns;
	__u64 cost_ns;
	__u32 weight;
	__u32 lane_class;
	__u32 overruns;
	__u32 lost;
	char device[LLMOS_DEVICE_ID_SIZE];
	char name[LLMOS_LANE_NAME_SIZE];
};

#endif /* _UAPI_LINUX_LLMOS_H */
