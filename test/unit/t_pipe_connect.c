/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Early pipelining without a network: plans, records, keywords, the table of failure rules.  Expected: rules C, R and the suspension formula of the
 * early pipelining notes; dump form of a record: exim_dumpdb of deployed Exims. */
#include <signal.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/timeutil.h"
#include "hints/hints.h"
#include "pipe_connect.h"
#include "unit.h"

#ifdef EXPERIMENTAL_PIPE_CONNECT
enum { GOOD = EHLO_PIPELINING | EHLO_SIZE | EHLO_PIPE_CONNECT, DAY = 86400 };

struct fixture {
  struct arena *a;
  struct config cfg;
  struct expand_ctx x;
  struct pipe_need need;
  char spool[64];
};

static void start(struct fixture *f) {
  memset(f, 0, sizeof *f);
  f->a = arena_new("pc");
  snprintf(f->spool, sizeof f->spool, "/tmp/t_pc_XXXXXX");
  assert_non_null(mkdtemp(f->spool));
  f->cfg.spool_directory = f->spool;
  f->cfg.o.retry_data_expire = 7 * DAY;
  f->cfg.o.pipe_connect_suspend = 3600;
  f->x = expand_ctx_new(f->a, &f->cfg);
  f->need = (struct pipe_need){.cfg = &f->cfg, .hosts_pipe_connect = "*", .host_name = "h.test", .host_address = "192.0.2.1", .port = 25, .fingerprint = 77};
}

static void stop(struct fixture *f) {
  static const char *const files[] = {"db/misc", "db/misc.lockfile", "db"};
  char path[100];
  for (size_t i = 0; i < ARRAY_SIZE(files); i++) {
    snprintf(path, sizeof path, "%s/%s", f->spool, files[i]);
    if (unlink(path) < 0) rmdir(path);
  }
  rmdir(f->spool);
  arena_free(f->a);
}

static void put(struct fixture *f, const char *key, const struct hints_ehlo *r) {
  struct strbuf b = strbuf_new(f->a);
  hints_put_ehlo(&b, r);
  struct hints_db *db = hints_open(f->spool, "misc", true);
  assert_non_null(db);
  assert_int_equal(hints_put(db, key, strbuf_str(&b)), 0);
  hints_close(db);
}

static bool get(struct fixture *f, const char *key, struct hints_ehlo *ret) {
  struct hints_db *db = hints_open(f->spool, "misc", false);
  struct str rec;
  if (!db) return false;
  bool ok = hints_get(db, f->a, key, &rec) && hints_get_ehlo(rec, ret);
  hints_close(db);
  return ok;
}

