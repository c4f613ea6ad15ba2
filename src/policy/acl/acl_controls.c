/* SPDX-License-Identifier: GPL-2.0-or-later */
/* control = ...: one sorted table of names, where they may stand, and what they set.
 *
 * Floor: policy.  Session controls act on struct conn, message controls on struct message.  Names whose subsystem is
 * not built are refused when the configuration is read.  Manual ch. 44 "Use of the control modifier". */
#include "buildconfig.h"
#include "os/debug.h"
#include "os/log.h"
#include "os/net.h"
#include "os/stream.h"
#include "policy/acl/acl_priv.h"
#include "policy/match.h"

enum { TAKES_OPTION = 1, CONTROL_UNBUILT = 2 };

struct control {
  const char *name;
  unsigned flags, forbidden;
  /* opts: text behind the first slash, "" none.  Error text or NULL. */
  const char *(*set)(struct acl_run *r, const char *opts);
};

#define ONLY(bits) (~(bits))
#define MESSAGE_BITS (ACL_BIT(MAIL) | ACL_BIT(RCPT) | ACL_BIT(PREDATA) | ACL_BIT(MIME) | ACL_BIT(DATA) | ACL_BIT(NOTSMTP))
#define FAKE_BITS (ACL_BIT(MAIL) | ACL_BIT(RCPT) | ACL_BIT(PREDATA) | ACL_BIT(MIME) | ACL_BIT(DATA) | ACL_BIT(PRDR))

static const char *set_allow_auth(struct acl_run *r, const char *o) {
  (void)o;
  r->x->conn->allow_auth_unadvertised = true;
  return NULL;
}

static void set_caseful(struct acl_run *r, bool on) {
  struct str local, domain;
  r->x->conn->caseful_local_part = on;
  if (r->recipient && addr_split(r->recipient, &local, &domain))
    r->x->local_part_override = on ? addr_dequote_local_part(r->x->a, local) : str_dup_lower(r->x->a, str_c(addr_dequote_local_part(r->x->a, local)));
}
static const char *set_caseful_on(struct acl_run *r, const char *o) { return (void)o, set_caseful(r, true), NULL; }
static const char *set_caseful_off(struct acl_run *r, const char *o) { return (void)o, set_caseful(r, false), NULL; }
static const char *set_sync(struct acl_run *r, const char *o) { return (void)o, r->x->conn->enforce_sync = true, NULL; }
/* Without a transaction there is nothing to switch off yet. */
static const char *set_no_dmarc(struct acl_run *r, const char *o) {
  (void)o;
  if (r->x->msg) r->x->msg->dmarc_disabled = true;
  return NULL;
}
static const char *set_no_dkim(struct acl_run *r, const char *o) { return (void)o, r->x->msg->dkim_disabled = true, NULL; }
static const char *set_no_unspool(struct acl_run *r, const char *o) { return (void)o, r->x->msg->no_mbox_unspool = true, NULL; }
static const char *set_no_sync(struct acl_run *r, const char *o) { return (void)o, r->x->conn->enforce_sync = false, NULL; }
static const char *set_no_multiline(struct acl_run *r, const char *o) {
  return (void)o, r->x->conn->no_multiline = true, NULL;
}
static const char *set_no_pipelining(struct acl_run *r, const char *o) {
  (void)o;
  r->x->conn->pipelining_enabled = false;
  r->x->conn->early_acceptable = false;
  return NULL;
}
/* For the first recipient only; later it is ignored (manual ch. 44). */
static const char *set_cutthrough(struct acl_run *r, const char *opts) {
  struct message *m = r->x->msg;
  bool pass = false, by_transport = false;
  for (struct str rest = str_c(opts); rest.n > 0;) {
    struct str o = str_cut(&rest, '/');
    if (str_eq(o, STR("defer=pass"))) pass = true;
    if (str_eq(o, STR("sender=transport"))) by_transport = true;
  }
  if (m->rcpt_count > 1 || m->prdr_requested || r->x->conn->held) return NULL;
  m->cutthrough = pass ? CUTTHROUGH_PASS : CUTTHROUGH_SPOOL;
  m->cutthrough_own_sender = by_transport;
  return NULL;
}

