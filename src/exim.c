/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The program: what to do for this command line.  Floor: main.  Manual ch. 5.
 *
 * The order is fixed: descriptors and signals, command line, configuration and privileges (startup.c), permission for the action, the action.
 * After startup the effective user is Exim's (or the caller's) and root is reached only through os/priv.h. */
#include <errno.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "atrn_fetch.h"
#include "base/buildinfo.h"
#include "cmd_filter.h"
#include "cmd_input.h"
#include "cmd_test.h"
#include "cmdline.h"
#include "daemon.h"
#include "deliver.h"
#include "os/child.h"
#include "os/debug.h"
#include "os/log.h"
#include "os/net.h"
#include "os/priv.h"
#include "os/stream.h"
#include "os/sys.h"
#include "policy/expand/expand_perl.h"
#include "policy/match.h"
#include "policy/readconf.h"
#include "receive.h"
#include "smtp_in.h"
#include "smtp_in_tls.h"
#include "spool.h"
#include "startup.h"
#include "transport.h"
#include "verify.h"
#include "version.h"

struct run {
  struct arena *a;      /* of the process */
  struct cmdline *c;
  struct config *cfg;
  struct caller who;
  char **argv;
};

/* In the suite's harness everybody may do everything. */
static bool is_admin(const struct run *r)
{
  return r->who.is_admin || r->cfg->harness_mode;
}

static int refuse(const char *text)
{
  fprintf(stderr, "exim: %s\n", text);
  return EXIT_FAILURE;
}

/* For who is no test: as cmdline.c says it. */
static int unknown_option(const char *name)
{
  fprintf(stderr, "exim abandoned: unknown, malformed, or incomplete option %s\n", name);
  return EXIT_FAILURE;
}

static int print_help(void)
{
  fprintf(stderr, "Exim is a Mail Transfer Agent. It is normally called by Mail User Agents,\n"
         "not directly from a shell command line. Options and/or arguments control\n"
         "what it does when called. For a list of options, see the Exim documentation.\n");
  return EXIT_FAILURE;
}

/* ---- Connections ---- */

/* "ip", "ip.port", "[ip]:port": false when it is none of them.  The caller is trusted, the text still counts as foreign. */
static bool split_host_port(struct arena *a, const char *text, const char **ret_ip, int *ret_port)
{
  struct str s = str_c(text), port = STR_NULL;
  if (s.n && s.p[0] == '[') {
    size_t end = str_index(s, ']');
    if (end == s.n) return false;
    port = str_n(s.p + end + 1, s.n - end - 1);
    s = str_n(s.p + 1, end - 1);
    if (port.n && *port.p++ == ':') port.n--;
  } else if (!ip_text_kind(text, NULL)) {
    const char *dot = strrchr(text, '.');
    if (!dot) return false;
    s = str_n(text, (size_t)(dot - text));
    port = str_c(dot + 1);
  }
  const char *ip = arena_strndup_t(a, s.p, s.n, TAINTED);
  if (!ip_text_kind(ip, NULL) || (port.n && !str_parse_int(port, ret_port))) return false;
  *ret_ip = ip;
  return true;
}

static const char *foreign(struct arena *a, const char *text)
{
  return arena_strdup_t(a, text, TAINTED);
}

/* Nothing is submitted: anybody may say where it would come from (manual ch. 5, -oMa). */
static bool is_test_mode(enum cmd_action action)
{
  return action == CMD_HOST_CHECK || action == CMD_EXPAND || action == CMD_TEST_FILTER || action == CMD_TEST_ADDRESS ||
         action == CMD_VERIFY_RECIPIENT || action == CMD_VERIFY_SENDER;
}