static void test_plan(void **state) {
  (void)state;
  int64_t now = time_sec();
  const struct {
    const char *name;
    struct hints_ehlo r;
    struct pipe_need n;
    enum pipe_refusal why;
    bool learn;
  } rows[] = {
    {"use", {.stamp = now, .clear_features = GOOD, .fingerprint = 77}, {0}, PIPE_OK, true},
    {"C1", {.stamp = now, .clear_features = GOOD, .fingerprint = 77}, {.hosts_pipe_connect = "!*"}, PIPE_HOST_NOT_LISTED, false},
    {"C2", {.stamp = now, .clear_features = GOOD, .fingerprint = 77}, {.is_lmtp = true}, PIPE_NOT_SMTP, false},
    {"C3 esmtp", {.stamp = now, .clear_features = GOOD, .fingerprint = 77}, {.avoid_esmtp = true}, PIPE_AVOIDED, false},
    {"C3 pipelining", {.stamp = now, .clear_features = GOOD, .fingerprint = 77}, {.avoid_pipelining = true}, PIPE_AVOIDED, false},
    {"C4", {.stamp = now, .clear_features = GOOD, .fingerprint = 77}, {.helo_unknown = true}, PIPE_HELO_UNKNOWN, true},
    {"C5 old", {.stamp = now - 8 * DAY, .clear_features = GOOD, .fingerprint = 77}, {0}, PIPE_RECORD_OLD, true},
    {"R2 future", {.stamp = now + 100, .clear_features = GOOD, .fingerprint = 77}, {0}, PIPE_RECORD_OLD, true},
    {"C6 no pipelining", {.stamp = now, .clear_features = EHLO_PIPE_CONNECT, .fingerprint = 77}, {0}, PIPE_RECORD_NO_PIPELINING, true},
    {"C6 no promise", {.stamp = now, .clear_features = EHLO_PIPELINING, .fingerprint = 77}, {0}, PIPE_RECORD_NO_PIPELINING, true},
    {"C7 tls", {.stamp = now, .clear_features = GOOD, .fingerprint = 77}, {.tls_required = true}, PIPE_NEED_UNMET, true},
    {"C7 auth", {.stamp = now, .clear_features = GOOD, .fingerprint = 77}, {.auth_required = true}, PIPE_NEED_UNMET, true},
    {"C7 utf8", {.stamp = now, .clear_features = GOOD, .fingerprint = 77}, {.utf8_needed = true}, PIPE_NEED_UNMET, true},
    {"C8", {.stamp = now, .clear_features = GOOD, .fingerprint = 77}, {.already_failed = true}, PIPE_ALREADY_FAILED, true},
    {"suspended", {.stamp = now, .clear_features = GOOD, .fingerprint = 77, .suspend_until = now + 60}, {0}, PIPE_SUSPENDED, true},
    {"suspension over", {.stamp = now, .clear_features = GOOD, .fingerprint = 77, .suspend_until = now - 1}, {0}, PIPE_OK, true},
    {"C9", {.stamp = now, .clear_features = GOOD, .fingerprint = 78}, {0}, PIPE_FINGERPRINT, true},
    {"nothing known", {.stamp = now, .fingerprint = 77}, {0}, PIPE_NO_RECORD, true},
  };
  for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
    struct fixture f;
    start(&f);
    put(&f, "192.0.2.1:25.EHLO", &rows[i].r);
    struct pipe_need n = f.need;
    if (rows[i].n.hosts_pipe_connect) n.hosts_pipe_connect = rows[i].n.hosts_pipe_connect;
    n.is_lmtp = rows[i].n.is_lmtp;
    n.avoid_esmtp = rows[i].n.avoid_esmtp;
    n.avoid_pipelining = rows[i].n.avoid_pipelining;
    n.helo_unknown = rows[i].n.helo_unknown;
    n.tls_required = rows[i].n.tls_required;
    n.auth_required = rows[i].n.auth_required;
    n.utf8_needed = rows[i].n.utf8_needed;
    n.already_failed = rows[i].n.already_failed;
    struct pipe_plan p = pipe_connect_plan(&f.x, &n);
    CHECK_STR(rows[i].name, pipe_refusal_text(p.why_not), pipe_refusal_text(rows[i].why));
    CHECK_INT(rows[i].name, p.use, rows[i].why == PIPE_OK);
    CHECK_INT(rows[i].name, p.learn, rows[i].learn);
    stop(&f);
  }
}

static void test_learn_and_verify(void **state) {
  (void)state;
  struct fixture f;
  struct hints_ehlo r;
  start(&f);
  f.need.host_address = "2001:db8::1";
  const char *key = "[2001:db8::1]:25.EHLO";
  struct ehlo_facts none = {.features = EHLO_PIPELINING}, good = {.features = GOOD}, more = {.features = GOOD | EHLO_DSN};
  struct pipe_plan p = pipe_connect_plan(&f.x, &f.need);
  assert_int_equal(p.why_not, PIPE_NO_RECORD);
  pipe_connect_learn(&f.x, &p, &f.need, &none, false);
  assert_false(get(&f, key, &r));
  pipe_connect_learn(&f.x, &p, &f.need, &good, false);
  assert_true(get(&f, key, &r));
  assert_int_equal(r.clear_features, GOOD);
  p = pipe_connect_plan(&f.x, &f.need);
  assert_true(p.use);
  assert_int_equal(p.clear.features, GOOD);
  assert_true(pipe_connect_verify(&f.x, &p, &f.need, &good, false)); /* same: not rewritten */
  struct pipe_plan stale = p;
  assert_true(pipe_connect_verify(&f.x, &p, &f.need, &more, false));
  assert_true(get(&f, key, &r));
  assert_int_equal(r.clear_features, GOOD | EHLO_DSN);
  /* R5: a newer record than the one this plan read stays */
  assert_false(pipe_connect_verify(&f.x, &stale, &f.need, &none, false));
  assert_true(get(&f, key, &r));
  p = pipe_connect_plan(&f.x, &f.need);
  assert_false(pipe_connect_verify(&f.x, &p, &f.need, &none, false));
  assert_false(get(&f, key, &r));
  stop(&f);
}

