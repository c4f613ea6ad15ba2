/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Conditions that ask another program whether a password is right: saslauthd, pwcheck.  Floor: policy.  Manual section 11.7.
 *
 * The sockets are named when Exim is built.  Who cannot be asked, or gives no clear answer, makes the expansion fail, so that an authenticator
 * defers; only a clear "no" is false.  User and password are hostile text and go out with their length (saslauthd) or behind a NUL (pwcheck). */
#include <errno.h>

#include "buildconfig.h"
#include "formats/saslauthd.h"
#include "os/net.h"
#include "os/stream.h"
#include "policy/expand/expand_priv.h"

enum { TIMEOUT_SEC = 30, MAX_ANSWER = 1024 };

/* Send the question, read until the answer is complete (is_complete NULL: until the end).  False: x->error is set. */
static bool ask(struct expand_ctx *x, const char *daemon, const char *path, struct str question, bool (*is_complete)(struct str), struct str *ret) {
  deadline_ms deadline = deadline_in_sec(TIMEOUT_SEC);
  int fd = net_connect_unix(path, deadline);
  if (fd < 0) return exp_fail(x, "cannot connect to %s daemon at %s: %s", daemon, path, strerror(-fd));
  struct stream *io = stream_new(x->a, fd, fd, true);
  stream_put(io, question.p, question.n);
  enum stream_status st = stream_flush(io, deadline);
  struct str got = STR_NULL;
  while (st == STREAM_OK && !(is_complete && is_complete(got))) st = stream_fill_more(io, got.n, MAX_ANSWER, deadline, &got);
  got = stream_buffered(io);
  *ret = str_n(arena_strndup(x->a, got.p, got.n), got.n);
  int saved = stream_errno(io);
  stream_close(io);
  if (st == STREAM_OK || st == STREAM_EOF || st == STREAM_TOOLONG) return true;
  return exp_fail(x, "no answer from %s daemon at %s: %s", daemon, path, st == STREAM_TIMEOUT ? "timed out" : strerror(saved));
}

static bool judge(struct expand_ctx *x, const char *daemon, enum saslauthd_verdict verdict, struct str text, bool *ret) {
  *ret = verdict == SASLAUTHD_YES;
  if (verdict != SASLAUTHD_UNKNOWN) return true;
  if (!text.n) return exp_fail(x, "no answer from %s daemon", daemon);
  return exp_fail(x, "%.*s", STR_FMT(text));
}

bool exp_ask_saslauthd(struct expand_ctx *x, const char *const *args, int nargs, bool *ret) {
  const char *all[SASLAUTHD_ARGS] = {"", "", "", ""};
  for (int i = 0; i < nargs && i < SASLAUTHD_ARGS; i++) all[i] = args[i];
  if (!*CFG_CYRUS_SASLAUTHD_SOCKET) return exp_fail(x, "support for \"saslauthd\" not compiled");
  struct strbuf question = strbuf_new(x->a);
  struct str answer, text;
  if (!saslauthd_question(&question, all)) return exp_fail(x, "an argument of saslauthd is longer than %d bytes", SASLAUTHD_MAX_BYTES);
  if (!ask(x, "saslauthd", CFG_CYRUS_SASLAUTHD_SOCKET, str_n(question.p, question.n), saslauthd_is_complete, &answer)) return false;
  enum saslauthd_verdict verdict = saslauthd_answer(answer, &text);
  return judge(x, "saslauthd", verdict, text, ret);
}

bool exp_ask_pwcheck(struct expand_ctx *x, const char *user_and_password, bool *ret) {
  if (!*CFG_CYRUS_PWCHECK_SOCKET) return exp_fail(x, "support for \"pwcheck\" not compiled");
  struct str password = str_c(user_and_password), user = str_cut(&password, ':');
  struct strbuf question = strbuf_new(x->a);
  struct str answer;
  strbuf_add(&question, user.p, user.n);
  strbuf_addc(&question, '\0');
  strbuf_add(&question, password.p, password.n);
  strbuf_addc(&question, '\0');
  if (!ask(x, "pwcheck", CFG_CYRUS_PWCHECK_SOCKET, str_n(question.p, question.n), NULL, &answer)) return false;
  return judge(x, "pwcheck", saslauthd_text_verdict(answer), answer, ret);
}
