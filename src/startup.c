/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Process start (startup.h).  Floor: main.  Manual ch. 5.2 (trusted and admin users), 6.1 (-C, -D), 14 (keep_environment), 56. */
#include "startup.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <pwd.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "arc_verify.h"
#include "base/buildinfo.h"
#include "base/rand.h"
#include "dns_csa.h"
#include "dns_list.h"
#include "hints/ratelimit.h"
#include "hints/seen.h"
#include "host.h"
#include "dmarc.h"
#include "host_udp.h"
#include "os/debug.h"
#include "os/log.h"
#include "os/priv.h"
#include "os/process_info.h"
#include "os/resolver.h"
#include "os/signals.h"
#include "os/sys.h"
#include "policy/acl.h"
#include "policy/match.h"
#include "policy/readconf.h"
#include "receive.h"
#include "router.h"
#include "scan.h"
#include "spf.h"

enum { MAX_GROUPS = 256 };

NORETURN static void die(const char *text) {
  fprintf(stderr, "exim: %s\n", text);
  exit(EXIT_FAILURE);
}

void startup_process(void) {
  /* Descriptors 0-2 must exist, or a later open would get one of their numbers. */
  for (int fd = 0; fd <= 2; fd++)
    if (fcntl(fd, F_GETFD) < 0 && open("/dev/null", O_RDWR) != fd) _exit(EXIT_FAILURE);
  /* What an ordinary caller has left open stays here and in no process that outlives him.  Sockets of a daemon that was told to start anew are taken only
   * when this start gained no rights (daemon_take_inherited); else they are bound again. */
  if (getuid() != geteuid()) syscall(SYS_close_range, 3u, ~0u, 0u);
  signals_handle(SIGPIPE, SIG_IGN);
  signals_handle(SIGXFSZ, SIG_IGN); /* a caller's file size limit is an error of write, not a death in the middle of one */
  signals_handle(SIGALRM, SIG_DFL);
  signals_handle(SIGTERM, SIG_DFL);
  signals_handle(SIGHUP, SIG_DFL);
  signals_handle(SIGUSR1, SIG_IGN);
  signals_handle(SIGCHLD, SIG_DFL);
  signals_unblock_all();
  sys_large_blocks_apart();
  umask(0022);
  if (getuid() == 0 || build_in_harness_mode()) sys_faults_enable();
}

/* ---- May this caller choose the configuration? ---- */

static bool build_user(const char *name, uid_t *ret) {
  return *name && opt_find_user(name, ret, NULL);
}

static bool caller_is_exim_or_owner(uid_t uid) {
  uid_t u;
  return (build_user(build_info()->exim_user, &u) && u == uid) || (build_user(build_info()->configure_owner, &u) && u == uid);
}

/* Is the file named in the trusted list, and the list itself out of others' reach? */
static bool in_trusted_list(struct arena *a, const char *file) {
  const char *list = build_info()->trusted_config_list;
  struct stat st;
  char *text;
  size_t n;
  bool found = false;
  if (!*list || strchr(file, ':') || file[0] != '/') return false;
  int fd = sys_open(list, O_RDONLY | O_NOFOLLOW, 0);
  if (fd < 0) return false;
  if (fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && st.st_uid == 0 && !(st.st_mode & (S_IWGRP | S_IWOTH)) &&
      sys_read_file(fd, a, 1 << 20, &text, &n) == 0) {
    struct str rest = str_n(text, n);
    while (rest.n && !found) {
      struct str line = str_trim(str_cut(&rest, '\n'));
      if (!line.n || line.p[0] != '/') continue;
      found = line.p[line.n - 1] == '/' ? str_starts(str_c(file), line) && !strstr(file, "/../") : str_eq_c(line, file);
    }
  }
  return sys_close(fd) == 0 && found;
}

static bool config_choice_keeps_root(struct arena *a, const struct cmdline *c, uid_t uid) {
  if (!c->config_files || strcmp(c->config_files, build_info()->configure_file) == 0) return true;
  if (uid == 0 || build_in_harness_mode()) return true;
  return caller_is_exim_or_owner(uid) && in_trusted_list(a, c->config_files);
}

static bool macros_keep_root(const struct cmdline *c, uid_t uid) {
  if (!c->macros || uid == 0 || build_in_harness_mode()) return true;
  if (!caller_is_exim_or_owner(uid)) return false;
  for (const struct macro *m = c->macros; m; m = m->next)
    if (!readconf_macro_is_whitelisted(m)) return false;
  return true;
}

