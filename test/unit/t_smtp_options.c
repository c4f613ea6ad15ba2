/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Options of the smtp transport: expanded numbers and booleans, dscp, order of hosts, serialize_hosts, limits on a connection.  Manual ch. 30. */
#include "smtp_server.h"

#include <netinet/in.h>
#include <signal.h>

#include "base/rand.h"
#include "hints/hints.h"
#include "host.h"
#include "retry.h"
#include "transports/smtp_priv.h"

#define SCRIPT(...) ((const char *const[]){__VA_ARGS__, NULL})
#define UP_TO_EHLO ">220 hello\n", "<EHLO", ">250-srv\n250 PIPELINING\n"
#define GOOD_END "data", ">250 ok id=1\n"

static void run(struct client *c, struct server *s) {
  server_start(s);
  client_host(c, s->port);
  assert_true(smtp_transport.deliver(&c->d));
  server_finish(s);
}

static void test_dscp(void **state) {
  (void)state;
  static const struct {
    const char *text;
    int value;
  } rows[] = {{"ef", 0xb8}, {"AF41", 0x88}, {"cs1", 0x20}, {"throughput", 8}, {"0", 0}, {"46", 0xb8}, {"0x2e", 0xb8}, {"0x3F", 0xfc}, {"64", -1},
              {"-1", -1}, {"af44", -1}, {"", -1}, {"99999999999999999999", -1}};
  for (size_t i = 0; i < ARRAY_SIZE(rows); i++) assert_int_equal(net_dscp_value(rows[i].text), rows[i].value);
  for (size_t i = 1; net_dscp_name(i); i++) assert_true(strcmp(net_dscp_name(i - 1), net_dscp_name(i)) < 0);
  struct ip ip;
  struct net_end end;
  assert_true(ip_parse(STR("127.0.0.1"), &ip));
  int listener = net_listen(&ip, 0, 1, false);
  assert_int_equal(net_local(listener, &end), 0);
  struct net_connect_opts o = {.tos = net_dscp_value("ef")};
  int fd = net_connect(&end, &o, deadline_in_sec(2), NULL), tos = 0;
  socklen_t n = sizeof tos;
  assert_true(fd >= 0);
  assert_int_equal(getsockopt(fd, IPPROTO_IP, IP_TOS, &tos, &n), 0);
  assert_int_equal(tos, 0xb8);
  close(fd);
  close(listener);
}

/* Three recipients, two at most in one transaction: the second goes over the same connection. */
static void test_max_rcpt(void **state) {
  (void)state;
  struct client c;
  client_new(&c, "x\n", 3);
  client_option(&c, "max_rcpt", "${if eq{$sender_address}{s@me.test}{2}{50}}");
  struct server s = {.scripts = {SCRIPT(UP_TO_EHLO, "<MAIL", "<RCPT TO:<a@", "<RCPT TO:<b@", "<DATA", ">250 ok\n250 ok\n250 ok\n354 go\n", GOOD_END,
                                        "<MAIL", "<RCPT TO:<c@", "<DATA", ">250 ok\n250 ok\n354 go\n", GOOD_END, "<QUIT")}};
  run(&c, &s);
  for (struct address *a = c.d.addrs; a; a = a->next) assert_int_equal(a->result, OUTCOME_OK);
  assert_int_equal(s.connections, 1);
  client_option(&c, "max_rcpt", "${if bad");
  assert_true(smtp_transport.deliver(&c.d));
  assert_int_equal(c.d.addrs->result, OUTCOME_DEFER);
  assert_int_equal(c.d.addrs->basic_errno, ERRNO_EXPANDFAIL);
  client_free(&c);
}

static void test_bool_option(void **state) {
  (void)state;
  struct client c;
  bool v = true;
  const char *error = NULL;
  client_new(&c, "x\n", 1);
  struct opt_bool_exp o = {.value = true, .expand = "${if eq{a}{b}{yes}{no}}"};
  assert_true(smtp_bool_option(&c.x, "x", &o, &v, &error));
  assert_false(v);
  o.expand = "${if eq{a}{b}{yes}fail}";
  assert_true(smtp_bool_option(&c.x, "x", &o, &v, &error));
  assert_true(v);
  o.expand = "maybe$tod_zone";
  assert_false(smtp_bool_option(&c.x, "x", &o, &v, &error));
  assert_non_null(strstr(error, "is not a valid value for the \"x\" option"));
  client_free(&c);
}

/* Shuffled inside the parts between "+" only, and not at all when the hosts come from MX records or the router has shuffled them. */
static void test_randomize(void **state) {
  (void)state;
  struct client c;
  client_new(&c, "x\n", 1);
  struct smtp_job job = {.d = &c.d, .ob = c.t.ob, .randomize = true};
  bool differed = false;
  struct host *list = host_build_list(&c.x, "a.test:b.test:c.test:+:d.test:e.test", false);
  for (int round = 0; round < 200; round++) {
    const struct host *h = smtp_shuffle_hosts(&job, list);
    bool in_order = true;
    for (int i = 0; i < 5; i++, h = h->next) {
      assert_non_null(h);
      assert_int_equal(h->name[0] >= 'd', i >= 3);
      in_order = in_order && h->name[0] == 'a' + i;
    }
    assert_null(h);
    differed = differed || !in_order;
  }
  assert_true(differed);
  job.randomize = false;
  assert_ptr_equal(smtp_shuffle_hosts(&job, list), list);
  job.randomize = true;
  list = host_build_list(&c.x, "a.test:b.test", true);
  assert_ptr_equal(smtp_shuffle_hosts(&job, list), list);
  struct host mx = {.name = "mx.test", .mx = 10};
  assert_ptr_equal(smtp_shuffle_hosts(&job, &mx), &mx);
  client_free(&c);
}

