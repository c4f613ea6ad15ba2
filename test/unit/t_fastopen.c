/* SPDX-License-Identifier: GPL-2.0-or-later */
/* TCP Fast Open of the smtp transport: only with the first host, and not again with an address where it has stalled (rule T5): data in the SYN that nobody
 * answers, a connection opened with it that falls silent, a message that does not get through.  The server tells of each connection whether its SYN carried
 * data.  In a network namespace of its own, where Fast Open can be switched on; without the right to make one only the rows that need no cookie are run. */
#include "smtp_server.h"

#include <fcntl.h>
#include <net/if.h>
#include <sched.h>
#include <sys/ioctl.h>

#include "hints/hints.h"
#include "transports/smtp_priv.h"

static bool have_cookies;

/* A loopback interface of our own, with Fast Open for both sides. */
static int setup(void **state) {
  struct ifreq lo = {.ifr_name = "lo", .ifr_flags = IFF_UP | IFF_RUNNING};
  if (unshare(CLONE_NEWNET) == 0) {
    int fd = socket(AF_INET, SOCK_DGRAM, 0), sysctl = open("/proc/sys/net/ipv4/tcp_fastopen", O_WRONLY);
    bool up = ioctl(fd, SIOCSIFFLAGS, &lo) == 0;
    have_cookies = up && sysctl >= 0 && write(sysctl, "3", 1) == 1;
    close(fd);
    if (sysctl >= 0) close(sysctl);
    if (!up) return -1;
  }
  return test_log_start(state);
}

static int stalls(struct client *c) {
  struct str bytes;
  struct hints_serialize r = {0};
  struct hints_db *db = hints_open(c->spool, "misc", false);
  bool found = db && hints_get(db, c->a, "fastopen-127.0.0.1", &bytes) && hints_get_serialize(bytes, &r);
  hints_close(db);
  return found ? r.count : 0;
}

static void note_stalls(struct client *c, int count, int64_t seconds_ago) {
  struct strbuf b = strbuf_new(c->a);
  struct hints_db *db = hints_open(c->spool, "misc", true);
  hints_put_serialize(&b, &(struct hints_serialize){.stamp = time_sec() - seconds_ago, .count = count});
  assert_int_equal(hints_put(db, "fastopen-127.0.0.1", strbuf_str(&b)), 0);
  hints_close(db);
}

static void prepare(struct client *c) {
  client_new(c, "x\n", 1);
  client_option(c, "hosts_try_fastopen", "*");
  client_option(c, "command_timeout", "1s");
  client_option(c, "connect_timeout", "1s");
  client_option(c, "data_timeout", "1s");
  client_option(c, "final_timeout", "1s");
}

static enum outcome deliver(struct client *c, int port) {
  client_recipients(c, 1);
  client_host(c, port);
  assert_true(smtp_transport.deliver(&c->d));
  return c->d.addrs->result;
}

#define SCRIPT(...) ((const char *const[]){__VA_ARGS__, NULL})
#define PLAIN(end) SCRIPT(">220 hi\n", "<EHLO", ">250 srv\n", "<MAIL", ">250 ok\n", "<RCPT", ">250 ok\n", "<DATA", ">354 go\n", "data", end)
#define PLAIN_GOOD SCRIPT(">220 hi\n", "<EHLO", ">250 srv\n", "<MAIL", ">250 ok\n", "<RCPT", ">250 ok\n", "<DATA", ">354 go\n", "data", ">250 ok\n", "<QUIT")

