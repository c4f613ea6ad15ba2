/* SPDX-License-Identifier: GPL-2.0-or-later */
/* One transaction = one spool item.  Floor: policy (objects).
 *
 * A struct message lives from MAIL (or the start of a local submission) to its end, or from reading a -H file to the end of a delivery
 * attempt; it owns an arena.  Ending a transaction is message_free(); nothing is reset field by field. */
#ifndef MESSAGE_H
#define MESSAGE_H

#include "base/arena.h"
#include "base/base62.h"
#include "base/timeutil.h"
#include "base/tree.h"
#include "conn.h"
#include "formats/rfc5322.h"

/* As stored in -H files. */
enum { DSN_NEVER = 2, DSN_SUCCESS = 4, DSN_FAILURE = 8, DSN_DELAY = 16 };
enum { DSN_RET_NONE = 0, DSN_RET_FULL = 1, DSN_RET_HDRS = 2 };

struct recipient {
  const char *address;
  const char *orcpt;      /* ORCPT as given, NULL */
  const char *errors_to;  /* NULL */
  int one_time_parent;    /* index of the recipient it came from by one_time, -1 */
  unsigned dsn_flags;
  bool ignored;           /* dropped by a system filter or -Mmd */
};

struct acl_var {          /* data of acl_m/acl_c tree nodes */
  const char *value;
};

struct arc_result;
struct dkim_state;
struct scan_state;
struct spf_state;
struct dmarc_state;

/* What verify = sender found for one address. */
struct sender_check {
  struct sender_check *next;
  const char *address;
  bool by_callout;               /* it answers nothing later */
  bool is_reported;              /* the "sender verify fail" line was written and the details were sent */
  int result;                    /* enum outcome */
  const char *user, *log, *details, *failure;
};

struct message {
  struct arena *arena;
  const struct config *cfg;
  char id[MSGID_SIZE];           /* "" until assigned */
  const char *queue_name;        /* "" default queue */
  const char *sender;            /* envelope sender, "" for bounces; NULL: none yet */
  bool sender_set_untrusted;
  const char *login;             /* originator */
  uid_t uid;
  gid_t gid;
  struct timeval received_time, received_time_complete;
  int warning_count;
  const struct origin *from;

  struct recipient *recipients;
  size_t recipient_count, recipient_cap;
  struct tree nonrecipients;     /* delivered addresses (unique forms) */

  struct header_line *headers, **headers_tail;
  struct header_line *added_headers; /* by ACLs, waiting for the end of data; type letter encodes the place */
  struct header_line *last_added_header;
  struct tree added_texts;       /* of those lines */
  struct vec removed_headers;    /* names, ACL remove_header */
  struct header_line *received_header;

  int data_fd;                   /* -D file, locked; -1 none */
  int journal_fd, journal_dir_fd; /* -J file, open for appending (spool_journal_reserve), and its directory while that is to be synced; -1 none */
  off_t data_start;              /* offset of the body in it (behind the id line) */
  int64_t message_size;          /* headers + body */
  int64_t body_size;
  int64_t body_linecount, body_zerocount, max_received_linelength, message_linecount;
  int body_type;                 /* BODY= as given: 0 (not), 7, 8 */
  bool spool_wireformat;

  bool deliver_firsttime, frozen, manual_thaw, local_error_message, allow_unqualified_recipient,
      allow_unqualified_sender, is_local, dont_deliver, smtputf8, utf8_downcvt, utf8_optdowncvt, queue_only_policy, used_chunking,
      prdr_requested, submission_mode, suppress_local_fixups, sender_name_forced, fake_reject, fake_defer,
      discarded, delivery_forced /* -M, -qf: retry times are ignored */, in_first_pass /* -qq: nothing is sent to hosts now, nor are reports */, hold_smtp /* control = queue/first_pass_route */, no_mbox_unspool, is_put_off /* the next host has seen it and did not take it: a queue run tries again */, active_local_from_check, local_sender_retain;
  time_t frozen_at;
  int64_t assumed_age_sec;       /* harness: how long it has been here, 0: as the clock says */
  const char *frozen_reason;
  const char *submission_domain, *submission_name;
  const char *fake_response_text;
  const char *bounce_of;         /* R= reference id of a bounce made here */
  const char *queue_reason;      /* who asked for queue_only */
  struct tree acl_m;             /* message ACL variables: data const char * */
  struct tree acl_c;             /* copy kept with the message (spool) */
  struct tree acl_rooms;         /* kept by policy/acl/acl_vars.c: the memory of the values of both */
  const char *dsn_envid;
  int dsn_ret;
  const char *spam_score, *spam_bar, *spam_score_int, *local_scan_data;
  const char *message_id_header; /* text between <> or as given, for id= */
  struct vec unknown_spool_lines;/* -H option lines we do not know: kept for rewriting */