static const char *set_no_delay_flush(struct acl_run *r, const char *o) { return (void)o, r->x->conn->no_delay_flush = true, NULL; }
static const char *set_no_callout_flush(struct acl_run *r, const char *o) { return (void)o, r->x->conn->no_callout_flush = true, NULL; }

static const char *set_fake(struct acl_run *r, const char *o, bool reject) {
  struct message *m = r->x->msg;
  m->fake_reject = reject;
  m->fake_defer = !reject;
  m->fake_response_text = *o ? arena_strdup(m->arena, o) : NULL;
  return NULL;
}
static const char *set_fakereject(struct acl_run *r, const char *o) { return set_fake(r, o, true); }
static const char *set_fakedefer(struct acl_run *r, const char *o) { return set_fake(r, o, false); }

struct debug_request {
  const char *tag;
  struct debug_log_opts o;
  bool is_stop, is_kill, is_now, wants_log;
};

static const char *debug_option(struct arena *a, struct str w, struct debug_request *q) {
  struct str value = w, name = str_cut(&value, '=');
  uint64_t n;
  if (str_eq(w, STR("stop"))) q->is_stop = true;
  else if (str_eq(w, STR("kill"))) q->is_kill = true;
  else if (str_eq(name, STR("tag"))) q->tag = str_dup(a, value), q->wants_log = true;
  else if (str_eq(name, STR("opts"))) return q->wants_log = true, debug_parse(str_dup(a, value), &q->o.bits) ? NULL : "syntax";
  else if (str_eq(name, STR("pretrigger"))) return q->wants_log = true, str_parse_u64(value, &n) ? (q->o.pretrigger_bytes = n, NULL) : "syntax";
  else if (str_eq(w, STR("trigger=now"))) q->is_now = true;
  else if (str_eq(w, STR("trigger=paniclog"))) q->o.on_panic = true;
  else return "syntax";
  return NULL;
}

/* A debug log of this process, beside the other logs.  A log that cannot be had is no reason to refuse mail. */
static const char *set_debug(struct acl_run *r, const char *opts) {
  struct debug_request q = {.tag = ""};
  char path[1024];
  if (!debug_parse("", &q.o.bits)) return "syntax";
  for (struct str rest = str_c(opts); rest.n > 0;) {
    struct str w = str_cut(&rest, '/');
    const char *error = w.n ? debug_option(r->x->a, w, &q) : NULL;
    if (error) return error;
  }
  if (q.is_stop || q.is_kill) return debug_log_stop(q.is_kill), NULL;
  if (q.is_now && debug_log_is_open() && !q.wants_log) return debug_log_trigger(), NULL;
  if (r->x->conn->host_checking || (debug_log_is_open() && !q.wants_log)) return NULL;
  q.o.path = path;
  q.o.fd = log_open_debug(q.tag, path, sizeof path);
  if (q.o.fd < 0) {
    log_write(LS_ALWAYS, LOG_MAIN | LOG_PANIC, "debug log with tag \"%s\" cannot be opened: %s", q.tag, strerror(-q.o.fd));
    return NULL;
  }
  debug_log_start(&q.o);
  if (q.is_now) debug_log_trigger();
  return NULL;
}

static const char *set_freeze(struct acl_run *r, const char *o) {
  struct message *m = r->x->msg;
  if (*o && strcmp(o, "no_tell") != 0) return "syntax";
  if (r->x->cfg->o.mua_wrapper) return NULL; /* nothing is kept */
  m->frozen = true;
  m->frozen_at = time_sec();
  m->freeze_no_tell = *o != 0;
  const char *who = r->x->conn && r->x->conn->from.host_address ? arena_printf(m->arena, "%s", acl_where_name(r->where))
                                                                : acl_where_name(r->where);
  m->frozen_reason = who;
  return NULL;
}

