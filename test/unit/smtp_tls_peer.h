/* SPDX-License-Identifier: GPL-2.0-or-later */
/* An SMTP session with certificates of its own in a process of its own, and a client with TLS in front of it.  Floor: tests.
 *
 * begin() starts the session; starttls() greets and encrypts; say() is a command and its reply; end() closes and gives the session's main log.  What is
 * written to peer.raw is in clear. */
#ifndef SMTP_TLS_PEER_H
#define SMTP_TLS_PEER_H

#include "unit.h"

#include <errno.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include "os/tls.h"
#include "smtp_session.h"
#include "tls_certs.h"

static struct cert ca, good, second, client_cert;

static const char conf_text[] =
  "primary_hostname = mx.example\n"
  "spool_directory = %1$s\n"
  "log_file_path = %1$s/%%slog\n"
  "keep_environment =\n"
  "host_lookup =\n"
  "queue_only\n"
  "check_spool_space = 0\n"
  "check_spool_inodes = 0\n"
  "tls_certificate = %1$s/${if eq{$tls_in_sni}{second.example}{second}{good}}.pem\n"
  "tls_privatekey = %1$s/${if eq{$tls_in_sni}{second.example}{second}{good}}.key\n"
  "tls_verify_certificates = %1$s/ca.pem\n"
  "acl_smtp_rcpt = check_rcpt\n"
  "acl_smtp_mail = check_mail\n"
  "%2$s\n"
  ".ifndef REFUSE\n"
  "REFUSE =\n"
  ".endif\n"
  "begin acl\n"
  "ev:\n"
  "  accept logwrite = $event_name <$event_data> ${certextract{subject}{$tls_in_peercert}}\n"
  "         condition = ${if eq{$event_name:$event_data}{tls:cert:0}}\n"
  "         message = REFUSE\n"
  "  accept\n"
  "check_mail:\n"
  "  accept logwrite = ver=$tls_in_ver sni=<$tls_in_sni> dn=<$tls_in_peerdn> verified=$tls_in_certificate_verified helo=<$sender_helo_name> "
  "our=${certextract{subject,CN}{$tls_in_ourcert}} alias=${if eq{$tls_cipher}{$tls_in_cipher}{same}} "
  "by=<$sender_host_authenticated> id=<$authenticated_id>\n"
  "check_rcpt:\n"
  "  deny local_parts = crypt\n"
  "       !encrypted = *\n"
  "  deny local_parts = cert\n"
  "       !verify = certificate\n"
  "  discard local_parts = gone\n"
  "  accept\n"
  "note_sni:\n"
  "  accept logwrite = called <$tls_in_sni>\n";

static int make_all(void **state) {
  if (scratch_setup(state) < 0) return -1;
  ca = certs_make_ca("ca");
  good = certs_make("good", "mx.example", &ca);
  second = certs_make("second", "second.example", &ca);
  client_cert = certs_make("client", "client.example", &ca);
  return 0;
}

static int drop_all(void **state) {
  struct cert *all[] = {&ca, &good, &second, &client_cert};
  log_close();
  for (size_t i = 0; i < ARRAY_SIZE(all); i++) certs_free(all[i]);
  return scratch_teardown(state);
}

static struct config *read_config(const char *extra) {
  static unsigned count;
  char name[32];
  snprintf(name, sizeof name, "conf%u", count++);
  struct config *cfg = session_config(name, conf_text, scratch_dir, extra);
  assert_non_null(cfg);
  session_log(cfg);
  log_selector_set(cfg->log_selector);
  return cfg;
}

/* ---- a session in a process of its own ---------------------------------------------------------------------------- */

struct peer {
  struct arena *a;
  struct stream *io;
  int raw; /* a second descriptor of the connection: what is written there is in clear */
  pid_t pid;
};

static void serve(struct config *cfg, int fd, bool on_connect) {
  struct arena *a = arena_new("conn");
  struct conn *c = ARENA_NEW(a, struct conn);
  c->arena = a;
  c->cfg = cfg;
  c->from.host_address = "192.0.2.1";
  c->from.host_port = 4321;
  c->from.tls.on_connect = on_connect;
  c->io = stream_new(a, fd, fd, true);
  struct smtp_opts o = {.mode = SMTP_MODE_SESSION, .queue_only = true};
  _exit(smtp_session_run(c, &o) == 0 ? 0 : 1);
}

/* One more session beside those that are there already. */
static struct peer begin_with(struct config *cfg, bool on_connect) {
  int fds[2];
  assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
  struct peer p = {.a = arena_new("client"), .pid = fork()};
  assert_true(p.pid >= 0);
  if (p.pid == 0) {
    close(fds[0]);
    serve(cfg, fds[1], on_connect);
  }
  close(fds[1]);
  p.io = stream_new(p.a, fds[0], fds[0], true);
  p.raw = fcntl(fds[0], F_DUPFD_CLOEXEC, 0);
  return p;
}

static struct peer begin(const char *extra, bool on_connect) {
  struct config *cfg = read_config(extra);
  (void)unlink(scratch_path("mainlog"));
  return begin_with(cfg, on_connect);
}

/* All the client can still read, in clear, then the end of the session; its log. */
static const char *end(struct peer *p) {
  int status;
  stream_close(p->io);
  close(p->raw);
  assert_int_equal(waitpid(p->pid, &status, 0), p->pid);
  assert_true(WIFEXITED(status)); /* no signal */
  arena_free(p->a);
  return scratch_read("mainlog");
}

/* One reply, whole: lines joined by "|"; "" at the end of the connection. */
static const char *reply_in(struct peer *p, struct arena *a) {
  struct strbuf b = strbuf_new(a);
  struct str line;
  while (stream_read_line(p->io, 1000, true, deadline_in_ms(4000), &line, NULL) == STREAM_OK) {
    strbuf_addf(&b, "%s%.*s", b.n ? "|" : "", STR_FMT(line));
    if (line.n < 4 || line.p[3] != '-') break;
  }
  return b.p;
}

static inline const char *reply(struct peer *p) { return reply_in(p, p->a); }

static inline const char *say(struct peer *p, const char *text) {
  stream_puts(p->io, text);
  return reply(p);
}

static inline void want(const char *got, const char *beginning) {
  if (strncmp(got, beginning, strlen(beginning)) != 0) fail_msg("got \"%s\", want \"%s...\"", got, beginning);
}

static inline void crypt_with(struct peer *p, const struct tls_client_opts *o) {
  struct tls_result r;
  const char *error = "";
  assert_int_equal(stream_flush(p->io, deadline_in_ms(1000)), STREAM_OK);
  if (tls_start_client(p->io, p->a, o, deadline_in_ms(4000), &r, &error) != 0) fail_msg("%s", error);
}

static inline void starttls(struct peer *p, const struct tls_client_opts *o) {
  want(reply(p), "220 mx.example");
  const char *ehlo = say(p, "EHLO client.example\r\n");
  want(ehlo, "250-mx.example Hello client.example");
  assert_non_null(strstr(ehlo, "|250-STARTTLS|"));
  CHECK_STR("starttls", say(p, "STARTTLS\r\n"), "220 TLS go ahead");
  crypt_with(p, o);
}

UNUSED static const struct tls_client_opts plain_client;

#endif
