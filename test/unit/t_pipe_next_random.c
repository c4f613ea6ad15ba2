/* SPDX-License-Identifier: GPL-2.0-or-later */
/* hosts_pipe_next against a server of chance: it refuses and defers what each scenario has drawn for a message or a recipient, closes anywhere, loses its
 * count behind a refused message.  Messages are delivered, those that wait for the host on the same connection, until all are settled.  Whatever happened on the
 * way: a recipient is failed exactly when the server refuses it for good, and gets the message exactly once (unless the server took a message and closed
 * without saying so, which no client can know).
 * Each scenario is made from its number alone.  NEXT_SCENARIOS says how many (default 60), NEXT_FIRST with which number to begin. */
#include "chance.h"

#include "transports/smtp_priv.h"

#ifdef EXPERIMENTAL_PIPE_CONNECT

enum { MESSAGES = QUEUE_MAX + 1, RCPTS = 3, MAX_ROUNDS = 80, DEFERRED_TRIES = 2 };

/* ---- chance: one stream for the scenario, another one for what the server does on the way ----------------------- */

static uint64_t scenario_dice, server_dice;
/* ---- the server --------------------------------------------------------------------------------------------------- */

/* 0 good, 5 refused for good, 4 deferred the first DEFERRED_TRIES times */
struct answer {
  int code, tries;
};

static struct world {
  int listener, port, stop;
  pthread_t thread;
  bool chunking, confused, forgets; /* forgets: throws away what stands behind the end of a message, now and then */
  unsigned close_one_in, mailmax;
  struct answer mail[MESSAGES], data[MESSAGES], end[MESSAGES], rcpt[MESSAGES][RCPTS];
  int taken[MESSAGES][RCPTS];
  bool lost[MESSAGES];              /* taken, and the reply never sent */
  int ahead;                        /* times that something stood behind the end of a message */
} w;

struct session {
  struct line_reader r;
  int message, accepted;
  unsigned mails;
  bool dead, is_confused, rcpt_ok[RCPTS];
};

static bool closes(struct session *s) {
  if (!s->dead && w.close_one_in && chance_roll(&server_dice, w.close_one_in) == 0) s->dead = true;
  return s->dead;
}

static void say(struct session *s, const char *text) {
  if (!s->dead && send(s->r.fd, text, strlen(text), MSG_NOSIGNAL) < 0) s->dead = true;
}

/* What the scenario has for this; 2 for good. */
static int decide(struct answer *a) {
  if (a->code != 4) return a->code ? 5 : 2;
  return a->tries++ < DEFERRED_TRIES ? 4 : 2;
}

static const char *text_of(int code, const char *good) { return code == 2 ? good : code == 5 ? "550 refused\r\n" : "450 deferred\r\n"; }

static void do_mail(struct session *s, const char *line) {
  s->message = -1;
  s->accepted = 0;
  memset(s->rcpt_ok, 0, sizeof s->rcpt_ok);
  if (s->is_confused) {
    say(s, "503 nested\r\n");
    return;
  }
  if (w.mailmax && s->mails++ >= w.mailmax) {
    say(s, "421 enough\r\n");
    s->dead = true;
    return;
  }
  int m = atoi(line + strlen("MAIL FROM:<m")), code = m >= 0 && m < MESSAGES ? decide(&w.mail[m]) : 5;
  if (code == 2) s->message = m;
  say(s, text_of(code, "250 sender\r\n"));
}

static void do_rcpt(struct session *s, const char *line) {
  int r = line[strlen("RCPT TO:<")] - 'a';
  int code = s->message < 0 || r < 0 || r >= RCPTS ? 5 : decide(&w.rcpt[s->message][r]);
  if (code == 2) s->rcpt_ok[r] = true, s->accepted++;
  say(s, text_of(code, "250 recipient\r\n"));
}

static void take(struct session *s) {
  int m = s->message, code = decide(&w.end[m]);
  s->message = -1;
  if (s->r.have || server_readable(s->r.fd, 1)) w.ahead++;
  if (code == 2)
    for (int r = 0; r < RCPTS; r++) w.taken[m][r] += s->rcpt_ok[r];
  if (closes(s)) {
    w.lost[m] = w.lost[m] || code == 2;
    return;
  }
  say(s, text_of(code, "250 taken\r\n"));
  s->is_confused = w.confused && code != 2;
  if (w.forgets && chance_roll(&server_dice, 12) == 0) {
    (void)(server_readable(s->r.fd, 2) && reader_fill(&s->r));
    s->r.have = 0;
  }
}

