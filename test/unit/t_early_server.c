/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Early pipelining, the server: rules S1 to S13 of doc/experimental-spec.txt as rows.  A session talks over a socket that keeps the
 * borders of writes, so that replies which must leave together can be seen to do so; the log file is read afterwards. */
#include "unit.h"

#include <poll.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "os/net.h"
#include "smtp_session.h"

#ifdef EXPERIMENTAL_PIPE_CONNECT

#define EHLO "EHLO x\r\n"
#define GROUP "MAIL FROM:<a@b>\r\nRCPT TO:<c@test.ex>\r\n"
#define CHUNK "BDAT 14 LAST\r\nSubject: t\r\n\r\n"
#define BODY "Subject: t\r\n\r\n.\r\n"

struct row {
  const char *rule, *conf;
  const char *early;    /* there before the session begins */
  const char *later[3]; /* each sent when the replies to what was before are there */
  const char *codes;    /* of all replies; nothing more may come */
  int writes;           /* in which the replies to the early input came, 0 any number */
  const char *log, *no_log;
  const char *text, *no_text; /* in the replies */
};

#define SYNC_GREETING "SMTP protocol synchronization error (input sent without waiting for greeting): rejected connection from H=[192.0.2.1] input=\"EHLO x"

static const struct row rows[] = {
  {.rule = "S1", .early = EHLO GROUP CHUNK, .later = {"QUIT\r\n"}, .codes = "220 250 250 250 250 221", .log = " L* "},
  {.rule = "S1 not EHLO first", .early = "HELO x\r\n" GROUP, .codes = "220 554", .log = "SMTP protocol synchronization error"},
  {.rule = "S1 HTTP", .early = "GET / HTTP/1.0\r\n\r\n", .codes = "220 554"},
  {.rule = "S2 one group", .early = EHLO GROUP "DATA\r\nNOOP\r\n", .codes = "220 250 250 250 554", .log = "next input sent too soon: pipelining was advertised): rejected \"DATA\""},
  {.rule = "S2 VRFY is last", .early = EHLO "VRFY a\r\nMAIL FROM:<a@b>\r\n", .codes = "220 250 554"},
  {.rule = "S3", .conf = "pipelining_connect_advertise_hosts = 198.51.100.1\n", .early = EHLO GROUP, .codes = "554", .log = SYNC_GREETING},
  {.rule = "S3 pipelining not advertised", .conf = "pipelining_advertise_hosts =\n", .early = EHLO GROUP, .codes = "220 250 554", .log = "pipelining was not advertised): rejected \"MAIL"},
  {.rule = "S4", .conf = "smtp_enforce_sync = false\npipelining_connect_advertise_hosts =\n", .early = EHLO GROUP CHUNK "QUIT\r\n", .codes = "220 250 250 250 250 221",
   .no_log = "synchronization"},
  {.rule = "S6 refused host", .conf = "host_reject_connection = 192.0.2.1\n", .early = EHLO GROUP, .codes = "554"},
  {.rule = "S6 connect ACL", .conf = "acl_smtp_connect = no\n", .early = EHLO GROUP "DATA\r\n", .codes = "550"},
  {.rule = "S7 EHLO refused", .early = "EHLO a_b\r\n" GROUP "DATA\r\n", .later = {"QUIT\r\n"}, .codes = "220 501 503 503 503 221"},
  {.rule = "S7 HELO ACL", .conf = "acl_smtp_helo = no\n", .early = EHLO GROUP CHUNK, .later = {"QUIT\r\n"}, .codes = "220 550 503 503 503 221"},
  {.rule = "S7 HELO ACL defers", .conf = "acl_smtp_helo = later\n", .early = EHLO GROUP "DATA\r\n", .later = {"QUIT\r\n"}, .codes = "220 451 503 503 503 221"},
  {.rule = "S7 HELO ACL drops", .conf = "acl_smtp_helo = go\n", .early = EHLO GROUP "DATA\r\n", .codes = "220 550"},
  {.rule = "S9 commands behind STARTTLS", .conf = "tls_advertise_hosts = *\n", .early = EHLO "STARTTLS\r\nMAIL FROM:<a@b>\r\n", .codes = "220 250 554", .log = "synchronization error"},
  {.rule = "S10 one write", .early = EHLO GROUP "DATA\r\n", .later = {BODY, "QUIT\r\n"}, .codes = "220 250 250 250 354 250 221", .writes = 1, .log = " L* "},
  {.rule = "S10 one write, chunk", .early = EHLO GROUP CHUNK "QUIT\r\n", .codes = "220 250 250 250 250 221", .log = " L* K"},
  {.rule = "S12", .early = EHLO, .later = {"QUIT\r\n"}, .codes = "220 250 221", .text = "250-PIPELINING\r\n250-PIPECONNECT\r\n"},
  {.rule = "S12 two names", .conf = "pipelining_connect_keywords = PIPECONNECT : X_PIPE_CONNECT\n", .early = EHLO, .later = {"QUIT\r\n"}, .codes = "220 250 221",
   .text = "250-PIPECONNECT\r\n250-X_PIPE_CONNECT\r\n"},
  {.rule = "S12 not without PIPELINING", .conf = "pipelining_advertise_hosts =\n", .early = EHLO, .later = {"QUIT\r\n"}, .codes = "220 250 221", .no_text = "PIPECONNECT"},
  {.rule = "S12 not for HELO", .early = "", .later = {"HELO x\r\n", "QUIT\r\n"}, .codes = "220 250 221", .no_text = "PIPECONNECT"},
  {.rule = "S12 not after DATA", .early = "", .later = {"HELO x\r\n", GROUP CHUNK, "EHLO x\r\nQUIT\r\n"}, .codes = "220 250", .no_text = "PIPECONNECT"},
  {.rule = "XTLSFLIGHT only where asked for", .conf = "tls_advertise_hosts = *\n", .early = EHLO, .later = {"QUIT\r\n"}, .codes = "220 250 221", .text = "250-STARTTLS\r\n",
   .no_text = "XTLSFLIGHT"},
  {.rule = "XTLSFLIGHT", .conf = "tls_advertise_hosts = *\nstarttls_pipeline_advertise_hosts = *\n", .early = EHLO, .later = {"QUIT\r\n"}, .codes = "220 250 221",
   .text = "250-STARTTLS\r\n250-XTLSFLIGHT\r\n"},
  {.rule = "XTLSFLIGHT, other bytes", .conf = "tls_advertise_hosts = *\nstarttls_pipeline_advertise_hosts = *\n", .early = EHLO "STARTTLS\r\nRCPT TO:<a@b>\r\n", .codes = "220 250 554"},
  {.rule = "XTLSFLIGHT, STARTTLS refused", .conf = "tls_advertise_hosts = *\nstarttls_pipeline_advertise_hosts = *\nacl_smtp_starttls = no\n",
   .early = EHLO "STARTTLS\r\n\x16\x03\x01\x02", .codes = "220 250 550"},
  {.rule = "S13 L.", .early = "", .later = {EHLO, GROUP CHUNK, "QUIT\r\n"}, .codes = "220 250 250 250 250 221", .log = " P=esmtp L. K"},
  {.rule = "S13 L", .conf = "pipelining_connect_advertise_hosts =\n", .early = "", .later = {EHLO, GROUP CHUNK, "QUIT\r\n"}, .codes = "220 250 250 250 250 221", .log = " P=esmtp L K"},
  {.rule = "S13 no L", .conf = "pipelining_advertise_hosts =\n", .early = "", .later = {EHLO, "MAIL FROM:<a@b>\r\n", "QUIT\r\n"}, .codes = "220 250 250 221"},
  {.rule = "AUTH in one step", .conf = "", .early = EHLO "AUTH PLAIN AGEAYg==\r\n" GROUP "DATA\r\n", .later = {"QUIT\r\n"}, .codes = "220 250 503 250 250 354"},
};

