/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The header section: reading and limits, fix-ups of local submissions, Received:, and the changes ACLs asked for.
 *
 * Floor: flows.  Every byte is foreign; header texts are tainted and live in the message's arena.  A line that is no
 * header starts the body.  Manual ch. 47 "Message processing", RFC 5322. */

#include "os/debug.h"
#include "policy/match.h"
#include "policy/narrate.h"
#include "policy/rewrite.h"
#include "receive_priv.h"
#include "route_priv.h"

/* ---- reading ---- */

static bool refill(struct reception *r) {
  if (r->rest.n > 0) return true;
  if (r->at_end || r->source_error) return false;
  const char *p;
  ssize_t n = r->src->next(r->src, &p);
  if (n < 0) r->source_error = (int)n;
  else if (n == 0) r->at_end = true;
  else r->rest = str_n(p, (size_t)n);
  return n > 0;
}

/* One line (without the line end) from the source into b; false at the end of the message (b may hold a last part). */
static bool receive_get_line(struct reception *r, struct strbuf *b, size_t max_bytes) {
  while (refill(r)) {
    size_t n = str_index(r->rest, '\n');
    bool whole = n < r->rest.n;
    strbuf_add_t(b, r->rest.p, n, TAINTED);
    r->header_bytes += (int64_t)n + whole;
    r->header_lines += whole;
    r->rest = whole ? str_n(r->rest.p + n + 1, r->rest.n - n - 1) : STR_NULL;
    if (whole) return true;
    if (max_bytes && b->n > max_bytes) return true;
  }
  return false;
}

static bool is_too_long(struct reception *r, size_t line_bytes) {
  const struct main_options *o = &r->c->cfg->o;
  if (o->header_maxsize > 0 && r->header_bytes > o->header_maxsize) {
    log_write(LS_ALWAYS, LOG_MAIN, "ridiculously long message header received from %s (more than %lld characters): message "
              "abandoned", origin_host_ident(r->m->arena, r->c, false, false), (long long)o->header_maxsize);
    r->reply = "552 Message header is ridiculously long";
    return true;
  }
  if (o->header_line_maxsize > 0 && (int64_t)line_bytes > o->header_line_maxsize) {
    log_write(LS_ALWAYS, LOG_MAIN, "overlong message header line received from %s (more than %lld characters): message "
              "abandoned", origin_host_ident(r->m->arena, r->c, false, false), (long long)o->header_line_maxsize);
    r->reply = "552 A message header line is too long";
    return true;
  }
  return false;
}

static void note_header(struct reception *r, struct header_line *h) {
  struct str name, value;
  const struct main_options *o = &r->c->cfg->o;
  bool resent;
  h->type = header_type_of(str_n(h->text, h->n), &resent);
  if (resent && !r->saw_resent) r->m->message_id_header = NULL; /* sent again, it goes by the id of the sending */
  r->saw_resent |= resent;
  if (!header_split(str_n(h->text, h->n), &name, &value)) return;
  if (str_eqic(name, STR("received"))) r->m->received_count++;
  if ((o->return_path_remove && str_eqic(name, STR("return-path"))) ||
      (o->envelope_to_remove && str_eqic(name, STR("envelope-to"))) ||
      (o->delivery_date_remove && str_eqic(name, STR("delivery-date"))) ||
      (r->extract_recipients && h->type == 'B'))
    h->type = '*';
  if (h->type == 'I' && resent == r->saw_resent && !r->m->message_id_header) {
    const char *error, *id = rfc5322_extract_address(r->m->arena, value, (struct addr_opts){.allow_domain_literal = true}, NULL, &error);
    if (id && *id) r->m->message_id_header = id;
  }
}

/* Length without the lines at the end that hold blanks only. */
static size_t without_blank_lines(struct str h) {
  size_t keep = h.n;
  for (size_t i = h.n; i > 0; i--) {
    if (h.p[i - 1] == '\n') keep = i - 1;
    else if (!ch_isblank(h.p[i - 1])) break;
  }
  return keep;
}

