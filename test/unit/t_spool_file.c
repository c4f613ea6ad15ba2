/* SPDX-License-Identifier: GPL-2.0-or-later */
/* -H and -J bytes: files as Debian's 4.96 wrote them are read and written back unchanged; every truncation and many corruptions
 * are refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "formats/spool_file.h"

/* Written by Exim 4.96: -bs with -oMa, two ACL variables, DSN parameters, three header lines. */
static const char by_exim[] =
  "1xVZqc-0005N0-2R-H\n"
  "root 0 0\n"
  "<a@b.c>\n"
  "1795462626 0\n"
  "-received_time_usec .757758\n"
  "-received_time_complete 1795462626.758404\n"
  "--helo_name x\n"
  "--host_address [1.2.3.4]:0\n"
  "-ident root\n"
  "-received_protocol esmtp\n"
  "-aclc 0 5\n"
  "hello\n"
  "-aclm _foo 12\n"
  "multi\nline  \n"
  "-body_linecount 0\n"
  "-max_received_linelength 0\n"
  "-deliver_firsttime\n"
  "-dsn_envid foo+20bar\n"
  "-dsn_ret 1\n"
  "XX\n"
  "4\n"
  "u@test.ex\n"
  "v@test.ex  0,2  0,-1#3\n"
  "w@test.ex rfc822;q@r 10,28  0,-1#3\n"
  "p@test.ex\n"
  "\n"
  "163P Received: from [1.2.3.4] (helo=x ident=root)\n"
  "\tby my.test.ex with esmtp (Exim 4.96)\n"
  "\t(envelope-from <a@b.c>)\n"
  "\tid 1xVZqc-0005N0-2R;\n"
  "\tMon, 23 Nov 2026 19:37:06 +0000\n"
  "010F From: x@y\n"
  "012* Subject: h\n";

/* The header lengths above are made true here, so that the text stays readable. */
static char *fixed(struct arena *a, const char *text) {
  struct strbuf b = strbuf_new(a);
  const char *headers = strstr(text, "\n\n") + 2;
  strbuf_add(&b, text, (size_t)(headers - text));
  while (*headers) {
    const char *end = headers;
    do end = strchr(end, '\n') + 1;
    while (*end == '\t');
    strbuf_addf(&b, "%03d%c ", (int)(end - headers - 5), headers[3]);
    strbuf_add(&b, headers + 5, (size_t)(end - headers - 5));
    headers = end;
  }
  return b.p;
}

/* "--(NAME)": text quoted for lookups of that name stays so; of an unknown name it is foreign text like any other. */
static void keeps_quoting(void **state) {
  (void)state;
  struct arena *a = arena_new("test");
  char *text = fixed(a, by_exim);
  char *at = strstr(text, "-aclc 0 5\n");
  struct str head = str_n(text, (size_t)(at - text));
  const char *with = arena_printf(a, "%.*s--(sqlite)aclc 0 5\nit''s\n--(nosuch)aclm 1 1\nx\n--(testdb)aclm 2 1\ny\n%s", STR_FMT(head), strstr(at, "-aclm"));
  struct spool_header_file h;
  assert_null(spool_read_header_file(a, str_c(with), false, &h));
  struct spool_var *v = h.vars;
  assert_string_equal(v->value, "it''s");
  assert_int_equal(taint_kind(v->value), spool_quoted_kind(STR("sqlite")));
  assert_true(taint_kind(v->value) >= TAINTED_QUOTED);
  assert_int_equal(taint_kind(v->next->value), TAINTED);
  assert_int_equal(taint_kind(v->next->next->value), spool_quoted_kind(STR("testdb")));
  assert_int_not_equal(taint_kind(v->value), taint_kind(v->next->next->value));
  struct strbuf out = strbuf_new(a);
  spool_write_header_file(&out, &h);
  assert_non_null(strstr(out.p, "\n--(sqlite)aclc 0 5\nit''s\n--aclm 1 1\nx\n--(testdb)aclm 2 1\ny\n"));
  arena_free(a);
}

static void reads_exims_file(void **state) {
  (void)state;
  struct arena *a = arena_new("test");
  struct spool_header_file h;
  assert_null(spool_read_header_file(a, str_c(fixed(a, by_exim)), false, &h));
  assert_string_equal(h.id, "1xVZqc-0005N0-2R");
  assert_string_equal(h.login, "root");
  assert_string_equal(h.sender, "a@b.c");
  assert_int_equal(h.received_sec, 1795462626);
  assert_int_equal(h.received_usec, 757758);
  assert_string_equal(h.host_address, "1.2.3.4");
  assert_true(is_tainted(h.helo_name));
  assert_false(is_tainted(h.ident));
  assert_string_equal(h.vars->name, "0");
  assert_string_equal(h.vars->next->value, "multi\nline  ");
  assert_int_equal(h.rcpt_count, 4);
  assert_int_equal(h.rcpts[1].dsn_flags, 2);
  assert_string_equal(h.rcpts[2].orcpt, "rfc822;q@r");
  assert_int_equal(h.rcpts[2].dsn_flags, 28);
  assert_int_equal(h.rcpts[0].pno, -1);
  assert_string_equal(h.dsn_envid, "foo+20bar");
  assert_int_equal(h.headers->type, 'P');
  assert_int_equal(h.headers->next->next->type, '*');
  arena_free(a);
}