static void check_choice(const struct cmdline *c) {
  const struct build_info *b = build_info();
  if (c->macros && b->disable_d_option) die("-D is not available in this Exim binary");
  if (!c->config_files || !*b->alt_config_prefix || build_in_harness_mode()) return;
  struct str rest = str_c(c->config_files);
  while (rest.n) {
    struct str item = str_trim(str_cut(&rest, ':'));
    char name[1024];
    snprintf(name, sizeof(name), "%.*s", STR_FMT(item));
    if (!str_starts(item, str_c(b->alt_config_prefix)) || strstr(name, "/../")) die("-C Permission denied");
  }
}

/* ---- Configuration ---- */

/* Those that log to the terminal alone. */
static bool is_test(enum cmd_action action) {
  return action == CMD_EXPAND || action == CMD_TEST_ADDRESS || action == CMD_VERIFY_RECIPIENT || action == CMD_VERIFY_SENDER ||
         action == CMD_TEST_FILTER || action == CMD_HOST_CHECK;
}

/* Text for stderr with a log stamp; the panic log gets it too, unless something is only being tried. */
NORETURN static void die_of_config(const struct cmdline *c, const struct config *partial, const char *text) {
  char stamp[64];
  const char *path = partial ? partial->log_file_path : NULL;
  if (partial && !path && partial->o.log_file_path && !strchr(partial->o.log_file_path, '$')) path = partial->o.log_file_path;
  if (!path && *build_info()->log_file_path) path = build_info()->log_file_path;
  bool only_trying = c->action == CMD_VERSION || (c->action == CMD_PRINT && c->args.n && strcmp(c->args.v[0], "config") == 0);
  if (c->action == CMD_PRINT && !only_trying) fprintf(stderr, "LOG: PANIC%s\n  %s\n", partial && partial->macro_trouble ? "" : " DIE", text);
  else if (c->action == CMD_HOST_CHECK) fprintf(stderr, "LOG: %s\n", text);
  else fprintf(stderr, "%s %s\n", time_format(time_now(), TIME_LOG, (struct time_opts){0}, stamp, sizeof(stamp)), text);
  if (!only_trying && !is_test(c->action) && path) {
    struct log_settings s = {.file_path = path, .exim_uid = (uid_t)-1, .exim_gid = (gid_t)-1, .syslog_timestamp = true,
                             .syslog_pid = true, .harness_mode = build_in_harness_mode()};
    uid_t uid;
    gid_t gid;
    if (opt_find_user(build_info()->exim_user, &uid, &gid)) {
      s.exim_uid = uid;
      s.exim_gid = gid;
      if (geteuid() == 0) priv_init(uid, gid); /* the panic log is never opened as root */
    }
    log_init(&s);
    log_write(LS_ALWAYS, LOG_PANIC | LOG_QUIET | LOG_MULTILINE, "%s", text);
  }
  exit(EXIT_FAILURE);
}

static uid_t configure_owner(void) {
  uid_t u;
  return build_user(build_info()->configure_owner, &u) ? u : (uid_t)-1;
}

static gid_t configure_group(void) {
  gid_t g;
  return *build_info()->configure_group && opt_find_group(build_info()->configure_group, &g) ? g : (gid_t)-1;
}

static struct config *read_config(const struct cmdline *c, bool have_root) {
  const char *error = NULL;
  struct config *partial = NULL;
  struct readconf_opts o = {
      .files = c->config_files ? c->config_files : build_info()->configure_file,
      .from_command_line = c->config_files != NULL,
      .cmd_macros = c->macros,
      .check_files = have_root,
      .keep_lines = c->action == CMD_PRINT,
      .configure_owner = configure_owner(),
      .configure_group = configure_group(),
      .ret_partial = &partial,
  };
  /* A caller in harness mode owns the files it names. */
  if (build_in_harness_mode()) o.check_files = false;
  struct config *cfg = readconf_read(&o, &error);
  if (!cfg) die_of_config(c, partial, error);
  if (cfg->o.debug_store) arena_wipe_released();
  return cfg;
}

void startup_logging(const struct config *cfg, enum startup_log where) {
  const struct main_options *o = &cfg->o;
  log_init(&(struct log_settings){
      .file_path = cfg->log_file_path,
      .exim_uid = cfg->exim_uid,
      .exim_gid = cfg->exim_gid,
      .want_zone = o->log_timezone,
      .utc = o->timezone && strcmpic(o->timezone, "UTC") == 0,
      .print_topbitchars = o->print_topbitchars || where != STARTUP_LOG_FILES, /* they go to a terminal as they are */
      .write_rejectlog = o->write_rejectlog,
      .syslog_timestamp = o->syslog_timestamp,
      .syslog_pid = o->syslog_pid,
      .syslog_duplication = o->syslog_duplication,
      .syslog_long_lines = build_info()->syslog_long_lines,
      .syslog_facility = o->syslog_facility,
      .syslog_processname = o->syslog_processname,
      .panic_coredump = o->panic_coredump,
      .to_stderr = where == STARTUP_LOG_SESSION,
      .stderr_only = where == STARTUP_LOG_SESSION,
      .testing = where == STARTUP_LOG_TESTING,
      .quiet_panic = cfg->o.mua_wrapper,
      .harness_mode = cfg->harness_mode,
  });
  log_selector_set(cfg->log_selector);
}

