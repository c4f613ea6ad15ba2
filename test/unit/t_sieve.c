/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Sieve scripts: the grammar and what they decide.  Texts of errors and their lines were compared with Exim 4.96 (-bf), the truth of tests with
 * it and with RFC 5228, 5230, 5233 and 5436. */
#include "unit.h"

#include "address.h"
#include "filters/sieve.h"
#include "filters/sieve_mail.h"
#include "message.h"
#include "policy/readconf.h"

struct world {
  struct arena *a;
  struct config cfg;
  struct message *m;
  struct expand_ctx x;
  struct sieve_env env;
};

static void add_header(struct world *w, char type, const char *line) { message_add_header(w->m, type, line, strlen(line)); }

static void setup_world(struct world *w) {
  *w = (struct world){.a = arena_new("t_sieve")};
  w->cfg.primary_hostname = "mail.test.ex";
  w->m = message_new(&w->cfg);
  w->m->sender = "joe@sender.ex";
  w->m->message_size = 2000;
  w->x = expand_ctx_new(w->a, &w->cfg);
  w->x.msg = w->m;
  w->x.addr = address_new(w->a, "u+det@test.ex");
  w->env = (struct sieve_env){.x = &w->x, .inbox = "inbox"};
  add_header(w, 'F', "From: Joe <joe+x@sender.ex>\n");
  add_header(w, 'T', "To: u+det@test.ex,\n \"Other One\" <other@two.ex>\n");
  add_header(w, ' ', "Subject: =?iso-8859-1?q?caf=E9_abc=00def?=\n\tplain\n");
  add_header(w, ' ', "X-N: 99\n");
  add_header(w, ' ', "X-Empty:\n");
  add_header(w, ' ', "X-Two: one\n");
  add_header(w, ' ', "X-Two: two\n");
}

static void drop_world(struct world *w) {
  message_free(w->m);
  arena_free(w->a);
}

/* "save inbox,deliver a@b": what a script asks for; after an error "!text". */
static const char *run(struct world *w, const char *text) {
  static const char *const kinds[] = {"deliver", "save", "pipe", "mail", "add", "remove"};
  struct sieve_rights rights = {.has_vacation = true, .has_notify = true};
  struct sieve_script script = sieve_parse(w->a, str_c(text), rights);
  struct filter_result r = sieve_obey(&w->env, &script);
  struct strbuf b = strbuf_new(w->a);
  assert_true(r.is_significant);
  assert_int_equal(r.end, FILTER_DONE);
  for (const struct filter_action *act = r.actions; act; act = act->next)
    strbuf_addl(&b, b.n ? "," : "", kinds[act->kind], " ", act->text, NULL);
  if (w->env.error) strbuf_addl(&b, "!", w->env.error, NULL);
  return b.p;
}

static void test_actions(void **state) {
  (void)state;
  static const char *const rows[][2] = {
    {"", "save inbox"},
    {"keep;", "save inbox"},
    {"KEEP; keep;", "save inbox"},
    {"discard;", ""},
    {"stop; foo;", "save inbox"},
    {"if true { stop; foo; }", "save inbox"},
    {"if false { stop; } foo;", "save inbox!syntax error in line 1"},
    {"redirect \"a@b.ex\";", "deliver a@b.ex"},
    {"redirect \"A B <a@b.ex>\"; redirect \"a@b.ex\"; keep;", "deliver a@b.ex,save inbox"},
    {"require \"copy\"; redirect :copy \"a@b.ex\";", "deliver a@b.ex,save inbox"},
    {"redirect \"a@b.ex\"; foo;", "deliver a@b.ex,save inbox!syntax error in line 1"},
    {"require [\"fileinto\", \"copy\"]; fileinto :copy \"x\";", "save x,save inbox"},
    {"require \"fileinto\"; fileinto \"x/y..z\";", "save x/y..z"},
    {"if false { keep; } elsif not true { stop; } else { discard; }", ""},
    {"if true {} else { discard; }", "save inbox"},
    {"/* a\n\n */ keep; # b\r\n", "save inbox"},
    {"redirect text: # c\na@b.ex\n.\n;", "deliver a@b.ex"},
    {"require \"encoded-character\"; redirect \"a${hex: 40 62}${unicode:2E}ex\";", "deliver a@b.ex"},
    {"require \"enotify\"; notify \"mailto:a@b.ex\"; notify \"mailto:a@b.ex\";", "mail a@b.ex,save inbox"},
  };
  struct world w;
  setup_world(&w);
  w.env.notify_owner = "u@test.ex";
  for (size_t i = 0; i < ARRAY_SIZE(rows); i++) assert_string_equal(run(&w, rows[i][0]), rows[i][1]);
  drop_world(&w);
}

