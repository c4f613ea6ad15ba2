/* SPDX-License-Identifier: GPL-2.0-or-later */
/* TLS over a stream, with GnuTLS.  Floor: os.  RFC 8446, 5246, 3207, 7672 (DANE), 6066 (SNI, OCSP), 7301 (ALPN); manual ch. 43.
 *
 * Knows nothing of options or expansion: callers expand and de-taint, and hand over plain texts.  Credentials are made once for each set of
 * files and kept in this process (a daemon makes them before it forks, so that sessions share the memory); before each use the files' identity
 * (device, inode, size, change time) is compared and what changed is read again.  When the new files are no good the old pair stays in use and
 * the caller gets a text to log.  Hostile: every byte of the peer, all names and certificates; texts from them are tainted.
 * From the start of a handshake the stream's bottom is the TLS layer, whatever becomes of it: its end is the end of the stream, an error is
 * sticky, nothing falls back to clear text. */
#ifndef OS_TLS_H
#define OS_TLS_H

#include "base/arena.h"
#include "base/str.h"
#include "base/timeutil.h"
#include "os/stream.h"

enum tls_verify { TLS_VERIFY_NONE, TLS_VERIFY_TRY, TLS_VERIFY_REQUIRE };
enum tls_ocsp { TLS_OCSP_NONE, TLS_OCSP_REQUEST, TLS_OCSP_REQUIRE };      /* client */
/* As $tls_*_ocsp shows it. */
enum tls_ocsp_state { TLS_OCSP_NOT_REQUESTED, TLS_OCSP_NO_RESPONSE, TLS_OCSP_NOT_VERIFIED, TLS_OCSP_FAILED, TLS_OCSP_VERIFIED };
/* As $tls_*_resumption shows it. */
enum { TLS_RESUME_CAPABLE = 1, TLS_RESUME_ASKED = 2, TLS_RESUME_OFFERED = 4, TLS_RESUME_GIVEN = 8, TLS_RESUME_USED = 16 };

/* A certificate of the peer's chain, looked at before it is verified: from the last one (depth n - 1) to the peer's own (0).  False refuses the
 * peer, whatever else is asked. */
typedef bool (*tls_cert_fn)(void *ctx, unsigned depth, const char *pem);

/* Files and texts of one side.  Lists are colon lists as in the configuration, already expanded.  NULL: not set. */
struct tls_params {
  bool is_server;
  const char *certificate;         /* list; server without one: made on the spot, self-signed, for own_name */
  const char *privatekey;          /* list, NULL: in the certificate files */
  const char *ocsp_file;           /* server: list parallel to certificate; "PEM " or "DER " in front of a name */
  const char *crl;
  const char *verify_certificates; /* file, directory, "system", NULL or "" none */
  const char *dhparam;             /* server: file, "none", "historic", a group's name */
  const char *ciphers;             /* GnuTLS priority string, NULL: NORMAL */
  const char *alpn;                /* list: server accepts one of these, client offers all; NULL none */
  bool alpn_required;
  const char *own_name;
  int dh_min_bits;                 /* client, 0: the library's */
  int dh_max_bits;
  bool compat, allow_pkcs11;
  bool no_channel_binding;         /* nobody will ask for it */
  const struct tls_signer *signer; /* server: who has the private keys (tls_signer.h); NULL: read them here */
  bool is_preloaded;               /* a moment ago: the files need no second look */
  bool skip_ocsp_check;            /* tests only: staple an answer that is no good */
  enum tls_verify verify;
  tls_cert_fn on_cert;             /* NULL none */
  void *on_cert_ctx;
  bool resumption;                 /* server: give tickets; client: use and keep sessions */
  int ticket_life_sec;             /* server; 0: the library's two hours */
};

/* Server: the client named a host.  Gives other parameters (valid while the handshake lasts), NULL for the same, or sets *ret_error to end
 * the handshake. */
typedef const struct tls_params *(*tls_sni_fn)(void *ctx, const char *sni, const char **ret_error);

struct tls_server_opts {
  struct tls_params params;
  tls_sni_fn on_sni;               /* NULL: names change nothing */
  void *ctx;
  bool early_start;                /* TLS 1.3 without client certificates: return before the client's last flight, so that the greeting
                                    * rides in ours; the handshake ends with the first read */
  struct str early;                /* bytes of the handshake that were read with what stood before it; live until the end of it */
};

