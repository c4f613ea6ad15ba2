/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Reading configurations: snippets with the value they give or the error they cause.
 * Expected texts: manual ch. 6, 10, 32 and Debian's binary on the same snippets. */
#include "unit.h"

#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "policy/readconf.h"
#include "router.h"

static char dir[] = "/tmp/t_readconf.XXXXXX";

static const char *write_file(struct arena *a, const char *name, const char *text) {
  const char *path = arena_printf(a, "%s/%s", dir, name);
  FILE *f = fopen(path, "w");
  assert_non_null(f);
  fputs(text, f);
  fclose(f);
  return path;
}

/* Reading with the error text moved to the test's arena and the rest of a failed attempt freed. */
static struct config *read_with(struct arena *a, struct readconf_opts *o, const char **ret_error) {
  struct config *partial = NULL;
  *ret_error = NULL;
  o->ret_partial = &partial;
  struct config *c = readconf_read(o, ret_error);
  if (c) return c;
  *ret_error = arena_strdup(a, *ret_error);
  arena_free(partial->arena);
  return NULL;
}

static struct config *read_text(struct arena *a, const char *text, const char **ret_error) {
  struct readconf_opts o = {.files = write_file(a, "conf", text), .keep_lines = true};
  return read_with(a, &o, ret_error);
}

/* "FILE" stands for the path in expected texts. */
static const char *expect(struct arena *a, const char *want) {
  const char *at = strstr(want, "FILE");
  return at ? arena_printf(a, "%.*s%s/conf%s", (int)(at - want), want, dir, at + 4) : want;
}

