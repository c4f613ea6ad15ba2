/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Private to the expansion room.  Floor: policy.
 *
 * struct parse is a cursor in the text being expanded.  While skip is set nothing is evaluated and nothing is produced, but the
 * syntax and the names of items, operators, conditions and variables are checked all the same.
 * All functions that return bool return false on failure, with x->error set (and forced_fail, lookup_deferred when they apply). */
#ifndef POLICY_EXPAND_PRIV_H
#define POLICY_EXPAND_PRIV_H

#include "base/timeutil.h"
#include "policy/expand.h"

struct parse {
  struct expand_ctx *x;
  const char *s;
  bool skip;
  bool brace_in_header; /* a header name contained '}': hint for the error text */
};

/* expand.c: errors and the walk */
bool exp_fail(struct expand_ctx *x, const char *fmt, ...) PRINTF(2, 3);
bool exp_fail_forced(struct expand_ctx *x, const char *fmt, ...) PRINTF(2, 3);
/* Expand up to the end or, in_braces, up to (not past) the closing '}'. */
MUST_CHECK bool exp_walk(struct parse *ps, struct strbuf *out, bool in_braces);
/* ps->s stands on '{': expand its inside, go behind the '}'.  *ret is "" when skipping. */
MUST_CHECK bool exp_brace(struct parse *ps, const char **ret);
/* Count bytes worked on (and the step itself) against the limit of the whole expansion. */
MUST_CHECK bool exp_count_work(struct expand_ctx *x, size_t bytes);
void exp_skip_space(struct parse *ps);
/* Letters, digits, underscores and the extra character (0 none). */
struct str exp_read_name(struct parse *ps, char extra);
/* min..max arguments in braces, then '}' when want_close.  *ret_n of them. */
MUST_CHECK bool exp_args(struct parse *ps, const char *name, int min, int max, bool want_close, const char **args,
                         int *ret_n);
/* The hooks put in by the flows, NULL before. */
const struct expand_hooks *exp_hooks(void);
/* The optional {yes}{no} or {yes}fail strings and the closing '}' of item type.  With neither the result is "true" for if, else $value. */
MUST_CHECK bool exp_yes_no(struct parse *ps, struct strbuf *out, bool yes, const char *type);
/* Expand text in the given context into an arena string (a nested call). */
MUST_CHECK bool exp_nested(struct expand_ctx *x, const char *text, const char **ret);

/* $value and $0.. as they were, for items that change them. */
struct exp_saved {
  const char *captures[EXPAND_MAX_CAPTURES];
  int ncaptures;
  const char *value;
};
void exp_save(const struct expand_ctx *x, struct exp_saved *sv);
void exp_restore(struct expand_ctx *x, const struct exp_saved *sv);

/* Items: ${name...}.  parse is given for items with their own grammar; else min..max braced arguments are read and eval is called. */
struct exp_item {
  const char *name;
  int min, max;
  bool (*eval)(struct expand_ctx *x, struct strbuf *out, const char *const *args, int nargs);
  bool (*parse)(struct parse *ps, struct strbuf *out);
  const char *doc;
};
const struct exp_item *exp_item_find(struct str name);

enum { EXP_MAX_ARGS = 10 };

bool exp_item_authresults(struct expand_ctx *x, struct strbuf *out, const char *const *args, int nargs);
bool exp_item_acl(struct expand_ctx *x, struct strbuf *out, const char *const *args, int nargs);
bool exp_item_hash(struct expand_ctx *x, struct strbuf *out, const char *const *args, int nargs);
bool exp_item_hmac(struct expand_ctx *x, struct strbuf *out, const char *const *args, int nargs);
bool exp_item_length(struct expand_ctx *x, struct strbuf *out, const char *const *args, int nargs);
bool exp_item_listquote(struct expand_ctx *x, struct strbuf *out, const char *const *args, int nargs);
bool exp_item_nhash(struct expand_ctx *x, struct strbuf *out, const char *const *args, int nargs);
bool exp_item_prvs(struct expand_ctx *x, struct strbuf *out, const char *const *args, int nargs);
bool exp_item_sg(struct expand_ctx *x, struct strbuf *out, const char *const *args, int nargs);
bool exp_item_substr(struct expand_ctx *x, struct strbuf *out, const char *const *args, int nargs);
bool exp_item_tr(struct expand_ctx *x, struct strbuf *out, const char *const *args, int nargs);
bool exp_item_readfile(struct expand_ctx *x, struct strbuf *out, const char *const *args, int nargs);

