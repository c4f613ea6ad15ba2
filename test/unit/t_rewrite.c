/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Address rewriting: reading of rules, the flags, header lines, limits.  Expected results: Debian's Exim 4.96 with -brw, and manual ch. 31. */
#include "unit.h"

#include "message.h"
#include "policy/rewrite.h"

static struct config cfg;
static struct arena *arena;

static int setup(void **state) {
  (void)state;
  arena = arena_new("t_rewrite");
  cfg.arena = arena;
  cfg.primary_hostname = "me.example";
  cfg.qualify_domain = cfg.qualify_recipient = "q.example";
  cfg.o.headers_charset = "UTF-8";
  return 0;
}

static int teardown(void **state) {
  (void)state;
  arena_free(arena);
  return 0;
}

/* Rules, one a line of the text. */
static const struct rewrite_rule *rules_of(const char *text) {
  struct rewrite_rule *first = NULL, **end = &first;
  int number = 1;
  for (struct str rest = str_c(text); rest.n; number++) {
    struct rewrite_rule *r = ARENA_NEW(arena, struct rewrite_rule);
    const char *error = rewrite_parse_rule(arena, str_dup(arena, str_cut(&rest, '\n')), (struct conf_pos){0}, number, r);
    assert_null(error);
    *end = r;
    end = &r->next;
  }
  return first;
}

static const char *address(const char *rules, unsigned flag, const char *from) {
  struct expand_ctx x = expand_ctx_new(arena, &cfg);
  return rewrite_address(&x, from, flag, rules_of(rules));
}

static const struct {
  const char *rules;
  unsigned flag;
  const char *from, *to;
} rows[] = {
  {"*@old.ex $1@new.ex", REWRITE_FROM, "joe@old.ex", "joe@new.ex"},
  {"*@old.ex $1@new.ex", REWRITE_FROM, "joe@other.ex", "joe@other.ex"},
  {"*@old.ex $1@new.ex", REWRITE_ENVTO, "joe@old.ex", "joe@new.ex"},
  {"*@OLD.ex ${lc:$1}@new.ex", REWRITE_FROM, "Joe@Old.EX", "joe@new.ex"},
  {"*@*.old.ex $1@$2.new.ex", REWRITE_TO, "joe@a.old.ex", "joe@a.new.ex"},
  {"*@old.ex $1@new.ex f", REWRITE_TO, "joe@old.ex", "joe@old.ex"},
  {"*@old.ex $1@new.ex f", REWRITE_FROM, "joe@old.ex", "joe@new.ex"},
  {"*@old.ex $1@new.ex h", REWRITE_CC, "joe@old.ex", "joe@new.ex"},
  {"*@old.ex $1@new.ex h", REWRITE_ENVFROM, "joe@old.ex", "joe@old.ex"},
  {"*@old.ex $1@new.ex E", REWRITE_ENVFROM, "joe@old.ex", "joe@new.ex"},
  {"^(?i)x(.*) $1@new.ex S", REWRITE_SMTP, "Xjoe", "joe@new.ex"},
  {"^x(.*)@ $1@new.ex S", REWRITE_SMTP, "Xjoe@old.ex", "Xjoe@old.ex"},
  {"^x(.*) <$1@new.ex> S", REWRITE_SMTP, "xjoe", "joe@new.ex"},
  {"^x(.*)@ $1 S", REWRITE_SMTP, "xjoe@old.ex", "xjoe@old.ex"},
  {"*@old.ex $1@new.ex T", REWRITE_ENVFROM, "joe@old.ex", "joe@old.ex"},
  {"*@a.ex $1@b.ex\n*@b.ex $1@c.ex", REWRITE_FROM, "x@a.ex", "x@c.ex"},
  {"*@a.ex $1@b.ex q\n*@b.ex $1@c.ex", REWRITE_FROM, "x@a.ex", "x@b.ex"},
  {"*@a.ex mail Q", REWRITE_FROM, "x@a.ex", "mail@q.example"},
  {"*@a.ex * q\n*@* y@b.ex", REWRITE_FROM, "x@a.ex", "x@a.ex"},
  {"*@a.ex \"${if eq{1}{2}{x}fail}\"\n*@* y@b.ex", REWRITE_FROM, "x@a.ex", "y@b.ex"},
  {"*@*.a.ex $1@$2.ex R", REWRITE_FROM, "x@b.a.a.ex", "x@b.ex"},
  {"\\N^(.*)@a(.*)$\\N $1@$2 R", REWRITE_FROM, "x@aaab.ex", "x@b.ex"},
  {"\\N^(.*)@(.*)$\\N $1@a$2 R", REWRITE_FROM, "x@b.ex", "x@aaaaaaaaaaab.ex"}, /* the rule is tried again ten times */
  {"\\N^(.+)\\.(.+)@r\\.ex$\\N $2.$1@r.ex", REWRITE_FROM, "a.b@r.ex", "b.a@r.ex"},
  {"*@a.ex $1", REWRITE_FROM, "x@a.ex", "x@a.ex"},
  {"*@a.ex \"$1 $1@b.ex\"", REWRITE_FROM, "x@a.ex", "x@a.ex"},
  {"*@a.ex <$1@b.ex>", REWRITE_FROM, "x@a.ex", "x@b.ex"},
  {"*@a.ex \"N <$1@b.ex>\" w", REWRITE_FROM, "x@a.ex", "x@b.ex"},
  {"a@b c@d\nc@d a@b", REWRITE_FROM, "a@b", "a@b"},
  {"*@a.ex $1@${domain:$0}.x", REWRITE_FROM, "x@a.ex", "x@a.ex.x"},
};

