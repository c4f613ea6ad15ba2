/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Log lines of deliveries: =>  ->  *>  ==  **  Completed.  Floor: flows.  Manual ch. 53 "Logging deliveries".
 *
 * One builder per line; the order and spelling of the fields are an interface for log analysers.  Texts from outside are escaped by
 * os/log when they are written. */
#include "deliver_priv.h"
#include "os/log.h"

static bool is_pseudo(const struct address *addr) { return addr->is_pipe || addr->is_file || addr->is_reply; }

static bool router_logs_as_local(const struct router *r) {
  if (!r) return false;
  if (r->block && opt_was_set(r->block, "log_as_local")) return r->o.log_as_local;
  return r->driver && strcmp(r->driver->name, "accept") == 0;
}

static void add_local_part(struct strbuf *b, const struct address *addr) {
  const struct transport *t = addr->transport;
  if (t && t->o.rcpt_include_affixes && (t->names_recipients || !t->driver->is_local))
    strbuf_addl(b, addr->prefix ? addr->prefix : "", addr->local_part, addr->suffix ? addr->suffix : "", NULL);
  else
    strbuf_adds(b, addr->local_part);
}

/* Same mailbox as far as the eye goes: the case of domains does not count. */
static bool looks_same(const char *a, const char *b) {
  const char *at = strrchr(a, '@');
  size_t n = at ? (size_t)(at - a) : strlen(a);
  return strncmp(a, b, n) == 0 && strcmpic(a + n, strlen(b) >= n ? b + n : "") == 0;
}

const char *deliver_log_address(struct arena *a, const struct address *addr, bool is_success) {
  struct strbuf b = strbuf_new(a);
  bool is_local = addr->transport && addr->transport->driver && addr->transport->driver->is_local;
  if (is_pseudo(addr)) {
    strbuf_adds(&b, addr->file_used ? addr->file_used : addr->address);
  } else if (addr->sent_as) {
    strbuf_adds(&b, addr->sent_as);
  } else {
    add_local_part(&b, addr);
    if (!(is_success && is_local && router_logs_as_local(addr->router))) strbuf_addl(&b, "@", addr->domain, NULL);
  }
  const struct address *top = addr;
  while (top->parent) top = top->parent;
  const char *origin = top->onetime_parent ? top->onetime_parent : top->address;
  bool is_same = looks_same(b.p, origin);
  bool all = log_selects(LS_ALL_PARENTS), open = false;
  if (is_pseudo(addr) || all)
    for (const struct address *p = addr->parent; p && p != top; p = p->parent) {
      strbuf_addl(&b, open ? ", " : " (", p->address, NULL);
      open = true;
      if (!all) break;
    }
  if (open) strbuf_addc(&b, ')');
  if (!is_same || open) strbuf_addl(&b, " <", origin, ">", NULL);
  return b.p;
}

static void add_time(struct strbuf *b, const char *label, int64_t usec) {
  char buf[48];
  if (usec < 0) usec = 0;
  if (log_selects(LS_MILLISEC)) {
    int64_t sec = usec / 1000000;
    if (sec == 0) strbuf_addf(b, " %s=%d.%03ds", label, 0, (int)(usec / 1000 % 1000));
    else {
      const char *t = time_format_interval(sec, buf, sizeof(buf));
      size_t n = strlen(t);
      /* The fraction belongs to the seconds: "1m5s" becomes "1m5.250s". */
      if (n && t[n - 1] == 's') strbuf_addf(b, " %s=%.*s.%03ds", label, (int)(n - 1), t, (int)(usec / 1000 % 1000));
      else strbuf_addf(b, " %s=%s0.%03ds", label, t, (int)(usec / 1000 % 1000));
    }
    return;
  }
  strbuf_addl(b, " ", label, "=", time_format_interval(usec / 1000000, buf, sizeof(buf)), NULL);
}

static int64_t usec_since(struct timeval from) {
  struct timeval now = time_now();
  return (int64_t)(now.tv_sec - from.tv_sec) * 1000000 + (now.tv_usec - from.tv_usec);
}

/* "[address]:port"; the port as that of the host. */
static void add_interface(struct strbuf *b, const struct address *addr) {
  const char *local = addr->local_interface;
  if (!local || !log_selects(LS_INCOMING_INTERFACE) || !log_selects(LS_OUTGOING_INTERFACE)) return;
  strbuf_adds(b, " I=");
  strbuf_add(b, local, log_selects(LS_OUTGOING_PORT) ? strlen(local) : strcspn(local, "]") + 1);
}

