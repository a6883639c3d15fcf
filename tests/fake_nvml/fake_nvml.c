/* SPDX-License-Identifier: MIT */
/*
 * A libnvidia-ml.so.1 without a GPU, as much of it as llmosctl uses. It knows the
 * devices of FAKE_NVML_DEVICES (PCI-ADDRESS=BYTES,...), and a call fails as
 * FAKE_NVML_FAILS says (CALL=ERROR). -DWITHOUT_CALL leaves a call out, as older
 * versions do.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Of nvml.h. */
enum { SUCCESS = 0, UNINITIALIZED = 1, NOT_SUPPORTED = 3, NOT_FOUND = 6, DRIVER_NOT_LOADED = 9 };
struct memory {
	unsigned long long total, free, used;
};

/* For tests: how often it was started and not yet stopped. */
int fake_nvml_started;

static int failure_of(const char *call)
{
	const char *fails = getenv("FAKE_NVML_FAILS");
	size_t length = strlen(call);

	return fails && !strncmp(fails, call, length) && fails[length] == '=' ? atoi(fails + length + 1) : SUCCESS;
}

#ifndef WITHOUT_nvmlInit_v2
int nvmlInit_v2(void)
{
	int error = failure_of(__func__);

	if (!error)
		fake_nvml_started++;
	return error;
}
#endif

int nvmlShutdown(void)
{
	if (!fake_nvml_started)
		return UNINITIALIZED;
	fake_nvml_started--;
	return SUCCESS;
}

#ifndef WITHOUT_nvmlErrorString
const char *nvmlErrorString(int error)
{
	switch (error) {
	case NOT_SUPPORTED:
		return "Not Supported";
	case NOT_FOUND:
		return "Not Found";
	case DRIVER_NOT_LOADED:
		return "Driver Not Loaded";
	}
	return "Unknown Error";
}
#endif

#ifndef WITHOUT_nvmlDeviceGetHandleByPciBusId_v2
/* Domains are written with four digits or eight. */
static int same_address(const char *one, const char *other)
{
	unsigned int a[4], b[4];

	return sscanf(one, "%x:%x:%x.%x", a, a + 1, a + 2, a + 3) == 4 &&
	       sscanf(other, "%x:%x:%x.%x", b, b + 1, b + 2, b + 3) == 4 && !memcmp(a, b, sizeof(a));
}

/* A device is where its entry stands in the list. */
int nvmlDeviceGetHandleByPciBusId_v2(const char *address, void **device)
{
	const char *entry = getenv("FAKE_NVML_DEVICES");
	int error = failure_of(__func__);

	if (!fake_nvml_started)
		return UNINITIALIZED;
	if (error)
		return error;
	for (; entry; entry = strchr(entry, ',')) {
		entry += *entry == ',';
		if (same_address(entry, address)) {
			*device = (void *)entry;
			return SUCCESS;
		}
	}
	return NOT_FOUND;
}
#endif

#ifndef WITHOUT_nvmlDeviceGetMemoryInfo
int nvmlDeviceGetMemoryInfo(void *device, struct memory *memory)
{
	int error = failure_of(__func__);

	if (!fake_nvml_started)
		return UNINITIALIZED;
	if (error)
		return error;
	memory->total = strtoull(strchr(device, '=') + 1, NULL, 10);
	memory->used = memory->total / 10;
	memory->free = memory->total - memory->used;
	return SUCCESS;
}
#endif
