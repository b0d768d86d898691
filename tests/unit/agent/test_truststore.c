/* SPDX-License-Identifier: Apache-2.0 */
/* LINK: agent/truststore.c agent/cert.c */
/* That Java believes it is shown by tests/e2e/71-clients.sh; here, what stands in it. */
#include "agent/cert.h"
#include "agent/truststore.h"

#include <errno.h>
#include <openssl/pem.h>
#include <openssl/pkcs12.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static X509 *root(const char *name)
{
    EVP_PKEY *key = NULL;
    X509 *cert = NULL;
    struct cert_request req = {
        .common_name = name, .path_len = 1, .not_before_s = 1700000000, .not_after_s = 1900000000};

    assert_int_equal(cert_key_new(&key), 0);
    req.subject_key = req.issuer_key = key;
    assert_int_equal(cert_issue(&req, &cert), 0);
    EVP_PKEY_free(key);
    return cert;
}

static FILE *bundle(unsigned count)
{
    FILE *f = tmpfile();

    assert_non_null(f);
    fputs("# a comment, as bundles have them\n", f);
    for (unsigned i = 0; i < count; i++) {
        X509 *cert = root("Same name");

        assert_int_equal(PEM_write_X509(f, cert), 1);
        X509_free(cert);
    }
    rewind(f);
    return f;
}

static PKCS12 *store_of(FILE *pem)
{
    FILE *out = tmpfile();
    PKCS12 *store;

    assert_int_equal(truststore_write(pem, out), 0);
    rewind(out);
    store = d2i_PKCS12_fp(out, NULL);
    assert_non_null(store);
    fclose(out);
    fclose(pem);
    return store;
}

static void each_certificate_is_a_trusted_entry_of_its_own_name(void **state)
{
    PKCS12 *store = store_of(bundle(3));
    STACK_OF(PKCS7) *safes = PKCS12_unpack_authsafes(store);
    STACK_OF(PKCS12_SAFEBAG) * bags;
    int mark = OBJ_txt2nid("2.16.840.1.113894.746875.1.1");
    char names[3][16];

    (void)state;
    assert_int_equal(PKCS12_mac_present(store), 0);
    assert_int_equal(sk_PKCS7_num(safes), 1);
    bags = PKCS12_unpack_p7data(sk_PKCS7_value(safes, 0)); /* NULL when encrypted */
    assert_int_equal(sk_PKCS12_SAFEBAG_num(bags), 3);
    for (int i = 0; i < 3; i++) {
        PKCS12_SAFEBAG *bag = sk_PKCS12_SAFEBAG_value(bags, i);
        const ASN1_TYPE *usage = PKCS12_SAFEBAG_get0_attr(bag, mark);
        char *name = PKCS12_get_friendlyname(bag);

        assert_non_null(usage);
        assert_int_equal(usage->type, V_ASN1_OBJECT);
        assert_int_equal(OBJ_obj2nid(usage->value.object), NID_anyExtendedKeyUsage);
        snprintf(names[i], sizeof(names[i]), "%s", name);
        OPENSSL_free(name);
        for (int k = 0; k < i; k++)
            assert_string_not_equal(names[k], names[i]);
    }
    sk_PKCS12_SAFEBAG_pop_free(bags, PKCS12_SAFEBAG_free);
    sk_PKCS7_pop_free(safes, PKCS7_free);
    PKCS12_free(store);
}

static void a_bundle_that_is_none_is_refused(void **state)
{
    FILE *pem = bundle(0), *out = tmpfile();

    (void)state;
    assert_int_equal(truststore_write(pem, out), -ENODATA);
    fclose(pem);
    pem = bundle(1);
    fseek(pem, 0, SEEK_END);
    fputs("-----BEGIN CERTIFICATE-----\nbroken\n-----END CERTIFICATE-----\n", pem);
    rewind(pem);
    assert_int_equal(truststore_write(pem, out), -EBADMSG);
    fclose(pem);
    assert_int_equal(ftell(out), 0);
    fclose(out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_certificate_is_a_trusted_entry_of_its_own_name),
        cmocka_unit_test(a_bundle_that_is_none_is_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
