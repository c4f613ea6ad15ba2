/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Results of policy, drivers and flows.  Floor: base.
 * Rule: OUTCOME_DEFER never turns into OUTCOME_FAIL on its way up.  Switches over it have no default. */
#ifndef BASE_OUTCOME_H
#define BASE_OUTCOME_H

enum outcome {
  OUTCOME_OK,
  OUTCOME_FAIL,      /* definite no */
  OUTCOME_DEFER,     /* cannot tell now */
  OUTCOME_ERROR,     /* configuration or internal error: treated as DEFER, and logged as such */
  OUTCOME_FAIL_DROP, /* ACL: fail and close the connection */
  OUTCOME_DISCARD    /* ACL: accept and throw away */
};

#endif
