/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Listing the queue: -bp and friends (queue.h).  Floor: flows.  Output is an interface: scripts parse it. */
#include <stdio.h>
#include <unistd.h>

#include "policy/config.h"
#include "queue.h"
#include "spool.h"

/* Age in minutes, hours or days in three columns: " 0m", "25h", " 4d". */
static void print_age(const struct message *m) {
  int64_t minutes = (time_sec() - m->received_time.tv_sec) / 60;
  char unit = 'm';
  if (minutes > 90) {
    unit = 'h';
    minutes = (minutes + 30) / 60;
    if (minutes > 72) {
      unit = 'd';
      minutes = (minutes + 12) / 24;
    }
  }
  printf("%2lld%c ", (long long)minutes, unit);
}

/* Size in five columns: 164, 2.9K, 12K, 1.2M. */
static void print_size(int64_t n) {
  if (n == 0)
    printf("     ");
  else if (n < 1024)
    printf("%5lld", (long long)n);
  else if (n < 10 * 1024)
    printf("%4.1fK", (double)n / 1024.0);
  else if (n < 1024 * 1024)
    printf("%4lldK", (long long)((n + 512) / 1024));
  else if (n < 10 * 1024 * 1024)
    printf("%4.1fM", (double)n / (1024.0 * 1024.0));
  else
    printf("%4lldM", (long long)((n + 512 * 1024) / (1024 * 1024)));
}

static bool is_delivered(const struct message *m, const char *address) {
  return tree_find(&m->nonrecipients, address) != NULL;
}

static bool is_recipient(const struct message *m, const char *address) {
  for (size_t i = 0; i < m->recipient_count; i++)
    if (strcmp(m->recipients[i].address, address) == 0) return true;
  return false;
}

static bool print_generated(struct tree_node *n, void *ctx) {
  if (!is_recipient(ctx, n->name)) printf("       +D %s\n", n->name);
  return true;
}

static void print_recipients(const struct message *m, enum queue_list_kind kind) {
  for (size_t i = 0; i < m->recipient_count; i++) {
    const char *address = m->recipients[i].address;
    bool done = is_delivered(m, address);
    if (!done || kind != QUEUE_LIST_UNDELIVERED) printf("        %s %s\n", done ? "D" : " ", address);
  }
  if (kind == QUEUE_LIST_PLUS_GENERATED) tree_walk(&m->nonrecipients, print_generated, (void *)(uintptr_t)m);
  printf("\n");
}

static void list_one(const struct config *cfg, const char *id, enum queue_list_kind kind) {
  struct message *m = NULL;
  if (kind == QUEUE_LIST_IDS) {
    printf("%s\n", id);
    return;
  }
  switch (spool_peek(cfg, id, &m)) {
    case SPOOL_OPENED:
      print_age(m);
      print_size(m->message_size);
      printf(" %s <%s>", id, m->sender);
      if (m->sender_set_untrusted) printf(" (%s)", m->login);
      printf("%s\n", m->frozen ? " *** frozen ***" : "");
      print_recipients(m, kind);
      message_free(m);
      return;
    case SPOOL_GONE: return; /* delivered meanwhile */
    case SPOOL_BAD: printf("         %s *** spool format error ***\n\n", id); return;
    case SPOOL_LOCKED:
    case SPOOL_IO_ERROR: printf("         %s *** spool read error ***\n\n", id); return;
  }
}

int queue_list(const struct config *cfg, enum queue_list_kind kind, bool sorted, const char *const *ids) {
  if (ids && ids[0]) {
    for (; *ids; ids++) list_one(cfg, *ids, kind);
    return 0;
  }
  struct arena *a = arena_new("queue_list");
  for (const struct spool_item *i = spool_list(a, cfg, sorted, NULL); i; i = i->next) list_one(cfg, i->id, kind);
  arena_free(a);
  return 0;
}

size_t queue_size(const struct config *cfg) {
  struct arena *a = arena_new("queue_size");
  size_t n;
  (void)spool_list(a, cfg, false, &n);
  arena_free(a);
  return n;
}

int queue_count(const struct config *cfg) {
  printf("%zu\n", queue_size(cfg));
  return 0;
}