/* What -oM said, when the caller may say it. */
static bool apply_origin_options(struct run *r, struct conn *k)
{
  const struct cmdline *c = r->c;
  struct origin *o = &k->from;
  struct arena *a = k->arena;
  if (!r->who.is_trusted && !is_test_mode(c->action)) return true;
  if (c->om_address) {
    if (!split_host_port(a, c->om_address, &o->host_address, &o->host_port)) return false;
    o->host_unknown = true;
    if (c->action != CMD_HOST_CHECK) o->ident = NULL;
  }
  if (c->om_interface && !split_host_port(a, c->om_interface, &o->interface_address, &o->interface_port)) return false;
  if (c->om_host) o->host_name = foreign(a, c->om_host);
  if (c->om_ident) o->ident = foreign(a, c->om_ident);
  if (c->om_protocol) o->protocol = foreign(a, c->om_protocol);
  if (c->om_auth_name) o->auth_name = foreign(a, c->om_auth_name);
  if (c->om_auth_id) o->auth_id = foreign(a, c->om_auth_id);
  if (c->om_auth_sender) o->auth_sender = foreign(a, c->om_auth_sender);
  if (o->host_address) origin_set_fullhost(a, o, log_selects(LS_INCOMING_PORT));
  return true;
}

static struct conn *conn_for_caller(struct run *r, int fd_in, int fd_out)
{
  struct arena *a = arena_new("conn");
  struct conn *k = ARENA_NEW(a, struct conn);
  k->arena = a;
  k->cfg = r->cfg;
  k->io = stream_new(a, fd_in, fd_out, false);
  k->started = time_now();
  k->command_names = vec_new(a);
  k->from.host_aliases = vec_new(a);
  k->from.ident = r->who.login;
  k->is_local_caller = true;
  k->login = r->who.login;
  k->real_name = r->c->full_name ? foreign(a, r->c->full_name) : r->who.real_name;
  k->uid = r->who.uid;
  k->gid = r->who.gid;
  k->is_trusted = r->who.is_trusted;
  k->is_admin = r->who.is_admin;
  k->dont_deliver = r->c->dont_deliver;
  k->suppress_local_fixups = r->c->gateway;
  k->no_qualify = r->c->no_qualify;
  k->hold_smtp = r->c->queue_smtp;
  return k;
}

/* A connection says who is at its other end, and that counts as if the daemon had accepted it.  An ordinary user could bring one of his own making:
 * from a high port of this host, or from a network namespace of his, where he may give himself any address. */
static bool may_bring(const struct run *r, const struct net_end *local)
{
  enum { FIRST_FREE_PORT = 1024 };
  return is_admin(r) || (local->port < FIRST_FREE_PORT && net_is_of_own_namespace(0));
}

/* -bs started by inetd: standard input is a TCP connection.  The refusal, or NULL. */
static const char *adopt_socket(const struct run *r, struct conn *k)
{
  struct net_end peer, local;
  char text[IP_TEXT_SIZE];
  if (net_peer(0, &peer) < 0 || net_local(0, &local) < 0 || !peer.ip.family) return NULL;
  if (!may_bring(r, &local)) return "Permission denied (unprivileged user, unprivileged port)";
  peer.ip = ip_unmap(peer.ip);
  local.ip = ip_unmap(local.ip);
  k->is_local_caller = false;
  k->from.ident = NULL;
  k->from.host_address = arena_strdup(k->arena, ip_format(&peer.ip, text)); /* digits of our own making */
  k->from.host_port = peer.port;
  k->from.interface_address = arena_strdup(k->arena, ip_format(&local.ip, text));
  k->from.interface_port = local.port;
  origin_set_fullhost(k->arena, &k->from, log_selects(LS_INCOMING_PORT));
  return NULL;
}

static struct smtp_opts smtp_opts_of(const struct run *r, enum smtp_mode mode)
{
  bool queue_only = r->c->queue_only || (r->cfg->o.queue_only && !(r->cfg->o.queue_only_override && (r->c->deliver_foreground || r->c->deliver_background)));
  return (struct smtp_opts){.mode = mode, .deliver_foreground = r->c->deliver_foreground, .queue_only = queue_only};
}

/* Who speaks SMTP on standard input: a user, or, when the caller is trusted, anybody.  Without -oMa there is no host that could have authenticated
 * itself, and -oMaa means nothing. */
static void name_smtp_user(const struct run *r, struct conn *k)
{
  struct origin *o = &k->from;
  if (!k->is_local_caller || o->host_address) return;
  o->auth_name = NULL;
  if (k->is_trusted || !k->login) return;
  o->auth_id = k->login;
  o->auth_sender = arena_printf(k->arena, "%s@%s", k->login, r->cfg->qualify_domain);
}

