/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Line ends, stuffing and header changes of outgoing messages.  Expected texts: manual ch. 24 and RFC 5321 section 4.5.2. */
#include <errno.h>
#include <stdio.h>
#include <unistd.h>

#include "transport.h"
#include "unit.h"

struct fixture {
  struct arena *a;
  struct config cfg;
  struct transport t;
  struct message *m;
  struct delivery d;
  struct expand_ctx x;
  struct strbuf out;
  size_t largest;
};

static int collect(void *ctx, const void *p, size_t n) {
  struct fixture *f = ctx;
  strbuf_add(&f->out, p, n);
  f->largest = MAX(f->largest, n);
  return 0;
}

static void start(struct fixture *f, const char *headers, const char *body, size_t body_n) {
  memset(f, 0, sizeof *f);
  f->a = arena_new("write");
  f->cfg.primary_hostname = "me.test";
  f->m = message_new(&f->cfg);
  f->m->sender = "s@me.test";
  struct str rest = str_c(headers);
  while (rest.n) { /* one header per line unless continued */
    size_t n = 0;
    do n += str_index(str_n(rest.p + n, rest.n - n), '\n') + 1;
    while (n < rest.n && ch_isblank(rest.p[n]));
    message_add_header(f->m, ' ', arena_strndup(f->a, rest.p, n), n);
    rest = str_n(rest.p + n, rest.n - n);
  }
  FILE *file = tmpfile();
  assert_non_null(file);
  fwrite("id\n", 1, 3, file);
  fwrite(body, 1, body_n, file);
  fflush(file);
  f->m->data_fd = dup(fileno(file));
  f->m->data_start = 3;
  fclose(file);
  f->t.name = "t1";
  f->x = expand_ctx_new(f->a, &f->cfg);
  f->x.msg = f->m;
  f->d = (struct delivery){.cfg = &f->cfg, .arena = f->a, .msg = f->m, .transport = &f->t, .x = &f->x, .return_path = "s@me.test"};
  f->d.addrs = address_new(f->a, "u@x.test");
  f->x.addr = f->d.addrs;
  f->out = strbuf_new(f->a);
}

static void stop(struct fixture *f) {
  message_free(f->m);
  arena_free(f->a);
}

static void check(const char *name, const char *headers, const char *body, const struct write_opts *o, const char *want) {
  struct fixture f;
  int64_t bytes = -1;
  start(&f, headers, body, strlen(body));
  CHECK_INT(name, transport_write_message(&f.d, o, collect, &f, &bytes), 0);
  CHECK_STR(name, f.out.p, want);
  CHECK_INT(name, bytes, (int64_t)strlen(want));
  stop(&f);
}

static void test_forms(void **state) {
  (void)state;
  const struct write_opts plain = {0}, smtp = {.crlf = true, .dot_stuff = true, .end_dot = true}, bdat = {.crlf = true},
                          mbox = {.check_string = "From ", .escape_string = ">From "};
  const struct {
    const char *name, *headers, *body;
    const struct write_opts *o;
    const char *want;
  } rows[] = {
    {"plain", "A: b\n", "x\n", &plain, "A: b\n\nx\n"},
    {"no final newline", "A: b\n", "x", &plain, "A: b\n\nx\n"},
    {"empty body", "A: b\n", "", &smtp, "A: b\r\n\r\n.\r\n"},
    {"no headers", "", "x\n", &smtp, "\r\nx\r\n.\r\n"},
    {"dots", "A: b\n", ".\n..\n.x\nx.\n", &smtp, "A: b\r\n\r\n..\r\n...\r\n..x\r\nx.\r\n.\r\n"},
    {"dot last, no newline", "A: b\n", ".", &smtp, "A: b\r\n\r\n..\r\n.\r\n"},
    {"folded header", "A: b\n .c\n", "x\n", &smtp, "A: b\r\n .c\r\n\r\nx\r\n.\r\n"},
    {"stray CR", "A: b\n", "a\rb\n\r.\n\r\r\n", &smtp, "A: b\r\n\r\na b\r\n .\r\n \r\n.\r\n"},
    {"CRLF in the spool", "A: b\n", "a\r\n.\r\n", &smtp, "A: b\r\n\r\na\r\n..\r\n.\r\n"},
    {"CR at the end", "A: b\n", "a\r", &smtp, "A: b\r\n\r\na \r\n.\r\n"},
    {"CR kept in files", "A: b\n", "a\rb\r\n", &plain, "A: b\n\na\rb\r\n"},
    {"chunk", "A: b\n", ".\nx", &bdat, "A: b\r\n\r\n.\r\nx\r\n"},
    {"mbox", "A: b\nFrom me\n", "From x\n From y\nFrom\nFrom ", &mbox, "A: b\nFrom me\n\n>From x\n From y\nFrom\n>From \n"},
  };
  for (size_t i = 0; i < ARRAY_SIZE(rows); i++) check(rows[i].name, rows[i].headers, rows[i].body, rows[i].o, rows[i].want);
}