/* Line 1 is the one that says it is a filter. */
static void test_errors(void **state) {
  (void)state;
  static const char *const rows[][2] = {
    {"foo;", "syntax error in line 2"},
    {"keep", "missing semicolon in line 2"},
    {"keep\n", "missing semicolon in line 3"},
    {"fileinto \"x\";", "missing previous require \"fileinto\"; in line 2"},
    {"require \"bogus\";", "unknown capability in line 2"},
    {"keep; require \"fileinto\";", "syntax error in line 2"},
    {"require;", "capability string list expected in line 2"},
    {"require [\"fileinto\",];", "missing string list in line 2"},
    {"redirect \"a\";", "unqualified recipient address in line 2"},
    {"redirect [\"a@b.ex\"];", "missing redirect recipient string in line 2"},
    {"require \"fileinto\"; fileinto \"a/../b\";", "invalid folder in line 2"},
    {"require \"fileinto\"; fileinto \"\";", "invalid folder in line 2"},
    {"if true { discard;\n", "expecting command or closing brace in line 3"},
    {"if true discard;", "missing block in line 2"},
    {"if bogus {}", "missing test in line 2"},
    {"if anyof true {}", "missing test list in line 2"},
    {"if anyof (true {}", "missing closing paren in line 2"},
    {"if header \"subject\" {}", "key string list expected in line 2"},
    {"if header :foo \"subject\" \"x\" {}", "header string list expected in line 2"},
    {"if header :is :is \"subject\" \"x\" {}", "match type already specified in line 2"},
    {"if header :comparator \"i;bogus\" \"subject\" \"x\" {}", "invalid comparator in line 2"},
    {"if header :comparator \"i;ascii-numeric\" \"x-n\" \"x\" {}", "missing previous require \"comparator-i;ascii-numeric\"; in line 2"},
    {"require \"comparator-i;ascii-numeric\"; if header :contains :comparator \"i;ascii-numeric\" \"a\" \"9\" {}",
     "comparator does not offer specified matchtype in line 2"},
    {"if header \"a:b\" \"x\" {}", "invalid header field in line 2"},
    {"if address \"subject\" \"x\" {}", "invalid header field in line 2"},
    {"if address :all :localpart \"from\" \"x\" {}", "address part already specified in line 2"},
    {"if address :user \"from\" \"x\" {}", "missing previous require \"subaddress\"; in line 2"},
    {"require \"envelope\"; if envelope \"auth\" \"x\" {}", "invalid envelope string in line 2"},
    {"if header :matches \"x-n\" \"9\\\\\" {}", "syntactically invalid pattern in line 2"},
    {"if size 10 {}", "missing :over or :under in line 2"},
    {"if size :over 99999999999999999999 {}", "Numerical result out of range in line 2"},
    {"\n/* a\n", "missing end of comment in line 3"},
    {"redirect \"x\n", "missing end of string in line 3"},
    {"redirect text:\na@b.ex\n", "missing end of multi line string in line 4"},
    {"require \"encoded-character\"; redirect \"a${unicode:d800}b\";", "unicode character out of range in line 2"},
    {"require \"vacation\"; vacation :days \"x\";", "missing number in line 2"},
    {"require \"vacation\"; vacation;", "missing reason string in line 2"},
    {"require \"vacation\"; vacation \"y\"; vacation \"y\";", "trying to execute vacation more than once in line 2"},
    {"require \"enotify\"; notify \"xmpp:x\";", "Unknown URI scheme in line 2"},
    {"require \"enotify\"; notify :importance \"7\" \"mailto:a@b.ex\";", "invalid importance in line 2"},
    {"require \"enotify\"; notify \"mailto:a@b.ex?subject=%0aBcc:x\";", "Syntactically invalid URI in line 2"},
  };
  struct world w;
  setup_world(&w);
  w.m->sender = "";
  for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
    const char *got = run(&w, arena_printf(w.a, "# Sieve filter\n%s", rows[i][0]));
    assert_string_equal(got, arena_printf(w.a, "save inbox!%s", rows[i][1]));
  }
  drop_world(&w);
}

