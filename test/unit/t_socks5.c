/* SPDX-License-Identifier: GPL-2.0-or-later */
/* SOCKS5: questions as RFC 1928 and 1929 draw them, answers cut at each byte and broken at each field; and the smtp transport through a proxy. */
#include "smtp_server.h"

#include <sys/wait.h>

#include "formats/socks5.h"

static void test_questions(void **state) {
  (void)state;
  struct arena *a = arena_new("t");
  struct strbuf b = strbuf_new(a);
  struct ip ip;
  socks5_put_methods(&b, SOCKS5_AUTH_NONE);
  assert_true(str_eq(strbuf_str(&b), STR("\5\1\0")));
  strbuf_clear(&b);
  socks5_put_methods(&b, SOCKS5_AUTH_NAME);
  assert_true(str_eq(strbuf_str(&b), STR("\5\1\2")));
  strbuf_clear(&b);
  assert_true(socks5_put_login(&b, STR("me"), STR("secret")));
  assert_true(str_eq(strbuf_str(&b), STR("\1\2me\6secret")));
  char big[256];
  memset(big, 'x', sizeof big);
  strbuf_clear(&b);
  assert_false(socks5_put_login(&b, str_n(big, 256), STR("p")));
  assert_false(socks5_put_login(&b, STR("n"), str_n(big, 256)));
  assert_false(socks5_put_login(&b, STR(""), STR("p")));
  assert_int_equal(b.n, 0);
  assert_true(ip_parse(STR("127.0.0.1"), &ip));
  socks5_put_connect(&b, &ip, 25);
  assert_true(str_eq(strbuf_str(&b), STR("\5\1\0\1\177\0\0\1\0\31")));
  strbuf_clear(&b);
  assert_true(ip_parse(STR("2001:db8::1"), &ip));
  socks5_put_connect(&b, &ip, 0x1234);
  assert_true(str_eq(strbuf_str(&b), STR("\5\1\0\4\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\1\x12\x34")));
  arena_free(a);
}

static void test_answers(void **state) {
  (void)state;
  unsigned v = 9;
  struct socks5_bound bound;
  assert_int_equal(socks5_get_method(STR(""), &v), SOCKS5_MORE);
  assert_int_equal(socks5_get_method(STR("\5"), &v), SOCKS5_MORE);
  assert_int_equal(v, 9);
  assert_int_equal(socks5_get_method(STR("\5\2"), &v), 2);
  assert_int_equal(v, 2);
  assert_int_equal(socks5_get_method(STR("\4\0"), &v), SOCKS5_BAD);
  assert_int_equal(socks5_get_login(STR("\1\0x"), &v), 2);
  assert_int_equal(socks5_get_login(STR("\5\0"), &v), SOCKS5_BAD);
  static const struct str good[] = {
    STR("\5\0\0\1\177\0\0\1\xbe\xef"), STR("\5\0\0\4\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\1\xbe\xef"), STR("\5\0\0\3\4host\xbe\xef"), STR("\5\0\0\3\0\xbe\xef")};
  for (size_t i = 0; i < ARRAY_SIZE(good); i++) {
    for (size_t n = 0; n < good[i].n; n++) assert_int_equal(socks5_get_connect(str_n(good[i].p, n), &bound), SOCKS5_MORE);
    assert_int_equal(socks5_get_connect(good[i], &bound), good[i].n);
    assert_int_equal(bound.port, 0xbeef);
    assert_int_equal(bound.ip.family, i == 0 ? 4 : i == 1 ? 6 : 0);
  }
  assert_int_equal(socks5_get_connect(STR("\5\0\0\2\0\0\0\0\0\0"), &bound), SOCKS5_BAD);
  assert_int_equal(socks5_get_connect(STR("\5\0\1\1\0\0\0\0\0\0"), &bound), SOCKS5_BAD);
  assert_int_equal(socks5_get_connect(STR("220 hello"), &bound), SOCKS5_BAD);
  assert_int_equal(socks5_get_connect(STR("\5\5"), &bound), 2);
  assert_int_equal(bound.reply, 5);
  assert_int_equal(socks5_reply_errno(5), ECONNREFUSED);
  assert_int_equal(socks5_reply_errno(200), EPROTO);
}

