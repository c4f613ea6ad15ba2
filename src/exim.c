/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The program: what to do for this command line.  Floor: main.  Manual ch. 5.
 *
 * The order is fixed: descriptors and signals, command line, configuration and privileges (startup.c), permission for the action, the action.
 * After startup the effective user is Exim's (or the caller's) and root is reached only through os/priv.h. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/buildinfo.h"
#include "cmd_filter.h"
#include "cmd_run.h"
#include "cmd_test.h"
#include "daemon.h"
#include "os/child.h"
#include "os/debug.h"
#include "os/log.h"
#include "os/priv.h"
#include "os/sys.h"
#include "policy/expand/expand_perl.h"
#include "policy/readconf.h"
#include "transport.h"
#include "version.h"

/* For who is no test: as cmdline.c says it. */
static int unknown_option(const char *name) {
  fprintf(stderr, "exim abandoned: unknown, malformed, or incomplete option %s\n", name);
  return EXIT_FAILURE;
}

/* Macros of the configuration often hold secrets: who is no admin user has only the built-in ones and his own. */
static void hide_macros(const struct run *r) {
  struct macro **link = &r->cfg->last_builtin_macro->next;
  while (*link) {
    if ((*link)->from_command_line) link = &(*link)->next;
    else *link = (*link)->next;
  }
}

static int do_expand(struct run *r) {
  if (!run_is_admin(r)) hide_macros(r);
  const char *sender;
  if (!run_test_sender(r, &sender)) return EXIT_FAILURE;
  /* Who asks is the one who would submit: $sender_ident, $authenticated_id, $authenticated_sender. */
  struct conn *k = run_conn(r, 0, 1);
  k->from.auth_id = k->login;
  if (k->login) k->from.auth_sender = arena_printf(k->arena, "%s@%s", k->login, r->cfg->qualify_domain);
  if (!run_apply_origin(r, k)) return run_refuse("bad address after -oMa or -oMi");
  int status = cmd_expand(r->cfg, r->c, k, sender);
  arena_free(k->arena);
  return status;
}

static int do_test_filter(struct run *r) {
  const char *sender;
  if (!run_choose_sender(r, r->a, &sender)) return EXIT_FAILURE;
  sys_role(SYS_ROLE_RECEPTION);
  struct conn *k = run_conn(r, 0, 1);
  if (!run_apply_origin(r, k)) return run_refuse("bad address after -oMa or -oMi");
  return cmd_test_filter(k, r->c, sender);
}

/* ---- The daemon ---- */

static int do_daemon(struct run *r) {
  const struct cmdline *c = r->c;
  if (r->cfg->o.mua_wrapper) {
    fputs("Daemon cannot be run when mua_wrapper is set\n", stderr);
    log_write(LS_ALWAYS, LOG_MAIN | LOG_PANIC, "Daemon cannot be run when mua_wrapper is set");
    return EXIT_FAILURE;
  }
  bool only_queue = !c->inetd_wait && c->queue_run && !c->background_smtp;
  struct daemon_opts o = {
      .background = !c->daemon_foreground && !c->inetd_wait && !c->debug,
      .listen = !only_queue,
      .queue_interval_sec = c->queue_interval_sec,
      .run = c->run,
      .listen_override = c->listen,
      .pid_file = c->pid_file,
      .no_notifier = c->no_notifier,
      .argv = r->argv,
      .deliver_foreground = c->deliver_foreground,
      .queue_only = c->queue_only,
      .inetd_wait = c->inetd_wait,
      .inetd_timeout_sec = c->inetd_timeout_sec,
      .tls_on_connect = c->tls_on_connect,
  };
  sys_role(SYS_ROLE_DAEMON);
  return daemon_run(r->cfg, &o);
}

static int remove_pid_file(struct run *r) {
  const char *path = r->c->pid_file ? r->c->pid_file : r->cfg->o.pid_file_path;
  if (!path) path = arena_printf(r->a, "%s/exim-daemon.pid", r->cfg->spool_directory);
  int rc = sys_unlink(path);
  return rc < 0 && rc != -ENOENT ? EXIT_FAILURE : EXIT_SUCCESS;
}

/* ---- Tests and information ---- */