/* STARTTLS: both halves are learnt on one connection and judged apart. */
static void test_two_halves(void **state) {
  (void)state;
  struct fixture f;
  struct hints_ehlo r;
  start(&f);
  f.need.may_tls = f.need.tls_required = true;
  const char *key = "192.0.2.1:25.EHLO";
  struct ehlo_facts clear = {.features = GOOD | EHLO_TLS}, crypted = {.features = GOOD | EHLO_SMTPUTF8, .limit_rcptmax = 7}, other = {.features = GOOD};
  struct pipe_plan p = pipe_connect_plan(&f.x, &f.need);
  pipe_connect_learn(&f.x, &p, &f.need, &clear, false);
  p.stored.stamp--; /* whatever the second */
  pipe_connect_learn(&f.x, &p, &f.need, &crypted, true);
  assert_true(get(&f, key, &r));
  assert_int_equal(r.clear_features, GOOD | EHLO_TLS);
  assert_int_equal(r.crypted_features, GOOD | EHLO_SMTPUTF8);
  assert_int_equal(r.limit_rcptmax, 7);
  p = pipe_connect_plan(&f.x, &f.need);
  assert_true(p.use && p.starttls && p.use_crypted);
  struct str before = p.record;
  assert_true(pipe_connect_verify(&f.x, &p, &f.need, &clear, false)); /* the limits of the other half do not count */
  assert_true(pipe_connect_verify(&f.x, &p, &f.need, &crypted, true));
  assert_true(str_eq(before, p.record));
  f.need.utf8_needed = true;
  assert_true(pipe_connect_plan(&f.x, &f.need).use_crypted);
  assert_true(pipe_connect_verify(&f.x, &p, &f.need, &other, true)); /* no SMTPUTF8 any more: early up to STARTTLS only */
  p = pipe_connect_plan(&f.x, &f.need);
  assert_true(p.use && p.starttls && !p.use_crypted);
  f.need.may_tls = false; /* TLS is required and will not be tried: for the plain way to say */
  assert_false(pipe_connect_plan(&f.x, &f.need).use);
  f.need.may_tls = true;
  p = pipe_connect_plan(&f.x, &f.need);
  assert_true(pipe_connect_verify(&f.x, &p, &f.need, &other, false)); /* STARTTLS gone: the crypted half goes with it (R6) */
  assert_true(get(&f, key, &r));
  assert_int_equal(r.crypted_features, 0);
  p = pipe_connect_plan(&f.x, &f.need);
  assert_int_equal(p.why_not, PIPE_NEED_UNMET);
  stop(&f);
}

static void test_refresh(void **state) {
  (void)state;
  struct fixture f;
  struct hints_ehlo r = {.clear_features = GOOD, .fingerprint = 77};
  struct ehlo_facts good = {.features = GOOD};
  start(&f);
  const char *key = "192.0.2.1:25.EHLO";
  for (int days = 1; days <= 2; days++) { /* written anew only when older than a quarter of retry_data_expire */
    r.stamp = time_sec() - days * DAY;
    put(&f, key, &r);
    struct pipe_plan p = pipe_connect_plan(&f.x, &f.need);
    struct hints_ehlo now;
    assert_true(pipe_connect_verify(&f.x, &p, &f.need, &good, false));
    assert_true(get(&f, key, &now));
    CHECK_INT("refreshed", now.stamp > r.stamp, days == 2);
  }
  stop(&f);
}

