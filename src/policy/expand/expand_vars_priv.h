/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Private to the files of expansion variables: the row of the table, and the getters that stand in files of their own.  Floor: policy.
 *
 * A getter gives text in the context's arena (or what the object holds), NULL for an empty value; with x->error set the variable
 * cannot be had. */
#ifndef POLICY_EXPAND_VARS_PRIV_H
#define POLICY_EXPAND_VARS_PRIV_H

#include "policy/expand/expand_priv.h"

struct var;
typedef const char *var_fn(struct expand_ctx *x, const struct var *v);

struct var {
  const char *name;
  var_fn *get;
  size_t at;         /* offset in the getter's object, or its own kind number */
  const char *text;  /* constants */
};

/* The number as text, in the context's arena. */
const char *exp_var_number(struct expand_ctx *x, int64_t n);
/* The string at an offset of an object; NULL when the object is not there. */
const char *exp_var_str_at(const void *base, size_t at);

/* expand_vars_msg.c: the message, its recipients, its queue and what was found in it. */
var_fn exp_get_dkim, exp_get_arc, exp_get_spf, exp_get_dmarc;
var_fn exp_get_headers_added, exp_get_message_age, exp_get_message_id, exp_get_received_time;
var_fn exp_get_queue_size, exp_get_recipients, exp_get_recipients_count;
var_fn exp_get_scan, exp_get_part, exp_get_mime_number, exp_get_mime_part_count;
enum { MIME_ANOMALY_LEVEL, MIME_CONTENT_SIZE, MIME_IS_COVERLETTER, MIME_IS_MULTIPART, MIME_IS_RFC822 };

#endif
