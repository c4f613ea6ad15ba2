/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Early pipelining against servers that change at random between messages: features, refusals, delays and closes.  The oracle is the same scenario with
 * hosts_pipe_connect unset: the final fate of every recipient must be identical, and no message may be lost or taken twice.
 * Each scenario is made from its number alone.  EARLY_SCENARIOS says how many (default 120), EARLY_FIRST with which number to begin. */
#include "chance.h"

#include "pipe_connect.h"
#include "transports/smtp_priv.h"

#ifdef EXPERIMENTAL_PIPE_CONNECT

enum { MESSAGES = 5, RCPTS = 3, HOSTS = 2 };

/* ---- chance ----------------------------------------------------------------------------------------------- */

static uint64_t dice;
static unsigned roll(unsigned sides) { return chance_roll(&dice, sides); }
static bool one_in(unsigned n) { return roll(n) == 0; }

/* ---- the server ------------------------------------------------------------------------------------------- */

enum at { S_CONNECT, S_EHLO, S_MAIL, S_RCPT, S_DATA, S_END, S_POINTS };

/* How the server behaves while one message is delivered. */
struct mood {
  bool pipelining, promise, size, chunking, dsn, prdr;
  enum { PATIENT, SAYS_554, CLOSES, REFUSES_RCPT } with_early_talkers; /* when the promise is not there */
  int code[S_POINTS];      /* reply class wanted, 0: good */
  bool close[S_POINTS];    /* close instead of replying */
  int rcpt_code[RCPTS];
  bool helo_works, data_without_rcpts, closes_after_taking, garbage_greeting;
  int split;               /* replies in pieces */
  unsigned pause_us;
};

struct host_state {
  int listener, port;
  pthread_t thread;
  struct mood mood;
  int taken[RCPTS];        /* messages accepted for each recipient, since the mood was set */
  int stop, connections, early_bodies;
};

struct peer {
  struct host_state *h;
  struct line_reader r;
  bool ehlo_done, mail_done, early, dead;
  bool rcpt_ok[RCPTS];
  int rcpts_ok, rcpts_seen;
};

static void peer_send(struct peer *p, const char *text) {
  size_t n = strlen(text);
  const struct mood *m = &p->h->mood;
  if (m->pause_us) usleep(m->pause_us);
  for (size_t at = 0; at < n && !p->dead;) {
    size_t part = m->split ? MIN((size_t)m->split, n - at) : n - at;
    if (send(p->r.fd, text + at, part, MSG_NOSIGNAL) < 0) p->dead = true;
    at += part;
  }
}

/* The reply of a point, or the end of the connection. */
static bool answer(struct peer *p, enum at at, const char *good) {
  const struct mood *m = &p->h->mood;
  if (m->close[at]) {
    p->dead = true;
    return false;
  }
  if (!m->code[at]) {
    peer_send(p, good);
    return true;
  }
  peer_send(p, m->code[at] == 5 ? "550 random refusal\r\n" : "450 random delay\r\n");
  return false;
}

static void say_ehlo(struct peer *p, bool esmtp) {
  const struct mood *m = &p->h->mood;
  char text[300];
  if (!esmtp) {
    peer_send(p, m->helo_works ? "250 hello\r\n" : "550 no\r\n");
    p->ehlo_done = m->helo_works;
    return;
  }
  snprintf(text, sizeof text, "250-srv\r\n%s%s%s%s%s%s250 HELP\r\n", m->size ? "250-SIZE 100000\r\n" : "", m->dsn ? "250-DSN\r\n" : "",
           m->prdr ? "250-PRDR\r\n" : "", m->pipelining ? "250-PIPELINING\r\n" : "", m->promise ? "250-X_PIPE_CONNECT\r\n" : "",
           m->chunking ? "250-CHUNKING\r\n" : "");
  p->ehlo_done = answer(p, S_EHLO, text);
}

static void take_message(struct peer *p) {
  struct mood *m = &p->h->mood;
  bool good = !m->code[S_END] && !m->close[S_END];
  if (good || m->closes_after_taking)
    for (int i = 0; i < RCPTS; i++)
      if (p->rcpt_ok[i]) __atomic_add_fetch(&p->h->taken[i], 1, __ATOMIC_RELAXED);
  if (m->closes_after_taking) p->dead = true;
  else (void)answer(p, S_END, "250 OK taken\r\n");
  p->mail_done = false;
}

