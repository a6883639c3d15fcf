// SPDX-License-Identifier: GPL-2.0-only
/* Admits no model larger than a knob says. */
#include <llmos/policy.bpf.h>

char LICENSE[] SEC("license") = "GPL";

LLMOS_ONE(bytes_max, u64);

LLMOS_POLICY(admit, limit_admit, struct llmos_admit_ctx *request)
{
	u64 *max = LLMOS_GET(bytes_max);

	if (!max || request->what != LLMOS_ADMIT_MODEL || request->bytes <= *max)
		return 0;
	return -122;	/* EDQUOT */
}
