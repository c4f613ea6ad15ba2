/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The grammar of Exim filter files.  Floor: drivers (pure; the text is a user's and hostile).  Manual: filter document ch. 3.
 *
 * Words are separated by white space; in conditions brackets stand for themselves.  Everything unknown or incomplete ends the parse with a text
 * that names the line where reading stood, which is behind the white space that follows a word.  Recursion (nested if, brackets) is bounded. */
#include "filters/filter_priv.h"

#include <string.h>

struct reader {
  struct arena *a;
  const char *p, *end;
  int line;
  int depth;
  int terms; /* of the condition that is read, all brackets together */
  const struct filter_rights *rights;
  const char *error;
};

static bool fail(struct reader *r, const char *fmt, ...) PRINTF(2, 3);
static bool fail(struct reader *r, const char *fmt, ...) {
  if (r->error) return false;
  va_list ap;
  va_start(ap, fmt);
  r->error = arena_vprintf(r->a, fmt, ap);
  va_end(ap);
  return false;
}

/* ---- words ---- */

static void skip_white(struct reader *r) {
  for (; r->p < r->end; r->p++) {
    if (*r->p == '#') {
      while (r->p < r->end && *r->p != '\n') r->p++;
      if (r->p == r->end) return;
    } else if (!ch_isspace(*r->p)) {
      return;
    }
    if (*r->p == '\n') r->line++;
  }
}

static unsigned hex_or_octal(struct reader *r) {
  unsigned v = 0;
  int digits = 0;
  bool is_hex = *r->p == 'x';
  if (is_hex) r->p++;
  for (; r->p < r->end && digits < (is_hex ? 2 : 3); r->p++, digits++) {
    char c = *r->p;
    unsigned d = ch_isdigit(c) ? (unsigned)(c - '0') : is_hex && ch_isxdigit(c) ? (unsigned)(ch_lower(c) - 'a' + 10) : 99;
    if (d >= (is_hex ? 16 : 8)) break;
    v = v * (is_hex ? 16 : 8) + d;
  }
  return v & 255;
}

/* p stands behind a backslash inside quotes. */
static void add_escaped(struct reader *r, struct strbuf *b) {
  char c = *r->p;
  if (ch_isdigit(c) || c == 'x') {
    strbuf_addc(b, (char)hex_or_octal(r));
    return;
  }
  r->p++;
  if (c == '\n') { /* the line goes on */
    r->line++;
    while (r->p < r->end && ch_isblank(*r->p)) r->p++;
    return;
  }
  strbuf_addc(b, c == 'n' ? '\n' : c == 'r' ? '\r' : c == 't' ? '\t' : c);
}

static bool too_long(struct reader *r, const struct strbuf *b) {
  return b->n >= FILTER_STRING_MAX && !fail(r, "string is too long in line %d of filter file", r->line);
}

static const char *read_quoted(struct reader *r) {
  struct strbuf b = strbuf_new_t(r->a, is_tainted(r->p) ? TAINTED : UNTAINTED, 32);
  for (r->p++; r->p < r->end && *r->p != '"' && *r->p != '\n';) {
    if (too_long(r, &b)) return NULL;
    if (*r->p != '\\' || r->p + 1 == r->end) {
      strbuf_addc(&b, *r->p++);
      continue;
    }
    r->p++;
    add_escaped(r, &b);
  }
  if (r->p == r->end || *r->p != '"') {
    (void)fail(r, "quote missing at end of string in line %d", r->line);
    return NULL;
  }
  r->p++;
  skip_white(r);
  return b.p;
}

/* The next word as it stands, quotes included, "" at the end.  in_condition: brackets are words.  NULL: error. */
static const char *read_bare(struct reader *r, bool in_condition) {
  skip_white(r);
  const char *from = r->p;
  if (in_condition && r->p < r->end && (*r->p == '(' || *r->p == ')')) r->p++;
  else
    while (r->p < r->end && !ch_isspace(*r->p) && !(in_condition && (*r->p == '(' || *r->p == ')'))) r->p++;
  if (r->p - from >= FILTER_STRING_MAX) {
    (void)fail(r, "string is too long in line %d of filter file", r->line);
    return NULL;
  }
  const char *word = arena_strndup(r->a, from, (size_t)(r->p - from));
  skip_white(r);
  return word;
}

/* The next word, which may be quoted. */
static const char *read_word(struct reader *r, bool in_condition) {
  skip_white(r);
  return r->p < r->end && *r->p == '"' ? read_quoted(r) : read_bare(r, in_condition);
}

/* A keyword that need not be there: true and consumed when it is. */
static bool take_keyword_in(struct reader *r, const char *keyword, bool any_case) {
  size_t n = strlen(keyword);
  if ((size_t)(r->end - r->p) < n || (any_case ? strncmpic(r->p, keyword, n) : memcmp(r->p, keyword, n)) != 0 ||
      (r->p + n < r->end && !ch_isspace(r->p[n]))) return false;
  r->p += n;
  skip_white(r);
  return true;
}

static bool take_keyword(struct reader *r, const char *keyword) { return take_keyword_in(r, keyword, false); }

/* ---- conditions ---- */

static struct filter_cond *read_condition(struct reader *r, bool is_inner);

static const struct {
  const char *word, *short_word;
  enum filter_test test;
} binary_tests[] = {
  {"above", "above", TEST_ABOVE}, {"begins", "begin", TEST_BEGINS}, {"below", "below", TEST_BELOW}, {"contains", "contain", TEST_CONTAINS},
  {"ends", "end", TEST_ENDS},     {"is", "is", TEST_IS},            {"matches", "match", TEST_MATCHES},
};
static const struct {
  const char *word;
  enum filter_test test;
} plain_tests[] = {
  {"delivered", TEST_DELIVERED}, {"error_message", TEST_ERROR_MESSAGE}, {"first_delivery", TEST_FIRST_DELIVERY},
  {"manually_thawed", TEST_MANUALLY_THAWED}, {"personal", TEST_PERSONAL}, {"foranyaddress", TEST_FORANYADDRESS},
};

static bool find_binary(const char *word, enum filter_test *ret_test, bool *ret_caseful) {
  for (size_t i = 0; i < ARRAY_SIZE(binary_tests); i++) {
    bool exact = strcmp(word, binary_tests[i].word) == 0 || strcmp(word, binary_tests[i].short_word) == 0;
    if (!exact && strcmpic(word, binary_tests[i].word) != 0 && strcmpic(word, binary_tests[i].short_word) != 0) continue;
    for (const char *p = word; !exact && *p; p++)
      if (ch_lower(*p) == *p) return false; /* mixed case is neither */
    *ret_test = binary_tests[i].test;
    *ret_caseful = !exact;
    return true;
  }
  return false;
}

/* LEFT [is|does [not]] TEST RIGHT; left was read.  These words stand without quotes, the first two in any case; an "is" that is itself the test
 * heeds case when it begins with a capital letter. */
static bool read_binary(struct reader *r, struct filter_cond *c, const char *left) {
  c->left = left;
  const char *word = read_bare(r, true);
  if (!word) return false;
  bool is_is = strcmpic(word, "is") == 0, is_found = false;
  if (is_is || strcmpic(word, "does") == 0) {
    c->negated = take_keyword_in(r, "not", true);
    const char *at = r->p;
    int line = r->line;
    const char *next = read_bare(r, true);
    if (!next) return false;
    is_found = find_binary(next, &c->test, &c->caseful);
    if (!is_is) word = next;
    if (is_is && !is_found) { /* it was itself the test, and this is what it compares with */
      r->p = at;
      r->line = line;
      c->test = TEST_IS;
      c->caseful = ch_isupper(*word);
      is_found = true;
    }
  } else {
    is_found = find_binary(word, &c->test, &c->caseful);
  }
  if (!is_found) return fail(r, "unrecognized condition word \"%s\" near line %d of filter file", word, r->line);
  c->right = read_word(r, true);
  return c->right != NULL;
}

static bool read_foranyaddress(struct reader *r, struct filter_cond *c) {
  c->left = read_word(r, true);
  if (!c->left) return false;
  const char *bracket = read_word(r, true);
  if (!bracket) return false;
  if (strcmp(bracket, "(") != 0) return fail(r, "\"(\" expected after \"foranyaddress\" near line %d of filter file", r->line);
  c->a = read_condition(r, true);
  return c->a != NULL;
}

static bool read_plain(struct reader *r, struct filter_cond *c) {
  if (c->test == TEST_FORANYADDRESS) return read_foranyaddress(r, c);
  while (c->test == TEST_PERSONAL && take_keyword(r, "alias")) {
    const char *alias = read_word(r, true);
    if (!alias) return false;
    vec_push(&c->aliases, (void *)(uintptr_t)alias);
  }
  return true;
}

static struct filter_cond *read_term(struct reader *r) {
  bool negated = false;
  const char *word;
  if (++r->terms > FILTER_TERMS_MAX) {
    (void)fail(r, "condition has too many parts near line %d of filter file", r->line);
    return NULL;
  }
  bool quoted;
  while (skip_white(r), quoted = r->p < r->end && *r->p == '"', (word = read_word(r, true)) && strcmp(word, "not") == 0) negated = !negated;
  if (!word) return NULL;
  struct filter_cond *c;
  if (strcmp(word, "(") == 0) {
    c = read_condition(r, true);
    if (c && negated) c->negated = !c->negated;
    return c;
  }
  if (!*word && !quoted) {
    (void)fail(r, "\"then\" missing at end of filter file");
    return NULL;
  }
  if (strcmp(word, ")") == 0 || strcmp(word, "then") == 0 || strcmp(word, "and") == 0 || strcmp(word, "or") == 0) {
    (void)fail(r, "unexpected \"%s\" near line %d of filter file", word, r->line);
    return NULL;
  }
  c = ARENA_NEW(r->a, struct filter_cond);
  c->aliases = vec_new(r->a);
  bool ok = true, is_plain = false;
  for (size_t i = 0; i < ARRAY_SIZE(plain_tests) && !is_plain; i++)
    if (strcmp(word, plain_tests[i].word) == 0) {
      c->test = plain_tests[i].test;
      is_plain = true;
      ok = read_plain(r, c);
    }
  if (!is_plain) ok = read_binary(r, c, word);
  if (!ok) return NULL;
  if (negated) c->negated = !c->negated;
  return c;
}

static struct filter_cond *join(struct reader *r, enum filter_test test, struct filter_cond *a, struct filter_cond *b) {
  struct filter_cond *c = ARENA_NEW(r->a, struct filter_cond);
  *c = (struct filter_cond){.test = test, .a = a, .b = b};
  return c;
}

/* What ends a term: "and" goes on with the same product, "or" with another, ")" or "then" end the whole. */
enum joint { JOINT_AND, JOINT_OR, JOINT_END, JOINT_ERROR };
static enum joint read_joint(struct reader *r, bool is_inner) {
  const char *word = read_word(r, true);
  if (!word) return JOINT_ERROR;
  if (strcmp(word, "and") == 0) return JOINT_AND;
  if (strcmp(word, "or") == 0) return JOINT_OR;
  if (strcmp(word, is_inner ? ")" : "then") == 0) return JOINT_END;
  if (is_inner && strcmp(word, "then") == 0) (void)fail(r, "missing \")\" at end of condition near line %d of filter file", r->line);
  else if (strcmp(word, ")") == 0) (void)fail(r, "unexpected \")\" in line %d of filter file", r->line);
  else (void)fail(r, "\"and\" or \"or\" or \"%s\" expected near line %d of filter file, but found \"%s\"", is_inner ? ")" : "then", r->line, word);
  return JOINT_ERROR;
}

static struct filter_cond *read_condition(struct reader *r, bool is_inner) {
  if (r->depth >= FILTER_NESTING_MAX) {
    (void)fail(r, "conditions are nested too deeply near line %d of filter file", r->line);
    return NULL;
  }
  r->depth++;
  struct filter_cond *sum = NULL, *product = NULL;
  enum joint j = JOINT_AND;
  while (j == JOINT_AND || j == JOINT_OR) {
    struct filter_cond *term = read_term(r);
    if (!term) return NULL;
    if (j == JOINT_OR) {
      sum = sum ? join(r, TEST_OR, sum, product) : product;
      product = NULL;
    }
    product = product ? join(r, TEST_AND, product, term) : term;
    j = read_joint(r, is_inner);
  }
  r->depth--;
  if (j == JOINT_ERROR) return NULL;
  return sum ? join(r, TEST_OR, sum, product) : product;
}

/* ---- commands ---- */

const char *const filter_verb_names[FILTER_VERBS] = {
  "add", "defer", "deliver", "elif", "else", "endif", "fail", "finish", "freeze", "headers", "if", "logfile", "logwrite", "mail", "pipe",
  "save", "testprint", "vacation",
};
const char *const filter_mail_names[MAIL_ARGS] = {
  "to", "cc", "bcc", "from", "reply_to", "subject", "extra_headers", "text", "file", "log", "once", "once_repeat",
};

/* May "seen", "unseen", "noerror" stand before it? */
static bool takes_seen(enum filter_verb v) { return v != FILTER_ADD && v != FILTER_HEADERS && v != FILTER_IF; }

static const char *argument(struct reader *r, enum filter_verb v) {
  const char *s = read_word(r, false);
  if (s && *s) return s;
  if (s) (void)fail(r, "\"%s\" requires an argument near line %d of filter file", filter_verb_names[v], r->line);
  return NULL;
}

static bool read_mode(struct reader *r, struct filter_command *c) {
  c->mode = -1;
  if (r->p == r->end || !ch_isdigit(*r->p)) return true;
  const char *word = read_word(r, false);
  if (!word) return false;
  c->mode = 0; /* octal, with or without a zero; it ends at the first other character */
  for (const char *p = word; *p >= '0' && *p <= '7'; p++) c->mode = (c->mode * 8 + (*p - '0')) & 07777;
  return true;
}

static bool read_add(struct reader *r, struct filter_command *c) {
  if (!(c->arg = argument(r, c->verb))) return false;
  const char *to = read_word(r, false);
  if (!to) return false;
  if (strcmp(to, "to") != 0) return fail(r, "\"to\" expected in \"add\" command near line %d of filter file", r->line);
  return (c->arg2 = argument(r, c->verb)) != NULL;
}

static bool read_deliver(struct reader *r, struct filter_command *c) {
  if (!(c->arg = argument(r, c->verb))) return false;
  return !take_keyword(r, "errors_to") || (c->arg2 = argument(r, c->verb)) != NULL;
}

static bool read_path(struct reader *r, struct filter_command *c) { return (c->arg = argument(r, c->verb)) && read_mode(r, c); }
static bool read_text(struct reader *r, struct filter_command *c) { return (c->arg = argument(r, c->verb)) != NULL; }
static bool read_nothing(struct reader *r, struct filter_command *c) { return (void)r, (void)c, true; }

/* defer, fail, freeze [text] "..." */
static bool read_end(struct reader *r, struct filter_command *c) {
  const struct filter_rights *w = r->rights;
  bool allowed = w->is_system || (c->verb == FILTER_DEFER ? w->allow_defer : c->verb == FILTER_FAIL ? w->allow_fail : w->allow_freeze);
  if (!allowed) return fail(r, "filtering command \"%s\" is disabled: near line %d of filter file", filter_verb_names[c->verb], r->line);
  c->arg = "";
  if (take_keyword(r, "text") || (r->p < r->end && *r->p == '"')) c->arg = read_word(r, false);
  return c->arg != NULL;
}

static bool read_headers(struct reader *r, struct filter_command *c) {
  if (!(c->arg = argument(r, c->verb))) return false;
  bool is_charset = strcmp(c->arg, "charset") == 0;
  if (!is_charset && !r->rights->is_system)
    return fail(r, "header addition and removal is available only in system filters: near line %d of filter file", r->line);
  if (!is_charset && strcmp(c->arg, "add") != 0 && strcmp(c->arg, "remove") != 0)
    return fail(r, "\"add\", \"remove\", or \"charset\" expected after \"headers\" near line %d of filter file", r->line);
  return (c->arg2 = argument(r, c->verb)) != NULL;
}

static bool read_mail_arg(struct reader *r, struct filter_command *c, bool *ret_found) {
  *ret_found = true;
  if (take_keyword(r, "return")) {
    c->return_message = take_keyword(r, "message");
    if (c->return_message) return true;
    return read_word(r, false) && fail(r, "\"return\" not followed by \"message\"  near line %d of filter file", r->line);
  }
  if (take_keyword(r, "expand")) {
    if (!take_keyword(r, "file")) return fail(r, "\"expand\" not followed by \"file\"  near line %d of filter file", r->line);
    c->file_expand = true;
    return (c->mail[MAIL_FILE] = read_word(r, false)) != NULL;
  }
  for (size_t i = 0; i < MAIL_ARGS; i++) {
    if (!take_keyword(r, filter_mail_names[i])) continue;
    if (i == MAIL_FILE) c->file_expand = false;
    return (c->mail[i] = read_word(r, false)) != NULL;
  }
  *ret_found = false;
  return true;
}

static bool read_mail(struct reader *r, struct filter_command *c) {
  c->mail = ARENA_NEW_N(r->a, const char *, MAIL_ARGS);
  if (c->verb == FILTER_VACATION) {
    c->mail[MAIL_SUBJECT] = "On vacation";
    c->mail[MAIL_FILE] = ".vacation.msg";
    c->mail[MAIL_LOG] = ".vacation.log";
    c->mail[MAIL_ONCE] = ".vacation";
    c->mail[MAIL_ONCE_REPEAT] = "7d";
    c->file_expand = true;
  }
  for (bool found = true; found;)
    if (!read_mail_arg(r, c, &found)) return false;
  return true;
}

static bool read_commands(struct reader *r, struct filter_command **ret_list, enum filter_verb *ret_stop);

/* if COND then ... [elif COND then ...] [else ...] endif; "if" was read. */
static bool read_if(struct reader *r, struct filter_command *c) {
  if (r->depth >= FILTER_NESTING_MAX) return fail(r, "\"if\" commands are nested too deeply near line %d of filter file", r->line);
  enum filter_verb stop;
  for (;;) {
    r->terms = 0;
    c->cond = read_condition(r, false);
    if (!c->cond) return false;
    r->depth++;
    bool ok = read_commands(r, &c->then_part, &stop);
    r->depth--;
    if (!ok) return false;
    if (stop != FILTER_ELIF) break;
    struct filter_command *e = ARENA_NEW(r->a, struct filter_command);
    *e = (struct filter_command){.verb = FILTER_IF, .mode = -1, .is_elif = true};
    c = c->else_part = e; /* a branch beside, no level deeper */
  }
  r->depth++;
  if (stop == FILTER_ELSE && !read_commands(r, &c->else_part, &stop)) return false;
  if (stop == FILTER_VERBS) return fail(r, "\"endif\" missing at end of filter file");
  if (stop != FILTER_ENDIF) return fail(r, "\"endif\" missing near line %d of filter file", r->line);
  r->depth--;
  return true;
}

static bool (*const verb_readers[FILTER_VERBS])(struct reader *, struct filter_command *) = {
  [FILTER_ADD] = read_add,         [FILTER_DEFER] = read_end,      [FILTER_DELIVER] = read_deliver,  [FILTER_FAIL] = read_end,
  [FILTER_FINISH] = read_nothing,  [FILTER_FREEZE] = read_end,     [FILTER_HEADERS] = read_headers,  [FILTER_IF] = read_if,
  [FILTER_LOGFILE] = read_path,    [FILTER_LOGWRITE] = read_text,  [FILTER_MAIL] = read_mail,        [FILTER_PIPE] = read_text,
  [FILTER_SAVE] = read_path,       [FILTER_TESTPRINT] = read_text, [FILTER_VACATION] = read_mail,
};

/* seen, unseen, noerror; *ret_word: the verb. */
static bool read_prefixes(struct reader *r, struct filter_command *c, const char **ret_word) {
  for (;;) {
    const char *word = read_word(r, false);
    if (!word) return false;
    bool is_seen = strcmp(word, "seen") == 0, is_unseen = strcmp(word, "unseen") == 0;
    if (!is_seen && !is_unseen && strcmp(word, "noerror") != 0) {
      if (!*word && (c->is_seen_set || c->is_noerror))
        return fail(r, "\"seen\" or \"unseen\" near line %d is not followed by a command", r->line);
      *ret_word = word;
      return true;
    }
    if ((is_seen || is_unseen) && c->is_seen_set) return fail(r, "\"seen\" or \"unseen\" repeated near line %d", r->line);
    if (is_seen || is_unseen) c->is_seen_set = true;
    else c->is_noerror = true;
    c->is_seen = c->is_seen || is_seen;
  }
}

static enum filter_verb find_verb(const char *word) {
  for (size_t i = 0; i < FILTER_VERBS; i++)
    if (strcmp(word, filter_verb_names[i]) == 0) return (enum filter_verb)i;
  return FILTER_VERBS;
}

/* Commands up to elif, else, endif (*ret_stop, consumed) or the end (FILTER_VERBS). */
static bool read_commands(struct reader *r, struct filter_command **ret_list, enum filter_verb *ret_stop) {
  struct filter_command **tail = ret_list;
  for (;;) {
    struct filter_command *c = ARENA_NEW(r->a, struct filter_command);
    const char *word = "";
    c->mode = -1;
    if (!read_prefixes(r, c, &word)) return false;
    *ret_stop = FILTER_VERBS;
    if (!*word) return true;
    c->verb = find_verb(word);
    if (c->verb == FILTER_VERBS) return fail(r, "unknown filtering command \"%s\" near line %d of filter file", word, r->line);
    if ((c->is_seen_set || c->is_noerror) && !takes_seen(c->verb))
      return fail(r, "\"seen\", \"unseen\", or \"noerror\" found before an \"%s\" command near line %d", word, r->line);
    if (!verb_readers[c->verb]) {
      *ret_stop = c->verb;
      if (r->depth == 0) return fail(r, "unexpected \"%s\" command near line %d of filter file", word, r->line);
      return true;
    }
    if (!verb_readers[c->verb](r, c)) return false;
    *tail = c;
    tail = &c->next;
  }
}

struct filter_command *filter_parse(struct arena *a, struct str text, const struct filter_rights *rights, const char **ret_error) {
  struct reader r = {.a = a, .p = text.p, .end = text.p + text.n, .line = 1, .rights = rights};
  struct filter_command *list = NULL;
  enum filter_verb stop;
  *ret_error = NULL;
  if (memchr(text.p, 0, text.n)) {
    *ret_error = "the filter contains a NUL byte";
    return NULL;
  }
  bool ok = read_commands(&r, &list, &stop);
  if (!ok) *ret_error = r.error;
  return ok ? list : NULL;
}
