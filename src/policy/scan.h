/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What content scanning knows of a message that is being received: for ACLs and variables.  Floor: policy (objects).  Manual ch. 45.
 * Lives in the message's arena; made at the first use. */
#ifndef POLICY_SCAN_H
#define POLICY_SCAN_H

#include <sys/types.h>

#include "base/outcome.h"
#include "formats/mime.h"

/* A part of the message while its MIME ACL runs. */
struct scan_part {
  int fd;                        /* of the file that it stands in */
  off_t body;                    /* where its body begins */
  const char *const *boundaries; /* of the multiparts around it, NULL-terminated, innermost last */
  struct mime_fields f;
  bool is_coverletter, is_in_message;
  const char *decoded_filename;  /* NULL: not decoded yet */
  int64_t decoded_kb;
};

struct scan_state {
  const char *dir, *eml;         /* the copy for scanners, NULL: not written */
  int64_t eml_size;
  int sequence;                  /* of decoded files */
  struct scan_part *part;        /* NULL outside of the MIME ACL */
  int part_count;                /* -1: no MIME message */
  const char *regex_match_string;
  bool malware_cached;
  const char *malware_name;      /* NULL none */
  const char *spam_user;         /* of the cached result, NULL none */
  enum outcome spam_outcome;
  const char *spam_report, *spam_action;
};

struct message;
/* Never NULL. */
struct scan_state *scan_state_of(struct message *m);

/* Names of the virus scanners of this build, in order; NULL behind the last.  The table is the drivers' (scan_malware_daemons.c). */
const char *scan_malware_type_name(size_t i);

#endif