static void do_rcpt(struct peer *p, const char *line) {
  const struct mood *m = &p->h->mood;
  int who = line[9] - 'a';
  if (!p->mail_done || who < 0 || who >= RCPTS) {
    peer_send(p, "503 no MAIL\r\n");
    return;
  }
  p->rcpts_seen++;
  if (p->early && !m->promise && m->with_early_talkers == REFUSES_RCPT) {
    peer_send(p, "550 5.5.1 Protocol error\r\n");
    return;
  }
  if (m->rcpt_code[who] && !m->close[S_RCPT]) {
    peer_send(p, m->rcpt_code[who] == 5 ? "550 nobody\r\n" : "451 later\r\n");
    return;
  }
  if (answer(p, S_RCPT, "250 OK\r\n")) p->rcpt_ok[who] = true, p->rcpts_ok++;
}

static void do_data(struct peer *p) {
  char line[2048];
  if (!p->mail_done || (!p->rcpts_ok && !p->h->mood.data_without_rcpts)) {
    peer_send(p, "503 no recipients\r\n");
    return;
  }
  if (!answer(p, S_DATA, "354 go\r\n")) return;
  while (reader_line(&p->r, line, sizeof line))
    if (strcmp(line, ".\r\n") == 0) {
      if (p->rcpts_ok) take_message(p);
      else peer_send(p, "554 nobody\r\n"), p->mail_done = false;
      return;
    }
  p->dead = true;
}

static void do_bdat(struct peer *p, const char *line) {
  if (!p->h->mood.chunking) {
    peer_send(p, "500 unknown command\r\n");
    return;
  }
  if (!reader_swallow(&p->r, (size_t)strtoul(line + 5, NULL, 10))) {
    p->dead = true;
    return;
  }
  if (!p->mail_done || !p->rcpts_ok) peer_send(p, "503 no recipients\r\n");
  else if (p->h->mood.code[S_DATA] || p->h->mood.close[S_DATA]) (void)answer(p, S_DATA, ""), p->mail_done = false;
  else take_message(p);
}

static void do_mail(struct peer *p, const char *line) {
  const struct mood *m = &p->h->mood;
  memset(p->rcpt_ok, 0, sizeof p->rcpt_ok);
  p->rcpts_ok = 0;
  p->mail_done = false;
  if (!p->ehlo_done) peer_send(p, "503 EHLO first\r\n");
  else if (strstr(line, "SIZE=") && !m->size) peer_send(p, "555 SIZE not known\r\n");
  else p->mail_done = answer(p, S_MAIL, "250 OK\r\n");
}

static void serve(struct peer *p) {
  const struct mood *m = &p->h->mood;
  char line[2048];
  p->early = server_readable(p->r.fd, m->promise || m->with_early_talkers == PATIENT ? 0 : 1);
  if (p->early && !m->promise && m->with_early_talkers == SAYS_554) {
    peer_send(p, "554 SMTP synchronization error\r\n");
    return;
  }
  if (p->early && !m->promise && m->with_early_talkers == CLOSES) return;
  if (m->garbage_greeting) peer_send(p, "hello there\r\n");
  if (m->garbage_greeting || !answer(p, S_CONNECT, "220 srv\r\n")) return;
  while (!p->dead && reader_line(&p->r, line, sizeof line)) {
    if (strncmp(line, "EHLO", 4) == 0) say_ehlo(p, true);
    else if (strncmp(line, "HELO", 4) == 0) say_ehlo(p, false);
    else if (strncmp(line, "MAIL", 4) == 0) do_mail(p, line);
    else if (strncmp(line, "RCPT", 4) == 0) do_rcpt(p, line);
    else if (strncmp(line, "DATA", 4) == 0) do_data(p);
    else if (strncmp(line, "BDAT", 4) == 0) do_bdat(p, line);
    else if (strncmp(line, "RSET", 4) == 0) p->mail_done = false, peer_send(p, "250 OK\r\n");
    else if (strncmp(line, "QUIT", 4) == 0) {
      peer_send(p, "221 bye\r\n");
      return;
    } else peer_send(p, "500 unknown command\r\n");
  }
}

static void *host_main(void *arg) {
  struct host_state *h = arg;
  struct peer *p = calloc(1, sizeof *p);
  while (p && !__atomic_load_n(&h->stop, __ATOMIC_RELAXED)) {
    memset(p, 0, sizeof *p);
    p->h = h;
    if (chance_accept(h->listener, &p->r, &h->stop) < 0) continue;
    __atomic_add_fetch(&h->connections, 1, __ATOMIC_RELAXED);
    serve(p);
    /* what is unread must not turn the replies into a reset */
    (void)shutdown(p->r.fd, SHUT_WR);
    char rest[4096];
    while (server_readable(p->r.fd, 50) && recv(p->r.fd, rest, sizeof rest, 0) > 0) continue;
    close(p->r.fd);
  }
  free(p);
  return NULL;
}