bool exp_item_env(struct parse *ps, struct strbuf *out);
bool exp_item_extract(struct parse *ps, struct strbuf *out);
bool exp_item_filter(struct parse *ps, struct strbuf *out);
bool exp_item_if(struct parse *ps, struct strbuf *out);
bool exp_item_listextract(struct parse *ps, struct strbuf *out);
bool exp_item_lookup(struct parse *ps, struct strbuf *out);
bool exp_item_map(struct parse *ps, struct strbuf *out);
bool exp_item_prvscheck(struct parse *ps, struct strbuf *out);
bool exp_item_readsocket(struct parse *ps, struct strbuf *out);
bool exp_item_reduce(struct parse *ps, struct strbuf *out);
bool exp_item_run(struct parse *ps, struct strbuf *out);
bool exp_item_sort(struct parse *ps, struct strbuf *out);
/* The exchange of ${readsocket on a connected socket, inside TLS; owns fd. */
bool exp_socket_tls(struct expand_ctx *x, int fd, const char *request, const char *sni, deadline_ms deadline, size_t max_bytes,
                    struct strbuf *answer);
bool exp_item_certextract(struct parse *ps, struct strbuf *out);
bool exp_item_srs_encode(struct expand_ctx *x, struct strbuf *out, const char *const *args, int nargs);
bool exp_item_imapfolder(struct expand_ctx *x, struct strbuf *out, const char *const *args, int nargs);
bool exp_item_perl(struct expand_ctx *x, struct strbuf *out, const char *const *args, int nargs);
bool exp_item_dlfunc(struct expand_ctx *x, struct strbuf *out, const char *const *args, int nargs);
/* inbound_srs: is it an SRS local part of ours?  Its form alone sets x->srs_recipient. */
bool exp_inbound_srs(struct expand_ctx *x, const char *local_part, const char *secret);
/* Bytes of the well-formed UTF-8 sequence at s (RFC 3629), or 0; *ret_bad: how many bytes one replacement stands for. */
size_t exp_utf8_sequence(struct str s, uint32_t *ret_code, size_t *ret_bad);

/* Run the ACL args[0] with the other arguments as $acl_arg1..; the message goes to *ret_message (may stay NULL). */
enum outcome exp_call_acl(struct expand_ctx *x, const char *const *args, int nargs, const char **ret_message);

/* The sub-texts shared by items and operators of the same name. */
void exp_substr(struct strbuf *out, struct str s, int64_t start, int64_t len, bool has_len);
bool exp_hash(struct expand_ctx *x, struct strbuf *out, struct str s, int64_t n, int64_t m);
bool exp_nhash(struct expand_ctx *x, struct strbuf *out, struct str s, int64_t n, int64_t m, bool has_m);

/* Operators: ${name:text}, ${name_suffix:text}.  suffix NULL when none. */
struct exp_op {
  const char *name;
  bool (*apply)(struct expand_ctx *x, struct strbuf *out, struct str arg, const struct exp_op *op, const char *suffix);
  int kind;        /* variant, for functions that serve several names */
  const char *doc;
};
/* *ret_suffix: what follows the first underscore behind the name, or NULL. */
const struct exp_op *exp_op_find(struct expand_ctx *x, struct str name, const char **ret_suffix);

typedef bool exp_op_fn(struct expand_ctx *x, struct strbuf *out, struct str arg, const struct exp_op *op, const char *suffix);
exp_op_fn exp_op_case, exp_op_strlen, exp_op_quote, exp_op_rxquote, exp_op_hexquote, exp_op_escape, exp_op_escape8,
  exp_op_numeric, exp_op_expand, exp_op_utf8clean, exp_op_from_utf8, exp_op_xtextd, exp_op_headerwrap, exp_op_stat,
  exp_op_randint, exp_op_time_eval, exp_op_time_interval, exp_op_listcount, exp_op_listnamed, exp_op_quote_lookup;