/* From a -D file in wire form comes what comes from one in LF form. */
static void test_wire_form(void **state) {
  (void)state;
  const struct write_opts forms[] = {
    {0}, {.crlf = true, .dot_stuff = true, .end_dot = true}, {.crlf = true}, {.check_string = "From ", .escape_string = ">From "},
    {.check_string = ".", .escape_string = ".."}, {.body_only = true}, {.headers_only = true}, {.filter = "/bin/cat", .filter_timeout = 20},
    {.crlf = true, .dot_stuff = true, .end_dot = true, .filter = "/bin/cat", .filter_timeout = 20}};
  static const char *const bodies[] = {"", "x\n", "\n\n", ".\n..\n.x\nx.\n", "From x\nFrom \n From y\n"};
  for (size_t i = 0; i < ARRAY_SIZE(bodies); i++)
    for (size_t k = 0; k < ARRAY_SIZE(forms); k++) {
      struct fixture lf, wire;
      struct arena *a = arena_new("wire");
      struct strbuf crlf = strbuf_new(a);
      for (const char *p = bodies[i]; *p; p++)
        if (*p == '\n') strbuf_adds(&crlf, "\r\n");
        else strbuf_addc(&crlf, *p);
      start(&lf, "A: b\n", bodies[i], strlen(bodies[i]));
      start(&wire, "A: b\n", crlf.n ? crlf.p : "", crlf.n);
      wire.m->spool_wireformat = true;
      assert_int_equal(transport_write_message(&lf.d, &forms[k], collect, &lf, NULL), 0);
      assert_int_equal(transport_write_message(&wire.d, &forms[k], collect, &wire, NULL), 0);
      CHECK_STR(bodies[i], wire.out.n ? wire.out.p : "", lf.out.n ? lf.out.p : "");
      stop(&lf);
      stop(&wire);
      arena_free(a);
    }
}

static void test_parts(void **state) {
  (void)state;
  check("body only", "A: b\n", "x\n", &(struct write_opts){.body_only = true}, "x\n");
  check("headers only", "A: b\n", "x\n", &(struct write_opts){.headers_only = true}, "A: b\n\n");
  check("trace", "A: b\n", "x\n", &(struct write_opts){.add_return_path = true, .add_envelope_to = true},
        "Return-path: <s@me.test>\nEnvelope-to: u@x.test\nA: b\n\nx\n");
  check("add", "A: b\n", "x\n", &(struct write_opts){.add_headers = "X-One: 1\n\nX-Two: ${uc:two}\n  more"},
        "A: b\nX-One: 1\nX-Two: TWO\n  more\n\nx\n");
  check("added text as written", "A: b\n", "x\n", &(struct write_opts){.add_headers = "X: ${if eq{a}{b}{c}}\n${if eq{a}{b}{c}}\n\\nY: z\\n"},
        "A: b\nX: \n\nY: z\n\nx\n");
  check("forced failure adds nothing", "A: b\n", "x\n", &(struct write_opts){.add_headers = "${if eq{a}{b}{c}fail}"}, "A: b\n\nx\n");
  check("remove", "A: b\nB: c\nX-a: 1\nX-b: 2\n", "x\n", &(struct write_opts){.remove_headers = "a : ${if eq{a}{a}{x-}}*"}, "B: c\n\nx\n");
}

/* What a filter makes of it need not end with a newline: the mark of the end stands on a line of its own all the same. */
static void test_filter_without_newline(void **state) {
  (void)state;
  const char *filter = "/usr/bin/tr -d \\012";
  const struct write_opts plain = {.filter = filter, .filter_timeout = 20}, batch = {.filter = filter, .filter_timeout = 20, .end_dot = true},
                          smtp = {.filter = filter, .filter_timeout = 20, .end_dot = true, .dot_stuff = true, .crlf = true};
  check("file", "A: b\n", "x\n", &plain, "A: bx");
  check("batch SMTP", "A: b\n", "x\n", &batch, "A: bx\n.\n");
  check("SMTP", "A: b\n", "x\n", &smtp, "A: bx\r\n.\r\n");
}

