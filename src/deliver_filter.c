/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The system filter: once for each delivery attempt, before any address is routed.  Floor: flows.  Manual ch. 47.
 *
 * It runs in a process of system_filter_user, or of Exim's own user (never root's: nothing expands with root's rights), and sends its decisions back as bytes.
 * A filter that cannot be obeyed leaves the message as it is: nobody's mail is delivered past a filter that should have seen it. */
#include "deliver_priv.h"

#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "filters/filter.h"
#include "os/log.h"
#include "os/priv.h"
#include "os/sys.h"
#include "policy/rewrite.h"

enum { SYSTEM_FILTER_MAX = 16 << 20, FILTER_TEXT_MAX = 1024, FILTER_TEXT_SHOWN = 1000 };

struct filter_job {
  struct deliver_run *run;
  const char *path;
};

static const char *const var_names[FILTER_VARS] = {"sn0", "sn1", "sn2", "sn3", "sn4", "sn5", "sn6", "sn7", "sn8", "sn9"};

/* ---- in the child ---- */

static void change_header(void *ctx, bool add, const char *text) { filter_change_header(ctx, add, text); }

static struct filter_result obey_file(void *ctx) {
  struct filter_job *j = ctx;
  struct deliver_run *run = j->run;
  char *p = NULL;
  size_t n = 0;
  struct filter_env env = {.x = &run->x, .rights = {.is_system = true}, .qualify_domain = run->cfg->qualify_recipient,
                           .change_header = change_header, .ctx = run->m};
  int fd = sys_open(j->path, O_RDONLY | O_NOCTTY | O_NONBLOCK, 0);
  int rc = fd < 0 ? fd : sys_read_file(fd, run->a, SYSTEM_FILTER_MAX, &p, &n);
  const char *error = NULL;
  if (rc < 0) error = arena_printf(run->a, "failed to open \"%s\": %s", j->path, strerror(-rc));
  /* The file is the administrator's. */
  struct filter_command *commands = error ? NULL : filter_parse(run->a, str_c(arena_untaint_copy(run->a, p, n)), &env.rights, &error);
  if (error) return (struct filter_result){.end = FILTER_BROKEN, .message = error};
  return filter_obey(&env, commands);
}

/* ---- running it ---- */

static bool filter_user(struct deliver_run *run, uid_t *ret_uid, gid_t *ret_gid) {
  const struct main_options *o = &run->cfg->o;
  *ret_uid = run->cfg->exim_uid;
  *ret_gid = run->cfg->exim_gid;
  if (!priv_can_raise()) *ret_uid = geteuid(), *ret_gid = getegid();
  struct passwd_entry pw;
  if (o->system_filter_user.is_set && o->system_filter_user.id != 0) {
    *ret_uid = o->system_filter_user.id;
    if (!o->system_filter_group.is_set && !route_find_user(run->a, arena_printf(run->a, "%u", o->system_filter_user.id), &pw)) return false;
    *ret_gid = o->system_filter_group.is_set ? o->system_filter_group.id : pw.gid;
  }
  return true;
}

/* Run the file that the option names.  An error text, or NULL and *ret. */
static const char *run_filter(struct deliver_run *run, struct filter_result *ret) {
  struct filter_job j = {.run = run};
  uid_t uid;
  gid_t gid;
  j.path = expand_option(&run->x, "system_filter", run->cfg->o.system_filter);
  if (!j.path) return arena_printf(run->a, "failed to expand \"system_filter\": %s", run->x.error ? run->x.error : "");
  if (*j.path != '/') return arena_printf(run->a, "\"%s\" is not an absolute path", j.path);
  if (expand_taint_refused(&run->x, j.path, "filename for system_filter")) return run->x.error;
  if (!filter_user(run, &uid, &gid)) return "system_filter_user has no entry in the password file and system_filter_group is unset";
  const char *error = filter_run_as(run->a, uid, gid, obey_file, &j, ret);
  if (!error && ret->end == FILTER_BROKEN) error = ret->message ? ret->message : "";
  return error;
}

/* ---- from actions to addresses ---- */

/* The parent of what is no recipient: logs and commands know it as system-filter. */
static struct address *filter_parent(struct deliver_run *run) {
  struct address *parent = address_new(run->a, arena_printf(run->a, "system-filter@%s", run->cfg->qualify_recipient));
  parent->address = "system-filter";
  parent->unique = "system-filter"; /* somebody may have the whole address */
  return parent;
}

