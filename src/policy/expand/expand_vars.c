/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Expansion variables (manual section 11.9): one sorted table.  Floor: policy.
 *
 * A row is a name, a getter and where the value stands in the object the getter reads.  A getter gives text (an empty one when the
 * object is not there); what came from outside carries its taint in the pointer.  Variables of subsystems that are not part of this
 * build have the value they have while unused. */
#include <stdlib.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "address.h"
#include "base/buildinfo.h"
#include "base/name_table.h"
#include "base/timeutil.h"
#include "conn.h"
#include "message.h"
#include "os/priv.h"
#include "policy/acl.h"
#include "policy/expand/expand_vars_priv.h"
#include "policy/match.h"
#include "policy/scan.h"
#include "policy/search.h"

/* ---- getters by place ---- */

const char *exp_var_str_at(const void *base, size_t at) {
  return base ? *(const char *const *)((const char *)base + at) : NULL;
}

const char *exp_var_number(struct expand_ctx *x, int64_t n) {
  struct strbuf b = strbuf_new(x->a);
  strbuf_add_int(&b, n);
  return b.p;
}

static const char *get_text(struct expand_ctx *x UNUSED, const struct var *v) { return v->text; }
static const char *get_ctx(struct expand_ctx *x, const struct var *v) { return exp_var_str_at(x, v->at); }
static const char *get_conn(struct expand_ctx *x, const struct var *v) { return exp_var_str_at(x->conn, v->at); }
static const char *get_atrn(struct expand_ctx *x, const struct var *v) {
  return exp_var_str_at(x->atrn ? x->atrn : x->conn ? x->conn->atrn : NULL, v->at);
}
static const char *get_msg(struct expand_ctx *x, const struct var *v) { return exp_var_str_at(x->msg, v->at); }
static const char *get_addr(struct expand_ctx *x, const struct var *v) { return exp_var_str_at(x->addr, v->at); }
static const char *get_cfg(struct expand_ctx *x, const struct var *v) { return exp_var_str_at(x->cfg, v->at); }

static const char *get_msg_int(struct expand_ctx *x, const struct var *v) {
  return x->msg ? exp_var_number(x, *(const int *)((const char *)x->msg + v->at)) : "0";
}
static const char *get_msg_i64(struct expand_ctx *x, const struct var *v) {
  return x->msg ? exp_var_number(x, *(const int64_t *)((const char *)x->msg + v->at)) : "0";
}
static const char *get_msg_yes(struct expand_ctx *x, const struct var *v) {
  return x->msg && *(const bool *)((const char *)x->msg + v->at) ? "yes" : "no";
}

/* Where the message comes from: as the session knows it, else as the spool file has kept it. */
static const struct origin *origin_of(const struct expand_ctx *x) {
  if (x->conn) return &x->conn->from;
  return x->msg ? x->msg->from : NULL;
}
static const char *get_from(struct expand_ctx *x, const struct var *v) { return exp_var_str_at(origin_of(x), v->at); }
static const char *get_from_bool(struct expand_ctx *x, const struct var *v) {
  const struct origin *o = origin_of(x);
  return o && *(const bool *)((const char *)o + v->at) ? "1" : "0";
}
static const char *get_from_yes(struct expand_ctx *x, const struct var *v) {
  const struct origin *o = origin_of(x);
  return o && *(const bool *)((const char *)o + v->at) ? "yes" : "no";
}

/* ---- getters of their own ---- */

static const char *get_acl_narg(struct expand_ctx *x, const struct var *v UNUSED) { return exp_var_number(x, x->s.acl_narg); }
static const char *get_acl_arg(struct expand_ctx *x, const struct var *v) { return x->s.acl_args[v->at]; }