static void test_errors(void **state) {
  (void)state;
#define AT(n, text) "Exim configuration error in line " n " of FILE:\n  " text
#define PLAIN(text) "Exim configuration error:\n  " text
  static const struct {
    const char *conf, *want;
  } rows[] = {
      {"\nfoo = bar\n", AT("2", "main option \"foo\" unknown")},
      {"local_interfaces\n", AT("1", "unexpected end of line (data missing) after local_interfaces")},
      {"qualify_domain foo\n", AT("1", "missing \"=\" after qualify_domain")},
      {"no_local_interfaces = 1\n", AT("1", "negation prefix applied to a non-boolean option")},
      {"no_syslog_pid = true\n", AT("1", "extra characters follow boolean option no_syslog_pid")},
      {"syslog_pid true\n", AT("1", "extra characters follow boolean option syslog_pid")},
      {"qualify_domain = a\nqualify_domain = b\n", AT("2", "\"qualify_domain\" option set for the second time")},
      {"return_size_limit = 1\nbounce_return_size_limit = 1\nbounce_return_size_limit = 1\n",
       AT("3", "\"bounce_return_size_limit\" option set for the second time")},
      {"= foo\n", AT("1", "option setting expected: = foo")},
      {"end\n", AT("1", "main option \"end\" unknown")},
      {"hide\n", AT("1", "main option \"\" unknown")},
      {"domainlist a\n", AT("1", "missing '=' after \"a\"")},
      {"domainlist\n", AT("1", "unrecognized configuration line")},
      {"domainlist_foo a = b\n", AT("1", "unrecognized configuration line")},
      {"domainlist a = b\ndomainlist a = c\n", AT("2", "duplicate name \"a\" for a named domain list")},
      {"localpartlist a = b\nlocalpartlist a = c\n", AT("2", "duplicate name \"a\" for a named local part list")},
      {"domainlist a = \"b c\" : d\n", AT("1", "extra characters follow string value for a")},
      {"begin foo\n", AT("1", "\"foo\" is not a known configuration section name")},
      {"begin routers x\n", AT("1", "\"routers x\" is not a known configuration section name")},
      {"begin routers\nbegin routers\n", AT("2", "\"routers\" section is repeated in the configuration file")},
      {"begin local_scan\nfoo=bar\n",
       AT("1", "local_scan() options not supported: (LOCAL_SCAN_HAS_OPTIONS not defined in Local/Makefile)")},
      {"begin routers\n driver = redirect\n", AT("2", "router name missing")},
      {"begin routers\n r1: driver = redirect\n", AT("2", "extra characters follow driver name r1")},
      {"begin routers\n r1:\n driver = foo\n", AT("3", "router r1: cannot find router driver \"foo\"")},
      {"begin routers\n r1:\n verify\n", PLAIN("no driver defined for router \"r1\"")},
      {"begin routers\n r1:\n foo = foo\n",
       AT("3", "option \"foo\" unknown (\"driver\" must be specified before any private options)")},
      {"begin routers\n r1:\n driver = accept\n foo = foo\n", AT("4", "option \"foo\" unknown")},
      {"begin transports\n t-1:\n", AT("2", "transport name missing")},
      {"begin authenticators\n foo\n", AT("2", "authenticator name missing")},
      {"begin retry\n a\n", AT("2", "missing error type in retry rule")},
      {"begin retry\n * * X,1h,1h\n", AT("2", "unknown retry rule letter")},
      {"begin retry\n * foo F,1h,1h\n", AT("2", "unknown or malformed retry error \"foo\"")},
      {"begin retry\n * timeout_q F,1h,1h\n", AT("2", "\"A\", \"MX\", or \"connect\" expected after \"timeout\"")},
      {"begin retry\n * refused_q F,1h,1h\n", AT("2", "A or MX expected after \"refused\"")},
      {"begin retry\n * * F,1h\n", AT("2", "comma expected")},
      {"begin retry\n * * F,1h,x\n", AT("2", "bad parameters for retry rule")},
      {"begin retry\n * * G,1h,1h,0\n", AT("2", "bad parameters for retry rule")},
      {"begin retry\n * * F,1h,1h x\n", AT("2", "semicolon expected")},
      {"begin retry\n * quota_x F,1h,1h\n", AT("2", "bad time value")},
      {"begin retry\n * rcpt_4xd F,1h,1h\n",
       AT("2", "rcpt_4 must be followed by xx, dx, or dd, where x is literal and d is any digit")},
      {"begin acl\nfoo\n", AT("2", "missing or malformed ACL name")},
      {"begin acl\na:\n accept\na:\n", AT("4", "there are two ACLs called \"a\"")},
      {"begin acl\na:\n xx\n", AT("3", "error in ACL: unknown ACL verb \"xx\" in \"xx\"")},
      {".include /nonexist\n", AT("1", "failed to open included configuration file /nonexist")},
      {".include_if_exists x\n", AT("1", ".include specifies a non-absolute path \"x\"")},
      {".ifdef A\n", AT("1", "Unexpected end of configuration file: .endif missing")},
      {".endif\n", AT("1", ".endif without matching .ifdef")},
      {".else\n", AT("1", ".else without matching .ifdef")},
      {".foo\n", AT("1", "option setting expected: .foo")},
      {"AB = 1\nABC = 2\n",
       PLAIN("\"ABC\" cannot be defined as a macro because previously defined macro \"AB\" is a substring")},
      {"AB = 1\nAB = 2\n", PLAIN("macro \"AB\" is already defined (use \"==\" if you want to redefine it)")},
      {"AB == 1\n", PLAIN("can't redefine an undefined macro \"AB\"")},
      {"A+B = 1\n", AT("1", "malformed macro definition")},
      {"FOO\n", AT("1", "malformed macro definition")},
      {"log_selector = +foo\n", PLAIN("unknown log_selector setting: +foo")},
      {"log_selector = foo\n", PLAIN("malformed log_selector setting: + or - expected but found \"foo\"")},
      {"smtp_accept_max=0\nsmtp_accept_queue=10\n",
       PLAIN("smtp_accept_max must be set if smtp_accept_queue or smtp_accept_max_per_host is set")},
      {"log_file_path=/x/%s/%s\n", "log_file_path \"/x/%s/%s\" contains unexpected \"%\" character"},
      {"qualify_domain=a\n\xef\xbb\xbf\n", AT("2", "found unexpected BOM (Byte Order Mark)")},
      {"dcc_direct_add_header\n", AT("1", "option \"dcc_direct_add_header\" is not supported by this build")},
  };
  for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
    struct arena *a = arena_new("t");
    const char *error;
    struct config *c = read_text(a, rows[i].conf, &error);
    if (c) fail_msg("no error for %s", rows[i].conf);
    CHECK_STR(rows[i].conf, error, expect(a, rows[i].want));
    arena_free(a);
  }
}