static void test_suspension(void **state) {
  (void)state;
  struct fixture f;
  struct hints_ehlo r = {.stamp = time_sec(), .clear_features = GOOD, .fingerprint = 77};
  struct ehlo_facts good = {.features = GOOD};
  start(&f);
  const char *key = "192.0.2.1:25.EHLO";
  put(&f, key, &r);
  static const int64_t want[] = {3600, 4 * 3600, 16 * 3600, 64 * 3600, 7 * DAY, 7 * DAY};
  for (size_t i = 0; i < ARRAY_SIZE(want); i++) {
    struct pipe_plan p = pipe_connect_plan(&f.x, &f.need);
    pipe_connect_failed(&f.x, &p, &f.need);
    assert_true(get(&f, key, &r));
    CHECK_INT("count", r.fail_count, i + 1);
    CHECK_INT("suspension", (r.suspend_until - r.stamp), want[i]);
    CHECK_INT("features", r.clear_features, 0);
    p = pipe_connect_plan(&f.x, &f.need);
    CHECK_INT("suspended", p.why_not, PIPE_SUSPENDED);
    /* the plain attempt that follows learns without lifting the suspension */
    pipe_connect_learn(&f.x, &p, &f.need, &good, false);
    assert_true(get(&f, key, &r));
    CHECK_INT("kept", r.suspend_until > time_sec(), 1);
    r.suspend_until = time_sec() - 1; /* time passes */
    put(&f, key, &r);
  }
  struct pipe_plan p = pipe_connect_plan(&f.x, &f.need);
  assert_true(p.use);
  assert_true(pipe_connect_verify(&f.x, &p, &f.need, &good, false));
  assert_true(get(&f, key, &r));
  assert_int_equal(r.fail_count, 0);
  f.cfg.o.pipe_connect_suspend = 0; /* never: the record just goes */
  p = pipe_connect_plan(&f.x, &f.need);
  pipe_connect_failed(&f.x, &p, &f.need);
  assert_false(get(&f, key, &r));
  stop(&f);
}

/* F10, F11, F14: put right once; again while the first is remembered it is a failure.  What differs does not forgive, what is as remembered does. */
static void test_probation(void **state) {
  (void)state;
  struct fixture f;
  struct hints_ehlo r = {.stamp = time_sec(), .clear_features = GOOD, .fingerprint = 77};
  struct ehlo_facts other = {.features = GOOD | EHLO_DSN}, none = {.features = EHLO_PIPELINING};
  start(&f);
  const char *key = "192.0.2.1:25.EHLO";
  put(&f, key, &r);
  struct pipe_plan p = pipe_connect_plan(&f.x, &f.need);
  assert_false(p.is_on_probation);
  assert_true(pipe_connect_verify(&f.x, &p, &f.need, &other, false));
  pipe_connect_mismatched(&f.x, &p, &f.need);
  assert_true(get(&f, key, &r));
  assert_int_equal(r.clear_features, GOOD | EHLO_DSN);
  assert_int_equal(r.fail_count, 0);
  p = pipe_connect_plan(&f.x, &f.need);
  assert_true(p.use && p.is_on_probation);
  assert_true(pipe_connect_verify(&f.x, &p, &f.need, &other, false)); /* as remembered: talks early on, but is still watched */
  p = pipe_connect_plan(&f.x, &f.need);
  assert_true(p.use && p.is_on_probation);
  assert_false(pipe_connect_verify(&f.x, &p, &f.need, &none, false)); /* nothing is left of it but that it is watched */
  assert_true(get(&f, key, &r));
  assert_int_equal(r.clear_features, 0);
  pipe_connect_mismatched(&f.x, &p, &f.need);
  assert_int_equal(pipe_connect_plan(&f.x, &f.need).why_not, PIPE_SUSPENDED);
  assert_true(get(&f, key, &r));
  assert_int_equal(r.fail_count, 1);
  r = (struct hints_ehlo){.stamp = time_sec(), .clear_features = GOOD, .fingerprint = 77, .fail_count = 1, .suspend_until = time_sec() - 3601};
  put(&f, key, &r); /* long ago */
  p = pipe_connect_plan(&f.x, &f.need);
  assert_true(p.use && !p.is_on_probation);
  assert_true(pipe_connect_verify(&f.x, &p, &f.need, &other, false));
  assert_true(get(&f, key, &r) && r.fail_count == 1);
  assert_true(pipe_connect_verify(&f.x, &p, &f.need, &other, false));
  assert_true(get(&f, key, &r) && r.fail_count == 0);
  assert_false(pipe_connect_verify(&f.x, &p, &f.need, &none, false));
  assert_false(get(&f, key, &r));
  stop(&f);
}

