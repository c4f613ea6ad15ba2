/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Bytes of -H and -J files.  Floor: formats (pure; what is read back is hostile).  doc/spool-format.txt; manual ch. 56. */
#ifndef FORMATS_SPOOL_FILE_H
#define FORMATS_SPOOL_FILE_H

#include "base/strbuf.h"
#include "base/tree.h"
#include "formats/rfc5322.h"

/* Everything a -H file can say; flat, so that the format stays free of the program's objects.  Strings tainted when read.  NULL: absent. */
struct spool_var {             /* -aclc/-aclm */
  struct spool_var *next;
  char kind;                   /* 'c' or 'm' */
  const char *name, *value;
  size_t value_n;
};
struct spool_rcpt {
  const char *address, *orcpt, *errors_to;
  unsigned dsn_flags;
  int pno;                     /* one_time parent index, -1 */
};
struct spool_header_file {
  const char *id;
  const char *login;
  int64_t uid, gid;
  const char *sender;
  int64_t received_sec;
  int received_usec;
  int64_t complete_sec;        /* 0 absent */
  int complete_usec;
  int warning_count;
  const char *helo_name, *host_address, *host_name, *host_auth, *host_auth_pubname, *interface_address, *active_hostname,
      *ident, *protocol, *auth_id, *auth_sender, *dsn_envid, *tls_cipher, *tls_peerdn, *tls_sni, *tls_ver, *tls_peercert,
      *tls_ourcert, *spam_bar, *spam_score, *spam_score_int, *local_scan;
  int host_port, interface_port;
  int64_t body_linecount, max_received_linelength, body_zerocount, frozen_at /* 0 not */;
  int dsn_ret, tls_ocsp;
  char tls_resumption;
  bool allow_unqualified_recipient, allow_unqualified_sender, deliver_firsttime, dont_deliver, host_lookup_deferred,
      host_lookup_failed, is_local, local_error, manual_thaw, sender_set_untrusted, tls_certificate_verified, smtputf8,
      utf8_downcvt, utf8_optdowncvt, wireformat;
  struct spool_var *vars;
  const char **unknown_lines;  /* NULL-terminated, kept for rewriting */
  struct tree nonrecipients;
  struct spool_rcpt *rcpts;
  size_t rcpt_count;
  struct header_line *headers; /* in order */
};

/* The kind of taint of text quoted by the rules of that name ("sqlite"), as marked in "--(NAME)name value"; TAINTED for unknown rules. */
enum taint spool_quoted_kind(struct str name);
/* Write.  INVARIANT: no field holds CR, LF or NUL (header texts excepted); callers escape or refuse before. */
void spool_write_header_file(struct strbuf *out, const struct spool_header_file *h);
/* Read.  NULL on success (everything in the arena), else a static text: what is wrong.  envelope_only: stop before the headers. */
const char *spool_read_header_file(struct arena *a, struct str in, bool envelope_only, struct spool_header_file *ret);
/* -J: call fn for each complete line; a last line without \n is ignored (torn write). */
void spool_read_journal(struct arena *a, struct str in, void (*fn)(void *ctx, const char *address), void *ctx);

#endif