static void test_serialize(void **state) {
  (void)state;
  struct client c;
  client_new(&c, "x\n", 1);
  client_option(&c, "serialize_hosts", "127.0.0.1");
  struct hints_serialize busy = {.stamp = time_sec() - 60, .count = 1};
  struct strbuf b = strbuf_new(c.a);
  struct str bytes;
  hints_put_serialize(&b, &busy);
  struct hints_db *db = hints_open(c.spool, "misc", true);
  assert_non_null(db);
  assert_int_equal(hints_put(db, "host-serialize-127.0.0.1", strbuf_str(&b)), 0);
  hints_close(db);
  client_host(&c, 1);
  assert_true(smtp_transport.deliver(&c.d)); /* does not even try */
  assert_int_equal(c.d.addrs->result, OUTCOME_DEFER);
  assert_int_equal(c.d.addrs->basic_errno, ERRNO_HRETRY);
  assert_null(c.d.addrs->retries);
  c.d.addrs->host_list = NULL;
  /* seven hours old: left over from a crash */
  busy.stamp -= 7 * 3600;
  strbuf_clear(&b);
  hints_put_serialize(&b, &busy);
  db = hints_open(c.spool, "misc", true);
  assert_int_equal(hints_put(db, "host-serialize-127.0.0.1", strbuf_str(&b)), 0);
  hints_close(db);
  struct server s = {.scripts = {SCRIPT(UP_TO_EHLO, "<MAIL", "<RCPT", "<DATA", ">250 ok\n250 ok\n354 go\n", GOOD_END, "<QUIT")}};
  run(&c, &s);
  assert_int_equal(c.d.addrs->result, OUTCOME_OK);
  db = hints_open(c.spool, "misc", false);
  assert_false(hints_get(db, c.a, "host-serialize-127.0.0.1", &bytes)); /* gone with the connection */
  hints_close(db);
  client_free(&c);
}

/* What depends on the message must come out alike for two messages to share a connection. */
static void test_identity(void **state) {
  (void)state;
  struct client c, other;
  client_new(&c, "x\n", 1);
  client_new(&other, "x\n", 1);
  for (int round = 0; round < 2; round++) {
    struct client *each[] = {&c, &other};
    for (size_t i = 0; round && i < 2; i++) {
      client_option(each[i], "helo_data", "${domain:$sender_address}");
      client_option(each[i], "hosts_require_tls", "${if eq{$sender_address}{t@else.test}{*}}");
    }
    other.m->sender = "s@me.test";
    assert_string_equal(smtp_identity(&c.d), smtp_identity(&other.d));
    other.m->sender = "t@else.test";
    assert_int_equal(strcmp(smtp_identity(&c.d), smtp_identity(&other.d)) == 0, round == 0);
  }
  client_free(&c);
  client_free(&other);
}

/* All hosts past their cutoff: the message is returned without a try, or tried once more when it is newer than the last try. */
static void test_delay_after_cutoff(void **state) {
  (void)state;
  struct client c;
  client_new(&c, "x\n", 1);
  struct server s = {.scripts = {SCRIPT(UP_TO_EHLO, "<MAIL", "<RCPT", "<DATA", ">250 ok\n250 ok\n354 go\n", GOOD_END, "<QUIT")}};
  server_start(&s);
  client_host(&c, s.port);
  time_t now = time_sec();
  struct hints_retry r = {.stamp = now, .first_failed = now - 100000, .last_try = now - 600, .next_try = now + 600, .expired = true, .text = "x"};
  struct strbuf b = strbuf_new(c.a);
  hints_put_retry(&b, &r);
  struct hints_db *db = hints_open(c.spool, "retry", true);
  assert_int_equal(hints_put(db, retry_host_key_build(c.a, c.d.addrs->host_list, s.port, true, NULL), strbuf_str(&b)), 0);
  hints_close(db);
  struct retry_step step = {.kind = 'F', .timeout_sec = 4 * 86400, .interval_sec = 3600};
  struct retry_rule rule = {.pattern = "*", .steps = &step};
  c.cfg.retry_rules = &rule;
  c.m->received_time.tv_sec = now - 60;
  assert_true(smtp_transport.deliver(&c.d));
  bool is_left_alone = c.d.addrs->result == OUTCOME_FAIL && s.connections == 0;
  if (is_left_alone) {
    client_option(&c, "delay_after_cutoff", "false");
    c.m->received_time.tv_sec = now - 1200; /* tried since it came */
    assert_true(smtp_transport.deliver(&c.d));
    assert_int_equal(c.d.addrs->result, OUTCOME_FAIL);
    assert_string_equal(strrchr(c.d.addrs->message, '\'') + 2,
                        "have been failing for a long time and were last tried after this message arrived");
    assert_int_equal(s.connections, 0);
    c.m->received_time.tv_sec = now - 60;
    assert_true(smtp_transport.deliver(&c.d));
  }
  server_finish(&s);
  assert_true(is_left_alone);
  assert_int_equal(c.d.addrs->result, OUTCOME_OK);
  client_free(&c);
}

int main(void) {
  signal(SIGPIPE, SIG_IGN);
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(test_dscp),      cmocka_unit_test(test_max_rcpt), cmocka_unit_test(test_bool_option), cmocka_unit_test(test_randomize),
    cmocka_unit_test(test_serialize), cmocka_unit_test(test_identity), cmocka_unit_test(test_delay_after_cutoff),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
