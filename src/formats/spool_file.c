/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Bytes of -H and -J files (spool_file.h).  Floor: formats, pure.
 *
 * The reader trusts nothing: every line must end inside the file, numbers must parse, counts are bounded, header lengths must match.
 * Option lines it does not know are kept for rewriting (a newer program's data survives). */
#include "formats/spool_file.h"

#include <stdio.h>

#include "base/base62.h"
#include "base/vec.h"

/* ---- one table for the simple option lines ------------------------------------------------------------ */

enum line_kind { K_TEXT, K_LINES /* text of several lines, "\\n" for their ends */, K_FLAG, K_INT, K_I64, K_CHAR };

#define TEXT(opt, field) {opt, K_TEXT, offsetof(struct spool_header_file, field)}
#define LINES(opt, field) {opt, K_LINES, offsetof(struct spool_header_file, field)}
#define FLAG(opt, field) {opt, K_FLAG, offsetof(struct spool_header_file, field)}
#define I64(opt, field) {opt, K_I64, offsetof(struct spool_header_file, field)}
#define INT(opt, field) {opt, K_INT, offsetof(struct spool_header_file, field)}

struct line_def {
  const char *name;
  enum line_kind kind;
  size_t offset;
};

/* In the order in which they are written; lines that need code of their own stand between these groups. */
static const struct line_def group_host[] = {TEXT("host_name", host_name), TEXT("host_auth", host_auth),
                                             TEXT("host_auth_pubname", host_auth_pubname)};
static const struct line_def group_source[] = {TEXT("active_hostname", active_hostname), TEXT("ident", ident),
                                               TEXT("received_protocol", protocol)};
static const struct line_def group_body[] = {I64("max_received_linelength", max_received_linelength)};
static const struct line_def group_auth[] = {TEXT("auth_id", auth_id), TEXT("auth_sender", auth_sender)};
static const struct line_def group_flags[] = {
  FLAG("allow_unqualified_recipient", allow_unqualified_recipient),
  FLAG("allow_unqualified_sender", allow_unqualified_sender),
  FLAG("deliver_firsttime", deliver_firsttime),
};
static const struct line_def group_flags2[] = {
  FLAG("N", dont_deliver),
  FLAG("host_lookup_deferred", host_lookup_deferred),
  FLAG("host_lookup_failed", host_lookup_failed),
  FLAG("local", is_local),
  FLAG("localerror", local_error),
  TEXT("local_scan", local_scan),
  TEXT("spam_bar", spam_bar),
  TEXT("spam_score", spam_score),
  TEXT("spam_score_int", spam_score_int),
  FLAG("manual_thaw", manual_thaw),
  FLAG("sender_set_untrusted", sender_set_untrusted),
  FLAG("tls_certificate_verified", tls_certificate_verified),
  TEXT("tls_cipher", tls_cipher),
  LINES("tls_peercert", tls_peercert),
  TEXT("tls_peerdn", tls_peerdn),
  TEXT("tls_sni", tls_sni),
  LINES("tls_ourcert", tls_ourcert),
  INT("tls_ocsp", tls_ocsp),
  TEXT("tls_ver", tls_ver),
  FLAG("smtputf8", smtputf8),
  FLAG("utf8_downcvt", utf8_downcvt),
  FLAG("utf8_optdowncvt", utf8_optdowncvt),
  TEXT("dsn_envid", dsn_envid),
  INT("dsn_ret", dsn_ret),
};

/* ---- writing -------------------------------------------------------------------------------------------- */

/* Names in "--(NAME)name value": the rules by which tainted text has been quoted.  The order gives the kinds of taint. */
static const char *const quoters[] = {"sqlite", "testdb", "mysql", "pgsql", "redis", "ldap"};
_Static_assert(ARRAY_SIZE(quoters) == TAINT_KINDS - TAINTED_QUOTED, "a kind of taint for each");

enum taint spool_quoted_kind(struct str name) {
  for (size_t i = 0; i < ARRAY_SIZE(quoters); i++)
    if (str_eq_c(name, quoters[i])) return (enum taint)(TAINTED_QUOTED + i);
  return TAINTED;
}

/* "-", and before it what tells of the text's taint. */
static void put_dashes(struct strbuf *o, const char *text) {
  enum taint t = taint_kind(text);
  strbuf_adds(o, t == UNTAINTED ? "-" : "--");
  if (t >= TAINTED_QUOTED) strbuf_addl(o, "(", quoters[t - TAINTED_QUOTED], ")", NULL);
}

static void check_one_line(const char *s) { INVARIANT(!strpbrk(s, "\r\n")); }

/* Line ends as the two characters \n, and a backslash, which no certificate has, as two of them. */
static void put_lines(struct strbuf *o, const char *name, const char *text) {
  put_dashes(o, text);
  strbuf_addl(o, name, " ", NULL);
  for (; *text; text++) {
    if (*text == '\r') continue;
    if (*text == '\n') strbuf_adds(o, "\\n");
    else if (*text == '\\') strbuf_adds(o, "\\\\");
    else strbuf_addc(o, *text);
  }
  strbuf_addc(o, '\n');
}

static void put_group(struct strbuf *o, const struct spool_header_file *h, const struct line_def *defs, size_t n) {
  for (size_t i = 0; i < n; i++) {
    const char *field = (const char *)h + defs[i].offset;
    switch (defs[i].kind) {
      case K_TEXT: {
        const char *text;
        memcpy(&text, field, sizeof text);
        if (!text) break;
        check_one_line(text);
        put_dashes(o, text);
        strbuf_addl(o, defs[i].name, " ", text, "\n", NULL);
        break;
      }
      case K_LINES: {
        const char *text;
        memcpy(&text, field, sizeof text);
        if (text) put_lines(o, defs[i].name, text);
        break;
      }
      case K_FLAG:
        if (*(const bool *)field) strbuf_addf(o, "-%s\n", defs[i].name);
        break;
      case K_INT: {
        int v;
        memcpy(&v, field, sizeof v);
        if (v) strbuf_addf(o, "-%s %d\n", defs[i].name, v);
        break;
      }
      case K_I64: {
        int64_t v;
        memcpy(&v, field, sizeof v);
        strbuf_addf(o, "-%s %lld\n", defs[i].name, (long long)v);
        break;
      }
      case K_CHAR: break;
    }
  }
}

#define PUT_GROUP(o, h, g) put_group((o), (h), (g), ARRAY_SIZE(g))

static void put_address_port(struct strbuf *o, const char *name, const char *address, int port) {
  if (!address) return;
  check_one_line(address);
  put_dashes(o, address);
  strbuf_addf(o, "%s [%s]:%d\n", name, address, port);
}

static void put_vars(struct strbuf *o, const struct spool_var *v) {
  for (; v; v = v->next) {
    check_one_line(v->name);
    put_dashes(o, v->value);
    strbuf_addf(o, "acl%c %s %zu\n", v->kind, v->name, v->value_n);
    strbuf_add(o, v->value, v->value_n);
    strbuf_addc(o, '\n');
  }
}

static void put_tree(struct strbuf *o, const struct tree_node *n) {
  if (!n) return;
  check_one_line(n->name);
  strbuf_addf(o, "%c%c %s\n", n->left ? 'Y' : 'N', n->right ? 'Y' : 'N', n->name);
  put_tree(o, n->left);
  put_tree(o, n->right);
}

static void put_recipient(struct strbuf *o, const struct spool_rcpt *r) {
  check_one_line(r->address);
  strbuf_adds(o, r->address);
  if (r->pno >= 0 || r->errors_to || r->dsn_flags || (r->orcpt && *r->orcpt)) {
    const char *orcpt = r->orcpt ? r->orcpt : "", *errors_to = r->errors_to ? r->errors_to : "";
    check_one_line(orcpt);
    check_one_line(errors_to);
    strbuf_addf(o, " %s %zu,%u %s %zu,%d#3", orcpt, strlen(orcpt), r->dsn_flags, errors_to, strlen(errors_to), r->pno);
  }
  strbuf_addc(o, '\n');
}

static void put_envelope(struct strbuf *o, const struct spool_header_file *h) {
  check_one_line(h->login);
  check_one_line(h->sender);
  strbuf_addf(o, "%s-H\n%.63s %lld %lld\n<%s>\n%lld %d\n-received_time_usec .%06d\n", h->id, h->login,
              (long long)h->uid, (long long)h->gid, h->sender, (long long)h->received_sec, h->warning_count,
              h->received_usec);
  if (h->complete_sec)
    strbuf_addf(o, "-received_time_complete %lld.%06d\n", (long long)h->complete_sec, h->complete_usec);
  if (h->helo_name) {
    check_one_line(h->helo_name);
    put_dashes(o, h->helo_name);
    strbuf_addl(o, "helo_name ", h->helo_name, "\n", NULL);
  }
  put_address_port(o, "host_address", h->host_address, h->host_port);
  PUT_GROUP(o, h, group_host);
  put_address_port(o, "interface_address", h->interface_address, h->interface_port);
  PUT_GROUP(o, h, group_source);
  put_vars(o, h->vars);
  if (h->wireformat)
    strbuf_adds(o, "-spool_file_wireformat\n");
  else
    strbuf_addf(o, "-body_linecount %lld\n", (long long)h->body_linecount);
  PUT_GROUP(o, h, group_body);
  if (h->body_zerocount) strbuf_addf(o, "-body_zerocount %lld\n", (long long)h->body_zerocount);
  PUT_GROUP(o, h, group_auth);
  PUT_GROUP(o, h, group_flags);
  if (h->frozen_at) strbuf_addf(o, "-frozen %lld\n", (long long)h->frozen_at);
  PUT_GROUP(o, h, group_flags2);
  if (h->tls_resumption) strbuf_addf(o, "-tls_resumption %c\n", h->tls_resumption);
  for (size_t i = 0; h->unknown_lines && h->unknown_lines[i]; i++) {
    check_one_line(h->unknown_lines[i]);
    strbuf_addf(o, "%s\n", h->unknown_lines[i]);
  }
}

void spool_write_header_file(struct strbuf *out, const struct spool_header_file *h) {
  put_envelope(out, h);
  if (h->nonrecipients.root)
    put_tree(out, h->nonrecipients.root);
  else
    strbuf_adds(out, "XX\n");
  strbuf_addf(out, "%zu\n", h->rcpt_count);
  for (size_t i = 0; i < h->rcpt_count; i++) put_recipient(out, &h->rcpts[i]);
  strbuf_addc(out, '\n');
  for (const struct header_line *l = h->headers; l; l = l->next) {
    INVARIANT(l->n > 0 && l->text[l->n - 1] == '\n');
    strbuf_addf(out, "%03zu%c ", l->n, l->type);
    strbuf_add(out, l->text, l->n);
  }
}

/* ---- reading -------------------------------------------------------------------------------------------- */

struct reader {
  struct arena *a;
  struct str rest;
  const char *error; /* sticky */
};

static struct str fail(struct reader *r, const char *error) {
  if (!r->error) r->error = error;
  r->rest = STR_NULL;
  return STR_NULL;
}

/* The next whole line without its newline. */
static struct str next_line(struct reader *r) {
  if (r->error) return STR_NULL;
  size_t n = str_index(r->rest, '\n');
  if (n == r->rest.n) return fail(r, "file ends inside a line");
  struct str line = str_n(r->rest.p, n);
  if (memchr(line.p, '\0', line.n)) return fail(r, "NUL byte in a line");
  r->rest = str_n(r->rest.p + n + 1, r->rest.n - n - 1);
  return line;
}

static const char *keep(struct reader *r, struct str s) { return arena_strndup_t(r->a, s.p, s.n, TAINTED); }

/* Clean copy for lines written without the taint mark: this program wrote them after checking. */
static const char *keep_marked(struct reader *r, struct str s, enum taint taint) {
  if (taint == UNTAINTED) return arena_untaint_copy(r->a, s.p, s.n);
  return taint == TAINTED ? keep(r, s) : arena_strndup_t(r->a, s.p, s.n, taint);
}

static bool read_i64(struct str s, int64_t *ret) { return str_parse_i64(s, ret); }

static void read_first_lines(struct reader *r, struct spool_header_file *h) {
  struct str line = next_line(r);
  if (r->error) return;
  size_t id_len = msgid_prefix_len(line);
  if (id_len == 0 || !str_eq_c(str_n(line.p + id_len, line.n - id_len), "-H")) {
    fail(r, "first line is not the message id");
    return;
  }
  h->id = arena_untaint_copy(r->a, line.p, id_len); /* letters, digits and hyphens only */
  line = next_line(r);
  /* login may hold blanks: the numbers are taken from the right */
  size_t g = line.n, u;
  while (g > 0 && line.p[g - 1] != ' ') g--;
  u = g > 0 ? g - 1 : 0;
  while (u > 0 && line.p[u - 1] != ' ') u--;
  if (r->error || u < 2 || g < 2 || !read_i64(str_n(line.p + u, g - 1 - u), &h->uid) ||
      !read_i64(str_n(line.p + g, line.n - g), &h->gid)) {
    fail(r, "bad originator line");
    return;
  }
  h->login = arena_untaint_copy(r->a, line.p, u - 1);
  line = next_line(r);
  if (r->error || line.n < 2 || line.p[0] != '<' || line.p[line.n - 1] != '>') {
    fail(r, "bad sender line");
    return;
  }
  h->sender = keep(r, str_n(line.p + 1, line.n - 2));
  line = next_line(r);
  int64_t warnings;
  if (r->error || !read_i64(str_cut(&line, ' '), &h->received_sec) || !read_i64(line, &warnings) || warnings < 0 ||
      warnings > INT32_MAX)
    fail(r, "bad time line");
  else
    h->warning_count = (int)warnings;
}

static bool read_seconds(struct str value, int64_t *ret_sec, int *ret_usec) {
  struct str sec = str_cut(&value, '.');
  int64_t s = 0;
  if (sec.n && !read_i64(sec, &s)) return false;
  int usec;
  if (value.n != 6 || !str_parse_int(value, &usec) || usec < 0) return false;
  *ret_sec = s;
  *ret_usec = usec;
  return true;
}

/* "[1.2.3.4]:25" or the older "[1.2.3.4].25". */
static void read_address_port(struct reader *r, struct str v, enum taint taint, const char **ret_address, int *ret_port) {
  size_t close = str_index(v, ']');
  if (v.n == 0 || v.p[0] != '[' || close == v.n) {
    fail(r, "bad address line");
    return;
  }
  *ret_address = keep_marked(r, str_n(v.p + 1, close - 1), taint);
  struct str port = str_n(v.p + close + 1, v.n - close - 1);
  if (port.n > 1 && (!str_parse_int(str_n(port.p + 1, port.n - 1), ret_port) || *ret_port < 0 || *ret_port > 65535))
    fail(r, "bad port");
}

static void read_var(struct reader *r, struct spool_header_file *h, char kind, struct str v, enum taint taint) {
  struct str name = str_cut(&v, ' ');
  uint64_t n;
  if (!str_parse_u64(v, &n) || n >= r->rest.n || r->rest.p[n] != '\n') {
    fail(r, "bad ACL variable");
    return;
  }
  struct spool_var *var = ARENA_NEW(r->a, struct spool_var), **tail = &h->vars;
  var->kind = kind;
  var->name = keep_marked(r, name, false);
  var->value = keep_marked(r, str_n(r->rest.p, n), taint);
  var->value_n = n;
  while (*tail) tail = &(*tail)->next;
  *tail = var;
  r->rest = str_n(r->rest.p + n + 1, r->rest.n - n - 1);
}

/* What put_lines() wrote; a backslash before anything else, or at the end, stands for itself. */
static const char *unescape_lines(struct arena *a, const char *text) {
  struct strbuf b = strbuf_new_t(a, is_tainted(text) ? TAINTED : UNTAINTED, strlen(text) + 1);
  for (; *text; text++) {
    bool escape = *text == '\\' && (text[1] == 'n' || text[1] == '\\');
    if (escape) text++;
    strbuf_addc(&b, escape && *text == 'n' ? '\n' : *text);
  }
  return b.p;
}

/* True when the line belongs to one of the table groups. */
static bool read_from_group(struct reader *r, struct spool_header_file *h, const struct line_def *defs, size_t n,
                            struct str name, struct str value, enum taint taint) {
  for (size_t i = 0; i < n; i++) {
    if (!str_eq_c(name, defs[i].name)) continue;
    char *field = (char *)h + defs[i].offset;
    int64_t number = 0;
    switch (defs[i].kind) {
      case K_TEXT: {
        const char *text = keep_marked(r, value, taint);
        memcpy(field, &text, sizeof text);
        break;
      }
      case K_LINES: {
        const char *text = keep_marked(r, value, taint);
        text = unescape_lines(r->a, text);
        memcpy(field, &text, sizeof text);
        break;
      }
      case K_FLAG: *(bool *)field = true; break;
      case K_INT:
        if (!read_i64(value, &number) || number < INT32_MIN || number > INT32_MAX) fail(r, "bad number");
        memcpy(field, &(int){(int)number}, sizeof(int));
        break;
      case K_I64:
        if (!read_i64(value, &number)) fail(r, "bad number");
        memcpy(field, &number, sizeof number);
        break;
      case K_CHAR: break;
    }
    return true;
  }
  return false;
}

#define FROM_GROUP(g) read_from_group(r, h, (g), ARRAY_SIZE(g), name, value, taint)

/* "-", "--", or "--(lookup)" for text that was quoted for that lookup; leaves what follows. */
static enum taint read_dashes(struct str *line) {
  bool tainted = line->n > 1 && line->p[1] == '-';
  *line = str_n(line->p + 1 + tainted, line->n - 1 - tainted);
  if (!tainted) return UNTAINTED;
  size_t close = line->n && line->p[0] == '(' ? str_index(*line, ')') : line->n;
  if (close >= line->n) return TAINTED;
  enum taint t = spool_quoted_kind(str_n(line->p + 1, close - 1));
  *line = str_n(line->p + close + 1, line->n - close - 1);
  return t;
}

static void read_option(struct reader *r, struct spool_header_file *h, struct str line, struct vec *unknown) {
  struct str whole = line;
  enum taint taint = read_dashes(&line);
  struct str value = line, name = str_cut(&value, ' ');
  int64_t sec;
  if (str_eq_c(name, "received_time_usec")) {
    if (!read_seconds(value, &sec, &h->received_usec)) fail(r, "bad received_time_usec");
  } else if (str_eq_c(name, "received_time_complete")) {
    if (!read_seconds(value, &h->complete_sec, &h->complete_usec)) fail(r, "bad received_time_complete");
  } else if (str_eq_c(name, "helo_name")) {
    h->helo_name = keep_marked(r, value, taint);
  } else if (str_eq_c(name, "host_address")) {
    read_address_port(r, value, taint, &h->host_address, &h->host_port);
  } else if (str_eq_c(name, "interface_address")) {
    read_address_port(r, value, taint, &h->interface_address, &h->interface_port);
  } else if (str_eq_c(name, "aclc") || str_eq_c(name, "aclm")) {
    read_var(r, h, name.p[3], value, taint);
  } else if (str_eq_c(name, "body_linecount")) {
    if (!read_i64(value, &h->body_linecount)) fail(r, "bad body_linecount");
  } else if (str_eq_c(name, "body_zerocount")) {
    if (!read_i64(value, &h->body_zerocount)) fail(r, "bad body_zerocount");
  } else if (str_eq_c(name, "spool_file_wireformat")) {
    h->wireformat = true;
  } else if (str_eq_c(name, "frozen")) {
    if (!read_i64(value, &h->frozen_at) || h->frozen_at <= 0) fail(r, "bad frozen time");
  } else if (str_eq_c(name, "tls_resumption")) {
    h->tls_resumption = value.n ? value.p[0] : 0;
  } else if (!FROM_GROUP(group_host) && !FROM_GROUP(group_source) && !FROM_GROUP(group_body) &&
             !FROM_GROUP(group_auth) && !FROM_GROUP(group_flags) && !FROM_GROUP(group_flags2)) {
    vec_push(unknown, (void *)(uintptr_t)keep(r, whole));
  }
}

/* Pre-order tree: "YN address".  Iterative over lines with an explicit count of subtrees still to come, so that a hostile
 * file cannot exhaust the stack; the names go into a fresh balanced tree. */
static void read_tree(struct reader *r, struct spool_header_file *h, struct str line) {
  if (str_eq_c(line, "XX")) return;
  size_t wanted = 1;
  for (;;) {
    bool ok = line.n >= 3 && (line.p[0] == 'Y' || line.p[0] == 'N') && (line.p[1] == 'Y' || line.p[1] == 'N') &&
              line.p[2] == ' ';
    if (!ok) {
      fail(r, "bad non-recipients tree");
      return;
    }
    tree_insert(&h->nonrecipients, r->a, keep(r, str_n(line.p + 3, line.n - 3)), NULL);
    wanted += (size_t)(line.p[0] == 'Y') + (size_t)(line.p[1] == 'Y') - 1;
    if (wanted == 0) return;
    line = next_line(r);
    if (r->error) return;
  }
}

/* Take "N,M" from the right end of *s (after the last blank): false when it is not there. */
static bool take_pair(struct str *s, int64_t *ret_n, int64_t *ret_m) {
  size_t at = s->n;
  while (at > 0 && s->p[at - 1] != ' ') at--;
  struct str m = str_n(s->p + at, s->n - at), n = str_cut(&m, ',');
  if (at == 0 || !read_i64(n, ret_n) || !read_i64(m, ret_m)) return false;
  *s = str_n(s->p, at - 1);
  return true;
}

/* Take a text of n bytes and the blank before it from the right end. */
static bool take_text(struct str *s, int64_t n, struct str *ret) {
  if (n < 0 || (uint64_t)n + 1 > s->n || s->p[s->n - (size_t)n - 1] != ' ') return false;
  *ret = str_n(s->p + s->n - (size_t)n, (size_t)n);
  *s = str_n(s->p, s->n - (size_t)n - 1);
  return true;
}

static void read_recipient(struct reader *r, struct str line, struct spool_rcpt *ret) {
  ret->pno = -1;
  size_t hash = line.n;
  while (hash > 0 && ch_isdigit(line.p[hash - 1])) hash--;
  bool extended = hash > 0 && hash < line.n && line.p[hash - 1] == '#' && line.p[line.n - 1] >= '1';
  if (extended) {
    int bits = line.p[line.n - 1] - '0';
    struct str s = str_n(line.p, hash - 1), text;
    int64_t n, m;
    if (bits & 1) {
      if (!take_pair(&s, &n, &m) || !take_text(&s, n, &text) || m < -1 || m > INT32_MAX) {
        fail(r, "bad recipient extension");
        return;
      }
      ret->pno = (int)m;
      if (text.n) ret->errors_to = keep(r, text);
    }
    if (bits & 2) {
      if (!take_pair(&s, &n, &m) || !take_text(&s, n, &text) || m < 0 || m > 0xffff) {
        fail(r, "bad recipient extension");
        return;
      }
      ret->dsn_flags = (unsigned)m;
      if (text.n) ret->orcpt = keep(r, text);
    }
    line = s;
  }
  if (line.n == 0) {
    fail(r, "empty recipient");
    return;
  }
  ret->address = keep(r, line);
}

static void read_recipients(struct reader *r, struct spool_header_file *h) {
  uint64_t count;
  struct str line = next_line(r);
  /* every recipient takes at least two bytes, so a count the file cannot hold allocates nothing */
  if (r->error || !str_parse_u64(line, &count) || count > r->rest.n / 2) {
    fail(r, "bad recipient count");
    return;
  }
  h->rcpts = ARENA_NEW_N(r->a, struct spool_rcpt, count + 1);
  h->rcpt_count = count;
  for (uint64_t i = 0; i < count && !r->error; i++) {
    line = next_line(r);
    if (!r->error) read_recipient(r, line, &h->rcpts[i]);
  }
  line = next_line(r);
  if (!r->error && line.n) fail(r, "no blank line behind the recipients");
}

static void read_headers(struct reader *r, struct spool_header_file *h) {
  struct header_line **tail = &h->headers;
  while (!r->error && r->rest.n) {
    size_t digits = 0;
    while (digits < r->rest.n && ch_isdigit(r->rest.p[digits])) digits++;
    uint64_t n;
    if (digits < 3 || digits > 9 || r->rest.n < digits + 2 || r->rest.p[digits + 1] != ' ' ||
        !str_parse_u64(str_n(r->rest.p, digits), &n) || n == 0 || n > r->rest.n - digits - 2 ||
        r->rest.p[digits + 1 + n] != '\n') {
      fail(r, "bad header line length");
      return;
    }
    struct header_line *l = ARENA_NEW(r->a, struct header_line);
    l->type = r->rest.p[digits];
    l->text = arena_strndup_t(r->a, r->rest.p + digits + 2, n, TAINTED);
    l->n = n;
    *tail = l;
    tail = &l->next;
    r->rest = str_n(r->rest.p + digits + 2 + n, r->rest.n - digits - 2 - n);
  }
}

const char *spool_read_header_file(struct arena *a, struct str in, bool envelope_only, struct spool_header_file *ret) {
  struct reader r = {a, in, NULL};
  struct spool_header_file h = {0};
  struct vec unknown = vec_new(a);
  read_first_lines(&r, &h);
  struct str line = next_line(&r);
  while (!r.error && line.n && line.p[0] == '-') {
    read_option(&r, &h, line, &unknown);
    line = next_line(&r);
  }
  if (!r.error) read_tree(&r, &h, line);
  if (!r.error) read_recipients(&r, &h);
  if (!r.error && !envelope_only) read_headers(&r, &h);
  if (r.error) return r.error;
  if (unknown.n) {
    vec_push(&unknown, NULL);
    h.unknown_lines = (const char **)unknown.v;
  }
  *ret = h;
  return NULL;
}

void spool_read_journal(struct arena *a, struct str in, void (*fn)(void *ctx, const char *address), void *ctx) {
  for (;;) {
    size_t n = str_index(in, '\n');
    if (n == in.n) return;
    if (n > 0 && !memchr(in.p, '\0', n)) fn(ctx, arena_strndup_t(a, in.p, n, TAINTED));
    in = str_n(in.p + n + 1, in.n - n - 1);
  }
}
