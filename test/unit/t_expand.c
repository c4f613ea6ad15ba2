/* SPDX-License-Identifier: GPL-2.0-or-later */
/* String expansion: a table of texts with the answers of Exim 4.96, then what needs a message, taint, files, hooks and limits. */
#include "unit.h"

#include <stdio.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "conn.h"
#include "expand_rows.h"
#include "formats/spool_file.h"
#include "message.h"
#include "policy/expand.h"

static struct config cfg;
static struct arena *cfg_arena;

static void add_list(enum list_kind kind, const char *name, const char *text) {
  struct named_list *l = ARENA_NEW(cfg_arena, struct named_list);
  l->name = name;
  l->text = text;
  tree_insert(&cfg.named_lists[kind], cfg_arena, name, NULL)->data = l;
}

/* a1 accepts with a message, a2 denies, a3 defers, a4 accepts silently. */
static enum outcome run_acl(struct expand_ctx *x, const char *name, const char **ret_message) {
  const char *first = x->s.acl_args[0] ? x->s.acl_args[0] : "", *second = x->s.acl_args[1] ? x->s.acl_args[1] : "";
  if (strcmp(name, "a1") == 0) {
    *ret_message = arena_printf(x->a, "msg1 %s n=%d", first, x->s.acl_narg);
    return OUTCOME_OK;
  }
  if (strcmp(name, "a2") == 0) {
    *ret_message = arena_printf(x->a, "denied %s/%s", first, second);
    return OUTCOME_FAIL;
  }
  if (strcmp(name, "a3") == 0) return OUTCOME_DEFER;
  return strcmp(name, "a4") == 0 ? OUTCOME_OK : OUTCOME_ERROR;
}

static int setup(void **state) {
  static const struct expand_hooks hooks = {.acl = run_acl};
  (void)state;
  cfg_arena = arena_new("cfg");
  cfg.arena = cfg_arena;
  cfg.primary_hostname = "mx.test.ex";
  cfg.qualify_domain = cfg.qualify_recipient = "test.ex";
  cfg.spool_directory = "/nonexistent/spool";
  cfg.file = "/nonexistent/conf";
  cfg.o.headers_charset = "UTF-8";
  cfg.o.check_rfc2047_length = true;
  cfg.o.message_body_visible = 500;
  cfg.o.bounce_return_size_limit = 102400;
  add_list(LIST_DOMAIN, "mydoms", "one.ex : *.two.ex");
  add_list(LIST_DOMAIN, "more", "+mydoms : three.ex");
  add_list(LIST_HOST, "hl", "10.0.0.0/8 : +hl2");
  add_list(LIST_HOST, "hl2", "<; ::1");
  add_list(LIST_LOCALPART, "ll", "x : y");
  expand_set_hooks(&hooks);
  return 0;
}

static int teardown(void **state) {
  (void)state;
  arena_free(cfg_arena);
  return 0;
}

static const char *shown(const char *s) { return s ? s : "(none)"; }

static void test_rows(void **state) {
  (void)state;
  for (size_t i = 0; i < ARRAY_SIZE(expand_rows); i++) {
    const struct expand_row *r = &expand_rows[i];
    struct arena *a = arena_new("row");
    struct expand_ctx x = expand_ctx_new(a, &cfg);
    const char *got = expand_string(&x, r->text);
    if (r->want)
      CHECK_STR(r->text, got ? got : x.error, r->want);
    else
      CHECK_STR(r->text, got ? got : shown(x.error), r->error);
    CHECK_INT(r->text, got != NULL, r->want != NULL);
    arena_free(a);
  }
}

static void test_all_variables_known(void **state) {
  (void)state;
  for (size_t i = 0; i < ARRAY_SIZE(variable_names); i++) {
    struct arena *a = arena_new("row");
    struct expand_ctx x = expand_ctx_new(a, &cfg);
    const char *text = arena_printf(a, "$%s", variable_names[i]);
    CHECK_STR(text, expand_string(&x, text) ? "" : shown(x.error), "");
    arena_free(a);
  }
}

/* ---- a message ---- */