/* ---- Environment ---- */

static void set_variable(const char *text) {
  const char *eq = strchr(text, '=');
  char name[256];
  if (!eq || eq == text || (size_t)(eq - text) >= sizeof(name)) return;
  snprintf(name, sizeof(name), "%.*s", (int)(eq - text), text);
  setenv(name, eq + 1, 1);
}

/* *ret_surprise: something was taken away without the administrator having said so. */
static void purge_environment(struct arena *a, const struct config *cfg, bool *ret_surprise) {
  const struct main_options *o = &cfg->o;
  bool keep_set = opt_was_set(cfg->main_block, "keep_environment");
  *ret_surprise = !keep_set && environ && *environ;
  struct vec kept = vec_new(a);
  struct expand_ctx x = expand_ctx_new(a, cfg);
  static const struct match_opts plain = {.no_expand = true}; /* "$" ends a regular expression */
  for (char **e = environ; e && *e && keep_set && o->keep_environment; e++) {
    const char *eq = strchr(*e, '=');
    if (!eq) continue;
    const char *name = arena_strndup_t(a, *e, (size_t)(eq - *e), TAINTED);
    if (match_list(&x, LIST_LOCALPART, name, o->keep_environment, &plain) == OUTCOME_OK) vec_push(&kept, arena_strdup(a, *e));
  }
  clearenv();
  for (size_t i = 0; i < kept.n; i++) set_variable(kept.v[i]);
  const char *pos = o->add_environment;
  int sep = 0;
  if (pos)
    for (const char *item; (item = list_next(a, &pos, &sep));) set_variable(item);
  if (o->timezone && *o->timezone) setenv("TZ", o->timezone, 1);
  tzset();
}

/* ---- The caller ---- */

static bool id_in_list(const char *list, unsigned long id, bool is_user) {
  struct str rest = str_c(list);
  while (rest.n) {
    struct str item = str_trim(str_cut(&rest, ':'));
    char name[128];
    uid_t uid;
    gid_t gid;
    if (!item.n || item.n >= sizeof(name)) continue;
    snprintf(name, sizeof(name), "%.*s", STR_FMT(item));
    if (is_user ? opt_find_user(name, &uid, NULL) && uid == id : opt_find_group(name, &gid) && gid == id) return true;
  }
  return false;
}

struct groups {
  gid_t gid[MAX_GROUPS];
  int n;
};

static bool in_group_list(const struct groups *g, gid_t own, const char *list) {
  if (id_in_list(list, own, false)) return true;
  for (int i = 0; i < g->n; i++)
    if (id_in_list(list, g->gid[i], false)) return true;
  return false;
}

static bool in_group(const struct groups *g, gid_t own, gid_t wanted) {
  for (int i = 0; i < g->n; i++)
    if (g->gid[i] == wanted) return true;
  return own == wanted;
}

static const char *real_name(struct arena *a, const struct config *cfg, const struct passwd *pw) {
  const char *gecos = pw && pw->pw_gecos ? pw->pw_gecos : "";
  struct strbuf b = strbuf_new(a);
  /* "&" in the field stands for the login name with a capital. */
  for (const char *s = gecos; *s && *s != ','; s++) {
    if (*s == '&' && pw) {
      strbuf_addc(&b, (char)ch_upper(pw->pw_name[0]));
      strbuf_adds(&b, pw->pw_name + (pw->pw_name[0] != 0));
    } else {
      strbuf_addc(&b, *s);
    }
  }
  const char *name = b.p;
  if (!cfg->o.gecos_name) return name;
  struct expand_ctx x = expand_ctx_new(a, cfg);
  const char *pattern = cfg->o.gecos_pattern ? cfg->o.gecos_pattern : "";
  if (*pattern && regex_match(&x, pattern, false, str_c(gecos), true) != OUTCOME_OK) return name;
  const char *text = expand_string(&x, cfg->o.gecos_name);
  if (!text) {
    log_write(LS_ALWAYS, LOG_MAIN, "failed to expand gecos_name string \"%s\": %s", cfg->o.gecos_name, x.error ? x.error : "");
    return name;
  }
  return text;
}