static void do_data(struct session *s) {
  char line[2048];
  int code = s->message < 0 || !s->accepted ? 5 : decide(&w.data[s->message]);
  say(s, text_of(code, "354 go\r\n"));
  if (code != 2) return;
  while (reader_line(&s->r, line, sizeof line))
    if (strcmp(line, ".\r\n") == 0) {
      take(s);
      return;
    }
  s->dead = true;
}

static void do_bdat(struct session *s, const char *line) {
  size_t n = (size_t)strtoul(line + 5, NULL, 10);
  if (!reader_swallow(&s->r, n)) {
    s->dead = true;
    return;
  }
  int code = s->message < 0 || !s->accepted ? 5 : decide(&w.data[s->message]);
  if (code != 2) say(s, text_of(code, ""));
  else take(s);
}

static void serve(struct session *s) {
  char line[2048];
  say(s, "220 srv\r\n");
  while (!s->dead && reader_line(&s->r, line, sizeof line)) {
    if (strncmp(line, "EHLO", 4) != 0 && closes(s)) return;
    if (strncmp(line, "EHLO", 4) == 0) say(s, w.chunking ? "250-srv\r\n250-CHUNKING\r\n250 PIPELINING\r\n" : "250-srv\r\n250 PIPELINING\r\n");
    else if (strncmp(line, "MAIL", 4) == 0) do_mail(s, line);
    else if (strncmp(line, "RCPT", 4) == 0) do_rcpt(s, line);
    else if (strncmp(line, "DATA", 4) == 0) do_data(s);
    else if (strncmp(line, "BDAT", 4) == 0) do_bdat(s, line);
    else if (strncmp(line, "RSET", 4) == 0) s->message = -1, s->is_confused = false, say(s, "250 reset\r\n");
    else if (strncmp(line, "QUIT", 4) == 0) say(s, "221 bye\r\n"), s->dead = true;
    else say(s, "500 what\r\n");
    if (chance_roll(&server_dice, 4) == 0) (void)closes(s); /* what it has not read makes that a reset */
  }
}

static void *world_main(void *arg) {
  static struct session s;
  (void)arg;
  while (!__atomic_load_n(&w.stop, __ATOMIC_RELAXED)) {
    memset(&s, 0, sizeof s);
    s.message = -1;
    if (chance_accept(w.listener, &s.r, &w.stop) < 0) continue;
    serve(&s);
    close(s.r.fd);
  }
  return NULL;
}

static int world_start(void **state) {
  w.listener = chance_listen(&w.port);
  assert_int_equal(pthread_create(&w.thread, NULL, world_main, NULL), 0);
  return test_log_start(state);
}

static int world_stop(void **state) {
  __atomic_store_n(&w.stop, 1, __ATOMIC_RELAXED);
  pthread_join(w.thread, NULL);
  close(w.listener);
  return test_log_end(state);
}

/* ---- scenarios ---------------------------------------------------------------------------------------------------- */

struct settings {
  bool one_at_a_time;
  int rcpts[MESSAGES];
};

static struct answer draw(unsigned one_in) {
  return (struct answer){.code = chance_roll(&scenario_dice, one_in) ? 0 : chance_roll(&scenario_dice, 2) ? 4 : 5};
}

static void draw_scenario(unsigned long number, struct settings *o) {
  scenario_dice = chance_of_scenario(number);
  server_dice = scenario_dice ^ 0x5555;
  *o = (struct settings){.one_at_a_time = chance_roll(&scenario_dice, 3) == 0};
  w.chunking = chance_roll(&scenario_dice, 3) == 0;
  w.confused = chance_roll(&scenario_dice, 3) == 0;
  w.forgets = chance_roll(&scenario_dice, 40) == 0;
  w.close_one_in = chance_roll(&scenario_dice, 2) ? 15 + chance_roll(&scenario_dice, 30) : 0;
  w.mailmax = chance_roll(&scenario_dice, 4) ? 0 : 2 + chance_roll(&scenario_dice, 4);
  for (int m = 0; m < MESSAGES; m++) {
    o->rcpts[m] = 1 + (int)chance_roll(&scenario_dice, RCPTS);
    w.mail[m] = draw(10);
    w.data[m] = draw(12);
    w.end[m] = draw(4);
    w.lost[m] = false;
    for (int r = 0; r < RCPTS; r++) w.rcpt[m][r] = draw(6), w.taken[m][r] = 0;
  }
}