static void test_truth(void **state) {
  (void)state;
  static const struct {
    const char *test;
    bool is_true;
  } rows[] = {
    {"header :contains \"subject\" [\"x\", \"ABC\"]", true},
    {"header :contains :comparator \"i;octet\" \"subject\" \"ABC\"", false},
    {"header :is \"subject\" \"café abc\\0def\tplain\"", true},
    {"header :matches \"subject\" \"*abc?def*\"", true},
    {"header :matches \"x-n\" \"9?\"", true},
    {"header :matches \"x-n\" \"9??\"", false},
    {"header :matches \"x-n\" \"\\\\9\\\\*\"", false},
    {"header :matches \"x-none\" \"*\"", false},
    {"header :contains \"x-empty\" \"\"", true},
    {"header \"x-empty\" \"\"", true},
    {"header \"x-two\" \"two\"", true},
    {"header [\"x-none\", \"x-n\"] [\"a\", \"99\"]", true},
    {"header :comparator \"i;ascii-numeric\" \"x-n\" \"0099.5\"", true},
    {"header :comparator \"i;ascii-numeric\" \"x-n\" \"98\"", false},
    {"header :comparator \"i;ascii-numeric\" \"subject\" \"-5\"", true},
    {"address \"from\" \"JOE+x@SENDER.ex\"", true},
    {"address :domain \"to\" \"two.ex\"", true},
    {"address :localpart \"to\" \"other one\"", false},
    {"address :user \"to\" \"u\"", true},
    {"address :detail \"to\" \"det\"", true},
    {"address :detail \"from\" \"x\"", false},
    {"envelope \"FROM\" \"joe@sender.ex\"", true},
    {"envelope :localpart \"to\" \"u+det\"", true},
    {"envelope :detail \"to\" \"det\"", true},
    {"exists []", true},
    {"exists [\"x-n\", \"to\"]", true},
    {"exists [\"x-n\", \"x-none\"]", false},
    {"size :over 1K", true},
    {"size :under 2000", false},
    {"not anyof (false, allof (true, false))", true},
    {"valid_notify_method [\"mailto:a@b.ex\"]", true},
    {"valid_notify_method [\"mailto:a@b.ex\", \"xmpp:a\"]", false},
    {"notify_method_capability \"mailto:a@b.ex\" \"online\" \"maybe\"", true},
  };
  struct world w;
  setup_world(&w);
  w.env.user = "u";
  w.env.detail = "det";
  for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
    const char *text = arena_printf(w.a, "require [\"envelope\",\"subaddress\",\"comparator-i;ascii-numeric\",\"enotify\"]; if %s { discard; }", rows[i].test);
    assert_string_equal(run(&w, text), rows[i].is_true ? "" : "save inbox");
  }
  drop_world(&w);
}

static const struct filter_action *answer(struct world *w, const char *arguments) {
  const char *text = arena_printf(w->a, "require \"vacation\"; vacation %s;", arguments);
  struct sieve_script script = sieve_parse(w->a, str_c(text), (struct sieve_rights){.has_vacation = true});
  struct filter_result r = sieve_obey(&w->env, &script);
  assert_null(w->env.error);
  return r.actions->kind == ACTION_MAIL ? r.actions : NULL;
}

