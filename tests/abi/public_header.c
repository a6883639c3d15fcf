/* SPDX-License-Identifier: MIT */
/* The C header stands alone, in C99 and C11, and its functions have C linkage and exist. */
#include <llmos/llmos.h>

#include <string.h>

int main(void)
{
	llmos_store *store = NULL;
	struct llmos_query query;

	memset(&query, 0, sizeof(query));
	query.size = sizeof(query);
	if (llmos_store_open(LLMOS_STORE_MEMORY, &store) || llmos_store_query(store, &query))
		return 1;
	llmos_store_close(store);
	return query.abi == LLMOS_ABI_VERSION ? 0 : 1;
}