static struct host_state hosts[HOSTS];
static int hosts_start(void **state) {
  for (int i = 0; i < HOSTS; i++) {
    hosts[i].listener = chance_listen(&hosts[i].port);
    assert_int_equal(pthread_create(&hosts[i].thread, NULL, host_main, &hosts[i]), 0);
  }
  return test_log_start(state);
}

static int hosts_stop(void **state) {
  for (int i = 0; i < HOSTS; i++) {
    __atomic_store_n(&hosts[i].stop, 1, __ATOMIC_RELAXED);
    pthread_join(hosts[i].thread, NULL);
    close(hosts[i].listener);
  }
  return test_log_end(state);
}

/* ---- scenarios -------------------------------------------------------------------------------------------- */

static void change_features(struct mood *m, bool first) {
  bool *const features[] = {&m->pipelining, &m->promise, &m->size, &m->chunking, &m->dsn, &m->prdr};
  for (size_t i = 0; i < ARRAY_SIZE(features); i++)
    if (first) *features[i] = !one_in(i < 2 ? 8 : 3);
    else if (one_in(5)) *features[i] = !*features[i];
}

static struct mood next_mood(const struct mood *before, bool first) {
  struct mood m = {.pipelining = before->pipelining, .promise = before->promise, .size = before->size, .chunking = before->chunking,
                   .dsn = before->dsn, .prdr = before->prdr};
  change_features(&m, first);
  m.with_early_talkers = roll(4);
  m.helo_works = !one_in(3);
  m.data_without_rcpts = one_in(2);
  m.split = one_in(6) ? 1 + (int)roll(40) : 0;
  m.pause_us = one_in(4) ? roll(800) : 0;
  m.garbage_greeting = one_in(60);
  m.closes_after_taking = one_in(30);
  for (int at = 0; at < S_POINTS; at++) {
    m.code[at] = one_in(16) ? (one_in(2) ? 5 : 4) : 0;
    m.close[at] = one_in(30);
  }
  for (int i = 0; i < RCPTS; i++) m.rcpt_code[i] = one_in(7) ? (one_in(2) ? 5 : 4) : 0;
  return m;
}

struct fate {
  enum outcome result[RCPTS];
  int taken[RCPTS];
};

struct settings {
  bool chunking, body, two_hosts;
  int rcpts;
  int64_t suspend;
};

static const struct transport_driver *const driver = &smtp_transport;

/* To the recipients with their bit set. */
static void deliver_once(struct client *c, const struct settings *o, unsigned who) {
  static const char *const names[RCPTS] = {"a@x.test", "b@x.test", "c@x.test"};
  struct address **tail = &c->d.addrs;
  *tail = NULL;
  for (int i = 0; i < o->rcpts; i++)
    if (who & 1u << i) {
      *tail = address_new(c->a, names[i]);
      tail = &(*tail)->next;
    }
  c->x.addr = c->d.addrs;
  client_host(c, hosts[0].port);
  if (o->two_hosts) client_host(c, hosts[1].port);
  assert_true(driver->deliver(&c->d));
}

static void set_moods(const struct mood moods[HOSTS]) {
  for (int h = 0; h < HOSTS; h++) {
    hosts[h].mood = moods[h];
    for (int i = 0; i < RCPTS; i++) __atomic_store_n(&hosts[h].taken[i], 0, __ATOMIC_RELAXED);
  }
}

static void note_fate(const struct client *c, struct fate *f) {
  for (const struct address *a = c->d.addrs; a; a = a->next) f->result[a->address[0] - 'a'] = a->result;
  for (int i = 0; i < RCPTS; i++) {
    f->taken[i] = 0;
    for (int h = 0; h < HOSTS; h++) f->taken[i] += __atomic_load_n(&hosts[h].taken[i], __ATOMIC_RELAXED);
  }
}

