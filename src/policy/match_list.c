/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Lists: splitting, and the walk common to all four kinds.  Floor: policy.  Manual ch. 6.20-6.22, 10.1-10.8, 10.15-10.17.
 *
 * Rules of the walk: left to right; the first item that matches decides (a negated one with "no"); behind the last item the answer
 * is the opposite of the sign of the last item.  A file stands for its lines.  A temporary problem ends the walk with DEFER, missing
 * information with "no", unless +include_... or +ignore_... came before.
 * Results of named lists whose text holds no '$' are kept until match_cache_clear(); the cache is on the list of allowed writable
 * globals.  Subjects are hostile; they are compared and narrated, never expanded. */

#include "conn.h"
#include "formats/rfc5322.h"
#include "os/debug.h"
#include "os/log.h"
#include "os/sys.h"
#include "policy/list_file.h"
#include "policy/match_priv.h"
#include "policy/narrate.h"

enum { CACHE_MAX = 2000 };

/* ---- splitting ---- */

/* "<x" at the start sets the separator; "<\n" may be written with backslash n already turned into a newline. */
static char find_separator(const char **pos, int sep) {
  const char *s = *pos;
  while (ch_isspace(*s)) s++;
  if (s[0] == '<' && (ch_ispunct((unsigned char)s[1]) || ch_iscntrl((unsigned char)s[1])) && s[1] != '\0') {
    *pos = s + 2;
    return s[1];
  }
  return sep < 0 ? (char)-sep : ':';
}

/* An item that holds doubled separators, which stand for one. */
static const char *doubled_item(struct arena *a, const char *s, char c, const char **pos) {
  struct strbuf b = strbuf_new(a);
  for (;;) {
    const char *end = strchrnul(s, c);
    bool is_doubled = *end && end[1] == c;
    strbuf_add(&b, s, (size_t)(end - s) + is_doubled);
    s = end + is_doubled + (*end != '\0');
    if (!is_doubled) break;
  }
  *pos = s;
  while (b.n > 0 && ch_isspace(b.p[b.n - 1])) strbuf_truncate(&b, b.n - 1);
  return b.p;
}

const char *list_next(struct arena *a, const char **pos, int *sep) {
  if (!*pos) return NULL;
  if (*sep <= 0) {
    char found = find_separator(pos, *sep);
    *sep = (unsigned char)found;
  }
  const char *s = *pos, c = (char)*sep;
  while (ch_isspace(*s) && *s != c) s++;
  if (*s == '\0') return NULL;

  /* A control character as separator is never doubled. */
  bool may_double = !ch_iscntrl((unsigned char)c);
  const char *end = strchrnul(s, c);
  if (*end && end[1] == c && may_double) return doubled_item(a, s, c, pos);
  *pos = *end ? end + 1 : end;
  return str_dup(a, str_rtrim(str_n(s, (size_t)(end - s))));
}

void list_append(struct strbuf *b, char sep, const char *item) {
  bool has_before = b->n > 0;
  if (has_before) strbuf_addc(b, sep);
  /* An item that begins with the separator would merge with the one before it. */
  if (has_before && *item == sep) strbuf_addc(b, ' ');
  if (*item == '\0' && !has_before) strbuf_addc(b, ' ');
  while (*item) {
    const char *end = strchrnul(item, sep);
    strbuf_add(b, item, (size_t)(end - item) + (*end != '\0'));
    if (*end) strbuf_addc(b, sep);
    item = end + (*end != '\0');
  }
}

/* ---- named lists and their cache ---- */

static const char *const kind_names[LIST_KINDS] = {"domain", "host", "address", "local part"};

enum { CACHED_CAPTURES = 4 };

struct cached {
  enum outcome outcome;
  const char *value;
  const char *captures[CACHED_CAPTURES]; /* what the match left in $0 ... */
  int ncaptures;
  unsigned subject_number; /* see cache_find */
};

