/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The options of verify = sender, recipient, header_sender: "/callout=10s,defer_ok/no_details".
 *
 * Floor: policy.  Pure, but for the arena.  The text comes from the configuration; parts of it may be expanded from foreign text.
 * Manual ch. 44 "Additional parameters for callouts", "Quota caching". */
#include "base/timeutil.h"
#include "policy/acl/acl_priv.h"

enum { CALLOUT_TIMEOUT_DEFAULT_SEC = 30, QUOTA_POSITIVE_SEC = 5 * 60, QUOTA_NEGATIVE_SEC = 60 * 60 };

enum value { VALUE_NONE, VALUE_TIME, VALUE_TEXT };

enum param { P_CONNECT, P_DEFER_OK, P_FULLPOSTMASTER, P_HOLD, P_MAILFROM, P_MAXWAIT, P_NO_CACHE, P_POSTMASTER, P_POSTMASTER_MAILFROM,
             P_RANDOM, P_USE_POSTMASTER, P_USE_SENDER, P_USE_TPTSENDER };

static const struct {
  const char *name;
  enum param param;
  enum value value;
} params[] = {
  {"connect", P_CONNECT, VALUE_TIME},
  {"defer_ok", P_DEFER_OK, VALUE_NONE},
  {"fullpostmaster", P_FULLPOSTMASTER, VALUE_NONE},
  {"hold", P_HOLD, VALUE_NONE},
  {"mailfrom", P_MAILFROM, VALUE_TEXT},
  {"maxwait", P_MAXWAIT, VALUE_TIME},
  {"no_cache", P_NO_CACHE, VALUE_NONE},
  {"postmaster", P_POSTMASTER, VALUE_NONE},
  {"postmaster_mailfrom", P_POSTMASTER_MAILFROM, VALUE_TEXT},
  {"random", P_RANDOM, VALUE_NONE},
  {"use_postmaster", P_USE_POSTMASTER, VALUE_NONE},
  {"use_sender", P_USE_SENDER, VALUE_NONE},
  {"use_tptsender", P_USE_TPTSENDER, VALUE_NONE},
};

struct parse {
  struct arena *a;
  const char *whole;
  struct verify_opts *o;
};

static const char *bad_time(const struct parse *p) {
  return arena_printf(p->a, "bad time value in ACL condition \"verify %s\"", p->whole);
}

static void set_param(struct parse *p, enum param which, struct str text, int64_t sec) {
  struct verify_opts *o = p->o;
  switch (which) {
    case P_CONNECT: o->connect_sec = sec; break;
    case P_DEFER_OK: o->callout_defer_ok = true; break;
    case P_FULLPOSTMASTER:
      o->full_postmaster = true;
      if (!o->postmaster_mailfrom) o->postmaster_mailfrom = "";
      break;
    case P_HOLD: o->hold = true; break;
    case P_MAILFROM: o->mailfrom = str_dup(p->a, text); break;
    case P_MAXWAIT: o->maxwait_sec = sec; break;
    case P_NO_CACHE: o->no_cache = true; break;
    case P_POSTMASTER: o->postmaster_mailfrom = ""; break;
    case P_POSTMASTER_MAILFROM: o->postmaster_mailfrom = str_dup(p->a, text); break;
    case P_RANDOM: o->random = true; break;
    case P_USE_POSTMASTER: o->use_postmaster = true; break;
    case P_USE_SENDER: o->use_sender = true; break;
    case P_USE_TPTSENDER: o->use_sender = o->use_tptsender = true; break;
  }
}

static const char *parse_param(struct parse *p, struct str w) {
  struct str value = w, name = str_trim(str_cut(&value, '='));
  bool has_value = name.n < w.n && memchr(w.p, '=', w.n);
  value = str_trim(value);
  for (size_t i = 0; i < ARRAY_SIZE(params); i++) {
    if (!str_eqic_c(name, params[i].name)) continue;
    int64_t sec = 0;
    if (params[i].value == VALUE_NONE && has_value) break;
    if (params[i].param == P_MAILFROM && p->o->what != VERIFY_OF_HEADER)
      return arena_printf(p->a, "\"mailfrom\" is allowed as a callout option only for verify=header_sender (detected in ACL "
                          "condition \"%s\")", p->whole);
    if (params[i].value != VALUE_NONE && !has_value)
      return arena_printf(p->a, "'=' expected after \"%s\" in ACL verify condition \"%s\"", params[i].name, p->whole);
    if (params[i].value == VALUE_TIME && !time_parse_interval(value, false, &sec)) return bad_time(p);
    set_param(p, params[i].param, value, sec);
    return NULL;
  }
  return time_parse_interval(w, false, &p->o->timeout_sec) ? NULL : bad_time(p); /* what is no word is the timeout */
}

