/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The three layers in which a server is talked to early, for the walks of early_rows.h: certificates, a client that trusts them, the parts of a
 * script that come before the first group, two authenticators. */
#ifndef EARLY_LAYERS_H
#define EARLY_LAYERS_H

#include "tls_server.h"

#include "auth.h"
#include "early_rows.h"
#include "tls_certs.h"

#ifdef EXPERIMENTAL_PIPE_CONNECT

static struct cert ca, good;

static int setup(void **state) {
  if (scratch_setup(state) < 0) return -1;
  ca = certs_make_ca("ca");
  good = certs_make("good", "mx.test", &ca);
  return test_log_start(state);
}

static int teardown(void **state) {
  certs_free(&ca);
  certs_free(&good);
  (void)test_log_end(state);
  return scratch_teardown(state);
}

enum layer { CLEARTEXT, STARTTLS, SMTPS, LAYERS };
static const char *const layer_names[LAYERS] = {"in clear", "STARTTLS", "TLS on connect"};

#define CLEAR_EHLO ">250-s\n250-SIZE 9999\n250-PIPELINING\n250-PIPECONNECT\n250 STARTTLS\n"
enum { CLEAR = BASIC | EHLO_TLS };

/* A server with the certificate; a client with one recipient and this message, that knows whom to trust. */
static inline void prepare_with(struct client *c, struct tls_server *s, enum layer l, enum mode m, const char *body) {
  static char certificate[PATH_MAX], key[PATH_MAX];
  snprintf(certificate, sizeof certificate, "%s", scratch_path("good.pem"));
  snprintf(key, sizeof key, "%s", scratch_path("good.key"));
  s->params = (struct tls_params){.is_server = true, .certificate = certificate, .privatekey = key, .own_name = "mx.test"};
  client_new(c, body, 1);
  client_option(c, "hosts_try_dane", "");
  client_option(c, "tls_verify_certificates", scratch_path("ca.pem"));
  client_option(c, "hosts_pipe_connect", "*");
  client_option(c, "command_timeout", "1s");
  if (l == SMTPS) client_option(c, "protocol", "smtps");
  if (m != WITH_DATA) client_option(c, "hosts_try_chunking", "*");
  if (m == WITH_BODY) client_option(c, "hosts_pipe_connect_body", "*");
}

static inline size_t add(const char **out, size_t n, const char *const *steps) {
  while (*steps) out[n++] = *steps++;
  out[n] = NULL;
  return n;
}

#define FLIGHT_TO_TLS SCRIPT("early", "<EHLO me.test", "<STARTTLS", ">220 hi\n" CLEAR_EHLO_REST "220 go\n", "tls")
#define CLEAR_EHLO_REST "250-s\n250-SIZE 9999\n250-PIPELINING\n250-PIPECONNECT\n250 STARTTLS\n"

/* The early connection of a row.  With STARTTLS the greeting comes in front of TLS, and a row about it ends there. */
static inline void early_script_in(enum layer l, const struct row *r, enum mode m, const char **out) {
  size_t n = 0;
  if (l == STARTTLS && strcmp(r->greeting, HI) != 0) {
    (void)add(out, n, SCRIPT("early", "<EHLO me.test", "<STARTTLS", r->greeting));
    return;
  }
  if (l == STARTTLS) n = add(out, n, FLIGHT_TO_TLS);
  if (l == SMTPS) n = add(out, n, SCRIPT("tls"));
  early_script(r, m, l != STARTTLS, out + n);
}

/* And on a plain one, up to the EHLO that counts. */
static inline size_t start_plainly(enum layer l, const char **out) {
  if (l == STARTTLS) return add(out, 0, SCRIPT("quiet", ">220 hi\n", "<EHLO", CLEAR_EHLO, "<STARTTLS", ">220 go\n", "tls"));
  return l == SMTPS ? add(out, 0, SCRIPT("tls", "quiet", ">220 hi\n")) : add(out, 0, SCRIPT("quiet", ">220 hi\n"));
}

/* The features remembered, in front of TLS and inside, for a server that is talked to in this layer. */
static inline unsigned clear_bits(enum layer l, enum mode m) { return l == STARTTLS ? (unsigned)CLEAR : l == SMTPS ? 0 : features_of(m); }
static inline unsigned crypted_bits(enum layer l, enum mode m) { return l == CLEARTEXT ? 0 : features_of(m); }

static inline void prepare(struct client *c, struct tls_server *s, enum layer l, enum mode m) { prepare_with(c, s, l, m, "x\n"); }

/* This server is the first host. */
static inline void deliver(struct client *c, struct tls_server *s, unsigned clear, unsigned crypted, unsigned flags) {
  struct host *others = c->d.addrs->host_list;
  tls_server_start(s);
  c->d.addrs->host_list = NULL;
  client_host(c, s->port);
  c->d.addrs->host_list->next = others;
  for (struct host *h = c->d.addrs->host_list; h; h = h->next) h->name = "mx.test";
  if (clear | crypted) remember(c, s->port, clear, crypted, flags);
  assert_true(smtp_transport.deliver(&c->d));
  tls_server_finish(s);
}

/* ---- AUTH ---------------------------------------------------------------------------------------------------- */

static inline enum auth_status say_plain(struct auth_client *c) { return c->speak(c, "AUTH PLAIN AGEAYg=="); }
static inline enum auth_status say_login(struct auth_client *c) {
  enum auth_status st = c->speak(c, "AUTH LOGIN");
  return st == AUTH_MORE ? c->speak(c, "Yg==") : st;
}
static const struct auth_driver plain_driver = {.name = "p", .client = say_plain}, login_driver = {.name = "l", .client = say_login};

#define AUTH_EHLO(what) "250-s\n250-SIZE 9999\n250-PIPELINING\n250-PIPECONNECT\n250 AUTH " what "\n"
#define TO_TLS "early", "<EHLO me.test", "<STARTTLS", ">220 hi\n" CLEAR_EHLO_REST "220 go\n", "tls", "<EHLO me.test"
#define ENVELOPE "<MAIL", "<RCPT", "<DATA", ">250 ok\n250 ok\n354 go\n"
#define REST "data", ">250 ok\n", "<QUIT"

#else
static int setup(void **state) { return *state != NULL; }
static int teardown(void **state) { return *state != NULL; }
#endif
#endif