static struct {
  struct arena *arena;
  struct tree results;
  unsigned subject_number;
} cache;

void match_cache_new_subject(void) { cache.subject_number++; }

void match_cache_clear(void) {
  arena_free(cache.arena);
  cache.arena = NULL;
  cache.results = (struct tree){0};
  cache.subject_number = 0;
}

static const char *cache_subject(const struct list_run *r) {
  return r->kind == LIST_HOST ? r->host->address : r->text;
}

static const char *cache_key(const struct list_run *r, const char *name) {
  const char *s = cache_subject(r);
  return arena_printf(r->x->a, "%d %s %c%s", r->kind, name, r->caseless ? '-' : '+', s ? s : "");
}

/* While somebody listens, a result counts only for the address it was found for: so the narration shows each new address being
 * checked, as users of -bh expect. */
static const struct cached *cache_find(const struct list_run *r, const char *key) {
  const struct tree_node *n = tree_find(&cache.results, key);
  const struct cached *c = n ? n->data : NULL;
  if (c && r->kind != LIST_HOST && r->kind != LIST_ADDRESS && narrate_wanted(r->x, D_LISTS) && c->subject_number != cache.subject_number) return NULL;
  return c;
}

static void cache_store(const struct expand_ctx *x, const char *key, enum outcome o, const char *value) {
  if (cache.results.count >= CACHE_MAX) match_cache_clear();
  if (!cache.arena) cache.arena = arena_new("list results");
  struct tree_node *n = tree_insert(&cache.results, cache.arena, key, NULL);
  struct cached *c = ARENA_NEW(cache.arena, struct cached);
  *c = (struct cached){.outcome = o, .value = value ? arena_strdup(cache.arena, value) : NULL, .subject_number = cache.subject_number};
  for (int i = 0; o == OUTCOME_OK && i < MIN(x->s.ncaptures, CACHED_CAPTURES); i++, c->ncaptures++)
    c->captures[i] = x->s.captures[i] ? arena_strdup(cache.arena, x->s.captures[i]) : NULL;
  n->data = c;
}

static void cache_captures(const struct list_run *r, const struct cached *c) {
  if (c->outcome != OUTCOME_OK || r->no_captures || r->in_address) return;
  for (int i = 0; i < c->ncaptures; i++) r->x->s.captures[i] = c->captures[i] ? arena_strdup(r->x->a, c->captures[i]) : NULL;
  r->x->s.ncaptures = c->ncaptures;
}

/* Is the result of a named list the same each time?  Only when neither it nor a list it names holds a '$'. */
static bool is_constant(const struct config *cfg, enum list_kind kind, const char *text, int depth) {
  if (strchr(text, '$') || depth > MATCH_DEPTH_MAX) return false;
  for (const char *p = text; (p = strchr(p, '+')) != NULL;) {
    size_t n = 0;
    p++;
    while (ch_isalnum(p[n]) || p[n] == '_') n++;
    char name[128];
    if (n == 0 || n >= sizeof name) continue;
    memcpy(name, p, n);
    name[n] = '\0';
    for (int k = 0; k < LIST_KINDS; k++) {
      const struct named_list *nl = config_named_list(cfg, (enum list_kind)k, name);
      if (nl && (k == (int)kind || kind == LIST_ADDRESS) && !is_constant(cfg, (enum list_kind)k, nl->text, depth + 1)) return false;
    }
  }
  return true;
}

static enum outcome expand_list(struct expand_ctx *x, const char *list, const char **ret) {
  *ret = list;
  if (is_tainted(list) || !strpbrk(list, "$\\")) return OUTCOME_OK;
  *ret = expand_string(x, list);
  if (*ret) return OUTCOME_OK;
  if (x->forced_fail) return OUTCOME_FAIL;
  log_write(LS_ALWAYS, LOG_MAIN | LOG_PANIC, "failed to expand \"%s\" while checking a list: %s", list, x->error ? x->error : "");
  x->error = NULL; /* it is told */
  return OUTCOME_DEFER;
}