static void finish_header(struct reception *r, struct strbuf *h) {
  if (h->n == 0) return;
  strbuf_truncate(h, without_blank_lines(strbuf_str(h)));
  strbuf_addc(h, '\n');
  note_header(r, message_add_header(r->m, ' ', h->p, h->n));
  strbuf_clear(h);
}

/* A header whose line ending was wrong stands in the reject log as it came. */
static void show_unfinished(struct reception *r, struct strbuf *h, struct str line) {
  if (h->n > 0 && line.n > 0) strbuf_addc(h, '\n');
  strbuf_addstr(h, line);
  strbuf_addc(h, '\n');
  if (h->n > 1) message_add_header(r->m, ' ', h->p, h->n);
}

/* A line "From address date" that some programs put in front; consumed when it is one. */
static bool take_from_line(struct reception *r, struct str line) {
  const char *pattern = r->c->cfg->o.uucp_from_pattern;
  const struct main_options *o = &r->c->cfg->o;
  bool is_candidate = line.n > 0 && pattern && (str_starts(line, STR("From ")) || narrate_wanted(r->x, D_RECEIVE));
  if (!is_candidate || (!r->accepted_from_line &&
      (!r->c->from.host_address || match_sender_host(r->x, "ignore_fromline_hosts", o->ignore_fromline_hosts) != OUTCOME_OK)))
    return false;
  if (!str_starts(line, STR("From "))) return false;
  const char *text = arena_printf(r->m->arena, "%.*s", STR_FMT(line));
  if (regex_match(r->x, pattern, false, str_c(text), true) != OUTCOME_OK) {
    text = arena_printf(r->m->arena, "%.*s\n", STR_FMT(line));
    if (regex_match(r->x, pattern, false, str_c(text), true) != OUTCOME_OK) return false;
  }
  const char *sender = expand_option(r->x, "uucp_from_sender", r->c->cfg->o.uucp_from_sender);
  if (sender) r->from_line_sender = arena_strdup(r->m->arena, sender);
  return true;
}

/* The body starts with this line, without an empty one before it. */
static void begin_body_at(struct reception *r, struct strbuf *line, bool whole) {
  if (whole) strbuf_addc(line, '\n');
  size_t held = r->rest.n;
  if (held) strbuf_add_t(line, r->rest.p, held, TAINTED);
  r->rest = strbuf_str(line);
  r->header_bytes -= (int64_t)(line->n - held);
  r->blank_line_added = true;
}

static void add_without_nul(struct strbuf *header, struct str line) {
  while (line.n > 0) {
    struct str piece = str_cut(&line, '\0');
    strbuf_add(header, piece.p, piece.n);
  }
}

bool receive_read_headers(struct reception *r) {
  struct arena *a = r->m->arena;
  struct strbuf header = strbuf_new_t(a, TAINTED, 256), line = strbuf_new_t(a, TAINTED, 256);
  size_t max = r->c->cfg->o.header_maxsize > 0 ? (size_t)r->c->cfg->o.header_maxsize : 0;
  bool first = true;
  for (;;) {
    strbuf_clear(&line);
    bool whole = receive_get_line(r, &line, max);
    if (whole && line.n > 0) (void)refill(r); /* it is complete when what follows is no continuation */
    if (r->source_error == BODY_PROTOCOL) show_unfinished(r, &header, strbuf_str(&line));
    if (r->source_error || is_too_long(r, header.n + line.n)) return false;
    if ((int64_t)line.n > r->m->max_received_linelength) r->m->max_received_linelength = (int64_t)line.n;
    if (!whole && line.n == 0) break;
    if (first && take_from_line(r, strbuf_str(&line))) {
      first = false;
      continue;
    }
    first = false;
    if (line.n == 0) break; /* the empty line before the body */
    bool continues = ch_isblank(line.p[0]) && header.n > 0;
    if (continues) {
      strbuf_addc(&header, '\n');
    } else {
      finish_header(r, &header);
      if (!header_is_valid_start(strbuf_str(&line))) {
        begin_body_at(r, &line, whole);
        return true;
      }
    }
    add_without_nul(&header, strbuf_str(&line));
    if (!whole) break;
  }
  finish_header(r, &header);
  return r->reply == NULL;
}

