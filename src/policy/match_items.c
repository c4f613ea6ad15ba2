/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Items of domain, local part and address lists.  Floor: policy.  Manual ch. 10.9, 10.20-10.22, 31.5.
 *
 * Subjects are hostile: they are compared, used as lookup keys, and copied into captures, never expanded.  A value handed out is the
 * item itself or what a lookup gave, so that it is as clean as the configuration is. */

#include "base/ip.h"
#include "conn.h"
#include "formats/rfc5322.h"
#include "os/log.h"
#include "policy/match_priv.h"

enum { CHAIN_MAX_LINKS = 50 };

/* ---- captures ---- */

static void captures_begin(struct list_run *r, const char *whole) {
  struct expand_scope *s = &r->x->s;
  if (r->no_captures || (r->in_address && s->ncaptures > 0)) return;
  s->captures[0] = whole;
  s->ncaptures = 1;
}

static void capture_add(struct list_run *r, const char *p, size_t n) {
  struct expand_scope *s = &r->x->s;
  if (!r->no_captures && s->ncaptures < EXPAND_MAX_CAPTURES) s->captures[s->ncaptures++] = arena_strndup(r->x->a, p, n);
}

/* ---- comparing ---- */

static bool same(const struct list_run *r, const char *a, const char *b) {
  return (r->caseless ? strcmpic(a, b) : strcmp(a, b)) == 0;
}

/* Does s end with suffix?  *ret_head: length of what stands before it. */
static bool ends_with(const struct list_run *r, struct str s, const char *suffix, size_t *ret_head) {
  struct str tail = str_c(suffix);
  if (!(r->caseless ? str_endsic(s, tail) : str_ends(s, tail))) return false;
  *ret_head = s.n - tail.n;
  return true;
}

/* ---- lookups in lists ---- */

/* Length of the lookup type at the start of item (up to its semicolon), 0 when there is none.  In address lists a pattern such as
 * "*@lsearch;/file" is local part and domain; a type may hold an @ only as its last character before options, as in "lsearch*@". */
static size_t type_length(const char *item, bool is_address) {
  const char *semicolon = strchr(item, ';');
  if (!semicolon || !ch_isalpha(*item)) return 0;
  for (const char *p = item; p < semicolon; p++) {
    if (*p == '@' && is_address && !(p[-1] == '*' && (p[1] == ';' || p[1] == ','))) return 0;
    if (*p == '/' || ch_isspace(*p)) return *p == '/' ? 0 : (size_t)(semicolon - item);
    if (*p == ',') break; /* options follow, which may hold anything */
  }
  return (size_t)(semicolon - item);
}

bool match_item_lookup(struct arena *a, const char *item, bool is_address, struct lookup_type *ret, const char **ret_data,
                       const char **ret_error) {
  size_t n = type_length(item, is_address);
  if (n == 0) return false;
  *ret_error = lookup_parse_type(a, str_trim(str_n(item, n)), ret);
  *ret_data = item + n + 1;
  while (ch_isspace(**ret_data)) (*ret_data)++;
  return true;
}

enum outcome match_run_lookup(struct list_run *r, const struct lookup_type *t, const char *data, const char *key) {
  struct lookup_result res = {.ttl_sec = UINT32_MAX};
  bool is_query = (t->driver->flags & (LOOKUP_QUERY | LOOKUP_ABSFILEQUERY)) != 0;
  enum outcome o = lookup_run(r->x, t, is_query ? NULL : data, is_query ? data : key, &res);
  if (o == OUTCOME_OK) {
    r->value = res.data;
    r->parted = res.fixed != NULL;
    if (r->parted) {
      captures_begin(r, r->text ? r->text : key);
      capture_add(r, res.wild, strlen(res.wild));
      capture_add(r, res.fixed, strlen(res.fixed));
    }
  } else if (o != OUTCOME_FAIL) {
    r->error = res.error ? res.error : arena_printf(r->x->a, "lookup of \"%s\" deferred", data);
    if (o == OUTCOME_ERROR) { /* a file that cannot be opened is trouble, not a "no" */
      log_write(LS_ALWAYS, LOG_MAIN | LOG_PANIC, "%s", r->error);
      return OUTCOME_DEFER;
    }
  }
  return o;
}

static enum outcome lookup_item(struct list_run *r, const struct lookup_type *t, const char *data, const char *key, const char *error) {
  if (error) {
    /* A mistake in the configuration: this process cannot go on sensibly; mail stays where it is.  Where lookups are forbidden a user
     * wrote the list, and his mistake is his alone. */
    if (!r->x->forbid.lookup) log_write(LS_ALWAYS, LOG_MAIN | LOG_PANIC | LOG_DIE, "%s", error);
    r->error = error;
    return OUTCOME_DEFER;
  }
  return match_run_lookup(r, t, data, key);
}

/* ---- domains and local parts ---- */

static enum outcome check_literal_local(struct list_run *r) {
  size_t n = strlen(r->text);
  if (n < 3 || r->text[0] != '[' || r->text[n - 1] != ']') return OUTCOME_FAIL;
  const char *ip = arena_strndup(r->x->a, r->text + 1, n - 2);
  return ip_text_kind(ip, NULL) && match_is_local_ip(r->x, ip) ? OUTCOME_OK : OUTCOME_FAIL;
}

