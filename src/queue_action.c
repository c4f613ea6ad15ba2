/* SPDX-License-Identifier: GPL-2.0-or-later */
/* -M actions on one message (queue.h).  Floor: flows.  Manual ch. 5.  Output and log lines are interfaces. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include "deliver.h"
#include "message_body.h"
#include "os/log.h"
#include "os/sys.h"
#include "policy/config.h"
#include "address.h"
#include "policy/event.h"
#include "queue.h"
#include "spool.h"

static void report_unopened(const char *id, enum spool_open_result r) {
  switch (r) {
    case SPOOL_GONE:
      printf("Spool data file for %s does not exist\n", id);
      log_write(LS_ALWAYS, LOG_MAIN, "%s Spool file %s-D not found", id, id);
      break;
    case SPOOL_LOCKED: printf("Message %s is locked\n", id); break;
    case SPOOL_BAD: printf("Spool format error for %s-H\n", id); break;
    case SPOOL_IO_ERROR: printf("Spool read error for %s-H: %s\n", id, strerror(EIO)); break;
    case SPOOL_OPENED: break;
  }
}

/* ---- showing ------------------------------------------------------------------------------------------------------ */

static bool copy_file(const char *path, const char *label) {
  int fd = sys_open(path, O_RDONLY | O_NOFOLLOW, 0);
  if (fd < 0) {
    printf("Failed to open %s: %s\n", label, strerror(-fd));
    return false;
  }
  char buf[16384];
  ssize_t n;
  while ((n = sys_read(fd, buf, sizeof buf)) > 0)
    if (fwrite(buf, 1, (size_t)n, stdout) != (size_t)n) break;
  IGNORE_RESULT(sys_close(fd)); /* only read */
  return n == 0;
}

static bool show_file(const struct config *cfg, const char *id, char which) {
  struct arena *a = arena_new("show");
  const char *label = which == 'L' ? arena_printf(a, "msglog file for %s", id) : arena_printf(a, "input file for %s-%c", id, which);
  bool ok = copy_file(spool_path(a, cfg, id, which), label);
  arena_free(a);
  return ok;
}

/* -Mvc: the message in RFC 5322 form. */
static bool show_copy(const struct config *cfg, const char *id) {
  struct message *m;
  enum spool_open_result r = spool_peek(cfg, id, &m);
  if (r != SPOOL_OPENED) {
    report_unopened(id, r);
    return false;
  }
  for (const struct header_line *h = m->headers; h; h = h->next)
    if (h->type != '*') fwrite(h->text, 1, h->n, stdout);
  fputc('\n', stdout);
  char buf[16384];
  ssize_t n;
  struct body_reader body = body_reader_of(m);
  while ((n = body_read(&body, buf, sizeof buf)) > 0) fwrite(buf, 1, (size_t)n, stdout);
  message_free(m);
  return n == 0;
}

/* ---- changing ----------------------------------------------------------------------------------------------------- */

static bool save(struct message *m, const char *done_text) {
  int r = spool_rewrite(m, true);
  if (r < 0) {
    printf("Failed to write header file for %s: %s\n", m->id, strerror(-r));
    return false;
  }
  printf("Message %s %s\n", m->id, done_text);
  return true;
}

static bool freeze(struct message *m, const char *login) {
  if (m->frozen) {
    printf("Message %s is already frozen\n", m->id);
    return false;
  }
  m->frozen = true;
  m->manual_thaw = false;
  m->frozen_at = time_sec();
  if (!save(m, "is now frozen")) return false;
  log_write(LS_ALWAYS, LOG_MAIN, "frozen by %s", login);
  return true;
}

static bool thaw(struct message *m, const char *login) {
  if (!m->frozen) {
    printf("Message %s is not frozen\n", m->id);
    return false;
  }
  m->frozen = false;
  m->manual_thaw = true;
  if (!save(m, "is no longer frozen")) return false;
  log_write(LS_ALWAYS, LOG_MAIN, "unfrozen by %s", login);
  return true;
}