static const char conf_text[] =
  "primary_hostname = mx.test.ex\nspool_directory = %s\nlog_file_path = %s/%%slog\nacl_smtp_rcpt = accept\nkeep_environment =\nhost_lookup =\nqueue_only\n"
  "check_spool_space = 0\ncheck_spool_inodes = 0\n%s%s%sbegin acl\nno:\n  deny\nlater:\n  defer\ngo:\n  drop\nslow:\n  accept delay = 1s\n";

static struct config *configure(const struct row *r, const char *dir) {
  const char *conf = r->conf ? r->conf : "";
  struct config *cfg = session_config("conf", conf_text, dir, dir,
                                      strstr(conf, "pipelining_connect_keywords") ? "" : "pipelining_connect_keywords = PIPECONNECT\n",
                                      strstr(conf, "tls_advertise_hosts") ? "" : "tls_advertise_hosts =\n", conf);
  if (!cfg) fail_msg("%s: the configuration cannot be read", r->rule);
  return cfg;
}

static void serve(int fd, struct config *cfg) {
  struct arena *a = arena_new("session");
  struct conn *c = ARENA_NEW(a, struct conn);
  c->arena = a;
  c->cfg = cfg;
  c->from.host_address = "192.0.2.1";
  c->from.host_port = 4321;
  session_log(cfg);
  uint64_t selected;
  const char *error;
  if (!log_selector_parse(a, "+pipelining", &selected, &error)) _exit(1);
  log_selector_set(selected);
  c->io = stream_new(a, fd, fd, true);
  struct smtp_opts o = {.mode = SMTP_MODE_SESSION, .queue_only = true};
  (void)smtp_session_run(c, &o);
  _exit(0);
}

