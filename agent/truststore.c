/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/truststore.h"

#include <errno.h>
#include <openssl/err.h>
#include <openssl/objects.h>
#include <openssl/pem.h>
#include <openssl/pkcs12.h>
#include <stdbool.h>

/* Java takes a certificate without a key for trusted only with this mark. */
#define TRUSTED_KEY_USAGE "2.16.840.1.113894.746875.1.1"

static int trusted_key_usage(void)
{
    int nid = OBJ_txt2nid(TRUSTED_KEY_USAGE);

    if (nid != NID_undef)
        return nid;
    return OBJ_create(TRUSTED_KEY_USAGE, "trustedKeyUsage", "Oracle trusted key usage");
}

static bool mark_trusted(PKCS12_SAFEBAG *bag)
{
    /* With length -1 the "bytes" are the ASN.1 value itself, which is copied. */
    const void *any = OBJ_nid2obj(NID_anyExtendedKeyUsage);

    return PKCS12_add1_attr_by_NID(bag, trusted_key_usage(), V_ASN1_OBJECT, any, -1) == 1;
}

static bool add(STACK_OF(PKCS12_SAFEBAG) * *bags, X509 *cert, unsigned n)
{
    PKCS12_SAFEBAG *bag;
    char name[32];
    int len = snprintf(name, sizeof(name), "root-%u", n);

    /* Of several entries with one name Java keeps the last. */
    if (X509_alias_set1(cert, (unsigned char *)name, len) != 1)
        return false;
    bag = PKCS12_add_cert(bags, cert);
    return bag && mark_trusted(bag);
}

static int read_all(FILE *pem, STACK_OF(PKCS12_SAFEBAG) * *bags)
{
    unsigned n = 0;
    int r = 0;

    while (r == 0) {
        X509 *cert = PEM_read_X509(pem, NULL, NULL, NULL);

        if (!cert)
            break;
        if (n == TRUSTSTORE_CERTS_MAX)
            r = -E2BIG;
        else if (!add(bags, cert, ++n))
            r = -ENOMEM;
        X509_free(cert);
    }
    if (r == 0 && ERR_GET_REASON(ERR_peek_last_error()) != PEM_R_NO_START_LINE)
        r = -EBADMSG;
    ERR_clear_error();
    return r == 0 && n == 0 ? -ENODATA : r;
}

int truststore_write(FILE *pem, FILE *out)
{
    STACK_OF(PKCS12_SAFEBAG) *bags = NULL;
    STACK_OF(PKCS7) *safes = NULL;
    PKCS12 *store = NULL;
    int r;

    ERR_clear_error();
    r = read_all(pem, &bags);
    if (r == 0 && PKCS12_add_safe(&safes, bags, -1, 0, NULL) == 1)
        store = PKCS12_add_safes(safes, 0);
    if (r == 0 && !store)
        r = -ENOMEM;
    if (r == 0 && i2d_PKCS12_fp(out, store) != 1)
        r = -EIO;
    PKCS12_free(store);
    sk_PKCS7_pop_free(safes, PKCS7_free);
    sk_PKCS12_SAFEBAG_pop_free(bags, PKCS12_SAFEBAG_free);
    return r;
}
