/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * peer_tls_none.c - the twin of peer_tls_gnutls.c for programs without TLS.
 *
 * Nothing here is ever called, since peer_tls_is_available is false and the
 * callers ask first; each function still answers "failed". Test tool, no floor.
 */
#include "peer_tls.h"

const bool peer_tls_is_available = false;

struct peer_tls *
peer_tls_new(const struct peer_tls_options *opt, bool is_server) {
  (void)opt;
  (void)is_server;
  return NULL;
}

int
peer_tls_start(struct peer_tls *t, int fd, bool is_named, bool *ret_has_ocsp) {
  (void)t;
  (void)fd;
  (void)is_named;
  (void)ret_has_ocsp;
  return -1;
}

ssize_t
peer_tls_settle(struct peer_tls *t, bool is_quiet, char *buf, size_t size) {
  (void)t;
  (void)is_quiet;
  (void)buf;
  (void)size;
  return -1;
}

ssize_t
peer_tls_read(struct peer_tls *t, char *buf, size_t size) {
  (void)t;
  (void)buf;
  (void)size;
  return -1;
}

ssize_t
peer_tls_write(struct peer_tls *t, const char *buf, size_t size) {
  (void)t;
  (void)buf;
  (void)size;
  return -1;
}

void
peer_tls_stop(struct peer_tls *t) {
  (void)t;
}

const char *
peer_tls_suite(struct peer_tls *t) {
  (void)t;
  return "";
}
