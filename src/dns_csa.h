/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Client SMTP authorization: the SRV records of _client._smtp.  Floor: drivers.  Manual ch. 44 "Client SMTP authorization (CSA)". */
#ifndef DNS_CSA_H
#define DNS_CSA_H

#include "dns.h"

/* verify = csa: may the client of x->conn use this domain (NULL: its HELO name, else its address)?  FAIL with *ret_log, else OK; x->csa_status says
 * more: "ok", "fail", "defer", "unknown". */
enum outcome dns_csa_verify(struct expand_ctx *x, const char *domain, const char **ret_log);

/* What is published for a domain: 'Y' authorized, 'N' not, 'X' a parent demands records and there are none, '?' unknown.  *ret_target: the host of the
 * record, whose addresses may be in *ret_answer.  DNS_NOMATCH: nothing is published. */
enum dns_status dns_csa_find(struct expand_ctx *x, const char *domain, const struct dns_query_opts *o, char *ret_code, const char **ret_target,
                             struct dns_answer *ret_answer);

#endif