static int do_smtp(struct run *r)
{
  sys_role(SYS_ROLE_RECEPTION);
  struct conn *k = conn_for_caller(r, 0, 1);
  const char *refusal = r->c->action == CMD_SMTP ? adopt_socket(r, k) : NULL;
  if (refusal) return refuse(refusal);
  if (!apply_origin_options(r, k)) return refuse("bad address after -oMa or -oMi");
  name_smtp_user(r, k);
  struct smtp_opts o = smtp_opts_of(r, r->c->action == CMD_SMTP ? SMTP_MODE_SESSION : SMTP_MODE_BATCH);
  if (o.mode == SMTP_MODE_BATCH && !receive_space_available(r->cfg, 0)) return refuse("insufficient disk space");
  k->from.tls.on_connect = o.mode == SMTP_MODE_SESSION &&
                           (r->c->tls_on_connect || (!k->is_local_caller && smtp_tls_on_connect_port(r->cfg, k->from.interface_port)));
  int status = smtp_session_run(k, &o);
  arena_free(k->arena);
  return status;
}

static int do_atrn(struct run *r)
{
  sys_role(SYS_ROLE_RECEPTION);
  struct conn *k = conn_for_caller(r, 0, 1);
  struct smtp_opts o = smtp_opts_of(r, SMTP_MODE_SESSION);
  return atrn_fetch(k, foreign(k->arena, r->c->atrn_host), foreign(k->arena, r->c->atrn_domains), &o);
}

static int do_host_check(struct run *r)
{
  struct conn *k = conn_for_caller(r, 0, 1);
  startup_logging(r->cfg, STARTUP_LOG_SESSION);
  k->from.ident = NULL;
  k->is_local_caller = false;
  k->host_checking = true;
  k->host_checking_callout = r->c->check_callout;
  if (!split_host_port(k->arena, r->c->check_ip, &k->from.host_address, &k->from.host_port))
    return refuse("bad address after -bh");
  struct ip ip;
  char text[IP_TEXT_SIZE];
  if (ip_parse(str_c(k->from.host_address), &ip)) k->from.host_address = arena_strdup(k->arena, ip_format(&ip, text));
  if (!apply_origin_options(r, k)) return refuse("bad address after -oMa or -oMi");
  origin_set_fullhost(k->arena, &k->from, log_selects(LS_INCOMING_PORT));
  struct smtp_opts o = {.mode = SMTP_MODE_CHECK, .queue_only = true};
  int status = smtp_session_run(k, &o);
  arena_free(k->arena);
  return status;
}

/* ---- Submission ---- */

/* The envelope sender of a local submission: what -f gave when the caller may choose it, else NULL.  false: syntax error. */
static bool choose_sender(struct run *r, struct arena *a, const char **ret)
{
  const struct main_options *mo = &r->cfg->o;
  const char *error = NULL;
  size_t domain = 0;
  *ret = NULL;
  if (!r->c->sender) return true;
  struct addr_opts ao = {.allow_empty = true, .allow_domain_literal = true, .allow_utf8 = true, .strip_trailing_dot = mo->strip_trailing_dot};
  const char *text = foreign(a, r->c->sender);
  const char *addr = *text ? rfc5322_extract_address(a, str_c(text), ao, &domain, &error) : "";
  if (!addr) {
    fprintf(stderr, "exim: bad -f address \"%s\": %s\n", r->c->sender, error);
    return false;
  }
  if (*addr && !domain) addr = arena_printf(a, "%s@%s", addr, r->cfg->qualify_domain);
  bool allowed = r->who.is_trusted || !*addr || (r->c->action != CMD_SUBMIT && r->c->action != CMD_EXPAND); /* a test harms nobody */
  if (!allowed && mo->untrusted_set_sender) {
    struct expand_ctx x = expand_ctx_new(a, r->cfg);
    allowed = match_address(&x, addr, mo->untrusted_set_sender, true, NULL) == OUTCOME_OK;
  }
  if (allowed) *ret = addr;
  return true;
}

/* -be, -bt, -bv: the sender is whom a message of this caller would come from, or who -f says. */
static bool test_sender(struct run *r, const char **ret)
{
  const char *sender;
  if (!choose_sender(r, r->a, &sender)) return false;
  if (!sender && r->who.login) sender = arena_printf(r->a, "%s@%s", r->who.login, r->cfg->qualify_domain);
  *ret = sender;
  return true;
}