static void mark_one(struct message *m, const char *address, const char *login) {
  tree_insert(&m->nonrecipients, m->arena, address, NULL);
  log_write(LS_ALWAYS, LOG_MAIN, "address <%s> marked delivered by %s", address, login);
}

/* "Message ID - error while WHAT", with a reason in a line of its own. */
static bool refused(const struct message *m, const char *what, const char *reason) {
  if (reason) printf("Message %s - error while %s:\n  %s\n", m->id, what, reason);
  else printf("Message %s - error while %s: no address given\n", m->id, what);
  return false;
}

static bool mark_delivered(struct message *m, const char *const *args, size_t nargs, const char *login) {
  if (!nargs) return refused(m, "marking as delivered", NULL);
  for (size_t k = 0; k < nargs; k++) {
    size_t i = 0;
    while (i < m->recipient_count && strcmp(m->recipients[i].address, args[k]) != 0) i++;
    if (i == m->recipient_count)
      return refused(m, "marking as delivered", arena_printf(m->arena, "%s is not a recipient: message not updated", args[k]));
  }
  for (size_t k = 0; k < nargs; k++) mark_one(m, args[k], login);
  return save(m, "has been modified");
}

/* NULL, and why told, when it is no address in full. */
static const char *checked_address(struct message *m, const char *text, bool may_be_empty, const char *what) {
  const char *error = NULL;
  struct addr_opts o = {.allow_empty = may_be_empty, .allow_domain_literal = m->cfg->o.allow_domain_literals};
  size_t domain = 0;
  const char *address = rfc5322_extract_address(m->arena, str_c(text), o, &domain, &error);
  if (address && (domain || !*address)) return address;
  (void)refused(m, what, arena_printf(m->arena, "bad address %s: %s", text, address ? "domain missing" : error));
  return NULL;
}

static bool add_recipients(struct message *m, const char *const *args, size_t nargs, const char *login) {
  static const char what[] = "adding recipient";
  if (!nargs) return refused(m, what, NULL);
  for (size_t k = 0; k < nargs; k++)
    if (!checked_address(m, args[k], false, what)) return false;
  for (size_t k = 0; k < nargs; k++) {
    const char *address = checked_address(m, args[k], false, what);
    message_add_recipient(m, address);
    log_write(LS_ALWAYS, LOG_MAIN, "recipient <%s> added by %s", address, login);
  }
  return save(m, "has been modified");
}

static bool edit_sender(struct message *m, const char *const *args, size_t nargs, const char *login) {
  static const char what[] = "editing sender";
  if (!nargs) return refused(m, what, NULL);
  if (nargs > 1) {
    printf("Message %s - only one sender address can be specified\n", m->id);
    return false;
  }
  const char *address = checked_address(m, args[0], true, what);
  if (!address) return false;
  m->sender = address;
  log_write(LS_ALWAYS, LOG_MAIN, "sender address changed to <%s> by %s", address, login);
  return save(m, "has been modified");
}

/* Each recipient that was still open, then the message. */
static void raise_removed(struct message *m, const char *login) {
  struct expand_ctx x = expand_ctx_new(m->arena, m->cfg);
  const char *action = m->cfg->o.event_action, *why = arena_printf(m->arena, "message removed by %s", login);
  x.msg = m;
  for (size_t i = 0; action && i < m->recipient_count; i++) {
    if (tree_find(&m->nonrecipients, m->recipients[i].address)) continue;
    x.addr = address_new(m->arena, m->recipients[i].address);
    (void)event_raise(&x, action, "main", "msg:fail:internal", why, 0);
  }
  x.addr = NULL;
  (void)event_raise(&x, action, "main", "msg:complete", NULL, 0);
}

static bool remove_message(struct message *m, const char *login) {
  char id[MSGID_SIZE];
  memcpy(id, m->id, sizeof id);
  int r = spool_remove(m);
  if (r < 0) {
    printf("Error while removing %s: %s\n", id, strerror(-r));
    return false;
  }
  raise_removed(m, login);
  log_write(LS_ALWAYS, LOG_MAIN, "removed by %s", login);
  log_write(LS_ALWAYS, LOG_MAIN, "Completed");
  printf("Message %s has been removed\n", id);
  return true;
}

