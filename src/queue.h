/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The queue: runs, the queue manager, listings, -M actions.  Floor: flows.  Manual ch. 5 (-q, -M, -bp). */
#ifndef QUEUE_H
#define QUEUE_H

#include "message.h"
#include "queue_notice.h"

struct queue_run_opts {
  bool forced;         /* -qf */
  bool force_thaw;     /* -qff */
  bool first_only;     /* -qi */
  bool two_stage;      /* -qq */
  bool local_only;     /* -ql */
  bool dont_deliver;
  const char *start_id, *stop_id;
  const char *match_sender, *match_recipient; /* -S, -R */
  bool sender_is_regex, recipient_is_regex;
  const char *name;    /* -qG */
  const char *ages;    /* -Tqt: what the messages count as having been here, one after the other, NULL as it is */
};
/* One run in this process: logs Start/End, delivers message by message (each in a forked child; one at a time as Exim's single runner).
 * False: a pattern of -R or -S cannot be compiled (logged); nothing was tried. */
bool queue_run(const struct config *cfg, const struct queue_run_opts *o);

/* Queue manager process: never returns.  notify_fd: datagrams of queue_notice.h; interval_sec 0: no periodic runs;
 * takes_questions: notifier_socket is opened. */
void queue_manager(const struct config *cfg, int notify_fd, int interval_sec, const struct queue_run_opts *o, bool takes_questions);
/* Tell a queue manager (from a session).  False: there is none, it does not take a run, or the notice is too long. */
bool queue_notify(int notify_fd, const struct queue_notice *notice);
/* The run for whom smtp_etrn_serialize keeps this hints record is over; NULL or "": nothing. */
void queue_serialize_end(const struct config *cfg, const char *key);
/* The descriptor to notify, set by the daemon in its children; -1 none. */
void queue_set_notify_fd(int fd);
int queue_get_notify_fd(void);

enum queue_list_kind { QUEUE_LIST_NORMAL, QUEUE_LIST_UNDELIVERED, QUEUE_LIST_PLUS_GENERATED, QUEUE_LIST_IDS };
/* -bp and friends; ids NULL-terminated or NULL for all.  sorted false: -bpr. */
int queue_list(const struct config *cfg, enum queue_list_kind kind, bool sorted, const char *const *ids);
size_t queue_size(const struct config *cfg); /* messages in this queue */
int queue_count(const struct config *cfg);   /* -bpc: prints */

enum queue_action { QUEUE_REMOVE, QUEUE_FREEZE, QUEUE_THAW, QUEUE_GIVE_UP, QUEUE_MARK_ALL_DELIVERED, QUEUE_MARK_DELIVERED,
                    QUEUE_ADD_RECIPIENT, QUEUE_EDIT_SENDER, QUEUE_SHOW_HEADER, QUEUE_SHOW_BODY, QUEUE_SHOW_LOG, QUEUE_SHOW_COPY, QUEUE_MOVE };
/* -MG: move a message to another queue ("": the default one).  Prints "Message ID " and what went wrong, without a line end.  True on success. */
bool queue_move(const struct config *cfg, const char *id, const char *to_queue);
/* move_frozen_messages, when it is set: a frozen message, locked here, goes where nobody looks for messages (queue_frozen.c). */
void queue_move_frozen(struct message *m);
/* One -M action on one message; prints as Exim does; true on success. */
bool queue_action(const struct config *cfg, const char *id, enum queue_action action, const char *const *args, size_t nargs,
                  const char *caller_login);

#endif
