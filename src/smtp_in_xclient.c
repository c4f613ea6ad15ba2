/* SPDX-License-Identifier: GPL-2.0-or-later */
/* XCLIENT: a trusted host says whom it speaks for, in the middle of SMTP.
 *
 * Floor: flows.  Only for hosts in hosts_xclient, judged by the address the connection came from.  Values are xtext; "[UNAVAILABLE]" and
 * "[TEMPUNAVAIL]" take a value away.  After it the dialogue starts anew with EHLO, and the lists that depend on the host are looked at for the new
 * one.  The syntax is Postfix's (XCLIENT_README). */
#include "smtp_in_priv.h"

struct xclient {
  const char *value[6];  /* NULL not given, "" to be forgotten */
};

enum { X_ADDR, X_NAME, X_PORT, X_LOGIN, X_DESTADDR, X_DESTPORT };
static const char *const names[] = {"ADDR", "NAME", "PORT", "LOGIN", "DESTADDR", "DESTPORT"};

void smtp_advertise_xclient(struct smtp_session *s, struct strbuf *b) {
  if (!s->xclient_checked) s->xclient_ok = s->c->from.host_address && smtp_host_in(s, "hosts_xclient", s->opt->hosts_xclient);
  s->xclient_checked = true;
  if (!s->xclient_ok) return;
  strbuf_adds(b, "\nXCLIENT");
  for (size_t i = 0; i < ARRAY_SIZE(names); i++) strbuf_addl(b, " ", names[i], NULL);
}

static int index_of(struct str key) {
  for (size_t i = 0; i < ARRAY_SIZE(names); i++)
    if (str_eqic(key, str_c(names[i]))) return (int)i;
  return -1;
}

static bool is_address(const char *s) { return ip_text_kind(s, NULL) != 0; }

static bool is_port(const char *s) {
  uint64_t v;
  return str_parse_u64(str_c(s), &v) && v <= 65535;
}

static bool is_name(const char *s) {
  for (; *s; s++)
    if (!ch_isalnum(*s) && !strchr(".-_", *s)) return false;
  return true;
}

static bool is_login(const char *s) {
  for (; *s; s++)
    if ((unsigned char)*s < 32 || *s == 127) return false;
  return true;
}

static bool fits(int i, const char *value) {
  switch (i) {
  case X_ADDR:
  case X_DESTADDR: return is_address(value);
  case X_PORT:
  case X_DESTPORT: return is_port(value);
  case X_NAME: return is_name(value);
  default: return is_login(value);
  }
}

/* Text of an error reply, or NULL. */
static const char *take_params(struct smtp_session *s, struct str arg, struct xclient *x) {
  struct str rest = arg, key, value;
  bool has;
  if (arg.n == 0) return "XCLIENT must have at least one operand";
  while (smtp_next_param(&rest, &key, &value, &has)) {
    int i = index_of(key);
    if (i < 0) return arena_printf(s->tmp, "XCLIENT: unrecognised parameter '%.*s'", STR_FMT(key));
    if (!has) return arena_printf(s->tmp, "XCLIENT: missing value for parameter '%.*s'", STR_FMT(key));
    if (value.n == 0) return "XCLIENT: zero-length value for param";
    bool gone = str_eqic(value, STR("[UNAVAILABLE]")) || str_eqic(value, STR("[TEMPUNAVAIL]"));
    if (gone && i == X_ADDR) return "XCLIENT: the address of the client is needed"; /* else the proxy's own would stay in force */
    const char *text = gone ? "" : xtext_decode(s->tmp, value);
    if (text && (i == X_ADDR || i == X_DESTADDR) && strncmpic(text, "IPv6:", 5) == 0) text += 5;
    if (!text || (*text && !fits(i, text))) return arena_printf(s->tmp, "XCLIENT: bad value for parameter '%.*s'", STR_FMT(key));
    x->value[i] = arena_strdup(s->c->arena, text);
  }
  return str_trim(rest).n ? "XCLIENT: syntax error in operands" : NULL;
}

static int port_of(const char *value) {
  uint64_t v;
  return value && *value && str_parse_u64(str_c(value), &v) ? (int)v : 0;
}

static void apply(struct smtp_session *s, const struct xclient *x) {
  struct conn *c = s->c;
  struct origin *f = &c->from;
  struct proxy_info *p = ARENA_NEW(c->arena, struct proxy_info);
  if (c->proxy) *p = *c->proxy;
  p->local_address = f->host_address; /* of a second XCLIENT too, as Exim has it: the client before */
  p->local_port = f->host_port;
  if (x->value[X_DESTADDR]) p->external_address = *x->value[X_DESTADDR] ? x->value[X_DESTADDR] : NULL;
  if (x->value[X_DESTPORT]) p->external_port = port_of(x->value[X_DESTPORT]);
  c->proxy = p;
  if (x->value[X_ADDR] || x->value[X_LOGIN]) smtp_auth_forget(s, false); /* whoever proved who he is was the one before */
  if (x->value[X_ADDR]) smtp_client_is(s, x->value[X_ADDR], port_of(x->value[X_PORT]));
  else if (x->value[X_PORT]) f->host_port = port_of(x->value[X_PORT]);
  if (x->value[X_NAME]) smtp_client_name_is(s, *x->value[X_NAME] ? x->value[X_NAME] : NULL);
  if (x->value[X_LOGIN] && *x->value[X_LOGIN]) {
    f->auth_name = f->auth_pubname = "xclient";
    f->auth_id = x->value[X_LOGIN];
  }
}

/* Nothing that was said by, counted for or decided about the one before holds for the new client; log lines show its name until there is another. */
static void start_anew(struct smtp_session *s) {
  struct conn *c = s->c;
  c->helo_seen = c->esmtp = false;
  c->from.helo_verified = c->from.helo_verify_failed = c->from.helo_lookup_deferred = false;
  c->from.protocol = c->from.tls.active ? "smtps" : "smtp";
  c->early_acceptable = false;
  c->nonmail_count = 0;
  s->nonmail_counts = NONMAIL_UNKNOWN;
  s->rate_mail_count = 0;
  smtp_forget_advertised(s);
  s->c->chunking_advertised = false;
  smtp_check_host_lists(s);
  smtp_reset(s);
  origin_set_fullhost(c->arena, &c->from, log_selects(LS_INCOMING_PORT));
}

void smtp_do_xclient(struct smtp_session *s, struct str arg) {
  struct xclient x = {{0}};
  if (!s->xclient_ok) {
    smtp_synprot_error(s, false, 501, "XCLIENT command used when not advertised");
    return;
  }
  if (s->m->sender) {
    log_write(LS_ALWAYS, LOG_MAIN | LOG_REJECT, "rejected XCLIENT from %s: mail transaction in progress", smtp_host_text(s));
    smtp_replyf(s, "503 mail transaction in progress");
    return;
  }
  const char *error = take_params(s, arg, &x);
  if (error) {
    smtp_synprot_error(s, true, 501, error);
    return;
  }
  apply(s, &x);
  start_anew(s);
  smtp_replyf(s, "220 XCLIENT success");
}
