/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The TLS layer of a stream: handshakes, records, the end (tls.h).  Floor: os.  Input is hostile; GnuTLS parses it.
 *
 * All waiting is done here (handshake, goodbye) or in stream.c (records), with poll and an absolute deadline: the library's calls
 * never block.  A session lives in the arena of its stream's owner; the GnuTLS object is freed when the stream is closed. */
#include "os/tls.h"

#include <errno.h>
#include <sys/socket.h>

#include "os/net.h"
#include "os/tls_names.h"
#include "os/tls_priv.h"

enum { READ_AHEAD = 2048, IGNORED_MAX = 100, SNI_MAX = 255, REFUSED_LINES_MAX = 10, RECORD_WAIT_MS = 2000 };
/* Types of records: change_cipher_spec to application_data. */
enum { RECORD_FIRST = 20, RECORD_LAST = 23 };
static const char layer_name[] = "tls";

/* Extensions of a client hello that are looked at. */
enum { EXT_STATUS_REQUEST = 5, EXT_ALPN = 16, EXT_SESSION_TICKET = 35, EXT_PRE_SHARED_KEY = 41 };

struct tls_session {
  struct stream *io;
  struct arena *a;
  gnutls_session_t g;
  struct stream_layer lower;
  struct tls_creds *creds, *sni_creds;
  const struct tls_server_opts *server;  /* during the handshake only */
  enum tls_verify verify;                /* what is asked of the peer's certificate; a server's may depend on the name it was called by */
  const char *warning;                   /* of the own files, for the result */
  bool is_server, is_pipe, is_up;
  bool lower_ended;                      /* the transport gave end of file */
  bool again;                            /* the last call stopped, gnutls_record_get_direction() says for what */
  bool send_pending;                     /* the library holds a record whose sending must be gone on with */
  bool said_goodbye, peer_said_goodbye;
  bool has_status_request, has_ticket, has_psk;
  int error;                             /* sticky, negative errno */
  unsigned ignored;
  const char *error_text;
  const char *alpn_offered;              /* what the client said, colons between; NULL nothing */
  const char *sni;
  const char *refusal;                   /* why a callback ended the handshake */
  const char *failure;                   /* for the result */
  bool is_detached;                      /* a client hello is made before there is a connection */
  bool gathers;                          /* what is to be sent waits in the flight, so that the peer is woken once */
  struct strbuf flight;
  struct str early;                      /* read before the library asked for it: before TLS was begun, or into ahead */
  char *ahead;                           /* READ_AHEAD bytes; a small record comes whole with its header */
};

/* ---- below: the transport ---------------------------------------------------------------------------------- */

static ssize_t result_for_library(struct tls_session *t, ssize_t n) {
  if (n >= 0) return n;
  gnutls_transport_set_errno(t->g, (int)-n);
  return -1;
}

static ssize_t take_early(struct tls_session *t, void *buf, size_t n) {
  size_t take = MIN(n, t->early.n);
  memcpy(buf, t->early.p, take);
  t->early = str_n(t->early.p + take, t->early.n - take);
  return (ssize_t)take;
}

static ssize_t read_lower(struct tls_session *t, void *buf, size_t n) {
  if (t->early.n) return take_early(t, buf, n);
  /* read() from a pipe would wait */
  if (t->is_pipe && !stream_wait(t->io, true, false, time_mono_ms())) return -EAGAIN;
  bool is_large = n >= READ_AHEAD; /* as is the rest of a large record: copying it would cost more */
  if (!is_large && !t->ahead) t->ahead = arena_alloc(t->a, READ_AHEAD);
  ssize_t r = is_large ? t->lower.read(t->lower.self, buf, n) : t->lower.read(t->lower.self, t->ahead, READ_AHEAD);
  if (r == 0) t->lower_ended = true;
  if (r <= 0 || is_large) return r;
  t->early = str_n(t->ahead, (size_t)r);
  return take_early(t, buf, n);
}

static ssize_t pull(gnutls_transport_ptr_t self, void *buf, size_t n) {
  struct tls_session *t = self;
  return result_for_library(t, t->is_detached ? -EAGAIN : read_lower(t, buf, n));
}