static void choose_transport(struct deliver_run *run, struct address *addr) {
  const struct main_options *o = &run->cfg->o;
  size_t n = strlen(addr->address);
  bool is_directory = addr->is_file && n > 1 && addr->address[n - 1] == '/';
  const char *name = addr->is_pipe ? "system_filter_pipe_transport" : addr->is_reply ? "system_filter_reply_transport"
                     : is_directory ? "system_filter_directory_transport" : "system_filter_file_transport";
  const char *value = addr->is_pipe ? o->system_filter_pipe_transport : addr->is_reply ? o->system_filter_reply_transport
                      : is_directory ? o->system_filter_directory_transport : o->system_filter_file_transport;
  addr->basic_errno = ERRNO_BADTRANSPORT;
  run->x.address_pipe = addr->is_pipe ? addr->address : NULL;
  run->x.address_file = address_file_name(addr);
  const char *s = value ? expand_string(&run->x, value) : NULL;
  run->x.address_pipe = run->x.address_file = NULL;
  addr->transport = s ? config_transport(run->cfg, s) : NULL;
  if (addr->transport) addr->basic_errno = 0;
  else if (!value) addr->basic_errno = ERRNO_UNKNOWNERROR, addr->message = arena_printf(run->a, "%s is unset", name);
  else if (s) addr->basic_errno = ERRNO_UNKNOWNERROR, addr->message = arena_printf(run->a, "failed to find \"%s\" transport for system filter delivery", s);
  else addr->message = arena_printf(run->a, "failed to expand \"%s\" for %s: %s", value, name, run->x.error ? run->x.error : "");
}

/* The mail commands before this one to the same people. */
static int same_before(struct deliver_run *run, const struct filter_action *all, const struct filter_action *act, const char *text) {
  int same = 0;
  for (; act->kind == ACTION_MAIL && all != act; all = all->next)
    same += all->kind == ACTION_MAIL && strcmp(filter_reply_name(run->a, all->mail[MAIL_TO]), text) == 0;
  return same;
}

static struct address *new_address(struct deliver_run *run, struct address **parent, const struct filter_action *all, const struct filter_action *act) {
  if (!*parent) *parent = filter_parent(run);
  if (act->kind == ACTION_DELIVER) {
    const struct rewrite_rule *rules = run->cfg->rewrite_rules;
    uid_t uid;
    gid_t gid;
    bool is_logged = !filter_user(run, &uid, &gid) || uid == 0 || uid == run->cfg->exim_uid;
    unsigned place = REWRITE_ENVTO | (is_logged ? 0 : REWRITE_UNLOGGED); /* who runs the filter has no right to the log */
    return address_child(run->a, *parent, rules ? rewrite_address(&run->x, act->text, place, rules) : act->text);
  }
  const char *text = act->text;
  if (act->kind == ACTION_PIPE && *text != '|') text = arena_printf(run->a, "|%s", text);
  if (act->kind == ACTION_SAVE && *text != '/') text = arena_printf(run->a, ADDRESS_SAVE "%s", text); /* the transport may make it whole */
  if (act->kind == ACTION_MAIL) text = filter_reply_name(run->a, act->mail[MAIL_TO]);
  struct address *addr = address_pseudo_child(run->a, *parent, text);
  addr->uid_set = addr->gid_set = filter_user(run, &addr->uid, &addr->gid);
  address_number_reply(run->a, addr, same_before(run, all, act, text));
  filter_fill_address(run->a, act, addr);
  choose_transport(run, addr);
  return addr;
}

static void add_addresses(struct deliver_run *run, const struct filter_result *r) {
  struct address *parent = NULL;
  for (const struct filter_action *act = r->actions; act; act = act->next) {
    if (act->kind == ACTION_HEADER_ADD || act->kind == ACTION_HEADER_REMOVE) {
      filter_change_header(run->m, act->kind == ACTION_HEADER_ADD, arena_strdup(run->m->arena, act->text));
      continue;
    }
    struct address *addr = new_address(run, &parent, r->actions, act);
    addr->prop.errors_address = act->errors_to;
    addr->prop.ignore_error = addr->prop.is_noerror = act->ignore_error;
    if (act->kind == ACTION_MAIL && addr->transport && filter_refuse_bad_reply(addr)) addr->prop.ignore_error = true;
    if (tree_find(&run->m->nonrecipients, addr->unique)) continue; /* done in an earlier attempt */
    addr->next = run->fresh;
    run->fresh = addr;
  }
}

