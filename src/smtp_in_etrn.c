/* SPDX-License-Identifier: GPL-2.0-or-later */
/* ETRN: start the delivery of what waits for somebody.
 *
 * Floor: flows.  The argument is foreign text; it becomes a word of a command, never words, and no shell sees it.  smtp_etrn_command
 * runs beside the session, with the rights the session has; nobody waits for its status.  With smtp_etrn_serialize a hints record (database "misc", keyed by a
 * digest of the argument) stands while it runs; records older than six hours are left over and ignored.  RFC 1985; manual ch. 49 "The ETRN
 * command". */
#include <fcntl.h>
#include <gnutls/crypto.h>
#include <sys/wait.h>
#include <unistd.h>

#include "formats/codecs.h"
#include "hints/hints.h"
#include "os/child.h"
#include "os/debug.h"
#include "os/sys.h"
#include "policy/narrate.h"
#include "queue.h"
#include "smtp_in_priv.h"
#include "transport_command.h"

enum { SERIALIZE_STALE_SEC = 6 * 3600 };

/* ---- one at a time ---- */

static const char *serialize_key(struct arena *a, struct str arg) {
  unsigned char d[16];
  if (gnutls_hash_fast(GNUTLS_DIG_MD5, arg.p, arg.n, d) != 0) return NULL;
  return arena_printf(a, "etrn-%s", hex_encode(a, d, sizeof(d)));
}

/* False: one with this argument is running.  Without a database nothing is known, and the command runs. */
static bool serialize_begin(struct smtp_session *s, const char *key) {
  struct hints_db *db = hints_open(s->c->cfg->spool_directory, "misc", true);
  struct hints_serialize r;
  struct str bytes;
  if (!db) return true;
  bool running = hints_get(db, s->tmp, key, &bytes) && hints_get_serialize(bytes, &r) && r.count > 0 &&
                 time_sec() - r.stamp < SERIALIZE_STALE_SEC;
  if (!running) {
    struct hints_serialize mine = {.stamp = time_sec(), .count = 1};
    struct strbuf b = strbuf_new(s->tmp);
    hints_put_serialize(&b, &mine);
    (void)hints_put(db, key, strbuf_str(&b));
  }
  hints_close(db);
  return !running;
}

/* ---- running ---- */

struct etrn_job {
  const char *const *argv;  /* NULL: a queue run for match */
  const char *match, *key;
};

static void run_command(const struct config *cfg, const struct etrn_job *j) {
  struct child_spec spec = {.argv = j->argv, .uid = (uid_t)-1, .gid = (gid_t)-1, .umask = -1, .stdin_fd = -2, .stdout_fd = -2};
  struct child c;
  int rc = child_run(&spec, &c), status;
  if (rc < 0) log_write(LS_ALWAYS, LOG_MAIN | LOG_PANIC, "exec of \"%s\" (ETRN) failed: %s", j->argv[0], strerror(-rc));
  else (void)!child_wait(&c, DEADLINE_NEVER, &status);
  queue_serialize_end(cfg, j->key);
}

/* A process of its own, which has let go of the connection: the client must see its end.  In the daemon a queue run is the queue manager's, who can
 * take on the identities that deliveries need. */
static bool start(struct smtp_session *s, const struct etrn_job *j) {
  int manager = queue_get_notify_fd();
  if (!j->argv && manager >= 0)
    return queue_notify(manager, &(struct queue_notice){.kind = QUEUE_NOTICE_RUN, .pattern = j->match, .serialize_key = j->key});
  pid_t pid = sys_fork("ETRN");
  if (pid != 0) return pid > 0;
  int null = sys_open("/dev/null", O_RDWR, 0), fd = s->c->io ? stream_fd(s->c->io) : -1;
  for (int i = 0; null >= 0 && i <= 1; i++) (void)dup2(null, i);
  if (null >= 0 && fd > 2) (void)dup2(null, fd);
  if (j->argv) {
    run_command(s->c->cfg, j);
    _exit(0);
  }
  if (null >= 0) (void)dup2(null, 2);
  struct queue_run_opts o = {.match_recipient = j->match};
  sys_role(SYS_ROLE_DELIVERY);
  (void)queue_run(s->c->cfg, &o);
  queue_serialize_end(s->c->cfg, j->key);
  _exit(0);
}

/* smtp_etrn_command: words first, each expanded after, $domain is the argument.  NULL: refused, logged. */
static const char *const *command_words(struct smtp_session *s, const char *arg) {
  struct expand_ctx x = s->x;
  struct str rest = str_c(s->opt->smtp_etrn_command);
  struct vec argv = vec_new(s->tmp);
  const char *word, *error = NULL;
  x.domain_override = arg;
  while (!error && (word = transport_next_word(s->tmp, &rest))) {
    const char *text = expand_string(&x, word);
    if (!text) error = x.error ? x.error : "";
    else if (!argv.n && is_tainted(text)) error = "tainted command name";
    else vec_push(&argv, arena_strdup(s->tmp, text));
  }
  if (!error && !argv.n) error = "no command";
  if (error) {
    log_write(LS_ALWAYS, LOG_MAIN | LOG_PANIC, "failed to set up ETRN command: %s", error);
    return NULL;
  }
  vec_push(&argv, NULL);
  return (const char *const *)argv.v;
}

static void narrate_only(struct smtp_session *s, const struct etrn_job *j, const struct acl_result *r) {
  struct strbuf b = strbuf_new(s->tmp);
  if (!j->argv) strbuf_adds(&b, " exim -R");
  for (size_t i = 0; j->argv && j->argv[i]; i++) strbuf_addl(&b, " ", j->argv[i], NULL);
  narrate(&s->x, D_RECEIVE, "ETRN command is:%s", b.p);
  narrate(&s->x, D_RECEIVE, "ETRN command execution skipped");
  smtp_acl_accepted(s, r, 250, "OK");
}

void smtp_do_etrn(struct smtp_session *s, struct str arg) {
  if (s->m->sender) {
    smtp_synprot_error(s, false, 503, "ETRN is not permitted inside a transaction");
    return;
  }
  log_write(LS_ETRN, LOG_MAIN, "ETRN %s received from %s", arg.p, smtp_host_text(s));
  struct acl_result r = smtp_run_acl(s, ACL_WHERE_ETRN, NULL, s->opt->acl_smtp_etrn, OUTCOME_FAIL);
  if (r.outcome != OUTCOME_OK) {
    smtp_acl_failed(s, ACL_WHERE_ETRN, &r, arena_printf(s->tmp, "ETRN %s", arg.p));
    return;
  }
  struct etrn_job j = {.match = arg.p + (arg.n > 0)};
  if (s->opt->smtp_etrn_command && !(j.argv = command_words(s, arg.p))) {
    smtp_replyf(s, "458 Internal failure");
    return;
  }
  if (!j.argv && arg.p[0] != '#') {
    smtp_synprot_error(s, true, 501, "argument must begin with #");
    return;
  }
  if (s->c->host_checking) {
    narrate_only(s, &j, &r);
    return;
  }
  if (s->opt->smtp_etrn_serialize && (j.key = serialize_key(s->tmp, arg)) && !serialize_begin(s, j.key)) {
    smtp_replyf(s, "458 Already processing %s", arg.p);
    return;
  }
  if (start(s, &j)) {
    smtp_acl_accepted(s, &r, 250, "OK");
    return;
  }
  queue_serialize_end(s->c->cfg, j.key);
  smtp_replyf(s, j.argv ? "458 Unable to fork process" : "458 Unable to start a queue run");
}
