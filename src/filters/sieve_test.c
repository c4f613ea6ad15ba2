/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The tests of Sieve scripts: their grammar.  Floor: drivers (pure; the text is hostile).  RFC 5228 ch. 5, RFC 5233, RFC 5435. */
#include "filters/sieve_priv.h"

/* :is, :comparator, :localpart: in any order, each kind once. */
struct tags {
  bool wants_part;
  bool has_match, has_comparator, has_part;
};

static bool read_match(struct sieve_reader *r, struct sieve_test *t, struct tags *tags, bool *ret_taken) {
  static const char *const names[] = {[SIEVE_IS] = ":is", [SIEVE_CONTAINS] = ":contains", [SIEVE_MATCHES] = ":matches"};
  for (unsigned i = 0; i < ARRAY_SIZE(names); i++) {
    if (!sieve_take_tag(r, names[i])) continue;
    if (tags->has_match) return sieve_wrong(r, "match type already specified");
    tags->has_match = *ret_taken = true;
    t->match = (enum sieve_match)i;
    return true;
  }
  return true;
}

static bool read_part(struct sieve_reader *r, struct sieve_test *t, struct tags *tags, bool *ret_taken) {
  static const char *const names[] = {[SIEVE_ALL] = ":all", [SIEVE_LOCALPART] = ":localpart", [SIEVE_DOMAIN] = ":domain", [SIEVE_USER] = ":user",
                                      [SIEVE_DETAIL] = ":detail"};
  for (unsigned i = 0; tags->wants_part && i < ARRAY_SIZE(names); i++) {
    if (!sieve_take_tag(r, names[i])) continue;
    if (i >= SIEVE_USER && !sieve_is_required(r, CAN_SUBADDRESS)) return false;
    if (tags->has_part) return sieve_wrong(r, "address part already specified");
    tags->has_part = *ret_taken = true;
    t->part = (enum sieve_part)i;
    return true;
  }
  return true;
}

static bool read_comparator(struct sieve_reader *r, struct sieve_test *t, struct tags *tags, bool *ret_taken) {
  static const struct {
    const char *name;
    enum sieve_comparator comparator;
  } known[] = {{"i;octet", SIEVE_OCTET}, {"i;ascii-casemap", SIEVE_CASEMAP}, {"en;ascii-casemap", SIEVE_CASEMAP}, {"i;ascii-numeric", SIEVE_NUMERIC}};
  struct str name;
  if (!sieve_take_tag(r, ":comparator")) return true;
  if (tags->has_comparator) return sieve_wrong(r, "comparator already specified");
  if (!sieve_read_string(r, &name)) return sieve_wrong(r, "missing comparator");
  tags->has_comparator = *ret_taken = true;
  for (size_t i = 0; i < ARRAY_SIZE(known); i++)
    if (str_eqic_c(name, known[i].name)) {
      t->comparator = known[i].comparator;
      t->is_unrequired = t->comparator == SIEVE_NUMERIC && !(r->capabilities & CAN_NUMERIC);
      return true;
    }
  return sieve_wrong(r, "invalid comparator");
}

static bool read_tags(struct sieve_reader *r, struct sieve_test *t, bool wants_part) {
  struct tags tags = {.wants_part = wants_part};
  bool taken = true;
  while (taken) {
    taken = false;
    if (!read_match(r, t, &tags, &taken) || !read_part(r, t, &tags, &taken) || !read_comparator(r, t, &tags, &taken)) return false;
  }
  return (t->comparator == SIEVE_NUMERIC && t->match != SIEVE_IS) ? sieve_wrong(r, "comparator does not offer specified matchtype") : !r->error;
}

static bool read_list(struct sieve_reader *r, struct sieve_strings *ret, const char *missing) {
  return sieve_read_strings(r, ret) || sieve_wrong(r, "%s", missing);
}

/* ---- names of header fields ---- */

static bool is_header_name(struct str s) {
  for (size_t i = 0; i < s.n; i++)
    if (s.p[i] <= ' ' || s.p[i] == ':' || s.p[i] == 127) return false;
  return s.n > 0;
}

static bool is_address_header(struct str s) {
  static const char *const names[] = {"from", "to", "cc", "bcc", "sender", "reply-to", "resent-from", "resent-to", "resent-cc", "resent-bcc",
                                      "resent-sender", "resent-reply-to"};
  for (size_t i = 0; i < ARRAY_SIZE(names); i++)
    if (str_eqic_c(s, names[i])) return true;
  return false;
}