static const char *get_address_data(struct expand_ctx *x, const struct var *v UNUSED) {
  return x->address_data ? x->address_data : x->addr ? x->addr->prop.address_data : NULL;
}
static const char *get_auth_failed(struct expand_ctx *x, const struct var *v UNUSED) {
  return x->authentication_failed ? "1" : "0";
}
static const char *get_bounce_limit(struct expand_ctx *x, const struct var *v UNUSED) {
  return exp_var_number(x, x->cfg->o.bounce_return_size_limit);
}
static const char *get_caller_id(struct expand_ctx *x, const struct var *v) {
  if (x->conn) return exp_var_number(x, v->at ? (int64_t)x->conn->gid : (int64_t)x->conn->uid);
  return exp_var_number(x, v->at ? (int64_t)priv_real_gid() : (int64_t)priv_real_uid());
}
static const char *get_originator_id(struct expand_ctx *x, const struct var *v) {
  if (!x->msg) return get_caller_id(x, v);
  return exp_var_number(x, v->at ? (int64_t)x->msg->gid : (int64_t)x->msg->uid);
}
static const char *get_exim_id(struct expand_ctx *x, const struct var *v) {
  return exp_var_number(x, v->at ? (int64_t)x->cfg->exim_gid : (int64_t)x->cfg->exim_uid);
}
static const char *get_compile_date(struct expand_ctx *x UNUSED, const struct var *v UNUSED) { return build_date(); }
static const char *get_compile_number(struct expand_ctx *x UNUSED, const struct var *v UNUSED) { return build_number(); }
static const char *get_version(struct expand_ctx *x, const struct var *v UNUSED) {
  return x->cfg->o.exim_version ? x->cfg->o.exim_version : build_version();
}
static const char *get_ldap_dn(struct expand_ctx *x, const struct var *v UNUSED) { return arena_strdup(x->a, lookup_last_ldap_dn()); }
static const char *get_exim_path(struct expand_ctx *x, const struct var *v UNUSED) {
  if (x->cfg->o.exim_path) return x->cfg->o.exim_path;
  return arena_printf(x->a, "%s/exim", build_info()->bin_directory);
}
static const char *get_config_dir(struct expand_ctx *x, const struct var *v UNUSED) {
  return x->cfg->dir ? x->cfg->dir : ".";
}

static const char *get_domain(struct expand_ctx *x, const struct var *v UNUSED) {
  return x->domain_override ? x->domain_override : x->addr ? x->addr->domain : NULL;
}
static const char *get_local_part(struct expand_ctx *x, const struct var *v UNUSED) {
  return x->local_part_override ? x->local_part_override : x->addr ? x->addr->local_part : NULL;
}
static const char *get_domain_data(struct expand_ctx *x, const struct var *v UNUSED) {
  return x->match.domain_data ? x->match.domain_data : x->addr ? x->addr->prop.domain_data : NULL;
}
static const char *get_local_part_data(struct expand_ctx *x, const struct var *v UNUSED) {
  return x->match.local_part_data ? x->match.local_part_data : x->addr ? x->addr->prop.localpart_data : NULL;
}

enum { ANCESTOR_PARENT, ANCESTOR_ORIGINAL };
static const struct address *ancestor(const struct expand_ctx *x, size_t kind) {
  const struct address *a = x->addr;
  if (!a) return NULL;
  if (kind == ANCESTOR_PARENT) return a->parent;
  while (a->parent) a = a->parent;
  return a;
}
static const char *get_ancestor_domain(struct expand_ctx *x, const struct var *v) {
  const char *set = v->at == ANCESTOR_PARENT ? x->parent_domain : x->original_domain;
  const struct address *a = ancestor(x, v->at);
  return set ? set : a ? a->domain : NULL;
}
static const char *get_ancestor_local_part(struct expand_ctx *x, const struct var *v) {
  const char *set = v->at == ANCESTOR_PARENT ? x->parent_local_part : x->original_local_part;
  const struct address *a = ancestor(x, v->at);
  return set ? set : !a ? NULL : v->at == ANCESTOR_PARENT ? a->lc_local_part : address_local_part_given(x->a, a);
}

static const char *get_host(struct expand_ctx *x, const struct var *v UNUSED) { return x->host ? x->host->name : NULL; }
static const char *get_host_address(struct expand_ctx *x, const struct var *v UNUSED) {
  return x->host ? x->host->address : NULL;
}
static const char *get_event_errno(struct expand_ctx *x, const struct var *v UNUSED) { return exp_var_number(x, x->event_defer_errno); }
static const char *get_host_port(struct expand_ctx *x, const struct var *v UNUSED) { return exp_var_number(x, x->host ? x->host->port : 0); }
static const char *get_inode(struct expand_ctx *x, const struct var *v UNUSED) { return exp_var_number(x, (int64_t)x->inode); }

static const char *get_load(struct expand_ctx *x, const struct var *v UNUSED) {
  double load;
  return getloadavg(&load, 1) == 1 ? exp_var_number(x, (int64_t)(load * 1000.0)) : "-1";
}

enum { FS_SPACE = 1, FS_INODES = 2, FS_LOG = 4 };
static const char *get_fs(struct expand_ctx *x, const struct var *v) {
  const char *path = x->cfg->spool_directory;
  struct statvfs st;
  if (v->at & FS_LOG) {
    path = x->cfg->log_file_path;
    const char *slash = path ? strrchr(path, '/') : NULL;
    path = slash && *path == '/' ? arena_strndup(x->a, path, (size_t)(slash - path)) : NULL;
  }
  if (!path || statvfs(path, &st) != 0) return "-1";
  if (v->at & FS_INODES) return exp_var_number(x, (int64_t)st.f_favail);
  return exp_var_number(x, (int64_t)(st.f_bavail * st.f_frsize / 1024));
}

