/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Exim filters: the grammar, what commands decide, and the way of a result between two processes.  Texts of errors and the order of conditions were
 * compared with Exim 4.96 (-bf). */
#include "unit.h"

#include "address.h"
#include "filters/filter.h"
#include "message.h"
#include "policy/readconf.h"

struct world {
  struct arena *a;
  struct config cfg;
  struct message *m;
  struct expand_ctx x;
};

static void setup_world(struct world *w) {
  *w = (struct world){.a = arena_new("t_filter")};
  w->cfg.qualify_recipient = w->cfg.qualify_domain = "test.ex";
  w->cfg.primary_hostname = "mail.test.ex";
  w->m = message_new(&w->cfg);
  w->m->sender = "sender@there.ex";
  w->x = expand_ctx_new(w->a, &w->cfg);
  w->x.msg = w->m;
  w->x.addr = address_new(w->a, "fred@test.ex");
}

static void drop_world(struct world *w) {
  message_free(w->m);
  arena_free(w->a);
}

static void add_header(struct world *w, char type, const char *line) { message_add_header(w->m, type, line, strlen(line)); }

static const char *parse_error(struct world *w, const char *text, bool is_system) {
  struct filter_rights rights = {.is_system = is_system};
  const char *error;
  (void)filter_parse(w->a, str_c(text), &rights, &error);
  return error;
}

static struct filter_result run(struct world *w, const char *text, bool is_system) {
  struct filter_env env = {.x = &w->x, .rights = {.is_system = is_system}, .qualify_domain = "test.ex", .own_address = "fred@test.ex",
                           .home = "/home/fred"};
  const char *error;
  struct filter_command *c = filter_parse(w->a, str_c(text), &env.rights, &error);
  assert_null(error);
  return filter_obey(&env, c);
}

/* "deliver a@b,save /x": what a result asks for. */
static const char *shown(struct world *w, const struct filter_result *r) {
  static const char *const kinds[] = {"deliver", "save", "pipe", "mail", "add", "remove"};
  struct strbuf b = strbuf_new(w->a);
  for (const struct filter_action *act = r->actions; act; act = act->next)
    strbuf_addl(&b, b.n ? "," : "", kinds[act->kind], " ", act->text, act->ignore_error ? " noerror" : "", NULL);
  return b.p;
}

static void errors_have_the_words_of_the_reference(void **state) {
  (void)state;
  static const struct {
    const char *text, *error;
    bool is_system;
  } cases[] = {
    {"bogus thing\n", "unknown filtering command \"bogus\" near line 1 of filter file", false},
    {"deliver\n", "\"deliver\" requires an argument near line 2 of filter file", false},
    {"deliver \"x\n", "quote missing at end of string in line 1", false},
    {"if\n", "\"then\" missing at end of filter file", false},
    {"if true then\n", "unrecognized condition word \"then\" near line 2 of filter file", false},
    {"if \"a\" is \"b\" then deliver x@y\n", "\"endif\" missing at end of filter file", false},
    {"if a foo b then finish endif", "unrecognized condition word \"foo\" near line 1 of filter file", false},
    {"if a \"foo bar\" b then finish endif", "unrecognized condition word \"\"foo\" near line 1 of filter file", false},
    {"if a \"is\" b then finish endif", "unrecognized condition word \"\"is\"\" near line 1 of filter file", false},
    {"if a does \"x y\" b then finish endif", "unrecognized condition word \"\"x\" near line 1 of filter file", false},
    {"if a Does not Contain b then finish endif", "unrecognized condition word \"Contain\" near line 1 of filter file", false},
    {"if a is not \"is\" b then finish endif", "\"and\" or \"or\" or \"then\" expected near line 1 of filter file, but found \"b\"", false},
    {"if a Contains b then finish endif", "unrecognized condition word \"Contains\" near line 1 of filter file", false},
    {"if (a is a then finish endif", "missing \")\" at end of condition near line 1 of filter file", false},
    {"if a is a) then finish endif", "unexpected \")\" in line 1 of filter file", false},
    {"if a is a and then finish endif", "unexpected \"then\" near line 1 of filter file", false},
    {"if a is a THEN finish endif", "\"and\" or \"or\" or \"then\" expected near line 1 of filter file, but found \"THEN\"", false},
    {"else\n", "unexpected \"else\" command near line 2 of filter file", false},
    {"if a is a then finish else finish else finish endif", "\"endif\" missing near line 1 of filter file", false},
    {"add 1 n3\n", "\"to\" expected in \"add\" command near line 2 of filter file", false},
    {"unseen if personal then endif", "\"seen\", \"unseen\", or \"noerror\" found before an \"if\" command near line 1", false},
    {"seen add 1 to n1", "\"seen\", \"unseen\", or \"noerror\" found before an \"add\" command near line 1", false},
    {"seen unseen deliver a@b", "\"seen\" or \"unseen\" repeated near line 1", false},
    {"seen\n", "\"seen\" or \"unseen\" near line 2 is not followed by a command", false},
    {"headers add \"X: y\"", "header addition and removal is available only in system filters: near line 1 of filter file", false},
    {"headers foo x", "\"add\", \"remove\", or \"charset\" expected after \"headers\" near line 1 of filter file", true},
    {"fail \"x\"", "filtering command \"fail\" is disabled: near line 1 of filter file", false},
    {"mail text x return foo\n", "\"return\" not followed by \"message\"  near line 2 of filter file", false},
    {"mail expand text x", "\"expand\" not followed by \"file\"  near line 1 of filter file", false},
    {"if foranyaddress \"a@b\" x is y then finish endif", "\"(\" expected after \"foranyaddress\" near line 1 of filter file", false},
  };
  struct world w;
  setup_world(&w);
  for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
    const char *error = parse_error(&w, cases[i].text, cases[i].is_system);
    assert_non_null(error);
    assert_string_equal(error, cases[i].error);
  }
  drop_world(&w);
}