static const char *const headers[] = {
  "From: Joe <joe@x.y>\n",
  "To: a@b.c,\n  c@d.e\n",
  "Subject: =?iso-8859-1?Q?caf=e9?= and =?utf-8?B?YWJj?= more\n",
  "X-A:  one  \n",
  "X-A: two\n",
  "X-B: /etc/passwd\n",
  "To: z@z.z\n",
  "X-E: \n",
  "X-C: a:b\n",
  "X-C: c\n",
  "Reply-To: r1@x\n",
  "Reply-To: r2@y\n",
  "X-Code: $primary_hostname\n",
  "X-Bad: =?utf-8?Q?a=zz?= x\n",
  "X-Nul: =?utf-8?B?YQBi?=\n",
};

static struct message *new_message(struct header_line *lines) {
  struct message *m = message_new(&cfg);
  struct header_line **tail = &m->headers;
  for (size_t i = 0; i < ARRAY_SIZE(headers); i++) {
    lines[i] = (struct header_line){.text = arena_strdup_t(m->arena, headers[i], TAINTED), .n = strlen(headers[i]), .type = ' '};
    *tail = &lines[i];
    tail = &lines[i].next;
  }
  m->sender = arena_strdup_t(m->arena, "root@test.ex", TAINTED);
  return m;
}

static void test_headers(void **state) {
  static const struct {
    const char *text, *want;
  } rows[] = {
    {"<$h_x-a:><$rh_x-a:><$bh_x-a:><$lh_x-a:>", "<one\ntwo><  one  \n two\n><one\ntwo><  one  : two>"},
    {"<$h_to:><$rh_to:><$lh_to:>",
     "<a@b.c,\n  c@d.e,\nz@z.z>< a@b.c,\n  c@d.e\n z@z.z\n>< a@b.c,\n  c@d.e: z@z.z>"},
    {"<$h_subject:><$bh_subject:>", "<caf\303\251 and abc more><caf\351 and abc more>"},
    {"<$rh_subject:>", "< =?iso-8859-1?Q?caf=e9?= and =?utf-8?B?YWJj?= more\n>"},
    {"<$h_x-e:><$rh_x-e:><$lh_x-e:><$h_x-c:><$lh_x-c:>", "<>< \n>< ><a:b\nc>< a::b: c>"},
    {"${if def:h_x-e:{y}{n}}${if def:h_to:{y}{n}}${if def:header_nope:{y}{n}}", "yyn"},
    {"<$h_reply-to:><$reply_address><$lh_reply-to:>", "<r1@x,\nr2@y><r1@x  r2@y>< r1@x: r2@y>"},
    {"<$h_x-bad:><$h_x-nul:><$bh_x-nul:>", "<=?utf-8?Q?a=zz?= x><a?b><a?b>"},
    {"$h_from:x|$header_FROM:", "Joe <joe@x.y>x|Joe <joe@x.y>"},
    {"${length_3:$h_from:}|${if eq{$h_x-b:}{/etc/passwd}{y}{n}}", "Joe|y"},
    {"${map{$h_x-code:}{$item}}", "$primary_hostname"},
    {"${if exists{$h_x-b:}{y}{n}}", "y"},
    {"$sender_address|$sender_address_domain|$sender_address_local_part", "root@test.ex|test.ex|root"},
    {"${run{/bin/echo $h_x-b:}}", "/etc/passwd\n"},
    {"${run{/bin/sh -c umask}}", "0077\n"}, /* Exim 4.96: what a command writes is for its user alone */
    {"${address:$h_from:}|${local_part:$h_from:}|${domain:$h_from:}", "joe@x.y|joe|x.y"},
    {"${if inlist{$h_x-c:}{b:c}{y}{n}}", "n"},
  };
  (void)state;
  struct header_line lines[ARRAY_SIZE(headers)];
  struct message *m = new_message(lines);
  for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
    struct expand_ctx x = expand_ctx_new(m->arena, &cfg);
    x.msg = m;
    const char *got = expand_string(&x, rows[i].text);
    CHECK_STR(rows[i].text, got ? got : shown(x.error), rows[i].want);
  }
  message_free(m);
}

