/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Bodies in wire form: what of them is clean, and reading them with LF line ends in pieces of any size.  Expected: manual ch. 57 "Format of the -D file".
 * Floor: tests. */
#include "unit.h"

#include <stdio.h>
#include <unistd.h>

#include "formats/wire_body.h"
#include "message_body.h"
#include "policy/config.h"
#include "policy/expand.h"

static void clean_prefix(void **state) {
  (void)state;
  static const struct {
    const char *in;
    size_t want;
  } rows[] = {{"", 0}, {"abc", 3}, {"a\r\n", 3}, {"a\r\nb\r\n", 6}, {"\r\n\r\n", 4}, {"a\nb", 1}, {"a\rb", 1}, {"a\r\n\n", 3}, {"a\r\nb\r", 4},
              {"\r", 0}, {"\n", 0}, {"a\r\r\n", 1}, {"ab\r\nc\rd\r\n", 5}};
  for (size_t i = 0; i < ARRAY_SIZE(rows); i++) CHECK_INT(rows[i].in, wire_clean_prefix(str_c(rows[i].in)), rows[i].want);
}

static void to_lf(void **state) {
  (void)state;
  static const struct {
    const char *in, *want;
    bool held;
  } rows[] = {{"", "", false}, {"abc", "abc", false}, {"a\r\nb\r\n", "a\nb\n", false}, {"\r\n\r\n", "\n\n", false}, {"a\nb", "a\nb", false},
              {"a\rb", "a\rb", false}, {"a\r", "a", true}, {"a\r\r\n", "a\r\n", false}, {"\r\r", "\r", true}};
  for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
    char buf[40];
    bool held;
    snprintf(buf, sizeof buf, "%s", rows[i].in);
    buf[wire_to_lf(buf, strlen(rows[i].in), &held)] = '\0';
    CHECK_STR(rows[i].in, buf, rows[i].want);
    CHECK_INT(rows[i].in, held, rows[i].held);
  }
}

static struct message *with_body(const struct config *cfg, const char *body, bool is_wire) {
  struct message *m = message_new(cfg);
  FILE *f = tmpfile();
  assert_non_null(f);
  fprintf(f, "id-D\n%s", body);
  fflush(f);
  m->data_fd = dup(fileno(f));
  m->data_start = 5;
  m->spool_wireformat = is_wire;
  fclose(f);
  return m;
}

static void reading(void **state) {
  (void)state;
  static const struct {
    const char *body, *want;
    bool is_wire;
  } rows[] = {{"", "", true}, {"one\r\ntwo\r\n\r\n", "one\ntwo\n\n", true}, {"one\r\n", "one\r\n", false}, {"a\rb\nc\r\r\nd\r", "a\rb\nc\r\nd\r", true}};
  struct config cfg = {.primary_hostname = "me.test"};
  for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
    for (size_t piece = 2; piece < 20; piece++) {
      struct message *m = with_body(&cfg, rows[i].body, rows[i].is_wire);
      struct body_reader r = body_reader_of(m);
      char got[100], buf[20];
      size_t n = 0;
      ssize_t one;
      while ((one = body_read(&r, buf, piece)) > 0) {
        assert_true((size_t)one <= piece);
        memcpy(got + n, buf, (size_t)one);
        n += (size_t)one;
      }
      got[n] = '\0';
      CHECK_INT("end", one, 0);
      CHECK_STR("body", got, rows[i].want);
      message_free(m);
    }
}

/* $message_body and $message_body_end show as many characters as for a body in LF form. */
static void variables(void **state) {
  (void)state;
  static const char lf[] = "first line\nsecond\n\nlast one\n", wire[] = "first line\r\nsecond\r\n\r\nlast one\r\n";
  struct config cfg = {.primary_hostname = "me.test"};
  for (int newlines = 0; newlines < 2; newlines++)
    for (int visible = 1; visible < 40; visible++) {
      struct arena *a = arena_new("test");
      cfg.o.message_body_visible = visible;
      cfg.o.message_body_newlines = newlines;
      const char *got[2];
      for (int k = 0; k < 2; k++) {
        struct message *m = with_body(&cfg, k ? wire : lf, k);
        struct expand_ctx x = expand_ctx_new(a, &cfg);
        x.msg = m;
        got[k] = arena_strdup(a, expand_string(&x, "<$message_body><$message_body_end>"));
        message_free(m);
      }
      CHECK_STR("body", got[1], got[0]);
      assert_int_equal(strlen(got[1]), 4 + 2 * (size_t)MIN(visible, (int)sizeof lf - 1));
      arena_free(a);
    }
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(clean_prefix), cmocka_unit_test(to_lf), cmocka_unit_test(reading), cmocka_unit_test(variables)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
