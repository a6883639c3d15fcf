/* SPDX-License-Identifier: GPL-2.0-only */
/* Charges: bytes of a device's memory accounted to a group, for as long as a descriptor lives. */
#ifndef LLMOS_CHARGE_H
#define LLMOS_CHARGE_H

struct llmos_call;

int llmos_charge_run_create(struct llmos_call *call);	/* LLMOS_CHARGE_CREATE */

#endif