static const char *set_queue(struct acl_run *r, const char *o) {
  if (r->x->cfg->o.mua_wrapper) return NULL;
  if (strcmp(o, "first_pass_route") == 0) {
    r->x->msg->hold_smtp = true;
    return NULL;
  }
  r->x->msg->queue_only_policy = true;
  r->x->msg->queue_reason = "ACL";
  return NULL;
}

static const char *set_submission(struct acl_run *r, const char *opts) {
  struct message *m = r->x->msg;
  struct str rest = str_c(opts);
  m->submission_mode = true;
  while (rest.n > 0) {
    struct str o = str_cut(&rest, '/');
    if (str_eq(o, STR("sender_retain"))) {
      m->active_local_from_check = false;
      m->local_sender_retain = true;
    } else if (str_starts(o, STR("domain="))) {
      m->submission_domain = str_dup(m->arena, str_n(o.p + 7, o.n - 7));
    } else if (str_starts(o, STR("name="))) { /* the rest: a name may hold slashes */
      m->submission_name = arena_strdup(m->arena, o.p + 5);
      break;
    } else {
      return "syntax";
    }
  }
  return NULL;
}

static const char *set_suppress_fixups(struct acl_run *r, const char *o) {
  return (void)o, r->x->msg->suppress_local_fixups = true, NULL;
}

static const char *set_downconvert(struct acl_run *r, const char *o) {
  struct message *m = r->x->msg;
  if (*o && strcmp(o, "1") != 0 && strcmp(o, "0") != 0 && strcmp(o, "-1") != 0) return "syntax";
  m->utf8_downcvt = !*o || *o == '1';
  m->utf8_optdowncvt = *o == '-';
  return NULL;
}

static const char *set_wellknown(struct acl_run *r, const char *o) {
  struct conn *c = r->x->conn;
  if (!c) return "syntax";
  if (expand_taint_refused(r->x, o, "wellknown file name")) return "syntax";
  c->wellknown_file = arena_strdup(c->arena, o);
  return NULL;
}

static const char *set_dscp(struct acl_run *r, const char *o) {
  int tos = net_dscp_value(o);
  if (o[-1] != '/') return "syntax";
  if (tos < 0) log_write(LS_ALWAYS, LOG_MAIN, "DSCP value '%s' is not known", o);
  else if (r->x->conn && r->x->conn->io) net_set_tos(stream_fd(r->x->conn->io), tos);
  return NULL;
}

