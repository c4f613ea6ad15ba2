/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The failure classes of doc/experimental-spec.txt section 7 as rows, and the script of the server for each: t_early_client.c walks them in clear,
 * t_early_tls.c inside TLS.  In a build without the feature: the test that is left. */
#ifndef EARLY_ROWS_H
#define EARLY_ROWS_H

#include "hints/hints.h"
#include "os/log.h"
#include "pipe_connect.h"
#include "retry.h"
#include "smtp_server.h"

#ifdef EXPERIMENTAL_PIPE_CONNECT

#define SCRIPT(...) ((const char *const[]){__VA_ARGS__, NULL})

enum mode { WITH_DATA, WITH_BDAT, WITH_BODY, MODES };
static const char *const mode_names[MODES] = {"DATA", "BDAT", "message in the flight"};
enum { BASIC = EHLO_PIPELINING | EHLO_SIZE | EHLO_PIPE_CONNECT, CHUNKED = BASIC | EHLO_CHUNKING };

static inline unsigned features_of(enum mode m) { return m == WITH_DATA ? BASIC : CHUNKED; }

enum record { NO_RECORD, USABLE, SUSPENDED, KEPT = USABLE };

/* Replies of the early connection, an action of the scripted server in place of one ends it. */
struct row {
  const char *classes;                 /* as in the table of rules */
  const char *name;
  const char *greeting, *ehlo, *mail, *rcpt, *data, *end;
  bool again;                          /* a plain connection to the same host must follow, and is good */
  enum outcome result;
  bool mark;
  enum record record;
  int body_result;                     /* with the message in the flight: what differs; 0 nothing, else 1 + outcome, and no second connection */
};

#define HI ">220 hi\n"
#define OK ">250 ok\n"
#define GO ">354 go\n"
#define SAME "same" /* the EHLO reply that is remembered */
#define GONE "gone" /* without the promise */
#define BARE "bare" /* without SIZE and CHUNKING */
#define MORE "more" /* with DSN and PRDR */
#define LOST (1 + OUTCOME_DEFER)