/* Macros of the configuration often hold secrets: who is no admin user has only the built-in ones and his own. */
static void hide_macros(const struct run *r)
{
  struct macro **link = &r->cfg->last_builtin_macro->next;
  while (*link) {
    if ((*link)->from_command_line) link = &(*link)->next;
    else *link = (*link)->next;
  }
}

static int do_expand(struct run *r)
{
  if (!is_admin(r)) hide_macros(r);
  const char *sender;
  if (!test_sender(r, &sender)) return EXIT_FAILURE;
  /* Who asks is the one who would submit: $sender_ident, $authenticated_id, $authenticated_sender. */
  struct conn *k = conn_for_caller(r, 0, 1);
  k->from.auth_id = k->login;
  if (k->login) k->from.auth_sender = arena_printf(k->arena, "%s@%s", k->login, r->cfg->qualify_domain);
  if (!apply_origin_options(r, k)) return refuse("bad address after -oMa or -oMi");
  int status = cmd_expand(r->cfg, r->c, k, sender);
  arena_free(k->arena);
  return status;
}

static int do_test_filter(struct run *r)
{
  const char *sender;
  if (!choose_sender(r, r->a, &sender)) return EXIT_FAILURE;
  sys_role(SYS_ROLE_RECEPTION);
  struct conn *k = conn_for_caller(r, 0, 1);
  if (!apply_origin_options(r, k)) return refuse("bad address after -oMa or -oMi");
  return cmd_test_filter(k, r->c, sender);
}

static int do_submit(struct run *r)
{
  const struct cmdline *c = r->c;
  if (!c->args.n && !c->extract_recipients) return print_help();
  sys_role(SYS_ROLE_RECEPTION);
  struct conn *k = conn_for_caller(r, 0, 1);
  if (!apply_origin_options(r, k)) return refuse("bad address after -oMa or -oMi");
  struct vec rcpts = vec_new(k->arena);
  for (size_t i = 0; i < c->args.n; i++) vec_push(&rcpts, (void *)(uintptr_t)foreign(k->arena, c->args.v[i]));
  struct smtp_opts so = smtp_opts_of(r, SMTP_MODE_SESSION);
  struct submit_opts o = {
      .recipients = (const char *const *)rcpts.v,
      .recipient_count = rcpts.n,
      .extract_recipients = c->extract_recipients,
      .dot_ends = !c->ignore_dots,
      .full_name = c->full_name ? foreign(k->arena, c->full_name) : NULL,
      .error_handling = c->errors_to_stderr ? ERRORS_STDERR : ERRORS_SENDER,
      .error_exit = c->error_exit,
      .delivery_foreground = c->deliver_foreground,
      .queue_only = so.queue_only,
      .bounce_of = c->bounce_of ? c->bounce_of : r->who.is_trusted ? c->om_message_ref : NULL,
      .is_bounce_machine = c->is_bounce,
      .fd = 0,
  };
  if (!choose_sender(r, k->arena, &o.sender)) return EXIT_FAILURE;
  int status = receive_submission(k, &o);
  arena_free(k->arena);
  return status;
}

/* ---- Queue ---- */

struct delivery_job {
  const struct config *cfg;
  const char *id;
  struct deliver_opts o;
};

static int deliver_in_child(const struct delivery_job *j)
{
  int status = 0;
  pid_t pid = sys_fork("delivery");
  if (pid < 0) return refuse("cannot fork a delivery process");
  if (pid == 0) {
    sys_role(SYS_ROLE_DELIVERY);
    deliver_message(j->cfg, j->id, &j->o);
    _exit(EXIT_SUCCESS);
  }
  if (sys_waitpid(pid, &status, 0) < 0 || !WIFEXITED(status)) return EXIT_FAILURE;
  return WEXITSTATUS(status);
}