/* The message stalls on a connection for which Fast Open was tried: noted; and only there. */
static void test_stall_of_the_message(void **state) {
  (void)state;
  const struct {
    const char *name, *fast;
    const char *const *script;
    int before;           /* stalls */
    int64_t seconds_ago;
    enum outcome result;
    int after;
  } rows[] = {
    {"no reply to the message", "*", PLAIN("hang"), 0, 0, OUTCOME_DEFER, 1},
    {"not tried", "", PLAIN("hang"), 0, 0, OUTCOME_DEFER, 0},
    {"all is well", "*", PLAIN_GOOD, 0, 0, OUTCOME_OK, 0},
    {"no reply to RCPT: anybody may be slow", "*", SCRIPT(">220 hi\n", "<EHLO", ">250 srv\n", "<MAIL", ">250 ok\n", "<RCPT", "hang"), 0, 0, OUTCOME_DEFER, 0},
    {"closed", "*", PLAIN("close"), 0, 0, OUTCOME_DEFER, 0},
    {"suspended: another stall does not count", "*", PLAIN("hang"), 1, 3500, OUTCOME_DEFER, 1},
    {"suspended: all is well, which proves nothing", "*", PLAIN_GOOD, 1, 3500, OUTCOME_OK, 1},
    {"the pause is over, and it stalls", "*", PLAIN("hang"), 1, 3601, OUTCOME_DEFER, 2},
    {"the pause is over, and it works", "*", PLAIN_GOOD, 1, 3601, OUTCOME_OK, 0},
    {"the second pause is four times as long", "*", PLAIN_GOOD, 2, 4 * 3600 - 60, OUTCOME_OK, 2},
    {"and over", "*", PLAIN_GOOD, 2, 4 * 3600 + 1, OUTCOME_OK, 0},
    {"at most retry_data_expire", "*", PLAIN_GOOD, 9, 7 * 86400 + 1, OUTCOME_OK, 0},
    {"a note of the future is none", "*", PLAIN_GOOD, 1, -3600, OUTCOME_OK, 0},
  };
  for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
    struct client c;
    struct server s = {.scripts = {rows[i].script}};
    prepare(&c);
    client_option(&c, "hosts_try_fastopen", rows[i].fast);
    if (rows[i].before) note_stalls(&c, rows[i].before, rows[i].seconds_ago);
    server_start(&s);
    CHECK_INT(rows[i].name, deliver(&c, s.port), rows[i].result);
    server_finish(&s);
    CHECK_INT(rows[i].name, stalls(&c), rows[i].after);
    client_free(&c);
  }
}

#ifdef EXPERIMENTAL_PIPE_CONNECT

#define PROMISE ">250-s\n250-PIPELINING\n250 PIPECONNECT\n"
#define LEARN SCRIPT("quiet", ">220 hi\n", "<EHLO", PROMISE, "<MAIL", "<RCPT", "<DATA", ">250 ok\n250 ok\n354 go\n", "data", ">250 ok\n", "<QUIT")
#define EARLY(...) SCRIPT("early", "<EHLO", "<MAIL", "<RCPT", "<DATA", __VA_ARGS__)
#define EARLY_GOOD EARLY(">220 hi\n", PROMISE, ">250 ok\n250 ok\n354 go\n", "data", ">250 ok\n", "<QUIT")

/* A flight in the SYN, and then nothing: before the EHLO reply, and within the message.  The plain attempt that follows, and the next message, are without. */
static void test_silence_behind_data(void **state) {
  (void)state;
  if (!have_cookies) skip();
  const struct {
    const char *name;
    const char *const *first, *const *second;
    enum outcome result;
  } rows[] = {
    {"silence", EARLY("hang"), LEARN, OUTCOME_OK},
    {"silence behind the greeting", EARLY(">220 hi\n", "hang"), LEARN, OUTCOME_OK},
    {"silence at the message", EARLY(">220 hi\n", PROMISE, ">250 ok\n250 ok\n354 go\n", "data", "hang"), NULL, OUTCOME_DEFER},
  };
  for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
    struct client c;
    struct server s = {.scripts = {LEARN, EARLY_GOOD, rows[i].first}};
    int n = 3;
    prepare(&c);
    client_option(&c, "hosts_pipe_connect", "*");
    if (rows[i].second) s.scripts[n++] = rows[i].second;
    s.scripts[n] = rows[i].second ? LEARN : EARLY_GOOD; /* after a reply to EHLO as remembered it still goes early, in the ordinary way */
    server_start(&s);
    for (int k = 0; k < 4; k++) {
      CHECK_INT(rows[i].name, deliver(&c, s.port), k == 2 ? rows[i].result : OUTCOME_OK);
      CHECK_INT(rows[i].name, c.d.addrs->tfo_data_used, k == 1 || (k == 2 && rows[i].result != OUTCOME_OK));
      CHECK_INT(rows[i].name, stalls(&c), k >= 2);
    }
    server_finish(&s);
    for (int k = 0; k <= n; k++) CHECK_INT(rows[i].name, s.tfo[k] == NET_TFO_DATA_ACKED, k == 1 || k == 2);
    client_free(&c);
  }
}

