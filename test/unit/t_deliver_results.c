/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Answers of delivery processes: what goes in comes out, and nothing that is cut, padded or about other addresses is applied. */
#include "unit.h"

#include "deliver_priv.h"
#include "retry.h"

static struct address *chain(struct arena *a) {
  struct address *first = address_new(a, "a@x.test");
  first->next = address_new(a, "b@x.test");
  first->next->next = address_new(a, "c@y.test");
  for (struct address *p = first; p; p = p->next) p->result = OUTCOME_DEFER;
  return first;
}

static struct strbuf sample(struct arena *a) {
  struct address *d = chain(a);
  d->result = OUTCOME_OK;
  d->confirmation = "250 ok";
  d->host_used = ARENA_NEW(a, struct host);
  d->host_used->name = "mx.test";
  d->host_used->address = "192.0.2.1";
  d->host_used->port = 25;
  d->next->result = OUTCOME_FAIL;
  d->next->message = "no such user";
  d->next->return_output = d->next->next->return_output = arena_strdup(a, "out\n");
  d->next->return_file_when = ADDR_RETURN_ON_FAIL;
  d->next->next->basic_errno = ERRNO_RCPT4XX;
  retry_add_item(a, d->next->next, "T:second", "later", 0);
  retry_add_item(a, d->next->next, "R:first", NULL, RETRY_DELETE);
  struct strbuf b = strbuf_new(a);
  deliver_results_encode(&b, d);
  return b;
}

static void test_round_trip(void **state) {
  (void)state;
  struct arena *a = arena_new("t");
  struct strbuf b = sample(a);
  struct address *got = chain(a), *b2 = got->next, *c = b2->next;
  assert_true(deliver_results_decode(a, strbuf_str(&b), got));
  assert_int_equal(got->result, OUTCOME_OK);
  assert_string_equal(got->confirmation, "250 ok");
  assert_string_equal(got->host_used->address, "192.0.2.1");
  assert_null(got->return_output);
  assert_int_equal(b2->result, OUTCOME_FAIL);
  assert_string_equal(b2->message, "no such user");
  assert_string_equal(b2->return_output, "out\n");
  assert_ptr_equal(c->return_output, b2->return_output);
  assert_int_equal(c->basic_errno, ERRNO_RCPT4XX);
  assert_string_equal(c->retries->key, "R:first");
  assert_int_equal(c->retries->flags, RETRY_DELETE);
  assert_string_equal(c->retries->next->key, "T:second");
  assert_string_equal(c->retries->next->message, "later");
  assert_null(c->retries->next->next);
  arena_free(a);
}

static void test_nothing_from_bad_bytes(void **state) {
  (void)state;
  struct arena *a = arena_new("t");
  struct strbuf b = sample(a);
  for (size_t n = 0; n < b.n; n++) {
    struct address *got = chain(a);
    if (deliver_results_decode(a, str_n(b.p, n), got)) fail_msg("cut at %zu: accepted", n);
    if (got->result != OUTCOME_DEFER || got->confirmation) fail_msg("cut at %zu: something was applied", n);
  }
  struct address *got = chain(a);
  strbuf_add(&b, "x", 1);
  assert_false(deliver_results_decode(a, strbuf_str(&b), got));
  b.n--;
  got->next->next = NULL; /* bytes about three addresses, two asked for */
  assert_false(deliver_results_decode(a, strbuf_str(&b), got));
  assert_int_equal(got->result, OUTCOME_DEFER);
  arena_free(a);
}

/* A quarter of a million retry items from a process that means no good: they take no more time than their bytes. */
static void test_many_items(void **state) {
  (void)state;
  struct arena *a = arena_new("t");
  struct address *one = address_new(a, "a@x.test");
  struct strbuf b = strbuf_new(a), tail = strbuf_new(a);
  deliver_results_encode(&b, one);
  tail = strbuf_new(a);
  strbuf_add(&tail, b.p + b.n - 5, 5);
  b.n -= 5;
  for (int i = 0; i < 250000; i++) strbuf_add(&b, "R\0\0\0\0", 5);
  strbuf_add(&b, tail.p, tail.n);
  int64_t began = time_mono_ms();
  assert_true(deliver_results_decode(a, strbuf_str(&b), one));
  assert_true(time_mono_ms() - began < 5000);
  arena_free(a);
}

int main(void) {
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(test_round_trip),
    cmocka_unit_test(test_nothing_from_bad_bytes),
    cmocka_unit_test(test_many_items),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