  int rcpt_count, rcpt_fail_count, rcpt_defer_count; /* of this transaction */
  int received_count;

  /* reception only */
  struct tree rates;             /* kept by hints/ratelimit.c */
  struct tree warnings_logged;   /* texts of ACL warnings written for this message: each is logged once */
  const char *discarded_by;      /* name of the ACL that threw all recipients away behind the data; they are not delivered to */
  const char *discard_text;      /* log_message of the ACL that discarded, or NULL */
  const char *unrewritten_sender; /* before the rewriting that changed it, for lines about refusals; NULL: sender */
  const char *raw_sender;        /* as given, before qualifying and rewriting; NULL: sender */
  struct vec raw_recipients;     /* const char *, the same for recipients; empty: recipients */
  enum { CUTTHROUGH_OFF, CUTTHROUGH_SPOOL, CUTTHROUGH_PASS } cutthrough; /* control = cutthrough_delivery: what a temporary answer leads to */
  struct vec cutthrough_headers; /* kept by cutthrough.c: the header lines as they were before the ACLs that see them; empty: not noted */
  bool cutthrough_own_sender;    /* /sender=transport: MAIL as the transport's return_path says */
  bool deliver_foreground;       /* somebody waits for its delivery (-odi): that of reports about it, too */
  bool message_id_made;          /* Message-Id: was added here (id*= in the log) */
  struct scan_state *scan;       /* content scanning (policy/scan.h); NULL: nothing scanned yet */
  struct dkim_state *dkim;       /* its signatures (policy/dkim.h); NULL: not looked at */
  struct spf_state *spf;         /* of the condition spf (policy/spf.h), NULL: it was not used */
  struct dmarc_state *dmarc;     /* of the condition dmarc_status (policy/dmarc.h), NULL: it was not used */
  struct arc_result *arc;        /* of verify = arc (policy/arc.h), NULL: it was not used */
  bool dkim_disabled;            /* control = dkim_disable_verify */
  bool dmarc_disabled;           /* control = dmarc_disable_verify */
  bool freeze_no_tell;           /* control = freeze/no_tell */
  bool sender_is_rewritten;      /* the ordinary rewriting rules were applied to sender */
  struct sender_check *sender_checks; /* the addresses that were verified as senders, the newest first */
  struct sender_check *sender_check;  /* the one that verify = sender was about last, NULL: there was none */
};

/* When it came, for all that depends on how long it has been here. */
static inline time_t message_arrival(const struct message *m, time_t now) {
  return m->assumed_age_sec ? now - (time_t)m->assumed_age_sec : m->received_time.tv_sec;
}

/* data_fd is -1; all else zero. */
struct message *message_new(const struct config *cfg);
/* Close the descriptors and free everything.  NULL allowed. */
void message_free(struct message *m);
/* Only the descriptors, with the lock of -D.  What was written is synced or thrown away: an error of close says nothing new. */
void message_close_files(struct message *m);
/* Add a recipient (copied into the arena). */
struct recipient *message_add_recipient(struct message *m, const char *address);
/* Append a header line; text must end in \n. */
struct header_line *message_add_header(struct message *m, char type, const char *text, size_t n);
/* First header of that name (case-insensitive, not deleted), searching after prev (NULL: from the start). */
struct header_line *message_find_header(const struct message *m, const char *name, struct header_line *prev);

#endif