static const char *get_user_id(struct expand_ctx *x, const struct var *v) {
  const char *set = v->at ? x->local_user_gid_text : x->local_user_uid_text;
  if (set) return set;
  if (x->addr && x->addr->local_user) return exp_var_number(x, v->at ? (int64_t)x->addr->gid : (int64_t)x->addr->uid);
  return "4294967295";
}
static const char *get_localhost_number(struct expand_ctx *x, const struct var *v UNUSED) {
  return exp_var_number(x, MAX(x->cfg->host_number, 0));
}

static const char *get_message_headers(struct expand_ctx *x, const struct var *v) { return exp_message_headers(x, v->at); }
static const char *get_message_body(struct expand_ctx *x, const struct var *v) { return exp_message_body(x, v->at); }
static const char *get_reply_address(struct expand_ctx *x, const struct var *v UNUSED) { return exp_reply_address(x); }

static const char *get_pid(struct expand_ctx *x, const struct var *v UNUSED) { return exp_var_number(x, getpid()); }
static const char *get_qualify_recipient(struct expand_ctx *x, const struct var *v UNUSED) {
  return x->cfg->qualify_recipient ? x->cfg->qualify_recipient : x->cfg->qualify_domain;
}

static const char *get_received_port(struct expand_ctx *x, const struct var *v UNUSED) {
  const struct origin *o = origin_of(x);
  return exp_var_number(x, o && o->interface_address ? o->interface_port : -1);
}
static const char *get_host_port_in(struct expand_ctx *x, const struct var *v UNUSED) {
  const struct origin *o = origin_of(x);
  return exp_var_number(x, o ? o->host_port : 0);
}
static const char *get_runrc(struct expand_ctx *x, const struct var *v UNUSED) { return exp_var_number(x, x->s.runrc); }
static const char *get_item(struct expand_ctx *x, const struct var *v UNUSED) { return x->s.item; }
static const char *get_value(struct expand_ctx *x, const struct var *v UNUSED) { return x->s.value; }

static const char *get_self_hostname(struct expand_ctx *x, const struct var *v UNUSED) {
  return x->self_hostname ? x->self_hostname : x->addr ? x->addr->self_hostname : NULL;
}

static const char *get_sender(struct expand_ctx *x, const struct var *v UNUSED) {
  return x->sender_override ? x->sender_override : x->msg ? x->msg->sender : NULL;
}
static const char *get_sender_part(struct expand_ctx *x, const struct var *v) {
  const char *s = get_sender(x, v);
  struct str local, domain;
  if (!s || !addr_split(s, &local, &domain)) return v->at ? NULL : s;
  return str_dup(x->a, v->at ? domain : local);
}

static const char *get_sender_host_name(struct expand_ctx *x, const struct var *v UNUSED) {
  const struct origin *o = origin_of(x);
  const struct expand_hooks *h = exp_hooks();
  if (x->conn && o->host_address && !o->host_name && !o->host_looked_up && h && h->sender_host_name) h->sender_host_name(x);
  return o ? o->host_name : NULL;
}

static const char *get_sending_ip(struct expand_ctx *x, const struct var *v UNUSED) {
  x->sending_ip_was_read = true;
  return x->sending_ip_address;
}
static const char *get_sending_port(struct expand_ctx *x, const struct var *v UNUSED) {
  x->sending_port_was_read = true;
  return exp_var_number(x, x->sending_port ? x->sending_port : -1);
}

static const char *get_active_hostname(struct expand_ctx *x, const struct var *v UNUSED) {
  const struct origin *o = origin_of(x);
  return o && o->active_hostname ? o->active_hostname : x->cfg->primary_hostname;
}
static const char *get_command_history(struct expand_ctx *x, const struct var *v UNUSED) {
  struct strbuf b = strbuf_new(x->a);
  for (size_t i = 0; x->conn && i < x->conn->command_names.n; i++) {
    if (i) strbuf_addc(&b, ',');
    strbuf_adds(&b, x->conn->command_names.v[i]);
  }
  return b.p;
}
static const char *get_count_at_start(struct expand_ctx *x, const struct var *v UNUSED) {
  return exp_var_number(x, x->conn ? x->conn->count_at_start : 0);
}

