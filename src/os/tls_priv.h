/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Shared by the tls*.c files.  Floor: os. */
#ifndef OS_TLS_PRIV_H
#define OS_TLS_PRIV_H

#include <gnutls/gnutls.h>
#include <gnutls/x509.h>
#include <sys/types.h>
#include <time.h>

#include "os/stream.h"
#include "os/tls.h"
#include "os/tls_signer.h"

/* ---- tls_creds.c ---- */
/* Credentials of one set of files, shared by handshakes; kept by the cache of this process. */
struct tls_creds;
/* NULL and an error text; *ret_warning as in struct tls_result.  Given back with tls_creds_release(). */
struct tls_creds *tls_creds_get(struct arena *a, const struct tls_params *p, const char **ret_error, const char **ret_warning);
void tls_creds_release(struct tls_creds *c);
gnutls_certificate_credentials_t tls_creds_handle(const struct tls_creds *c);
gnutls_priority_t tls_creds_priority(const struct tls_creds *c);
bool tls_creds_has_ocsp(const struct tls_creds *c);
bool tls_creds_trust_is_directory(const struct tls_creds *c);
/* Why the private key did not do its part, for the log; NULL: it did.  c may be NULL. */
const char *tls_creds_signer_failure(const struct tls_creds *c);

/* What tells a file from the one that was read before. */
struct tls_file_id {
  const char *path;
  dev_t dev;
  ino_t ino;
  off_t size;
  struct timespec changed;
};
struct tls_file_id tls_file_identity(const char *path);
bool tls_is_same_file(const struct tls_file_id *a, const struct tls_file_id *b);

/* The key that encrypts session tickets: one per process tree. */
const gnutls_datum_t *tls_ticket_key(void);
/* "(what): text of the library" in the arena. */
const char *tls_error_text(struct arena *a, const char *what, int code);

/* ---- tls_signer.c ---- */
/* The pair at this place of the list into the credentials, its key at the signer; index or a GnuTLS code.  *failure, which must live as long as
 * a, is set when the signer does not answer, now or in a handshake to come. */
int tls_signer_add_pair(gnutls_certificate_credentials_t cred, struct arena *a, const struct tls_signer *s, unsigned pair,
                        const char **failure);

/* ---- tls_selfsigned.c ---- */
/* A fresh self-signed certificate for name into the credentials; 0 or a GnuTLS code, *ret_what the failed call. */
int tls_selfsigned(gnutls_certificate_credentials_t cred, const char *name, const char **ret_what);

/* ---- tls_verify.c ---- */
/* Verify the peer's certificate (by CAs, or TLSA records when the client options have some) and, for a client, names and the
 * stapled OCSP answer; fills the verified and ocsp fields.  0, or with an error text -EACCES, -ENOENT when it is the status that lacks. */
int tls_verify_peer(gnutls_session_t g, struct arena *a, enum tls_verify verify, const struct tls_client_opts *client,
                    struct tls_result *ret, const char **ret_error);

/* Show the chain to on_cert of the parameters, in PEM.  False: refused. */
bool tls_show_chain(gnutls_session_t g, struct arena *a, const struct tls_params *p);

const char *tls_status_text(unsigned status);
bool tls_has_name(gnutls_x509_crt_t crt, const char *const *names);

/* ---- tls_dane.c ---- */
/* Does the record (RFC 6698 2.1: usage, selector, matching type, data) name the certificate?  The usage is not looked at. */
bool tls_dane_fits(const gnutls_datum_t *der, struct str rdata);
/* Compare the peer's chain with the TLSA records of the options; 0 or -EACCES and an error text. */
int tls_verify_dane(gnutls_session_t g, struct arena *a, const struct tls_client_opts *o, struct tls_result *ret, const char **ret_error);

/* ---- tls_describe.c ---- */
/* A certificate as PEM in the arena, NULL when there is none. */
const char *tls_pem(struct arena *a, const gnutls_datum_t *der, enum taint t);
/* Fill the descriptive fields of the result. */
void tls_describe(gnutls_session_t g, struct arena *a, const struct tls_params *p, struct tls_result *ret);

/* ---- tls_creds.c ---- */
/* One item of a colon list ("<x " changes the separator, a doubled one stands for itself); false at the end.  *pos starts as the list. */
bool tls_list_next(struct arena *a, const char **pos, int *sep, const char **ret_item);

#endif
