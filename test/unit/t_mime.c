/* SPDX-License-Identifier: GPL-2.0-or-later */
/* formats/mime: fields and parameters, boundaries, decoders cut at every byte. */
#include "formats/mime.h"
#include "base/timeutil.h"
#include "unit.h"

static void test_fields(void **state) {
  (void)state;
  static const struct {
    const char *field, *type, *charset, *boundary, *filename;
  } rows[] = {
    {"Content-Type: Text/Plain; charset=US-ASCII\n", "text/plain", "US-ASCII", NULL, NULL},
    {"Content-Type: multipart/mixed;\n\tboundary=\"a b;c\"\n", "multipart/mixed", NULL, "a b;c", NULL},
    {"content-type : text/plain; charset=\n", "text/plain", "", NULL, NULL},
    {"Content-Type: text/html;\n charset=UTF-8;\n name=\"\"\n", "text/html", "UTF-8", NULL, ""},
    {"Content-Type: text/plain; charset=\"utf-8\"\"\n", "text/plain", "utf-8;", NULL, NULL},
    {"Content-Type: text/plain;\n garbage1;\n garbage2=foo;\n garbage3=\"bar\"foo;\n charset=UTF-8;\n garbage4=\";\n", "text/plain", "UTF-8", NULL, NULL},
    {"Content-Type: a/b; name*=''2015%20-%20Pr%C3%A4s.PDF", "a/b", NULL, NULL, "2015 - Pr\303\244s.PDF"},
    {"Content-Type: a/b; filename*1*=\".exe\"; filename*0*=\"example3\"", "a/b", NULL, NULL, "example3.exe"},
    {"Content-Type: a/b; name*0=\"ex%41\"; name*1=\"4\"; name*2*=%2Etxt", "a/b", NULL, NULL, "ex%414.txt"},
    {"Content-Type: a/b; filename=\"=?iso-8859-1?Q?t_=E4?=\"", "a/b", NULL, NULL, "t \303\244"},
    {"Content-Type: a/b; filename*=ISO-8859-1''%74%20%E4", "a/b", NULL, NULL, "t \303\244"},
    {"Content-Type: a/b; filename=\"a\\\"b.exe\"", "a/b", NULL, NULL, "a\"b.exe"},
    {"Content-Type: a/b; filename*100=x; filename*=utf-8'", "a/b", NULL, NULL, "utf-8'"},
    {"Content-Type: a/b (x); name = c.d (y)", "a/b", NULL, NULL, "c.d (y)"},
    {"Subject: a/b; name=c", NULL, NULL, NULL, NULL},
    {"Content-Type", NULL, NULL, NULL, NULL},
  };
  for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
    struct arena *a = arena_new("test");
    struct mime_fields f = {0};
    mime_take_field(a, &f, str_c(rows[i].field), "UTF-8");
    const char *got[] = {f.type, f.charset, f.boundary, f.filename}, *want[] = {rows[i].type, rows[i].charset, rows[i].boundary, rows[i].filename};
    for (size_t k = 0; k < 4; k++) {
      if (!want[k]) assert_null(got[k]);
      else assert_string_equal(got[k] ? got[k] : "(none)", want[k]);
    }
    if (f.type) assert_true(is_tainted(f.type));
    arena_free(a);
  }
}

static void test_first_field_counts(void **state) {
  (void)state;
  struct arena *a = arena_new("test");
  struct mime_fields f = {0};
  mime_take_field(a, &f, STR("Content-Type: text/plain; name=one"), NULL);
  mime_take_field(a, &f, STR("Content-Type: text/html; name=two"), NULL);
  mime_take_field(a, &f, STR("Content-Disposition: Attachment; filename=three.exe"), NULL);
  mime_take_field(a, &f, STR("Content-ID: <Abc@Def>"), NULL);
  mime_take_field(a, &f, STR("Content-Transfer-Encoding: BASE64"), NULL);
  assert_string_equal(f.type, "text/plain");
  assert_string_equal(f.filename, "three.exe");
  assert_string_equal(f.disposition, "attachment");
  assert_string_equal(f.id, "<abc@def>");
  assert_int_equal(mime_encoding_of(&f), MIME_BASE64);
  arena_free(a);
}