static enum outcome run_sublist(struct list_run *r, const struct named_list *nl, const char **ret_value) {
  struct list_run sub = *r;
  const char *text;
  enum outcome o = expand_list(r->x, nl->text, &text);
  if (o == OUTCOME_FAIL) narrate(r->x, D_LISTS, "expansion of \"%s\" forced failure: assume not in this list", nl->text);
  if (o != OUTCOME_OK) return o;
  sub.name = NULL;
  sub.single_item = false;
  sub.depth++;
  narrate_indent(2);
  o = list_run(&sub, text);
  narrate_indent(-2);
  *ret_value = sub.value;
  r->error = sub.error;
  return o;
}

static enum outcome check_named(struct list_run *r, const char *name, bool *ret_cached) {
  struct expand_ctx *x = r->x;
  const struct named_list *nl = config_named_list(x->cfg, r->kind, name);
  if (!nl) {
    r->error = x->error = arena_printf(x->a, "unknown named %s list \"+%s\"", kind_names[r->kind], name);
    log_write(LS_ALWAYS, LOG_MAIN | LOG_PANIC, "%s", x->error);
    return OUTCOME_ERROR;
  }
  if (r->depth >= MATCH_DEPTH_MAX) {
    r->error = x->error = arena_printf(x->a, "named list \"+%s\" refers to itself", name);
    return OUTCOME_ERROR;
  }
  bool constant = is_constant(x->cfg, r->kind, nl->text, 0);
  const char *key = constant ? cache_key(r, name) : NULL;
  const struct cached *c = key ? cache_find(r, key) : NULL;
  narrate(x, D_LISTS, " start sublist %s", name);
  if (c) {
    narrate(x, D_LISTS, "cached %s match for +%s", c->outcome == OUTCOME_OK ? "yes" : "no", name);
    narrate(x, D_LISTS, "cached lookup data = %s", c->value ? c->value : "NULL");
    *ret_cached = true;
    r->value = c->value ? arena_strdup(x->a, c->value) : NULL;
    cache_captures(r, c);
    return c->outcome;
  }
  const char *value = NULL;
  enum outcome o = run_sublist(r, nl, &value);
  narrate(x, D_LISTS, " end sublist %s", name);
  if (o == OUTCOME_OK) r->value = value;
  if (key && value && (o == OUTCOME_OK || o == OUTCOME_FAIL)) {
    const char *s = cache_subject(r);
    narrate(x, D_LISTS, "data from lookup saved for cache for +%s: key '%s' value '%s'", name, s ? s : "", value);
  }
  if (key && (o == OUTCOME_OK || o == OUTCOME_FAIL)) cache_store(x, key, o, value);
  return o;
}

/* ---- the walk ---- */

struct walk {
  bool include_unknown, ignore_unknown, include_defer, ignore_defer;
  bool last_negated;
  bool file_negated; /* the file's name has a "!" before it */
  bool ended_in_trouble; /* by what could not be found out */
  const char *list; /* as narrated, quoted, or the option's name */
  bool quoted;
};

static enum outcome check_item(struct list_run *r, const char *item) {
  switch (r->kind) {
  case LIST_HOST: return match_check_host(r, item);
  case LIST_ADDRESS: return match_check_address(r, item);
  case LIST_DOMAIN:
  case LIST_LOCALPART:
  case LIST_KINDS: break;
  }
  return match_check_string(r, item);
}

static void narrate_result(const struct list_run *r, const struct walk *w, bool yes, const char *why, const char *item, const char *tail) {
  const char *q = w->quoted ? "\"" : "";
  if (item) narrate(r->x, D_LISTS, "%s in %s%s%s? %s (%s \"%s\"%s)", r->subject, q, w->list, q, yes ? "yes" : "no", why, item, tail);
  else narrate(r->x, D_LISTS, "%s in %s%s%s? %s (%s)", r->subject, q, w->list, q, yes ? "yes" : "no", why);
}

