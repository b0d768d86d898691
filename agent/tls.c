/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/tls.h"

#include <errno.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <sys/socket.h>

#define SESSION_WAYS 4
#define READ_BUFFER_BYTES 32768
#define SERVER_SESSION_S 7200

struct session_slot {
    uint8_t key[16];
    SSL_SESSION *session;
    uint64_t used;
};

struct tls {
    SSL_CTX *upstream;
    SSL_CTX *client;
    uint64_t clock;
    struct session_slot sessions[TLS_SESSIONS_MAX];
};

static struct session_slot *session_set(struct tls *tls, const uint8_t key[16])
{
    unsigned sets = TLS_SESSIONS_MAX / SESSION_WAYS;

    return &tls->sessions[((unsigned)(key[0] | key[1] << 8) % sets) * SESSION_WAYS];
}

static SSL_SESSION *session_find(struct tls *tls, const uint8_t key[16])
{
    struct session_slot *set = session_set(tls, key);

    for (unsigned i = 0; i < SESSION_WAYS; i++) {
        if (set[i].session && memcmp(set[i].key, key, 16) == 0) {
            set[i].used = ++tls->clock;
            return set[i].session;
        }
    }
    return NULL;
}

/* Takes the reference. */
static void session_store(struct tls *tls, const uint8_t key[16], SSL_SESSION *session)
{
    struct session_slot *set = session_set(tls, key), *to = &set[0];

    for (unsigned i = 0; i < SESSION_WAYS; i++) {
        if (set[i].session && memcmp(set[i].key, key, 16) == 0) {
            to = &set[i];
            break;
        }
        if (set[i].used < to->used)
            to = &set[i];
    }
    SSL_SESSION_free(to->session);
    memcpy(to->key, key, 16);
    to->session = session;
    to->used = ++tls->clock;
}

static int on_new_session(SSL *ssl, SSL_SESSION *session)
{
    struct tls_leg *leg = SSL_get_app_data(ssl);

    if (!leg || SSL_get_verify_result(ssl) != X509_V_OK)
        return 0;
    session_store(leg->tls, leg->session_key, session);
    return 1;
}

static void on_info(const SSL *ssl, int where, int value)
{
    struct tls_leg *leg;

    if ((where & SSL_CB_READ_ALERT) != SSL_CB_READ_ALERT)
        return;
    leg = SSL_get_app_data(ssl);
    if (!leg)
        return;
    if ((value & 0xff) == SSL_AD_CLOSE_NOTIFY)
        leg->close_notify = true;
    else if (value >> 8 == SSL3_AL_FATAL)
        leg->alert = (uint8_t)value;
}

/* Runs only when the server asked. Having none to give, the leg is given up. */
static int on_cert_wanted(SSL *ssl, void *arg)
{
    struct tls_leg *leg = SSL_get_app_data(ssl);

    (void)arg;
    if (leg)
        leg->cert_wanted = true;
    return 0;
}

static int on_alpn(SSL *ssl, const unsigned char **out, unsigned char *out_len,
                   const unsigned char *in, unsigned in_len, void *arg)
{
    struct tls_leg *leg = SSL_get_app_data(ssl);

    (void)in;
    (void)in_len;
    (void)arg;
    if (!leg || !leg->alpn[0])
        return SSL_TLSEXT_ERR_NOACK;
    /* Upstream chose from the client's own list. */
    *out = (const unsigned char *)leg->alpn;
    *out_len = (unsigned char)strlen(leg->alpn);
    return SSL_TLSEXT_ERR_OK;
}