/* Replies until nothing comes for a while or the end; the number of writes. */
static int listen_for(int fd, char *out, size_t size, int wait_ms) {
  int writes = 0;
  struct pollfd p = {.fd = fd, .events = POLLIN};
  size_t have = strlen(out);
  while (have < size - 1 && poll(&p, 1, writes ? 60 : wait_ms) > 0) {
    ssize_t n = recv(fd, out + have, size - 1 - have, 0);
    if (n <= 0) break;
    have += (size_t)n;
    out[have] = 0;
    writes++;
  }
  return writes;
}

static size_t codes_in(const char *codes) { return (strlen(codes) + 1) / 4; }

static void codes_of(const char *out, char *codes) {
  *codes = 0;
  for (const char *line = out; *line; line = strchr(line, '\n') ? strchr(line, '\n') + 1 : "")
    if (strlen(line) >= 4 && line[3] == ' ') sprintf(codes + strlen(codes), "%s%.3s", *codes ? " " : "", line);
}

static void read_log(char *text, size_t size) {
  const char *path = scratch_path("mainlog");
  FILE *f = fopen(path, "r");
  size_t n = f ? fread(text, 1, size - 1, f) : 0;
  text[n] = 0;
  if (f) fclose(f);
  unlink(path);
}

/* A session in a process of its own; it has heard r->early when it begins, and over a stream that there is no more.  The other end of its socket. */
static int start_session(const struct row *r, int type, pid_t *ret_pid) {
  char dir[PATH_MAX];
  int fd[2];
  snprintf(dir, sizeof dir, "%s", scratch_path(""));
  struct config *cfg = configure(r, dir);
  assert_int_equal(socketpair(AF_UNIX, type, 0, fd), 0);
  if (*r->early) assert_true(send(fd[0], r->early, strlen(r->early), 0) > 0);
  if (type == SOCK_STREAM) shutdown(fd[0], SHUT_WR);
  fflush(NULL);
  *ret_pid = fork();
  if (*ret_pid == 0) {
    close(fd[0]);
    serve(fd[1], cfg);
  }
  close(fd[1]);
  return fd[0];
}

/* And its end: what it logged. */
static const char *end_session(int fd, pid_t pid) {
  static char log[65536];
  int status;
  close(fd);
  assert_int_equal(waitpid(pid, &status, 0), pid);
  read_log(log, sizeof log);
  return log;
}

/* All that is still to come, for a while, when a busy machine takes its time. */
static void listen_for_rest(int fd, char *out, size_t size, const char *wanted) {
  char codes[512];
  for (int i = 0; i < 20; i++) {
    codes_of(out, codes);
    if (codes_in(codes) >= codes_in(wanted)) return;
    (void)listen_for(fd, out, size, 200);
  }
}

static void run_row(const struct row *r) {
  static char out[65536];
  char codes[512];
  pid_t pid;
  int fd = start_session(r, SOCK_SEQPACKET, &pid);
  *out = 0;
  int writes = listen_for(fd, out, sizeof out, 4000);
  for (size_t i = 0; i < ARRAY_SIZE(r->later) && r->later[i]; i++) {
    if (send(fd, r->later[i], strlen(r->later[i]), MSG_NOSIGNAL) < 0) break;
    (void)listen_for(fd, out, sizeof out, 4000);
  }
  listen_for_rest(fd, out, sizeof out, r->codes);
  const char *log = end_session(fd, pid);
  codes_of(out, codes);
  if (strncmp(codes, r->codes, strlen(r->codes)) != 0 || (!strstr(r->rule, "after DATA") && !strstr(r->rule, "one step") && strcmp(codes, r->codes) != 0))
    fail_msg("%s: got %s, want %s\n%s\n%s", r->rule, codes, r->codes, out, log);
  if (r->writes) CHECK_INT(r->rule, writes, r->writes);
  if (r->log && !strstr(log, r->log)) fail_msg("%s: no \"%s\" in the log: %s", r->rule, r->log, log);
  if (r->no_log && strstr(log, r->no_log)) fail_msg("%s: \"%s\" in the log: %s", r->rule, r->no_log, log);
  if (r->text && !strstr(out, r->text)) fail_msg("%s: no \"%s\" in the replies: %s", r->rule, r->text, out);
  if (r->no_text && strstr(out, r->no_text)) fail_msg("%s: \"%s\" in the replies: %s", r->rule, r->no_text, out);
}

static void test_server_rules(void **state) {
  (void)state;
  for (size_t i = 0; i < ARRAY_SIZE(rows); i++) run_row(&rows[i]);
}