/* R3: a process that sits on the lock keeps nobody waiting: no early attempt, no record. */
static void test_locked_database(void **state) {
  (void)state;
  struct fixture f;
  struct hints_ehlo r = {.stamp = time_sec(), .clear_features = GOOD, .fingerprint = 77};
  struct ehlo_facts other = {.features = GOOD | EHLO_DSN};
  int ready[2];
  char c;
  start(&f);
  put(&f, "192.0.2.1:25.EHLO", &r);
  assert_int_equal(pipe(ready), 0);
  pid_t pid = fork();
  if (pid == 0) {
    struct hints_db *db = hints_open(f.spool, "misc", true);
    if (!db || write(ready[1], "x", 1) != 1) _exit(1);
    for (;;) pause();
  }
  assert_int_equal(read(ready[0], &c, 1), 1);
  deadline_ms late = deadline_in_ms(3000);
  struct pipe_plan p = pipe_connect_plan(&f.x, &f.need);
  assert_int_equal(p.why_not, PIPE_NO_RECORD);
  pipe_connect_learn(&f.x, &p, &f.need, &other, false);
  assert_false(deadline_passed(late));
  assert_int_equal(kill(pid, SIGKILL), 0);
  assert_int_equal(waitpid(pid, NULL, 0), pid);
  close(ready[0]);
  close(ready[1]);
  assert_true(get(&f, "192.0.2.1:25.EHLO", &r));
  assert_int_equal(r.clear_features, GOOD);
  assert_true(pipe_connect_plan(&f.x, &f.need).use);
  stop(&f);
}

static void test_damaged_record(void **state) {
  (void)state;
  struct fixture f;
  start(&f);
  struct hints_db *db = hints_open(f.spool, "misc", true);
  assert_int_equal(hints_put(db, "192.0.2.1:25.EHLO", STR("garbage")), 0);
  hints_close(db);
  struct pipe_plan p = pipe_connect_plan(&f.x, &f.need);
  assert_int_equal(p.why_not, PIPE_NO_RECORD);
  assert_true(p.learn);
  struct ehlo_facts good = {.features = GOOD};
  struct hints_ehlo r;
  pipe_connect_learn(&f.x, &p, &f.need, &good, false);
  assert_true(get(&f, "192.0.2.1:25.EHLO", &r));
  f.cfg.spool_directory = "/nonexistent"; /* R3 */
  p = pipe_connect_plan(&f.x, &f.need);
  assert_false(p.use);
  f.cfg.spool_directory = f.spool;
  stop(&f);
}

static void test_keywords_and_dump(void **state) {
  (void)state;
  assert_true(pipe_connect_is_keyword(STR("PIPECONNECT")));
  assert_true(pipe_connect_is_keyword(STR("x_pipe_connect")));
  assert_true(pipe_connect_is_keyword(STR("Pipe_Connect")));
  assert_false(pipe_connect_is_keyword(STR("PIPE-CONNECT")));
  assert_false(pipe_connect_is_keyword(STR("PIPECONNECT ")));
  assert_false(pipe_connect_is_keyword(STR("")));
  struct arena *a = arena_new("dump");
  struct hints_ehlo r = {.clear_features = GOOD};
  CHECK_STR("dump", pipe_connect_dump(a, "192.0.2.1:25.EHLO", &r), "helo/ehlo 192.0.2.1:25 clr 0160/0000 cry 0000/0000 lim 00000/00000/00000");
  assert_null(pipe_connect_dump(a, "etrn-1", &r));
  arena_free(a);
}

static void test_rules(void **state) {
  (void)state;
  for (int e = 0; e < PIPE_EVENTS; e++) {
    const struct pipe_failure_rule *r = pipe_connect_rule((enum pipe_event)e);
    assert_int_equal(r->event, e);
    assert_non_null(r->classes);
    assert_int_not_equal(r->replain, r->believe); /* what is not believed is tried again, and the other way round */
    if (r->drop_record) assert_true(r->replain || e == PIPE_EV_LOST_WITH_CONTENT);
  }
  assert_false(pipe_connect_rule(PIPE_EV_LOST_AFTER_CONTENT)->replain); /* K7 */
  assert_false(pipe_connect_rule(PIPE_EV_CONNECT_FAILED)->drop_record);
}

int main(void) {
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(test_plan),       cmocka_unit_test(test_learn_and_verify), cmocka_unit_test(test_two_halves),     cmocka_unit_test(test_refresh),
    cmocka_unit_test(test_suspension), cmocka_unit_test(test_probation), cmocka_unit_test(test_locked_database), cmocka_unit_test(test_damaged_record),   cmocka_unit_test(test_keywords_and_dump),
    cmocka_unit_test(test_rules),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
#else
static void test_absent(void **state) {
  (void)state;
  assert_false(pipe_connect_is_keyword(STR("PIPECONNECT")));
}
int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_absent)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
#endif
