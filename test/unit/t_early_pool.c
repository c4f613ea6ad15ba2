/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Several servers behind one address, each with an EHLO reply of its own: what is remembered of one is wrong for the next.  Fifty messages go to such a
 * pool.  Each is delivered once, and wrong records cost a few connections in all, not one for every other message: what had to be put right twice within
 * pipe_connect_suspend is a failure like any other (doc/experimental-spec.txt section 6). */
#include "chance.h"

#include "early_rows.h"

#ifdef EXPERIMENTAL_PIPE_CONNECT

enum { MESSAGES = 50, MOST_LOST = 2 /* connections that prove nothing, until an address is suspended */ };

/* A machine of the pool. */
struct machine {
  const char *ehlo;
  bool says_554, refuses_rcpt; /* to those who talk early */
};
static const struct machine good = {.ehlo = "250-a\r\n250-SIZE 100000\r\n250-PIPELINING\r\n250 PIPECONNECT\r\n"};

struct pool {
  const struct machine *other;
  const char *order;           /* which machine takes each connection, 'g' the good one; again and again */
  int listener, port, stop, connections, taken;
  pthread_t thread;
};

static void say(struct line_reader *r, const char *text) { (void)send(r->fd, text, strlen(text), MSG_NOSIGNAL); }

/* One SMTP session as any server has it: what was not offered is refused. */
static void serve(struct pool *p, const struct machine *m, struct line_reader *r) {
  char line[2048];
  bool asks = m->says_554 || m->refuses_rcpt; /* no clock where nothing hangs on it */
  bool early = asks && server_readable(r->fd, 5), mail = false, rcpt = false;
  if (early && m->says_554) {
    say(r, "554 SMTP synchronization error\r\n");
    return;
  }
  say(r, "220 pool\r\n");
  while (reader_line(r, line, sizeof line)) {
    if (strncmp(line, "EHLO", 4) == 0) say(r, m->ehlo);
    else if (strncmp(line, "STARTTLS", 8) == 0) say(r, "454 not now\r\n");
    else if (strncmp(line, "MAIL", 4) == 0) say(r, (mail = !strstr(line, "SIZE=") || strstr(m->ehlo, "SIZE")) ? "250 ok\r\n" : "555 SIZE not known\r\n");
    else if (strncmp(line, "RCPT", 4) == 0) say(r, (rcpt = mail && !(early && m->refuses_rcpt)) ? "250 ok\r\n" : mail ? "550 Protocol error\r\n" : "503 no MAIL\r\n");
    else if (strncmp(line, "QUIT", 4) == 0) return say(r, "221 bye\r\n");
    else if (strncmp(line, "DATA", 4) != 0 || !rcpt) say(r, "503 no\r\n");
    else {
      say(r, "354 go\r\n");
      bool more;
      while ((more = reader_line(r, line, sizeof line)) && strcmp(line, ".\r\n") != 0) continue;
      if (!more) return; /* given up in front of the message */
      __atomic_add_fetch(&p->taken, 1, __ATOMIC_RELAXED);
      say(r, "250 taken\r\n");
    }
  }
}

static void *pool_main(void *arg) {
  static struct line_reader r;
  struct pool *p = arg;
  char rest[4096];
  while (!__atomic_load_n(&p->stop, __ATOMIC_RELAXED)) {
    if (chance_accept(p->listener, &r, &p->stop) < 0) continue;
    int n = __atomic_fetch_add(&p->connections, 1, __ATOMIC_RELAXED);
    serve(p, p->order[(size_t)n % strlen(p->order)] == 'g' ? &good : p->other, &r);
    (void)shutdown(r.fd, SHUT_WR);
    while (server_readable(r.fd, 3000) && recv(r.fd, rest, sizeof rest, 0) > 0) continue; /* the client ends it: what comes late must not reset it */
    close(r.fd);
  }
  close(p->listener);
  return NULL;
}

/* The time of a suspension is over. */
static void let_time_pass(struct client *c, int port) {
  struct hints_ehlo r;
  if (!recall(c, port, &r) || r.suspend_until <= time_sec()) return;
  r.suspend_until = time_sec() - 1;
  put_record(c, port, &r);
}