struct tls_tlsa { struct str rdata; };     /* usage, selector, matching type, data */
struct tls_client_opts {
  struct tls_params params;
  const char *sni;
  const char *const *verify_names; /* NULL or NULL-ended: the certificate must carry one of these (tls_verify_cert_hostnames; DANE-TA) */
  enum tls_ocsp ocsp;
  const struct tls_tlsa *tlsa;     /* DANE: usable records; then they decide, verify_certificates does not */
  size_t tlsa_count;
  struct str resume;               /* session kept from before, empty none */
  struct tls_session *hello;       /* made by tls_client_hello() with the same options, NULL none; what is buffered is read as the answer */
};

/* What the handshake brought.  Strings in the arena given; what the peer said is tainted. */
struct tls_result {
  const char *cipher;              /* "TLS1.3:ECDHE_X25519__RSA_PSS_RSAE_SHA256__AES_256_GCM:256", as X= shows it */
  const char *cipher_std;          /* IANA name */
  const char *ver;                 /* "TLS1.3" */
  int bits;
  const char *peer_dn, *sni, *alpn;  /* NULL when there is none */
  const char *peer_cert_pem, *our_cert_pem;
  bool certificate_verified, dane_verified;
  const char *verify_error;        /* TLS_VERIFY_TRY: why it was not verified, NULL: was, or nothing to verify */
  enum tls_ocsp_state ocsp;
  unsigned resumption;             /* TLS_RESUME_* */
  bool is_early;                   /* early_start took place: the peer's last flight is still to come */
  const char *channel_binding;     /* base64 of tls-exporter (1.3) or tls-unique; for AUTH -PLUS; NULL none */
  const char *failure;             /* the handshake failed: "(gnutls_handshake): ...", in the library's words; NULL when it came to its end */
  const char *warning;             /* set on failure too: changed files could not be used, the old ones were */
};

/* Make the credentials now (daemon start, before the 220 of STARTTLS, configuration check), or look whether their files changed.
 * NULL or "(cert/key setup: cert=... key=...): Error while reading file." */
const char *tls_preload(struct arena *a, const struct tls_params *p);
/* Make the key of the session tickets, before processes are forked that are to share it. */
void tls_prepare_tickets(void);
/* The text of a failed renewal whose old files stay in use, once for each change; NULL none. */
const char *tls_preload_warning(struct arena *a, const struct tls_params *p);

/* Server handshake on the stream (STARTTLS answered, or on connect).  0 or negative: -ETIMEDOUT, -ECONNRESET, -EPROTO, -EACCES when
 * the client's certificate was refused; *ret_error says what for the log: "(gnutls_handshake): ...".
 * a must live as long as the stream.  INVARIANT: nothing is buffered in the stream. */
MUST_CHECK int tls_start_server(struct stream *io, struct arena *a, const struct tls_server_opts *o, deadline_ms deadline,
                                struct tls_result *ret, const char **ret_error);
/* Make the client's first message before there is a connection: *ret_bytes, in the arena.  NULL: *ret_error.  Goes to tls_start_client(), or to
 * tls_hello_drop() (NULL, or one that was used, does nothing). */
struct tls_session *tls_client_hello(struct arena *a, const struct tls_client_opts *o, struct str *ret_bytes, const char **ret_error);
void tls_hello_drop(struct tls_session *t);
/* Client handshake.  -EACCES: verification of certificate or OCSP failed; -EINVAL: own files or ciphers are no good, nothing was sent
 * (but the stream can only be closed); others as above. */
MUST_CHECK int tls_start_client(struct stream *io, struct arena *a, const struct tls_client_opts *o, deadline_ms deadline,
                                struct tls_result *ret, const char **ret_error);
/* After a handshake that failed, and only then: the peer, which thinks itself in clear text still, hears text; and each line it sends is
 * answered with refusal until it says QUIT (answered with farewell; STREAM_OK), goes away, or the deadline or a few lines have passed. */
void tls_say_in_clear(struct stream *io, const char *text);
enum stream_status tls_refuse_in_clear(struct stream *io, const char *refusal, const char *farewell, deadline_ms deadline);
/* Flush, send close_notify when the stream is still good; wait_for_peer: read the peer's and drop what comes before it. */
void tls_end(struct stream *io, bool wait_for_peer, deadline_ms deadline);
bool tls_is_active(const struct stream *io);
/* What ended the TLS layer, "(recv): ...", once something did; NULL while it is good, and after the peer's close_notify. */
const char *tls_error(const struct stream *io);
/* The session for a later resumption (client; TLS 1.3 tickets may come late, so ask at the end); empty when there is none. */
struct str tls_session_data(struct stream *io, struct arena *a);
/* Is the priority string good?  NULL or the error. */
const char *tls_check_ciphers(struct arena *a, const char *ciphers);

#endif