static int do_message(struct run *r)
{
  const struct cmdline *c = r->c;
  int status = EXIT_SUCCESS;
  if (c->message_action == CMD_M_QUEUE_ACTION) {
    bool per_id = c->queue_action != QUEUE_ADD_RECIPIENT && c->queue_action != QUEUE_EDIT_SENDER && c->queue_action != QUEUE_MARK_DELIVERED;
    const char *const *args = (const char *const *)c->args.v;
    if (!per_id)
      return queue_action(r->cfg, args[0], c->queue_action, args + 1, c->args.n - 1, r->who.login) ? EXIT_SUCCESS : EXIT_FAILURE;
    for (size_t i = 0; c->queue_action == QUEUE_MOVE && i < c->args.n; i++)
      if (!queue_move(r->cfg, args[i], c->move_to)) status = EXIT_FAILURE;
    if (c->queue_action == QUEUE_MOVE) putchar('\n');
    for (size_t i = 0; c->queue_action != QUEUE_MOVE && i < c->args.n; i++)
      if (!queue_action(r->cfg, args[i], c->queue_action, NULL, 0, r->who.login)) status = EXIT_FAILURE;
    return status;
  }
  bool forced = c->message_action == CMD_M_DELIVER;
  for (size_t i = 0; i < c->args.n; i++) {
    struct delivery_job j = {.cfg = r->cfg, .id = c->args.v[i], .o = {.forced = forced, .thaw = forced, .dont_deliver = c->dont_deliver}};
    if (deliver_in_child(&j) != EXIT_SUCCESS) status = EXIT_FAILURE;
  }
  return status;
}

static bool is_own_message(const struct run *r, const char *id)
{
  struct message *m = NULL;
  bool own = spool_peek(r->cfg, id, &m) == SPOOL_OPENED && m->uid == r->who.uid;
  message_free(m);
  return own;
}

/* -Mrm: who put all of them on the queue may take them off again. */
static bool owns_all(const struct run *r)
{
  for (size_t i = 0; i < r->c->args.n; i++)
    if (!is_own_message(r, r->c->args.v[i])) return false;
  return r->c->args.n > 0;
}

static int do_list(struct run *r)
{
  vec_push(&r->c->args, NULL);
  return queue_list(r->cfg, r->c->list_kind, r->c->list_sorted, r->c->args.n > 1 ? (const char *const *)r->c->args.v : NULL);
}

static int do_queue_run(struct run *r)
{
  struct queue_run_opts o = r->c->run;
  o.dont_deliver = r->c->dont_deliver;
  return queue_run(r->cfg, &o) ? EXIT_SUCCESS : EXIT_FAILURE;
}