/* Whether foreign text in a query has been quoted for its type. */
static void test_quoted(void **state) {
  (void)state;
  static const struct {
    const char *text, *quoter; /* "" just tainted, NULL clean */
  } rows[] = {
    {"select '${quote_testdb:$h_from:}' and '${quote_testdb:$h_to:}'", "testdb"},
    {"${quote_testdb2:$h_from:}", "testdb"},
    {"${quote_testdb_nq:$h_from:}", ""},
    {"${quote_testdb:plain}", NULL},
    {"${quote_testdb:$h_from:} $h_to:", ""},
    {"$h_to: ${quote_testdb:$h_from:}", ""},
    {"${lc:${quote_testdb:$h_from:}}", "testdb"},
    {"${if eq{a}{a}{select ${quote_testdb:$h_from:}}}", "testdb"},
    {"${map{a:b}{${quote_testdb:$h_from:}}}", "testdb"},
    {"${lookup testdb{${quote_testdb:$h_from:}}}", ""},
    {"${base64:${quote_testdb:$h_from:}}", ""},
  };
  for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
    struct header_line lines[ARRAY_SIZE(headers)];
    struct message *m = new_message(lines);
    struct expand_ctx x = expand_ctx_new(m->arena, &cfg);
    x.msg = m;
    const char *got = expand_string(&x, rows[i].text);
    assert_non_null(got);
    CHECK_INT(rows[i].text, taint_kind(got),
              !rows[i].quoter ? UNTAINTED : *rows[i].quoter ? spool_quoted_kind(str_c(rows[i].quoter)) : TAINTED);
    message_free(m);
  }
}

static void test_taint(void **state) {
  static const struct {
    const char *text, *error;
  } refused[] = {
    {"${expand:$h_x-code:}",
     "internal expansion of \"$primary_hostname\" failed: attempt to expand tainted string '$primary_hostname'"},
    {"${sg{a}{a}{$h_x-code:}}", "attempt to expand tainted string '$primary_hostname'"},
    {"${readfile{$h_x-b:}}", "Tainted name '/etc/passwd' for file read not permitted"},
    {"${run{$h_x-b: a}}", "Tainted '/etc/passwd' (command for ${run} expansion) not permitted"},
    {"${run,preexpand{/bin/echo $h_x-b:}}", "Tainted '/bin/echo' (command for ${run} expansion) not permitted"},
    {"${readsocket{$h_x-b:}{x}}", "Tainted name '/etc/passwd' for socket not permitted"},
  };
  static const struct {
    const char *text;
    bool tainted;
  } rows[] = {
    {"$h_from:", true},
    {"x${lc:$h_from:}", true},
    {"${strlen:$h_from:}", false},
    {"$primary_hostname", false},
    {"${if eq{$h_x-a:}{q}{$h_from:}{clean}}", false},
    {"${if match{$h_from:}{(j)}{$1}}", true},
    {"${if inlist{c}{a:b:c}{$value}}", false},
    {"${if inlist{$h_x-nul:}{q:a?b}{$value}}", false}, /* the list's own text */
    {"${quote:$h_from:}", true},
    {"${tr{$h_from:}{a}{b}}", true},
    {"${md5:$h_from:}", true},
    {"${listextract{1}{$h_to:}}", true},
    {"${extract{1}{,}{$h_to:}}", true},
    {"${base64:$h_from:}", true},
    {"${escape:$h_from:}", true},
    {"${reduce{a:b}{}{$value$h_x-b:}}", true},
    {"${map{$h_x-c:}{$item}}", true},
    {"${sg{$h_from:}{Joe}{x}}", true},
    {"${sg{abc}{b}{x}}", false},
    {"${sg{$h_from:}{(?s)^.+}{x}}", false}, /* nothing of it is left */
    {"${sg{$h_from:}{(?s)^(.+)}{\\$1}}", true},
  };
  (void)state;
  struct header_line lines[ARRAY_SIZE(headers)];
  struct message *m = new_message(lines);
  struct expand_ctx x = expand_ctx_new(m->arena, &cfg);
  x.msg = m;
  for (size_t i = 0; i < ARRAY_SIZE(refused); i++) {
    const char *got = expand_string(&x, refused[i].text);
    CHECK_STR(refused[i].text, got ? got : shown(x.error), refused[i].error);
    CHECK_INT(refused[i].text, got == NULL && !x.forced_fail, 1);
  }
  for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
    const char *got = expand_string(&x, rows[i].text);
    CHECK_STR(rows[i].text, got ? "" : shown(x.error), "");
    CHECK_INT(rows[i].text, is_tainted(got), rows[i].tainted);
  }
  const char *text = arena_strdup_t(m->arena, "$primary_hostname", TAINTED);
  assert_null(expand_string(&x, text));
  text = arena_strdup_t(m->arena, "plain", TAINTED);
  assert_ptr_equal(expand_string(&x, text), text);
  assert_false(expand_taint_refused(&x, "clean", "file read"));
  assert_true(expand_taint_refused(&x, text, "command for t0 transport"));
  assert_string_equal(x.error, "Tainted 'plain' (command for t0 transport) not permitted");
  message_free(m);
}

