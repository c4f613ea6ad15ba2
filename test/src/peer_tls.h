/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * peer_tls.h - TLS for the test peers (client, server).
 *
 * Two implementations are linked alternatively: peer_tls_gnutls.c, and
 * peer_tls_none.c for the plain client, where every call fails. A test tool,
 * outside the floors of the product; memory is never given back, the process
 * ends soon. Input comes from the program under test. Described in test/README.
 */
#ifndef TEST_PEER_TLS_H
#define TEST_PEER_TLS_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

struct peer_tls;

struct peer_tls_options {
  const char *cert_file;    /* PEM, or NULL */
  const char *key_file;     /* PEM, or NULL */
  const char *ocsp_ca_file; /* client: demand a stapled answer checked against this */
  const char *priority;     /* GnuTLS priority string, or NULL for the default */
  int timeout_ms;           /* for the hand-shake and each record */
};

/* Whether this program was linked with TLS. */
extern const bool peer_tls_is_available;

/* Prepares credentials. Ends the process with status 96 and a line on stderr when a file is bad. */
struct peer_tls *peer_tls_new(const struct peer_tls_options *opt, bool is_server);

/*
 * Does the hand-shake on fd. Returns 0, or -1 after printing the library's words on stdout
 * (with "gnutls_handshake: " in front when named). *ret_has_ocsp says that a good stapled
 * answer came.
 */
int peer_tls_start(struct peer_tls *t, int fd, bool is_named, bool *ret_has_ocsp);

/*
 * After a client's hand-shake: gives the other side a moment to refuse. Early bytes are put in
 * buf, their number is returned; -1 after printing "gnutls_record_recv: <text>" (not when quiet).
 */
ssize_t peer_tls_settle(struct peer_tls *t, bool is_quiet, char *buf, size_t size);

/* Like read(2) and write(2); reading returns -2 on a time-out, -1 on an error (printed), 0 at the end. */
ssize_t peer_tls_read(struct peer_tls *t, char *buf, size_t size);
ssize_t peer_tls_write(struct peer_tls *t, const char *buf, size_t size);

/* Ends TLS; the descriptor stays open. */
void peer_tls_stop(struct peer_tls *t);

/* The suite in OpenSSL's spelling, static storage. */
const char *peer_tls_suite(struct peer_tls *t);

#endif