static int pull_timeout(gnutls_transport_ptr_t self, unsigned wait_ms) {
  struct tls_session *t = self;
  if (t->is_detached || t->early.n) return t->early.n > 0;
  deadline_ms deadline = wait_ms == GNUTLS_INDEFINITE_TIMEOUT ? DEADLINE_NEVER : time_mono_ms() + (int64_t)wait_ms;
  return stream_wait(t->io, true, false, deadline);
}

static ssize_t push(gnutls_transport_ptr_t self, const giovec_t *iov, int count) {
  struct tls_session *t = self;
  if (t->is_detached || t->gathers) {
    size_t before = t->flight.n;
    for (int i = 0; i < count; i++) strbuf_add_t(&t->flight, iov[i].iov_base, iov[i].iov_len, UNTAINTED);
    return (ssize_t)(t->flight.n - before);
  }
  size_t total = 0;
  for (int i = 0; i < count; i++) {
    ssize_t r = t->lower.write(t->lower.self, iov[i].iov_base, iov[i].iov_len);
    if (r < 0 && total == 0) return result_for_library(t, r);
    if (r > 0) total += (size_t)r;
    if (r < (ssize_t)iov[i].iov_len) break;
  }
  return (ssize_t)total;
}

/* Send what was gathered.  0, -ETIMEDOUT, or what the transport says. */
static int send_flight(struct tls_session *t, deadline_ms deadline) {
  int rc = 0;
  t->gathers = false;
  for (size_t sent = 0; rc == 0 && sent < t->flight.n;) {
    ssize_t r = t->lower.write(t->lower.self, t->flight.p + sent, t->flight.n - sent);
    if (r >= 0) sent += (size_t)r;
    else if (r != -EAGAIN && r != -EINTR) rc = (int)r;
    else if (r == -EAGAIN && !stream_wait(t->io, false, true, deadline)) rc = -ETIMEDOUT;
  }
  strbuf_truncate(&t->flight, 0);
  return rc;
}

/* ---- above: the stream's layer ------------------------------------------------------------------------------ */

static ssize_t fail_layer(struct tls_session *t, const char *what, int code) {
  struct strbuf b = strbuf_new(t->a);
  strbuf_addf(&b, "(%s): %s", what, gnutls_strerror(code));
  if (code == GNUTLS_E_FATAL_ALERT_RECEIVED) {
    const char *alert = gnutls_alert_get_name(gnutls_alert_get(t->g));
    if (alert && b.n > 0 && b.p[b.n - 1] == '.') strbuf_truncate(&b, b.n - 1);
    if (alert) strbuf_addf(&b, ": %s", alert);
  } else if (code != GNUTLS_E_PREMATURE_TERMINATION && code != GNUTLS_E_PULL_ERROR && code != GNUTLS_E_PUSH_ERROR) {
    (void)gnutls_alert_send_appropriate(t->g, code);
  }
  t->error_text = b.p;
  bool is_lost = code == GNUTLS_E_PREMATURE_TERMINATION || code == GNUTLS_E_PULL_ERROR || code == GNUTLS_E_PUSH_ERROR;
  return t->error = is_lost ? -ECONNRESET : -EPROTO;
}

/* Is this result of the library no reason to stop?  A peer that sends nothing but such records is stopped after a while. */
static bool is_ignorable(struct tls_session *t, ssize_t code) {
  if (code == GNUTLS_E_REHANDSHAKE) (void)gnutls_alert_send(t->g, GNUTLS_AL_WARNING, GNUTLS_A_NO_RENEGOTIATION);
  return !gnutls_error_is_fatal((int)code) && ++t->ignored < IGNORED_MAX;
}

static ssize_t layer_read(void *self, void *buf, size_t n) {
  struct tls_session *t = self;
  for (;;) {
    if (t->error) return t->error;
    if (t->peer_said_goodbye) return 0;
    ssize_t r = gnutls_record_recv(t->g, buf, n);
    t->again = r == GNUTLS_E_AGAIN;
    if (r > 0) return r;
    if (r == 0) t->peer_said_goodbye = true;
    else if (r == GNUTLS_E_AGAIN) return -EAGAIN;
    else if (r != GNUTLS_E_INTERRUPTED && !is_ignorable(t, r)) return fail_layer(t, "recv", (int)r);
  }
}

