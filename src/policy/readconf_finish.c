/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What is worked out once the main section is read: names, users, paths, log selection, and checks between options.  Floor: policy.  Manual ch. 14. */
#include "base/buildinfo.h"
#include "buildconfig.h"
#include "os/log.h"
#include "os/net.h"
#include "os/priv.h"
#include "os/tls.h"
#include "policy/expand.h"
#include "policy/readconf_priv.h"

/* Values decided when the program was built stand where the file said nothing. */
static void build_defaults(struct config *c) {
  const struct build_info *b = build_info();
  struct main_options *o = &c->o;
  if (!o->spool_directory) o->spool_directory = b->spool_directory;
  if (!o->log_file_path && *b->log_file_path) o->log_file_path = b->log_file_path;
  if (!o->pid_file_path && *b->pid_file_path) o->pid_file_path = b->pid_file_path;
  if (!o->headers_charset) o->headers_charset = b->headers_charset;
  if (!o->pipelining_connect_keywords) o->pipelining_connect_keywords = b->pipe_connect_keywords;
  if (!opt_was_set(c->main_block, "timezone") && *b->timezone_default) o->timezone = b->timezone_default;
  if (!o->exim_path) o->exim_path = arena_printf(c->arena, "%s/exim", b->bin_directory);
  if (c->harness_mode && !opt_was_set(c->main_block, "smtputf8_advertise_hosts")) o->smtputf8_advertise_hosts = NULL;
  if (!o->exim_version) o->exim_version = build_version();
}

static bool resolve_users(struct readconf *r) {
  struct config *c = r->cfg;
  const struct build_info *b = build_info();
  gid_t login_gid = (gid_t)-1, gid;
  uid_t uid;
  if (c->o.exim_user.is_set) {
    uid = c->o.exim_user.id;
    (void)opt_find_user(c->o.exim_user.text, &uid, &login_gid);
  } else if (!opt_find_user(b->exim_user, &uid, &login_gid)) {
    return rc_fail_plain(r, "user %s was not found: set exim_user", b->exim_user);
  }
  if (c->o.exim_group.is_set) gid = c->o.exim_group.id;
  else if (!*b->exim_group || !opt_find_group(b->exim_group, &gid)) gid = login_gid;
  if (gid == (gid_t)-1) return rc_fail_plain(r, "cannot find a group for the Exim user: set exim_group");
  c->exim_uid = uid;
  c->exim_gid = gid;
  if (!c->o.exim_user.is_set) c->o.exim_user = (struct opt_id){.is_set = true, .id = uid, .text = b->exim_user};
  if (!c->o.exim_group.is_set)
    c->o.exim_group = (struct opt_id){.is_set = true, .id = gid, .text = arena_printf(c->arena, "%u", gid)};
  return true;
}

static bool check_syslog(struct readconf *r) {
  int facility;
  const char *name = r->cfg->o.syslog_facility;
  return !name || log_find_facility(name, &facility) || rc_fail_plain(r, "failed to interpret syslog_facility \"%s\"", name);
}

struct expansion {
  struct expand_ctx x;
  const char *in, *out;
};

static int run_expansion(void *ctx) {
  struct expansion *e = ctx;
  e->out = expand_string(&e->x, e->in);
  return 0;
}

const char *rc_expand(struct readconf *r, const char *text, const char **ret_error) {
  struct config *c = r->cfg;
  struct expansion e = {.x = expand_ctx_new(r->a, c), .in = text};
  if (!strchr(text, '$') && !strchr(text, '\\')) return text;
  uid_t uid = c->o.exim_user.is_set ? c->o.exim_user.id : 0;
  gid_t gid = c->o.exim_group.is_set ? c->o.exim_group.id : (gid_t)-1, login_gid = 0;
  if (!c->o.exim_user.is_set && !opt_find_user(build_info()->exim_user, &uid, &login_gid)) {
    *ret_error = "the Exim user is not known yet: set exim_user first";
    return NULL;
  }
  priv_without_root(uid, gid == (gid_t)-1 ? login_gid : gid, run_expansion, &e);
  *ret_error = e.x.error ? e.x.error : "forced failure";
  return e.out;
}

/* Expand an option whose failure ends the program; Exim's wording has no position here. */
static bool expand_now(struct readconf *r, const char *name, const char *value, const char **ret) {
  const char *err = NULL, *text = value ? rc_expand(r, value, &err) : NULL;
  if (value && !text) {
    r->error = arena_printf(r->a, "failed to expand %s \"%s\": %s", name, value, err);
    return false;
  }
  *ret = text;
  return true;
}