/* Special items.  True when item was one. */
static bool special_item(struct list_run *r, struct walk *w, const char *item) {
  if (strcmp(item, "+caseful") == 0 && (r->kind == LIST_ADDRESS || r->kind == LIST_LOCALPART)) {
    r->caseless = false;
    r->exact_domain = true;
    r->text = r->original;
  } else if (r->kind != LIST_HOST) { /* what follows is for lists that may need names and addresses (manual 10.13) */
    return false;
  } else if (strcmp(item, "+include_unknown") == 0) {
    w->include_unknown = true;
    w->ignore_unknown = false;
  } else if (strcmp(item, "+ignore_unknown") == 0) {
    w->ignore_unknown = true;
    w->include_unknown = false;
  } else if (strcmp(item, "+include_defer") == 0) {
    w->include_defer = true;
    w->ignore_defer = false;
  } else if (strcmp(item, "+ignore_defer") == 0) {
    w->ignore_defer = true;
    w->include_defer = false;
  } else {
    return false;
  }
  return true;
}

enum { GO_ON = -1 };

/* Missing information or a temporary failure at an item: an outcome that ends the walk, or GO_ON. */
static int settle_trouble(const struct list_run *r, struct walk *w, enum outcome o, const char *shown) {
  bool include = o == OUTCOME_FAIL ? w->include_unknown : w->include_defer;
  bool ignore = o == OUTCOME_FAIL ? w->ignore_unknown : w->ignore_defer;
  const char *error = r->error ? r->error : "lookup deferred";
  if (ignore) {
    narrate(r->x, D_LISTS, "%s: item ignored by +ignore_%s", error, o == OUTCOME_FAIL ? "unknown" : "defer");
    return GO_ON;
  }
  w->ended_in_trouble = include || o == OUTCOME_FAIL;
  if (include) {
    if (o == OUTCOME_FAIL) narrate_result(r, w, true, error, NULL, "");
    log_write(LS_ALWAYS, LOG_MAIN, "%s: accepted by +include_%s", error, o == OUTCOME_FAIL ? "unknown" : "defer");
    return OUTCOME_OK;
  }
  if (o == OUTCOME_FAIL) {
    narrate_result(r, w, false, error, NULL, "");
    log_write(LS_UNKNOWN_IN_LIST, LOG_MAIN, "list matching forced to fail: %s", error);
    return OUTCOME_FAIL;
  }
  r->x->error = r->error ? r->error : r->x->error;
  narrate_indent(-1);
  narrate(r->x, D_LISTS, "%s in %s%s%s? list match deferred for %s", r->subject, w->quoted ? "\"" : "", w->list,
          w->quoted ? "\"" : "", shown);
  narrate_indent(1);
  return OUTCOME_DEFER;
}

/* One plain item (also a line of a file).  GO_ON or the final outcome.  Of a line the narration says whether it was found, whatever a "!" of
 * its own makes of that. */
static int walk_item(struct list_run *r, struct walk *w, const char *shown, const char *item, bool negated, const char *file) {
  r->unknown = false;
  r->error = NULL;
  enum outcome o;
  bool was_cached = false;
  if (item[0] == '+' && item[1] && !r->no_named && r->kind != LIST_KINDS) o = check_named(r, item + 1, &was_cached);
  else o = check_item(r, item);
  switch (o) {
  case OUTCOME_OK:
    narrate_result(r, w, !(file ? w->file_negated : negated), "matched", shown, file ? arena_printf(r->x->a, " in %s", file) : was_cached ? " - cached" : "");
    return negated ? OUTCOME_FAIL : OUTCOME_OK;
  case OUTCOME_FAIL: return r->unknown ? settle_trouble(r, w, OUTCOME_FAIL, shown) : GO_ON;
  case OUTCOME_DEFER: return settle_trouble(r, w, OUTCOME_DEFER, shown);
  case OUTCOME_ERROR:
  case OUTCOME_FAIL_DROP:
  case OUTCOME_DISCARD: break;
  }
  if (r->error) r->x->error = r->error;
  return OUTCOME_ERROR;
}