static ssize_t layer_write(void *self, const void *buf, size_t n) {
  struct tls_session *t = self;
  if (t->error || t->said_goodbye) return -EPIPE;
  for (;;) {
    ssize_t r = t->send_pending ? gnutls_record_send(t->g, NULL, 0) : gnutls_record_send(t->g, buf, n);
    t->send_pending = r == GNUTLS_E_AGAIN || r == GNUTLS_E_INTERRUPTED;
    if (r >= 0) return r;
    if (r == GNUTLS_E_AGAIN) return -EAGAIN;
    if (r != GNUTLS_E_INTERRUPTED && !is_ignorable(t, r)) return fail_layer(t, "send", (int)r);
  }
}

static bool layer_has_pending(void *self) {
  const struct tls_session *t = self;
  return t->error || t->peer_said_goodbye || t->early.n > 0 || gnutls_record_check_pending(t->g) > 0;
}

static bool layer_wants_write(void *self) {
  const struct tls_session *t = self;
  return t->again && gnutls_record_get_direction(t->g) == 1;
}

static void layer_end(void *self) {
  struct tls_session *t = self;
  if (t->error || t->said_goodbye || t->send_pending) return;
  t->said_goodbye = true;
  (void)gnutls_bye(t->g, GNUTLS_SHUT_WR); /* what the peer does not take now it will not get */
}

static void layer_close(void *self) {
  struct tls_session *t = self;
  gnutls_deinit(t->g);
  t->g = NULL;
  tls_creds_release(t->creds);
  tls_creds_release(t->sni_creds);
  if (t->lower.close) t->lower.close(t->lower.self);
}

static struct tls_session *session_of(const struct stream *io) {
  struct stream_layer top = stream_bottom(io);
  return top.name == layer_name ? top.self : NULL;
}

bool tls_is_active(const struct stream *io) { return session_of(io) != NULL; }

const char *tls_error(const struct stream *io) {
  const struct tls_session *t = session_of(io);
  return t ? t->error_text : NULL;
}

static void say_goodbye(struct tls_session *t, deadline_ms deadline) {
  int rc;
  while ((rc = gnutls_bye(t->g, GNUTLS_SHUT_WR)) == GNUTLS_E_AGAIN || rc == GNUTLS_E_INTERRUPTED)
    if (rc == GNUTLS_E_AGAIN && !stream_wait(t->io, false, true, deadline)) break;
  t->said_goodbye = true;
}

void tls_end(struct stream *io, bool wait_for_peer, deadline_ms deadline) {
  struct tls_session *t = session_of(io);
  if (!t || t->said_goodbye || t->error) return;
  t->gathers = true; /* the last reply and the goodbye go together */
  bool is_good = stream_flush(io, deadline) == STREAM_OK && !t->error;
  if (is_good) say_goodbye(t, deadline);
  if (send_flight(t, deadline) < 0) is_good = false;
  if (is_good && wait_for_peer) IGNORE_RESULT(stream_drain(io, 64 * 1024, deadline)); /* ended either way */
}

void tls_say_in_clear(struct stream *io, const char *text) {
  struct tls_session *t = session_of(io);
  INVARIANT(t && t->error && !t->is_up);
  if (t->lower.write(t->lower.self, text, strlen(text)) < 0) t->lower_ended = true; /* nobody listens */
}

/* n bytes of the transport, unless it ends or time runs out. */
static enum stream_status read_clear(struct tls_session *t, unsigned char *buf, size_t n, deadline_ms deadline) {
  for (size_t got = 0; got < n;) {
    if (!t->early.n && !stream_wait(t->io, true, false, deadline)) return STREAM_TIMEOUT;
    ssize_t r = read_lower(t, buf + got, n - got);
    if (r == 0) return STREAM_EOF;
    if (r < 0 && r != -EAGAIN && r != -EINTR) return STREAM_ERROR;
    if (r > 0) got += (size_t)r;
  }
  return STREAM_OK;
}