static bool change(struct message *m, enum queue_action action, const char *const *args, size_t nargs, const char *login) {
  switch (action) {
    case QUEUE_FREEZE: return freeze(m, login);
    case QUEUE_THAW: return thaw(m, login);
    case QUEUE_REMOVE: return remove_message(m, login);
    case QUEUE_MARK_DELIVERED: return mark_delivered(m, args, nargs, login);
    case QUEUE_ADD_RECIPIENT: return add_recipients(m, args, nargs, login);
    case QUEUE_EDIT_SENDER: return edit_sender(m, args, nargs, login);
    case QUEUE_MARK_ALL_DELIVERED:
      for (size_t i = 0; i < m->recipient_count; i++)
        if (!tree_find(&m->nonrecipients, m->recipients[i].address)) mark_one(m, m->recipients[i].address, login);
      return save(m, "has been modified");
    case QUEUE_GIVE_UP:
    case QUEUE_SHOW_HEADER:
    case QUEUE_SHOW_BODY:
    case QUEUE_SHOW_LOG:
    case QUEUE_MOVE:
    case QUEUE_SHOW_COPY: break;
  }
  return false;
}

/* -Mrm of something that cannot be opened: say so and clear away what is there, unless somebody works on it. */
static bool remove_rest(const struct config *cfg, const char *id) {
  struct arena *a = arena_new("remove");
  int r = 0;
  printf("Continuing, to ensure all files removed\n");
  static const char which[] = {'H', 'L', 'D', 'J'};
  for (size_t i = 0; i < sizeof which; i++) {
    int u = sys_unlink(spool_path(a, cfg, id, which[i]));
    if (u < 0 && u != -ENOENT) r = u;
  }
  arena_free(a);
  if (r < 0) printf("Error while removing %s: %s\n", id, strerror(-r));
  else printf("Message %s has been removed or did not exist\n", id);
  return r == 0;
}

bool queue_action(const struct config *cfg, const char *id, enum queue_action action, const char *const *args, size_t nargs,
                  const char *caller_login) {
  switch (action) {
    case QUEUE_SHOW_HEADER: return show_file(cfg, id, 'H');
    case QUEUE_SHOW_BODY: return show_file(cfg, id, 'D');
    case QUEUE_SHOW_LOG: return show_file(cfg, id, 'L');
    case QUEUE_SHOW_COPY: return show_copy(cfg, id);
    case QUEUE_GIVE_UP: {
      struct deliver_opts d = {.forced = true, .thaw = true, .give_up = true, .cancelled_by = caller_login};
      return deliver_message(cfg, id, &d) == DELIVER_DONE;
    }
    default: break;
  }
  struct message *m;
  enum spool_open_result r = spool_open(cfg, id, true, &m);
  if (r != SPOOL_OPENED) {
    report_unopened(id, r);
    if (action == QUEUE_REMOVE && r == SPOOL_GONE) (void)remove_rest(cfg, id);
    return false;
  }
  log_set_message_id(id);
  bool ok = change(m, action, args, nargs, caller_login);
  log_set_message_id(NULL);
  message_free(m);
  return ok;
}

bool queue_move(const struct config *cfg, const char *id, const char *to_queue) {
  struct message *m;
  enum spool_open_result r = spool_open(cfg, id, true, &m);
  if (r != SPOOL_OPENED) {
    report_unopened(id, r);
    return false;
  }
  printf("Message %s ", id);
  log_set_message_id(id);
  const char *from = cfg->queue_name ? cfg->queue_name : "";
  int rc = strcmp(from, to_queue) == 0 ? 0 : spool_move(m, config_for_queue(m->arena, cfg, to_queue));
  if (rc < 0) printf("could not be moved: %s", strerror(-rc));
  else
    log_write(LS_ALWAYS, LOG_MAIN, "moved from %s%s%sinput, msglog to %s%s%sinput, msglog", *from ? "(" : "", from, *from ? ") " : "",
              *to_queue ? "(" : "", to_queue, *to_queue ? ") " : "");
  log_set_message_id(NULL);
  message_free(m);
  return rc == 0;
}