static int get_list_file(struct list_run *r, const char *file, const struct list_file **ret) {
  struct expand_ctx *x = r->x;
  if (expand_taint_refused(x, file, "list file read")) {
    r->error = x->error;
    return OUTCOME_ERROR;
  }
  int rc = list_file_get(file, r->kind, ret);
  if (rc == 0) return GO_ON;
  r->error = x->error = arena_printf(x->a, "failed to open %s when checking \"%s\": %s", file, r->list, sys_open_file_error(rc));
  log_write(LS_ALWAYS, LOG_MAIN | LOG_PANIC, "%s", x->error);
  return OUTCOME_DEFER;
}

/* Most lines of a long file are names that differ from the subject at first sight. */
static bool cannot_match(const struct list_run *r, struct str subject, const struct list_line *line) {
  switch (r->kind) {
  case LIST_DOMAIN:
  case LIST_LOCALPART:
    if (line->is_literal) break;
    return false;
  case LIST_ADDRESS:
    if (line->is_literal_address && memchr(subject.p, '@', subject.n)) break;
    return false;
  case LIST_HOST:
  case LIST_KINDS: return false;
  }
  return line->item_n != subject.n || ch_lower(line->item[0]) != ch_lower(subject.p[0]);
}

static int walk_file(struct list_run *r, struct walk *w, const char *file, bool negated) {
  const struct list_file *f;
  int rc = get_list_file(r, file, &f);
  if (rc != GO_ON) return rc;
  struct str subject = str_c(r->text);
  w->file_negated = negated;
  for (size_t i = 0; i < f->count && rc == GO_ON; i++) {
    const struct list_line *line = &f->lines[i];
    w->last_negated = line->negated != negated;
    if (cannot_match(r, subject, line)) continue;
    rc = walk_item(r, w, line->text, line->item, w->last_negated, file);
    bool was_found = !w->ended_in_trouble;
    w->ended_in_trouble = false;
    if ((rc == OUTCOME_OK || rc == OUTCOME_FAIL) && was_found && !r->value) r->value = line->item; /* a line found in a file is a value even for addresses */
  }
  if (r->value) r->value = arena_strdup(r->x->a, r->value); /* it may be a line of the file */
  list_file_done(f);
  return rc;
}

static int walk_one(struct list_run *r, struct walk *w, const char *element) {
  const char *item = element;
  narrate(r->x, D_LISTS, "list element: %s", narrate_dotted(r->x->a, element));
  if (special_item(r, w, element)) return GO_ON;
  bool negated = *item == '!';
  if (negated)
    do item++;
    while (ch_isspace(*item));
  w->last_negated = negated;
  if (*item == '/') return walk_file(r, w, item, negated);
  return walk_item(r, w, element, item, negated, NULL);
}

enum outcome list_run(struct list_run *r, const char *list) {
  const char *element, *shown = list; /* without the choice of separator */
  (void)find_separator(&shown, 0);
  struct walk w = {.list = r->name ? r->name : shown, .quoted = !r->name};
  int sep = 0, result = GO_ON;
  const char *q = w.quoted ? "\"" : "";
  r->value = NULL;
  r->list = list;
  narrate(r->x, D_LISTS, "%s in %s%s%s?", r->subject, q, w.list, q);
  narrate_indent(1);
  if (r->single_item) result = walk_one(r, &w, str_dup(r->x->a, str_trim(str_c(list))));
  else while (result == GO_ON && (element = list_next(r->x->a, &list, &sep)) != NULL) result = walk_one(r, &w, element);
  /* A list that ends for want of a name or address leaves what follows indented, as readers of -bh are used to. */
  if (!w.ended_in_trouble) narrate_indent(-1);
  if (result != GO_ON) return (enum outcome)result;
  r->value = NULL;
  narrate_result(r, &w, w.last_negated, "end of list", NULL, "");
  return w.last_negated ? OUTCOME_OK : OUTCOME_FAIL;
}