/* "router NAME" and its kin take two arguments. */
static int do_print(struct run *r) {
  static const char *const with_name[] = {"router", "transport", "authenticator", "macro"};
  const struct cmdline *c = r->c;
  int status = 0;
  if (!c->args.n) return readconf_print(r->cfg, "", NULL, c->no_labels, r->who.is_admin);
  for (size_t i = 0; i < c->args.n; i++) {
    const char *what = c->args.v[i], *name = NULL;
    for (size_t k = 0; k < ARRAY_SIZE(with_name) && !name && i + 1 < c->args.n; k++)
      if (strcmp(what, with_name[k]) == 0) name = c->args.v[++i];
    if (strcmp(what, "config") == 0 && !run_is_admin(r)) return run_refuse("permission denied; not admin");
    if (strncmp(what, "macro", 5) == 0 && !run_is_admin(r)) return run_refuse("permission denied");
    status |= readconf_print(r->cfg, what, name, c->no_labels, r->who.is_admin);
  }
  return status;
}

static int do_aliases(struct run *r) {
  const char *argv[3] = {r->cfg->o.bi_command, r->c->alias_file, NULL};
  struct child ch;
  int status = 0;
  if (!argv[0]) return EXIT_SUCCESS;
  startup_become_caller(&r->who);
  struct child_spec spec = {.argv = argv, .uid = (uid_t)-1, .gid = (gid_t)-1, .umask = -1, .stdin_fd = 0, .stdout_fd = 1};
  int rc = child_run(&spec, &ch);
  if (rc < 0) {
    fprintf(stderr, "exim: exec of %s failed: %s\n", argv[0], strerror(-rc));
    return EXIT_FAILURE;
  }
  rc = child_wait(&ch, DEADLINE_NEVER, &status);
  return rc == 0 && WIFEXITED(status) ? WEXITSTATUS(status) : EXIT_FAILURE;
}

/* ---- Permission and dispatch ---- */

/* Text of the refusal, or NULL. */
static const char *why_not(const struct run *r) {
  const struct cmdline *c = r->c;
  const struct main_options *o = &r->cfg->o;
  if (run_is_admin(r)) return NULL;
  if (c->debug) return "debugging permission denied";
  if (c->syslog_tag) return "you lack sufficient privilege to specify syslog process name";
  switch (c->action) {
  case CMD_ATRN:
  case CMD_DAEMON:
  case CMD_MALWARE:
  case CMD_REMOVE_PID: return "permission denied";
  case CMD_MESSAGE:
    if (c->message_action == CMD_M_QUEUE_ACTION && c->queue_action == QUEUE_REMOVE && cmd_owns_all(r)) return NULL;
    return c->message_action != CMD_M_QUEUE_ACTION && !o->prod_requires_admin ? NULL : "permission denied";
  case CMD_QUEUE_RUN: return o->prod_requires_admin ? "permission denied" : NULL;
  case CMD_LIST:
  case CMD_COUNT: return o->queue_list_requires_admin ? "permission denied" : NULL;
  case CMD_TEST_ADDRESS:
  case CMD_VERIFY_RECIPIENT:
  case CMD_VERIFY_SENDER:
  case CMD_HOST_CHECK:
  case CMD_TEST_FILTER:
  case CMD_EXPAND:
    if (c->expand_spooled) return "permission denied";
    return o->commandline_checks_require_admin ? "permission denied" : NULL;
  case CMD_SUBMIT:
  case CMD_SMTP:
  case CMD_BATCH_SMTP:
    if (c->run.name) return "permission denied"; /* -MCG */
    break;
  case CMD_VERSION:
  case CMD_HELP:
  case CMD_INFO:
  case CMD_PRINT:
  case CMD_TEST_RETRY:
  case CMD_TEST_REWRITE:
  case CMD_ALIASES: break;
  }
  return c->listen || c->pid_file ? "permission denied" : NULL;
}

/* What even trusted and admin users may not ask for; NULL: nothing of the kind. */
static const char *only_for_exim(const struct run *r) {
  const struct cmdline *c = r->c;
  bool delivers = c->action == CMD_DAEMON || c->action == CMD_QUEUE_RUN || (c->action == CMD_MESSAGE && c->message_action != CMD_M_QUEUE_ACTION);
  if (r->who.uid == 0 || r->who.uid == r->cfg->exim_uid || r->cfg->harness_mode) return NULL;
  if (c->dont_deliver && delivers) return "permission denied: -N would lose the mail of others";
  return c->pid_file || c->action == CMD_REMOVE_PID ? "only root and the Exim user can use -oP and -oPX" : NULL;
}