/* TLS facts: of the incoming, the outgoing, or (old names) of whichever is there. */
enum { TLS_IN, TLS_OUT, TLS_ANY };
static const struct tls_info *tls_of(const struct expand_ctx *x, const struct var *v) {
  const struct origin *o = origin_of(x);
  bool is_out = strncmp(v->name, "tls_out_", 8) == 0, is_in = strncmp(v->name, "tls_in_", 7) == 0;
  if (is_out || (!is_in && x->tls_out)) return x->tls_out;
  return o ? &o->tls : NULL;
}
static const char *get_tls(struct expand_ctx *x, const struct var *v) { return exp_var_str_at(tls_of(x, v), v->at); }
static const char *get_tls_int(struct expand_ctx *x, const struct var *v) {
  const struct tls_info *t = tls_of(x, v);
  return exp_var_number(x, t ? *(const int *)((const char *)t + v->at) : 0);
}
static const char *get_tls_verified(struct expand_ctx *x, const struct var *v) {
  const struct tls_info *t = tls_of(x, v);
  return t && t->certificate_verified ? "1" : "0";
}
static const char *get_tls_dane(struct expand_ctx *x, const struct var *v) {
  const struct tls_info *t = tls_of(x, v);
  return t && t->dane ? "yes" : "no";
}
static const char *get_tls_resumption(struct expand_ctx *x, const struct var *v) {
  const struct tls_info *t = tls_of(x, v);
  return exp_var_number(x, t ? (int64_t)t->resumption : 0);
}

static const struct proxy_info *proxy_of(const struct expand_ctx *x) { return x->proxy_out ? x->proxy_out : x->conn ? x->conn->proxy : NULL; }
static const char *get_proxy(struct expand_ctx *x, const struct var *v) { return exp_var_str_at(proxy_of(x), v->at); }
static const char *get_proxy_port(struct expand_ctx *x, const struct var *v) {
  const struct proxy_info *p = proxy_of(x);
  return exp_var_number(x, p ? *(const int *)((const char *)p + v->at) : 0);
}
static const char *get_proxy_session(struct expand_ctx *x, const struct var *v) {
  (void)v;
  return proxy_of(x) ? "yes" : "no";
}

static const char *get_tod(struct expand_ctx *x, const struct var *v) {
  char buf[64];
  struct time_opts o = {.want_zone = x->cfg->o.log_timezone,
                        .utc = x->cfg->o.timezone && strcmpic(x->cfg->o.timezone, "utc") == 0};
  return arena_strdup(x->a, time_format(time_now(), (enum time_style)v->at, o, buf, sizeof buf));
}
static const char *get_tod_epoch(struct expand_ctx *x, const struct var *v) {
  struct timeval tv = time_now();
  return exp_var_number(x, v->at ? (int64_t)tv.tv_sec * 1000000 + tv.tv_usec : (int64_t)tv.tv_sec);
}

/* ---- the table ---- */

#define CTX(f) get_ctx, offsetof(struct expand_ctx, f), NULL
#define FROM(f) get_from, offsetof(struct origin, f), NULL
#define MSG(f) get_msg, offsetof(struct message, f), NULL
#define SCAN(f) exp_get_scan, offsetof(struct scan_state, f), NULL
#define MSG_INT(f) get_msg_int, offsetof(struct message, f), NULL
#define MSG_I64(f) get_msg_i64, offsetof(struct message, f), NULL
#define ADDR(f) get_addr, offsetof(struct address, f), NULL
#define CONN(f) get_conn, offsetof(struct conn, f), NULL
#define CFG(f) get_cfg, offsetof(struct config, f), NULL
#define TLS(f) get_tls, offsetof(struct tls_info, f), NULL
#define TLS_INT(f) get_tls_int, offsetof(struct tls_info, f), NULL
#define PROXY(f) get_proxy, offsetof(struct proxy_info, f), NULL
#define PROXY_PORT(f) get_proxy_port, offsetof(struct proxy_info, f), NULL
#define FN(f) get_##f, 0, NULL
#define FN_K(f, k) get_##f, (k), NULL
/* How rows of the table below name their getters; MSG_FN: one in expand_vars_msg.c. */
#define MSG_FN(f) exp_get_##f, 0, NULL
#define MSG_FN_K(f, k) exp_get_##f, (k), NULL
#define TEXT(t) get_text, 0, t
#define EMPTY get_text, 0, NULL
#define DKIM(f) exp_get_dkim, 0, #f
#define ARC(f) exp_get_arc, 0, #f
#define SPF(f) exp_get_spf, 0, #f
#define DMARC(f) exp_get_dmarc, 0, #f
#define ATRN(f) get_atrn, offsetof(struct atrn_turn, f), NULL