/* "@", "@[]", "@mx_any", "@mx_primary", "@mx_secondary", the last three with an optional "/ignore=hosts". */
static enum outcome check_special(struct list_run *r, const char *item, bool *ret_known) {
  static const struct {
    const char *name;
    char which;
  } mx[] = {{"@mx_any", 'a'}, {"@mx_primary", 'p'}, {"@mx_secondary", 's'}};
  *ret_known = true;
  r->value = item;
  if (strcmp(item, "@") == 0) {
    r->value = r->x->cfg->primary_hostname;
    return same(r, r->text, r->value) ? OUTCOME_OK : OUTCOME_FAIL;
  }
  if (strcmp(item, "@[]") == 0) return check_literal_local(r);
  for (size_t i = 0; i < ARRAY_SIZE(mx); i++) {
    size_t n = strlen(mx[i].name);
    if (strncmpic(item, mx[i].name, n) != 0) continue;
    const char *ignore = NULL;
    if (strncmpic(item + n, "/ignore=", 8) == 0) ignore = item + n + 8;
    else if (item[n] != '\0') break;
    if (!match_hooks_get()->mx) return OUTCOME_FAIL;
    enum outcome o = match_hooks_get()->mx(r->x, r->text, mx[i].which, ignore);
    if (o == OUTCOME_DEFER) r->error = arena_printf(r->x->a, "DNS lookup of \"%s\" deferred", r->text);
    return o;
  }
  *ret_known = false;
  return OUTCOME_FAIL;
}

/* A match without wildcards leaves the subject in $0 alone. */
static enum outcome with_subject(struct list_run *r, enum outcome o) {
  if (o == OUTCOME_OK && (r->kind == LIST_DOMAIN || r->kind == LIST_LOCALPART)) captures_begin(r, r->text);
  return o;
}

enum outcome match_check_string(struct list_run *r, const char *item) {
  struct expand_ctx *x = r->x;
  struct lookup_type t;
  const char *data, *error = NULL;
  r->value = item;
  if (*item == '^') {
    /* A pattern sees the case that the subject has: it may ask for one with (?-i). */
    enum outcome o = regex_match(x, item, r->caseless, str_c(r->original), true);
    if (o == OUTCOME_OK) x->s.captures[0] = r->original; /* in lists $0 is all of the subject */
    return o;
  }
  if (*item == '*') {
    size_t head;
    if (!ends_with(r, str_c(r->text), item + 1, &head)) return OUTCOME_FAIL;
    captures_begin(r, r->text);
    capture_add(r, r->text, head);
    return OUTCOME_OK;
  }
  if (*item == '@' && r->specials) {
    bool known;
    enum outcome o = check_special(r, item, &known);
    if (known) return strncmp(item, "@mx", 3) == 0 ? o : with_subject(r, o);
  }
  if (match_item_lookup(x->a, item, false, &t, &data, &error)) {
    enum outcome o = lookup_item(r, &t, data, r->text, error);
    return !error && (t.partial >= 0 || r->parted) ? o : with_subject(r, o);
  }
  return with_subject(r, same(r, r->text, item) ? OUTCOME_OK : OUTCOME_FAIL);
}

/* ---- addresses ---- */

/* One domain pattern, walked as a list of its own: it may be negated, or "+name".  Its separator is one no item can hold. */
static enum outcome check_domain_part(struct list_run *r, const char *domain, const char *pattern) {
  struct list_run sub = {.x = r->x, .kind = LIST_DOMAIN, .subject = domain, .text = domain, .original = domain, .caseless = !r->exact_domain,
                         .specials = true, .in_address = true, .no_captures = r->no_captures, .depth = r->depth, .name = NULL};
  /* The pattern stands for a list of one item; its separators are doubled so that it stays one. */
  struct strbuf b = strbuf_new(r->x->a);
  if (*pattern == '<') strbuf_adds(&b, "<: ");
  for (const char *p = pattern; *p; p++) {
    strbuf_add(&b, p, 1);
    if (*p == ':') strbuf_addc(&b, ':');
  }
  enum outcome o = list_run(&sub, b.p);
  r->value = sub.value;
  if (sub.error) r->error = sub.error;
  return o;
}

/* Test the local part with the patterns of one record, "!" before a pattern negates it.  False: none matches, and *ret_key is where a last
 * item ">key" leads, NULL or empty for no further. */
static bool local_part_in(struct list_run *r, const char *patterns, const char *local, enum outcome *ret, const char **ret_key) {
  const char *element;
  int sep = 0;
  *ret_key = NULL;
  while ((element = list_next(r->x->a, &patterns, &sep)) != NULL) {
    if (*element == '>' && *patterns == '\0') {
      for (element++; ch_isspace(*element);) element++;
      *ret_key = element;
      return false;
    }
    bool negated = *element == '!';
    if (negated)
      do element++;
      while (ch_isspace(*element));
    struct list_run sub = {.x = r->x, .kind = LIST_LOCALPART, .subject = local, .text = local, .original = local, .caseless = r->caseless};
    enum outcome one = match_check_string(&sub, element);
    if (one == OUTCOME_FAIL) continue;
    if (one == OUTCOME_OK) r->value = sub.value;
    else r->error = sub.error;
    *ret = one == OUTCOME_OK && negated ? OUTCOME_FAIL : one;
    return true;
  }
  return false;
}