static void writes_it_back_unchanged(void **state) {
  (void)state;
  struct arena *a = arena_new("test");
  struct spool_header_file h;
  const char *text = fixed(a, by_exim);
  assert_null(spool_read_header_file(a, str_c(text), false, &h));
  struct strbuf out = strbuf_new(a);
  spool_write_header_file(&out, &h);
  assert_string_equal(out.p, text);
  arena_free(a);
}

static void every_truncation_is_refused(void **state) {
  (void)state;
  struct arena *a = arena_new("test");
  const char *text = fixed(a, by_exim);
  size_t envelope = (size_t)(strstr(text, "\n\n") + 2 - text);
  for (size_t n = 0; n < strlen(text); n++) {
    struct arena_mark m = arena_mark(a);
    struct spool_header_file h;
    const char *why = spool_read_header_file(a, str_n(text, n), false, &h);
    /* a cut exactly between header lines is a shorter, well-formed file */
    bool between = n == envelope || (n > envelope && text[n - 1] == '\n' && ch_isdigit(text[n]));
    if (between)
      assert_null(why);
    else
      assert_non_null(why);
    arena_release(a, m);
  }
  arena_free(a);
}

static void corruptions_are_refused(void **state) {
  (void)state;
  static const struct {
    const char *from, *to;
  } rows[] = {
    {"1xVZqc-0005N0-2R-H", "1xVZqc-0005N0-2R-D"}, {"root 0 0", "root"}, {"root 0 0", " 0 0"}, {"<a@b.c>", "a@b.c"},
    {"1795462626 0", "17954626x6 0"}, {"1795462626 0", "1795462626 -1"}, {".757758", ".75775"}, {"[1.2.3.4]:0", "1.2.3.4"},
    {"[1.2.3.4]:0", "[1.2.3.4]:65536"}, {"-aclc 0 5", "-aclc 0 6"}, {"-aclc 0 5", "-aclc 0 99999999999999999999"},
    {"-dsn_ret 1", "-dsn_ret 99999999999"}, {"\nXX\n", "\nYX\n"}, {"\nXX\n", "\nYY a\n"}, {"\nXX\n", "\nNN\n"}, {"\n4\n", "\n5\n"},
    {"\n4\n", "\n3\n"}, {"\n4\n", "\n-1\n"}, {"\n4\n", "\n4000000000\n"}, {"0,2  0,-1#3", "7,2  0,-1#3"},
    {"0,2  0,-1#3", "0,2  0,-2#3"}, {"0,2  0,-1#3", "#3"}, {"\nu@test.ex\n", "\n\n"},
  };
  struct arena *a = arena_new("test");
  const char *text = fixed(a, by_exim);
  for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
    const char *at = strstr(text, rows[i].from);
    assert_non_null(at);
    char *bad = arena_printf(a, "%.*s%s%s", (int)(at - text), text, rows[i].to, at + strlen(rows[i].from));
    struct spool_header_file h;
    if (!spool_read_header_file(a, str_c(bad), false, &h)) fail_msg("accepted: %s -> %s", rows[i].from, rows[i].to);
  }
  arena_free(a);
}

static void unknown_lines_survive(void **state) {
  (void)state;
  struct arena *a = arena_new("test");
  struct spool_header_file h;
  const char *text = "1xVZqc-0005N0-2R-H\nroot 0 0\n<>\n1 0\n-received_time_usec .000001\n-body_linecount 0\n"
                     "-max_received_linelength 0\n-from_the_future 7 x\nNY b@x\nNN c@x\n1\nb@x\n\n";
  assert_null(spool_read_header_file(a, str_c(text), false, &h));
  assert_string_equal(h.unknown_lines[0], "-from_the_future 7 x");
  assert_non_null(tree_find(&h.nonrecipients, "c@x"));
  struct strbuf out = strbuf_new(a);
  spool_write_header_file(&out, &h);
  assert_string_equal(out.p, text);
  arena_free(a);
}

static void count_line(void *ctx, const char *address) {
  assert_string_equal(address, *(int *)ctx == 0 ? "a@x" : "/tmp/x:b@y");
  ++*(int *)ctx;
}

static void journal_ignores_a_torn_line(void **state) {
  (void)state;
  struct arena *a = arena_new("test");
  int n = 0;
  spool_read_journal(a, STR("a@x\n\n/tmp/x:b@y\nc@"), count_line, &n);
  assert_int_equal(n, 2);
  arena_free(a);
}

int main(void) {
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(reads_exims_file), cmocka_unit_test(keeps_quoting),           cmocka_unit_test(writes_it_back_unchanged),
    cmocka_unit_test(every_truncation_is_refused), cmocka_unit_test(corruptions_are_refused),
    cmocka_unit_test(unknown_lines_survive),      cmocka_unit_test(journal_ignores_a_torn_line),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