static const struct var vars[] = {
  {"acl_arg1", FN_K(acl_arg, 0)},
  {"acl_arg2", FN_K(acl_arg, 1)},
  {"acl_arg3", FN_K(acl_arg, 2)},
  {"acl_arg4", FN_K(acl_arg, 3)},
  {"acl_arg5", FN_K(acl_arg, 4)},
  {"acl_arg6", FN_K(acl_arg, 5)},
  {"acl_arg7", FN_K(acl_arg, 6)},
  {"acl_arg8", FN_K(acl_arg, 7)},
  {"acl_arg9", FN_K(acl_arg, 8)},
  {"acl_narg", FN(acl_narg)},
  {"acl_verify_message", CTX(acl_verify_message)},
  {"address_data", FN(address_data)},
  {"address_file", CTX(address_file)},
  {"address_pipe", CTX(address_pipe)},
  {"arc_domains", ARC(domains)},
  {"arc_oldest_pass", ARC(oldest_pass)},
  {"arc_state", ARC(state)},
  {"arc_state_reason", ARC(state_reason)},
  {"atrn_host", ATRN(host)},
  {"atrn_mode", ATRN(mode)},
  {"authenticated_fail_id", CTX(auth_fail_id)},
  {"authenticated_id", FROM(auth_id)},
  {"authenticated_sender", FROM(auth_sender)},
  {"authentication_failed", FN(auth_failed)},
  {"av_failed", TEXT("0")},
  {"body_linecount", MSG_I64(body_linecount)},
  {"body_zerocount", MSG_I64(body_zerocount)},
  {"bounce_recipient", CTX(bounce_recipient)},
  {"bounce_return_size_limit", FN(bounce_limit)},
  {"caller_gid", FN_K(caller_id, 1)},
  {"caller_uid", FN_K(caller_id, 0)},
  {"callout_address", CTX(callout_address)},
  {"compile_date", FN(compile_date)},
  {"compile_number", FN(compile_number)},
  {"config_dir", FN(config_dir)},
  {"config_file", CFG(file)},
  {"connection_id", CONN(connection_id)},
  {"csa_status", CTX(csa_status)},
  {"dcc_header", EMPTY},
  {"dcc_result", EMPTY},
  {"dkim_algo", DKIM(algo)},
  {"dkim_bodylength", DKIM(bodylength)},
  {"dkim_canon_body", DKIM(canon_body)},
  {"dkim_canon_headers", DKIM(canon_headers)},
  {"dkim_copiedheaders", DKIM(copiedheaders)},
  {"dkim_created", DKIM(created)},
  {"dkim_cur_signer", DKIM(cur_signer)},
  {"dkim_domain", DKIM(domain)},
  {"dkim_expires", DKIM(expires)},
  {"dkim_headernames", DKIM(headernames)},
  {"dkim_identity", DKIM(identity)},
  {"dkim_key_granularity", DKIM(key_granularity)},
  {"dkim_key_length", DKIM(key_length)},
  {"dkim_key_nosubdomains", DKIM(key_nosubdomains)},
  {"dkim_key_notes", DKIM(key_notes)},
  {"dkim_key_srvtype", DKIM(key_srvtype)},
  {"dkim_key_testing", DKIM(key_testing)},
  {"dkim_selector", DKIM(selector)},
  {"dkim_signers", DKIM(signers)},
  {"dkim_verify_reason", DKIM(verify_reason)},
  {"dkim_verify_signers", DKIM(verify_signers)},
  {"dkim_verify_status", DKIM(verify_status)},
  {"dmarc_alignment_dkim", DMARC(alignment_dkim)},
  {"dmarc_alignment_spf", DMARC(alignment_spf)},
  {"dmarc_domain_policy", DMARC(domain_policy)},
  {"dmarc_status", DMARC(status)},
  {"dmarc_status_text", DMARC(status_text)},
  {"dmarc_used_domain", DMARC(used_domain)},
  {"dnslist_domain", CTX(dnslist_domain)},
  {"dnslist_matched", CTX(dnslist_matched)},
  {"dnslist_text", CTX(dnslist_text)},
  {"dnslist_value", CTX(dnslist_value)},
  {"domain", FN(domain)},
  {"domain_data", FN(domain_data)},
  {"event_data", CTX(event_data)},
  {"event_defer_errno", FN(event_errno)},
  {"event_name", CTX(event_name)},
  {"exim_gid", FN_K(exim_id, 1)},
  {"exim_path", FN(exim_path)},
  {"exim_uid", FN_K(exim_id, 0)},
  {"exim_version", FN(version)},
  {"headers_added", MSG_FN(headers_added)},
  {"home", CTX(home)},
  {"host", FN(host)},
  {"host_address", FN(host_address)},
  {"host_data", CTX(match.host_data)},
  {"host_lookup_deferred", get_from_bool, offsetof(struct origin, host_lookup_deferred), NULL},
  {"host_lookup_failed", get_from_bool, offsetof(struct origin, host_lookup_failed), NULL},
  {"host_port", FN(host_port)},
  {"initial_cwd", CTX(initial_cwd)},
  {"inode", FN(inode)},
  {"interface_address", FROM(interface_address)},
  {"interface_port", FN(received_port)},
  {"item", FN(item)},
  {"ldap_dn", FN(ldap_dn)},
  {"load_average", FN(load)},
  {"local_part", FN(local_part)},
  {"local_part_data", FN(local_part_data)},
  {"local_part_prefix", ADDR(prefix)},
  {"local_part_prefix_v", ADDR(prefix_v)},
  {"local_part_suffix", ADDR(suffix)},
  {"local_part_suffix_v", ADDR(suffix_v)},
  {"local_scan_data", MSG(local_scan_data)},
  {"local_user_gid", FN_K(user_id, 1)},
  {"local_user_uid", FN_K(user_id, 0)},
  {"localhost_number", FN(localhost_number)},
  {"log_inodes", FN_K(fs, FS_LOG | FS_INODES)},
  {"log_space", FN_K(fs, FS_LOG | FS_SPACE)},
  {"lookup_dnssec_authenticated", CTX(match.lookup_dnssec)},
  {"mailstore_basename", CTX(mailstore_basename)},
  {"malware_name", SCAN(malware_name)},
  {"max_received_linelength", MSG_I64(max_received_linelength)},
  {"message_age", MSG_FN(message_age)},
  {"message_body", FN_K(message_body, 0)},
  {"message_body_end", FN_K(message_body, 1)},
  {"message_body_size", MSG_I64(body_size)},
  {"message_exim_id", MSG_FN(message_id)},
  {"message_headers", FN_K(message_headers, 0)},
  {"message_headers_raw", FN_K(message_headers, 1)},
  {"message_id", MSG_FN(message_id)},
  {"message_linecount", MSG_I64(message_linecount)},
  {"message_size", MSG_I64(message_size)},
  {"message_smtputf8", get_msg_yes, offsetof(struct message, smtputf8), NULL},
  {"mime_anomaly_level", MSG_FN_K(mime_number, MIME_ANOMALY_LEVEL)},
  {"mime_anomaly_text", exp_get_part, offsetof(struct scan_part, f.anomaly_text), NULL},
  {"mime_boundary", exp_get_part, offsetof(struct scan_part, f.boundary), NULL},
  {"mime_charset", exp_get_part, offsetof(struct scan_part, f.charset), NULL},
  {"mime_content_description", exp_get_part, offsetof(struct scan_part, f.description), NULL},
  {"mime_content_disposition", exp_get_part, offsetof(struct scan_part, f.disposition), NULL},
  {"mime_content_id", exp_get_part, offsetof(struct scan_part, f.id), NULL},
  {"mime_content_size", MSG_FN_K(mime_number, MIME_CONTENT_SIZE)},
  {"mime_content_transfer_encoding", exp_get_part, offsetof(struct scan_part, f.encoding), NULL},
  {"mime_content_type", exp_get_part, offsetof(struct scan_part, f.type), NULL},
  {"mime_decoded_filename", exp_get_part, offsetof(struct scan_part, decoded_filename), NULL},
  {"mime_filename", exp_get_part, offsetof(struct scan_part, f.filename), NULL},
  {"mime_is_coverletter", MSG_FN_K(mime_number, MIME_IS_COVERLETTER)},
  {"mime_is_multipart", MSG_FN_K(mime_number, MIME_IS_MULTIPART)},
  {"mime_is_rfc822", MSG_FN_K(mime_number, MIME_IS_RFC822)},
  {"mime_part_count", MSG_FN(mime_part_count)},
  {"original_domain", FN_K(ancestor_domain, ANCESTOR_ORIGINAL)},
  {"original_local_part", FN_K(ancestor_local_part, ANCESTOR_ORIGINAL)},
  {"originator_gid", FN_K(originator_id, 1)},
  {"originator_uid", FN_K(originator_id, 0)},
  {"parent_domain", FN_K(ancestor_domain, ANCESTOR_PARENT)},
  {"parent_local_part", FN_K(ancestor_local_part, ANCESTOR_PARENT)},
  {"pid", FN(pid)},
  {"prdr_requested", get_msg_yes, offsetof(struct message, prdr_requested), NULL},
  {"primary_hostname", CFG(primary_hostname)},
  {"proxy_external_address", PROXY(external_address)},
  {"proxy_external_port", PROXY_PORT(external_port)},
  {"proxy_local_address", PROXY(local_address)},
  {"proxy_local_port", PROXY_PORT(local_port)},
  {"proxy_session", FN(proxy_session)},
  {"prvscheck_address", CTX(prvscheck_address)},
  {"prvscheck_keynum", CTX(prvscheck_keynum)},
  {"prvscheck_result", CTX(prvscheck_result)},
  {"qualify_domain", CFG(qualify_domain)},
  {"qualify_recipient", FN(qualify_recipient)},
  {"queue_name", MSG(queue_name)},
  {"queue_size", MSG_FN(queue_size)},
  {"rcpt_count", MSG_INT(rcpt_count)},
  {"rcpt_defer_count", MSG_INT(rcpt_defer_count)},
  {"rcpt_fail_count", MSG_INT(rcpt_fail_count)},
  {"received_count", MSG_INT(received_count)},
  {"received_for", CTX(received_for)},
  {"received_ip_address", FROM(interface_address)},
  {"received_port", FN(received_port)},
  {"received_protocol", FROM(protocol)},
  {"received_time", MSG_FN(received_time)},
  {"recipient_data", CTX(match.recipient_data)},
  {"recipient_verify_failure", CTX(recipient_verify_failure)},
  {"recipients", MSG_FN_K(recipients, 0)},
  {"recipients_count", MSG_FN(recipients_count)},
  {"recipients_list", MSG_FN_K(recipients, 1)},
  {"regex_cachesize", TEXT("0")},
  {"regex_match_string", SCAN(regex_match_string)},
  {"reply_address", FN(reply_address)},
  {"return_path", CTX(return_path)},
  {"return_size_limit", FN(bounce_limit)},
  {"router_name", CTX(router_name)},
  {"runrc", FN(runrc)},
  {"self_hostname", FN(self_hostname)},
  {"sender_address", FN(sender)},
  {"sender_address_data", CTX(sender_address_data)},
  {"sender_address_domain", FN_K(sender_part, 1)},
  {"sender_address_local_part", FN_K(sender_part, 0)},
  {"sender_data", CTX(match.sender_data)},
  {"sender_fullhost", FROM(fullhost)},
  {"sender_helo_dnssec", TEXT("no")},
  {"sender_helo_name", FROM(helo_name)},
  {"sender_helo_verified", get_from_yes, offsetof(struct origin, helo_verified), NULL},
  {"sender_host_address", FROM(host_address)},
  {"sender_host_authenticated", FROM(auth_name)},
  {"sender_host_dnssec", get_from_yes, offsetof(struct origin, is_dnssec), NULL},
  {"sender_host_name", FN(sender_host_name)},
  {"sender_host_port", FN(host_port_in)},
  {"sender_ident", FROM(ident)},
  {"sender_rate", CTX(sender_rate)},
  {"sender_rate_limit", CTX(sender_rate_limit)},
  {"sender_rate_period", CTX(sender_rate_period)},
  {"sender_rcvhost", FROM(rcvhost)},
  {"sender_verify_failure", CTX(sender_verify_failure)},
  {"sending_ip_address", FN(sending_ip)},
  {"sending_port", FN(sending_port)},
  {"smtp_active_hostname", FN(active_hostname)},
  {"smtp_command", CONN(smtp_command)},
  {"smtp_command_argument", CONN(smtp_command_argument)},
  {"smtp_command_history", FN(command_history)},
  {"smtp_count_at_connection_start", FN(count_at_start)},
  {"smtp_notquit_reason", CTX(notquit_reason)},
  {"spam_action", SCAN(spam_action)},
  {"spam_bar", MSG(spam_bar)},
  {"spam_report", SCAN(spam_report)},
  {"spam_score", MSG(spam_score)},
  {"spam_score_int", MSG(spam_score_int)},
  {"spf_guess", SPF(guess)},
  {"spf_header_comment", SPF(header_comment)},
  {"spf_received", SPF(received)},
  {"spf_result", SPF(result)},
  {"spf_result_guessed", SPF(result_guessed)},
  {"spf_smtp_comment", SPF(smtp_comment)},
  {"spf_used_domain", SPF(used_domain)},
  {"spool_directory", CFG(spool_directory)},
  {"spool_inodes", FN_K(fs, FS_INODES)},
  {"spool_space", FN_K(fs, FS_SPACE)},
  {"srs_recipient", CTX(srs_recipient)},
  {"thisaddress", CTX(this_address)},
  {"tls_bits", TLS_INT(bits)},
  {"tls_certificate_verified", FN(tls_verified)},
  {"tls_cipher", TLS(cipher)},
  {"tls_in_bits", TLS_INT(bits)},
  {"tls_in_certificate_verified", FN(tls_verified)},
  {"tls_in_cipher", TLS(cipher)},
  {"tls_in_cipher_std", TLS(cipher_std)},
  {"tls_in_ocsp", TLS_INT(ocsp)},
  {"tls_in_ourcert", TLS(our_cert)},
  {"tls_in_peercert", TLS(peer_cert)},
  {"tls_in_peerdn", TLS(peerdn)},
  {"tls_in_resumption", FN(tls_resumption)},
  {"tls_in_sni", TLS(sni)},
  {"tls_in_ver", TLS(ver)},
  {"tls_out_bits", TLS_INT(bits)},
  {"tls_out_certificate_verified", FN(tls_verified)},
  {"tls_out_cipher", TLS(cipher)},
  {"tls_out_cipher_std", TLS(cipher_std)},
  {"tls_out_dane", FN(tls_dane)},
  {"tls_out_ocsp", TLS_INT(ocsp)},
  {"tls_out_ourcert", TLS(our_cert)},
  {"tls_out_peercert", TLS(peer_cert)},
  {"tls_out_peerdn", TLS(peerdn)},
  {"tls_out_resumption", FN(tls_resumption)},
  {"tls_out_sni", TLS(sni)},
  {"tls_out_tlsa_usage", TLS_INT(tlsa_usage)},
  {"tls_out_ver", TLS(ver)},
  {"tls_peerdn", TLS(peerdn)},
  {"tls_sni", TLS(sni)},
  {"tod_bsdinbox", FN_K(tod, TIME_BSD_INBOX)},
  {"tod_epoch", FN_K(tod_epoch, 0)},
  {"tod_epoch_l", FN_K(tod_epoch, 1)},
  {"tod_full", FN_K(tod, TIME_FULL)},
  {"tod_log", FN_K(tod, TIME_LOG)},
  {"tod_logfile", FN_K(tod, TIME_LOGFILE)},
  {"tod_zone", FN_K(tod, TIME_ZONE)},
  {"tod_zulu", FN_K(tod, TIME_ZULU)},
  {"transport_name", CTX(transport_name)},
  {"value", FN(value)},
  {"verify_mode", CTX(verify_mode)},
  {"version_number", FN(version)},
  {"warn_message_delay", CTX(warnmsg_delay)},
  {"warn_message_recipient", CTX(warnmsg_recipients)},
  {"warn_message_recipients", CTX(warnmsg_recipients)},
  {"warnmsg_delay", CTX(warnmsg_delay)},
  {"warnmsg_recipient", CTX(warnmsg_recipients)},
  {"warnmsg_recipients", CTX(warnmsg_recipients)},
};