static void test_addresses(void **state) {
  (void)state;
  for (size_t i = 0; i < ARRAY_SIZE(rows); i++) CHECK_STR(rows[i].rules, address(rows[i].rules, rows[i].flag, rows[i].from), rows[i].to);
}

static const struct {
  const char *rules, *header, *want; /* want NULL: unchanged */
} headers[] = {
  {"*@a.ex $1@b.ex", "From: x@a.ex\n", "From: x@b.ex\n"},
  {"*@a.ex $1@b.ex", "From: The X <x@a.ex> (say)\n", "From: The X <x@b.ex> (say)\n"},
  {"*@a.ex $1@b.ex", "To: p@c.ex,\n  q@a.ex,\tr@a.ex\n", "To: p@c.ex,\n  q@b.ex,\tr@b.ex\n"},
  {"*@a.ex $1@b.ex", "To: \"x, y\" <q@a.ex>, (a, b) r@c.ex\n", "To: \"x, y\" <q@b.ex>, (a, b) r@c.ex\n"},
  {"*@a.ex $1@b.ex", "Subject: x@a.ex\n", NULL},
  {"*@a.ex $1@b.ex c", "To: x@a.ex\n", NULL},
  {"*@a.ex $1@b.ex c", "Cc: x@a.ex\n", "Cc: x@b.ex\n"},
  {"*@a.ex $1@b.ex", "To: x@@a.ex, <<, y@c.ex\n", NULL},
  {"*@a.ex $1@b.ex", "To:\n", NULL},
  {"*@a.ex $1-long@b.ex", "To: first@c.ex, a@a.ex, second@a.ex, c@c.ex\n", "To: first@c.ex, a-long@b.ex, second-long@b.ex, \n\tc@c.ex\n"},
  {"*@a.ex $1@b.ex", "To: first@c.ex, abc@a.ex, second@a.ex, third@a.ex, c@c.ex\n", "To: first@c.ex, abc@b.ex, second@b.ex, third@b.ex, c@c.ex\n"},
  {"*@a.ex $1-long@b.ex", "To: first@c.ex, a@a.ex, second@a.ex,\n c@c.ex\n", "To: first@c.ex, a-long@b.ex, second-long@b.ex,\n c@c.ex\n"},
  {"*@a.ex \"New N. <$1@b.ex>\" w", "From: Old <x@a.ex>\n", "From: \"New N.\" <x@b.ex>\n"},
};

static void test_headers(void **state) {
  (void)state;
  for (size_t i = 0; i < ARRAY_SIZE(headers); i++) {
    struct expand_ctx x = expand_ctx_new(arena, &cfg);
    struct header_line h = {.text = headers[i].header, .n = strlen(headers[i].header), .type = ' '};
    const char *got = rewrite_header(&x, &h, rules_of(headers[i].rules));
    CHECK_STR(headers[i].header, got ? got : "(unchanged)", headers[i].want ? headers[i].want : "(unchanged)");
  }
}

static const struct {
  const char *line, *error; /* error NULL: a rule */
} lines[] = {
  {"*@a.ex b", NULL},
  {"\"*@a.ex\" \"b c\" hq", NULL},
  {"*@a.ex b h q", NULL},
  {"^x b S", NULL},
  {"*@a.ex", "missing rewrite replacement string"},
  {"", "missing rewrite replacement string"},
  {"*@a.ex b c d z", "unknown rewrite flag character 'd' (could be missing quotes round replacement item)"},
  {"x@a.ex b S", "rewrite rule has the S flag but is not a regular expression"},
};

static void test_lines(void **state) {
  (void)state;
  for (size_t i = 0; i < ARRAY_SIZE(lines); i++) {
    struct rewrite_rule r;
    const char *error = rewrite_parse_rule(arena, lines[i].line, (struct conf_pos){0}, 0, &r);
    CHECK_STR(lines[i].line, error ? error : "", lines[i].error ? lines[i].error : "");
  }
}

/* 20,000 addresses in one line, and an address that every rule makes longer. */
static void test_limits(void **state) {
  (void)state;
  enum { N = 20000 };
  struct strbuf b = strbuf_new(arena);
  strbuf_adds(&b, "To: ");
  for (int i = 0; i < N; i++) strbuf_adds(&b, i ? ", x@a.ex" : "x@a.ex");
  strbuf_addc(&b, '\n');
  struct expand_ctx x = expand_ctx_new(arena, &cfg);
  struct header_line h = {.text = b.p, .n = b.n, .type = ' '};
  const char *got = rewrite_header(&x, &h, rules_of("*@a.ex $1@bb.ex"));
  assert_non_null(got);
  assert_int_equal(strlen(got), b.n + N + 2 * (N / 5 - 1)); /* five of them fit on a line */
  b = strbuf_new(arena);
  for (int i = 0; i < 100; i++) strbuf_adds(&b, "*@* $1@a.$2\n");
  got = address(b.p, REWRITE_TO, "x@b.ex");
  assert_int_equal(strlen(got), strlen("x@b.ex") + 200);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_addresses), cmocka_unit_test(test_headers), cmocka_unit_test(test_lines),
                                      cmocka_unit_test(test_limits)};
  return cmocka_run_group_tests(tests, setup, teardown);
}
