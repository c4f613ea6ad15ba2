/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The command line: what each form means, and the message for each wrong one.  Expected texts: manual ch. 5 and Debian's binary. */
#include "unit.h"

#include "cmdline.h"

enum { MAX_WORDS = 24 };

/* Words of text, separated by blanks, as argv; "''" is an empty argument. */
static bool parse(struct arena *a, const char *text, struct cmdline *c, const char **ret_error) {
  static char *argv[MAX_WORDS + 1];
  int argc = 0;
  struct str rest = str_c(text);
  while (rest.n && argc < MAX_WORDS) {
    struct str w = str_cut(&rest, ' ');
    if (w.n) argv[argc++] = str_eq_c(w, "''") ? arena_strdup(a, "") : str_dup(a, w);
  }
  argv[argc] = NULL;
  return cmdline_parse(c, a, argc, argv, ret_error);
}

static void test_errors(void **state) {
  (void)state;
#define UNKNOWN(o) "exim abandoned: unknown, malformed, or incomplete option " o "\n"
  static const struct {
    const char *args, *want;
  } rows[] = {
      {"exim -bX", UNKNOWN("-bX")},
      {"exim --foo", UNKNOWN("--foo")},
      {"exim -A", UNKNOWN("-A")},
      {"exim -o", UNKNOWN("-o")},
      {"exim -bdx", UNKNOWN("-bdx")},
      {"exim -bpx", UNKNOWN("-bpx")},
      {"exim -bvx", UNKNOWN("-bvx")},
      {"exim -odz", UNKNOWN("-odz")},
      {"exim -oez", UNKNOWN("-oez")},
      {"exim -oMx a", UNKNOWN("-oMx")},
      {"exim -Mx", UNKNOWN("-Mx")},
      {"exim -f", UNKNOWN("-f")},
      {"exim -F", UNKNOWN("-F")},
      {"exim -C", UNKNOWN("-C")},
      {"exim -p", UNKNOWN("-p")},
      {"exim -bh", UNKNOWN("-bh")},
      {"exim -bh 1.2.3", "exim abandoned: \"1.2.3\" is not an IP address\n"},
      {"exim -oM", "exim: data expected after -oM\n"},
      {"exim -oMm 123456-67890-11", "exim: -oMm must be a valid message ID\n"},
      {"exim -oMs x\ny", "exim: the text after -oMs must not have a line end\n"},
      {"exim -oMr x\r", "exim: the text after -oMr must not have a line end\n"},
      {"exim -px\ny", UNKNOWN("-p")},
      {"exim -q5", "exim: bad time value -q5: abandoned\n"},
      {"exim -qz", "exim: bad time value -qz: abandoned\n"},
      {"exim -os 5x", "exim: bad time value 5x: abandoned\n"},
      {"exim -or", "exim: bad time value -or: abandoned\n"},
      {"exim -M", "exim: no message ids given after -M option\n"},
      {"exim -Mvh", "exim: no message ids given after -Mvh option\n"},
      {"exim -M x", "exim: malformed message id x after -M option\n"},
      {"exim -R", "exim: string expected after -R\n"},
      {"exim -S", "exim: string expected after -S\n"},
      {"exim -O", "exim: string expected after -O\n"},
      {"exim -z", "exim: file name expected after -z\n"},
      {"exim -d+foo", "exim: unknown debug_selector setting: +foo\n"},
      {"exim -D", "exim: macro name set by -D must start with an upper case letter\n"},
      {"exim -Da=b", "exim: macro name set by -D must start with an upper case letter\n"},
      {"exim -DA=1 -DA=2", "exim: duplicated -D in command line\n"},
      {"exim -bd -t", "exim: incompatible command-line options or arguments\n"},
      {"exim -qG../up", "exim: bad name of a queue: -qG../up\n"},
      {"exim -qGinput", "exim: bad name of a queue: -qGinput\n"},
  };
  for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
    struct arena *a = arena_new("t");
    struct cmdline c;
    const char *error = "";
    if (parse(a, rows[i].args, &c, &error)) fail_msg("no error for %s", rows[i].args);
    CHECK_STR(rows[i].args, error, rows[i].want);
    arena_free(a);
  }
}

