/* SPDX-License-Identifier: GPL-2.0-or-later */
/* verify = recipient/quota: is there room in the mailbox?  Floor: flows.  Manual ch. 44 "Address verification", "Quota caching". */
#ifndef VERIFY_QUOTA_H
#define VERIFY_QUOTA_H

#include "address.h"
#include "policy/acl.h"

/* The address was routed.  OK (also when its transport knows no quota), FAIL: the mailbox is full, DEFER: nobody could say; ret is filled. */
enum outcome quota_verify(struct expand_ctx *x, struct address *addr, const struct verify_opts *o, struct verify_report *ret);
/* In a process of the queue manager: check, and write a struct queue_answer to fd. */
void quota_serve(const struct config *cfg, const char *address, int64_t size, int fd);

#endif