/* ---- the transport ---------------------------------------------------------------------------------------- */

struct step {
  struct str expect, answer;
};

static bool more_comes(int fd) {
  struct pollfd p = {.fd = fd, .events = POLLIN};
  char c;
  return poll(&p, 1, 10) > 0 && recv(fd, &c, 1, MSG_PEEK) > 0; /* the end is no word */
}

/* Ends with 0, or with the number of the step that went wrong. */
static int play_connection(int fd, const struct step *steps) {
  for (int i = 0; steps[i].expect.p; i++) {
    char got[512];
    size_t n = 0;
    while (n < steps[i].expect.n) {
      ssize_t r = read(fd, got + n, steps[i].expect.n - n);
      if (r <= 0) return i + 1;
      n += (size_t)r;
    }
    if (memcmp(got, steps[i].expect.p, n) != 0 || more_comes(fd)) return i + 1;
    if (write(fd, steps[i].answer.p, steps[i].answer.n) < 0) return i + 1;
  }
  close(fd);
  return 0;
}

/* Plays the steps of one connection after the other: reads exactly what is expected and nothing more, answers.  Exit status: of the
 * first connection that went wrong its number times 20, and the step. */
static pid_t proxy_play(const struct step *const *connections, int count, int *ret_port) {
  struct net_end end;
  struct ip ip;
  assert_true(ip_parse(STR("127.0.0.1"), &ip));
  int listener = net_listen(&ip, 0, 5, false);
  assert_true(listener >= 0);
  assert_int_equal(net_local(listener, &end), 0);
  *ret_port = end.port;
  fflush(NULL);
  pid_t pid = fork();
  if (pid == 0) {
    alarm(8);
    for (int k = 0; k < count; k++) {
      int wrong = play_connection(accept(listener, NULL, NULL), connections[k]);
      if (wrong) _exit(20 * k + wrong);
    }
    _exit(0);
  }
  close(listener);
  return pid;
}

static pid_t proxy_start(const struct step *steps, int *ret_port) { return proxy_play(&steps, 1, ret_port); }

#define SMTP_STEPS(greeting)                                                                                                   \
  {STR("EHLO me.test\r\n"), STR("250 srv\r\n")}, {STR("MAIL FROM:<s@me.test>\r\n"), STR("250 ok\r\n")},                          \
    {STR("RCPT TO:<a@x.test>\r\n"), STR("250 ok\r\n")}, {STR("DATA\r\n"), STR("354 go\r\n")},                                    \
    {STR("Subject: t\r\n\r\nx\r\n.\r\n"), STR("250 ok id=1\r\n")}, {STR("QUIT\r\n"), STR("221 bye\r\n")}, {STR_NULL, STR_NULL}
#define CONNECT_192 STR("\5\1\0\1\xc0\0\2\1\0\31")