static const struct row rows[] = {
  {"F2", "greeting 5xx", ">554 SMTP synchronization error\n", NULL, NULL, NULL, NULL, NULL, true, OUTCOME_OK, false, SUSPENDED, 0},
  {"F2", "greeting 5xx and its kin", ">554-go\n554 away\n", ">503 a\n", ">503 b\n", ">503 c\n", ">503 d\n", NULL, true, OUTCOME_OK, false, SUSPENDED, 0},
  {"F3", "greeting 421", ">421 busy\n", NULL, NULL, NULL, NULL, NULL, true, OUTCOME_OK, false, SUSPENDED, 0},
  {"F4", "EHLO 5xx", HI, ">550 no\n", ">503 a\n", ">503 b\n", ">503 c\n", NULL, true, OUTCOME_OK, false, SUSPENDED, 0},
  {"F5", "EHLO 4xx", HI, ">450 no\n", ">503 a\n", ">503 b\n", ">503 c\n", NULL, true, OUTCOME_OK, false, SUSPENDED, 0},
  {"F6 F25", "closed at once", "close", NULL, NULL, NULL, NULL, NULL, true, OUTCOME_OK, false, SUSPENDED, LOST},
  {"F6 F25", "reset at once", "reset", NULL, NULL, NULL, NULL, NULL, true, OUTCOME_OK, false, SUSPENDED, LOST},
  {"F6 F25", "closed after the greeting", HI, "close", NULL, NULL, NULL, NULL, true, OUTCOME_OK, false, SUSPENDED, LOST},
  {"F6 F25", "half an EHLO reply", HI, ">250-srv\n250-SI", "close", NULL, NULL, NULL, true, OUTCOME_OK, false, SUSPENDED, LOST},
  {"F7", "no EHLO reply", HI, "hang", NULL, NULL, NULL, NULL, true, OUTCOME_OK, false, SUSPENDED, LOST},
  {"F8", "garbage", ">HTTP/1.1 400 Bad\n", NULL, NULL, NULL, NULL, NULL, true, OUTCOME_OK, false, SUSPENDED, LOST},
  {"F9 F12", "promise gone, accepted", HI, GONE, OK, OK, GO, OK, false, OUTCOME_OK, false, NO_RECORD, 0},
  {"F10 F11", "promise gone, MAIL refused", HI, GONE, ">555 no\n", ">503 a\n", ">503 b\n", NULL, true, OUTCOME_OK, false, NO_RECORD, 0},
  {"F10 F11", "promise gone, RCPT refused", HI, GONE, OK, ">550 Protocol error\n", ">503 no\n", NULL, true, OUTCOME_OK, false, NO_RECORD, 0},
  {"F10 F11", "promise gone, RCPT deferred", HI, GONE, OK, ">450 Protocol error\n", ">503 no\n", NULL, true, OUTCOME_OK, false, NO_RECORD, 0},
  {"F10 F11", "promise gone, message refused", HI, GONE, OK, OK, GO, ">550 no\n", true, OUTCOME_OK, false, NO_RECORD, 0},
  {"F10 F11", "SIZE gone, MAIL refused", HI, BARE, ">555 SIZE not supported\n", ">503 a\n", ">503 b\n", NULL, true, OUTCOME_OK, false, KEPT, 0},
  {"F10 F11", "promise gone, closed at MAIL", HI, GONE, "close", NULL, NULL, NULL, true, OUTCOME_OK, false, NO_RECORD, LOST},
  {"F9 F12", "features gone, accepted", HI, BARE, OK, OK, GO, OK, false, OUTCOME_OK, false, KEPT, 0},
  {"-", "F13: features added", HI, MORE, OK, OK, GO, OK, false, OUTCOME_OK, true, KEPT, 0},
  {"-", "all is well", HI, SAME, OK, OK, GO, OK, false, OUTCOME_OK, true, KEPT, 0},
  {"F22", "MAIL refused", HI, SAME, ">550 no\n", ">503 a\n", ">503 b\n", NULL, false, OUTCOME_FAIL, false, KEPT, 0},
  {"F22", "MAIL deferred", HI, SAME, ">450 no\n", ">503 a\n", ">503 b\n", NULL, false, OUTCOME_DEFER, false, KEPT, 0},
  {"F22", "RCPT refused", HI, SAME, OK, ">550 no\n", ">503 no\n", NULL, false, OUTCOME_FAIL, false, KEPT, 0},
  {"F22", "F23: RCPT refused, 354 all the same", HI, SAME, OK, ">550 no\n", GO, NULL, false, OUTCOME_FAIL, false, KEPT, 0},
  {"F22", "RCPT deferred", HI, SAME, OK, ">451 later\n", ">503 no\n", NULL, false, OUTCOME_DEFER, false, KEPT, 0},
  {"F22", "message refused", HI, SAME, OK, OK, GO, ">554 virus\n", false, OUTCOME_FAIL, false, KEPT, 0},
  {"F22", "closed at RCPT", HI, SAME, OK, "close", NULL, NULL, false, OUTCOME_DEFER, false, KEPT, 0},
  {"F24", "lost after the message", HI, SAME, OK, OK, GO, "close", false, OUTCOME_DEFER, false, KEPT, 0},
  {"F24", "promise gone, lost after the message", HI, GONE, OK, OK, GO, "close", false, OUTCOME_DEFER, false, NO_RECORD, 0},
};

static inline const char *ehlo_reply(const char *what, enum mode m) {
  bool data = m == WITH_DATA;
  if (strcmp(what, SAME) == 0)
    return data ? ">250-s\n250-SIZE 9999\n250-PIPELINING\n250 PIPECONNECT\n" : ">250-s\n250-SIZE 9999\n250-PIPELINING\n250-PIPECONNECT\n250 CHUNKING\n";
  if (strcmp(what, GONE) == 0) return data ? ">250-s\n250-SIZE 9999\n250 PIPELINING\n" : ">250-s\n250-SIZE 9999\n250-PIPELINING\n250 CHUNKING\n";
  if (strcmp(what, BARE) == 0) return ">250-s\n250-PIPELINING\n250 PIPECONNECT\n";
  if (strcmp(what, MORE) == 0)
    return data ? ">250-s\n250-SIZE\n250-DSN\n250-PRDR\n250-PIPELINING\n250 PIPECONNECT\n" : ">250-s\n250-SIZE\n250-DSN\n250-PIPELINING\n250-PIPECONNECT\n250 CHUNKING\n";
  return what;
}

static inline bool is_good(const char *reply) { return reply && reply[0] == '>' && (reply[1] == '2' || reply[1] == '3'); }