static void add_host(struct strbuf *b, const struct address *addr) {
  const struct host *h = addr->host_used;
  bool is_local = addr->transport && addr->transport->driver && addr->transport->driver->is_local;
  if (!h && is_local && addr->host_list) strbuf_addl(b, " H=", addr->host_list->name, NULL); /* what the router gave to $host */
  if (!h) return;
  strbuf_addl(b, " H=", h->name, NULL);
  if (log_selects(LS_DNSSEC) && h->dnssec_used && h->dnssec) strbuf_adds(b, " DS");
  if (h->address) strbuf_addl(b, " [", h->address, "]", NULL);
  if (h->address && log_selects(LS_OUTGOING_PORT) && h->port > 0) strbuf_addf(b, ":%d", h->port);
  if (addr->continued_connection) strbuf_addc(b, '*');
  if (log_selects(LS_PROXY) && addr->proxy_used) strbuf_addl(b, " PRX=", addr->proxy_used, NULL);
  add_interface(b, addr);
}

static void add_tls(struct strbuf *b, const struct address *addr) {
  if (log_selects(LS_PROTOCOL_DETAIL) && addr->protocol_steps) strbuf_addl(b, " PS=", addr->protocol_steps, NULL);
  if (log_selects(LS_TLS_CIPHER) && addr->tls_cipher)
    strbuf_addl(b, " X=", addr->tls_cipher, addr->tls_resumed && log_selects(LS_TLS_RESUMPTION) ? "*" : "", NULL);
  if (log_selects(LS_TLS_CERTIFICATE_VERIFIED) && addr->tls_cipher)
    strbuf_adds(b, !addr->tls_certificate_verified ? " CV=no" : addr->tls_dane ? " CV=dane" : " CV=yes");
  if (log_selects(LS_TLS_PEERDN) && addr->tls_peerdn) {
    strbuf_adds(b, " DN=\"");
    for (const char *s = addr->tls_peerdn; *s; s++) {
      if (*s == '"' || *s == '\\') strbuf_addc(b, '\\');
      strbuf_add(b, s, 1);
    }
    strbuf_addc(b, '"');
  }
}

const char *deliver_log_tls(struct arena *a, const struct address *addr) {
  struct strbuf b = strbuf_new(a);
  add_tls(&b, addr);
  return b.p;
}

static void add_common(struct strbuf *b, const struct message *m, const struct address *addr, bool has_return_path) {
  if (log_selects(LS_SENDER_ON_DELIVERY)) strbuf_addl(b, " F=<", addr->sent_from ? addr->sent_from : m->sender ? m->sender : "", ">", NULL);
  if (m->queue_name && *m->queue_name) strbuf_addl(b, " Q=", m->queue_name, NULL);
  if (has_return_path && addr->transport && log_selects(LS_RETURN_PATH_ON_DELIVERY)) { /* /dev/null is no delivery */
    const char *rp = addr->return_path ? addr->return_path : addr->prop.errors_address ? addr->prop.errors_address : m->sender;
    strbuf_addl(b, " P=<", rp ? rp : "", ">", NULL);
  }
  if (addr->router) strbuf_addl(b, " R=", addr->router->name, NULL);
}

static void add_quoted(struct strbuf *b, const char *text) {
  strbuf_adds(b, " C=\"");
  size_t n = strlen(text);
  for (size_t i = 0; i < n && i < 1024; i++) {
    if (text[i] == '"' || text[i] == '\\') strbuf_addc(b, '\\');
    strbuf_add(b, text + i, 1);
  }
  strbuf_addc(b, '"');
}

static void add_session(struct strbuf *b, const struct address *addr) {
  if (addr->tfo_used) strbuf_adds(b, addr->tfo_data_used ? " TFO*" : " TFO");
  add_tls(b, addr);
  if (addr->auth_name) {
    strbuf_addl(b, " A=", addr->auth_name, NULL);
    if (addr->auth_id) strbuf_addl(b, ":", addr->auth_id, NULL);
    if (addr->auth_id && addr->auth_sndr && log_selects(LS_SMTP_MAILAUTH)) strbuf_addl(b, ":", addr->auth_sndr, NULL);
  }
  if (log_selects(LS_PIPELINING) && addr->pipelining_used) strbuf_adds(b, addr->early_pipe_used ? " L*" : " L");
  if (addr->prdr_used) strbuf_adds(b, " PRDR");
  if (addr->chunking_used) strbuf_adds(b, " K");
  if (addr->dkim_used && log_selects(LS_DKIM_VERBOSE)) strbuf_addl(b, " DKIM=", addr->dkim_used, NULL);
}

