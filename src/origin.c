/* SPDX-License-Identifier: GPL-2.0-or-later */
/* How the origin of a message is written in logs, Received: lines and $sender_fullhost.
 *
 * Floor: policy (objects).  Names given by the peer are tainted and stay so; they were restricted to harmless
 * characters when they were accepted.  Results live in the arena given.  Manual ch. 53, "$sender_fullhost". */
#include "base/strbuf.h"
#include "conn.h"
#include "os/log.h"

static bool is_own_literal(const struct origin *o, const char *helo) {
  if (*helo != '[') return false;
  helo += strncmpic(helo + 1, "IPv6:", 5) == 0 ? 6 : 1;
  size_t n = strlen(helo), an = strlen(o->host_address);
  return n == an + 1 && helo[an] == ']' && strncmpic(helo, o->host_address, an) == 0;
}

/* The HELO name when it says something new: not equal to the verified name, nor beside one to the bracketed address. */
static const char *helo_to_show(const struct origin *o) {
  if (!o->helo_name || !*o->helo_name) return NULL;
  if (o->host_name && (strcmpic(o->helo_name, o->host_name) == 0 || is_own_literal(o, o->helo_name))) return NULL;
  return o->helo_name;
}

static void add_rcv_details(struct strbuf *b, const struct origin *o, const char *helo, bool open) {
  bool some = open;
  if (helo) {
    strbuf_addf(b, "%shelo=%s", some ? " " : "", helo);
    some = true;
  }
  if (o->ident) strbuf_addf(b, "%sident=%s", some ? " " : "", o->ident);
}

static const char *make_rcvhost(struct arena *a, const struct origin *o, const char *helo) {
  struct strbuf b = strbuf_new(a);
  struct strbuf port = strbuf_new(a);
  if (log_selects(LS_INCOMING_PORT) && o->host_port > 0) strbuf_addf(&port, ":%d", o->host_port);
  if (!o->host_name) {
    strbuf_addf(&b, "[%s]", o->host_address);
    if (helo && is_own_literal(o, helo)) helo = NULL;
    if (helo || o->ident || port.n > 0) {
      strbuf_adds(&b, " (");
      if (port.n > 0) strbuf_addf(&b, "port=%s", port.p + 1);
      add_rcv_details(&b, o, helo, port.n > 0);
      strbuf_addc(&b, ')');
    }
    return b.p;
  }
  /* With all three parts the line is folded (manual 11.9, $sender_rcvhost). */
  strbuf_addf(&b, "%s%s([%s]%s", o->host_name, helo && o->ident ? "\n\t" : " ", o->host_address, port.p);
  if (helo || o->ident) strbuf_addc(&b, ' ');
  add_rcv_details(&b, o, helo, false);
  strbuf_addc(&b, ')');
  return b.p;
}

void origin_set_fullhost(struct arena *a, struct origin *o, bool with_port) {
  o->fullhost = o->rcvhost = NULL;
  if (!o->host_address) return;
  const char *helo = helo_to_show(o);
  struct strbuf b = strbuf_new(a);
  if (o->host_name) strbuf_addf(&b, "%s ", o->host_name);
  if (helo) strbuf_addf(&b, "(%s) ", helo);
  strbuf_addf(&b, "[%s]", o->host_address);
  if (with_port && o->host_port > 0) strbuf_addf(&b, ":%d", o->host_port);
  o->fullhost = b.p;
  o->rcvhost = make_rcvhost(a, o, helo);
}

const char *conn_make_id(struct arena *a, struct timeval now) {
  return arena_printf_t(a, UNTAINTED, "%lld%06d", (long long)now.tv_sec, (int)now.tv_usec);
}

const char *origin_host_ident(struct arena *a, const struct conn *c, bool useflag, bool useident) {
  struct strbuf b = strbuf_new(a);
  const struct origin *o = &c->from;
  if (o->host_address) {
    strbuf_addf(&b, "%s%s", useflag ? "H=" : "", o->fullhost ? o->fullhost : o->host_address);
    if (log_selects(LS_INCOMING_INTERFACE) && o->interface_address)
      strbuf_addf(&b, " I=[%s]:%d", o->interface_address, o->interface_port);
    if (useident && o->ident) strbuf_addf(&b, " U=%s", o->ident);
  } else {
    if (o->ident) strbuf_addf(&b, "%s%s", useflag ? "U=" : "", o->ident);
    else if (!useflag) strbuf_adds(&b, "local process");
  }
  if (log_selects(LS_CONNECTION_ID) && c->connection_id && useflag) strbuf_addf(&b, " Ci=%s", c->connection_id);
  return b.p;
}