static const struct var *find_var(struct str name) {
  return NAME_FIND(vars, ARRAY_SIZE(vars), name);
}

/* ---- families of names ---- */

/* prefix followed by one digit from min to max: the digit, else -1. */
static int numbered(struct str name, const char *prefix, int min, int max) {
  size_t n = strlen(prefix);
  if (name.n != n + 1 || memcmp(name.p, prefix, n) != 0 || !ch_isdigit(name.p[n])) return -1;
  int d = name.p[n] - '0';
  return d >= min && d <= max ? d : -1;
}

static bool is_acl_var(struct str name) {
  return str_starts(name, STR("acl_")) && name.n >= 5 && (name.p[4] == 'c' || name.p[4] == 'm') &&
         (name.n == 5 || ch_isdigit(name.p[5]) || name.p[5] == '_');
}
static bool is_router_var(struct str name) { return str_starts(name, STR("r_")); }
static bool is_filter_var(struct str name) { return numbered(name, "n", 0, 9) >= 0 || numbered(name, "sn", 0, 9) >= 0; }

bool exp_var_known(struct str name) {
  return find_var(name) || is_acl_var(name) || is_router_var(name) || is_filter_var(name) || numbered(name, "auth", 1, 4) >= 0 ||
         numbered(name, "regex", 1, 9) >= 0;
}

