/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Life of a message object.  Floor: policy (objects).
 *
 * A message owns its arena and the -D descriptor; both go with message_free().  Texts given to the adders are copied and keep their
 * taint.  Limits on the number of recipients and the size of headers are the callers'. */
#include "message.h"

#include "os/sys.h"
#include "policy/dkim.h"
#include "policy/config.h"

struct message *message_new(const struct config *cfg) {
  struct arena *a = arena_new("message");
  struct message *m = ARENA_NEW(a, struct message);
  m->arena = a;
  m->cfg = cfg;
  m->data_fd = m->journal_fd = m->journal_dir_fd = -1;
  m->queue_name = cfg && cfg->queue_name ? cfg->queue_name : "";
  m->headers_tail = &m->headers;
  m->removed_headers = vec_new(a);
  m->unknown_spool_lines = vec_new(a);
  return m;
}

void message_close_files(struct message *m) {
  sys_drop(&m->data_fd);
  sys_drop(&m->journal_fd);
  sys_drop(&m->journal_dir_fd);
}

void message_free(struct message *m) {
  if (!m) return;
  message_close_files(m);
  dkim_state_free(m->dkim);
  arena_free(m->arena);
}

struct recipient *message_add_recipient(struct message *m, const char *address) {
  if (m->recipient_count == m->recipient_cap) {
    size_t cap = m->recipient_cap ? size_mul(m->recipient_cap, 2) : 8;
    struct recipient *n = ARENA_NEW_N(m->arena, struct recipient, cap);
    if (m->recipient_count) memcpy(n, m->recipients, size_mul(m->recipient_count, sizeof(*n)));
    m->recipients = n;
    m->recipient_cap = cap;
  }
  struct recipient *r = &m->recipients[m->recipient_count++];
  *r = (struct recipient){.address = arena_strdup(m->arena, address), .one_time_parent = -1};
  return r;
}

struct header_line *message_add_header(struct message *m, char type, const char *text, size_t n) {
  INVARIANT(n > 0 && text[n - 1] == '\n');
  struct header_line *h = ARENA_NEW(m->arena, struct header_line);
  h->text = arena_strndup(m->arena, text, n);
  h->n = n;
  h->type = type;
  *m->headers_tail = h;
  m->headers_tail = &h->next;
  return h;
}

struct header_line *message_find_header(const struct message *m, const char *name, struct header_line *prev) {
  struct str want = str_c(name);
  for (struct header_line *h = prev ? prev->next : m->headers; h; h = h->next) {
    struct str got, value;
    if (h->type == '*' || !header_split(str_n(h->text, h->n), &got, &value)) continue;
    if (str_eqic(got, want)) return h;
  }
  return NULL;
}
