/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Modes about messages that are here: -M and its kin, -bp and its kin, -q.  Floor: main.  Manual ch. 5.
 *
 * Deliveries run in a child each, so that nothing of one is left for the next. */
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "cmd_run.h"
#include "deliver.h"
#include "os/sys.h"
#include "spool.h"

struct delivery_job {
  const struct config *cfg;
  const char *id;
  struct deliver_opts o;
};

static int deliver_in_child(const struct delivery_job *j) {
  int status = 0;
  pid_t pid = sys_fork("delivery");
  if (pid < 0) return run_refuse("cannot fork a delivery process");
  if (pid == 0) {
    sys_role(SYS_ROLE_DELIVERY);
    deliver_message(j->cfg, j->id, &j->o);
    _exit(EXIT_SUCCESS);
  }
  if (sys_waitpid(pid, &status, 0) < 0 || !WIFEXITED(status)) return EXIT_FAILURE;
  return WEXITSTATUS(status);
}

/* -MG. */
static int move_each(struct run *r) {
  int status = EXIT_SUCCESS;
  for (size_t i = 0; i < r->c->args.n; i++)
    if (!queue_move(r->cfg, r->c->args.v[i], r->c->move_to)) status = EXIT_FAILURE;
  putchar('\n');
  return status;
}

static int act_on_queue(struct run *r) {
  const struct cmdline *c = r->c;
  const char *const *args = (const char *const *)c->args.v;
  int status = EXIT_SUCCESS;
  switch (c->queue_action) {
  case QUEUE_MOVE: return move_each(r);
  case QUEUE_ADD_RECIPIENT: /* one message, and what to do with it */
  case QUEUE_EDIT_SENDER:
  case QUEUE_MARK_DELIVERED:
    return queue_action(r->cfg, args[0], c->queue_action, args + 1, c->args.n - 1, r->who.login) ? EXIT_SUCCESS : EXIT_FAILURE;
  default: break;
  }
  for (size_t i = 0; i < c->args.n; i++)
    if (!queue_action(r->cfg, args[i], c->queue_action, NULL, 0, r->who.login)) status = EXIT_FAILURE;
  return status;
}

int cmd_message(struct run *r) {
  const struct cmdline *c = r->c;
  if (c->message_action == CMD_M_QUEUE_ACTION) return act_on_queue(r);
  int status = EXIT_SUCCESS;
  bool forced = c->message_action == CMD_M_DELIVER;
  for (size_t i = 0; i < c->args.n; i++) {
    struct delivery_job j = {.cfg = r->cfg, .id = c->args.v[i], .o = {.forced = forced, .thaw = forced, .dont_deliver = c->dont_deliver}};
    if (deliver_in_child(&j) != EXIT_SUCCESS) status = EXIT_FAILURE;
  }
  return status;
}

static bool is_own_message(const struct run *r, const char *id) {
  struct message *m = NULL;
  bool own = spool_peek(r->cfg, id, &m) == SPOOL_OPENED && m->uid == r->who.uid;
  message_free(m);
  return own;
}

bool cmd_owns_all(const struct run *r) {
  for (size_t i = 0; i < r->c->args.n; i++)
    if (!is_own_message(r, r->c->args.v[i])) return false;
  return r->c->args.n > 0;
}

int cmd_list(struct run *r) {
  vec_push(&r->c->args, NULL);
  return queue_list(r->cfg, r->c->list_kind, r->c->list_sorted, r->c->args.n > 1 ? (const char *const *)r->c->args.v : NULL);
}

int cmd_queue_run(struct run *r) {
  struct queue_run_opts o = r->c->run;
  o.dont_deliver = r->c->dont_deliver;
  return queue_run(r->cfg, &o) ? EXIT_SUCCESS : EXIT_FAILURE;
}