static int dispatch(struct run *r) {
  switch (r->c->action) {
  case CMD_VERSION: version_print_config(r->cfg); return EXIT_SUCCESS;
  case CMD_HELP: return run_print_help();
  case CMD_INFO: return cmd_info(r->c->help_for);
  case CMD_PRINT: return do_print(r);
  case CMD_EXPAND:
    startup_logging(r->cfg, STARTUP_LOG_TESTING);
    if (!r->c->expand_message) startup_become_caller(&r->who);
    return do_expand(r);
  case CMD_MALWARE: return cmd_malware(r->cfg, r->c);
  case CMD_TEST_FILTER: return do_test_filter(r);
  case CMD_TEST_RETRY: return cmd_test_retry(r->cfg, r->c);
  case CMD_TEST_REWRITE:
    startup_logging(r->cfg, STARTUP_LOG_TESTING);
    return cmd_test_rewrite(r->cfg, r->c);
  case CMD_TEST_ADDRESS:
  case CMD_VERIFY_RECIPIENT:
  case CMD_VERIFY_SENDER:
    startup_logging(r->cfg, STARTUP_LOG_TESTING);
    if (r->c->action != CMD_TEST_ADDRESS) startup_give_up_root(r->cfg);
    return cmd_test_addresses(r);
  case CMD_LIST: return cmd_list(r);
  case CMD_COUNT: return queue_count(r->cfg);
  case CMD_SMTP:
  case CMD_BATCH_SMTP: return cmd_smtp(r);
  case CMD_ATRN: return cmd_atrn(r);
  case CMD_HOST_CHECK: return cmd_host_check(r);
  case CMD_DAEMON: return do_daemon(r);
  case CMD_QUEUE_RUN: return cmd_queue_run(r);
  case CMD_MESSAGE: return cmd_message(r);
  case CMD_ALIASES: return do_aliases(r);
  case CMD_REMOVE_PID: return remove_pid_file(r);
  case CMD_SUBMIT: return cmd_submit(r);
  }
  return EXIT_FAILURE;
}

/* -oB: so many messages on one SMTP connection, for all transports that have such a limit. */
static void limit_connections(struct config *cfg, int64_t max) {
  for (struct transport *t = cfg->transports; t; t = t->next) {
    const struct option *o = opt_find(t->ob_block->table, t->ob_block->count, STR("connection_max_messages"));
    if (o) *(int64_t *)(void *)((char *)t->ob_block->base + o->offset) = max;
  }
}

/* -ps, -pd, perl_at_start: with the rights the program still has, as the manual says. */
static bool start_perl(struct run *r, const char **ret_refusal) {
  bool now = r->c->perl_start == CMD_PERL_OPTION ? r->cfg->o.perl_at_start : r->c->perl_start == CMD_PERL_NOW;
  return !now || expand_perl_start(r->a, r->cfg, ret_refusal);
}

/* Options that change main options for this run. */
static void apply_overrides(struct run *r) {
  const struct cmdline *c = r->c;
  struct main_options *o = &r->cfg->o;
  if (c->max_messages_per_connection >= 0) limit_connections(r->cfg, c->max_messages_per_connection);
  if (c->syslog_tag && r->who.is_admin) {
    o->syslog_processname = c->syslog_tag;
    o->log_file_path = r->cfg->log_file_path = "syslog";
    startup_logging(r->cfg, STARTUP_LOG_FILES);
  }
  if (o->mua_wrapper) {
    r->c->deliver_foreground = true;
    r->c->queue_only = r->c->queue_smtp = false;
  }
  if (c->receive_timeout_sec >= 0) o->receive_timeout = c->receive_timeout_sec;
  if (c->smtp_receive_timeout_sec >= 0) o->smtp_receive_timeout = arena_printf(r->cfg->arena, "%ds", (int)c->smtp_receive_timeout_sec);
  if (c->run.name && c->action != CMD_DAEMON && c->action != CMD_QUEUE_RUN)
    r->cfg = (struct config *)(uintptr_t)config_for_queue(r->a, r->cfg, c->run.name);
  if (c->debug) debug_selector = c->debug_bits | D_V;
  else if (c->verbose || c->dont_deliver) debug_selector = D_V;
}

