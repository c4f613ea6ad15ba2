/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Log lines of deliveries (shapes of Exim's main log), and the answers of delivery processes. */
#include "unit.h"

#include <errno.h>

#include "deliver_priv.h"
#include "os/log.h"
#include "retry.h"

static struct arena *a;
static struct transport_driver local_driver = {.name = "appendfile", .is_local = true};
static struct transport_driver remote_driver = {.name = "smtp"};
static struct transport spool_t = {.name = "mail_spool", .driver = &local_driver};
static struct transport pipe_t = {.name = "address_pipe", .driver = &local_driver};
static struct transport smtp_t = {.name = "remote_smtp", .driver = &remote_driver};
static struct router_driver accept_driver = {.name = "accept"}, redirect_driver = {.name = "redirect"}, dns_driver = {.name = "dnslookup"};
static struct router user_r = {.name = "local_user", .driver = &accept_driver};
static struct router alias_r = {.name = "system_aliases", .driver = &redirect_driver};
static struct router dns_r = {.name = "dnslookup", .driver = &dns_driver};
static struct message m;

static int setup(void **state) {
  (void)state;
  a = arena_new("test");
  uint64_t mask;
  const char *error;
  assert_true(log_selector_parse(a, "", &mask, &error));
  log_selector_set(mask);
  m.sender = "ann@hill.example";
  m.queue_name = "";
  return 0;
}

static int teardown(void **state) {
  (void)state;
  arena_free(a);
  return 0;
}

static void select_log(const char *text) {
  uint64_t mask;
  const char *error;
  assert_true(log_selector_parse(a, text, &mask, &error));
  log_selector_set(mask);
}

static struct address *routed(const char *text, struct router *r, struct transport *t) {
  struct address *addr = address_new(a, text);
  addr->router = r;
  addr->transport = t;
  return addr;
}

static struct address *child_of(struct address *parent, const char *text, struct router *r, struct transport *t) {
  struct address *addr = address_child(a, parent, text);
  addr->router = r;
  addr->transport = t;
  return addr;
}

static struct host *host(const char *name, const char *ip, int port) {
  struct host *h = ARENA_NEW(a, struct host);
  *h = (struct host){.name = name, .address = ip, .port = port, .mx = -1};
  return h;
}

static void test_local(void **state) {
  (void)state;
  assert_string_equal(deliver_log_delivered(a, &m, routed("ann@hill.example", &user_r, &spool_t), "=>"),
                      "=> ann <ann@hill.example> R=local_user T=mail_spool");
  struct address *info = routed("info@hill.example", &alias_r, NULL);
  assert_string_equal(deliver_log_delivered(a, &m, child_of(info, "carl@hill.example", &user_r, &spool_t), "=>"),
                      "=> carl <info@hill.example> R=local_user T=mail_spool");
  assert_string_equal(deliver_log_delivered(a, &m, routed("ann@hill.example", &user_r, &spool_t), "*>"),
                      "*> ann <ann@hill.example> R=local_user T=mail_spool");
}

static void test_pipe(void **state) {
  (void)state;
  struct address *help = routed("help@hill.example", &alias_r, NULL);
  struct address *support = child_of(help, "support@hill.example", &alias_r, NULL);
  struct address *p = address_pseudo_child(a, support, "|/usr/local/bin/ticket");
  p->router = &alias_r;
  p->transport = &pipe_t;
  assert_string_equal(deliver_log_delivered(a, &m, p, "=>"),
                      "=> |/usr/local/bin/ticket (support@hill.example) <help@hill.example> R=system_aliases T=address_pipe");
  struct address *q = address_pseudo_child(a, help, "|/usr/local/bin/ticket");
  q->router = &alias_r;
  q->transport = &pipe_t;
  q->message = "Child process of address_pipe transport returned 2 from command: /usr/local/bin/ticket";
  assert_string_equal(deliver_log_failed(a, &m, q),
                      "|/usr/local/bin/ticket <help@hill.example> R=system_aliases T=address_pipe : Child process of address_pipe "
                      "transport returned 2 from command: /usr/local/bin/ticket");
  struct address *n = address_pseudo_child(a, help, "/dev/null");
  n->router = &alias_r;
  assert_string_equal(deliver_log_delivered(a, &m, n, "=>"), "=> /dev/null <help@hill.example> R=system_aliases T=**bypassed**");
}

static void test_remote(void **state) {
  (void)state;
  struct address *z = routed("zoe@sea.example", &dns_r, &smtp_t);
  z->host_used = host("mx1.sea.example", "198.51.100.33", 25);
  z->tls_cipher = "TLS1.3:ECDHE_X25519__ECDSA_SECP256R1_SHA256__AES_256_GCM:256:X25519";
  z->tls_certificate_verified = true;
  z->chunking_used = true;
  z->confirmation = "250 2.6.0 queued as 4B2F";
  assert_string_equal(deliver_log_delivered(a, &m, z, "=>"),
                      "=> zoe@sea.example R=dnslookup T=remote_smtp H=mx1.sea.example [198.51.100.33] "
                      "X=TLS1.3:ECDHE_X25519__ECDSA_SECP256R1_SHA256__AES_256_GCM:256:X25519 CV=yes K "
                      "C=\"250 2.6.0 queued as 4B2F\"");
  z->continued_connection = true;
  z->tls_cipher = NULL;
  z->chunking_used = false;
  z->confirmation = "250 \"q\"";
  assert_string_equal(deliver_log_delivered(a, &m, z, "->"),
                      "-> zoe@sea.example R=dnslookup T=remote_smtp H=mx1.sea.example [198.51.100.33]* C=\"250 \\\"q\\\"\"");
}

static void test_selectors(void **state) {
  (void)state;
  select_log("+sender_on_delivery +return_path_on_delivery +delivery_size +outgoing_port +incoming_interface +pipelining");
  struct address *p = routed("p@away.example", &dns_r, &smtp_t);
  p->host_used = host("smart.isp.example", "203.0.113.25", 587);
  p->local_interface = "[192.0.2.25]:50110";
  p->delivered_size = 1733;
  p->auth_name = "plain";
  p->auth_id = "ann";
  p->pipelining_used = true;
  p->early_pipe_used = true;
  assert_string_equal(deliver_log_delivered(a, &m, p, "=>"),
                      "=> p@away.example F=<ann@hill.example> P=<ann@hill.example> R=dnslookup T=remote_smtp S=1733 "
                      "H=smart.isp.example [203.0.113.25]:587 I=[192.0.2.25]:50110 A=plain:ann L*");
  select_log("+all_parents");
  struct address *info = routed("info@hill.example", &alias_r, NULL), *mid = child_of(info, "mid@hill.example", &alias_r, NULL);
  assert_string_equal(deliver_log_delivered(a, &m, child_of(mid, "carl@hill.example", &user_r, &spool_t), "=>"),
                      "=> carl (mid@hill.example) <info@hill.example> R=local_user T=mail_spool");
}

static void test_failures(void **state) {
  (void)state;
  struct address *n = routed("nobody@hill.example", NULL, NULL);
  n->message = "Unrouteable address";
  assert_string_equal(deliver_log_failed(a, &m, n), "nobody@hill.example : Unrouteable address");
  struct address *o = routed("old@hill.example", &alias_r, NULL);
  o->message = "left the company";
  assert_string_equal(deliver_log_failed(a, &m, o), "old@hill.example R=system_aliases : left the company");
  struct address *x = routed("x@sea.example", &dns_r, &smtp_t);
  x->host_used = host("mx1.sea.example", "198.51.100.33", 25);
  x->message = "SMTP error from remote mail server after RCPT TO:<x@sea.example>: 550 5.1.1 no such mailbox";
  assert_string_equal(deliver_log_failed(a, &m, x),
                      "x@sea.example R=dnslookup T=remote_smtp H=mx1.sea.example [198.51.100.33] : SMTP error from remote mail "
                      "server after RCPT TO:<x@sea.example>: 550 5.1.1 no such mailbox");
}

static void test_deferrals(void **state) {
  (void)state;
  struct address *y = routed("y@gone.example", &dns_r, &smtp_t);
  y->basic_errno = ECONNREFUSED;
  assert_string_equal(deliver_log_deferred(a, &m, y), "y@gone.example R=dnslookup T=remote_smtp defer (111): Connection refused");
  struct address *g = routed("g@grey.example", &dns_r, &smtp_t);
  g->basic_errno = ERRNO_RCPT4XX;
  g->host_used = host("mx.grey.example", "198.51.100.44", 25);
  g->message = "SMTP error from remote mail server after RCPT TO:<g@grey.example>: 451 4.7.1 greylisted";
  assert_string_equal(deliver_log_deferred(a, &m, g),
                      "g@grey.example R=dnslookup T=remote_smtp defer (-44) H=mx.grey.example [198.51.100.44]: SMTP error from remote "
                      "mail server after RCPT TO:<g@grey.example>: 451 4.7.1 greylisted");
  g->continued_connection = true;
  g->message = "busy";
  assert_string_equal(deliver_log_deferred(a, &m, g), "g@grey.example R=dnslookup T=remote_smtp defer (-44) H=mx.grey.example [198.51.100.44]*: busy");
  struct address *b = routed("busy@hill.example", NULL, NULL);
  b->basic_errno = ERRNO_RRETRY;
  b->message = "retry time not reached";
  assert_string_equal(deliver_log_deferred(a, &m, b), "busy@hill.example routing defer (-52): retry time not reached");
  b->basic_errno = ERRNO_HELD;
  b->message = "domain is held";
  assert_string_equal(deliver_log_deferred(a, &m, b), "busy@hill.example defer (-23): domain is held");
  struct address *f = routed("full@hill.example", &user_r, &spool_t);
  f->basic_errno = ERRNO_EXIMQUOTA;
  f->message = "mailbox is full (MTA-imposed quota exceeded while writing to /var/mail/full)";
  assert_string_equal(deliver_log_deferred(a, &m, f), "full@hill.example R=local_user T=mail_spool defer (-22): mailbox is full "
                                                      "(MTA-imposed quota exceeded while writing to /var/mail/full)");
}

static void test_results(void **state) {
  (void)state;
  struct address *one = routed("a@b.example", &dns_r, &smtp_t), *two = routed("c@b.example", &dns_r, &smtp_t);
  one->next = two;
  one->result = OUTCOME_OK;
  one->confirmation = "250 OK";
  one->host_used = host("mx.b.example", "192.0.2.1", 25);
  one->chunking_used = true;
  two->result = OUTCOME_DEFER;
  two->basic_errno = ERRNO_RCPT4XX;
  two->more_errno = 51 << 8;
  two->message = "later";
  retry_add_item(a, two, "R:c@b.example", "later", 0);
  struct strbuf b = strbuf_new(a);
  deliver_results_encode(&b, one);
  struct address *p = routed("a@b.example", &dns_r, &smtp_t), *q = routed("c@b.example", &dns_r, &smtp_t);
  p->next = q;
  assert_true(deliver_results_decode(a, strbuf_str(&b), p));
  assert_int_equal(p->result, OUTCOME_OK);
  assert_string_equal(p->confirmation, "250 OK");
  assert_string_equal(p->host_used->address, "192.0.2.1");
  assert_true(p->chunking_used && !q->chunking_used);
  assert_int_equal(q->result, OUTCOME_DEFER);
  assert_int_equal(q->basic_errno, ERRNO_RCPT4XX);
  assert_int_equal(q->more_errno, 51 << 8);
  assert_string_equal(q->message, "later");
  assert_string_equal(q->retries->key, "R:c@b.example");
  assert_int_equal(q->retries->basic_errno, ERRNO_RCPT4XX);
  /* Anything cut short, longer, or about another number of addresses changes nothing. */
  p->message = "kept";
  for (size_t n = 0; n < b.n; n++) assert_false(deliver_results_decode(a, str_n(b.p, n), p));
  strbuf_addc(&b, 'x');
  assert_false(deliver_results_decode(a, strbuf_str(&b), p));
  strbuf_truncate(&b, b.n - 1);
  p->next = NULL;
  assert_false(deliver_results_decode(a, strbuf_str(&b), p));
  assert_string_equal(p->message, "kept");
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test_setup_teardown(test_local, setup, teardown),     cmocka_unit_test_setup_teardown(test_pipe, setup, teardown),
      cmocka_unit_test_setup_teardown(test_remote, setup, teardown),    cmocka_unit_test_setup_teardown(test_selectors, setup, teardown),
      cmocka_unit_test_setup_teardown(test_failures, setup, teardown),  cmocka_unit_test_setup_teardown(test_deferrals, setup, teardown),
      cmocka_unit_test_setup_teardown(test_results, setup, teardown)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