exp_op_fn exp_op_base32, exp_op_base32d, exp_op_base62, exp_op_base62d, exp_op_base64, exp_op_base64d, exp_op_hex2b64,
  exp_op_digest, exp_op_sha2, exp_op_sha3, exp_op_rfc2047, exp_op_rfc2047d, exp_op_eval;
exp_op_fn exp_op_address, exp_op_addresses, exp_op_quote_local_part, exp_op_mask, exp_op_reverse_ip, exp_op_ipv6,
  exp_op_utf8_domain, exp_op_utf8_localpart;


/* Conditions (without the enclosing ${if).  Evaluates unless ps->skip; *ret is then not touched. */
MUST_CHECK bool exp_condition(struct parse *ps, bool *ret);
/* Compare by a two-argument condition's name ("lti", ">="); false when it is none of the ordering ones. */
bool exp_is_order_condition(struct expand_ctx *x, struct str name, bool *ret_known);
MUST_CHECK bool exp_order(struct expand_ctx *x, struct str name, const char *a, const char *b, bool *ret);
/* Integer with K, M, G; empty text is 0. */
MUST_CHECK bool exp_integer(struct expand_ctx *x, const char *s, int64_t *ret);
/* Truth of text.  strict: other words are an error. */
MUST_CHECK bool exp_truth(struct expand_ctx *x, const char *s, bool strict, bool *ret);

/* Conditions that ask another program about a password.  False: it could not be asked or its answer is unclear (x->error set). */
MUST_CHECK bool exp_ask_saslauthd(struct expand_ctx *x, const char *const *args, int nargs, bool *ret);
/* "user:password" */
MUST_CHECK bool exp_ask_pwcheck(struct expand_ctx *x, const char *user_and_password, bool *ret);
/* "user:answer:answer...", a list as Exim's lists are written; built with SUPPORT_PAM. */
MUST_CHECK bool exp_ask_pam(struct expand_ctx *x, const char *data, bool *ret);

/* Variables.  exp_var: NULL with *ret_known false for an unknown name; NULL and known: the value cannot be had (error set). */
const char *exp_var(struct expand_ctx *x, struct str name, bool *ret_known);
/* Is there such a variable? */
bool exp_var_known(struct str name);
/* Extra words for the error about an unknown name ("" or " (user-defined ACL variables ...)"). */
const char *exp_var_hint(struct str name);

/* Headers.  Kind letter and offset of the header's name for "h_x", "rheader_x" ...; 0 when the name is no header reference. */
char exp_header_kind(struct str name, size_t *ret_prefix_len);
/* ps->s stands at the first byte of the header's name; go behind its end (a colon is taken). */
struct str exp_read_header_name(struct parse *ps);
bool exp_header_present(struct expand_ctx *x, struct str name);
const char *exp_header(struct expand_ctx *x, struct str name, char kind);
const char *exp_message_headers(struct expand_ctx *x, bool raw);
const char *exp_reply_address(struct expand_ctx *x);
const char *exp_message_body(struct expand_ctx *x, bool end);
const char *exp_charset(const struct expand_ctx *x);

/* JSON text slices: the value of a member or element (1 is the first).  Return: 1 found, 0 absent, -1 no object/array at all. */
int json_member(struct str text, struct str key, struct str *ret_value);
int json_element(struct str text, int64_t number, struct str *ret_value);
/* Next element of an array whose inside is *rest; false at its end. */
bool json_next(struct str *rest, struct str *ret_value);
bool json_array_inside(struct str text, struct str *ret_inside);

/* Digests.  name: "md5" "sha1" "sha256" ...; length in bytes or 0 when unknown. */
enum { EXP_DIGEST_MAX = 64 };
size_t exp_digest(const char *name, const void *p, size_t n, uint8_t *out);
bool exp_hmac(const char *name, const char *key, const char *text, uint8_t *out, size_t *ret_n);
void exp_add_hex(struct strbuf *out, const uint8_t *p, size_t n, bool upper, enum taint t);

#endif