/* @@lookup: the domain is the key, the data a list of local part patterns, of which a last one ">key" leads on. */
static enum outcome check_by_domain(struct list_run *r, const char *item, const char *local, const char *domain) {
  struct expand_ctx *x = r->x;
  struct lookup_type t;
  const char *data, *error = NULL, *key = domain;
  if (!match_item_lookup(x->a, item, false, &t, &data, &error)) {
    r->error = arena_printf(x->a, "\"@@%s\" is not a lookup", item);
    return OUTCOME_ERROR;
  }
  for (int links = 0; links < CHAIN_MAX_LINKS; links++) {
    enum outcome o = lookup_item(r, &t, data, key, error);
    if (o != OUTCOME_OK) return o;
    if (local_part_in(r, r->value, local, &o, &key)) return o;
    if (!key || !*key) return OUTCOME_FAIL;
  }
  r->error = arena_printf(x->a, "Loop detected in lookup of local part of %s@%s in @@%s", local, domain, item);
  log_write(LS_ALWAYS, LOG_MAIN | LOG_PANIC, "%s", r->error);
  return OUTCOME_DEFER;
}

/* Position of the @ between local part and domain of a pattern, NULL none.  The domain may be a lookup whose data holds more of them. */
static const char *pattern_at(const char *item) {
  const char *semicolon = strchr(item, ';'), *at = NULL;
  bool quoted = false;
  for (const char *p = item; *p && (!semicolon || p < semicolon); p++) {
    if (*p == '\\' && quoted && p[1]) p++;
    else if (*p == '"' && (p == item || quoted)) quoted = !quoted;
    else if (*p == '@' && !quoted) {
      at = p;
      if (p[1] == '@' && (p[2] == '\0' || p[2] == '[')) break; /* "name@@", "name@@[]": the domain is a special item */
    }
  }
  return at;
}

static enum outcome check_both_parts(struct list_run *r, const char *item, const char *at, const char *local, const char *domain) {
  const char *want = arena_strndup(r->x->a, item, (size_t)(at - item));
  captures_begin(r, r->text);
  if (*want == '*') {
    size_t head;
    if (!ends_with(r, str_c(local), want + 1, &head)) return OUTCOME_FAIL;
    capture_add(r, local, head);
  } else if (!same(r, local, want)) {
    return OUTCOME_FAIL;
  }
  enum outcome o = check_domain_part(r, domain, at + 1);
  /* The value is put together from what matched each half. */
  if (o == OUTCOME_OK && r->value) r->value = arena_printf(r->x->a, "%s@%s", want, r->value);
  return o;
}

enum outcome match_check_address(struct list_run *r, const char *item) {
  struct expand_ctx *x = r->x;
  struct lookup_type t;
  const char *data, *error = NULL, *at;
  r->value = item;
  if (*item == '^') {
    r->value = NULL;
    return regex_match(x, item, r->caseless, str_c(r->text), true);
  }
  if (*item == '\0' && *r->text == '\0') return OUTCOME_OK;
  if (!r->no_captures) x->s.ncaptures = 0;
  captures_begin(r, r->text);
  if (match_item_lookup(x->a, item, true, &t, &data, &error)) {
    bool is_query = !error && (t.driver->flags & (LOOKUP_QUERY | LOOKUP_ABSFILEQUERY)) != 0;
    if (!error && t.partial >= 0)
      log_write(LS_ALWAYS, LOG_MAIN | LOG_PANIC, "partial matching is not applicable to whole-address lookups: ignored \"partial-\" in \"%s\"", item);
    if (!error && !is_query && *r->text == '\0') return OUTCOME_FAIL;
    t.partial = -1;
    int kept = x->s.ncaptures; /* a default leaves nothing in $1 here */
    enum outcome o = lookup_item(r, &t, data, r->text, error);
    x->s.ncaptures = kept;
    return o;
  }
  if (*r->text == '\0') return OUTCOME_FAIL;
  struct str local_part, domain_part;
  if (!addr_split(r->text, &local_part, &domain_part)) {
    log_write(LS_ALWAYS, LOG_MAIN | LOG_PANIC, "no @ found in the subject of an address list match: subject=\"%s\" pattern=\"%s\"",
              r->text, item);
    return OUTCOME_FAIL;
  }
  const char *local = str_dup(x->a, local_part), *domain = str_dup_lower(x->a, domain_part);
  if (item[0] == '@' && item[1] == '@') return check_by_domain(r, item + 2, local, domain);
  if ((at = pattern_at(item)) != NULL) return check_both_parts(r, item, at, local, domain);
  enum outcome o = check_domain_part(r, domain, item);
  if (o == OUTCOME_OK && r->value) r->value = arena_printf(x->a, "@%s", r->value);
  return o;
}