/* ---- adding lines ---- */

/* Append a header line. */
PRINTF(3, 4) static struct header_line *receive_add_header(struct message *m, char type, const char *fmt, ...) {
  va_list ap;
  va_start(ap, fmt);
  const char *text = arena_vprintf(m->arena, fmt, ap);
  va_end(ap);
  return message_add_header(m, type, text, strlen(text));
}

/* Lines of a resent block stand at the top, behind the newest Received: line. */
static void add_resent(struct message *m, char type, const char *fmt, ...) PRINTF(3, 4);
static void add_resent(struct message *m, char type, const char *fmt, ...) {
  struct header_line *h = ARENA_NEW(m->arena, struct header_line);
  va_list ap;
  va_start(ap, fmt);
  h->text = arena_vprintf(m->arena, fmt, ap);
  va_end(ap);
  h->n = strlen(h->text);
  h->type = type;
  h->next = m->headers;
  if (!m->headers) m->headers_tail = &h->next;
  m->headers = h;
}

static bool has_header(const struct message *m, const char *name) { return message_find_header(m, name, NULL) != NULL; }

static void add_message_id(struct reception *r) {
  struct message *m = r->m;
  const struct main_options *o = &r->c->cfg->o;
  const char *name = r->saw_resent ? "Resent-Message-Id" : "Message-Id";
  if (has_header(m, name)) return;
  const char *text = "", *domain = r->c->cfg->primary_hostname;
  if (o->message_id_header_domain) {
    const char *d = expand_option(r->x, "message_id_header_domain", o->message_id_header_domain);
    if (d && *d) domain = d;
  }
  if (o->message_id_header_text) {
    const char *t = expand_option(r->x, "message_id_header_text", o->message_id_header_text);
    if (t && *t) text = arena_printf(m->arena, ".%s", t);
  }
  if (r->saw_resent) {
    add_resent(m, 'I', "%s: <E%s%s@%s>\n", name, m->id, text, domain);
    return;
  }
  receive_add_header(m, 'I', "%s: <E%s%s@%s>\n", name, m->id, text, domain);
  m->message_id_made = true;
  if (!m->message_id_header) m->message_id_header = arena_printf(m->arena, "E%s%s@%s", m->id, text, domain);
}

/* The address and display name that a local or authenticated submitter has. */
static const char *submitter_address(struct reception *r, const char **ret_name) {
  struct message *m = r->m;
  const struct origin *f = &r->c->from;
  *ret_name = "";
  if (m->submission_mode && f->host_address) {
    if (m->submission_name) *ret_name = m->submission_name;
    if (!f->auth_id || !*f->auth_id) return NULL;
    if (!m->submission_domain) return arena_printf(m->arena, "%s@%s", f->auth_id, r->c->cfg->qualify_domain);
    return *m->submission_domain ? arena_printf(m->arena, "%s@%s", f->auth_id, m->submission_domain) : f->auth_id;
  }
  if (r->c->real_name) *ret_name = r->c->real_name;
  const char *login = r->c->login ? addr_quote_local_part(m->arena, str_c(r->c->login)) : "unknown";
  return arena_printf(m->arena, "%s@%s", login, r->c->cfg->qualify_domain);
}

static const char *with_phrase(struct reception *r, const char *name, const char *address) {
  if (!*name) return address;
  return arena_printf(r->m->arena, "%s <%s>",
                      rfc5322_fix_phrase(r->m->arena, str_c(name), r->c->cfg->o.headers_charset ? r->c->cfg->o.headers_charset : "UTF-8"),
                      address);
}