static void test_values(void **state) {
  (void)state;
  static const struct {
    const char *conf, *want; /* of qualify_domain */
  } rows[] = {
      {"qualify_domain=a\\\n# c\n   b\n", "ab"},
      {"return_size_limit = 1K\nbounce_return_size_limit = 2K\nqualify_domain = old.name\n", "old.name"},
      {"qualify_domain=a  \\  \n   b  \n", "a  b"},
      {"qualify_domain=a\\\n.ifdef X\nb\\\n.else\nc\\\n.endif\nd\n", "acd"},
      {"qualify_domain=a # no comment\n", "a # no comment"},
      {"AB=1\n.ifdef XABX\nqualify_domain=a\n.endif\n", "a"},
      {"AB=1\nAB==AB2\nqualify_domain=AB.c\n", "12.c"},
      {"A=1\nB=A2\nqualify_domain=B\n", "12"},
      {"B=A2\nA=1\nqualify_domain=B\n", "12"},
      {"ABCD_XYZ = x\nABCD = y\nqualify_domain=ABCD_XYZ.ABCD\n", "x.y"},
      {"  FOO = a b\n   qualify_domain=FOO\n", "a b"},
      {"FOO = a \\\n  b\nqualify_domain=FOO\n", "a b"},
      {"FOO= \"a b\"\nqualify_domain=FOO\n", "a b"},
      {"F_oo9=a\nqualify_domain=xF_oo9x\n", "xax"},
      {"EMPTY =\nEMPTY\nqualify_domain=a\n", "a"},
      {"COM = # text\nqualify_domain=a\nCOM\n", "a"},
      {"qualify_domain=_HAVE_IPV6x\n", "yx"},
      {"qualify_domain=_ACL_COND_HOSTS._ACL_MOD_CONTROL._HAVE_LOOKUP_LSEARCH._HAVE_TRANSPORT_APPEND_MAILDIR\n", "y.y.y.y"},
      {".ifdef _ACL_COND_DCC\nqualify_domain=has\n.else\nqualify_domain=hasnot\n.endif\n", "hasnot"}, /* known, not built */
      {".ifdef A\n.else\n.endif trailing text\nqualify_domain=a\n", "a"},
      {".ifdef A\nqualify_domain=x\n.elifdef B\nqualify_domain=y\n.elifndef C\nqualify_domain=z\n.else\nqualify_domain=q\n.endif\n", "z"},
      {"A=1\n.ifdef A\nqualify_domain=x\n.elifdef A\nqualify_domain=y\n.else\nqualify_domain=q\n.endif\n", "x"},
      {".ifdef NO\n.ifdef NOR\nqualify_domain=x\n.else\nqualify_domain=y\n.endif\n.else\nqualify_domain=z\n.endif\n", "z"},
      {".include_if_exists /nonexist/file\nqualify_domain=a\n", "a"},
      {"primary_hostname=host.test.ex\n", "host.test.ex"},
      {"qualify_domain = \"a\\\"b\\\\c\"\n", "a\"b\\c"},
      {"qualify_domain = a\\b\n", "a\\b"},
  };
  for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
    struct arena *a = arena_new("t");
    const char *error;
    struct config *c = read_text(a, rows[i].conf, &error);
    if (!c) fail_msg("%s: %s", rows[i].conf, error);
    CHECK_STR(rows[i].conf, c->qualify_domain, rows[i].want);
    arena_free(c->arena);
    arena_free(a);
  }
}

static void test_include_and_lists(void **state) {
  (void)state;
  struct arena *a = arena_new("t");
  const char *error;
  write_file(a, "part", "b \\\n  : MAC\n");
  struct config *c = read_text(a, "MAC = m\nprimary_hostname=h.ex\ndomainlist_cache d = a : \\\n  .include part\nhide hostlist h = \"x : y\"\n", &error);
  assert_non_null(c);
  assert_string_equal(config_named_list(c, LIST_DOMAIN, "d")->text, "a : b : m");
  assert_string_equal(config_named_list(c, LIST_HOST, "h")->text, "x : y");
  assert_true(config_named_list(c, LIST_HOST, "h")->hide);
  assert_null(config_named_list(c, LIST_ADDRESS, "d"));
  assert_string_equal(c->qualify_recipient, "h.ex");
  assert_false(is_tainted(c->qualify_domain));
  arena_free(c->arena);
  arena_free(a);
}