/* ---- the rest of the interface ---- */

static void test_entry_points(void **state) {
  (void)state;
  struct arena *a = arena_new("entry");
  struct expand_ctx x = expand_ctx_new(a, &cfg);
  const char *constant = "no special characters }{";
  int64_t n;
  assert_ptr_equal(expand_string(&x, constant), constant);
  assert_int_equal(expand_condition_lax(&x, "banana"), OUTCOME_OK);
  assert_int_equal(expand_condition_lax(&x, "${if eq{a}{b}}"), OUTCOME_FAIL);
  assert_int_equal(expand_condition_lax(&x, "$nope"), OUTCOME_DEFER);
  assert_int_equal(expand_condition_strict(&x, "banana"), OUTCOME_DEFER);
  assert_string_equal(x.error, "invalid \"condition\" value \"banana\"");
  assert_int_equal(expand_condition_strict(&x, " YES "), OUTCOME_OK);
  assert_int_equal(expand_condition_strict(&x, "0"), OUTCOME_FAIL);
  assert_true(expand_int(&x, "${eval:3*4}K", &n) && n == 12288);
  assert_false(expand_int(&x, "12x", &n));
  assert_null(expand_option(&x, "smtp_active_hostname", "${foo:x}"));
  assert_string_equal(x.error, "failed to expand \"${foo:x}\" (smtp_active_hostname): unknown expansion operator \"foo\"");
  assert_null(expand_string(&x, "${if eq{a}{b}{y}fail}"));
  assert_true(x.forced_fail);
  assert_null(expand_string(&x, "${acl{a3}}"));
  assert_true(x.forced_fail);
  assert_null(expand_string(&x, "${acl{nosuch}}"));
  assert_false(x.forced_fail);
  arena_free(a);
}

static void test_forbidden(void **state) {
  (void)state;
  struct arena *a = arena_new("forbid");
  struct expand_ctx x = expand_ctx_new(a, &cfg);
  x.forbid.run = x.forbid.readfile = x.forbid.readsocket = x.forbid.lookup = x.forbid.exists = true;
  static const char *const texts[] = {"${run{/bin/true}}", "${readfile{/etc/passwd}}", "${readsocket{/x}{y}}",
                                      "${lookup{a}lsearch{/x}}", "${if exists{/}}", "${stat:/}"};
  for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
    CHECK_STR(texts[i], expand_string(&x, texts[i]) ? "allowed" : "refused", "refused");
    CHECK_INT(texts[i], strstr(x.error, "not permitted") != NULL, 1);
  }
  arena_free(a);
}

/* Small templates that would work for ever: each ends at the limit, whose count begins anew with the next expansion. */
static void test_work(void **state) {
  (void)state;
  static const char *const shapes[][3] = {
    {"${sort{1:2:3:4:5:6:7:8:9}{lt}{", "$item", "}}"},
    {"${map{1:2:3:4:5:6:7:8:9}{", "$item", "}}"},
    {"${reduce{1:2:3:4:5:6:7:8:9}{}{", "", "}}"},
    {"${filter{1:2:3:4:5:6:7:8:9}{bool_lax{1", "", "}}}"},
    {"${if forall{1:2:3:4:5:6:7:8:9}{bool_lax{1", "", "}}{1}}"},
    {"${rfc2047:", "\xe4", "}"},
  };
  for (size_t i = 0; i < ARRAY_SIZE(shapes); i++) {
    struct arena *a = arena_new("work");
    struct expand_ctx x = expand_ctx_new(a, &cfg);
    x.work_limit = 4 << 20;
    struct strbuf b = strbuf_new(a);
    for (int depth = 0; depth < 40; depth++) strbuf_adds(&b, shapes[i][0]);
    strbuf_adds(&b, shapes[i][1]);
    for (int depth = 0; depth < 40; depth++) strbuf_adds(&b, shapes[i][2]);
    assert_null(expand_string(&x, b.p));
    assert_non_null(strstr(x.error, "expansion takes too much work"));
    assert_false(x.forced_fail);
    assert_int_equal(x.depth, 0);
    assert_string_equal(expand_string(&x, "${map{1:2}{$item}}"), "1:2");
    arena_free(a);
  }
}