static void add_from(struct reception *r) {
  struct message *m = r->m;
  const char *name, *own = submitter_address(r, &name);
  const char *header = r->saw_resent ? "Resent-From" : "From";
  if (has_header(m, header)) return;
  bool may_invent = (m->submission_mode && r->c->from.host_address) || m->bounce_of || (!r->c->is_smtp_input && !r->c->is_trusted);
  const char *address = m->sender && *m->sender ? m->sender : may_invent ? own : NULL;
  if (!address) return;
  /* A trusted caller who names a sender speaks for somebody else, whose name we do not know; an automatic message has no person behind it. */
  bool is_submitter = r->c->from.host_address ? own && strcmp(own, address) == 0 : !r->c->is_trusted || r->c->sender_is_own;
  bool is_automatic = m->bounce_of && r->c->is_trusted && !m->sender_name_forced;
  bool own_name = !is_automatic && (m->submission_name || (own && (is_submitter || m->sender_name_forced)));
  receive_add_header(m, 'F', "%s: %s\n", header, own_name ? with_phrase(r, name, address) : address);
}

static const char *first_address_of(struct reception *r, const struct header_line *h) {
  struct str name, value;
  struct addr_opts o = {.allow_domain_literal = r->c->cfg->o.allow_domain_literals, .allow_utf8 = r->m->smtputf8};
  const char *error;
  if (!h || !header_split(str_n(h->text, h->n), &name, &value)) return NULL;
  return rfc5322_extract_address(r->m->arena, str_n(value.p, rfc5322_find_address_end(value)), o, NULL, &error);
}

/* Lists as the routers' local_part_prefix and local_part_suffix are. */
static size_t affix_length(struct reception *r, const char *list, struct str local_part, int (*match)(const char *, struct str, size_t *)) {
  const char *pattern;
  int sep = 0;
  size_t wild;
  while (list && (pattern = list_next(r->m->arena, &list, &sep)) != NULL) {
    int n = match(pattern, local_part, &wild);
    if (n >= 0) return (size_t)n;
  }
  return 0;
}

static bool same_sender(struct reception *r, const char *from, const char *own) {
  const struct main_options *o = &r->c->cfg->o;
  struct str fl, fd, ol, od;
  if (!from || !addr_split(from, &fl, &fd) || !addr_split(own, &ol, &od) || !str_eqic(fd, od)) return false;
  size_t before = affix_length(r, o->local_from_prefix, fl, route_prefix_match);
  fl = str_n(fl.p + before, fl.n - before);
  fl.n -= affix_length(r, o->local_from_suffix, fl, route_suffix_match);
  return str_eqic(fl, ol);
}

/* In a message that is sent again Sender: belongs to who sent it first and stays. */
static void remove_senders(struct reception *r) {
  for (struct header_line *h = r->m->headers; h; h = h->next)
    if (h->type == 'S' && str_startsic(str_n(h->text, h->n), STR("Resent-")) == r->saw_resent) h->type = '*';
}

/* Sender: says who really submitted when From: does not. */
static void check_sender(struct reception *r) {
  struct message *m = r->m;
  const struct main_options *o = &r->c->cfg->o;
  bool submission = m->submission_mode && r->c->from.host_address;
  if (m->submission_mode && !submission && !m->local_sender_retain) remove_senders(r);
  if (!submission && (r->c->is_trusted || r->c->from.host_address)) return;
  if (m->local_sender_retain || (!submission && o->local_sender_retain)) return;
  remove_senders(r);
  if (!submission && !o->local_from_check) return;
  const char *name, *own = submitter_address(r, &name);
  struct header_line *from = message_find_header(m, r->saw_resent ? "Resent-From" : "From", NULL);
  bool is_bounce = submission && m->sender && !*m->sender, is_own = !own || !from || same_sender(r, first_address_of(r, from), own);
  if (!is_own) receive_add_header(m, 'S', "%sSender: %s\n", r->saw_resent ? "Resent-" : "", with_phrase(r, name, own));
  if (!own || !from || (is_own && !submission)) return; /* submission mode has its own return path (manual 44.24) */
  if (!m->sender_set_untrusted && !is_bounce) m->sender = arena_strdup(m->arena, own); /* untrusted_set_sender let him choose */
}

