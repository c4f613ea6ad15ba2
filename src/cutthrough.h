/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Cutthrough delivery: the message goes on to the next host before its own client is answered.  Floor: flows.
 * Manual ch. 44 "control = cutthrough_delivery", callout=hold.
 *
 * The connection (conn->held) belongs to one transaction.  The content is sent when all of it is here and the ACLs have taken it, from the spool file that
 * is not committed: so a refusal by us costs the next host nothing, and until its answer the message is in nobody's charge but the client's.  Only when
 * every recipient was taken by that host is the message not queued; any doubt leads to the ordinary way. */
#ifndef CUTTHROUGH_H
#define CUTTHROUGH_H

#include "message.h"
#include "policy/acl.h"

/* The RCPT ACL has accepted this recipient.  True: go on.  False: refuse it with *ret. */
bool cutthrough_rcpt(struct acl_env *env, struct expand_ctx *x, const char *recipient, struct acl_result *ret);

/* The recipient was refused, by whomever: what it began is over. */
void cutthrough_rcpt_refused(struct expand_ctx *x);

/* The ACLs that see the header lines come next: what they change does not count when the message is sent on (manual: headers cannot be modified). */
void cutthrough_note_headers(struct expand_ctx *x);
/* They are over: take it back, and say so, when cutthrough_send() is going to send the message. */
void cutthrough_settle_headers(struct expand_ctx *x);

enum cutthrough_end { CUTTHROUGH_NOT_DONE /* queue it */, CUTTHROUGH_DELIVERED, CUTTHROUGH_REFUSED, CUTTHROUGH_LATER };
/* The message is complete and accepted.  ident: the client, for log lines.  *ret_reply: for REFUSED and LATER, with code, lines by newlines. */
enum cutthrough_end cutthrough_send(struct expand_ctx *x, const char *ident, const char **ret_reply);
/* Forget the connection: QUIT.  given_away: another process speaks on it now. */
void cutthrough_cancel(struct conn *c);
void cutthrough_given_away(struct conn *c);

#endif
