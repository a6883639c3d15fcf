/* SPDX-License-Identifier: GPL-2.0-only */
/* The kernel's own controller of device memory, where it has one. */
#ifndef LLMOS_DMEM_H
#define LLMOS_DMEM_H

#include "device.h"

static inline void llmos_dmem_register(struct llmos_device *device) { }
static inline void llmos_dmem_unregister(struct llmos_device *device) { }

#endif
