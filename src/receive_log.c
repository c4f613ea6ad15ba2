/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Log lines about reception: "<=" with its fields in Exim's order, and rejections with the envelope and headers.
 *
 * Floor: flows.  Texts from outside are escaped by the log service or here (subject).  Manual ch. 53 "Reception lines". */
#include "base/buildinfo.h"
#include "formats/codecs.h"
#include "os/net.h"
#include "os/sys.h"
#include "os/tls.h"
#include "pipe_connect.h"
#include "policy/arc.h"
#include "policy/dmarc.h"
#include "policy/dkim.h"
#include "policy/spf.h"
#include "receive_priv.h"
#include "spool.h"

const char *receive_ident(const struct reception *r) { return origin_host_ident(r->m->arena, r->c, true, true); }

/* An entry of the reject log, headers and all, is no larger than the largest line of a log: a stranger's headers fill no disk. */
enum { REJECT_ENTRY_BYTES = 8192 };
static const char truncated[] = "*** truncated ***\n";

static void cut_at_line_end(struct strbuf *b, size_t max) {
  if (b->n <= max) return;
  max -= MIN(max, sizeof truncated);
  while (max > 0 && b->p[max - 1] != '\n') max--;
  strbuf_truncate(b, max);
  strbuf_adds(b, truncated);
}

void receive_log_reject(const struct message *m, unsigned dest, const char *line) {
  struct arena *a = arena_new("reject log");
  struct strbuf b = strbuf_new(a);
  strbuf_addf(&b, "Envelope-from: <%s>\n", m->sender ? m->sender : "");
  for (size_t i = 0; i < m->recipient_count; i++)
    strbuf_addf(&b, "%s<%s>\n", i == 0 ? "Envelope-to: " : "    ", m->recipients[i].address);
  for (const struct header_line *h = m->headers; h && b.n < REJECT_ENTRY_BYTES; h = h->next)
    strbuf_addf(&b, "%c %s", h->type, h->text);
  cut_at_line_end(&b, REJECT_ENTRY_BYTES - MIN(strlen(line), REJECT_ENTRY_BYTES / 2));
  log_write_reject(dest, line, log_selects(LS_REJECTED_HEADER) && dest & LOG_REJECT ? b.p : NULL);
  arena_free(a);
}

/* ---- the fields of "<=" ---- */

void receive_log_add_tls(struct strbuf *b, const struct tls_info *t) {
  if (!t->active) return;
  if (log_selects(LS_TLS_CIPHER) && t->cipher)
    strbuf_addf(b, " X=%s%s", t->cipher, log_selects(LS_TLS_RESUMPTION) && t->resumption & TLS_RESUME_USED ? "*" : "");
  if (log_selects(LS_TLS_CERTIFICATE_VERIFIED) && t->peer_cert)
    strbuf_addf(b, " CV=%s", t->certificate_verified ? "yes" : "no");
  if (log_selects(LS_TLS_PEERDN) && t->peerdn) strbuf_addf(b, " DN=\"%s\"", t->peerdn);
  if (log_selects(LS_TLS_SNI) && t->sni) strbuf_addf(b, " SNI=%s", t->sni);
}

/* TLS on connect has names of its own when the selector asks for them: essmtp for esmtps. */
static const char *protocol_label(struct arena *a, const struct origin *o) {
  struct str p = str_c(o->protocol);
  if (!log_selects(LS_TLS_ON_CONNECT) || !o->tls.active || !o->tls.on_connect) return o->protocol;
  const char *at = strstr(o->protocol, "smtps");
  return at ? arena_printf(a, "%.*sssmtp%s", (int)(at - p.p), p.p, at + 5) : o->protocol;
}

static void add_auth(struct strbuf *b, const struct origin *o) {
  if (!o->auth_name) return;
  strbuf_addf(b, " A=%s", o->auth_name);
  if (!o->auth_id) return;
  strbuf_addf(b, ":%s", o->auth_id);
  if (log_selects(LS_SMTP_MAILAUTH) && o->auth_sender) strbuf_addf(b, ":%s", o->auth_sender);
}

void receive_log_add_pipelining(struct strbuf *b, const struct conn *c) {
  if (!log_selects(LS_PIPELINING) || !c->pipelining_advertised) return;
  strbuf_addf(b, " L%s%s", pipe_connect_server_mark(c), c->pipelining_used ? "" : "-");
}

static void add_receive_time(struct strbuf *b, const struct message *m) {
  struct timeval now = time_now();
  int64_t usec = (int64_t)(now.tv_sec - m->received_time.tv_sec) * 1000000 + now.tv_usec - m->received_time.tv_usec;
  char buf[64];
  if (usec < 0) usec = 0;
  if (log_selects(LS_MILLISEC) && usec < INT64_C(60000000))
    strbuf_addf(b, " RT=%d.%03ds", (int)(usec / 1000000), (int)(usec / 1000 % 1000));
  else
    strbuf_addf(b, " RT=%s", time_format_interval(usec / 1000000, buf, sizeof(buf)));
}

