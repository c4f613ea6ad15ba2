/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Lists: splitting, and matching domains, hosts, addresses, local parts, strings.  Floor: policy.  Manual ch. 10.
 *
 * A list is text with a separator (":" or "<x" at its start; doubled separators are literal; items trimmed).  Matching returns OUTCOME_OK (in the list),
 * OUTCOME_FAIL, OUTCOME_DEFER (a lookup could not tell), OUTCOME_ERROR.  The list text is expanded first by the caller-chosen context; a forced failure of that expansion counts
 * as "not in the list".  Data of a successful lookup goes to *ret_value. Captures of a regex go to x->s.captures. */
#ifndef POLICY_MATCH_H
#define POLICY_MATCH_H

#include "policy/expand.h"

/* Iterate over items: *pos starts as the list text, *sep as 0 (looks for "<x", default ':') or -c for "default c"; the item (trimmed, undoubled) is arena
 * text; NULL at the end. */
const char *list_next(struct arena *a, const char **pos, int *sep);
/* Join with sep, doubling it inside the item (as ${listquote}). */
void list_append(struct strbuf *b, char sep, const char *item);

struct match_opts {
  bool caseless;       /* fold subject and patterns (domains always) */
  bool no_expand;      /* the list was expanded already */
  bool allow_named;    /* +name */
  bool single_item;    /* the text is one item, whatever separators it holds */
  const char **ret_value; /* lookup data or NULL */
  bool want_captures;  /* address lists: set $1 ... from asterisks and partial lookups (rewriting) */
  const char *name;    /* option name, for narration; NULL: the list text is shown */
};

/* The general form behind the functions below, which expand the list text (a tainted list text is never expanded: it cannot be
 * configuration text).  Text that was expanded already must come here with no_expand.  kind LIST_HOST is not for here. */
enum outcome match_list(struct expand_ctx *x, enum list_kind kind, const char *subject, const char *list,
                        const struct match_opts *o);

/* Is domain in the domain list?  list NULL or empty: FAIL. */
enum outcome match_domain(struct expand_ctx *x, const char *domain, const char *list, const char **ret_value);
/* The percent hack (manual 14.23): while the domain is in percent_hack_domains, "a%b@domain" stands for a@b.  OK: *local and *domain are what the
 * address means now, the same pointers when it means what it says.  The names are the option's, also in narration. */
enum outcome match_percent_hack(struct expand_ctx *x, const char **local, const char **domain);
enum outcome match_local_part(struct expand_ctx *x, const char *local_part, const char *list, bool caseless, const char **ret_value);
/* Address list; "" is the empty sender.  caseless: local parts too. */
enum outcome match_address(struct expand_ctx *x, const char *address, const char *list, bool caseless, const char **ret_value);
/* Plain string list (used for commands, headers, names). */
enum outcome match_string_list(struct expand_ctx *x, const char *s, const char *list, bool caseless, const char **ret_value);
/* One pattern against one string with Exim's pattern forms (exact, *suffix, ^regex, lookup;): for retry, rewrite. */
enum outcome match_pattern(struct expand_ctx *x, const char *s, const char *pattern, bool caseless, bool is_domain, const char **ret_value);

/* What lists need from the drivers' floor; put in at start-up by host_init().  Without them names of hosts are unknown. */
struct match_hooks {
  /* Name of x->conn's peer, filled into conn->from.  OK, FAIL none, DEFER. */
  enum outcome (*sender_name)(struct expand_ctx *x);
  /* Addresses of a host name: const char * pushed to ret. */
  enum outcome (*host_addresses)(struct expand_ctx *x, const char *name, struct vec *ret);
  /* Has the domain an MX pointing here?  which: 'a' any, 'p' primary, 's' secondary.  ignore: host list or NULL. */
  enum outcome (*mx)(struct expand_ctx *x, const char *domain, char which, const char *ignore);
};
void match_set_hooks(const struct match_hooks *h);
/* Forget the cached results of named lists (end of a message; lookup_tidy() does it too). */
void match_cache_clear(void);
/* A new address is looked at: for the narration, results found for the one before are not mentioned again. */
void match_cache_new_subject(void);

/* Host being matched.  name_lookup: called when an item needs the host's name (may be NULL: then unknown). */
struct match_host {
  const char *address;      /* NULL: local caller, matched only by an empty item */
  const char *name;         /* known name or NULL */
  const struct vec *aliases;
  enum outcome (*name_lookup)(void *ctx, struct match_host *h); /* fills name */
  void *ctx;
  bool ip_only;            /* match_ip: the key of a lookup is the address, with "net-" in front or without */
};
enum outcome match_host(struct expand_ctx *x, struct match_host *h, const char *list, const char **ret_value);
/* The sender host of x->conn (cached name lookup). option_name is for debug and -bh narration. */
enum outcome match_sender_host(struct expand_ctx *x, const char *option_name, const char *list);
/* Simple test of name+ip against a host list (smtp transport's hosts_* options). */
enum outcome match_this_host(struct expand_ctx *x, const char *option_name, const char *list, const char *name, const char *address);
/* IP address against "ip[/len]" or named forms in a list: match_ip condition, local_interfaces. */
enum outcome match_ip(struct expand_ctx *x, const char *address, const char *list);

/* PCRE2 with JIT, match limits and a per-process cache of compiled patterns keyed by text.  Result captures (arena) when ret given. */
enum outcome regex_match(struct expand_ctx *x, const char *pattern, bool caseless, struct str subject, bool set_captures);
/* The same from an offset of the subject on, for global substitution.  REGEX_NONEMPTY_HERE: only a match that begins at start and is not
 * empty.  ret_span (may be NULL): offsets of the matched text. */
enum { REGEX_CASELESS = 1, REGEX_NONEMPTY_HERE = 2, REGEX_SET_CAPTURES = 4 };
enum outcome regex_match_from(struct expand_ctx *x, const char *pattern, unsigned flags, struct str subject, size_t start, size_t ret_span[2]);
/* Is a host "local" in the sense of @ / self= ? */
bool match_is_local_ip(struct expand_ctx *x, const char *ip);
/* Look at the interfaces again when it matters the next time. */
void match_forget_interfaces(void);

#endif
