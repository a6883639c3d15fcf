// SPDX-License-Identifier: GPL-2.0-only
/* Answers that no caller can use; which of them is for a knob. */
#include <llmos/policy.bpf.h>

char LICENSE[] SEC("license") = "GPL";

LLMOS_ONE(answer, s64);

static s64 said(void)
{
	s64 *value = LLMOS_GET(answer);

	return value ? *value : 0;
}

LLMOS_POLICY(lane_key, nonsense_key, struct llmos_lane_ctx *lane)
{
	return said() + (bpf_get_prandom_u32() & 1);
}

LLMOS_POLICY(lane_slice, nonsense_slice, struct llmos_lane_ctx *lane)
{
	return said();
}

LLMOS_POLICY(evict_score, nonsense_score, struct llmos_model_ctx *model)
{
	return said();
}

LLMOS_POLICY_SLEEPABLE(admit, nonsense_admit, struct llmos_admit_ctx *request)
{
	return said();
}
