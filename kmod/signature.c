// SPDX-License-Identifier: GPL-2.0-only
/*
 * Signatures of models: PKCS#7 over the digest in fs-verity's own format, so
 * that `fsverity sign` makes them, checked against the module's keyring.
 */
#include <linux/cred.h>
#include <linux/fsverity.h>
#include <linux/key.h>
#include <linux/module.h>
#include <linux/slab.h>
#include <linux/string.h>
#include <linux/verification.h>

#include "llmos.h"

static bool signature_required;
module_param(signature_required, bool, 0644);
MODULE_PARM_DESC(signature_required, "Refuse to seal models without a valid signature (default off)");

static struct key *keyring;

struct formatted_digest {
	char magic[8];
	__le16 digest_algorithm;
	__le16 digest_size;
	u8 digest[LLMOS_DIGEST_SIZE];
} __packed;

bool llmos_signature_required(void)
{
	return READ_ONCE(signature_required);
}

s32 llmos_signature_keyring(void)
{
	return key_serial(keyring);
}

int llmos_signature_check(const u8 *digest, u64 address, u32 size)
{
	struct formatted_digest signed_data = {
		.magic = { 'F', 'S', 'V', 'e', 'r', 'i', 't', 'y' },
		.digest_algorithm = cpu_to_le16(FS_VERITY_HASH_ALG_SHA256),
		.digest_size = cpu_to_le16(LLMOS_DIGEST_SIZE),
	};
	void *signature;
	int ret;

	memcpy(signed_data.digest, digest, LLMOS_DIGEST_SIZE);
	signature = memdup_user(u64_to_user_ptr(address), size);
	if (IS_ERR(signature))
		return PTR_ERR(signature);
	ret = verify_pkcs7_signature(&signed_data, sizeof(signed_data), signature, size, keyring,
				     VERIFYING_UNSPECIFIED_SIGNATURE, NULL, NULL);
	kfree(signature);
	return ret;
}

/* Root adds certificates: keyctl padd asymmetric "" %:.llmos < cert.der */
int llmos_signature_init(void)
{
	const key_perm_t perm = KEY_POS_SEARCH | KEY_USR_VIEW | KEY_USR_READ | KEY_USR_WRITE |
				KEY_USR_SEARCH | KEY_USR_SETATTR;

	keyring = keyring_alloc(".llmos", GLOBAL_ROOT_UID, GLOBAL_ROOT_GID, current_cred(), perm,
				KEY_ALLOC_NOT_IN_QUOTA, NULL, NULL);
	return PTR_ERR_OR_ZERO(keyring);
}

void llmos_signature_exit(void)
{
	key_put(keyring);
}