/* ---- what becomes of the recipients ---- */

/* "<<for the log>>for the sender". */
static void split_text(struct deliver_run *run, const char *text, const char **ret_log, const char **ret_user) {
  const char *end = text && strncmp(text, "<<", 2) == 0 ? strstr(text, ">>") : NULL;
  *ret_log = *ret_user = text ? text : "";
  if (!end) return;
  *ret_log = arena_strndup(run->a, text + 2, (size_t)(end - text - 2));
  *ret_user = end + 2;
}

static const char *shortened(struct deliver_run *run, const char *text) {
  static const char mark[] = " ... (truncated)";
  if (!text || strlen(text) <= FILTER_TEXT_MAX) return text;
  return arena_printf(run->a, "%.*s%s", FILTER_TEXT_SHOWN, text, mark);
}

static void ignore_recipients(struct deliver_run *run) {
  log_write(LS_ALWAYS, LOG_MAIN, "original recipients ignored (system filter)");
  for (struct address *addr = deliver_open_recipients(run); addr; addr = addr->next) deliver_mark_done(run, addr);
}

static void end_recipients(struct deliver_run *run, enum filter_end end, const char *text) {
  const char *log, *user;
  split_text(run, text, &log, &user);
  if (end == FILTER_END_FREEZE) {
    run->freeze = true;
    run->freeze_why = *log ? arena_printf(run->a, " by the system filter: %s", log) : " by the system filter";
    return;
  }
  const char *line = end != FILTER_END_FAIL ? "Delivery deferred by system filter"
                                            : arena_printf(run->a, "cancelled by system filter%s%s", text && *text ? ": " : "", log);
  log_write(LS_ALWAYS, LOG_MAIN, "%s", line);
  if (end != FILTER_END_FAIL) {
    if (run->msglog_fd >= 0) log_msglog(run->msglog_fd, "%s", line);
    return;
  }
  for (struct address *addr = deliver_open_recipients(run), *next; addr; addr = next) {
    next = addr->next;
    addr->result = OUTCOME_FAIL;
    addr->message = addr->user_message = *user ? user : "delivery cancelled";
    addr->pass_message = true;
    deliver_raise_failed(run, addr);
    if (!run->m->sender || !*run->m->sender) { /* a report that the administrator's filter does not want is not kept */
      deliver_mark_done(run, addr);
      continue;
    }
    addr->next = run->failed;
    run->failed = addr;
  }
}

/* A transport that is not configured is the administrator's to mend: said at once in the panic log; the main log gets it as it
 * gets every deferred address. */
static void report_missing_transports(struct deliver_run *run) {
  for (const struct address *addr = run->fresh; addr; addr = addr->next)
    if ((addr->is_file || addr->is_pipe || addr->is_reply) && !addr->transport)
      log_write(LS_ALWAYS, LOG_PANIC, "== %s", deliver_log_deferred(run->a, run->m, addr));
}

static void set_vars(struct deliver_run *run, const struct filter_result *r) {
  struct tree *vars = ARENA_NEW(run->a, struct tree);
  for (int i = 0; i < FILTER_VARS; i++) tree_insert(vars, run->a, var_names[i], NULL)->val = r->n[i];
  run->x.filter_vars = vars;
}

enum system_filter deliver_system_filter(struct deliver_run *run) {
  struct filter_result r = {0};
  if (!run->cfg->o.system_filter) return SYSTEM_FILTER_GO_ON;
  run->x.return_path = run->m->sender;
  const char *error = run_filter(run, &r);
  run->x.return_path = NULL;
  if (error) {
    log_write(LS_ALWAYS, LOG_MAIN | LOG_PANIC, "Error in system filter: %s", error);
    return SYSTEM_FILTER_BROKEN;
  }
  set_vars(run, &r);
  add_addresses(run, &r);
  bool is_let_go = r.end == FILTER_END_FREEZE && run->m->manual_thaw; /* somebody has looked at it: delivered as if the filter had not spoken */
  if (is_let_go) r.end = FILTER_DONE, r.is_significant = false;
  if (r.end != FILTER_DONE) end_recipients(run, r.end, shortened(run, r.message));
  else if (r.is_significant) ignore_recipients(run);
  report_missing_transports(run);
  return r.end == FILTER_DONE && !r.is_significant ? SYSTEM_FILTER_GO_ON : SYSTEM_FILTER_ONLY_ITS_OWN;
}