static SSL_CTX *make_ctx(const SSL_METHOD *method)
{
    SSL_CTX *ctx = SSL_CTX_new(method);

    if (!ctx)
        return NULL;
    SSL_CTX_set_min_proto_version(ctx, TLS1_2_VERSION);
    /* A FIN without close_notify must not kill the other direction; on_info
     * tells the two ends apart. */
    SSL_CTX_set_options(ctx, SSL_OP_CLEANSE_PLAINTEXT | SSL_OP_NO_RENEGOTIATION |
                                 SSL_OP_NO_COMPRESSION | SSL_OP_IGNORE_UNEXPECTED_EOF);
    SSL_CTX_set_mode(ctx, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ENABLE_PARTIAL_WRITE |
                              SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    SSL_CTX_set_read_ahead(ctx, 1);
    SSL_CTX_set_default_read_buffer_len(ctx, READ_BUFFER_BYTES);
    SSL_CTX_set_info_callback(ctx, on_info);
    return ctx;
}

/* Read in full while the process may still read everything. */
static bool load_trust(SSL_CTX *ctx, const char *ca_file)
{
    static const char *const bundles[] = {
        "/etc/ssl/certs/ca-certificates.crt",
        "/etc/pki/tls/certs/ca-bundle.crt",
        "/etc/ssl/ca-bundle.pem",
        "/etc/ssl/cert.pem",
    };

    if (ca_file && ca_file[0])
        return SSL_CTX_load_verify_file(ctx, ca_file) == 1;
    for (unsigned i = 0; i < sizeof(bundles) / sizeof(bundles[0]); i++) {
        if (SSL_CTX_load_verify_file(ctx, bundles[i]) == 1)
            return true;
    }
    return SSL_CTX_set_default_verify_paths(ctx) == 1;
}

int tls_new(const char *ca_file, struct tls **ret_tls)
{
    struct tls *tls = calloc(1, sizeof(*tls));
    int r = -ENOMEM;

    if (!tls)
        return -ENOMEM;
    tls->upstream = make_ctx(TLS_client_method());
    tls->client = make_ctx(TLS_server_method());
    if (!tls->upstream || !tls->client)
        goto fail;
    SSL_CTX_set_verify(tls->upstream, SSL_VERIFY_PEER, NULL);
    SSL_CTX_set_session_cache_mode(tls->upstream,
                                   SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
    SSL_CTX_sess_set_new_cb(tls->upstream, on_new_session);
    SSL_CTX_set_cert_cb(tls->upstream, on_cert_wanted, NULL);
    SSL_CTX_set_session_cache_mode(tls->client, SSL_SESS_CACHE_OFF);
    SSL_CTX_set_timeout(tls->client, SERVER_SESSION_S);
    SSL_CTX_set_alpn_select_cb(tls->client, on_alpn, NULL);
    r = -EINVAL;
    if (!load_trust(tls->upstream, ca_file))
        goto fail;
    ERR_clear_error();
    *ret_tls = tls;
    return 0;
fail:
    tls_free(&tls);
    return r;
}

void tls_free(struct tls **tls)
{
    struct tls *t = *tls;

    *tls = NULL;
    if (!t)
        return;
    for (unsigned i = 0; i < TLS_SESSIONS_MAX; i++)
        SSL_SESSION_free(t->sessions[i].session);
    SSL_CTX_free(t->upstream);
    SSL_CTX_free(t->client);
    free(t);
}

#define SESSION_KEY_HEAD 12

static int make_session_key(const struct tls_offer *offer, uint8_t ret_key[16])
{
    uint8_t text[SESSION_KEY_HEAD + 256 + 256], hash[32];
    size_t host_len = strlen(offer->host) + 1;

    if (host_len > 256 || offer->alpn.len > 256)
        return -EINVAL;
    memcpy(text, &offer->cgroup_id, 8);
    memcpy(text + 8, &offer->version_min, 2);
    memcpy(text + 10, &offer->version_max, 2);
    memcpy(text + SESSION_KEY_HEAD, offer->host, host_len);
    if (offer->alpn.len)
        memcpy(text + SESSION_KEY_HEAD + host_len, offer->alpn.data, offer->alpn.len);
    if (!EVP_Digest(text, SESSION_KEY_HEAD + host_len + offer->alpn.len, hash, NULL, EVP_sha256(),
                    NULL))
        return -ENOMEM;
    memcpy(ret_key, hash, 16);
    return 0;
}

/* A client that would not speak TLS 1.2 must not be given it by way of us. */
static bool set_versions(SSL *ssl, const struct tls_offer *offer)
{
    if (offer->version_min > TLS1_2_VERSION && !SSL_set_min_proto_version(ssl, offer->version_min))
        return false;
    return offer->version_max < TLS1_2_VERSION ||
           SSL_set_max_proto_version(ssl, offer->version_max);
}

int tls_open_upstream(struct tls *tls, int fd, const struct tls_offer *offer,
                      struct tls_leg *ret_leg)
{
    const char *host = offer->host;
    struct slice alpn = offer->alpn;
    SSL_SESSION *session;
    SSL *ssl;
    int r;

    *ret_leg = (struct tls_leg){.tls = tls};
    r = make_session_key(offer, ret_leg->session_key);
    if (r < 0)
        return r;
    ssl = SSL_new(tls->upstream);
    if (!ssl)
        return -ENOMEM;
    SSL_set_app_data(ssl, ret_leg);
    SSL_set_hostflags(ssl, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
    if (!SSL_set_fd(ssl, fd) || !set_versions(ssl, offer) || !SSL_set_tlsext_host_name(ssl, host) ||
        !SSL_set1_host(ssl, host) ||
        (alpn.len && SSL_set_alpn_protos(ssl, alpn.data, (unsigned)alpn.len) != 0)) {
        SSL_free(ssl);
        ERR_clear_error();
        return -ENOMEM;
    }
    session = session_find(tls, ret_leg->session_key);
    if (session && SSL_SESSION_is_resumable(session))
        SSL_set_session(ssl, session);
    SSL_set_connect_state(ssl);
    ret_leg->ssl = ssl;
    return 0;
}

int tls_open_client(struct tls *tls, int fd, const struct cert_leaf *leaf, const char *alpn,
                    struct tls_leg *ret_leg)
{
    SSL *ssl = SSL_new(tls->client);

    if (!ssl)
        return -ENOMEM;
    *ret_leg = (struct tls_leg){.tls = tls};
    snprintf(ret_leg->alpn, sizeof(ret_leg->alpn), "%s", alpn);
    SSL_set_app_data(ssl, ret_leg);
    /* The context binds a ticket to the host it was given for. */
    if (!SSL_set_fd(ssl, fd) || !SSL_set_session_id_context(ssl, leaf->id, sizeof(leaf->id)) ||
        SSL_use_cert_and_key(ssl, leaf->cert, leaf->key, leaf->chain, 1) != 1) {
        SSL_free(ssl);
        ERR_clear_error();
        return -ENOMEM;
    }
    SSL_set_accept_state(ssl);
    ret_leg->ssl = ssl;
    return 0;
}

void tls_open_plain(int fd, const char *alpn, struct tls_leg *ret_leg)
{
    *ret_leg = (struct tls_leg){.plain = true, .plain_fd = fd};
    snprintf(ret_leg->alpn, sizeof(ret_leg->alpn), "%s", alpn);
}

void tls_leg_fini(struct tls_leg *leg)
{
    if (leg)
        leg->plain = false;
    if (!leg || !leg->ssl)
        return;
    /* Or OpenSSL would mark a good session as not resumable. */
    if (SSL_is_init_finished(leg->ssl))
        SSL_set_shutdown(leg->ssl, SSL_SENT_SHUTDOWN | SSL_RECEIVED_SHUTDOWN);
    SSL_set_app_data(leg->ssl, NULL);
    SSL_free(leg->ssl);
    leg->ssl = NULL;
}

static enum tls_io classify(struct tls_leg *leg, int result, int error_number)
{
    switch (SSL_get_error(leg->ssl, result)) {
    case SSL_ERROR_WANT_READ:
        return TLS_WANT_READ;
    case SSL_ERROR_WANT_WRITE:
        return TLS_WANT_WRITE;
    case SSL_ERROR_ZERO_RETURN:
        return TLS_CLOSED;
    case SSL_ERROR_SYSCALL:
        ERR_clear_error();
        return error_number == 0 ? TLS_CLOSED : TLS_RESET;
    default:
        ERR_clear_error();
        return TLS_FAILED;
    }
}

enum tls_io tls_handshake(struct tls_leg *leg)
{
    enum tls_io io;
    int result;

    ERR_clear_error();
    errno = 0;
    result = SSL_do_handshake(leg->ssl);
    if (result == 1) {
        if (!SSL_is_server(leg->ssl)) {
            const unsigned char *chosen;
            unsigned len;

            if (SSL_get_verify_result(leg->ssl) != X509_V_OK)
                return TLS_FAILED;
            SSL_get0_alpn_selected(leg->ssl, &chosen, &len);
            if (len >= sizeof(leg->alpn))
                return TLS_FAILED;
            if (len)
                memcpy(leg->alpn, chosen, len);
            leg->alpn[len] = '\0';
        }
        leg->flight_sent = true;
        return TLS_OK;
    }
    io = classify(leg, result, errno);
    if (io == TLS_WANT_READ)
        leg->flight_sent = true;
    return io;
}

bool tls_untrusted(const struct tls_leg *leg)
{
    return leg->ssl && SSL_get_verify_result(leg->ssl) != X509_V_OK;
}

bool tls_refused(const struct tls_leg *leg)
{
    switch (leg->alert) {
    case SSL_AD_BAD_CERTIFICATE:
    case SSL_AD_UNSUPPORTED_CERTIFICATE:
    case SSL_AD_CERTIFICATE_REVOKED:
    case SSL_AD_CERTIFICATE_EXPIRED:
    case SSL_AD_CERTIFICATE_UNKNOWN:
    case SSL_AD_UNKNOWN_CA:
        return true;
    default:
        return false;
    }
}

bool tls_peer_finished(const struct tls_leg *leg)
{
    char finished[64];

    return SSL_get_peer_finished(leg->ssl, finished, sizeof(finished)) > 0;
}

bool tls_resumed(const struct tls_leg *leg)
{
    return leg->ssl && SSL_session_reused(leg->ssl);
}

/* What a system call on a leg in clear came to. */
static enum tls_io plain_io(ssize_t n, enum tls_io want, size_t *ret_len)
{
    if (n > 0) {
        *ret_len = (size_t)n;
        return TLS_OK;
    }
    if (n == 0)
        return TLS_CLOSED;
    return errno == EAGAIN || errno == EINTR ? want : TLS_RESET;
}

enum tls_io tls_read(struct tls_leg *leg, void *bytes, size_t cap, size_t *ret_len)
{
    int result;

    if (leg->plain)
        return plain_io(recv(leg->plain_fd, bytes, cap, MSG_DONTWAIT), TLS_WANT_READ, ret_len);
    ERR_clear_error();
    errno = 0;
    result = SSL_read_ex(leg->ssl, bytes, cap, ret_len);
    return result == 1 ? TLS_OK : classify(leg, result, errno);
}

bool tls_has_buffered(const struct tls_leg *leg)
{
    return leg->ssl && SSL_has_pending(leg->ssl) == 1;
}

enum tls_io tls_write(struct tls_leg *leg, const void *bytes, size_t len, size_t *ret_len)
{
    int result;

    if (leg->plain)
        return plain_io(send(leg->plain_fd, bytes, len, MSG_DONTWAIT | MSG_NOSIGNAL),
                        TLS_WANT_WRITE, ret_len);
    ERR_clear_error();
    errno = 0;
    result = SSL_write_ex(leg->ssl, bytes, len, ret_len);
    if (result == 1)
        return TLS_OK;
    switch (classify(leg, result, errno)) {
    case TLS_WANT_READ:
        return TLS_WANT_READ;
    case TLS_WANT_WRITE:
        return TLS_WANT_WRITE;
    case TLS_FAILED:
        return TLS_FAILED;
    default:
        return TLS_RESET;
    }
}

enum tls_io tls_close_notify(struct tls_leg *leg)
{
    int result;

    if (leg->plain)
        return TLS_OK;
    ERR_clear_error();
    errno = 0;
    result = SSL_shutdown(leg->ssl);
    if (result >= 0)
        return TLS_OK;
    return classify(leg, result, errno);
}
