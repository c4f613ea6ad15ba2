/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Between struct message and the flat struct of formats/spool_file (spool_priv.h).  Floor: drivers. */
#include "policy/config.h"
#include "spool_priv.h"

/* ---- message to file ---------------------------------------------------------------------------------------- */

struct var_collector {
  struct arena *a;
  char kind;
  struct spool_var ***tail;
};

static bool collect_var(struct tree_node *node, void *ctx) {
  struct var_collector *c = ctx;
  const char *value = node->data;
  if (!value) return true;
  struct spool_var *v = ARENA_NEW(c->a, struct spool_var);
  *v = (struct spool_var){NULL, c->kind, node->name, value, strlen(value)};
  **c->tail = v;
  *c->tail = &v->next;
  return true;
}

static struct spool_var *collect_vars(struct message *m) {
  struct spool_var *head = NULL, **tail = &head;
  struct var_collector c = {m->arena, 'c', &tail};
  tree_walk(&m->acl_c, collect_var, &c);
  c.kind = 'm';
  tree_walk(&m->acl_m, collect_var, &c);
  return head;
}

static void put_origin(struct spool_header_file *h, const struct origin *o) {
  h->helo_name = o->helo_name;
  h->host_address = o->host_address;
  h->host_port = o->host_port;
  h->host_name = o->host_name;
  h->host_auth = o->auth_name;
  h->host_auth_pubname = o->auth_pubname;
  h->interface_address = o->interface_address;
  h->interface_port = o->interface_port;
  h->active_hostname = o->active_hostname;
  h->ident = o->ident;
  h->protocol = o->protocol;
  h->auth_id = o->auth_id;
  h->auth_sender = o->auth_sender;
  h->host_lookup_failed = o->host_lookup_failed;
  h->host_lookup_deferred = o->host_lookup_deferred;
  h->tls_certificate_verified = o->tls.certificate_verified;
  h->tls_cipher = o->tls.cipher;
  h->tls_peerdn = o->tls.peerdn;
  h->tls_sni = o->tls.sni;
  h->tls_ver = o->tls.ver;
  h->tls_peercert = o->tls.peer_cert;
  h->tls_ourcert = o->tls.our_cert;
  h->tls_ocsp = o->tls.ocsp;
  h->tls_resumption = o->tls.active && o->tls.resumption ? (char)('A' + o->tls.resumption) : 0; /* a letter, as Exim has it */
}

static void put_flags(struct spool_header_file *h, const struct message *m) {
  h->allow_unqualified_recipient = m->allow_unqualified_recipient;
  h->allow_unqualified_sender = m->allow_unqualified_sender;
  h->deliver_firsttime = m->deliver_firsttime;
  h->frozen_at = m->frozen ? m->frozen_at : 0;
  h->dont_deliver = m->dont_deliver;
  h->is_local = m->is_local;
  h->local_error = m->local_error_message;
  h->manual_thaw = m->manual_thaw;
  h->sender_set_untrusted = m->sender_set_untrusted;
  h->smtputf8 = m->smtputf8;
  h->utf8_downcvt = m->utf8_downcvt;
  h->utf8_optdowncvt = m->utf8_optdowncvt;
  h->wireformat = m->spool_wireformat;
  h->dsn_envid = m->dsn_envid;
  h->dsn_ret = m->dsn_ret;
  h->spam_bar = m->spam_bar;
  h->spam_score = m->spam_score;
  h->spam_score_int = m->spam_score_int;
  h->local_scan = m->local_scan_data;
}

static void put_recipients(struct spool_header_file *h, struct message *m) {
  h->rcpts = ARENA_NEW_N(m->arena, struct spool_rcpt, m->recipient_count + 1);
  for (size_t i = 0; i < m->recipient_count; i++) {
    const struct recipient *r = &m->recipients[i];
    h->rcpts[i] = (struct spool_rcpt){r->address, r->orcpt, r->errors_to, r->dsn_flags, r->one_time_parent};
  }
  h->rcpt_count = m->recipient_count;
}

struct strbuf spool_header_bytes(struct message *m) {
  struct spool_header_file h = {.id = m->id, .login = m->login && *m->login ? m->login : "unknown",
                                .uid = (int64_t)m->uid, .gid = (int64_t)m->gid,
                                .sender = m->sender ? m->sender : "", .received_sec = m->received_time.tv_sec,
                                .received_usec = (int)m->received_time.tv_usec,
                                .complete_sec = m->received_time_complete.tv_sec,
                                .complete_usec = (int)m->received_time_complete.tv_usec,
                                .warning_count = m->warning_count, .body_linecount = m->body_linecount,
                                .body_zerocount = m->body_zerocount,
                                .max_received_linelength = m->max_received_linelength};
  if (m->from) put_origin(&h, m->from);
  put_flags(&h, m);
  h.vars = collect_vars(m);
  if (m->unknown_spool_lines.n) {
    struct vec lines = m->unknown_spool_lines;
    vec_push(&lines, NULL);
    h.unknown_lines = (const char **)lines.v;
  }
  h.nonrecipients = m->nonrecipients;
  put_recipients(&h, m);
  h.headers = m->headers;
  struct strbuf b = strbuf_new_t(m->arena, TAINTED, 4096);
  spool_write_header_file(&b, &h);
  return b;
}

/* ---- file to message ---------------------------------------------------------------------------------------- */