/* Each item may hold one %s and one date escape. */
static bool check_log_path(struct readconf *r, const char *path) {
  int names = 0, dates = 0;
  for (const char *s = path ? path : ""; *s; s++) {
    if (*s == ':') names = dates = 0;
    if (*s != '%') continue;
    s++;
    if (*s == 's' && !names++) continue;
    if ((*s == 'D' || *s == 'M') && !dates++) continue;
    if (*s == '%') continue;
    r->error = arena_printf(r->a, "log_file_path \"%s\" contains unexpected \"%%\" character", path);
    return false;
  }
  return true;
}

static bool set_names(struct readconf *r) {
  struct config *c = r->cfg;
  c->primary_hostname = c->o.primary_hostname;
  if (!c->primary_hostname) c->primary_hostname = net_host_name(r->a);
  if (!c->primary_hostname || !*c->primary_hostname) c->primary_hostname = "localhost";
  c->o.primary_hostname = c->primary_hostname;
  c->qualify_domain = c->o.qualify_domain ? c->o.qualify_domain : c->primary_hostname;
  c->qualify_recipient = c->o.qualify_recipient ? c->o.qualify_recipient : c->qualify_domain;
  c->o.qualify_domain = c->qualify_domain;
  c->o.qualify_recipient = c->qualify_recipient;
  return true;
}

static bool set_host_number(struct readconf *r) {
  const char *text;
  int n;
  if (!r->cfg->o.localhost_number) return true;
  if (!expand_now(r, "localhost_number", r->cfg->o.localhost_number, &text)) return false;
  struct str s = str_trim(str_c(text));
  if (!str_parse_int(s, &n) || n < 0) return rc_fail_plain(r, "localhost_number value is not a number: %s", text);
  if (n > CFG_MAX_LOCALHOST_NUMBER)
    return rc_fail_plain(r, "localhost_number is greater than the maximum allowed value (%d)", CFG_MAX_LOCALHOST_NUMBER);
  r->cfg->host_number = n;
  return true;
}

static bool check_combinations(struct readconf *r) {
  const struct main_options *o = &r->cfg->o;
  if (o->smtp_accept_max == 0 && (o->smtp_accept_queue > 0 || o->smtp_accept_max_per_host))
    return rc_fail_plain(r, "smtp_accept_max must be set if smtp_accept_queue or smtp_accept_max_per_host is set");
  if (o->local_from_check && o->local_sender_retain) {
    r->error = "both local_from_check and local_sender_retain are set; this combination is not allowed";
    return false;
  }
  const char *bad = o->tls_require_ciphers && !strchr(o->tls_require_ciphers, '$') ? tls_check_ciphers(r->a, o->tls_require_ciphers) : NULL;
  if (bad) return rc_fail_plain(r, "tls_require_ciphers invalid: %s", bad);
  if (o->errors_reply_to && !strchr(o->errors_reply_to, '@'))
    return rc_fail_plain(r, "errors_reply_to (%s) does not contain a domain", o->errors_reply_to);
  return true;
}

/* Nothing is queued, nobody else's rights are needed: manual ch. 52. */
static void settle_mua_wrapper(struct main_options *o) {
  if (!o->mua_wrapper) return;
  o->queue_only = false;
  o->queue_only_load = -1;
  o->queue_only_file = o->queue_smtp_domains = o->queue_domains = NULL;
  o->smtp_accept_queue_per_connection = 0;
  o->deliver_drop_privilege = true;
  o->remote_max_parallel = 1;
}

enum { RETRY_INTERVAL_LIMIT = 24 * 3600 };

bool rc_finish_main(struct readconf *r) {
  struct config *c = r->cfg;
  const char *err = NULL;
  if (r->error) return false;
  build_defaults(c);
  settle_mua_wrapper(&c->o);
  if (c->o.retry_interval_max > RETRY_INTERVAL_LIMIT) c->o.retry_interval_max = RETRY_INTERVAL_LIMIT;
  if (!resolve_users(r) || !set_names(r)) return false;
  if (!log_selector_parse(r->a, c->o.log_selector, &c->log_selector, &err)) return rc_fail_plain(r, "%s", err);
  if (!expand_now(r, "spool_directory", c->o.spool_directory, &c->spool_directory)) return false;
  if (!expand_now(r, "log_file_path", c->o.log_file_path, &c->log_file_path)) return false;
  if (!expand_now(r, "pid_file_path", c->o.pid_file_path, &c->o.pid_file_path)) return false;
  c->o.spool_directory = c->spool_directory;
  if (!c->log_file_path) c->log_file_path = arena_printf(r->a, "%s/log/%%slog", c->spool_directory);
  if (!c->o.process_log_path) c->o.process_log_path = arena_printf(r->a, "%s/exim-process.info", c->spool_directory);
  c->o.log_file_path = c->log_file_path;
  return check_log_path(r, c->log_file_path) && check_syslog(r) && set_host_number(r) && check_combinations(r);
}