static void test_boundaries(void **state) {
  (void)state;
  static const struct {
    struct str line;
    enum mime_line want;
  } rows[] = {
    {STR("--abc\n"), MIME_LINE_PART}, {STR("--abc"), MIME_LINE_PART}, {STR("--abc \t\n"), MIME_LINE_PART}, {STR("--abc--\n"), MIME_LINE_CLOSE},
    {STR("--abcd\n"), MIME_LINE_TEXT}, {STR("--ab\n"), MIME_LINE_TEXT}, {STR("-abc\n"), MIME_LINE_TEXT}, {STR(""), MIME_LINE_TEXT}, {STR("--"), MIME_LINE_TEXT},
  };
  for (size_t i = 0; i < ARRAY_SIZE(rows); i++) assert_int_equal(mime_classify_line(rows[i].line, "abc"), rows[i].want);
}

static size_t decode_in_two(enum mime_encoding e, struct str in, size_t cut, char *out, bool *ret_broken) {
  struct mime_decoder d = {.encoding = e};
  size_t n = mime_decode(&d, str_n(in.p, cut), out);
  n += mime_decode(&d, str_n(in.p + cut, in.n - cut), out + n);
  n += mime_decode_end(&d, out + n);
  *ret_broken = d.is_broken;
  return n;
}

static void test_decoders(void **state) {
  (void)state;
  static const struct {
    enum mime_encoding e;
    const char *in, *want;
    bool broken;
  } rows[] = {
    {MIME_BASE64, "QmVpc3BpZWwK\n", "Beispiel\n", false},
    {MIME_BASE64, "aGVs\nbG8=\n", "hello", false},
    {MIME_BASE64, "aGVs!!bG8gd29ybGQ=", "hello world", true},
    {MIME_BASE64, "aGVsb", "hel", true},
    {MIME_BASE64, "aA==aQ==", "hi", false},
    {MIME_QUOTED_PRINTABLE, "a =3D   \nb=40=\nc=  \nd\n", "a =\nb@cd\n", false},
    {MIME_QUOTED_PRINTABLE, "a=zz b=4", "a=zz b=4", true},
    {MIME_QUOTED_PRINTABLE, "a=4\n=", "a=4\n=", true},
    {MIME_QUOTED_PRINTABLE, "x= y", "x=y", true},
    {MIME_QUOTED_PRINTABLE, "x  ", "x  ", false},
    {MIME_IDENTITY, "a=40 \n", "a=40 \n", false},
  };
  for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
    struct str in = str_c(rows[i].in);
    for (size_t cut = 0; cut <= in.n; cut++) {
      char out[256];
      bool broken;
      size_t n = decode_in_two(rows[i].e, in, cut, out, &broken);
      assert_int_equal(n, strlen(rows[i].want));
      assert_memory_equal(out, rows[i].want, n);
      assert_int_equal(broken, rows[i].broken);
    }
  }
}

/* LIM-5: a hundred thousand parameters, linear. */
static void test_many_parameters(void **state) {
  (void)state;
  struct arena *a = arena_new("test");
  struct strbuf b = strbuf_new(a);
  strbuf_adds(&b, "Content-Type: a/b");
  for (int i = 0; i < 100000; i++) strbuf_addf(&b, ";n%d=v", i);
  strbuf_adds(&b, ";name=late.exe");
  struct mime_fields f = {0};
  int64_t began = deadline_in_ms(0);
  mime_take_field(a, &f, strbuf_str(&b), NULL);
  assert_true(deadline_in_ms(0) - began < 2000);
  assert_string_equal(f.type, "a/b");
  assert_int_equal(f.anomaly_level, 1); /* cut at the limit, and said so */
  assert_null(f.filename);
  arena_free(a);
}

int main(void) {
  static const struct CMUnitTest tests[] = {
    cmocka_unit_test(test_fields), cmocka_unit_test(test_first_field_counts), cmocka_unit_test(test_boundaries),
    cmocka_unit_test(test_decoders), cmocka_unit_test(test_many_parameters),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