static void test_expansion_error(void **state) {
  (void)state;
  struct fixture f;
  int64_t bytes = -1;
  start(&f, "A: b\n", "x\n", 2);
  assert_int_equal(transport_write_message(&f.d, &(struct write_opts){.add_headers = "X: ${nonsense"}, collect, &f, &bytes), -EPROTO);
  assert_int_equal(bytes, -1);
  assert_int_equal(f.out.n, 0);
  stop(&f);
}

static void test_address_headers(void **state) {
  (void)state;
  struct fixture f;
  start(&f, "A: b\nB: c\n", "x\n", 2);
  struct header_line extra = {.text = "X-Router: 1\n", .n = 12, .type = ' '};
  f.d.addrs->prop.extra_headers = &extra;
  f.d.addrs->prop.remove_headers = "b";
  assert_int_equal(transport_write_message(&f.d, &(struct write_opts){0}, collect, &f, NULL), 0);
  assert_string_equal(f.out.p, "A: b\nX-Router: 1\n\nx\n");
  stop(&f);
}

/* A dot, a CR or a check string on each side of a piece boundary. */
static void test_piece_boundaries(void **state) {
  (void)state;
  enum { PIECE = 16384 };
  static const char *const tails[] = {"\n.x\n", "\r\n.\n", "\rFrom \n", "\nFrom x\n"};
  for (size_t t = 0; t < ARRAY_SIZE(tails); t++)
    for (int shift = -8; shift <= 1; shift++) {
      struct fixture f;
      size_t n = (size_t)(PIECE + shift), tail_n = strlen(tails[t]);
      char *body = malloc(n + tail_n + 1);
      memset(body, 'a', n);
      memcpy(body + n, tails[t], tail_n + 1);
      start(&f, "A: b\n", body, n + tail_n);
      struct write_opts o = {.crlf = true, .dot_stuff = t < 2, .check_string = "From ", .escape_string = ">From "};
      assert_int_equal(transport_write_message(&f.d, &o, collect, &f, NULL), 0);
      static const char *const want[] = {"a\r\n..x\r\n", "a\r\n..\r\n", "a From \r\n", "a\r\n>From x\r\n"};
      size_t want_n = strlen(want[t]);
      assert_true(f.out.n > want_n);
      CHECK_STR("tail", f.out.p + f.out.n - want_n, want[t]);
      assert_true(f.largest <= PIECE);
      stop(&f);
      free(body);
    }
}

/* What arrives, unstuffed, is the body; no CR or LF stands alone. */
static void test_no_bare_line_ends(void **state) {
  (void)state;
  unsigned seed = 7;
  for (int round = 0; round < 200; round++) {
    char body[400];
    size_t n = 0;
    static const char set[] = "\r\n.aF";
    while (n < sizeof body) {
      seed = seed * 1103515245 + 12345;
      body[n++] = set[(seed >> 16) % (sizeof set - 1)];
    }
    struct fixture f;
    start(&f, "A: b\n", body, n);
    assert_int_equal(transport_write_message(&f.d, &(struct write_opts){.crlf = true, .dot_stuff = true, .end_dot = true}, collect, &f, NULL), 0);
    for (size_t i = 0; i < f.out.n; i++) {
      if (f.out.p[i] == '\n') assert_true(i > 0 && f.out.p[i - 1] == '\r');
      if (f.out.p[i] == '\r') assert_true(i + 1 < f.out.n && f.out.p[i + 1] == '\n');
    }
    const char *end = strstr(f.out.p, "\r\n.\r\n");
    assert_ptr_equal(end, f.out.p + f.out.n - 5);
    stop(&f);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(test_forms),           cmocka_unit_test(test_parts),           cmocka_unit_test(test_expansion_error),
    cmocka_unit_test(test_address_headers), cmocka_unit_test(test_piece_boundaries), cmocka_unit_test(test_no_bare_line_ends),
    cmocka_unit_test(test_filter_without_newline), cmocka_unit_test(test_wire_form),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