/* The recipients of a message that are not settled. */
static void address_to(struct client *c, struct delivery *d, int m, const int *settled, int rcpts) {
  struct address **tail = &d->addrs;
  *tail = NULL;
  for (int r = 0; r < rcpts; r++) {
    if (settled[r] >= 0) continue;
    *tail = address_new(c->a, arena_printf(c->a, "%c%d@x.test", 'a' + r, m));
    tail = &(*tail)->next;
  }
  d->return_path = arena_printf(c->a, "m%d@me.test", m);
  d->x->addr = d->addrs;
}

static void note_results(const struct delivery *d, int *settled) {
  for (const struct address *a = d->addrs; a; a = a->next)
    if (a->result == OUTCOME_OK || a->result == OUTCOME_FAIL) settled[a->address[0] - 'a'] = a->result;
}

static bool was_given_back(const struct client_queue *q, const struct delivery *d) {
  return q->story.n && strstr(q->story.p, arena_printf(q->c->a, "back %d", queue_number(d))) != NULL;
}

/* One queue run: the first message that is not settled, the others wait for its connection. */
static bool run_once(const struct settings *o, int settled[MESSAGES][RCPTS]) {
  struct client c;
  struct client_queue q = {0};
  int number[QUEUE_MAX], first = -1;
  client_new(&c, "x\n", 1);
  client_option(&c, "hosts_pipe_next", "*");
  client_option(&c, "command_timeout", "1s");
  client_option(&c, "final_timeout", "1s");
  if (o->one_at_a_time) client_option(&c, "max_rcpt", "1");
  if (w.chunking) client_option(&c, "hosts_try_chunking", "*");
  if (w.chunking) c.m->message_size = 1000000; /* so that it does not ride along */
  for (int m = 0; m < MESSAGES; m++) {
    bool open = false;
    for (int r = 0; r < o->rcpts[m]; r++) open = open || settled[m][r] < 0;
    if (!open) continue;
    if (first < 0) {
      first = m;
      address_to(&c, &c.d, m, settled[m], o->rcpts[m]);
      client_host(&c, w.port);
    } else {
      number[q.count] = m;
      struct delivery *d = client_enqueue(&q, &c, 0);
      address_to(&c, d, m, settled[m], o->rcpts[m]);
      for (struct address *a = d->addrs; a; a = a->next) a->host_list = c.d.addrs->host_list;
    }
  }
  if (first >= 0) {
    assert_true(smtp_transport.deliver(&c.d));
    note_results(&c.d, settled[first]);
    for (int i = 0; i < q.next; i++)
      if (!was_given_back(&q, &q.waiting[i])) note_results(&q.waiting[i], settled[number[i]]);
  }
  client_free(&c);
  return first >= 0;
}

static void run_scenario(unsigned long number) {
  struct settings o;
  int settled[MESSAGES][RCPTS], rounds = 0;
  memset(settled, -1, sizeof settled);
  draw_scenario(number, &o);
  while (run_once(&o, settled))
    if (++rounds > MAX_ROUNDS) fail_msg("scenario %lu: not settled after %d rounds", number, rounds);
  for (int m = 0; m < MESSAGES; m++)
    for (int r = 0; r < o.rcpts[m]; r++) {
      bool refused = w.mail[m].code == 5 || w.rcpt[m][r].code == 5 || w.data[m].code == 5 || w.end[m].code == 5;
      int least = refused ? 0 : 1, most = w.lost[m] ? MAX_ROUNDS : least;
      if (settled[m][r] != (refused ? OUTCOME_FAIL : OUTCOME_OK) || w.taken[m][r] < least || w.taken[m][r] > most)
        fail_msg("scenario %lu, message %d, recipient %d: result %d, taken %d; refused for good: %d, reply lost: %d", number, m, r, settled[m][r], w.taken[m][r],
                 refused, w.lost[m]);
    }
}

static void test_random_server(void **state) {
  (void)state;
  unsigned long first = chance_number("NEXT_FIRST", 1), n = chance_number("NEXT_SCENARIOS", 60);
  for (unsigned long i = 0; i < n; i++) run_scenario(first + i);
  if (n >= 50) assert_true(w.ahead > (int)n / 2); /* the dice do let it happen */
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_random_server)};
  return cmocka_run_group_tests(tests, world_start, world_stop);
}
#else
static void test_not_built(void **state) {
  (void)state;
  assert_null(opt_find(smtp_transport.options, smtp_transport.option_count, STR("hosts_pipe_nothing")));
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_not_built)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
#endif