const char *exp_var_hint(struct str name) {
  if (!str_starts(name, STR("acl_"))) return "";
  if (name.n < 5 || (name.p[4] != 'c' && name.p[4] != 'm'))
    return " (user-defined ACL variables must start acl_c or acl_m)";
  return is_acl_var(name) ? " (strict_acl_vars is set)"
                          : " (6th character of a user-defined ACL variable must be a digit or underscore)";
}

static const char *named_value(struct expand_ctx *x, struct str name, bool *ret_known) {
  int n;
  if (is_acl_var(name)) {
    const char *v = acl_var_get(x, str_dup(x->a, name));
    *ret_known = v || !x->cfg->o.strict_acl_vars;
    return v;
  }
  if (is_router_var(name)) {
    const struct tree_node *node = x->addr ? tree_find(&x->addr->prop.router_vars, str_dup(x->a, name)) : NULL;
    return node ? node->data : NULL;
  }
  if (is_filter_var(name)) {
    *ret_known = x->filter_vars != NULL;
    const struct tree_node *node = x->filter_vars ? tree_find(x->filter_vars, str_dup(x->a, name)) : NULL;
    return exp_var_number(x, node ? node->val : 0);
  }
  if ((n = numbered(name, "auth", 1, 4)) > 0) return x->auth_vars[n - 1];
  if ((n = numbered(name, "regex", 1, 9)) > 0) return x->regex_vars[n - 1];
  *ret_known = false;
  return NULL;
}

const char *exp_var(struct expand_ctx *x, struct str name, bool *ret_known) {
  const struct var *v = find_var(name);
  const char *value;
  *ret_known = true;
  if (v) {
    x->error = NULL;
    value = v->get(x, v);
    if (!value && x->error) return NULL;
  } else {
    value = named_value(x, name, ret_known);
    if (!*ret_known) return NULL;
  }
  return value ? value : "";
}