static void test_through_proxy(void **state) {
  (void)state;
  /* the greeting comes in the same packet as the proxy's last answer */
  static const struct step plain[] = {{STR("\5\1\0"), STR("\5\0")}, {CONNECT_192, STR("\5\0\0\1\12\0\0\1\xbe\xef" "220 hello\r\n")}, SMTP_STEPS()};
  static const struct step named[] = {{STR("\5\1\2"), STR("\5\2")}, {STR("\1\2me\2pw"), STR("\1\0")}, {CONNECT_192, STR("\5\0\0\3\1x\0\1" "220 hello\r\n")},
                                      SMTP_STEPS()};
  static const struct step refused[] = {{STR("\5\1\0"), STR("\5\0")}, {CONNECT_192, STR("\5\5\0\1\0\0\0\0\0\0")}, {STR_NULL, STR_NULL}};
  static const struct step unwilling[] = {{STR("\5\1\0"), STR("\5\377")}, {STR_NULL, STR_NULL}};
  static const struct step bad_login[] = {{STR("\5\1\2"), STR("\5\2")}, {STR("\1\2me\2pw"), STR("\1\1")}, {STR_NULL, STR_NULL}};
  static const struct step rubbish[] = {{STR("\5\1\0"), STR("HTTP/1.1 400\r\n")}, {STR_NULL, STR_NULL}};
  static const struct {
    const struct step *steps;
    const char *options;
    enum outcome result;
    int basic_errno;
    const char *external;
  } rows[] = {
    {plain, "", OUTCOME_OK, 0, "10.0.0.1 48879"},
    {named, " auth=name name=me pass=pw", OUTCOME_OK, 0, " 1"},
    {refused, "", OUTCOME_DEFER, ECONNREFUSED, NULL},
    {unwilling, "", OUTCOME_DEFER, ERRNO_PROXYFAIL, NULL},
    {bad_login, " auth=name name=me pass=pw", OUTCOME_DEFER, ERRNO_PROXYFAIL, NULL},
    {rubbish, "", OUTCOME_DEFER, ERRNO_PROXYFAIL, NULL},
  };
  for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
    struct client c;
    int port, status;
    client_new(&c, "x\n", 1);
    pid_t pid = proxy_start(rows[i].steps, &port);
    client_option(&c, "socks_proxy", arena_printf(c.a, "127.0.0.1 port=%d%s", port, rows[i].options));
    client_host(&c, 25);
    c.d.addrs->host_list->name = c.d.addrs->host_list->address = "192.0.2.1"; /* nobody would answer there */
    assert_true(smtp_transport.deliver(&c.d));
    waitpid(pid, &status, 0);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
    assert_int_equal(c.d.addrs->result, rows[i].result);
    assert_int_equal(c.d.addrs->basic_errno, rows[i].basic_errno);
    if (rows[i].external) {
      assert_string_equal(c.d.addrs->proxy_used, arena_printf(c.a, "[127.0.0.1]:%d", port));
      assert_string_equal(expand_string(&c.x, "$proxy_external_address $proxy_external_port"), rows[i].external);
      assert_string_equal(expand_string(&c.x, "$proxy_local_address:$proxy_local_port"), arena_printf(c.a, "127.0.0.1:%d", port));
    }
    client_free(&c);
  }
}

/* Higher priority first; a proxy that is not there is passed over; a bad option defers without saying the password. */
static void test_proxy_list(void **state) {
  (void)state;
  static const struct step plain[] = {{STR("\5\1\0"), STR("\5\0")}, {CONNECT_192, STR("\5\0\0\1\12\0\0\1\xbe\xef" "220 hello\r\n")}, SMTP_STEPS()};
  struct client c;
  int port, status;
  client_new(&c, "x\n", 1);
  pid_t pid = proxy_start(plain, &port);
  client_option(&c, "socks_proxy", arena_printf(c.a, "<; 127.0.0.1 port=%d pri=2; 127.0.0.1 port=1 pri=5", port));
  client_host(&c, 25);
  c.d.addrs->host_list->name = c.d.addrs->host_list->address = "192.0.2.1";
  assert_true(smtp_transport.deliver(&c.d));
  waitpid(pid, &status, 0);
  assert_int_equal(c.d.addrs->result, OUTCOME_OK);
  client_option(&c, "socks_proxy", "127.0.0.1 pass=secret bad=secret");
  assert_true(smtp_transport.deliver(&c.d));
  assert_int_equal(c.d.addrs->result, OUTCOME_DEFER);
  assert_int_equal(c.d.addrs->basic_errno, ERRNO_PROXYFAIL);
  assert_string_equal(c.d.addrs->message, "bad option \"bad\" of proxy 127.0.0.1");
  client_option(&c, "socks_proxy", "proxy.example");
  assert_true(smtp_transport.deliver(&c.d));
  assert_string_equal(c.d.addrs->message, "\"proxy.example\" is not the IP address of a proxy");
  client_free(&c);
}