/* *ret_early: messages that went early. */
static int send_all(struct pool *p, const char *what, int hours, int *ret_early) {
  struct client c;
  client_new(&c, "x\n", 1);
  client_option(&c, "hosts_pipe_connect", "*");
  p->listener = chance_listen(&p->port);
  assert_int_equal(pthread_create(&p->thread, NULL, pool_main, p), 0);
  for (int i = 0; i < MESSAGES; i++) {
    if (hours && i && i % (MESSAGES / hours) == 0) let_time_pass(&c, p->port);
    client_recipients(&c, 1);
    client_host(&c, p->port);
    assert_true(smtp_transport.deliver(&c.d));
    CHECK_INT(what, c.d.addrs->result, OUTCOME_OK);
    *ret_early += c.d.addrs->early_pipe_used;
  }
  __atomic_store_n(&p->stop, 1, __ATOMIC_RELAXED);
  pthread_join(p->thread, NULL);
  CHECK_INT(what, p->taken, MESSAGES);
  client_free(&c);
  return p->connections - MESSAGES;
}

#define NO_PROMISE "250-b\r\n250-SIZE 100000\r\n250 PIPELINING\r\n"

static void test_pool(void **state) {
  (void)state;
  static const struct {
    const char *name;
    struct machine other;
    bool costs_nothing;
  } pools[] = {
    {"F2: one says 554", {NO_PROMISE, .says_554 = true}, false},
    {"F10: one refuses RCPT", {NO_PROMISE, .refuses_rcpt = true}, false},
    {"F11: one has no SIZE", {"250-b\r\n250-PIPELINING\r\n250 PIPECONNECT\r\n", .says_554 = false}, false},
    {"F14: one has STARTTLS", {"250-b\r\n250-SIZE 100000\r\n250-PIPELINING\r\n250-PIPECONNECT\r\n250 STARTTLS\r\n", .says_554 = false}, false},
    {"F9: one takes it, without the promise", {NO_PROMISE, .says_554 = false}, true},
    {"F13: one offers more", {"250-b\r\n250-SIZE 100000\r\n250-DSN\r\n250-PIPELINING\r\n250 PIPECONNECT\r\n", .says_554 = false}, true},
  };
  static const char *const orders[] = {"go", "ggo", "gogoogggo"};
  for (size_t i = 0; i < ARRAY_SIZE(pools); i++)
    for (size_t k = 0; k < ARRAY_SIZE(orders); k++) {
      char what[100];
      int early = 0;
      struct pool p = {.other = &pools[i].other, .order = orders[k]};
      snprintf(what, sizeof what, "%s, order %s", pools[i].name, orders[k]);
      int lost = send_all(&p, what, 0, &early);
      if (lost > (pools[i].costs_nothing ? 0 : MOST_LOST)) fail_msg("%s: %d connections proved nothing", what, lost);
      if (pools[i].costs_nothing && strstr(p.other->ehlo, "PIPECONNECT") && early == 0) fail_msg("%s: nothing went early", what);
    }
}

/* When a suspension is over, one connection more may be lost, and the next pause begins. */
static void test_pool_for_hours(void **state) {
  (void)state;
  static const struct machine other = {NO_PROMISE, .refuses_rcpt = true};
  int early = 0;
  struct pool p = {.other = &other, .order = "go"};
  int lost = send_all(&p, "for hours", 5, &early);
  if (lost > MOST_LOST + 4) fail_msg("%d connections proved nothing in five hours", lost);
}

/* One server that has changed once: it is put right, and the next message goes early. */
static void test_one_change(void **state) {
  (void)state;
  static const struct machine other = {"250-b\r\n250-PIPELINING\r\n250 PIPECONNECT\r\n", .says_554 = false};
  int early = 0;
  struct pool p = {.other = &other, .order = "gg" "oooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooooo"};
  assert_int_equal(send_all(&p, "one change", 0, &early), 1);
  assert_int_equal(early, MESSAGES - 2); /* all but the first one and the one that met the change */
}
#endif

int main(void) {
  const struct CMUnitTest tests[] = {
#ifdef EXPERIMENTAL_PIPE_CONNECT
    cmocka_unit_test(test_pool), cmocka_unit_test(test_pool_for_hours), cmocka_unit_test(test_one_change),
#else
    cmocka_unit_test(test_not_built),
#endif
  };
  return cmocka_run_group_tests(tests, test_log_start, test_log_end);
}