static void add_subject(struct strbuf *b, struct message *m) {
  struct str name, value;
  struct header_line *h = message_find_header(m, "Subject", NULL);
  if (!log_selects(LS_SUBJECT) || !h || !header_split(str_n(h->text, h->n), &name, &value)) return;
  const struct main_options *o = &m->cfg->o;
  value = str_c(rfc2047_decode(m->arena, value, o->headers_charset ? o->headers_charset : build_info()->headers_charset, o->check_rfc2047_length, '?'));
  if (value.n > 100) value.n = 100;
  strbuf_adds(b, " T=\"");
  for (size_t i = 0; i < value.n; i++) {
    if (value.p[i] == '"' || value.p[i] == '\\') strbuf_addc(b, '\\');
    if (value.p[i] == '\n') strbuf_adds(b, "\\n");
    else strbuf_addc(b, value.p[i]);
  }
  strbuf_addc(b, '"');
}

/* What a client put into its SYN (doc/experimental-spec.txt, T4). */
static void add_fast_open(struct strbuf *b, struct conn *c) {
  enum net_tfo_mark mark = c->io ? net_tfo_mark(stream_fd(c->io), false) : NET_TFO_NONE;
  if (mark != NET_TFO_NONE) strbuf_adds(b, mark == NET_TFO_DATA_ACKED ? " TFO*" : " TFO");
}

static const char *arrival_fields(struct reception *r) {
  struct message *m = r->m;
  struct conn *c = r->c;
  struct strbuf b = strbuf_new(m->arena);
  strbuf_addf(&b, "%s", m->sender && *m->sender ? m->sender : "<>");
  if (m->bounce_of) strbuf_addf(&b, " R=%s", m->bounce_of);
  if (log_selects(LS_DNSSEC) && c->from.is_dnssec) strbuf_adds(&b, " DS");
  const char *ident = receive_ident(r);
  if (*ident) strbuf_addf(&b, " %s", ident);
  if (r->is_smtp) add_fast_open(&b, c);
  if (c->from.protocol) strbuf_addf(&b, " P=%s", protocol_label(m->arena, &c->from));
  if (r->is_smtp) receive_log_add_pipelining(&b, c);
  if (m->spf && log_selects(LS_SPF_VERBOSE)) strbuf_addl(&b, " SPF=", spf_result_names[m->spf->result], NULL);
  else if (m->spf && log_selects(LS_SPF) && m->spf->result == SPF_PASS) strbuf_adds(&b, " SPF");
  receive_log_add_tls(&b, &c->from.tls);
  add_auth(&b, &c->from);
  if (m->prdr_requested) strbuf_adds(&b, " PRDR");
  if (log_selects(LS_PROXY) && c->proxy && c->proxy->local_address) strbuf_addf(&b, " PRX=%s", c->proxy->local_address);
  if (m->used_chunking) strbuf_adds(&b, " K");
  strbuf_addf(&b, " S=%lld", (long long)m->message_size);
  if (log_selects(LS_8BITMIME)) strbuf_addf(&b, " M8S=%d", m->body_type);
  const char *signed_by = log_selects(LS_DKIM) ? dkim_passed_domain(m->dkim) : NULL;
  if (signed_by) strbuf_addf(&b, " DKIM=%s", signed_by);
  if (log_selects(LS_DKIM) && m->arc && strcmp(m->arc->state, "pass") == 0) strbuf_adds(&b, " ARC");
  if (m->dmarc && log_selects(LS_DMARC_VERBOSE)) strbuf_addl(&b, " DMARC=", dmarc_status_names[m->dmarc->status], NULL);
  else if (m->dmarc && log_selects(LS_DMARC) && m->dmarc->status == DMARC_ACCEPT) strbuf_adds(&b, " DMARC");
  if (log_selects(LS_RECEIVE_TIME)) add_receive_time(&b, m);
  if (m->queue_name && *m->queue_name) strbuf_addf(&b, " Q=%s", m->queue_name);
  if (m->message_id_header) {
    if (m->message_id_made ? log_selects(LS_MSG_ID_CREATED) : log_selects(LS_MSG_ID))
      strbuf_addf(&b, " id%s=%s", m->message_id_made ? "*" : "", m->message_id_header);
  }
  add_subject(&b, m);
  return b.p;
}

void receive_log_arrival(struct reception *r) {
  struct message *m = r->m;
  const char *fields = arrival_fields(r);
  struct strbuf tail = strbuf_new(m->arena);
  if (log_selects(LS_RECEIVED_SENDER)) strbuf_addf(&tail, " from <%s>", m->raw_sender ? m->raw_sender : m->sender);
  if (log_selects(LS_RECEIVED_RECIPIENTS) && m->recipient_count > 0) {
    strbuf_adds(&tail, " for");
    if (m->raw_recipients.n >= m->recipient_count)
      for (size_t i = 0; i < m->raw_recipients.n; i++) strbuf_addf(&tail, " %s", (const char *)m->raw_recipients.v[i]);
    else
      for (size_t i = 0; i < m->recipient_count; i++) strbuf_addf(&tail, " %s", m->recipients[i].address);
  }
  log_write(LS_ALWAYS, LOG_MAIN, "%s %s%s", m->fake_reject ? "(=" : "<=", fields, tail.p);
  if (r->c->host_checking) return;
  int fd = spool_msglog(m);
  if (fd < 0) return;
  log_msglog(fd, "Received from %s\n", fields);
  (void)!sys_close(fd);
}