const char *deliver_log_delivered(struct arena *a, const struct message *m, const struct address *addr, const char *flag) {
  struct strbuf b = strbuf_new(a);
  strbuf_addl(&b, flag, " ", deliver_log_address(a, addr, true), NULL);
  bool is_bypassed = addr->is_file && strcmp(addr->address, "/dev/null") == 0;
  add_common(&b, m, addr, !is_bypassed);
  if (is_bypassed) strbuf_adds(&b, " T=**bypassed**");
  else if (addr->transport) strbuf_addl(&b, " T=", addr->transport->name, NULL);
  if (log_selects(LS_DELIVERY_SIZE)) strbuf_addf(&b, " S=%lld", (long long)addr->delivered_size);
  add_host(&b, addr);
  if (addr->transport && addr->transport->driver && addr->transport->driver->is_local) {
    if (addr->shadow_message) strbuf_adds(&b, addr->shadow_message);
  } else {
    add_session(&b, addr);
  }
  if (log_selects(LS_SMTP_CONFIRMATION) && addr->confirmation) add_quoted(&b, addr->confirmation);
  if (log_selects(LS_QUEUE_TIME))
    add_time(&b, "QT", usec_since(log_selects(LS_QUEUE_TIME_EXCLUSIVE) && m->received_time_complete.tv_sec
                                      ? m->received_time_complete : m->received_time));
  if (log_selects(LS_DELIVER_TIME)) add_time(&b, "DT", addr->delivery_usec);
  return b.p;
}

const char *deliver_log_deferred(struct arena *a, const struct message *m, const struct address *addr) {
  struct strbuf b = strbuf_new(a);
  strbuf_addl(&b, deliver_log_address(a, addr, false), NULL);
  if (m->queue_name && *m->queue_name) strbuf_addl(&b, " Q=", m->queue_name, NULL);
  if (addr->router) strbuf_addl(&b, " R=", addr->router->name, NULL);
  if (addr->transport) strbuf_addl(&b, " T=", addr->transport->name, NULL);
  if (!addr->router && !addr->transport && addr->basic_errno != ERRNO_HELD) strbuf_adds(&b, " routing");
  strbuf_addf(&b, " defer (%d)", addr->basic_errno);
  if (addr->basic_errno > 0) strbuf_addl(&b, ": ", strerror(addr->basic_errno), NULL);
  if (addr->host_used) {
    strbuf_addl(&b, " H=", addr->host_used->name, NULL);
    if (addr->host_used->address) strbuf_addl(&b, " [", addr->host_used->address, "]", NULL);
    if (log_selects(LS_OUTGOING_PORT) && addr->host_used->port > 0) strbuf_addf(&b, ":%d", addr->host_used->port);
    if (addr->continued_connection) strbuf_addc(&b, '*');
    add_interface(&b, addr);
  }
  if (log_selects(LS_DELIVER_TIME)) add_time(&b, "DT", addr->delivery_usec);
  if (addr->message) strbuf_addl(&b, ": ", addr->message, NULL);
  return b.p;
}

const char *deliver_log_failed(struct arena *a, const struct message *m, const struct address *addr) {
  struct strbuf b = strbuf_new(a);
  strbuf_adds(&b, deliver_log_address(a, addr, false));
  add_common(&b, m, addr, true);
  if (addr->transport) strbuf_addl(&b, " T=", addr->transport->name, NULL);
  add_host(&b, addr);
  if (addr->transport && addr->transport->driver && !addr->transport->driver->is_local) add_tls(&b, addr);
  if (addr->basic_errno > 0) strbuf_addl(&b, " : ", strerror(addr->basic_errno), NULL);
  if (addr->message) strbuf_addl(&b, " : ", addr->message, NULL);
  if (log_selects(LS_DELIVER_TIME)) add_time(&b, "DT", addr->delivery_usec);
  return b.p;
}

const char *deliver_log_completed(struct arena *a, const struct message *m) {
  struct strbuf b = strbuf_new(a);
  strbuf_adds(&b, "Completed");
  if (log_selects(LS_QUEUE_TIME_OVERALL)) add_time(&b, "QT", usec_since(m->received_time));
  return b.p;
}