static void nesting_and_lengths_end_at_a_limit(void **state) {
  (void)state;
  struct world w;
  setup_world(&w);
  struct strbuf b = strbuf_new(w.a);
  for (int i = 0; i < 100000; i++) strbuf_adds(&b, "if ((((((((");
  assert_non_null(parse_error(&w, b.p, false));
  b = strbuf_new(w.a);
  for (int i = 0; i < 5000; i++) strbuf_adds(&b, "if a is a then ");
  assert_non_null(strstr(parse_error(&w, b.p, false), "too deeply"));
  b = strbuf_new(w.a);
  strbuf_adds(&b, "testprint ");
  for (int i = 0; i < FILTER_STRING_MAX; i++) strbuf_addc(&b, 'x');
  assert_string_equal(parse_error(&w, b.p, false), "string is too long in line 1 of filter file");
  /* a long chain of elif is no nesting */
  b = strbuf_new(w.a);
  strbuf_adds(&b, "if a is b then finish ");
  for (int i = 0; i < 100000; i++) strbuf_adds(&b, "elif a is b then finish ");
  strbuf_adds(&b, "else deliver a@b endif");
  assert_null(parse_error(&w, b.p, false));
  struct filter_result r = run(&w, b.p, false);
  assert_string_equal(shown(&w, &r), "deliver a@b");
  /* a condition is obeyed by recursion */
  b = strbuf_new(w.a);
  strbuf_adds(&b, "if a is b ");
  for (int i = 0; i < 100000; i++) strbuf_adds(&b, "or a is b ");
  strbuf_adds(&b, "then finish endif");
  assert_string_equal(parse_error(&w, b.p, false), "condition has too many parts near line 1 of filter file");
  drop_world(&w);
}

/* What a message says must not be expanded, whether the filter has it in quotes or not. */
static void tainted_words_are_not_expanded(void **state) {
  (void)state;
  static const char *const texts[] = {"deliver \"${uc:a}@b\"", "deliver ${uc:a}@b"};
  struct world w;
  setup_world(&w);
  for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
    struct filter_rights rights = {0};
    const char *error;
    const char *text = arena_strndup_t(w.a, texts[i], strlen(texts[i]), TAINTED);
    struct filter_env env = {.x = &w.x, .qualify_domain = "test.ex"};
    struct filter_command *c = filter_parse(w.a, str_c(text), &rights, &error);
    assert_null(error);
    struct filter_result r = filter_obey(&env, c);
    assert_int_equal(r.end, FILTER_BROKEN);
    assert_null(r.actions);
  }
  drop_world(&w);
}