static int do_daemon(struct run *r)
{
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

static int remove_pid_file(struct run *r)
{
  const char *path = r->c->pid_file ? r->c->pid_file : r->cfg->o.pid_file_path;
  if (!path) path = arena_printf(r->a, "%s/exim-daemon.pid", r->cfg->spool_directory);
  int rc = sys_unlink(path);
  return rc < 0 && rc != -ENOENT ? EXIT_FAILURE : EXIT_SUCCESS;
}

/* ---- Tests and information ---- */

/* A trusted caller may test how mail from somewhere else would be routed. */
static bool has_origin_options(const struct cmdline *c)
{
  return c->om_address || c->om_interface || c->om_host || c->om_ident || c->om_protocol || c->om_auth_name || c->om_auth_id || c->om_auth_sender;
}

static int test_one(struct run *r, const char *address, struct verify_seen *seen)
{
  struct arena *a = arena_new("verify");
  struct expand_ctx x = expand_ctx_new(a, r->cfg);
  enum cmd_action act = r->c->action;
  struct message *m = message_new(r->cfg);
  m->deliver_firsttime = true; /* what a filter would do with a new message */
  if (!test_sender(r, &m->sender)) return 1;
  if (act == CMD_TEST_ADDRESS) x.msg = m;
  x.return_path = m->sender;
  if (act == CMD_VERIFY_RECIPIENT) x.sender_override = m->sender; /* as of the message that would go there */
  struct conn k = {.arena = a, .cfg = r->cfg};
  if (has_origin_options(r->c)) x.conn = &k;
  if (x.conn && !apply_origin_options(r, &k)) return 1;
  enum outcome rc = verify_print(&x, foreign(a, address), act == CMD_TEST_ADDRESS, act != CMD_VERIFY_SENDER, seen);
  message_free(m);
  arena_free(a);
  return rc == OUTCOME_OK ? 0 : rc == OUTCOME_FAIL ? 2 : 1;
}

static int no_address(void)
{
  puts("syntax error: empty address");
  return 2;
}

/* What is given may be several addresses with commas between them. */
static int test_list(struct run *r, const char *text, struct verify_seen *seen)
{
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

static int do_test_addresses(struct run *r)
{
  if (r->c->action == CMD_TEST_ADDRESS) debug_selector |= D_V;
  int status = 0;
  struct verify_seen seen = {.arena = r->a, .plan = r->c->plan, .no_reasons = !is_admin(r)};
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

/* "router NAME" and its kin take two arguments. */
static int do_print(struct run *r)
{
  static const char *const with_name[] = {"router", "transport", "authenticator", "macro"};
  const struct cmdline *c = r->c;
  int status = 0;
  if (!c->args.n) return readconf_print(r->cfg, "", NULL, c->no_labels, r->who.is_admin);
  for (size_t i = 0; i < c->args.n; i++) {
    const char *what = c->args.v[i], *name = NULL;
    for (size_t k = 0; k < ARRAY_SIZE(with_name) && !name && i + 1 < c->args.n; k++)
      if (strcmp(what, with_name[k]) == 0) name = c->args.v[++i];
    if (strcmp(what, "config") == 0 && !is_admin(r)) return refuse("permission denied; not admin");
    if (strncmp(what, "macro", 5) == 0 && !is_admin(r)) return refuse("permission denied");
    status |= readconf_print(r->cfg, what, name, c->no_labels, r->who.is_admin);
  }
  return status;
}

static int do_aliases(struct run *r)
{
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
static const char *why_not(const struct run *r)
{
  const struct cmdline *c = r->c;
  const struct main_options *o = &r->cfg->o;
  if (is_admin(r)) return NULL;
  if (c->debug) return "debugging permission denied";
  if (c->syslog_tag) return "you lack sufficient privilege to specify syslog process name";
  switch (c->action) {
  case CMD_ATRN:
  case CMD_DAEMON:
  case CMD_REMOVE_PID: return "permission denied";
  case CMD_MESSAGE:
    if (c->message_action == CMD_M_QUEUE_ACTION && c->queue_action == QUEUE_REMOVE && owns_all(r)) return NULL;
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
static const char *only_for_exim(const struct run *r)
{
  const struct cmdline *c = r->c;
  bool delivers = c->action == CMD_DAEMON || c->action == CMD_QUEUE_RUN || (c->action == CMD_MESSAGE && c->message_action != CMD_M_QUEUE_ACTION);
  if (r->who.uid == 0 || r->who.uid == r->cfg->exim_uid || r->cfg->harness_mode) return NULL;
  if (c->dont_deliver && delivers) return "permission denied: -N would lose the mail of others";
  return c->pid_file || c->action == CMD_REMOVE_PID ? "only root and the Exim user can use -oP and -oPX" : NULL;
}

static int dispatch(struct run *r)
{
  switch (r->c->action) {
  case CMD_VERSION: version_print_config(r->cfg); return EXIT_SUCCESS;
  case CMD_HELP: return print_help();
  case CMD_INFO: return cmd_info(r->c->help_for);
  case CMD_PRINT: return do_print(r);
  case CMD_EXPAND:
    startup_logging(r->cfg, STARTUP_LOG_TESTING);
    if (!r->c->expand_message) startup_become_caller(&r->who);
    return do_expand(r);
  case CMD_TEST_FILTER: return do_test_filter(r);
  case CMD_TEST_RETRY: return cmd_test_retry(r->cfg, r->c);
  case CMD_TEST_REWRITE:
    startup_logging(r->cfg, STARTUP_LOG_TESTING);
    return cmd_test_rewrite(r->cfg, r->c);
  case CMD_TEST_ADDRESS:
  case CMD_VERIFY_RECIPIENT:
  case CMD_VERIFY_SENDER:
    startup_logging(r->cfg, STARTUP_LOG_TESTING);
    return do_test_addresses(r);
  case CMD_LIST: return do_list(r);
  case CMD_COUNT: return queue_count(r->cfg);
  case CMD_SMTP:
  case CMD_BATCH_SMTP: return do_smtp(r);
  case CMD_ATRN: return do_atrn(r);
  case CMD_HOST_CHECK: return do_host_check(r);
  case CMD_DAEMON: return do_daemon(r);
  case CMD_QUEUE_RUN: return do_queue_run(r);
  case CMD_MESSAGE: return do_message(r);
  case CMD_ALIASES: return do_aliases(r);
  case CMD_REMOVE_PID: return remove_pid_file(r);
  case CMD_SUBMIT: return do_submit(r);
  }
  return EXIT_FAILURE;
}

/* -oB: so many messages on one SMTP connection, for all transports that have such a limit. */
static void limit_connections(struct config *cfg, int64_t max)
{
  for (struct transport *t = cfg->transports; t; t = t->next) {
    const struct option *o = opt_find(t->ob_block->table, t->ob_block->count, STR("connection_max_messages"));
    if (o) *(int64_t *)(void *)((char *)t->ob_block->base + o->offset) = max;
  }
}

/* -ps, -pd, perl_at_start: with the rights the program still has, as the manual says. */
static bool start_perl(struct run *r, const char **ret_refusal)
{
  bool now = r->c->perl_start == CMD_PERL_OPTION ? r->cfg->o.perl_at_start : r->c->perl_start == CMD_PERL_NOW;
  return !now || expand_perl_start(r->a, r->cfg, ret_refusal);
}

/* Options that change main options for this run. */
static void apply_overrides(struct run *r)
{
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
static void leave_initial_directory(struct run *r)
{
  char cwd[4096];
  if (getcwd(cwd, sizeof(cwd))) r->cfg->initial_cwd = arena_strdup_t(r->cfg->arena, cwd, TAINTED);
  if (r->c->action != CMD_TEST_FILTER && chdir(r->cfg->spool_directory) < 0 && chdir("/") < 0)
    DEBUG(D_V) debug_printf("chdir: %s\n", strerror(errno));
}

/* +arguments; not of calls that only ask something. */
static void log_arguments(const struct run *r, int argc, char **argv)
{
  char cwd[1024];
  switch (r->c->action) {
  case CMD_VERSION: case CMD_PRINT: case CMD_EXPAND: case CMD_TEST_ADDRESS: case CMD_VERIFY_RECIPIENT: case CMD_VERIFY_SENDER:
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

int main(int argc, char **argv)
{
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
  if (c.action == CMD_HELP) return print_help();
  if (c.action == CMD_INFO) return cmd_info(c.help_for);
  if (c.action == CMD_VERSION) {
    version_print(stdout, c.debug);
    fflush(stdout);
  } else if (c.debug && c.debug_bits) {
    fprintf(stderr, "Exim version %s uid=%ld gid=%ld pid=%d D=%x\n", build_version(), (long)getuid(), (long)getgid(), (int)getpid(), c.debug_bits);
    version_print(stderr, true);
  }
  r.cfg = startup_config(r.a, &c, &r.who);
  if (c.gateway && !r.who.is_trusted) return refuse("permission denied (-G requires a trusted user)");
  if (c.om_message_ref && !r.who.is_trusted) return refuse("-oMm must be called by a trusted user/config");
  if (c.run.ages && !r.cfg->harness_mode) return unknown_option("-Tqt");
  const char *refusal = why_not(&r);
  if (!refusal) refusal = only_for_exim(&r);
  if (refusal) return refuse(refusal);
  apply_overrides(&r);
  if (!start_perl(&r, &refusal)) return refuse(refusal);
  if (c.log_line) {
    if (!r.who.is_admin) return refuse("-z needs an admin user");
    log_write(LS_ALWAYS, LOG_MAIN, "%s", c.log_line);
    if (!c.action_set && !c.args.n) return EXIT_SUCCESS;
  }
  log_arguments(&r, argc, argv);
  leave_initial_directory(&r);
  /* From here on the user who called cannot stop or kill this process while it holds a lock that others wait for.  Who administers a daemon may. */
  if (r.who.uid != 0 && c.action != CMD_DAEMON) priv_leave_caller();
  int status = dispatch(&r);
  fflush(stdout);
  return status;
}