/* From: with just the caller's login gets his full address. */
static struct header_line *replace_header(struct message *m, struct header_line *h, const char *text);

static void complete_from(struct reception *r) {
  struct str name, value;
  struct header_line *h = message_find_header(r->m, "From", NULL);
  if (r->c->is_smtp_input || !r->c->login || !h || !header_split(str_n(h->text, h->n), &name, &value)) return;
  if (!str_eqic_c(value, r->c->login)) return;
  const char *own_name, *own = submitter_address(r, &own_name);
  replace_header(r->m, h, arena_printf(r->m->arena, "From: %s\n", with_phrase(r, own_name, own)));
}

static void note_original(struct reception *r, const char *header, const char *raw, const char *now, const char *qualify) {
  const char *was = !*raw || strchr(raw, '@') ? raw : arena_printf(r->m->arena, "%s@%s", raw, qualify);
  if (*was && strcmpic(was, now) != 0) receive_add_header(r->m, '*', "%s: %s\n", header, was);
}

/* What the envelope was before it was rewritten stays in the spool file, for debugging (manual ch. 57): behind that header. */
static void note_rewritten(struct reception *r, struct header_line *behind) {
  struct message *m = r->m;
  const struct config *cfg = r->c->cfg;
  if (!cfg->rewrite_rules || !behind) return;
  struct header_line *rest = behind->next, **tail = m->headers_tail;
  behind->next = NULL;
  m->headers_tail = &behind->next;
  for (size_t i = 0; i < m->recipient_count && m->raw_recipients.n == m->recipient_count; i++)
    note_original(r, "X-rewrote-original-recipient", m->raw_recipients.v[i], m->recipients[i].address, cfg->qualify_recipient);
  if (m->raw_sender && m->sender && *m->sender) note_original(r, "X-rewrote-sender", m->raw_sender, m->sender, cfg->qualify_domain);
  if (!rest) return;
  *m->headers_tail = rest;
  m->headers_tail = tail;
}

static void add_date(struct reception *r) {
  char buf[64];
  const char *name = r->saw_resent ? "Resent-Date" : "Date";
  if (has_header(r->m, name)) return;
  struct time_opts o = {.utc = r->c->cfg->o.timezone && strcmpic(r->c->cfg->o.timezone, "utc") == 0};
  const char *now = time_format(time_now(), TIME_FULL, o, buf, sizeof(buf));
  if (r->saw_resent) add_resent(r->m, ' ', "%s: %s\n", name, now);
  else receive_add_header(r->m, ' ', "%s: %s\n", name, now);
}

/* ---- qualifying and rewriting ---- */