/* The rest of a record whose type was read: what the peer had sent before it knew of the failure. */
static enum stream_status skip_record(struct tls_session *t, deadline_ms deadline) {
  unsigned char head[4], byte;
  enum stream_status st = read_clear(t, head, sizeof head, deadline);
  for (size_t left = st == STREAM_OK ? (size_t)(head[2] << 8 | head[3]) : 0; st == STREAM_OK && left > 0; left--)
    st = read_clear(t, &byte, 1, deadline);
  return st;
}

enum stream_status tls_refuse_in_clear(struct stream *io, const char *refusal, const char *farewell, deadline_ms deadline) {
  struct tls_session *t = session_of(io);
  char line[512];
  size_t n = 0;
  deadline_ms until = deadline;
  for (int lines = 0; lines < REFUSED_LINES_MAX;) {
    unsigned char c;
    enum stream_status st = read_clear(t, &c, 1, until);
    if (st == STREAM_OK && n == 0 && c >= RECORD_FIRST && c <= RECORD_LAST) {
      until = MIN(deadline, time_mono_ms() + RECORD_WAIT_MS); /* does the peer know by now? */
      st = skip_record(t, until);
      lines++;
      if (st == STREAM_OK) continue;
    }
    if (st != STREAM_OK) return st;
    if (c != '\n' && n < sizeof line) line[n++] = (char)c;
    if (c != '\n') continue;
    lines++;
    until = deadline;
    bool is_quit = str_eqic(str_trim(str_n(line, n)), STR("quit"));
    tls_say_in_clear(io, is_quit ? farewell : refusal);
    if (is_quit) return STREAM_OK;
    n = 0;
  }
  return STREAM_TOOLONG;
}

/* ---- the client hello, seen by the server --------------------------------------------------------------------- */

static int note_extension(void *self, unsigned id, const unsigned char *data, unsigned n) {
  struct tls_session *t = self;
  switch (id) {
    case EXT_STATUS_REQUEST: t->has_status_request = true; break;
    case EXT_SESSION_TICKET: /* TLS 1.2: with a ticket in it a session is offered, without one a new one asked for */
      if (n > 0) t->has_psk = true;
      else t->has_ticket = true;
      break;
    case EXT_PRE_SHARED_KEY: t->has_psk = true; break;
    case EXT_ALPN:
      t->alpn_offered = tls_alpn_names(t->a, str_n((const char *)data, n));
      if (!t->alpn_offered) t->alpn_offered = "malformed"; /* the library takes what it can read of it */
      break;
    default: break;
  }
  return 0;
}

static int see_hello(gnutls_session_t g, unsigned type, unsigned when, unsigned incoming, const gnutls_datum_t *msg) {
  (void)type, (void)when, (void)incoming;
  /* A hello without extensions is no error; what else is wrong with it the library will find. */
  (void)gnutls_ext_raw_parse(gnutls_session_get_ptr(g), note_extension, msg, GNUTLS_EXT_RAW_FLAG_TLS_CLIENT_HELLO);
  return 0;
}

/* A client offers one protocol, one of ours; RFC 7301 3.2. */
static bool alpn_is_good(struct tls_session *t) {
  const struct tls_params *p = &t->server->params;
  const char *pos = p->alpn, *item;
  if (!t->alpn_offered || !pos || !*pos) return true;
  for (int sep = 0; tls_list_next(t->a, &pos, &sep, &item);)
    if (strcmp(item, t->alpn_offered) == 0) return true;
  t->refusal = arena_printf(t->a, "(handshake): Bad ALPN presented (%s)", t->alpn_offered);
  return false;
}

static void note_sni(struct tls_session *t) {
  char name[SNI_MAX + 1];
  size_t n = sizeof name;
  unsigned type;
  if (gnutls_server_name_get(t->g, name, &n, &type, 0) < 0 || type != GNUTLS_NAME_DNS) return;
  struct str s = str_n(name, strnlen(name, MIN(n, sizeof name)));
  if (s.n + 1 < n || !tls_is_host_name(s)) return;
  t->sni = arena_strndup_t(t->a, s.p, s.n, TAINTED);
}