static void test_depth(void **state) {
  (void)state;
  struct arena *a = arena_new("depth");
  struct expand_ctx x = expand_ctx_new(a, &cfg);
  struct strbuf b = strbuf_new(a);
  for (int i = 0; i < 5000; i++) strbuf_adds(&b, "${lc:");
  assert_null(expand_string(&x, b.p));
  assert_non_null(strstr(x.error, "nested too deeply"));
  assert_int_equal(x.depth, 0);
  strbuf_clear(&b);
  strbuf_adds(&b, "${if ");
  for (int i = 0; i < 5000; i++) strbuf_adds(&b, "and{{");
  assert_null(expand_string(&x, b.p));
  assert_int_equal(x.depth, 0);
  strbuf_clear(&b);
  strbuf_adds(&b, "${eval:");
  for (int i = 0; i < 5000; i++) strbuf_addc(&b, '(');
  strbuf_addc(&b, '}');
  assert_null(expand_string(&x, b.p));
  arena_free(a);
}

/* Files, lookups, commands with a file of our own. */
static void test_files(void **state) {
  static const struct {
    const char *format, *want;
  } rows[] = {
    {"${readfile{%s}{|}}", "a: one|b: two words|c  three|"},
    {"${readfile{%s}}", "a: one\nb: two words\nc  three\n"},
    {"${readfile{%s}{}}", "a: oneb: two wordsc  three"},
    {"${lookup{b}lsearch{%s}{<$value>}{none}}", "<two words>"},
    {"${lookup{zz}lsearch{%s}{<$value>}{none}}", "none"},
    {"${lookup{b}lsearch{%s}}", "two words"},
    {"${lookup {b} lsearch {%s} {$value} {no}}", "two words"},
    {"${lookup{${lc:B}}lsearch{%s}{${uc:$value}}}", "TWO WORDS"},
    {"${extract{size}{${stat:%s}}}", "29"},
    {"${if exists{%s}{y}{n}}", "y"},
    {"${run{/bin/cat %s}{[$value]}{no}}", "[a: one\nb: two words\nc  three\n]"},
    {"${run{/bin/sh -c 'exit 3' %s}{y}{n $runrc}}", "n 3"},
    {"${run{/bin/echo 'a  b' %s}{${length_4:$value}}}|${length_4:$value}", "a  b|a  b"},
  };
  (void)state;
  char path[] = "/tmp/t_expand.XXXXXX";
  int fd = mkstemp(path);
  static const char content[] = "a: one\nb: two words\nc  three\n";
  assert_true(fd >= 0 && write(fd, content, sizeof content - 1) == (ssize_t)sizeof content - 1);
  (void)close(fd);
  for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
    struct arena *a = arena_new("files");
    struct expand_ctx x = expand_ctx_new(a, &cfg);
    struct strbuf b = strbuf_new(a);
    const char *at = strstr(rows[i].format, "%s");
    strbuf_add(&b, rows[i].format, (size_t)(at - rows[i].format));
    strbuf_adds(&b, path);
    strbuf_adds(&b, at + 2);
    const char *got = expand_string(&x, b.p);
    CHECK_STR(rows[i].format, got ? got : shown(x.error), rows[i].want);
    arena_free(a);
  }
  (void)unlink(path);
}

/* A server on a Unix socket: reads to the end of input, answers two lines, closes; once. */
static pid_t serve_once(const char *path) {
  struct sockaddr_un sun = {.sun_family = AF_UNIX};
  memcpy(sun.sun_path, path, strlen(path) + 1);
  int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  assert_true(fd >= 0 && bind(fd, (struct sockaddr *)&sun, sizeof sun) == 0 && listen(fd, 1) == 0);
  pid_t pid = fork();
  if (pid == 0) {
    char buf[256];
    int c = accept(fd, NULL, NULL);
    size_t total = 0;
    ssize_t n;
    while ((n = read(c, buf + total, sizeof buf - total)) > 0) total += (size_t)n;
    bool ok = write(c, "got ", 4) == 4 && write(c, buf, total) == (ssize_t)total && write(c, "end\n", 4) == 4;
    _exit(ok ? 0 : 1);
  }
  (void)close(fd);
  return pid;
}