/* Sorted by name. */
static const struct control controls[] = {
  {"allow_auth_unadvertised", 0, ONLY(ACL_BIT(CONNECT) | ACL_BIT(HELO)), set_allow_auth},
  {"caseful_local_part", 0, ONLY(ACL_BIT(RCPT)), set_caseful_on},
  {"caselower_local_part", 0, ONLY(ACL_BIT(RCPT)), set_caseful_off},
  {"cutthrough_delivery", TAKES_OPTION, ONLY(ACL_BIT(RCPT)), set_cutthrough},
  {"debug", TAKES_OPTION, 0, set_debug},
  {"dkim_disable_verify", 0, ACL_BIT(DATA) | ACL_BIT(PRDR) | ACL_NOTSMTP_BITS, set_no_dkim},
  {"dmarc_disable_verify", 0, ACL_BIT(DATA) | ACL_NOTSMTP_BITS, set_no_dmarc},
  {"dmarc_enable_forensic", CONTROL_UNBUILT, 0, NULL},
  {"dscp", TAKES_OPTION, ACL_NOTSMTP_BITS | ACL_BIT(NOTQUIT), set_dscp},
  {"enforce_sync", 0, ACL_NOTSMTP_BITS, set_sync},
  {"fakedefer", TAKES_OPTION, ONLY(FAKE_BITS), set_fakedefer},
  {"fakereject", TAKES_OPTION, ONLY(FAKE_BITS), set_fakereject},
  {"freeze", TAKES_OPTION, ONLY(MESSAGE_BITS), set_freeze},
  {"no_callout_flush", 0, ACL_NOTSMTP_BITS, set_no_callout_flush},
  {"no_delay_flush", 0, ACL_NOTSMTP_BITS, set_no_delay_flush},
  {"no_enforce_sync", 0, ACL_NOTSMTP_BITS, set_no_sync},
  {"no_mbox_unspool", CFG_WITH_CONTENT_SCAN ? 0 : CONTROL_UNBUILT,
   ONLY(ACL_BIT(MAIL) | ACL_BIT(RCPT) | ACL_BIT(PREDATA) | ACL_BIT(MIME) | ACL_BIT(DATA)), set_no_unspool},
  {"no_multiline_responses", 0, ACL_NOTSMTP_BITS, set_no_multiline},
  {"no_pipelining", 0, ACL_NOTSMTP_BITS, set_no_pipelining},
  {"queue", TAKES_OPTION, ONLY(MESSAGE_BITS), set_queue},
  {"queue_only", TAKES_OPTION, ONLY(MESSAGE_BITS), set_queue},
  {"submission", TAKES_OPTION, ONLY(ACL_BIT(MAIL) | ACL_BIT(RCPT) | ACL_BIT(PREDATA)), set_submission},
  {"suppress_local_fixups", 0, ONLY(ACL_BIT(MAIL) | ACL_BIT(RCPT) | ACL_BIT(PREDATA) | ACL_BIT(NOTSMTP_START)),
   set_suppress_fixups},
  {"utf8_downconvert", TAKES_OPTION, ONLY(ACL_BIT(RCPT) | ACL_BIT(VRFY)), set_downconvert},
  {"wellknown", TAKES_OPTION, ONLY(ACL_BIT(WELLKNOWN)), set_wellknown},
};

/* The control named at the start of text (up to the slash); *ret_opts behind it. */
static const struct control *find_control(struct str text, struct str *ret_opts) {
  size_t n = str_index(text, '/');
  struct str name = str_n(text.p, n);
  *ret_opts = n < text.n ? str_n(text.p + n + 1, text.n - n - 1) : str_n(text.p + n, 0);
  for (size_t i = 0; i < ARRAY_SIZE(controls); i++)
    if (str_eq_c(name, controls[i].name)) return &controls[i];
  return NULL;
}

const char *acl_control_refusal(struct arena *a, const char *arg) {
  struct str opts;
  if (strchr(arg, '$')) return NULL;
  const struct control *c = find_control(str_c(arg), &opts);
  if (c && c->flags & CONTROL_UNBUILT) return arena_printf(a, "ACL control \"%s\" is not supported by this build", c->name);
  return NULL;
}

enum outcome acl_mod_control(struct acl_run *r, const struct acl_cond *c, const char *arg) {
  (void)c;
  struct str opts;
  const struct control *k = find_control(str_c(arg), &opts);
  const char *error = NULL;
  if (!k || (opts.p > arg + strlen(k->name) && !(k->flags & TAKES_OPTION))) {
    error = "syntax";
  } else if (k->flags & CONTROL_UNBUILT) {
    error = "unbuilt";
  } else if (k->forbidden >> r->where & 1) {
    const char *name = k->set == set_queue ? "queue" : k->name;
    r->log_text = arena_printf(r->x->a, "cannot use \"control=%s\" in %s ACL", name, acl_where_name(r->where));
    return OUTCOME_ERROR;
  } else if (r->x->conn && r->x->msg) {
    error = k->set(r, opts.p);
  }
  if (!error) return OUTCOME_OK;
  r->log_text = *error == 's' ? arena_printf(r->x->a, "syntax error in \"control=%s\"", arg)
                              : arena_printf(r->x->a, "ACL control \"%s\" is not supported by this build", arg);
  return OUTCOME_ERROR;
}
