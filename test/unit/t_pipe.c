/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The pipe transport with real commands.  Expected results and texts: manual ch. 29 and the log texts of deployed Exims. */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <unistd.h>

#include "transport.h"
#include "transports/drivers.h"
#include "unit.h"

struct row {
  const char *name, *command;
  const char *option, *value; /* one more option, NULL none */
  enum outcome result;
  const char *message;        /* part of it, NULL: none */
};

static void set(struct arena *a, struct transport *t, const char *name, const char *value) {
  const struct option *o = opt_find(pipe_transport.options, pipe_transport.option_count, str_c(name));
  assert_non_null(o);
  const char *error = opt_store(a, t->ob_block, o, str_c(value), false, false, true);
  if (error) fail_msg("%s: %s", name, error);
}

static void run_row(const struct row *r, bool tainted_redirection) {
  struct arena *a = arena_new("pipe");
  struct config cfg = {.arena = a, .primary_hostname = "me.test", .qualify_domain = "me.test"};
  struct transport t = {.name = "t1", .driver = &pipe_transport};
  t.ob = arena_alloc(a, pipe_transport.ob_size);
  t.ob_block = opt_block_new(a, pipe_transport.options, pipe_transport.option_count, t.ob);
  struct message *m = message_new(&cfg);
  m->sender = "s@me.test";
  message_add_header(m, ' ', "A: b\n", 5);
  FILE *f = tmpfile();
  assert_non_null(f);
  for (int i = 0; i < 20000; i++) fputs("0123456789\n", f);
  fflush(f);
  m->data_fd = dup(fileno(f));
  fclose(f);
  struct expand_ctx x = expand_ctx_new(a, &cfg);
  x.msg = m;
  struct delivery d = {.cfg = &cfg, .arena = a, .msg = m, .transport = &t, .x = &x, .return_path = "s@me.test", .home = "/", .cwd = "/"};
  d.addrs = address_new(a, arena_strdup_t(a, "u@x.test", TAINTED));
  x.addr = d.addrs;
  if (tainted_redirection) {
    d.addrs->is_pipe = true;
    d.addrs->address = arena_printf_t(a, TAINTED, "|%s", r->command);
  } else if (r->command) {
    set(a, &t, "command", r->command);
  }
  set(a, &t, "timeout", "3s");
  if (r->option) set(a, &t, r->option, r->value);
  pipe_transport.deliver(&d);
  const char *got = d.addrs->message;
  if (d.addrs->result != r->result || (r->message ? !got || !strstr(got, r->message) : got != NULL))
    fail_msg("%s: got %d \"%s\"", r->name, d.addrs->result, got ? got : "NULL");
  message_free(m);
  arena_free(a);
}

static void test_commands(void **state) {
  (void)state;
  static const struct row rows[] = {
    {"all input read", "/bin/sh -c 'test `wc -c` -gt 220000'", NULL, NULL, OUTCOME_OK, NULL},
    {"input not read", "/bin/true", NULL, NULL, OUTCOME_OK, NULL},
    {"talks while reading", "/bin/cat", "max_output", "1M", OUTCOME_OK, NULL},
    {"exit code", "/bin/sh -c 'exit 99'", NULL, NULL, OUTCOME_FAIL, "Child process of t1 transport returned 99 from command: /bin/sh"},
    {"temporary", "/bin/sh -c 'exit 75'", NULL, NULL, OUTCOME_DEFER, "returned 75 (could mean temporary error) from command"},
    {"temporary by list", "/bin/sh -c 'exit 9'", "temp_errors", "*", OUTCOME_DEFER, "returned 9"},
    {"ignored", "/bin/sh -c 'exit 9'", "ignore_status", "true", OUTCOME_OK, NULL},
    {"missing", "/non/exist/command", NULL, NULL, OUTCOME_FAIL,
     "returned 127 (could mean unable to exec or command does not exist) from command: /non/exist/command"},
    {"ended by a signal, says the shell", "/bin/sh -c 'exit 137'", NULL, NULL, OUTCOME_FAIL,
     "returned 137 (could mean shell command ended by signal 9 (Killed)) from command: /bin/sh"},
    {"no timeout", "/bin/true", "timeout", "0s", OUTCOME_OK, NULL},
    {"command as it is written", "/bin/sh -c 'kill -9 \\$\\$' \"${lc:AB}\"", NULL, NULL, OUTCOME_FAIL,
     "(running command \"/bin/sh -c 'kill -9 \\$\\$' \"${lc:AB}\"\") was terminated by signal 9 (Killed)"},
    {"not on the path", "no-such-command-here", NULL, NULL, OUTCOME_FAIL, "\"no-such-command-here\" command not found for t1 transport"},
    {"found on the path", "true", NULL, NULL, OUTCOME_OK, NULL},
    {"signal", "/bin/sh -c 'kill -9 \\$\\$'", NULL, NULL, OUTCOME_FAIL, NULL},
    {"timeout", "/bin/sleep 20", "timeout", "1s", OUTCOME_FAIL, "pipe delivery process timed out"},
    {"timeout defers", "/bin/sleep 20", "timeout_defer", "true", OUTCOME_DEFER, "pipe delivery process timed out"},
    {"too much output", "/bin/cat", "max_output", "1K", OUTCOME_FAIL, "was terminated by signal 9 (Killed)"},
    {"none", NULL, NULL, NULL, OUTCOME_DEFER, "no command specified for t1 transport"},
    {"not allowed", "/bin/true", "allow_commands", "/bin/false", OUTCOME_FAIL, "\"/bin/true\" command not permitted by t1 transport"},
    {"allowed", "/bin/true", "allow_commands", "/bin/true", OUTCOME_OK, NULL},
    {"slash", "/bin/true", "restrict_to_path", "true", OUTCOME_FAIL, "\"/\" found in \"/bin/true\""},
    {"one word stays one", "/bin/sh -c 'test \\$# = 2' x \"${if eq{a}{a}{a b c}}\" c", NULL, NULL, OUTCOME_OK, NULL},
    {"tainted word", "/bin/echo $local_part", NULL, NULL, OUTCOME_FAIL, "Tainted arg 1 for t1 transport command: 'u'"},
    {"environment", "/bin/sh -c 'test \"\\$SENDER\\$DOMAIN\\$EXTRA\" = s@me.testx.test1'", "environment", "EXTRA=1", OUTCOME_OK, NULL},
    {"shell", "exit 3", "use_shell", "true", OUTCOME_FAIL, "returned 3"},
    {"batch SMTP", "/bin/grep -qx \"RCPT TO:<u@x.test>\"", "use_bsmtp", "true", OUTCOME_OK, NULL},
  };
  for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
    struct row r = rows[i];
    if (strcmp(r.name, "signal") == 0) r.message = "was terminated by signal 9";
    run_row(&r, false);
  }
}

static void test_tainted_redirection(void **state) {
  (void)state;
  run_row(&(struct row){"redirected", "/bin/echo x", NULL, NULL, OUTCOME_DEFER, "Tainted '/bin/echo x' (command for t1 transport) not permitted"}, true);
}

int main(void) {
  signal(SIGPIPE, SIG_IGN); /* as the program does at its start */
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_commands), cmocka_unit_test(test_tainted_redirection)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