static void commands_decide(void **state) {
  (void)state;
  static const struct {
    const char *text, *actions;
    bool is_significant;
  } cases[] = {
    {"deliver a@b", "deliver a@b", true},
    {"unseen deliver a@b", "deliver a@b", false},
    {"deliver \"A B <x@y>\" deliver local", "deliver x@y,deliver local@test.ex", true},
    {"unseen noerror deliver a@b", "deliver a@b noerror", false},
    {"save mail/box save /abs", "save /home/fred/mail/box,save /abs", true},
    {"pipe \"/bin/x $sender_address\"", "pipe /bin/x $sender_address", true},
    {"finish deliver a@b", "", false},
    {"seen finish", "", true},
    {"if a is a then deliver a@b else deliver c@d endif", "deliver a@b", true},
    {"if a is b then deliver a@b elif 3 is above 2 then deliver c@d else deliver e@f endif", "deliver c@d", true},
    {"if a is b or c is d and e is e or f is f then deliver a@b endif", "deliver a@b", true},
    {"if not (a is b or a is c) and not a is d then deliver a@b endif", "deliver a@b", true},
    {"if delivered then deliver a@b endif deliver c@d if delivered then deliver e@f endif", "deliver c@d,deliver e@f", true},
    {"add 3 to n1 add -5 to n1 if $n1 is -2 then deliver a@b endif", "deliver a@b", true},
    {"if \"\" is \"\" and not \"\" is a then deliver a@b endif", "deliver a@b", true},
    {"if \"x\" contains \"\" then deliver a@b endif if \"x\" CONTAINS \"\" then deliver c@d endif", "deliver c@d", true},
    {"if \"Some Text\" contains \"some t\" then deliver a@b endif if \"Some\" CONTAINS \"some\" then deliver c@d endif", "deliver a@b", true},
    {"if abc matches \"b(.)\" then deliver $1@x endif", "deliver c@x", true},
    {"if abc does not match X and abc begins ab and abc does not end b then deliver a@b endif", "deliver a@b", true},
    {"if 2k is above 2047 and 1m is not below 1000k then deliver a@b endif", "deliver a@b", true},
    {"if foranyaddress \"x@y, \\\"Q\\\" <q@r>, grp: g@h;\" ($thisaddress is g@h) then deliver $thisaddress endif", "deliver g@h", true},
    {"if error_message then deliver a@b endif", "", false},
    {"mail to \"A <a@b>, c@d\" text hello", "mail A <a@b>, c@d", false},
    {"seen mail to a@b text hello", "mail a@b", true},
    {"# only\n# comments\n", "", false},
    {"testprint \"$sender_address\" logfile relative", "", false},
  };
  struct world w;
  setup_world(&w);
  for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
    struct filter_result r = run(&w, cases[i].text, false);
    assert_int_equal(r.end, FILTER_DONE);
    assert_string_equal(shown(&w, &r), cases[i].actions);
    assert_int_equal(r.is_significant, cases[i].is_significant);
  }
  drop_world(&w);
}

static void what_cannot_be_obeyed_is_broken(void **state) {
  (void)state;
  static const char *const cases[][2] = {
    {"deliver \"a b\"", "malformed address \"a b\" in filter file: missing or malformed local part (expected word or \"<\")"},
    {"deliver a@b errors_to c@d", "errors_to must point to the caller's address"},
    {"add x to n1", "malformed number \"x\" in \"add\" command"},
    {"add 1 to n10", "unknown variable \"n10\" in \"add\" command"},
    {"if x is above 2 then finish endif", "malformed numerical string \"x\""},
    {"if 99999999999999999999 is above 2 then finish endif", "malformed numerical string \"99999999999999999999\""},
    {"mail to \"a@b\\nBcc: c@d\" text x", "\\n not followed by space in \"a@b\nBcc: c@d\" in mail command"},
    {"deliver \"$bogus\"", "failed to expand \"$bogus\" in deliver command: unknown variable name \"bogus\""},
    {"logwrite x", "attempt to obey \"logwrite\" command without a previous \"logfile\""},
  };
  struct world w;
  setup_world(&w);
  for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
    struct filter_result r = run(&w, cases[i][0], false);
    assert_int_equal(r.end, FILTER_BROKEN);
    assert_string_equal(r.message, cases[i][1]);
    assert_false(r.is_significant);
  }
  drop_world(&w);
}

static void personal_is_for_people(void **state) {
  (void)state;
  struct world w;
  static const char filter[] = "if personal alias f@alias.ex then deliver a@b endif";
  setup_world(&w);
  add_header(&w, 'F', "From: someone@there.ex\n");
  add_header(&w, 'T', "To: fred@test.ex\n");
  struct filter_result r = run(&w, filter, false);
  assert_true(r.is_significant);
  add_header(&w, ' ', "Precedence: bulk\n");
  r = run(&w, filter, false);
  assert_false(r.is_significant);
  drop_world(&w);
  setup_world(&w);
  add_header(&w, 'F', "From: root@there.ex\n");
  add_header(&w, 'T', "To: f@alias.ex\n");
  r = run(&w, filter, false);
  assert_false(r.is_significant);
  w.m->headers->text = "From: some@there.ex\n";
  w.m->headers->n = strlen(w.m->headers->text);
  r = run(&w, filter, false);
  assert_true(r.is_significant);
  w.m->sender = "";
  r = run(&w, filter, false);
  assert_false(r.is_significant);
  drop_world(&w);
}

