/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The queuefile transport: hands a message over by copying its spool files into a directory.  Floor: drivers.  README.EXPERIMENTAL.
 *
 * Nothing is delivered in the usual sense; another program takes the files and brings the message back by putting them into a spool.  The copy is complete and
 * synced before the recipients count as delivered.  The process is Exim's own user, whatever the generic options say: it writes what the spool holds. */
#include <errno.h>

#include "os/debug.h"
#include "os/log.h"
#include "spool.h"
#include "transports/drivers.h"

struct queuefile_opts {
#define OPT_ROW(name, type, def, flags) OPT_FIELD_##type(name)
#include "transports/queuefile_options.def"
#undef OPT_ROW
};

#define OPT_ROW(n, t, d, f) OPT_TABLE_ROW(struct queuefile_opts, n, t, d, f)
static const struct option queuefile_options[] = {
#include "transports/queuefile_options.def"
};
#undef OPT_ROW

static const char *queuefile_init(struct arena *a, struct config *c, struct transport *t) {
  const struct queuefile_opts *ob = t->ob;
  (void)c;
  return ob->directory ? NULL : arena_printf(a, "directory must be set for the %s transport", t->name);
}

static bool failed(struct delivery *d, int basic_errno, const char *text) {
  transport_set_results(d->addrs, OUTCOME_DEFER, basic_errno, text);
  return true;
}

static bool queuefile_deliver(struct delivery *d) {
  const struct queuefile_opts *ob = d->transport->ob;
  const char *name = d->transport->name;
  const char *dir = expand_option(d->x, "directory", ob->directory);
  if (!dir)
    return failed(d, ERRNO_EXPANDFAIL, arena_printf(d->arena, "expansion of \"%s\" (directory option of the %s transport) failed: %s", ob->directory, name,
                                                    d->x->error ? d->x->error : ""));
  if (expand_taint_refused(d->x, dir, "directory of queuefile transport")) return failed(d, ERRNO_EXPANDFAIL, d->x->error);
  if (*dir != '/') return failed(d, ERRNO_NOTABSOLUTE, arena_printf(d->arena, "directory path \"%s\" of the %s transport is not absolute", dir, name));
  if (d->dont_deliver) {
    transport_set_results(d->addrs, OUTCOME_OK, 0, NULL);
    return true;
  }
  DEBUG(D_TRANSPORT) debug_printf("%s transport: copying the spool files to %s\n", name, dir);
  int r = spool_copy(d->msg, dir);
  if (r < 0) return failed(d, -r, arena_printf(d->arena, "copying the spool files to %s", dir));
  transport_set_results(d->addrs, OUTCOME_OK, 0, NULL);
  return true;
}

const struct transport_driver queuefile_transport = {
  .name = "queuefile",
  .options = queuefile_options,
  .option_count = ARRAY_SIZE(queuefile_options),
  .ob_size = sizeof(struct queuefile_opts),
  .is_local = true,
  .takes_whole_message = true,
  .init = queuefile_init,
  .deliver = queuefile_deliver,
};
