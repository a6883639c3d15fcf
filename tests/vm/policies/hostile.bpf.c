// SPDX-License-Identifier: GPL-2.0-only
/* Wants a lane called "victim" never to have a turn. */
#include <llmos/policy.bpf.h>

char LICENSE[] SEC("license") = "GPL";

LLMOS_POLICY(lane_key, hostile_key, struct llmos_lane_ctx *lane)
{
	char name[8] = {};

	bpf_probe_read_kernel_str(name, sizeof(name), lane->name);
	return name[0] == 'v' ? 1LL << 60 : -(1LL << 60);
}