static void a_bounce_is_never_answered(void **state) {
  (void)state;
  struct world w;
  setup_world(&w);
  w.m->sender = "";
  struct filter_result r = run(&w, "mail to a@b text x vacation", false);
  assert_int_equal(r.end, FILTER_DONE);
  assert_null(r.actions);
  drop_world(&w);
}

static void system_filters_end_and_change(void **state) {
  (void)state;
  struct world w;
  setup_world(&w);
  struct filter_result r = run(&w, "headers add \"X: a\\n b\" headers remove subject deliver a@b fail \"<<log>>text\" deliver c@d", true);
  assert_int_equal(r.end, FILTER_END_FAIL);
  assert_string_equal(r.message, "<<log>>text");
  assert_string_equal(shown(&w, &r), "add X: a\n b,remove subject,deliver a@b");
  assert_int_equal(run(&w, "freeze text \"x\"", true).end, FILTER_END_FREEZE);
  assert_int_equal(run(&w, "defer", true).end, FILTER_END_DEFER);
  w.m->manual_thaw = true; /* the callers know what a freeze means then; nothing after it is obeyed */
  r = run(&w, "freeze \"x\" deliver a@b", true);
  assert_int_equal(r.end, FILTER_END_FREEZE);
  assert_null(r.actions);
  drop_world(&w);
}

static void header_lines_come_and_go(void **state) {
  (void)state;
  struct world w;
  setup_world(&w);
  add_header(&w, ' ', "Subject: one\n");
  filter_change_header(w.m, true, "X-A: b\n continued\nSubject: two");
  filter_change_header(w.m, false, "nothing : subject");
  struct strbuf b = strbuf_new(w.a);
  for (const struct header_line *h = w.m->headers; h; h = h->next)
    if (h->type != '*') strbuf_add(&b, h->text, h->n);
  assert_string_equal(b.p, "X-A: b\n continued\n");
  drop_world(&w);
}

static void results_survive_the_way_and_damage_is_seen(void **state) {
  (void)state;
  struct world w;
  setup_world(&w);
  struct filter_result r = run(&w, "if abc matches \"b(.)\" then pipe \"/x $1\" endif noerror deliver q@r save /y 640 mail to a@b text t once o "
                               "once_repeat 2d headers charset utf-8 add 7 to n3 seen finish", false), back;
  struct strbuf bytes = strbuf_new(w.a);
  filter_result_encode(&r, &bytes);
  assert_true(filter_result_decode(w.a, strbuf_str(&bytes), &back));
  assert_string_equal(shown(&w, &back), shown(&w, &r));
  assert_int_equal(back.n[3], 7);
  assert_string_equal(back.charset, "utf-8");
  assert_true(back.is_significant);
  assert_int_equal(back.actions->ncaptures, 2);
  assert_string_equal(back.actions->captures[1], "c");
  assert_int_equal(back.actions->next->next->mode, 0640);
  assert_int_equal(back.actions->next->next->next->once_repeat, 2 * 86400);
  for (size_t n = 0; n < bytes.n; n++) assert_false(filter_result_decode(w.a, str_n(bytes.p, n), &back));
  char *copy = arena_strndup(w.a, bytes.p, bytes.n);
  for (size_t i = 0; i < bytes.n; i++) { /* any byte may be anything: only the answer counts, and that nothing is read outside */
    copy[i] ^= 0x55;
    (void)!filter_result_decode(w.a, str_n(copy, bytes.n), &back);
    copy[i] ^= 0x55;
  }
  drop_world(&w);
}

int main(void) {
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(errors_have_the_words_of_the_reference),
    cmocka_unit_test(nesting_and_lengths_end_at_a_limit),
    cmocka_unit_test(tainted_words_are_not_expanded),
    cmocka_unit_test(commands_decide),
    cmocka_unit_test(what_cannot_be_obeyed_is_broken),
    cmocka_unit_test(personal_is_for_people),
    cmocka_unit_test(a_bounce_is_never_answered),
    cmocka_unit_test(system_filters_end_and_change),
    cmocka_unit_test(header_lines_come_and_go),
    cmocka_unit_test(results_survive_the_way_and_damage_is_seen),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