static const char *qualify_header(struct reception *r, const struct header_line *h) {
  enum { BAD_ADDRESSES_LOGGED = 20 }; /* a header of a megabyte must not write a log of twenty */
  int bad_count = 0;
  struct str name, value;
  bool recipient = h->type == 'T' || h->type == 'C' || h->type == 'B', changed = false;
  bool may_qualify = recipient ? r->m->allow_unqualified_recipient : r->m->allow_unqualified_sender;
  if (!header_split(str_n(h->text, h->n), &name, &value)) return NULL;
  struct strbuf b = strbuf_new_t(r->m->arena, TAINTED, h->n + 32);
  strbuf_add(&b, h->text, (size_t)(value.p - h->text));
  struct addr_opts o = {.allow_domain_literal = true, .allow_utf8 = r->m->smtputf8,
                        .strip_trailing_dot = r->c->cfg->o.strip_trailing_dot};
  struct arena *tmp = arena_new("header addresses"); /* half a million of them fit into a header */
  for (struct arena_mark mark = arena_mark(tmp); value.n > 0; arena_release(tmp, mark)) {
    size_t n = rfc5322_find_address_end(value), domain = 0;
    const char *error, *a = rfc5322_extract_address(tmp, rfc5322_strip_group(str_n(value.p, n)), o, &domain, &error);
    if (!a && strcmp(error, "empty address") != 0 && bad_count++ < BAD_ADDRESSES_LOGGED)
      log_write(LS_ALWAYS, LOG_MAIN | LOG_MULTILINE, "qualify/rewrite: %s", error); /* line ends in headers have white space behind them */
    const char *at = may_qualify && a && *a && !domain && n > 0 ? memmem(value.p, n, a, strlen(a)) : NULL;
    if (at) {
      size_t upto = (size_t)(at - value.p) + strlen(a);
      strbuf_add(&b, value.p, upto);
      strbuf_addf(&b, "@%s", recipient ? r->c->cfg->qualify_recipient : r->c->cfg->qualify_domain);
      strbuf_add(&b, value.p + upto, n - upto);
      changed = true;
    } else {
      strbuf_add(&b, value.p, n);
    }
    if (n >= value.n) break;
    strbuf_addc(&b, value.p[n]);
    value = str_n(value.p + n + 1, value.n - n - 1);
  }
  arena_free(tmp);
  strbuf_addc(&b, '\n');
  return changed ? b.p : NULL;
}

/* The changed text gets a line of its own behind the old one, which is kept, marked as replaced. */
static struct header_line *replace_header(struct message *m, struct header_line *h, const char *text) {
  struct header_line *n = ARENA_NEW(m->arena, struct header_line);
  *n = (struct header_line){.next = h->next, .text = arena_strdup(m->arena, text), .n = strlen(text), .type = h->type};
  h->next = n;
  h->type = '*';
  if (m->headers_tail == &h->next) m->headers_tail = &n->next;
  return n;
}

/* The envelope: recipients, and the sender unless its verification has done it already. */
static void rewrite_envelope(struct reception *r) {
  struct message *m = r->m;
  for (size_t i = 0; r->c->cfg->rewrite_rules && i < m->recipient_count; i++) {
    const char *old = m->recipients[i].address, *now = rewrite_address(r->x, old, REWRITE_ENVTO, r->c->cfg->rewrite_rules);
    if (now != old) m->recipients[i].address = arena_strdup(m->arena, now);
  }
  rewrite_message_sender(r->x);
}

static void qualify_headers(struct reception *r) {
  for (struct header_line *h = r->m->headers; h; h = h->next) {
    const char *text = strchr("BCFRST", h->type) ? qualify_header(r, h) : NULL;
    if (text) h = replace_header(r->m, h, text);
  }
}

static void rewrite_headers(struct reception *r) {
  for (struct header_line *h = r->m->headers; r->c->cfg->rewrite_rules && h; h = h->next) {
    const char *text = strchr("BCFRST", h->type) ? rewrite_header(r->x, h, r->c->cfg->rewrite_rules) : NULL;
    if (text) h = replace_header(r->m, h, text);
  }
}

void receive_fix_headers(struct reception *r) {
  bool fix = r->is_local && !r->m->suppress_local_fixups;
  if (fix) complete_from(r);
  qualify_headers(r);
  if (fix) add_message_id(r);
  struct header_line *before = r->m->headers;
  while (before && before->next) before = before->next;
  if (fix) {
    add_from(r);
    check_sender(r);
    add_date(r);
  }
  rewrite_envelope(r);
  note_rewritten(r, before);
  rewrite_headers(r);
}

/* ---- Received: ---- */