static const struct origin *get_origin(struct arena *a, const struct spool_header_file *h) {
  struct origin *o = ARENA_NEW(a, struct origin);
  *o = (struct origin){.helo_name = h->helo_name, .host_address = h->host_address, .host_port = h->host_port,
                       .host_name = h->host_name, .auth_name = h->host_auth, .auth_pubname = h->host_auth_pubname,
                       .interface_address = h->interface_address, .interface_port = h->interface_port,
                       .active_hostname = h->active_hostname, .ident = h->ident, .protocol = h->protocol,
                       .auth_id = h->auth_id, .auth_sender = h->auth_sender, .host_lookup_failed = h->host_lookup_failed,
                       .host_lookup_deferred = h->host_lookup_deferred, .host_looked_up = true};
  o->host_aliases = vec_new(a);
  o->tls = (struct tls_info){.active = h->tls_cipher != NULL, .cipher = h->tls_cipher, .ver = h->tls_ver,
                             .peerdn = h->tls_peerdn, .sni = h->tls_sni, .peer_cert = h->tls_peercert,
                             .our_cert = h->tls_ourcert, .ocsp = h->tls_ocsp, .resumption = h->tls_resumption >= 'A' ? (unsigned)(h->tls_resumption - 'A') : 0,
                             .certificate_verified = h->tls_certificate_verified};
  origin_set_fullhost(a, o, false);
  return o;
}

static void get_flags(struct message *m, const struct spool_header_file *h) {
  m->allow_unqualified_recipient = h->allow_unqualified_recipient;
  m->allow_unqualified_sender = h->allow_unqualified_sender;
  m->deliver_firsttime = h->deliver_firsttime;
  m->frozen = h->frozen_at != 0;
  m->frozen_at = (time_t)h->frozen_at;
  m->dont_deliver = h->dont_deliver;
  m->is_local = h->is_local;
  m->local_error_message = h->local_error;
  m->manual_thaw = h->manual_thaw;
  m->sender_set_untrusted = h->sender_set_untrusted;
  m->smtputf8 = h->smtputf8;
  m->utf8_downcvt = h->utf8_downcvt;
  m->utf8_optdowncvt = h->utf8_optdowncvt;
  m->spool_wireformat = h->wireformat;
  m->dsn_envid = h->dsn_envid;
  m->dsn_ret = h->dsn_ret;
  m->spam_bar = h->spam_bar;
  m->spam_score = h->spam_score;
  m->spam_score_int = h->spam_score_int;
  m->local_scan_data = h->local_scan;
}

static void get_envelope(struct message *m, const struct spool_header_file *h) {
  m->login = h->login;
  m->uid = (uid_t)h->uid;
  m->gid = (gid_t)h->gid;
  m->sender = h->sender;
  m->received_time = (struct timeval){h->received_sec, h->received_usec};
  m->received_time_complete = (struct timeval){h->complete_sec, h->complete_usec};
  m->warning_count = h->warning_count;
  m->body_linecount = h->body_linecount;
  m->body_zerocount = h->body_zerocount;
  m->max_received_linelength = h->max_received_linelength;
  m->nonrecipients = h->nonrecipients;
  for (const struct spool_var *v = h->vars; v; v = v->next) {
    struct tree *t = v->kind == 'c' ? &m->acl_c : &m->acl_m;
    tree_insert(t, m->arena, v->name, NULL)->data = (void *)(uintptr_t)v->value;
  }
  for (size_t i = 0; h->unknown_lines && h->unknown_lines[i]; i++)
    vec_push(&m->unknown_spool_lines, (void *)(uintptr_t)h->unknown_lines[i]);
}

static void get_recipients(struct message *m, const struct spool_header_file *h) {
  m->recipients = ARENA_NEW_N(m->arena, struct recipient, h->rcpt_count + 1);
  m->recipient_cap = h->rcpt_count + 1;
  m->recipient_count = h->rcpt_count;
  for (size_t i = 0; i < h->rcpt_count; i++) {
    const struct spool_rcpt *r = &h->rcpts[i];
    m->recipients[i] = (struct recipient){.address = r->address, .orcpt = r->orcpt, .errors_to = r->errors_to,
                                          .one_time_parent = r->pno, .dsn_flags = r->dsn_flags};
  }
}

const char *spool_message_from_bytes(struct message *m, struct str bytes, bool envelope_only) {
  struct spool_header_file h;
  const char *why = spool_read_header_file(m->arena, bytes, envelope_only, &h);
  if (why) return why;
  if (strcmp(h.id, m->id) != 0) return "it names another message";
  get_envelope(m, &h);
  get_flags(m, &h);
  get_recipients(m, &h);
  m->from = get_origin(m->arena, &h);
  m->headers = h.headers;
  m->headers_tail = &m->headers;
  while (*m->headers_tail) {
    if ((*m->headers_tail)->type == 'P') m->received_count++;
    m->headers_tail = &(*m->headers_tail)->next;
  }
  return NULL;
}

static int64_t count_lines(const char *p, size_t n) {
  int64_t lines = 0;
  for (const char *q; (q = memchr(p, '\n', n)); p = q + 1) {
    lines++;
    n -= (size_t)(q + 1 - p);
  }
  return lines;
}

void spool_count_message_size(struct message *m) {
  /* headers, the blank line, body: what a receiver of the message gets, with one-byte line ends */
  int64_t size = m->body_size + 1, lines = m->body_linecount; /* the empty line between does not count (manual 11.9) */
  for (const struct header_line *h = m->headers; h; h = h->next) {
    if (h->type == '*') continue;
    size += (int64_t)h->n;
    lines += count_lines(h->text, h->n);
  }
  m->message_size = size;
  m->message_linecount = lines;
}