#ifdef EXPERIMENTAL_PIPE_CONNECT
/* C11: the first flight leaves right behind the proxy's word that the host is there, and never before it; what was learnt, and what went wrong, belongs
 * to the host and not to the proxy. */
static void test_early_through_proxy(void **state) {
  (void)state;
#define GROUP "MAIL FROM:<s@me.test>\r\nRCPT TO:<a@x.test>\r\nDATA\r\n"
#define GROUP_TAKEN "250 ok\r\n250 ok\r\n354 go\r\n"
#define PROMISE "250-srv\r\n250-PIPELINING\r\n250 PIPECONNECT\r\n"
#define MESSAGE {STR("Subject: t\r\n\r\nx\r\n.\r\nQUIT\r\n"), STR("250 ok\r\n221 bye\r\n")}, {STR_NULL, STR_NULL}
#define METHODS {STR("\5\1\0"), STR("\5\0")}
#define BOUND "\5\0\0\1\12\0\0\1\xbe\xef"
#define PLAIN {CONNECT_192, STR(BOUND "220 hello\r\n")}, {STR("EHLO me.test\r\n"), STR(PROMISE)}, {STR(GROUP), STR(GROUP_TAKEN)}, MESSAGE
#define EARLY(answer) {CONNECT_192, STR(BOUND)}, {STR("EHLO me.test\r\n" GROUP), STR(answer)}
  static const struct step first[] = {METHODS, PLAIN};
  static const struct step early[] = {METHODS, EARLY("220 hello\r\n" PROMISE GROUP_TAKEN), MESSAGE};
  static const struct step refused[] = {METHODS, EARLY("554 SMTP synchronization error\r\n"), {STR_NULL, STR_NULL}};
  static const struct step dead[] = {METHODS, {CONNECT_192, STR("\5\5\0\1\0\0\0\0\0\0")}, {STR_NULL, STR_NULL}};
  /* learns; talks early; the proxy says that the host is not there: no flight; early, refused, again plainly; suspended */
  static const struct step *const connections[] = {first, early, dead, refused, first, first};
  static const struct {
    enum outcome result;
    bool mark;
  } messages[] = {{OUTCOME_OK, false}, {OUTCOME_OK, true}, {OUTCOME_DEFER, false}, {OUTCOME_OK, false}, {OUTCOME_OK, false}};
  struct client c;
  int port, status;
  client_new(&c, "x\n", 1);
  pid_t pid = proxy_play(connections, ARRAY_SIZE(connections), &port);
  client_option(&c, "socks_proxy", arena_printf(c.a, "127.0.0.1 port=%d", port));
  client_option(&c, "hosts_pipe_connect", "*");
  client_option(&c, "hosts_try_fastopen", "*"); /* is for the way to the proxy, and carries nothing */
  for (size_t i = 0; i < ARRAY_SIZE(messages); i++) {
    client_recipients(&c, 1);
    client_host(&c, 25);
    c.d.addrs->host_list->name = c.d.addrs->host_list->address = "192.0.2.1";
    assert_true(smtp_transport.deliver(&c.d));
    assert_int_equal(c.d.addrs->result, messages[i].result);
    if (messages[i].result == OUTCOME_OK) assert_int_equal(c.d.addrs->early_pipe_used, messages[i].mark);
    else assert_int_equal(c.d.addrs->basic_errno, ECONNREFUSED);
  }
  waitpid(pid, &status, 0);
  assert_true(WIFEXITED(status));
  assert_int_equal(WEXITSTATUS(status), 0);
  client_free(&c);
}
#endif

int main(void) {
  signal(SIGPIPE, SIG_IGN);
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_questions), cmocka_unit_test(test_answers), cmocka_unit_test(test_through_proxy),
                                     cmocka_unit_test(test_proxy_list),
#ifdef EXPERIMENTAL_PIPE_CONNECT
                                     cmocka_unit_test(test_early_through_proxy),
#endif
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
