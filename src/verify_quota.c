/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Verifying that a mailbox has room (verify_quota.h).  Floor: flows.  Manual ch. 44 "Address verification", "Quota caching".
 *
 * The mailbox is looked at with its user's rights.  A process that can become that user looks itself; a session of the daemon, which has no
 * root, asks the queue manager: a notice with the address, and one end of a socket for the answer.  There the address is routed anew, without
 * what is known of the session.  Nothing is executed and nothing expanded with root's rights.  An answer that does not come within
 * ANSWER_WAIT_MS, like every other trouble, is a temporary failure.
 *
 * Results are kept in the hints database "callout", under ADDRESS/quota.  "Full" is kept only when it holds for a message of any size: a large message
 * that does not fit says nothing about the next one. */
#include "verify_quota.h"

#include <errno.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "deliver.h"
#include "hints/hints.h"
#include "message.h"
#include "os/debug.h"
#include "os/fd_message.h"
#include "os/priv.h"
#include "os/sys.h"
#include "policy/narrate.h"
#include "queue.h"
#include "queue_notice.h"
#include "transport.h"
#include "verify.h"

enum { ANSWER_WAIT_MS = 30000, RECORD_FULL = 2, RECORD_ROOM = 1 };

/* ---- results that are kept ---- */

static const char *cache_key(struct expand_ctx *x, const struct address *addr) { return arena_printf(x->a, "%s/quota", addr->address); }

/* RECORD_... or 0. */
static int read_cache(struct expand_ctx *x, const struct address *addr, const struct verify_opts *o) {
  struct hints_db *db = o->quota_pos_sec > 0 || o->quota_neg_sec > 0 ? hints_open(x->cfg->spool_directory, "callout", false) : NULL;
  struct hints_callout r = {0};
  struct str bytes;
  if (!db) return 0;
  bool found = hints_get(db, x->a, cache_key(x, addr), &bytes) && hints_get_callout(bytes, &r) && !r.is_domain;
  hints_close(db);
  int64_t life = r.result == RECORD_ROOM ? o->quota_pos_sec : o->quota_neg_sec;
  if (!found || time_sec() - r.stamp >= life) return 0;
  narrate(x, D_VERIFY, "quota cache: found %s record for %s", r.result == RECORD_ROOM ? "positive" : "negative", addr->address);
  return r.result;
}

static void write_cache(struct expand_ctx *x, const struct address *addr, int result) {
  struct hints_db *db = hints_open(x->cfg->spool_directory, "callout", true);
  if (!db) return; /* hints are advice */
  struct strbuf b = strbuf_new(x->a);
  struct hints_callout r = {.stamp = time_sec(), .result = result};
  hints_put_callout(&b, &r);
  (void)hints_put(db, cache_key(x, addr), strbuf_str(&b));
  hints_close(db);
}

/* ---- asking the queue manager ---- */

static bool send_question(int fd, const char *address, int64_t size, int answer_fd) {
  char buf[QUEUE_NOTICE_MAX];
  size_t n = queue_notice_write(buf, &(struct queue_notice){.kind = QUEUE_NOTICE_QUOTA, .address = address, .size = size});
  return n > 0 && fd_message_send(fd, buf, n, answer_fd, 0) == 0;
}

static enum outcome ask_manager(struct expand_ctx *x, const char *address, int64_t size, struct verify_report *ret) {
  char buf[QUEUE_ANSWER_MAX];
  struct queue_answer answer = {.outcome = OUTCOME_DEFER, .log = "quota could not be checked: no answer from the queue manager"};
  int ends[2];
  ret->log = answer.log;
  if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) < 0) return OUTCOME_DEFER;
  bool asked = send_question(queue_get_notify_fd(), address, size, ends[1]);
  (void)!sys_close(ends[1]);
  struct pollfd p = {ends[0], POLLIN, 0};
  ssize_t got = 0;
  for (deadline_ms end = deadline_in_ms(ANSWER_WAIT_MS); asked && !deadline_passed(end);) {
    int ready = poll(&p, 1, deadline_poll_ms(end));
    if (ready < 0 && errno == EINTR) continue;
    if (ready > 0) got = recv(ends[0], buf, sizeof buf, MSG_DONTWAIT);
    break;
  }
  (void)!sys_close(ends[0]);
  if (got <= 0 || !queue_answer_read(str_n(buf, (size_t)got), &answer)) return OUTCOME_DEFER;
  ret->user = answer.user ? arena_strdup_t(x->a, answer.user, TAINTED) : NULL;
  ret->log = answer.log ? arena_strdup_t(x->a, answer.log, TAINTED) : NULL;
  return answer.outcome;
}

void quota_serve(const struct config *cfg, const char *address, int64_t size, int fd) {
  char buf[QUEUE_ANSWER_MAX];
  struct message *m = message_new(cfg);
  struct expand_ctx x = expand_ctx_new(m->arena, cfg);
  struct verify_report report = {.user = NULL};
  m->sender = "";
  m->message_size = size;
  x.msg = m;
  x.verify_mode = "R";
  enum outcome o = verify_quota_alone(&x, arena_strdup_t(m->arena, address, TAINTED), size, &report);
  size_t n = queue_answer_write(buf, &(struct queue_answer){.outcome = o, .user = report.user, .log = report.log});
  (void)!send(fd, buf, n, MSG_NOSIGNAL); /* a session that is gone needs none */
  message_free(m);
}

/* ---- the check ---- */

static enum outcome check(struct expand_ctx *x, struct address *addr, int64_t size, struct verify_report *ret) {
  if (!priv_can_raise() && queue_get_notify_fd() >= 0) return ask_manager(x, addr->address, size, ret);
  enum outcome o = deliver_check_quota(x, addr, size);
  if (o != OUTCOME_OK) *ret = (struct verify_report){.user = addr->user_message, .log = addr->message};
  return o;
}

enum outcome quota_verify(struct expand_ctx *x, struct address *addr, const struct verify_opts *o, struct verify_report *ret) {
  int64_t size = x->msg ? MAX(x->msg->message_size, INT64_C(0)) : 0;
  if (!x->msg || !addr->transport || !addr->transport->driver->knows_quota) return OUTCOME_OK;
  int known = read_cache(x, addr, o);
  enum outcome result = known == RECORD_ROOM ? OUTCOME_OK : OUTCOME_FAIL;
  if (known) {
    if (result == OUTCOME_FAIL) *ret = (struct verify_report){.log = "Previous (cached) quota verification failure"};
  } else {
    result = check(x, addr, size, ret);
    if (result == OUTCOME_FAIL) *ret = (struct verify_report){.log = "Over quota"}; /* as Exim: whose file is how full is not for strangers */
    struct verify_report unused = {.user = NULL};
    bool is_full = result == OUTCOME_FAIL && o->quota_neg_sec > 0 && (size == 0 || check(x, addr, 0, &unused) == OUTCOME_FAIL);
    if (result == OUTCOME_OK && o->quota_pos_sec > 0) write_cache(x, addr, RECORD_ROOM);
    if (is_full) write_cache(x, addr, RECORD_FULL);
  }
  if (result == OUTCOME_FAIL) ret->failure = "quota";
  return result;
}