static void ask_client_certificate(struct tls_session *t, enum tls_verify verify) {
  static const gnutls_certificate_request_t request[] = {
    [TLS_VERIFY_NONE] = GNUTLS_CERT_IGNORE, [TLS_VERIFY_TRY] = GNUTLS_CERT_REQUEST, [TLS_VERIFY_REQUIRE] = GNUTLS_CERT_REQUIRE};
  t->verify = verify;
  gnutls_certificate_server_set_request(t->g, request[verify]);
  /* Of a directory, which may hold very many, the names are not told (manual ch. 43): a client then sends what it has. */
  const struct tls_creds *c = t->sni_creds ? t->sni_creds : t->creds;
  gnutls_certificate_send_x509_rdn_sequence(t->g, c && tls_creds_trust_is_directory(c));
}

/* Other parameters for the name the client gave. */
static int apply_sni(struct tls_session *t) {
  if (!t->sni || !t->server->on_sni) return 0;
  const char *error = NULL, *warning = NULL;
  const struct tls_params *p = t->server->on_sni(t->server->ctx, t->sni, &error);
  if (!error && !p) return 0;
  if (!error) t->sni_creds = tls_creds_get(t->a, p, &error, &warning);
  if (warning) t->warning = warning;
  if (error) {
    t->refusal = error;
    return GNUTLS_E_UNRECOGNIZED_NAME;
  }
  ask_client_certificate(t, p->verify);
  return gnutls_credentials_set(t->g, GNUTLS_CRD_CERTIFICATE, tls_creds_handle(t->sni_creds));
}

static int after_client_hello(gnutls_session_t g) {
  struct tls_session *t = gnutls_session_get_ptr(g);
  if (!t->server) return 0;
  if (!alpn_is_good(t)) return GNUTLS_E_NO_APPLICATION_PROTOCOL;
  note_sni(t);
  return apply_sni(t);
}

/* ---- handshakes ------------------------------------------------------------------------------------------------ */

static int set_alpn(struct tls_session *t, const char *list) {
  gnutls_datum_t names[8];
  unsigned n = 0;
  const char *item;
  for (int sep = 0; n < ARRAY_SIZE(names) && tls_list_next(t->a, &list, &sep, &item);) {
    names[n++] = (gnutls_datum_t){(unsigned char *)(uintptr_t)item, (unsigned)strlen(item)};
  }
  return n > 0 ? gnutls_alpn_set_protocols(t->g, names, n, 0) : 0;
}

static int setup_server(struct tls_session *t, const struct tls_server_opts *o) {
  if (o->params.resumption) {
    int rc = gnutls_session_ticket_enable_server(t->g, tls_ticket_key());
    if (rc < 0) return rc;
    if (o->params.ticket_life_sec > 0) gnutls_db_set_cache_expiration(t->g, o->params.ticket_life_sec);
  }
  gnutls_handshake_set_hook_function(t->g, GNUTLS_HANDSHAKE_CLIENT_HELLO, GNUTLS_HOOK_PRE, see_hello);
  gnutls_handshake_set_post_client_hello_function(t->g, after_client_hello);
  ask_client_certificate(t, o->params.verify);
  return set_alpn(t, o->params.alpn);
}

static int setup_client(struct tls_session *t, const struct tls_client_opts *o) {
  int rc = 0;
  t->verify = o->params.verify;
  if (o->sni && *o->sni) rc = gnutls_server_name_set(t->g, GNUTLS_NAME_DNS, o->sni, strlen(o->sni));
  if (rc == 0 && o->ocsp != TLS_OCSP_NONE) rc = gnutls_ocsp_status_request_enable_client(t->g, NULL, 0, NULL);
  if (rc == 0 && o->params.dh_min_bits > 0) gnutls_dh_set_prime_bits(t->g, (unsigned)o->params.dh_min_bits);
  if (rc == 0) rc = set_alpn(t, o->params.alpn);
  /* a session that does not fit any more is no error: the handshake is a whole one then */
  if (rc == 0 && o->params.resumption && o->resume.n > 0) t->has_psk = gnutls_session_set_data(t->g, o->resume.p, o->resume.n) == 0;
  return rc;
}