/* The early connection's script, from where the client talks early. */
static inline void early_script(const struct row *r, enum mode m, bool with_greeting, const char **out) {
  size_t n = 0;
  static const char *const start[] = {"early", "<EHLO me.test", "<MAIL FROM:<s@me.test> SIZE=", "<RCPT TO:<a@x.test>"};
  if (strcmp(r->greeting, "reset") != 0) {
    for (size_t i = 0; i < ARRAY_SIZE(start); i++) out[n++] = start[i];
    if (m == WITH_DATA) out[n++] = "<DATA";
    if (m == WITH_BODY) out[n++] = "<BDAT ", out[n++] = "bdat";
  } else {
    out[n++] = "early";
  }
  const char *replies[] = {with_greeting ? r->greeting : NULL, r->ehlo ? ehlo_reply(r->ehlo, m) : NULL, r->mail, r->rcpt, m == WITH_DATA ? r->data : NULL};
  for (size_t i = 0; i < ARRAY_SIZE(replies); i++)
    if (replies[i]) out[n++] = replies[i];
  bool lost_chunking = r->ehlo && strcmp(r->ehlo, BARE) == 0;
  if (m == WITH_BODY) {
    if (r->end) out[n++] = r->end;
    else if (r->rcpt && r->rcpt[0] == '>') out[n++] = ">503 no\n";
  } else if (r->end && m == WITH_BDAT) {
    if (lost_chunking) out[n++] = "<DATA", out[n++] = GO, out[n++] = "data";
    else out[n++] = "<BDAT ", out[n++] = "bdat";
    out[n++] = r->end;
  } else if (r->end) {
    out[n++] = "data";
    out[n++] = r->end;
  } else if (m == WITH_DATA && is_good(r->data)) {
    out[n++] = "<.";
    out[n++] = ">554 nobody\n";
  }
  out[n] = NULL;
}

/* ---- records and logs ---------------------------------------------------------------------------------------------- */

static inline const char *key_of(struct client *c, int port) { return arena_printf(c->a, "127.0.0.1:%d.EHLO", port); }

static inline void put_record(struct client *c, int port, const struct hints_ehlo *r) {
  struct strbuf b = strbuf_new(c->a);
  hints_put_ehlo(&b, r);
  struct hints_db *db = hints_open(c->spool, "misc", true);
  assert_non_null(db);
  assert_int_equal(hints_put(db, key_of(c, port), strbuf_str(&b)), 0);
  hints_close(db);
}

static inline void remember(struct client *c, int port, unsigned features, unsigned crypted, unsigned flags) {
  struct hints_ehlo r = {.stamp = time_sec(), .clear_features = (uint16_t)features, .crypted_features = (uint16_t)crypted, .flags = (uint16_t)flags,
                         .fingerprint = pipe_connect_fingerprint(&c->cfg, "me.test", NULL)};
  put_record(c, port, &r);
}

static inline bool recall(struct client *c, int port, struct hints_ehlo *ret) {
  struct hints_db *db = hints_open(c->spool, "misc", false);
  struct str rec;
  if (!db) return false;
  bool found = hints_get(db, c->a, key_of(c, port), &rec) && hints_get_ehlo(rec, ret);
  hints_close(db);
  return found;
}

static inline enum record record_left(struct client *c, int port) {
  struct hints_ehlo r;
  if (!recall(c, port, &r)) return NO_RECORD;
  if (r.suspend_until > time_sec()) return SUSPENDED;
  return r.clear_features || r.crypted_features ? USABLE : NO_RECORD; /* kept for what it cost, not for what it says */
}

static inline int64_t log_size(const char *path) {
  FILE *f = fopen(path, "r");
  if (!f) return 0;
  fseek(f, 0, SEEK_END);
  long n = ftell(f);
  fclose(f);
  return n;
}

/* What has been logged since the log had this size. */
static inline const char *log_since(const char *path, int64_t from) {
  static char text[8192];
  FILE *f = fopen(path, "r");
  size_t n = 0;
  if (f && fseek(f, (long)from, SEEK_SET) == 0) n = fread(text, 1, sizeof text - 1, f);
  if (f) fclose(f);
  text[n] = 0;
  return text;
}

static inline size_t occurrences(const char *text, const char *part) {
  size_t n = 0;
  while ((text = strstr(text, part))) n++, text++;
  return n;
}

static inline void check_retries(const char *what, const struct row *r, enum outcome result, const struct address *a) {
  for (const struct retry_item *i = a->retries; i; i = i->next) {
    bool host = i->key[0] == 'T' && !strstr(i->key, "10HmaX-");
    if (result == OUTCOME_OK && !(i->flags & RETRY_DELETE)) fail_msg("%s: retry item %s after a success", what, i->key);
    if (host && !(i->flags & RETRY_DELETE) && strcmp(r->name, "closed at RCPT") != 0) fail_msg("%s: host delayed by %s", what, i->key);
  }
}

#else
/* What a program of such tests has left in a build without the feature. */
static void test_not_built(void **state) {
  (void)state;
  assert_false(pipe_connect_is_keyword(STR("PIPECONNECT")));
}
#endif
#endif