static void play(const struct settings *o, struct mood moods[MESSAGES][HOSTS], bool early, struct fate fates[MESSAGES], int *early_marks) {
  struct client c;
  client_new(&c, "hello\n", 1);
  c.cfg.o.pipe_connect_suspend = o->suspend;
  if (o->chunking) client_option(&c, "hosts_try_chunking", "*");
  if (early) client_option(&c, "hosts_pipe_connect", "*");
  if (early && o->body) {
    client_option(&c, "hosts_pipe_connect_body", "*");
    client_option(&c, "hosts_avoid_tls", "*");
  }
  for (int m = 0; m < MESSAGES; m++) {
    fates[m] = (struct fate){0};
    set_moods(moods[m]);
    deliver_once(&c, o, ~0u);
    note_fate(&c, &fates[m]);
    for (const struct address *a = c.d.addrs; a; a = a->next) *early_marks += a->early_pipe_used;
    /* A message that was in the flight of a lost connection is deferred; its final fate is that of the next runs. */
    for (int again = 0; early && o->body && again < HOSTS; again++) {
      unsigned deferred = 0;
      for (int i = 0; i < o->rcpts; i++) deferred |= fates[m].result[i] == OUTCOME_DEFER && !fates[m].taken[i] ? 1u << i : 0;
      if (!deferred) break;
      deliver_once(&c, o, deferred);
      note_fate(&c, &fates[m]);
    }
  }
  client_free(&c);
}

static void show(const struct settings *o, const struct mood *m, int host) {
  print_message("%d rcpts%s%s%s, host %d: %s%s%s%s%s early %d", o->rcpts, o->chunking ? " chunking" : "", o->body ? " body" : "", o->two_hosts ? " two hosts" : "",
                host, m->pipelining ? " PIPELINING" : "", m->promise ? " PROMISE" : "", m->size ? " SIZE" : "", m->chunking ? " CHUNKING" : "",
                m->dsn ? " DSN" : "", m->with_early_talkers);
  for (int i = 0; i < S_POINTS; i++) print_message(" %d%s", m->code[i], m->close[i] ? "C" : "");
  print_message(" rcpt %d %d %d%s%s%s%s\n", m->rcpt_code[0], m->rcpt_code[1], m->rcpt_code[2], m->helo_works ? " helo" : "",
                m->data_without_rcpts ? " data" : "", m->closes_after_taking ? " takes and closes" : "", m->garbage_greeting ? " garbage" : "");
}

static void run_scenario(unsigned long number, int *early_marks) {
  static struct mood moods[MESSAGES][HOSTS];
  struct fate plain[MESSAGES], early[MESSAGES];
  dice = chance_of_scenario(number);
  struct settings o = {.chunking = one_in(2), .body = one_in(3), .two_hosts = one_in(3), .rcpts = 1 + (int)roll(RCPTS), .suspend = one_in(2) ? 3600 : 0};
  const struct mood nothing = {0};
  for (int m = 0; m < MESSAGES; m++)
    for (int h = 0; h < HOSTS; h++) moods[m][h] = next_mood(m ? &moods[m - 1][h] : &nothing, m == 0);
  int none = 0;
  play(&o, moods, false, plain, &none);
  play(&o, moods, true, early, early_marks);
  assert_int_equal(none, 0);
  for (int m = 0; m < MESSAGES; m++)
    for (int i = 0; i < o.rcpts; i++) {
      const struct fate *p = &plain[m], *e = &early[m];
      if (p->result[i] != e->result[i] || p->taken[i] != e->taken[i])
        show(&o, &moods[m][0], 0), show(&o, &moods[m][1], 1);
      if (p->result[i] != e->result[i] || p->taken[i] != e->taken[i])
        fail_msg("scenario %lu, message %d, recipient %d: plain %d taken %d, early %d taken %d", number, m, i, p->result[i], p->taken[i], e->result[i],
                 e->taken[i]);
      /* a reply that is lost after the message was taken makes a plain attempt go on to the next host, too */
      bool may_repeat = o.two_hosts && moods[m][0].closes_after_taking;
      if (e->result[i] == OUTCOME_OK && !may_repeat) assert_int_equal(e->taken[i], 1);
      if (e->result[i] == OUTCOME_FAIL && !may_repeat) assert_int_equal(e->taken[i], 0);
    }
}

static void test_random_servers(void **state) {
  (void)state;
  unsigned long first = chance_number("EARLY_FIRST", 1), n = chance_number("EARLY_SCENARIOS", 120);
  int early_marks = 0;
  for (unsigned long i = 0; i < n; i++) run_scenario(first + i, &early_marks);
  if (n >= 100) assert_true(early_marks > (int)n / 4); /* the dice do let it talk early */
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_random_servers)};
  return cmocka_run_group_tests(tests, hosts_start, hosts_stop);
}
#else
static void test_not_built(void **state) {
  (void)state;
  assert_false(pipe_connect_is_keyword(STR("PIPECONNECT")));
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_not_built)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
#endif