/* Opening a FIFO would wait for a writer; /dev/null is an empty file. */
static void test_include_of_what_is_no_file(void **state) {
  (void)state;
  struct arena *a = arena_new("t");
  const char *error, *fifo = arena_printf(a, "%s/fifo", dir);
  assert_int_equal(mkfifo(fifo, 0600), 0);
  assert_null(read_text(a, arena_printf(a, "primary_hostname=h.ex\n.include %s\n", fifo), &error));
  assert_string_equal(error, expect(a, arena_printf(a, AT("2", "included configuration file %s is not a regular file"), fifo)));
  assert_null(read_text(a, arena_printf(a, ".include_if_exists %s\n", fifo), &error));
  assert_non_null(strstr(error, "is not a regular file"));
  assert_int_equal(unlink(fifo), 0);
  struct config *c = read_text(a, "primary_hostname=h.ex\n.include /dev/null\n", &error);
  assert_non_null(c);
  arena_free(c->arena);
  arena_free(a);
}

static void test_command_line_macros(void **state) {
  (void)state;
  struct arena *a = arena_new("t");
  const char *error = NULL;
  struct macro older = {.name = "AA", .value = "from-d"}, newer = {.name = "BB", .value = "AA", .next = &older};
  struct readconf_opts o = {.files = write_file(a, "conf", "AA = file\nAA == again\nqualify_domain = AA.BB\n"), .cmd_macros = &newer};
  struct config *c = read_with(a, &o, &error);
  assert_non_null(c);
  /* AA is replaced first, so the AA that BB brings stays. */
  assert_string_equal(c->qualify_domain, "from-d.AA");
  arena_free(c->arena);
  arena_free(a);
}

static void test_retry(void **state) {
  (void)state;
  struct arena *a = arena_new("t");
  const char *error;
  struct config *c = read_text(a,
                               "begin retry\n* * F,2h,15m; G,16h,1h,1.5; F,4d,6h\na@b timeout_connect senders=\"x : y\" h,1h,2m,3\n"
                               "* rcpt_45x\n* quota_3d F,1h,1h;\n",
                               &error);
  assert_non_null(c);
  const struct retry_rule *r = c->retry_rules;
  assert_string_equal(r->pattern, "*");
  assert_null(r->error);
  assert_int_equal(r->steps->next->factor_thousandths, 1500);
  assert_int_equal(r->steps->next->next->timeout_sec, 4 * 86400);
  r = r->next;
  assert_string_equal(r->senders, "x : y");
  assert_int_equal(r->steps->kind, 'H');
  assert_int_equal(r->more_errno, RETRY_TIMEOUT_CONNECT);
  r = r->next;
  assert_null(r->steps);
  assert_int_equal(r->more_errno >> 8, 150);
  r = r->next;
  assert_int_equal(r->more_errno, 3 * 86400);
  assert_null(r->next);
  arena_free(c->arena);
  arena_free(a);
}

static void test_file_checks(void **state) {
  (void)state;
  struct arena *a = arena_new("t");
  const char *error = NULL, *path = write_file(a, "conf", "qualify_domain = a\n");
  struct readconf_opts o = {.files = path, .check_files = true, .configure_owner = getuid(), .configure_group = (gid_t)-1};
  assert_int_equal(chmod(path, 0666), 0);
  assert_null(read_with(a, &o, &error));
  assert_string_equal(error, arena_printf(a, "Exim configuration file %s has the wrong owner, group, or mode", path));
  assert_int_equal(chmod(path, 0600), 0);
  struct config *c = read_with(a, &o, &error);
  assert_non_null(c);
  arena_free(c->arena);
  o.files = "/nonexist/a:/nonexist/b";
  assert_null(read_with(a, &o, &error));
  assert_string_equal(error, "non-existent configuration file(s): /nonexist/a:/nonexist/b");
  o.files = arena_printf(a, "/nonexist/a:%s", path);
  c = read_with(a, &o, &error);
  assert_non_null(c);
  assert_string_equal(c->file, path);
  arena_free(c->arena);
  arena_free(a);
}

static int make_dir(void **state) {
  (void)state;
  return mkdtemp(dir) ? 0 : -1;
}

static int remove_dir(void **state) {
  (void)state;
  char path[128];
  static const char *const names[] = {"conf", "part"};
  for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
    snprintf(path, sizeof(path), "%s/%s", dir, names[i]);
    unlink(path);
  }
  return rmdir(dir);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_errors),       cmocka_unit_test(test_values), cmocka_unit_test(test_include_and_lists),
    cmocka_unit_test(test_include_of_what_is_no_file),
      cmocka_unit_test(test_command_line_macros), cmocka_unit_test(test_retry),  cmocka_unit_test(test_file_checks),
  };
  return cmocka_run_group_tests(tests, make_dir, remove_dir);
}
