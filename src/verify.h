/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Address verification through the routers, callouts, -bt/-bv output.  Floor: flows.  Manual ch. 44 "Address verification". */
#ifndef VERIFY_H
#define VERIFY_H

#include "address.h"
#include "policy/acl.h"

enum { VOPT_IS_RECIPIENT = 2, VOPT_SUCCESS_ON_REDIRECT = 4, VOPT_EXPN = 8, VOPT_QUALIFY = 16, VOPT_DEFER_OK = 32 };

/* Verify; texts (arena of x) in *ret_user (SMTP reply) and *ret_log. */
enum outcome verify_address(struct expand_ctx *x, const char *address, unsigned options, const char **ret_user, const char **ret_log);
/* The recipient of a cutthrough delivery: routed, and asked for with the message's own sender; the connection stays in x->conn->held. */
enum outcome verify_for_cutthrough(struct acl_env *env, struct expand_ctx *x, const char *recipient, struct verify_report *ret);
struct verify_seen { /* addresses shown so far by the same command: duplicates are marked */
  struct arena *arena;
  struct tree addresses;
  bool plan;               /* -bt --plan: tell what a delivery would do */
  bool no_reasons;         /* why an address fails is not for the caller: it may name secrets of lookups */
};
/* -bt / -bv: print to stdout as Exim does; OUTCOME for the exit status (0 ok, 2 fail, 1 defer). */
enum outcome verify_print(struct expand_ctx *x, const char *address, bool is_test, bool is_recipient, struct verify_seen *seen);
/* Route a recipient and ask for room in its mailbox, in a process of its own that may become its user. */
enum outcome verify_quota_alone(struct expand_ctx *x, const char *address, int64_t size, struct verify_report *ret);
/* Fill the members of an acl_env that verification provides. */
void verify_fill_acl_env(struct acl_env *env);

#endif
