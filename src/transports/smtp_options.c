/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Options of the smtp transport that are more than a value: expanded numbers and booleans, dscp, the order of hosts, serialize_hosts.
 * Floor: drivers.  Manual ch. 30.
 *
 * Expansions may read what the message says, so results are checked, never trusted: a value that is no number or boolean defers the delivery with a
 * text naming the option.  serialize_hosts counts connections in the hints database "misc"; records older than six hours are left
 * over from a crash and ignored. */
#include "transports/smtp_priv.h"

#include "base/rand.h"
#include "hints/hints.h"
#include "host.h"
#include "os/debug.h"
#include "os/log.h"
#include "policy/match.h"

bool smtp_bool_option(struct expand_ctx *x, const char *name, const struct opt_bool_exp *o, bool *ret, const char **ret_error) {
  static const char *const yes[] = {"yes", "true", "1"}, *const no[] = {"", "no", "false", "0"};
  if (!o->expand) {
    *ret = o->value;
    return true;
  }
  const char *text = expand_string(x, o->expand);
  if (!text && x->forced_fail) {
    *ret = o->value;
    return true;
  }
  for (size_t i = 0; text && i < ARRAY_SIZE(yes); i++)
    if (strcmpic(text, yes[i]) == 0) return *ret = true;
  for (size_t i = 0; text && i < ARRAY_SIZE(no); i++)
    if (strcmpic(text, no[i]) == 0) return *ret = false, true;
  *ret_error = text ? arena_printf(x->a, "\"%s\" is not a valid value for the \"%s\" option", text, name)
                    : arena_printf(x->a, "failed to expand \"%s\" option: %s", name, x->error ? x->error : "");
  return false;
}

bool smtp_host_listed(const struct smtp_attempt *s, const char *option, const char *list) {
  return match_this_host(s->d->x, option, list, s->host->name, s->host->address) == OUTCOME_OK;
}

/* ---- dscp ------------------------------------------------------------------------------------------------- */

int smtp_dscp_value(struct smtp_attempt *s) {
  struct expand_ctx *x = s->d->x;
  int value;
  if (!s->ob->dscp) return -1;
  const char *text = expand_option(x, "dscp", s->ob->dscp);
  if (!text && x->forced_fail) return -1;
  if (!text) {
    log_write(LS_ALWAYS, LOG_MAIN | LOG_PANIC, "failed to expand \"dscp\" option: %s", x->error ? x->error : "");
    return -1;
  }
  if (!*text) return -1;
  value = net_dscp_value(text);
  if (value < 0) log_write(LS_ALWAYS, LOG_MAIN | LOG_PANIC, "DSCP value '%s' is not known", text);
  return value;
}

/* ---- the order of hosts ----------------------------------------------------------------------------------- */

struct host *smtp_shuffle_hosts(struct smtp_job *job, struct host *list) {
  struct host *sorted = NULL;
  if (!job->randomize || !list || list->mx >= 0 || list->is_shuffled) return list;
  for (const struct host *h = list; h; h = h->next) {
    struct host *copy = ARENA_NEW(job->d->arena, struct host), **at = &sorted;
    *copy = *h;
    copy->sort_key = (int)rand_below(HOST_SHUFFLE);
    while (*at && ((*at)->group < copy->group || ((*at)->group == copy->group && (*at)->sort_key <= copy->sort_key))) at = &(*at)->next;
    copy->next = *at;
    *at = copy;
  }
  return sorted;
}

/* ---- serialize_hosts -------------------------------------------------------------------------------------- */

enum { SERIALIZE_STALE_SEC = 6 * 3600 };

static bool count_running(struct hints_db *db, struct arena *a, const char *key, struct hints_serialize *ret) {
  struct str bytes;
  *ret = (struct hints_serialize){0};
  if (!hints_get(db, a, key, &bytes) || !hints_get_serialize(bytes, ret)) return false;
  return ret->count > 0 && time_sec() - ret->stamp < SERIALIZE_STALE_SEC;
}

bool smtp_serialize_begin(struct smtp_attempt *s) {
  if (!smtp_host_listed(s, "serialize_hosts", s->ob->serialize_hosts)) return true;
  const char *key = arena_printf(s->a, "host-serialize-%s", s->host->name);
  struct hints_db *db = hints_open(s->d->cfg->spool_directory, "misc", true);
  if (!db) return true; /* hints are advice */
  struct hints_serialize running;
  bool is_free = !count_running(db, s->a, key, &running);
  if (is_free) {
    struct hints_serialize mine = {.stamp = time_sec(), .count = 1};
    struct strbuf b = strbuf_new(s->a);
    hints_put_serialize(&b, &mine);
    (void)hints_put(db, key, strbuf_str(&b));
    s->serialize_key = key;
  }
  hints_close(db);
  DEBUG(D_TRANSPORT) debug_printf("%s: %s\n", key, is_free ? "free" : "another process is connected");
  return is_free;
}

void smtp_serialize_end(struct smtp_attempt *s) {
  if (!s->serialize_key) return;
  struct hints_db *db = hints_open(s->d->cfg->spool_directory, "misc", true);
  if (db) (void)hints_delete(db, s->serialize_key);
  hints_close(db);
  s->serialize_key = NULL;
}

/* ---- may another message use the connection? -------------------------------------------------------------- */

static bool is_per_message(const char *name) {
  static const char *const names[] = {"hosts", "fallback_hosts", "authenticated_sender", "utf8_downconvert", "max_rcpt", "port", "hosts_try_chunking",
                                      "hosts_try_prdr", "host_name_extract"};
  for (size_t i = 0; i < ARRAY_SIZE(names); i++)
    if (strcmp(name, names[i]) == 0) return true;
  return str_starts(str_c(name), STR("dkim_")) || str_starts(str_c(name), STR("arc_"));
}

const char *smtp_identity(struct delivery *d) {
  const struct opt_block *b = d->transport->ob_block;
  struct strbuf out = strbuf_new(d->arena);
  for (size_t i = 0; b && i < b->count; i++) {
    const struct option *o = &b->table[i];
    bool is_text = o->type == OPT_T_STR || o->type == OPT_T_STRLIST || o->type == OPT_T_HOSTLIST;
    const char *value = is_text ? *(const char *const *)((const char *)b->base + o->offset) : NULL;
    if (!value || !strchr(value, '$') || is_per_message(o->name)) continue;
    const char *text = expand_string(d->x, value);
    strbuf_addl(&out, o->name, "=", text ? text : "\001", "\n", NULL);
  }
  return out.p;
}
