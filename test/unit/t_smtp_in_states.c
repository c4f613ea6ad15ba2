/* SPDX-License-Identifier: GPL-2.0-or-later */
/* PRO-1: every command in every state of a session: the code of its reply, and whether DATA finds a transaction behind it.
 *
 * Each of 12 states is met by each of 22 commands in a session of its own.  The codes are RFC 5321's, and those of Exim 4.96 where that program has the
 * command (it knows neither XCLIENT nor WELLKNOWN). */
#include "unit.h"

#include "smtp_session.h"

static struct config *cfg;

static const char conf_text[] =
  "primary_hostname = mx.test.ex\n"
  "spool_directory = %s\n"
  "log_file_path = %s/%%slog\n"
  "acl_smtp_rcpt = check_rcpt\n"
  "acl_smtp_data = check_data\n"
  "acl_smtp_mail = check_mail\n"
  "keep_environment =\n"
  "tls_advertise_hosts =\n"
  "host_lookup =\n"
  "queue_only\n"
  "check_spool_space = 0\n"
  "check_spool_inodes = 0\n"
  "smtp_enforce_sync = false\n"
  "begin acl\n"
  "check_mail:\n"
  "  deny senders = refused@b\n"
  "  accept\n"
  "check_data:\n"
  "  deny condition = ${if match{$h_subject:}{spam}}\n"
  "  accept\n"
  "check_rcpt:\n"
  "  deny local_parts = bad\n"
  "       message = 551 5.7.1 not\\nwanted\n"
  "  defer local_parts = later\n"
  "  accept domains = test.ex\n";

static int setup(void **state) {
  if (scratch_setup(state) < 0) return -1;
  cfg = session_config("conf", conf_text, scratch_dir, scratch_dir);
  if (!cfg) return -1;
  session_log(cfg);
  return 0;
}

static int teardown(void **state) {
  log_close();
  return scratch_teardown(state);
}

/* A dialogue, each line sent when the replies so far were taken; the codes of the last two replies in front of what QUIT got. */
static const char *codes(struct arena *a, const char *const *lines, size_t n) {
  struct strbuf in = strbuf_new(a);
  size_t *cuts = ARENA_NEW_N(a, size_t, n);
  for (size_t i = 0; i < n; i++) {
    strbuf_addl(&in, lines[i], "\r\n", NULL);
    cuts[i] = in.n;
  }
  return session_codes(a, session_run(a, cfg, strbuf_str(&in), cuts, n));
}

#define HELLO "EHLO x"
#define MAIL "MAIL FROM:<a@b>"
#define RCPT "RCPT TO:<a@test.ex>"
#define CHUNK "BDAT 4\r\nA:" /* and the line end */

enum { MAX_LINES = 6 };

static const char *const verbs[] = {
  "HELO x", HELLO, MAIL, RCPT, "DATA", "BDAT 0 LAST", "RSET", "NOOP", "QUIT", "VRFY a", "EXPN a", "HELP", "ETRN #x", "XCLIENT ADDR=192.0.2.9",
  "WELLKNOWN x", "AUTH PLAIN", "STARTTLS", "FOO", "MAIL FROM:<a@b", "RCPT TO:<a@b", "MAIL", "RCPT TO:<later@test.ex>",
};

/* The replies, in the order of the commands; behind them for each: t a transaction with a recipient, - none, e the command was DATA and took a message,
 * x the session is over. */
