/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The generic option tables: main options and those every router, transport and authenticator has.  Floor: policy. */
#include "auth.h"
#include "policy/config.h"
#include "policy/options.h"
#include "router.h"
#include "transport.h"

#define OPT_ROW(n, t, d, f) OPT_TABLE_ROW(struct main_options, n, t, d, f)
const struct option main_option_table[] = {
#include "policy/main_options.def"
};
#undef OPT_ROW
const size_t main_option_count = ARRAY_SIZE(main_option_table);

#define OPT_ROW(n, t, d, f) OPT_TABLE_ROW(struct router_generic, n, t, d, f)
const struct option router_option_table[] = {
#include "policy/router_options.def"
};
#undef OPT_ROW
const size_t router_option_count = ARRAY_SIZE(router_option_table);

#define OPT_ROW(n, t, d, f) OPT_TABLE_ROW(struct transport_generic, n, t, d, f)
const struct option transport_option_table[] = {
#include "policy/transport_options.def"
};
#undef OPT_ROW
const size_t transport_option_count = ARRAY_SIZE(transport_option_table);

#define OPT_ROW(n, t, d, f) OPT_TABLE_ROW(struct auth_generic, n, t, d, f)
const struct option auth_option_table[] = {
#include "policy/auth_options.def"
};
#undef OPT_ROW
const size_t auth_option_count = ARRAY_SIZE(auth_option_table);
