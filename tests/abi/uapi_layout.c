/* SPDX-License-Identifier: MIT */
/*
 * Every offset, size and number of the ABI between kernel and userspace. What is
 * here never changes; a new field goes to the end of its struct and of its list.
 * The assertions are the compiler's: a program that was built has passed. Holes
 * are found by -Wpadded, which this file is compiled with.
 */
#include <stddef.h>

#include <linux/llmos.h>

#define SIZE(type, bytes) _Static_assert(sizeof(struct type) == (bytes), "size of " #type)
#define FIELD(type, field, offset, bytes)                                                   \
	_Static_assert(offsetof(struct type, field) == (offset), "offset of " #type "." #field); \
	_Static_assert(sizeof(((struct type *)0)->field) == (bytes), "size of " #type "." #field)
#define VALUE(name, value) _Static_assert((name) == (value), #name)

SIZE(llmos_query, 64);
FIELD(llmos_query, size, 0, 4);
FIELD(llmos_query, abi, 4, 4);
FIELD(llmos_query, features, 8, 8);
FIELD(llmos_query, memory_max, 16, 8);
FIELD(llmos_query, memory_current, 24, 8);
FIELD(llmos_query, memory_peak, 32, 8);
FIELD(llmos_query, page_size, 40, 8);
FIELD(llmos_query, models, 48, 4);
FIELD(llmos_query, keyring, 52, 4);
FIELD(llmos_query, flags, 56, 4);
FIELD(llmos_query, reserved, 60, 4);

SIZE(llmos_model_create, 184);
FIELD(llmos_model_create, size, 0, 4);
FIELD(llmos_model_create, flags, 4, 4);
FIELD(llmos_model_create, bytes, 8, 8);
FIELD(llmos_model_create, nodes, 16, 8);
FIELD(llmos_model_create, node_policy, 24, 4);
FIELD(llmos_model_create, failed_node, 28, 4);
FIELD(llmos_model_create, uid, 32, 4);
FIELD(llmos_model_create, gid, 36, 4);
FIELD(llmos_model_create, mode, 40, 4);
FIELD(llmos_model_create, page_shift, 44, 4);
FIELD(llmos_model_create, priority, 48, 4);
FIELD(llmos_model_create, reserved, 52, 4);
FIELD(llmos_model_create, name, 56, 128);

SIZE(llmos_model_fill, 48);
FIELD(llmos_model_fill, size, 0, 4);
FIELD(llmos_model_fill, fd, 4, 4);
FIELD(llmos_model_fill, offset, 8, 8);
FIELD(llmos_model_fill, source_offset, 16, 8);
FIELD(llmos_model_fill, length, 24, 8);
FIELD(llmos_model_fill, done, 32, 8);
FIELD(llmos_model_fill, depth, 40, 4);
FIELD(llmos_model_fill, reserved, 44, 4);

SIZE(llmos_model_seal, 48);
FIELD(llmos_model_seal, size, 0, 4);
FIELD(llmos_model_seal, signature_size, 4, 4);
FIELD(llmos_model_seal, signature, 8, 8);
FIELD(llmos_model_seal, digest, 16, 32);

SIZE(llmos_model_stat, 240);
FIELD(llmos_model_stat, size, 0, 4);
FIELD(llmos_model_stat, state, 4, 4);
FIELD(llmos_model_stat, bytes, 8, 8);
FIELD(llmos_model_stat, filled, 16, 8);
FIELD(llmos_model_stat, hashed, 24, 8);
FIELD(llmos_model_stat, resident, 32, 8);
FIELD(llmos_model_stat, huge, 40, 8);
FIELD(llmos_model_stat, idle_ns, 48, 8);
FIELD(llmos_model_stat, grants, 56, 4);
FIELD(llmos_model_stat, flags, 60, 4);
FIELD(llmos_model_stat, priority, 64, 4);
FIELD(llmos_model_stat, uid, 68, 4);
FIELD(llmos_model_stat, gid, 72, 4);
FIELD(llmos_model_stat, mode, 76, 4);
FIELD(llmos_model_stat, digest, 80, 32);
FIELD(llmos_model_stat, name, 112, 128);

SIZE(llmos_model_name, 136);
FIELD(llmos_model_name, size, 0, 4);
FIELD(llmos_model_name, flags, 4, 4);
FIELD(llmos_model_name, name, 8, 128);

SIZE(llmos_model_set, 144);
FIELD(llmos_model_set, size, 0, 4);
FIELD(llmos_model_set, mask, 4, 4);
FIELD(llmos_model_set, flags, 8, 4);
FIELD(llmos_model_set, priority, 12, 4);
FIELD(llmos_model_set, name, 16, 128);

SIZE(llmos_model_revoke, 168);
FIELD(llmos_model_revoke, size, 0, 4);
FIELD(llmos_model_revoke, flags, 4, 4);
FIELD(llmos_model_revoke, subject, 8, 4);
FIELD(llmos_model_revoke, reserved, 12, 4);
FIELD(llmos_model_revoke, value, 16, 8);
FIELD(llmos_model_revoke, revoked, 24, 8);
FIELD(llmos_model_revoke, busy_bytes, 32, 8);
FIELD(llmos_model_revoke, name, 40, 128);

SIZE(llmos_grant, 48);
FIELD(llmos_grant, id, 0, 8);
FIELD(llmos_grant, cgroup, 8, 8);
FIELD(llmos_grant, opened_ns, 16, 8);
FIELD(llmos_grant, mapped, 24, 8);
FIELD(llmos_grant, pid, 32, 4);
FIELD(llmos_grant, uid, 36, 4);
FIELD(llmos_grant, flags, 40, 4);
FIELD(llmos_grant, reserved, 44, 4);

SIZE(llmos_grant_list, 160);
FIELD(llmos_grant_list, size, 0, 4);
FIELD(llmos_grant_list, count, 4, 4);
FIELD(llmos_grant_list, grants, 8, 8);
FIELD(llmos_grant_list, after, 16, 8);
FIELD(llmos_grant_list, entry_size, 24, 4);
FIELD(llmos_grant_list, reserved, 28, 4);
FIELD(llmos_grant_list, name, 32, 128);

SIZE(llmos_model_dmabuf, 8);
FIELD(llmos_model_dmabuf, size, 0, 4);
FIELD(llmos_model_dmabuf, flags, 4, 4);

SIZE(llmos_device_args, 56);
FIELD(llmos_device_args, size, 0, 4);
FIELD(llmos_device_args, mask, 4, 4);
FIELD(llmos_device_args, memory, 8, 8);
FIELD(llmos_device_args, slots, 16, 4);
FIELD(llmos_device_args, reserved, 20, 4);
FIELD(llmos_device_args, id, 24, 32);

SIZE(llmos_charge, 64);
FIELD(llmos_charge, size, 0, 4);
FIELD(llmos_charge, flags, 4, 4);
FIELD(llmos_charge, bytes, 8, 8);
FIELD(llmos_charge, group, 16, 8);
FIELD(llmos_charge, refused, 24, 8);
FIELD(llmos_charge, id, 32, 32);

SIZE(llmos_group_open, 48);
FIELD(llmos_group_open, size, 0, 4);
FIELD(llmos_group_open, flags, 4, 4);
FIELD(llmos_group_open, cgroup_fd, 8, 4);
FIELD(llmos_group_open, reserved, 12, 4);
FIELD(llmos_group_open, control, 16, 32);

SIZE(llmos_lane_create, 96);
FIELD(llmos_lane_create, size, 0, 4);
FIELD(llmos_lane_create, flags, 4, 4);
FIELD(llmos_lane_create, weight, 8, 4);
FIELD(llmos_lane_create, lane_class, 12, 4);
FIELD(llmos_lane_create, deadline_ns, 16, 8);
FIELD(llmos_lane_create, cost_ns, 24, 8);
FIELD(llmos_lane_create, device, 32, 32);
FIELD(llmos_lane_create, name, 64, 32);

SIZE(llmos_lane_turn, 56);
FIELD(llmos_lane_turn, size, 0, 4);
FIELD(llmos_lane_turn, flags, 4, 4);
FIELD(llmos_lane_turn, used_ns, 8, 8);
FIELD(llmos_lane_turn, timeout_ns, 16, 8);
FIELD(llmos_lane_turn, deadline_ns, 24, 8);
FIELD(llmos_lane_turn, cost_ns, 32, 8);
FIELD(llmos_lane_turn, slice_ns, 40, 8);
FIELD(llmos_lane_turn, waited_ns, 48, 8);

SIZE(llmos_lane_command, 16);
FIELD(llmos_lane_command, turn, 0, 8);
FIELD(llmos_lane_command, reserved, 8, 8);

SIZE(llmos_lane_stat, 152);
FIELD(llmos_lane_stat, size, 0, 4);
FIELD(llmos_lane_stat, state, 4, 4);
FIELD(llmos_lane_stat, id, 8, 8);
FIELD(llmos_lane_stat, cgroup, 16, 8);
FIELD(llmos_lane_stat, used_ns, 24, 8);
FIELD(llmos_lane_stat, waited_ns, 32, 8);
FIELD(llmos_lane_stat, turns, 40, 8);
FIELD(llmos_lane_stat, slice_ns, 48, 8);
FIELD(llmos_lane_stat, deadline_ns, 56, 8);
FIELD(llmos_lane_stat, cost_ns, 64, 8);
FIELD(llmos_lane_stat, weight, 72, 4);
FIELD(llmos_lane_stat, lane_class, 76, 4);
FIELD(llmos_lane_stat, overruns, 80, 4);
FIELD(llmos_lane_stat, lost, 84, 4);
FIELD(llmos_lane_stat, device, 88, 32);
FIELD(llmos_lane_stat, name, 120, 32);

VALUE(LLMOS_QUERY, 0xe700);
VALUE(LLMOS_MODEL_CREATE, 0xe701);
VALUE(LLMOS_MODEL_REMOVE, 0xe702);
VALUE(LLMOS_MODEL_SET, 0xe703);
VALUE(LLMOS_MODEL_EVICT, 0xe704);
VALUE(LLMOS_MODEL_REVOKE, 0xe705);
VALUE(LLMOS_GRANT_LIST, 0xe706);
VALUE(LLMOS_DEVICE_ADD, 0xe707);
VALUE(LLMOS_DEVICE_REMOVE, 0xe708);
VALUE(LLMOS_DEVICE_SET, 0xe709);
VALUE(LLMOS_CHARGE_CREATE, 0xe70a);
VALUE(LLMOS_GROUP_OPEN, 0xe70c);
VALUE(LLMOS_MODEL_STAT, 0xe720);
VALUE(LLMOS_MODEL_FILL, 0xe721);
VALUE(LLMOS_MODEL_SEAL, 0xe722);
VALUE(LLMOS_MODEL_DMABUF, 0xe723);

VALUE(LLMOS_CHARGE_SET, 0xe730);
VALUE(LLMOS_CHARGE_STAT, 0xe731);
VALUE(LLMOS_LANE_CREATE, 0xe70b);
VALUE(LLMOS_LANE_ACQUIRE, 0xe740);
VALUE(LLMOS_LANE_YIELD, 0xe741);
VALUE(LLMOS_LANE_RELEASE, 0xe742);
VALUE(LLMOS_LANE_CANCEL, 0xe743);
VALUE(LLMOS_LANE_STAT, 0xe744);

VALUE(LLMOS_ABI_VERSION, 0x1);
VALUE(LLMOS_NAME_SIZE, 0x80);
VALUE(LLMOS_DIGEST_SIZE, 0x20);
VALUE(LLMOS_SIGNATURE_MAX, 0x10000);
VALUE(LLMOS_NODES_MAX, 0x40);
VALUE(LLMOS_MODELS_MAGIC, 0x6c6c6d6f);
VALUE(LLMOS_DEVICE_ID_SIZE, 0x20);
VALUE(LLMOS_CONTROL_SIZE, 0x20);
VALUE(LLMOS_GROUPS_MAGIC, 0x6c6c6d67);
VALUE(LLMOS_GROUP_WRITE, 0x1);
VALUE(LLMOS_IOC_MAGIC, 0xe7);
VALUE(LLMOS_FEATURE_MODELS, 0x1);
VALUE(LLMOS_FEATURE_GRANTS, 0x2);
VALUE(LLMOS_FEATURE_EVICTION, 0x4);
VALUE(LLMOS_FEATURE_SIGNATURES, 0x8);
VALUE(LLMOS_FEATURE_DMABUF, 0x10);
VALUE(LLMOS_FEATURE_AUDIT, 0x20);
VALUE(LLMOS_FEATURE_DEVICES, 0x40);
VALUE(LLMOS_QUERY_SIGNATURE_REQUIRED, 0x1);
VALUE(LLMOS_NODES_LOCAL, 0x0);
VALUE(LLMOS_NODES_BIND, 0x1);
VALUE(LLMOS_NODES_INTERLEAVE, 0x2);
VALUE(LLMOS_MODEL_EVICTABLE, 0x1);
VALUE(LLMOS_MODEL_SIGNED, 0x2);
VALUE(LLMOS_CREATE_REPLACE, 0x80000000);
VALUE(LLMOS_STATE_FILLING, 0x0);
VALUE(LLMOS_STATE_SEALING, 0x1);
VALUE(LLMOS_STATE_SEALED, 0x2);
VALUE(LLMOS_STATE_EVICTED, 0x3);
VALUE(LLMOS_SET_EVICTABLE, 0x1);
VALUE(LLMOS_SET_PRIORITY, 0x2);
VALUE(LLMOS_SUBJECT_UID, 0x1);
VALUE(LLMOS_SUBJECT_PID, 0x2);
VALUE(LLMOS_SUBJECT_CGROUP, 0x3);
VALUE(LLMOS_REVOKE_KEEP_ACCESS, 0x1);
VALUE(LLMOS_REVOKE_ALLOW, 0x2);
VALUE(LLMOS_GRANT_REVOKED, 0x1);
VALUE(LLMOS_GRANT_LOADER, 0x2);
VALUE(LLMOS_DMABUF_BIDIRECTIONAL, 0x1);
VALUE(LLMOS_DEVICE_SET_MEMORY, 0x1);
VALUE(LLMOS_DEVICE_SET_SLOTS, 0x2);
VALUE(LLMOS_DEVICE_MEMORY_UNKNOWN, 0x7fffffffffffffff);
VALUE(LLMOS_DEVICE_SLOTS_MAX, 4096);
VALUE(LLMOS_LANE_NAME_SIZE, 0x20);
VALUE(LLMOS_FEATURE_LANES, 0x80);
VALUE(LLMOS_FEATURE_HOOKS, 0x100);
VALUE(LLMOS_LANE_NONBLOCK, 0x1);
VALUE(LLMOS_LANE_IDLE, 0x0);
VALUE(LLMOS_LANE_WAITING, 0x1);
VALUE(LLMOS_LANE_HOLDING, 0x2);
VALUE(LLMOS_LANE_GONE, 0x3);

int main(void)
{
	return 0;
}