static const char *parse_callout(struct parse *p, struct str rest) {
  p->o->callout = true;
  rest = str_ltrim(rest);
  if (rest.n == 0) return NULL;
  if (rest.p[0] != '=') return arena_printf(p->a, "'=' expected after \"callout\" in ACL condition \"%s\"", p->whole);
  rest = str_n(rest.p + 1, rest.n - 1);
  while (rest.n > 0) {
    struct str w = str_trim(str_cut(&rest, ','));
    const char *error = w.n ? parse_param(p, w) : NULL;
    if (error) return error;
  }
  return NULL;
}

/* "quota", "quota=cachepos=1h,cacheneg=1d", "quota=no_cache": manual ch. 44 "Quota caching". */
static const char *parse_quota(struct parse *p, struct str rest) {
  struct verify_opts *o = p->o;
  if (o->what != VERIFY_OF_RECIPIENT) return arena_printf(p->a, "quota can be verified of a recipient only (ACL condition \"verify %s\")", p->whole);
  o->quota = true;
  rest = str_ltrim(rest);
  if (rest.n > 0 && rest.p[0] != '=') return arena_printf(p->a, "'=' expected after \"quota\" in ACL condition \"verify %s\"", p->whole);
  rest = str_n(rest.p + (rest.n > 0), rest.n - (rest.n > 0));
  while (rest.n > 0) {
    struct str value = str_trim(str_cut(&rest, ',')), name = str_trim(str_cut(&value, '='));
    bool is_positive = str_eqic(name, STR("cachepos"));
    if (str_eqic(name, STR("no_cache"))) o->quota_pos_sec = o->quota_neg_sec = 0;
    else if (!is_positive && !str_eqic(name, STR("cacheneg")))
      return arena_printf(p->a, "unknown quota option \"%s\" in ACL condition \"verify %s\"", str_dup(p->a, name), p->whole);
    else if (!time_parse_interval(str_trim(value), false, is_positive ? &o->quota_pos_sec : &o->quota_neg_sec)) return bad_time(p);
  }
  return NULL;
}

static const char *parse_option(struct parse *p, struct str w) {
  struct verify_opts *o = p->o;
  if (str_eqic_c(w, "defer_ok")) o->defer_ok = true;
  else if (str_eqic_c(w, "no_details")) o->no_details = true;
  else if (str_eqic_c(w, "success_on_redirect")) o->success_on_redirect = true;
  else if (str_eqic_c(w, "callout_defer_ok")) o->callout = o->callout_defer_ok = true; /* the old form, like the next */
  else if (str_eqic_c(w, "check_postmaster")) o->callout = true, o->postmaster_mailfrom = "";
  else if (str_startsic(w, STR("callout"))) return parse_callout(p, str_n(w.p + 7, w.n - 7));
  else if (str_startsic(w, STR("quota"))) return parse_quota(p, str_n(w.p + 5, w.n - 5));
  else return arena_printf(p->a, "unknown option \"%s\" in ACL condition \"verify %s\"", str_dup(p->a, w), p->whole);
  return NULL;
}

const char *acl_parse_verify_opts(struct arena *a, const char *whole, struct str options, struct verify_opts *ret) {
  struct parse p = {a, whole, ret};
  ret->timeout_sec = CALLOUT_TIMEOUT_DEFAULT_SEC;
  ret->connect_sec = ret->maxwait_sec = -1;
  ret->quota_pos_sec = QUOTA_POSITIVE_SEC;
  ret->quota_neg_sec = QUOTA_NEGATIVE_SEC;
  while (options.n > 0) {
    struct str w = str_trim(str_cut(&options, '/'));
    const char *error = w.n ? parse_option(&p, w) : NULL;
    if (error) return error;
  }
  if (ret->what != VERIFY_OF_RECIPIENT && (ret->use_sender || ret->use_postmaster))
    return "use_sender or use_postmaster cannot be used for a sender verify callout";
  if (ret->connect_sec < 0) ret->connect_sec = ret->timeout_sec;
  if (ret->maxwait_sec < 0) ret->maxwait_sec = 4 * ret->timeout_sec;
  return NULL;
}