static int new_library_session(struct tls_session *t, const struct tls_params *p, unsigned flags) {
  int rc = gnutls_init(&t->g, flags | GNUTLS_NONBLOCK | GNUTLS_NO_SIGNAL | (p->resumption ? 0u : (unsigned)GNUTLS_NO_TICKETS));
  if (rc < 0) return rc;
  gnutls_session_set_ptr(t->g, t);
  gnutls_transport_set_ptr(t->g, t);
  gnutls_transport_set_pull_function(t->g, pull);
  gnutls_transport_set_pull_timeout_function(t->g, pull_timeout);
  gnutls_transport_set_vec_push_function(t->g, push);
  if (p->compat) gnutls_session_enable_compatibility_mode(t->g);
  rc = gnutls_priority_set(t->g, tls_creds_priority(t->creds));
  return rc < 0 ? rc : gnutls_credentials_set(t->g, GNUTLS_CRD_CERTIFICATE, tls_creds_handle(t->creds));
}

static bool is_a_pipe(const struct stream *io) {
  int type;
  socklen_t n = sizeof type;
  return stream_fd(io) >= 0 && getsockopt(stream_fd(io), SOL_SOCKET, SO_TYPE, &type, &n) < 0;
}

/* The session on top of the stream, whatever comes of it. */
static void attach(struct tls_session *t, struct stream *io) {
  t->io = io;
  t->is_pipe = is_a_pipe(io);
  t->lower = stream_bottom(io);
  stream_push_layer(io, (struct stream_layer){.name = layer_name, .read = layer_read, .write = layer_write,
                                              .has_pending = layer_has_pending, .wants_write = layer_wants_write, .end = layer_end,
                                              .close = layer_close, .self = t});
}

static struct tls_session *push_session(struct stream *io, struct arena *a, bool is_server) {
  struct tls_session *t = ARENA_NEW(a, struct tls_session);
  *t = (struct tls_session){.a = a, .is_server = is_server, .flight = strbuf_new(a)};
  attach(t, io);
  return t;
}

/* The layer is dead from now on. */
static int fail_handshake(struct tls_session *t, int error, const char *text, const char **ret_error) {
  t->server = NULL;
  t->error = error;
  t->error_text = text;
  *ret_error = text;
  return error;
}

/* The peer's alert says more than that there was one. */
static const char *handshake_text(struct tls_session *t, int code) {
  const char *alert = code == GNUTLS_E_FATAL_ALERT_RECEIVED ? gnutls_alert_get_name(gnutls_alert_get(t->g)) : NULL;
  return alert ? arena_printf_t(t->a, UNTAINTED, "(gnutls_handshake): %s", alert) : tls_error_text(t->a, "gnutls_handshake", code);
}

static int handshake_failed(struct tls_session *t, int code, bool timed_out, const char **ret_error) {
  t->failure = timed_out ? "(gnutls_handshake): timed out" : handshake_text(t, code);
  const char *side = t->is_server ? "tls lib accept fn" : "tls lib connect fn";
  if (timed_out) return fail_handshake(t, -ETIMEDOUT, arena_printf_t(t->a, UNTAINTED, "(%s): timed out", side), ret_error);
  if (t->lower_ended || code == GNUTLS_E_PULL_ERROR || code == GNUTLS_E_PUSH_ERROR || code == GNUTLS_E_PREMATURE_TERMINATION)
    return fail_handshake(t, -ECONNRESET, arena_printf_t(t->a, UNTAINTED, "(%s): TCP connection closed by peer", side), ret_error);
  if (code != GNUTLS_E_FATAL_ALERT_RECEIVED) (void)gnutls_alert_send_appropriate(t->g, code);
  const char *key = tls_creds_signer_failure(t->sni_creds ? t->sni_creds : t->creds);
  const char *text = t->refusal ? t->refusal : key ? key : t->failure;
  return fail_handshake(t, -EPROTO, text, ret_error);
}

/* The library writes a flight in parts, each of which would wake the peer.  *ret_sent: 0, or why the flight could not be sent. */
static int handshake_step(struct tls_session *t, deadline_ms deadline, int *ret_sent) {
  t->gathers = true;
  int rc = gnutls_handshake(t->g);
  *ret_sent = send_flight(t, deadline);
  return rc;
}