static bool check_names(struct sieve_reader *r, const struct sieve_strings *names, bool (*is_good)(struct str)) {
  for (size_t i = 0; i < names->n; i++)
    if (!is_good(names->v[i])) return sieve_wrong(r, "invalid header field");
  return true;
}

/* ---- the tests ---- */

static bool read_address(struct sieve_reader *r, struct sieve_test *t) {
  return read_tags(r, t, true) && read_list(r, &t->names, "header string list expected") && read_list(r, &t->keys, "key string list expected") &&
         check_names(r, &t->names, is_address_header);
}
static bool read_header(struct sieve_reader *r, struct sieve_test *t) {
  return read_tags(r, t, false) && read_list(r, &t->names, "header string list expected") && read_list(r, &t->keys, "key string list expected") &&
         check_names(r, &t->names, is_header_name);
}
static bool read_envelope(struct sieve_reader *r, struct sieve_test *t) {
  return sieve_is_required(r, CAN_ENVELOPE) && read_tags(r, t, true) && read_list(r, &t->names, "envelope string list expected") &&
         read_list(r, &t->keys, "key string list expected");
}
static bool read_exists(struct sieve_reader *r, struct sieve_test *t) { return read_list(r, &t->names, "header string list expected"); }

static bool read_size(struct sieve_reader *r, struct sieve_test *t) {
  t->is_over = sieve_take_tag(r, ":over");
  if (!t->is_over && !sieve_take_tag(r, ":under")) return sieve_wrong(r, "missing :over or :under");
  return sieve_read_number(r, &t->size);
}

static bool read_nothing(struct sieve_reader *r, struct sieve_test *t) {
  (void)t;
  return !r->error;
}
static bool read_not(struct sieve_reader *r, struct sieve_test *t) { return sieve_read_test(r, &t->inner); }

static bool read_any(struct sieve_reader *r, struct sieve_test *t) {
  struct sieve_test **tail = &t->inner;
  if (!sieve_take_char(r, '(')) return sieve_wrong(r, "missing test list");
  do {
    if (!sieve_read_test(r, tail)) return false;
    tail = &(*tail)->next;
  } while (sieve_take_char(r, ','));
  return sieve_take_char(r, ')') || sieve_wrong(r, "missing closing paren");
}

static bool read_valid_method(struct sieve_reader *r, struct sieve_test *t) {
  return sieve_is_required(r, CAN_NOTIFY) && read_list(r, &t->names, "URI string list expected");
}
static bool read_method_capability(struct sieve_reader *r, struct sieve_test *t) {
  if (!sieve_is_required(r, CAN_NOTIFY) || !read_tags(r, t, false)) return false;
  t->names = (struct sieve_strings){.v = ARENA_NEW_N(r->a, struct str, 2), .n = 2};
  if (!sieve_read_string(r, &t->names.v[0])) return sieve_wrong(r, "missing notification URI string");
  if (!sieve_read_string(r, &t->names.v[1])) return sieve_wrong(r, "missing notification capability string");
  return read_list(r, &t->keys, "missing key string list");
}

bool sieve_read_test(struct sieve_reader *r, struct sieve_test **ret) {
  static const struct {
    const char *name;
    enum sieve_test_kind kind;
    bool (*read)(struct sieve_reader *r, struct sieve_test *t);
  } tests[] = {
    {"address", SIEVE_ADDRESS, read_address},
    {"allof", SIEVE_ALLOF, read_any},
    {"anyof", SIEVE_ANYOF, read_any},
    {"envelope", SIEVE_ENVELOPE, read_envelope},
    {"exists", SIEVE_EXISTS, read_exists},
    {"false", SIEVE_FALSE, read_nothing},
    {"header", SIEVE_HEADER, read_header},
    {"not", SIEVE_NOT, read_not},
    {"notify_method_capability", SIEVE_METHOD_CAPABILITY, read_method_capability},
    {"size", SIEVE_SIZE, read_size},
    {"true", SIEVE_TRUE, read_nothing},
    {"valid_notify_method", SIEVE_VALID_METHOD, read_valid_method},
  };
  for (size_t i = 0; i < ARRAY_SIZE(tests); i++) {
    if (!sieve_take_word(r, tests[i].name)) continue;
    if (!sieve_count_node(r) || !sieve_enter(r)) return false;
    struct sieve_test *t = ARENA_NEW(r->a, struct sieve_test);
    t->kind = tests[i].kind;
    if (!tests[i].read(r, t)) return false;
    t->line = r->line;
    r->depth--;
    *ret = t;
    return true;
  }
  return sieve_wrong(r, "missing test");
}