static const struct {
  const char *name, *lines[MAX_LINES], *want, *then;
} rows[] = {
  {"greeted", {NULL}, "250 250 503 503 503 503 250 250 221 501 550 214 458 501 503 503 503 500 503 503 500 503", "--------x-------------"},
  {"HELO", {"HELO x"}, "250 250 250 503 503 503 250 250 221 501 550 214 458 501 503 503 503 500 501 503 500 503", "--------x-------------"},
  {"EHLO", {HELLO}, "250 250 250 503 503 503 250 250 221 501 550 214 458 501 503 503 503 500 501 503 500 503", "--------x-------------"},
  {"MAIL", {HELLO, MAIL}, "250 250 503 250 503 503 250 250 221 501 550 214 503 501 503 503 503 500 503 501 500 451", "---t----x-------------"},
  {"MAIL refused", {HELLO, "MAIL FROM:<refused@b>"}, "250 250 250 503 503 503 250 250 221 501 550 214 458 501 503 503 503 500 501 503 500 503",
   "--------x-------------"},
  {"RCPT", {HELLO, MAIL, RCPT}, "250 250 503 250 354 250 250 250 221 501 550 214 503 501 503 503 503 500 503 501 500 451", "--tte--txttttttttttttt"},
  {"RCPT refused", {HELLO, MAIL, "RCPT TO:<bad@test.ex>"}, "250 250 503 250 503 503 250 250 221 501 550 214 503 501 503 503 503 500 503 501 500 451",
   "---t----x-------------"},
  {"message taken", {HELLO, MAIL, RCPT, "DATA", "Subject: x\r\n\r\n."}, "250 250 250 503 503 503 250 250 221 501 550 214 458 501 503 503 503 500 501 503 500 503",
   "--------x-------------"},
  {"message refused", {HELLO, MAIL, RCPT, "DATA", "Subject: spam\r\n\r\n."},
   "250 250 250 503 503 503 250 250 221 501 550 214 458 501 503 503 503 500 501 503 500 503", "--------x-------------"},
  {"between chunks", {HELLO, MAIL, RCPT, CHUNK}, "503 503 503 503 503 250 250 250 221 503 503 503 503 503 503 503 503 503 503 503 503 503",
   "--------x-------------"},
  {"chunks broken", {HELLO, MAIL, RCPT, CHUNK, "DATA"}, "503 503 503 503 503 503 250 503 221 503 503 503 503 503 503 503 503 503 503 503 503 503",
   "--------x-------------"},
  {"RSET", {HELLO, MAIL, RCPT, "RSET"}, "250 250 250 503 503 503 250 250 221 501 550 214 458 501 503 503 503 500 501 503 500 503", "--------x-------------"},
};

/* The index-th of the codes in a row. */
static const char *code_at(struct arena *a, const char *codes_text, size_t index) {
  return strlen(codes_text) >= 4 * index + 3 ? arena_strndup(a, codes_text + 4 * index, 3) : "";
}

static void check_one(size_t row, size_t verb) {
  struct arena *a = arena_new("test");
  const char *lines[MAX_LINES + 4];
  size_t n = 0;
  while (n < MAX_LINES && rows[row].lines[n]) {
    lines[n] = rows[row].lines[n];
    n++;
  }
  size_t before = n + 1; /* replies: with the greeting */
  lines[n++] = verbs[verb];
  const char *want = code_at(a, rows[row].want, verb);
  bool takes_data = strcmp(want, "354") == 0;
  if (takes_data) lines[n++] = ".";
  lines[n++] = takes_data ? "NOOP" : "DATA";
  lines[n++] = ".\r\nQUIT";
  const char *all = codes(a, lines, n);
  const char *got = code_at(a, all, before), *next = code_at(a, all, before + 1);
  if (strcmp(got, want) != 0) fail_msg("%s, %s: got %s, want %s (%s)", rows[row].name, verbs[verb], got, want, all);
  static const struct {
    char mark;
    const char *code;
  } marks[] = {{'t', "354"}, {'-', "503"}, {'e', "250"}, {'x', ""}};
  for (size_t i = 0; i < ARRAY_SIZE(marks); i++)
    if (marks[i].mark == rows[row].then[verb] && strcmp(next, marks[i].code) != 0)
      fail_msg("%s, %s, then DATA: got %s, want %s (%s)", rows[row].name, verbs[verb], next, marks[i].code, all);
  arena_free(a);
}

static void every_verb_in_every_state(void **state) {
  (void)state;
  for (size_t r = 0; r < ARRAY_SIZE(rows); r++) {
    assert_int_equal(strlen(rows[r].then), ARRAY_SIZE(verbs));
    for (size_t v = 0; v < ARRAY_SIZE(verbs); v++) check_one(r, v);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(every_verb_in_every_state)};
  return cmocka_run_group_tests(tests, setup, teardown);
}