static int handshake(struct tls_session *t, deadline_ms deadline, const char **ret_error) {
  for (;;) {
    int sent, rc = handshake_step(t, deadline, &sent);
    if (sent < 0) return handshake_failed(t, GNUTLS_E_PUSH_ERROR, sent == -ETIMEDOUT, ret_error);
    if (rc >= 0) return 0;
    bool timed_out = deadline_passed(deadline);
    if (rc == GNUTLS_E_AGAIN && !timed_out) {
      bool write = gnutls_record_get_direction(t->g) == 1;
      timed_out = !stream_wait(t->io, !write, write, deadline);
    } else if (rc != GNUTLS_E_INTERRUPTED && !timed_out && !is_ignorable(t, rc)) {
      return handshake_failed(t, rc, false, ret_error);
    }
    if (timed_out) return handshake_failed(t, rc, true, ret_error);
  }
}

/* The peer hears why in an alert. */
static int refuse_peer(struct tls_session *t, gnutls_alert_description_t alert, int error, const char *text, const char **ret_error) {
  (void)gnutls_alert_send(t->g, GNUTLS_AL_FATAL, alert);
  return fail_handshake(t, error, text, ret_error);
}

/* Handshake done: who is it, and the description. */
static int finish(struct tls_session *t, const struct tls_params *p, const struct tls_client_opts *client, struct tls_result *ret,
                  const char **ret_error) {
  const char *error;
  tls_describe(t->g, t->a, p, ret);
  if (!tls_show_chain(t->g, t->a, p)) {
    ret->failure = tls_error_text(t->a, "gnutls_handshake", GNUTLS_E_CERTIFICATE_ERROR);
    return refuse_peer(t, GNUTLS_A_BAD_CERTIFICATE, -EACCES, ret->failure, ret_error);
  }
  if (p->alpn_required && !ret->alpn)
    return refuse_peer(t, GNUTLS_A_NO_APPLICATION_PROTOCOL, -EPROTO, "(handshake): ALPN required but not negotiated", ret_error);
  int rc = tls_verify_peer(t->g, t->a, t->verify, client, ret, &error);
  if (rc == -ENOENT) return fail_handshake(t, -EACCES, error, ret_error); /* as Exim, without an alert */
  if (rc < 0) return refuse_peer(t, GNUTLS_A_BAD_CERTIFICATE, rc, error, ret_error);
  ret->resumption = TLS_RESUME_CAPABLE;
  if (gnutls_session_is_resumed(t->g)) ret->resumption |= TLS_RESUME_USED;
  t->server = NULL;
  t->is_up = true;
  return 0;
}

static int start(struct tls_session *t, const struct tls_params *p, unsigned flags, const char **ret_error) {
  const char *error = NULL;
  t->creds = tls_creds_get(t->a, p, &error, &t->warning);
  if (!t->creds) return fail_handshake(t, -EINVAL, error, ret_error);
  int rc = new_library_session(t, p, flags);
  return rc < 0 ? fail_handshake(t, -EINVAL, tls_error_text(t->a, "gnutls_init", rc), ret_error) : 0;
}

int tls_start_server(struct stream *io, struct arena *a, const struct tls_server_opts *o, deadline_ms deadline, struct tls_result *ret,
                     const char **ret_error) {
  struct tls_session *t = push_session(io, a, true);
  int rc = start(t, &o->params, GNUTLS_SERVER | (o->early_start ? (unsigned)GNUTLS_ENABLE_EARLY_START : 0u), ret_error);
  *ret = (struct tls_result){.warning = t->warning};
  if (rc < 0) return rc;
  t->server = o;
  t->early = o->early;
  rc = setup_server(t, o);
  if (rc < 0) return fail_handshake(t, -EINVAL, tls_error_text(a, "gnutls_init", rc), ret_error);
  rc = handshake(t, deadline, ret_error);
  ret->sni = t->sni;
  ret->warning = t->warning;
  ret->failure = t->failure;
  if (rc < 0) return rc;
  rc = finish(t, &o->params, NULL, ret, ret_error);
  if (rc < 0) return rc;
  ret->is_early = gnutls_session_get_flags(t->g) & GNUTLS_SFLAGS_EARLY_START;
  bool is_used = ret->resumption & TLS_RESUME_USED;
  if (o->params.resumption && (t->has_ticket || (t->has_psk && !is_used))) ret->resumption |= TLS_RESUME_ASKED;
  if (o->params.resumption && t->has_psk) ret->resumption |= TLS_RESUME_OFFERED;
  if (o->params.resumption) ret->resumption |= TLS_RESUME_GIVEN;
  if (t->has_status_request) { /* what was sent is known of TLS 1.2 only, where the answer is a message of its own */
    bool is_12 = gnutls_protocol_get_version(t->g) < GNUTLS_TLS1_3;
    bool is_stapling = is_12 && tls_creds_has_ocsp(t->sni_creds ? t->sni_creds : t->creds) && !gnutls_session_is_resumed(t->g);
    ret->ocsp = is_stapling ? TLS_OCSP_VERIFIED : TLS_OCSP_NO_RESPONSE;
  }
  return 0;
}

