/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The one list of authenticator drivers.  Floor: drivers.  Manual ch. 33.
 *
 * Empty in this build: the server offers no AUTH and the client uses none.  The configuration reader refuses an authenticator's
 * driver by name, so that no configuration believes it has authentication. */
#include "auth.h"

const struct auth_driver *const auth_drivers[] = {NULL};
