/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Shared by redirect.c (lists, files) and redirect_filter.c (filters).  Floor: drivers. */
#ifndef ROUTERS_REDIRECT_PRIV_H
#define ROUTERS_REDIRECT_PRIV_H

#include "router.h"
#include "routers/redirect_list.h"

struct redirect_options {
#define OPT_ROW(name, type, def, flags) OPT_FIELD_##type(name)
#include "routers/redirect_options.def"
#undef OPT_ROW
};

/* One run of the router. */
struct redirect_run {
  struct route_ctx *rc;
  struct router *r;
  const struct redirect_options *ob;
  struct address *addr;
  bool is_file;
  struct address *generated, **tail; /* children in order */
  unsigned made, bad;
  struct strbuf mistakes;            /* for syntax_errors_to */
  bool is_finished;                  /* a filter made a significant delivery, or said that all is done */
  bool is_unlogged;                  /* a filter of somebody who has no right to the log: its addresses are rewritten without a word */
  bool keeps_children;               /* the address fails or freezes, but what its filter set up before that is delivered */
  bool is_unseen;                    /* a filter made none: the address goes on to the next router, its children are extra */
};

static inline struct arena *redirect_arena(const struct redirect_run *run) { return run->rc->x->a; }
/* Defer the address. */
enum route_result redirect_defer(struct redirect_run *run, int basic_errno, const char *message);
/* An error that skip_syntax_errors passes over: logged and counted. */
enum route_result redirect_bad(struct redirect_run *run, const char *text);
/* The domain for an item that has none: qualify_domain, qualify_preserve_domain, or what Exim qualifies recipients with. */
enum route_result redirect_qualify_domain(struct redirect_run *run, const struct redirect_item *it, const char **ret);
/* A child for an address, or for a pipe, file or reply; *ret (may be NULL): the child. */
enum route_result redirect_item_address(struct redirect_run *run, const struct redirect_item *it, struct address **ret);
enum route_result redirect_item_pseudo(struct redirect_run *run, const struct redirect_item *it, struct address **ret);
/* When the child has to wait it becomes a recipient itself, and the address it comes from is not looked at again. */
void redirect_make_one_time(struct redirect_run *run, struct address *child);
/* Obey a filter as the user it belongs to.  ROUTE_OK: go on with the children made; a filter that finished without any sets is_finished. */
enum route_result redirect_run_filter(struct redirect_run *run, struct str text, enum redirect_filter kind);
/* The same for a Sieve script. */
enum route_result redirect_run_sieve(struct redirect_run *run, struct str text);
/* Call obey(ctx) in a process of the filter's owner; what it gives in *ret, or the address defers. */
struct filter_result;
enum route_result redirect_filter_as_owner(struct redirect_run *run, struct filter_result (*obey)(void *ctx), void *ctx,
                                           struct filter_result *ret);
/* Children for the actions of a filter that has ended well. */
enum route_result redirect_filter_take(struct redirect_run *run, const struct filter_result *r);

#endif