static void test_socket(void **state) {
  static const struct {
    const char *format, *want;
  } rows[] = {
    {"${readsocket{%s}{query\\n}}", "got query\nend\n"},
    {"${readsocket{%s}{query\\n}{2s}{|}}", "got query|end|"},
    {"<${readsocket{%s}{}{2s:shutdown=yes}{}{failed}}>", "<got end\n>"}, /* an empty string is as none */
    {"${readsocket{%s}{x}{1m:tls=yes}{}{no TLS}}", "no TLS"},
  };
  (void)state;
  char dir[] = "/tmp/t_expand.XXXXXX";
  assert_non_null(mkdtemp(dir));
  for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
    struct arena *a = arena_new("socket");
    struct expand_ctx x = expand_ctx_new(a, &cfg);
    const char *path = arena_printf(a, "%s/s", dir), *at = strstr(rows[i].format, "%s");
    bool talks = strstr(rows[i].format, "tls=yes") == NULL;
    pid_t pid = talks ? serve_once(path) : -1;
    struct strbuf b = strbuf_new(a);
    strbuf_add(&b, rows[i].format, (size_t)(at - rows[i].format));
    strbuf_adds(&b, path);
    strbuf_adds(&b, at + 2);
    const char *got = expand_string(&x, b.p);
    CHECK_STR(rows[i].format, got ? got : shown(x.error), rows[i].want);
    int status = 0;
    if (talks) assert_true(waitpid(pid, &status, 0) == pid && status == 0);
    (void)unlink(path);
    arena_free(a);
  }
  (void)rmdir(dir);
}

/* cache=yes: one exchange serves two requests; a request without it makes the kept answer void. */
static void test_socket_cache(void **state) {
  (void)state;
  char dir[] = "/tmp/t_expand.XXXXXX";
  int status;
  assert_non_null(mkdtemp(dir));
  struct arena *a = arena_new("socket");
  struct expand_ctx x = expand_ctx_new(a, &cfg);
  const char *path = arena_printf(a, "%s/s", dir);
  const char *cached = arena_printf(a, "${readsocket{%s}{q}{5s:cache=yes}{|}{none}}", path);
  const char *plain = arena_printf(a, "${readsocket{%s}{q}{5s}{|}{none}}", path);
  pid_t pid = serve_once(path);
  assert_string_equal(expand_string(&x, cached), "got qend|");
  assert_true(waitpid(pid, &status, 0) == pid && status == 0);
  (void)unlink(path);
  assert_string_equal(expand_string(&x, cached), "got qend|");
  assert_string_equal(expand_string(&x, plain), "none");
  assert_string_equal(expand_string(&x, cached), "none");
  (void)rmdir(dir);
  arena_free(a);
}

/* $message_body from a spool file's descriptor, behind the first line. */
static void test_body(void **state) {
  (void)state;
  char path[] = "/tmp/t_expand.XXXXXX";
  int fd = mkstemp(path);
  static const char content[] = "id-D\nline 1\nline\0two\n";
  assert_true(fd >= 0 && write(fd, content, sizeof content - 1) == (ssize_t)sizeof content - 1);
  (void)unlink(path);
  struct message *m = message_new(&cfg);
  m->data_fd = fd;
  m->data_start = 5;
  struct expand_ctx x = expand_ctx_new(m->arena, &cfg);
  x.msg = m;
  assert_string_equal(expand_string(&x, "<$message_body>"), "<line 1 line two >");
  cfg.o.message_body_visible = 6;
  assert_string_equal(expand_string(&x, "<$message_body|$message_body_end>"), "<line 1|e two >");
  cfg.o.message_body_newlines = true;
  assert_string_equal(expand_string(&x, "<$message_body_end>"), "<e two\n>");
  assert_true(is_tainted(expand_string(&x, "$message_body")));
  cfg.o.message_body_visible = 500;
  cfg.o.message_body_newlines = false;
  message_free(m);
}

