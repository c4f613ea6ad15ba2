/* SPDX-License-Identifier: GPL-2.0-or-later */
/* -bt, -bv, -bvs: how addresses are routed, or whether they verify.  Floor: main.  Manual ch. 5.
 *
 * Each address is looked at as that of a new message of this caller.  The exit status is the worst: 0 deliverable, 1 not known, 2 not deliverable. */
#include <stdio.h>

#include "base/macros.h"
#include "cmd_input.h"
#include "cmd_run.h"
#include "formats/rfc5322.h"
#include "os/debug.h"
#include "policy/expand.h"
#include "verify.h"

static int test_one(struct run *r, const char *address, struct verify_seen *seen) {
  struct arena *a = arena_new("verify");
  struct expand_ctx x = expand_ctx_new(a, r->cfg);
  enum cmd_action act = r->c->action;
  struct message *m = message_new(r->cfg);
  m->deliver_firsttime = true; /* what a filter would do with a new message */
  if (!run_test_sender(r, &m->sender)) return 1;
  if (act == CMD_TEST_ADDRESS) x.msg = m;
  x.return_path = m->sender;
  if (act == CMD_VERIFY_RECIPIENT) x.sender_override = m->sender; /* as of the message that would go there */
  struct conn k = {.arena = a, .cfg = r->cfg};
  if (run_has_origin_options(r->c)) x.conn = &k;
  if (x.conn && !run_apply_origin(r, &k)) return 1;
  enum outcome rc = verify_print(&x, run_foreign(a, address), act == CMD_TEST_ADDRESS, act != CMD_VERIFY_SENDER, seen);
  message_free(m);
  arena_free(a);
  return rc == OUTCOME_OK ? 0 : rc == OUTCOME_FAIL ? 2 : 1;
}

static int no_address(void) {
  puts("syntax error: empty address");
  return 2;
}

/* What is given may be several addresses with commas between them. */
static int test_list(struct run *r, const char *text, struct verify_seen *seen) {
  int status = 0;
  bool any = false;
  for (struct str rest = str_c(text); rest.n > 0;) {
    size_t n = MIN(rfc5322_find_address_end(rest), rest.n);
    struct str one = rfc5322_trim(str_n(rest.p, n));
    int rc = one.n ? test_one(r, str_dup(r->a, one), seen) : 0;
    any = any || one.n;
    status = MAX(status, rc);
    rest = n < rest.n ? str_n(rest.p + n + 1, rest.n - n - 1) : STR("");
  }
  return any || !*text ? status : no_address();
}

int cmd_test_addresses(struct run *r) {
  if (r->c->action == CMD_TEST_ADDRESS) debug_selector |= D_V;
  int status = 0;
  struct verify_seen seen = {.arena = r->a, .plan = r->c->plan, .no_reasons = !run_is_admin(r)};
  for (size_t i = 0; i < r->c->args.n; i++) {
    int rc = test_list(r, r->c->args.v[i], &seen);
    if (rc > status) status = rc;
  }
  struct cmd_input in = {0};
  while (!r->c->args.n) {
    printf("> ");
    const char *line = cmd_read_line(&in, r->a);
    if (!line) break;
    struct str s = rfc5322_trim(str_c(line));
    int rc = s.n ? test_one(r, str_dup(r->a, s), &seen) : no_address();
    if (rc > status) status = rc;
  }
  if (!r->c->args.n) putchar('\n');
  return status;
}