static void test_vacation(void **state) {
  (void)state;
  struct world w;
  setup_world(&w);
  w.env.vacation_directory = "/tmp";
  const struct filter_action *act = answer(&w, "\"gone é\"");
  assert_string_equal(act->mail[MAIL_TO], "joe@sender.ex");
  assert_string_equal(act->mail[MAIL_FROM], "u+det@test.ex");
  assert_string_equal(act->mail[MAIL_TEXT], "gone =C3=A9");
  assert_string_equal(act->mail[MAIL_EXTRA_HEADERS], SIEVE_MAIL_UTF8);
  assert_int_equal(act->once_repeat, 7 * 86400);
  const char *once = act->mail[MAIL_ONCE];
  act = answer(&w, ":days 2 :subject \"a\nBcc: b\" :from \"v@test.ex\" \"gone é\"");
  assert_string_equal(act->mail[MAIL_SUBJECT], "a Bcc: b");
  assert_string_equal(act->mail[MAIL_FROM], "v@test.ex");
  assert_int_equal(act->once_repeat, 2 * 86400);
  assert_string_not_equal(act->mail[MAIL_ONCE], once);
  act = answer(&w, ":mime text:\nBcc: x@y.ex\n z\nContent-Type: text/html;\n charset=utf-8\n\n<b>\n.\n");
  assert_string_equal(act->mail[MAIL_EXTRA_HEADERS], "Content-Type: text/html;\n charset=utf-8\n");
  assert_string_equal(act->mail[MAIL_TEXT], "<b>\n");
  w.m->sender = "owner-list@sender.ex";
  assert_null(answer(&w, "\"gone\""));
  w.m->sender = "joe@sender.ex";
  w.x.addr = address_new(w.a, "else@test.ex");
  assert_null(answer(&w, "\"gone\""));
  assert_non_null(answer(&w, ":addresses [\"OTHER@two.ex\"] \"gone\""));
  add_header(&w, ' ', "Auto-Submitted: auto-replied\n");
  assert_null(answer(&w, ":addresses [\"OTHER@two.ex\"] \"gone\""));
  drop_world(&w);
}

static void test_mailto(void **state) {
  (void)state;
  struct arena *a = arena_new("t_sieve");
  struct sieve_mailto m;
  assert_null(sieve_parse_mailto(a, STR("mailto:a@b.ex,c@d.ex?to=e@f.ex&cc=g@h.ex&subject=x%20y&body=1%0d%0a2&From=z@z&X-A=b"), &m));
  assert_string_equal(m.to, "a@b.ex,c@d.ex, e@f.ex");
  assert_string_equal(m.cc, "g@h.ex");
  assert_string_equal(m.subject, "x y");
  assert_string_equal(m.body, "1\n2");
  assert_string_equal(m.headers, "X-A: b\n");
  assert_null(sieve_parse_mailto(a, STR("MAILTO:?to=e@f.ex"), &m));
  assert_string_equal(m.to, "e@f.ex");
  static const char *const bad[] = {"mailto:", "mailto:a@b?", "mailto:a@b?x", "mailto:a%", "mailto:a%0ab@c", "mailto:a@b?a b=c"};
  for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
    assert_string_equal(sieve_parse_mailto(a, str_c(bad[i]), &m), "Syntactically invalid URI");
  arena_free(a);
}

static void test_limits(void **state) {
  (void)state;
  struct world w;
  setup_world(&w);
  struct strbuf b = strbuf_new(w.a);
  for (int i = 0; i <= SIEVE_NESTING_MAX; i++) strbuf_adds(&b, "if true {");
  assert_string_equal(run(&w, b.p), "save inbox!nested too deeply in line 1");
  strbuf_clear(&b);
  for (int i = 0; i <= SIEVE_REDIRECTS_MAX; i++) strbuf_addf(&b, "redirect \"a%d@b.ex\";", i);
  assert_non_null(strstr(run(&w, b.p), ",save inbox!too many redirects in line 1"));
  strbuf_clear(&b);
  for (int i = 0; i <= SIEVE_NODES_MAX; i++) strbuf_adds(&b, "keep;");
  assert_string_equal(run(&w, b.p), "save inbox!too many commands and tests in line 1");
  strbuf_clear(&b);
  for (int i = 0; i < SIEVE_SCRIPT_MAX; i++) strbuf_addc(&b, ' ');
  strbuf_addc(&b, ' ');
  assert_string_equal(run(&w, b.p), "save inbox!script is too large in line 1");
  drop_world(&w);
}

static void test_quoted_printable(void **state) {
  (void)state;
  struct arena *a = arena_new("t_sieve");
  assert_string_equal(sieve_mail_quoted_printable(a, STR("a = b\t\r\nx  ")), "a =3D b=09\nx=20=20");
  assert_string_equal(sieve_mail_quoted_printable(a, STR("a long line that goes past the seventy-six characters which quoted-printable permits")),
                      "a long line that goes past the seventy-six characters which quoted-printabl=\ne permits");
  arena_free(a);
}

int main(void) {
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(test_actions), cmocka_unit_test(test_errors), cmocka_unit_test(test_truth),  cmocka_unit_test(test_vacation),
    cmocka_unit_test(test_mailto),  cmocka_unit_test(test_limits), cmocka_unit_test(test_quoted_printable),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