static void fill_caller(struct arena *a, const struct config *cfg, const struct groups *g, struct caller *ret) {
  const struct passwd *pw = getpwuid(ret->uid);
  bool exim_or_root = ret->uid == 0 || ret->uid == cfg->exim_uid;
  ret->login = pw ? arena_strdup(a, pw->pw_name) : NULL;
  ret->real_name = real_name(a, cfg, pw);
  if (cfg->o.unknown_login && (!pw || cfg->harness_mode)) {
    struct expand_ctx x = expand_ctx_new(a, cfg);
    const char *login = expand_string(&x, cfg->o.unknown_login);
    if (login && *login) ret->login = login;
    if (cfg->o.unknown_username && !pw) ret->real_name = cfg->o.unknown_username;
  }
  if (!ret->login) ret->login = arena_printf(a, "%u", (unsigned)ret->uid);
  ret->is_trusted = exim_or_root || id_in_list(cfg->o.trusted_users, ret->uid, true) || in_group_list(g, ret->gid, cfg->o.trusted_groups);
  ret->is_admin = exim_or_root || in_group(g, ret->gid, cfg->exim_gid) || in_group_list(g, ret->gid, cfg->o.admin_groups);
}

/* A spool directory that is not there yet is made, and is Exim's own (manual 4.18): log and pid file of the first daemon have a place then.  Why
 * that fails is told when it is needed. */
static void make_spool_directory(const struct config *cfg) {
  const char *dir = cfg->spool_directory;
  if (*dir == '/' && access(dir, F_OK) < 0) (void)!sys_mkdir_path("/", dir + 1, 0750, cfg->exim_uid, cfg->exim_gid);
}

struct config *startup_config(struct arena *a, const struct cmdline *c, struct caller *ret) {
  *ret = (struct caller){.uid = getuid(), .gid = getgid()};
  struct groups g;
  g.n = getgroups(MAX_GROUPS, g.gid);
  if (g.n < 0) g.n = 0;
  check_choice(c);
  if (geteuid() == 0 && ret->uid != 0 && (!config_choice_keeps_root(a, c, ret->uid) || !macros_keep_root(c, ret->uid))) {
    ret->root_dropped = true;
    const struct passwd *pw = getpwuid(ret->uid);
    if (sys_become(ret->uid, ret->gid, pw ? pw->pw_name : NULL) < 0) die("cannot give up privileges");
  }
  bool have_root = geteuid() == 0, surprise;
  struct config *cfg = read_config(c, have_root);
  bool works_on_mail = c->action == CMD_SUBMIT || c->action == CMD_SMTP || c->action == CMD_BATCH_SMTP || c->action == CMD_DAEMON ||
                       c->action == CMD_QUEUE_RUN || c->action == CMD_MESSAGE;
  if (have_root && works_on_mail) make_spool_directory(cfg);
  priv_init(cfg->exim_uid, cfg->exim_gid);
  purge_environment(a, cfg, &surprise);
  if (have_root) prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
  startup_logging(cfg, STARTUP_LOG_FILES);
  if (works_on_mail && priv_is_limited_by_caller()) die("your limits on files (ulimit -f, -n) cannot be lifted here: nothing is done");
  if (surprise && works_on_mail)
    log_write(LS_ALWAYS, LOG_MAIN | LOG_PANIC | LOG_MULTILINE, "Warning: purging the environment.\n Suggested action: use keep_environment.");
  if (cfg->o.process_log_path) process_info_init(cfg->o.process_log_path);
  host_init();
  route_set_find_user((int)MIN(cfg->o.finduser_retries, INT64_C(60)), cfg->o.max_username_length);
  static const struct acl_hooks acl_conditions = {.arc = arc_verify, .dnslists = dns_list_check, .ratelimit = ratelimit_check, .seen = seen_check,
                                                  .udpsend = host_udp_send, .csa = dns_csa_verify, .log_rejected = receive_log_reject, .spf = spf_condition, .dmarc = dmarc_condition, .scan = scan_condition};
  acl_set_hooks(&acl_conditions);
  if (cfg->harness_mode) {
    rand_set_seed(42);
    resolver_set_fake(cfg->dir);
  }
  fill_caller(a, cfg, &g, ret);
  return cfg;
}

void startup_give_up_root(const struct config *cfg) {
  if (priv_can_raise() && priv_drop_forever(cfg->exim_uid, cfg->exim_gid, NULL) < 0) die("cannot give up privileges");
}

void startup_become_caller(const struct caller *who) {
  if (!priv_can_raise()) return;
  const struct passwd *pw = getpwuid(who->uid);
  if (priv_drop_forever(who->uid, who->gid, pw ? pw->pw_name : NULL) < 0) die("cannot give up privileges");
  signals_handle(SIGTSTP, SIG_DFL);
  signals_handle(SIGTTOU, SIG_DFL);
}