static int start_client(struct tls_session *t, const struct tls_client_opts *o, const char **ret_error) {
  int rc = start(t, &o->params, GNUTLS_CLIENT, ret_error);
  if (rc < 0) return rc;
  rc = setup_client(t, o);
  return rc < 0 ? fail_handshake(t, -EINVAL, tls_error_text(t->a, "gnutls_init", rc), ret_error) : 0;
}

struct tls_session *tls_client_hello(struct arena *a, const struct tls_client_opts *o, struct str *ret_bytes, const char **ret_error) {
  struct tls_session *t = ARENA_NEW(a, struct tls_session);
  *t = (struct tls_session){.a = a, .is_detached = true, .flight = strbuf_new(a)};
  int rc = start_client(t, o, ret_error);
  if (rc == 0 && (rc = gnutls_handshake(t->g)) == GNUTLS_E_AGAIN && t->flight.n > 0) {
    *ret_bytes = strbuf_str(&t->flight);
    t->flight = strbuf_new(a);
    return t;
  }
  if (!*ret_error) *ret_error = tls_error_text(a, "gnutls_handshake", rc);
  tls_hello_drop(t);
  return NULL;
}

void tls_hello_drop(struct tls_session *t) {
  if (!t || !t->is_detached) return;
  if (t->g) gnutls_deinit(t->g);
  t->g = NULL;
  tls_creds_release(t->creds);
  t->creds = NULL;
}

int tls_start_client(struct stream *io, struct arena *a, const struct tls_client_opts *o, deadline_ms deadline, struct tls_result *ret,
                     const char **ret_error) {
  struct tls_session *t = o->hello;
  int rc = 0;
  if (t) {
    struct str here = stream_buffered(io);
    t->early = str_n(arena_strndup_t(a, here.p, here.n, TAINTED), here.n);
    (void)stream_discard_buffered(io);
    t->is_detached = false;
    attach(t, io);
  } else {
    t = push_session(io, a, false);
    rc = start_client(t, o, ret_error);
  }
  *ret = (struct tls_result){.warning = t->warning, .sni = o->sni && *o->sni ? o->sni : NULL};
  if (rc < 0) return rc;
  rc = handshake(t, deadline, ret_error);
  ret->failure = t->failure;
  if (rc < 0) return rc;
  rc = finish(t, &o->params, o, ret, ret_error);
  if (rc < 0) return rc;
  if (o->params.resumption) ret->resumption |= TLS_RESUME_ASKED;
  if (t->has_psk) ret->resumption |= TLS_RESUME_OFFERED;
  if (gnutls_session_get_flags(t->g) & GNUTLS_SFLAGS_SESSION_TICKET) ret->resumption |= TLS_RESUME_GIVEN;
  return 0;
}

struct str tls_session_data(struct stream *io, struct arena *a) {
  struct tls_session *t = session_of(io);
  gnutls_datum_t data;
  if (!t || t->error || t->is_server || !(gnutls_session_get_flags(t->g) & GNUTLS_SFLAGS_SESSION_TICKET) ||
      gnutls_session_get_data2(t->g, &data) < 0)
    return STR_NULL;
  struct str kept = str_n(arena_strndup_t(a, (const char *)data.data, data.size, TAINTED), data.size);
  gnutls_free(data.data);
  return kept;
}