static void test_actions(void **state) {
  (void)state;
  static const struct {
    const char *args;
    enum cmd_action action;
    size_t left; /* arguments that remain */
  } rows[] = {
      {"exim", CMD_SUBMIT, 0},
      {"/usr/sbin/sendmail -t -oi -oem a@b", CMD_SUBMIT, 1},
      {"/usr/bin/mailq", CMD_LIST, 0},
      {"runq", CMD_QUEUE_RUN, 0},
      {"rsmtp", CMD_BATCH_SMTP, 0},
      {"newaliases", CMD_ALIASES, 0},
      {"exim -bV -C x -DA=b", CMD_VERSION, 0},
      {"exim -bP -C x qualify_domain router r1", CMD_PRINT, 3},
      {"exim -be -x", CMD_EXPAND, 0},
      {"exim -be a -x", CMD_EXPAND, 2},
      {"exim -bd -q30m", CMD_DAEMON, 0},
      {"exim -q30m", CMD_DAEMON, 0},
      {"exim -q 30m", CMD_DAEMON, 0},
      {"exim -qff", CMD_QUEUE_RUN, 0},
      {"exim -Rf x", CMD_QUEUE_RUN, 0},
      {"exim -bp 1xVaVM-000000005Gf-1uPK", CMD_LIST, 1},
      {"exim -Mrm 1xVaVM-000000005Gf-1uPK 1xVaVM-0005Gf-1u", CMD_MESSAGE, 2},
      {"exim -bh 1.2.3.4", CMD_HOST_CHECK, 0},
      {"exim -bh ::1", CMD_HOST_CHECK, 0},
      {"exim -bs", CMD_SMTP, 0},
      {"exim -bt a@b c@d", CMD_TEST_ADDRESS, 2},
  };
  for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
    struct arena *a = arena_new("t");
    struct cmdline c;
    const char *error = "";
    if (!parse(a, rows[i].args, &c, &error)) fail_msg("%s: %s", rows[i].args, error);
    CHECK_INT(rows[i].args, c.action, rows[i].action);
    CHECK_INT(rows[i].args, c.args.n, rows[i].left);
    arena_free(a);
  }
}

static void test_values(void **state) {
  (void)state;
  struct arena *a = arena_new("t");
  struct cmdline c;
  const char *error = "";
  assert_true(parse(a, "exim -f '' -Fname -oMa 1.2.3.4 -oMr smtp -odf -oep -i -N -v -DAB=x -DC to@x", &c, &error));
  assert_string_equal(c.sender, "");
  assert_string_equal(c.full_name, "name");
  assert_string_equal(c.om_address, "1.2.3.4");
  assert_string_equal(c.om_protocol, "smtp");
  assert_true(c.deliver_foreground && c.ignore_dots && c.dont_deliver && c.verbose && c.errors_to_stderr);
  assert_string_equal(c.macros->name, "C");
  assert_string_equal(c.macros->value, "");
  assert_string_equal(c.macros->next->value, "x");
  assert_true(parse(a, "exim -bd -qqff1h -oX 1225 -oP /p", &c, &error));
  assert_int_equal(c.queue_interval_sec, 3600);
  assert_true(c.run.two_stage && c.run.forced && c.run.force_thaw && c.background_smtp);
  assert_string_equal(c.listen, "1225");
  assert_true(parse(a, "exim -qqGslow/5m", &c, &error));
  assert_string_equal(c.run.name, "slow");
  assert_int_equal(c.queue_interval_sec, 300);
  assert_true(c.run.two_stage && c.action == CMD_DAEMON);
  assert_true(parse(a, "exim -qGslow -MG fast 1xVaVM-000000005Gf-1uPK", &c, &error));
  assert_string_equal(c.run.name, "slow");
  assert_string_equal(c.move_to, "fast");
  assert_true(c.action == CMD_MESSAGE && c.queue_action == QUEUE_MOVE && c.args.n == 1);
  assert_true(parse(a, "exim -odi -odqs -bnq x@y", &c, &error));
  assert_true(c.queue_smtp && c.deliver_foreground && c.no_qualify);
  assert_false(c.background_smtp);
  assert_true(parse(a, "exim -q 1xVaVM-000000005Gf-1uPK 1xVaVM-000000005Gf-1uPL", &c, &error));
  assert_string_equal(c.run.start_id, "1xVaVM-000000005Gf-1uPK");
  assert_string_equal(c.run.stop_id, "1xVaVM-000000005Gf-1uPL");
  assert_true(parse(a, "exim -Rrff x.y", &c, &error));
  assert_true(c.run.recipient_is_regex && c.run.force_thaw);
  assert_string_equal(c.run.match_recipient, "x.y");
  assert_true(parse(a, "exim -puucp:host a", &c, &error));
  assert_string_equal(c.om_protocol, "uucp");
  assert_string_equal(c.om_host, "host");
  arena_free(a);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_errors),
      cmocka_unit_test(test_actions),
      cmocka_unit_test(test_values),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