/* S8, S11 and the PROXY header, over a stream: a client that sent all it has to say and closed its sending side is still there, whatever takes long; what
 * can be said before a delay is said before it. */
static void test_slow_sessions(void **state) {
  (void)state;
  static const struct {
    struct row r;
    const char *at_once;  /* codes that must be there long before the delay is over */
  } cases[] = {
    {{.rule = "S8", .conf = "acl_smtp_connect = slow\n", .early = EHLO GROUP CHUNK "QUIT\r\n", .codes = "220 250 250 250 250 221", .log = " L* K"}, ""},
    {{.rule = "S11", .conf = "acl_smtp_mail = slow\n", .early = EHLO GROUP CHUNK "QUIT\r\n", .codes = "220 250 250 250 250 221", .log = " L* K"}, "220 250"},
    {{.rule = "PROXY", .conf = "hosts_proxy = 192.0.2.1\npipelining_connect_advertise_hosts = 203.0.113.7\nacl_smtp_mail = slow\n",
      .early = "PROXY TCP4 203.0.113.7 192.0.2.9 1000 25\r\n" EHLO GROUP CHUNK "QUIT\r\n", .codes = "220 250 250 250 250 221", .log = " L* K"}, "220 250"},
    {{.rule = "S13 lost", .early = EHLO GROUP CHUNK, .codes = "220 250 250 250", .log = "SMTP connection lost after final dot H=(x) [192.0.2.1] P=esmtp L*\n"},
     "220 250 250 250"},
    {{.rule = "PROXY, not in the list", .conf = "hosts_proxy = 192.0.2.1\npipelining_connect_advertise_hosts = 192.0.2.1\n",
      .early = "PROXY TCP4 203.0.113.7 192.0.2.9 1000 25\r\n" EHLO GROUP, .codes = "554", .log = "input sent without waiting for greeting"}, "554"},
  };
  for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
    static char out[65536];
    const struct row *r = &cases[i].r;
    char codes[512];
    pid_t pid;
    int fd = start_session(r, SOCK_STREAM, &pid);
    *out = 0;
    (void)listen_for(fd, out, sizeof out, 500);
    codes_of(out, codes);
    CHECK_STR(r->rule, codes, cases[i].at_once);
    while (listen_for(fd, out, sizeof out, 2000)) continue;
    const char *log = end_session(fd, pid);
    codes_of(out, codes);
    CHECK_STR(r->rule, codes, r->codes);
    if (!strstr(log, r->log)) fail_msg("%s: no \"%s\" in the log: %s", r->rule, r->log, log);
  }
}

/* S5: over TCP the refusal arrives although input was left unread: an end of file behind it, never a reset. */
static void test_lingering_close(void **state) {
  (void)state;
  const struct row refusal = {.rule = "S5", .conf = "acl_smtp_connect = no\n"};
  struct ip ip;
  struct net_end end;
  char buf[1000], big[30000];
  assert_true(ip_parse(STR("127.0.0.1"), &ip));
  struct config *cfg = configure(&refusal, scratch_path(""));
  int listener = net_listen(&ip, 0, 5, false);
  assert_true(listener >= 0);
  assert_int_equal(net_local(listener, &end), 0);
  int fd = net_connect(&end, &(struct net_connect_opts){0}, deadline_in_ms(2000), NULL);
  assert_true(fd >= 0);
  memset(big, 'x', sizeof big);
  assert_true(send(fd, big, sizeof big, MSG_NOSIGNAL) > 0);
  fflush(NULL);
  pid_t pid = fork();
  if (pid == 0) serve(net_accept(listener, &end), cfg);
  size_t have = 0;
  ssize_t n = 1;
  struct pollfd p = {.fd = fd, .events = POLLIN};
  while (n > 0 && have < sizeof buf && poll(&p, 1, 3000) > 0) {
    n = recv(fd, buf + have, sizeof buf - have, MSG_DONTWAIT);
    if (n > 0) have += (size_t)n;
  }
  assert_int_equal(n, 0);
  assert_int_equal(memcmp(buf, "550 ", 4), 0);
  close(fd);
  close(listener);
  int status;
  assert_int_equal(waitpid(pid, &status, 0), pid);
}
#else
static void test_not_built(void **state) {
  (void)state;
  assert_non_null(smtp_session_run);
}
#endif

int main(void) {
  const struct CMUnitTest tests[] = {
#ifdef EXPERIMENTAL_PIPE_CONNECT
    cmocka_unit_test(test_server_rules),
    cmocka_unit_test(test_slow_sessions),
    cmocka_unit_test(test_lingering_close),
#else
    cmocka_unit_test(test_not_built),
#endif
  };
  return cmocka_run_group_tests(tests, scratch_setup, scratch_teardown);
}