/* A SYN with data that nobody answers is a failure to connect, after connect_timeout (T2); the record of the EHLO reply stays. */
static void test_syn_without_answer(void **state) {
  (void)state;
  if (!have_cookies) skip();
  struct client c;
  struct server s = {.scripts = {LEARN}};
  struct hints_db *db;
  struct str bytes;
  int full[4];
  prepare(&c);
  client_option(&c, "hosts_pipe_connect", "*");
  client_option(&c, "command_timeout", "20s");
  server_start(&s);
  assert_int_equal(deliver(&c, s.port), OUTCOME_OK);
  server_finish(&s);
  /* the same port, with nobody to take a connection off its short queue */
  struct ip ip;
  assert_true(ip_parse(STR("127.0.0.1"), &ip));
  int listener = net_listen(&ip, s.port, 1, true);
  assert_true(listener >= 0);
  struct net_end end = {.ip = ip, .port = s.port};
  for (size_t i = 0; i < ARRAY_SIZE(full); i++) full[i] = net_connect(&end, &(struct net_connect_opts){.tfo = NET_TFO_OFF}, deadline_in_ms(100), NULL);
  deadline_ms late = deadline_in_ms(5000);
  assert_int_equal(deliver(&c, s.port), OUTCOME_DEFER);
  assert_false(deadline_passed(late));
  assert_int_equal(c.d.addrs->basic_errno, ETIMEDOUT);
  assert_int_equal(stalls(&c), 1);
  db = hints_open(c.spool, "misc", false);
  assert_true(hints_get(db, c.a, arena_printf(c.a, "127.0.0.1:%d.EHLO", s.port), &bytes));
  hints_close(db);
  for (size_t i = 0; i < ARRAY_SIZE(full); i++)
    if (full[i] >= 0) close(full[i]);
  close(listener);
  client_free(&c);
}

/* Who refuses at once, with the flight unread, is heard: an answer, no failure to connect. */
static void test_refusal_at_once(void **state) {
  (void)state;
  if (!have_cookies) skip();
  struct client c;
  struct server s = {.scripts = {LEARN, SCRIPT("early", ">554 no\n", "close"), LEARN, SCRIPT("early", "reset"), LEARN}};
  prepare(&c);
  client_option(&c, "hosts_pipe_connect", "*");
  c.cfg.o.pipe_connect_suspend = 0;
  server_start(&s);
  for (int k = 0; k < 3; k++) {
    assert_int_equal(deliver(&c, s.port), OUTCOME_OK);
    assert_false(c.d.addrs->early_pipe_used);
  }
  server_finish(&s);
  assert_int_equal(s.connections, 5);
  assert_int_equal(s.tfo[1], NET_TFO_DATA_ACKED);
  assert_int_equal(s.tfo[3], NET_TFO_DATA_ACKED);
  assert_int_equal(stalls(&c), 0);
  client_free(&c);
}
#endif

int main(void) {
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(test_stall_of_the_message),
#ifdef EXPERIMENTAL_PIPE_CONNECT
    cmocka_unit_test(test_silence_behind_data), cmocka_unit_test(test_syn_without_answer), cmocka_unit_test(test_refusal_at_once),
#endif
  };
  return cmocka_run_group_tests(tests, setup, test_log_end);
}