bool receive_make_received(struct reception *r, bool refresh) {
  struct message *m = r->m;
  char buf[64];
  const char *text = NULL;
  if (refresh && m->received_header) {
    const char *semicolon = strrchr(m->received_header->text, ';');
    text = semicolon ? arena_strndup(m->arena, m->received_header->text, (size_t)(semicolon - m->received_header->text)) : NULL;
  } else {
    r->x->received_for = m->recipient_count == 1 ? m->recipients[0].address : NULL;
    text = expand_option(r->x, "received_header_text", r->c->cfg->o.received_header_text);
    r->x->received_for = NULL;
    if (!text) {
      log_write(LS_ALWAYS, LOG_MAIN | LOG_PANIC, "Expansion of \"%s\" (received_header_text) failed: %s",
                r->c->cfg->o.received_header_text, r->x->error ? r->x->error : "");
      return false;
    }
    if (!*text) return true; /* an empty setting means no line */
  }
  if (!text) return true;
  struct str t = str_rtrim(str_c(text));
  struct time_opts o = {.utc = r->c->cfg->o.timezone && strcmpic(r->c->cfg->o.timezone, "utc") == 0};
  struct header_line *h = m->received_header;
  if (!h) {
    h = m->received_header = ARENA_NEW(m->arena, struct header_line);
    m->received_count++;
    h->type = 'P';
    h->next = m->headers;
    if (!m->headers) m->headers_tail = &h->next;
    m->headers = h;
  }
  bool named = str_startsic(t, STR("Received:"));
  h->text = arena_printf(m->arena, "%s%.*s;\n\t%s\n", named ? "" : "Received: ", STR_FMT(t),
                         time_format(time_now(), TIME_FULL, o, buf, sizeof(buf)));
  h->n = strlen(h->text);
  return true;
}

/* ---- ACL changes ---- */

/* The item of remove_header is a header's name without wildcards, or a regular expression for the whole line. */
static void remove_lines(struct expand_ctx *x, struct message *m, const char *item) {
  struct str name, value;
  struct expand_scope saved = x->s;
  for (struct header_line *h = m->headers; h; h = h->next) {
    if (h->type == '*' || h == m->received_header || !header_split(str_n(h->text, h->n), &name, &value)) continue;
    bool matches = *item == '^' ? regex_match(x, item, true, str_rtrim(str_n(h->text, h->n)), false) == OUTCOME_OK : str_eqic_c(name, item);
    if (matches) h->type = '*';
  }
  x->s = saved;
}

static void insert_after(struct message *m, struct header_line **at, struct header_line *h) {
  h->next = *at;
  *at = h;
  if (m->headers_tail == at) m->headers_tail = &h->next;
}

/* Behind the Received: lines ('R') or behind Received:/Resent-: block ('F') at the top. */
static struct header_line **place_of(struct message *m, char place) {
  struct header_line **at = &m->headers, **last = at;
  if (place == 'S') return at;
  if (place == 'E') return m->headers_tail;
  for (; *at; at = &(*at)->next) {
    bool resent = str_startsic(str_n((*at)->text, (*at)->n), STR("Resent-"));
    if ((*at)->type == 'P' || (place == 'F' && resent)) last = &(*at)->next;
    else if ((*at)->type != '*' && last != &m->headers) break;
  }
  return last;
}

void receive_apply_acl_headers(struct expand_ctx *x, struct message *m) {
  for (size_t i = 0; i < m->removed_headers.n; i++) {
    const char *list = m->removed_headers.v[i], *item;
    int sep = 0;
    while ((item = list_next(x->a, &list, &sep)))
      if (*item) remove_lines(x, m, item);
  }
  m->removed_headers.n = 0;
  for (struct header_line *h = m->added_headers, *next; h; h = next) {
    char place = h->type;
    next = h->next;
    h->type = header_type_of(str_n(h->text, h->n), NULL);
    insert_after(m, place_of(m, place), h);
  }
  m->added_headers = NULL;
  m->added_texts = (struct tree){0};
}