/* ---- entry ---- */

static struct {
  const struct match_hooks *hooks;
} installed;

void match_set_hooks(const struct match_hooks *h) { installed.hooks = h; }
const struct match_hooks *match_hooks_get(void) {
  static const struct match_hooks none;
  return installed.hooks ? installed.hooks : &none;
}

static void narrate_unset(struct list_run *r) {
  if (r->name) narrate(r->x, D_LISTS, "%s in %s? no (option unset)", r->subject, r->name);
  else narrate(r->x, D_LISTS, "%s not in empty list (option unset? cannot trace name)", r->kind == LIST_HOST ? "host" : r->text);
}

/* Expand unless told not to, walk, hand out the value. */
static enum outcome match_begin(struct list_run *r, const char *list, bool no_expand, const char **ret_value) {
  const char *text = list;
  if (!list) {
    narrate_unset(r);
    return OUTCOME_FAIL;
  }
  if (!no_expand) {
    enum outcome o = expand_list(r->x, list, &text);
    if (o == OUTCOME_FAIL) narrate(r->x, D_LISTS, "expansion of \"%s\" forced failure: assume not in this list", list);
    if (o != OUTCOME_OK) return o;
  }
  /* A list that does not match leaves the numbered variables alone. */
  struct expand_scope before = r->x->s;
  enum outcome o = list_run(r, text);
  if (o == OUTCOME_OK && ret_value) *ret_value = r->value;
  if (o != OUTCOME_OK) {
    memcpy(r->x->s.captures, before.captures, sizeof before.captures);
    r->x->s.ncaptures = before.ncaptures;
  }
  return o;
}

static const char *folded(struct arena *a, const char *s) { return str_dup_lower(a, str_c(s)); }

enum outcome match_list(struct expand_ctx *x, enum list_kind kind, const char *subject, const char *list,
                        const struct match_opts *o) {
  struct list_run r = {.x = x, .kind = kind, .subject = subject, .original = subject, .name = o->name,
                       .caseless = o->caseless, .no_named = !o->allow_named, .single_item = o->single_item};
  r.text = o->caseless ? folded(x->a, subject) : subject;
  r.specials = kind == LIST_DOMAIN;
  r.no_captures = kind == LIST_ADDRESS && !o->want_captures;
  if (kind == LIST_ADDRESS) {
    /* The domain is always compared in lower case; only the local part's case may be kept. */
    struct str local, domain;
    if (addr_split(subject, &local, &domain))
      r.original = arena_printf(x->a, "%.*s@%s", STR_FMT(local), str_dup_lower(x->a, domain));
    if (is_tainted(subject) && !is_tainted(r.original)) r.original = arena_strdup_t(x->a, r.original, TAINTED);
    if (!o->caseless) r.text = r.original;
  }
  return match_begin(&r, list, o->no_expand, o->ret_value);
}

enum outcome match_domain(struct expand_ctx *x, const char *domain, const char *list, const char **ret_value) {
  struct match_opts o = {.caseless = true, .allow_named = true, .ret_value = ret_value};
  return match_list(x, LIST_DOMAIN, domain, list, &o);
}

enum outcome match_percent_hack(struct expand_ctx *x, const char **local, const char **domain) {
  struct match_opts o = {.caseless = true, .allow_named = true, .name = "percent_hack_domains"};
  const char *list = x->cfg->o.percent_hack_domains, *percent;
  enum outcome found = OUTCOME_OK;
  while (list && (found = match_list(x, LIST_DOMAIN, *domain, list, &o)) == OUTCOME_OK && (percent = strrchr(*local, '%')) != NULL) {
    *domain = percent + 1; /* its case is kept: a remote host sees it as it was written */
    *local = arena_strndup(x->a, *local, (size_t)(percent - *local));
  }
  return found == OUTCOME_FAIL ? OUTCOME_OK : found;
}