/* md5, sha1, sha256 and base64 of a certificate variable work on its DER form (here three bytes, "abc"). */
static void test_certificate(void **state) {
  (void)state;
  struct arena *a = arena_new("cert");
  struct conn c = {.arena = a, .cfg = &cfg};
  struct expand_ctx x = expand_ctx_new(a, &cfg);
  x.conn = &c;
  assert_string_equal(expand_string(&x, "${certextract{subject}{$tls_in_peercert}{y}{none}}"), "none");
  c.from.tls.peer_cert = "-----BEGIN CERTIFICATE-----\nYW\nJj\n-----END CERTIFICATE-----\n";
  assert_string_equal(expand_string(&x, "${md5:$tls_in_peercert}"), "900150983CD24FB0D6963F7D28E17F72");
  assert_string_equal(expand_string(&x, "${sha1:$tls_in_peercert}"), "A9993E364706816ABA3E25717850C26C9CD0D89D");
  assert_string_equal(expand_string(&x, "${base64:$tls_in_peercert}"), "YWJj");
  c.from.tls.peer_cert = "-----BEGIN CERTIFICATE-----\\nYWJj\\n-----END CERTIFICATE-----";
  assert_string_equal(expand_string(&x, "${sha1:$tls_in_peercert}"), "A9993E364706816ABA3E25717850C26C9CD0D89D");
  assert_null(expand_string(&x, "${certextract{subject}{$tls_in_peercert}}"));
  arena_free(a);
}

static void test_context_values(void **state) {
  (void)state;
  struct arena *a = arena_new("ctx");
  struct expand_ctx x = expand_ctx_new(a, &cfg);
  x.sending_ip_unavailable = true;
  assert_string_equal(expand_string(&x, "${if def:sending_ip_address{y}{n}}"), "n");
  assert_false(x.sending_ip_was_read);
  assert_string_equal(expand_string(&x, "${if eq{a}{b}{$sending_ip_address}{n}}"), "n");
  assert_false(x.sending_ip_was_read);
  assert_string_equal(expand_string(&x, "$sending_port"), "-1");
  assert_true(x.sending_port_was_read && !x.sending_ip_was_read);
  assert_string_equal(expand_string(&x, "$sending_ip_address"), "");
  assert_true(x.sending_ip_was_read);
  x.s.captures[0] = "whole";
  x.s.captures[1] = "one";
  x.s.ncaptures = 2;
  assert_string_equal(expand_string(&x, "$0-$1-$2-${if match{x}{(x)}{$1}}-$1"), "whole-one--x-one");
  x.auth_vars[1] = "user";
  assert_string_equal(expand_string(&x, "$auth1/$auth2"), "/user");
  x.domain_override = "d.ex";
  x.local_part_override = "lp";
  assert_string_equal(expand_string(&x, "$local_part@$domain"), "lp@d.ex");
  assert_null(expand_string(&x, "$n0"));
  struct tree vars = {0};
  tree_insert(&vars, a, "n1", NULL)->val = 7;
  x.filter_vars = &vars;
  assert_string_equal(expand_string(&x, "$n0/$n1/$sn1"), "0/7/0");
  x.recipients_hidden = true;
  assert_null(expand_string(&x, "$recipients"));
  /* signed today, seen today; the tag's form is that of the BATV draft */
  assert_string_equal(expand_string(&x, "${prvscheck{${prvs{a@b.c}{s}{4}}}{s}{$prvscheck_address,$prvscheck_keynum,$prvscheck_result}}"),
                      "a@b.c,4,1");
  assert_string_equal(expand_string(&x, "${prvscheck{${prvs{a@b.c}{s}{4}}}{wrong}{[$prvscheck_result]}}"), "[]");
  assert_string_equal(expand_string(&x, "${prvscheck{${prvs{a@b.c}{s}}}{s}}|$prvscheck_address|$prvscheck_result"), "a@b.c||1");
  assert_string_equal(expand_string(&x, "${prvscheck{plain@a.b}{s}{y}}"), "");
  arena_free(a);
}

int main(void) {
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(test_rows),        cmocka_unit_test(test_all_variables_known), cmocka_unit_test(test_headers),
    cmocka_unit_test(test_taint),       cmocka_unit_test(test_entry_points),        cmocka_unit_test(test_forbidden),
    cmocka_unit_test(test_depth),       cmocka_unit_test(test_files),               cmocka_unit_test(test_context_values),
    cmocka_unit_test(test_socket),      cmocka_unit_test(test_socket_cache),        cmocka_unit_test(test_body),
    cmocka_unit_test(test_certificate), cmocka_unit_test(test_work), cmocka_unit_test(test_quoted),
  };
  return cmocka_run_group_tests(tests, setup, teardown);
}
