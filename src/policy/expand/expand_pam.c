/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The pam condition: Pluggable Authentication Modules judge.  Floor: policy.  Manual section 11.7; pam(3).  Built with SUPPORT_PAM=yes.
 *
 * The service is "exim".  The first item of the list is the user; the others answer the modules' prompts in turn, and an empty text does when they run
 * out.  A module that says no makes the condition false; one that cannot say makes the expansion fail, so that an authenticator defers. */
#include <security/pam_appl.h>
#include <stdlib.h>

#include "os/debug.h"
#include "policy/expand/expand_priv.h"
#include "policy/match.h"

struct answers {
  struct arena *a;
  const char *rest;
  int sep;
};

static bool wants_answer(const struct pam_message *m) { return m->msg_style == PAM_PROMPT_ECHO_OFF || m->msg_style == PAM_PROMPT_ECHO_ON; }

/* PAM frees the texts and the array with free(3). */
static int talk(int n, const struct pam_message **messages, struct pam_response **ret, void *ctx) {
  struct answers *answers = ctx;
  if (n <= 0 || n > PAM_MAX_NUM_MSG) return PAM_CONV_ERR;
  struct pam_response *r = calloc((size_t)n, sizeof *r);
  bool ok = r != NULL;
  for (int i = 0; ok && i < n; i++) {
    if (!wants_answer(messages[i])) continue;
    const char *text = list_next(answers->a, &answers->rest, &answers->sep);
    r[i].resp = strdup(text ? text : "");
    ok = r[i].resp != NULL;
  }
  if (ok) {
    *ret = r;
    return PAM_SUCCESS;
  }
  for (int i = 0; r && i < n; i++) free(r[i].resp);
  free(r);
  return PAM_CONV_ERR;
}

static bool is_plain_no(int rc) {
  switch (rc) {
  case PAM_AUTH_ERR:
  case PAM_USER_UNKNOWN:
  case PAM_MAXTRIES:
  case PAM_PERM_DENIED:
  case PAM_ACCT_EXPIRED:
  case PAM_NEW_AUTHTOK_REQD:
  case PAM_CRED_INSUFFICIENT: return true;
  default: return false;
  }
}

bool exp_ask_pam(struct expand_ctx *x, const char *data, bool *ret) {
  struct answers answers = {.a = x->a, .rest = data, .sep = ':'};
  const char *user = list_next(x->a, &answers.rest, &answers.sep);
  struct pam_conv conversation = {talk, &answers};
  pam_handle_t *pam = NULL;
  *ret = false;
  if (!user || !*user) return true; /* the modules would ask for a name */
  int rc = pam_start("exim", user, &conversation, &pam);
  if (rc == PAM_SUCCESS) {
    rc = pam_authenticate(pam, PAM_SILENT);
    if (rc == PAM_SUCCESS) rc = pam_acct_mgmt(pam, PAM_SILENT);
  }
  const char *why = arena_strdup(x->a, pam_strerror(pam, rc));
  if (pam) (void)pam_end(pam, rc);
  DEBUG(D_EXPAND) debug_printf("PAM about user %s: %s\n", user, why);
  *ret = rc == PAM_SUCCESS;
  return *ret || is_plain_no(rc) || exp_fail(x, "%s", why);
}