enum outcome match_local_part(struct expand_ctx *x, const char *local_part, const char *list, bool caseless, const char **ret_value) {
  struct match_opts o = {.caseless = caseless, .allow_named = true, .ret_value = ret_value};
  return match_list(x, LIST_LOCALPART, local_part, list, &o);
}

enum outcome match_address(struct expand_ctx *x, const char *address, const char *list, bool caseless, const char **ret_value) {
  struct match_opts o = {.caseless = caseless, .allow_named = true, .ret_value = ret_value};
  return match_list(x, LIST_ADDRESS, address, list, &o);
}

enum outcome match_string_list(struct expand_ctx *x, const char *s, const char *list, bool caseless, const char **ret_value) {
  struct match_opts o = {.caseless = caseless, .allow_named = false, .ret_value = ret_value};
  return match_list(x, LIST_LOCALPART, s, list, &o);
}

enum outcome match_pattern(struct expand_ctx *x, const char *s, const char *pattern, bool caseless, bool is_domain,
                           const char **ret_value) {
  struct list_run r = {.x = x, .kind = is_domain ? LIST_DOMAIN : LIST_LOCALPART, .subject = s, .original = s, .caseless = caseless,
                       .specials = is_domain};
  r.text = caseless ? folded(x->a, s) : s;
  enum outcome o = match_check_string(&r, pattern);
  if (r.error) x->error = r.error;
  if (o == OUTCOME_OK && ret_value) *ret_value = r.value;
  return o;
}

/* ---- hosts ---- */

static enum outcome host_list(struct expand_ctx *x, struct match_host *h, const char *list, bool no_expand, const char *name,
                              const char **ret_value) {
  struct match_host copy = *h;
  if (h->address && strncmpic(h->address, "::ffff:", 7) == 0) copy.address = h->address + 7;
  struct list_run r = {.x = x, .kind = LIST_HOST, .subject = "host", .host = &copy, .name = name, .caseless = true};
  enum outcome o = match_begin(&r, list, no_expand, ret_value);
  h->name = copy.name;
  h->aliases = copy.aliases;
  return o;
}

enum outcome match_host(struct expand_ctx *x, struct match_host *h, const char *list, const char **ret_value) {
  return host_list(x, h, list, false, NULL, ret_value);
}

static enum outcome sender_name_lookup(void *ctx, struct match_host *h) {
  struct expand_ctx *x = ctx;
  struct origin *from = &x->conn->from;
  if (!from->host_name && match_hooks_get()->sender_name) {
    enum outcome o = match_hooks_get()->sender_name(x);
    if (o != OUTCOME_OK) return o;
  }
  h->name = from->host_name;
  h->aliases = &from->host_aliases;
  return h->name ? OUTCOME_OK : OUTCOME_FAIL;
}

enum outcome match_sender_host(struct expand_ctx *x, const char *option_name, const char *list) {
  struct match_host h = {0};
  if (x->conn) {
    h = (struct match_host){.address = x->conn->from.host_address, .name = x->conn->from.host_name, .aliases = &x->conn->from.host_aliases,
                            .name_lookup = sender_name_lookup, .ctx = x};
  }
  return host_list(x, &h, list, false, option_name, &x->match.host_data);
}

enum outcome match_this_host(struct expand_ctx *x, const char *option_name, const char *list, const char *name, const char *address) {
  struct match_host h = {.address = address, .name = name && *name ? name : NULL};
  return host_list(x, &h, list, false, option_name, NULL);
}

enum outcome match_ip(struct expand_ctx *x, const char *address, const char *list) {
  struct match_host h = {.address = *address ? address : NULL, .ip_only = true};
  const char *value = NULL;
  enum outcome o = host_list(x, &h, list, true, NULL, &value);
  if (o == OUTCOME_OK) x->s.value = value;
  return o;
}