/* From here on file names without a "/" in front, of filters for instance, lead to a place where only Exim may write. */
static void leave_initial_directory(struct run *r) {
  char cwd[4096];
  if (getcwd(cwd, sizeof(cwd))) r->cfg->initial_cwd = arena_strdup_t(r->cfg->arena, cwd, TAINTED);
  if (r->c->action != CMD_TEST_FILTER && chdir(r->cfg->spool_directory) < 0 && chdir("/") < 0)
    DEBUG(D_V) debug_printf("chdir: %s\n", strerror(errno));
}

/* +arguments; not of calls that only ask something. */
static void log_arguments(const struct run *r, int argc, char **argv) {
  char cwd[1024];
  switch (r->c->action) {
  case CMD_VERSION: case CMD_PRINT: case CMD_EXPAND: case CMD_MALWARE: case CMD_TEST_ADDRESS: case CMD_VERIFY_RECIPIENT: case CMD_VERIFY_SENDER:
  case CMD_TEST_RETRY: case CMD_TEST_REWRITE: case CMD_TEST_FILTER: case CMD_HOST_CHECK: return;
  default: break;
  }
  if (!log_selects(LS_ARGUMENTS)) return;
  struct strbuf b = strbuf_new(r->a);
  for (int i = 0; i < argc; i++) {
    bool quote = !argv[i][0] || strpbrk(argv[i], " \t\n\"'");
    strbuf_addf(&b, quote ? " \"%s\"" : " %s", argv[i]);
  }
  log_write(LS_ALWAYS, LOG_MAIN, "cwd=%s %d args:%s", getcwd(cwd, sizeof(cwd)) ? cwd : "", argc, b.p);
}

/* -bV, and what debugging output begins with.  Printed before the configuration is read: that may fail. */
static void print_version(const struct cmdline *c) {
  if (c->action == CMD_VERSION) {
    version_print(stdout, c->debug);
    fflush(stdout);
  } else if (c->debug && c->debug_bits) {
    fprintf(stderr, "Exim version %s uid=%ld gid=%ld pid=%d D=%x\n", build_version(), (long)getuid(), (long)getgid(), (int)getpid(), c->debug_bits);
    version_print(stderr, true);
  }
}

/* Options that this caller may not use; NULL: none. */
static const char *refusal_of(const struct run *r) {
  if (r->c->gateway && !r->who.is_trusted) return "permission denied (-G requires a trusted user)";
  if (r->c->om_message_ref && !r->who.is_trusted) return "-oMm must be called by a trusted user/config";
  const char *refusal = why_not(r);
  return refusal ? refusal : only_for_exim(r);
}

int main(int argc, char **argv) {
  struct run r = {.a = arena_new("proc"), .argv = argv};
  struct cmdline c;
  const char *error = NULL;
  startup_process();
  daemon_take_inherited();
  if (argc < 1) return EXIT_FAILURE;
  if (!cmdline_parse(&c, r.a, argc, argv, &error)) {
    fputs(error, stderr);
    return EXIT_FAILURE;
  }
  r.c = &c;
  if (c.action == CMD_HELP) return run_print_help();
  if (c.action == CMD_INFO) return cmd_info(c.help_for);
  print_version(&c);
  r.cfg = startup_config(r.a, &c, &r.who);
  if (c.run.ages && !r.cfg->harness_mode) return unknown_option("-Tqt");
  const char *refusal = refusal_of(&r);
  if (refusal) return run_refuse(refusal);
  apply_overrides(&r);
  if (!start_perl(&r, &refusal)) return run_refuse(refusal);
  if (c.log_line) {
    if (!r.who.is_admin) return run_refuse("-z needs an admin user");
    log_write(LS_ALWAYS, LOG_MAIN, "%s", c.log_line);
    return EXIT_SUCCESS;
  }
  log_arguments(&r, argc, argv);
  leave_initial_directory(&r);
  /* From here on the user who called cannot stop or kill this process while it holds a lock that others wait for.  Who administers a daemon may. */
  if (r.who.uid != 0 && c.action != CMD_DAEMON) priv_leave_caller();
  int status = dispatch(&r);
  fflush(stdout);
  return status;
}
