/* SPDX-License-Identifier: GPL-2.0-or-later */
/* WELLKNOWN: hand out small files, such as the answers to certificate challenges.
 *
 * Floor: flows.  The ACL names the file (control = wellknown/FILE); a name made of the client's bytes alone is refused as tainted.  At most
 * FILE_MAX bytes go out, one reply line for each line of the file, as xtext, behind a line with the size.  Manual ch. 44
 * "The SMTP WELLKNOWN ACL"; RFC 3461 for xtext. */
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>

#include "os/sys.h"
#include "smtp_in_priv.h"

enum { FILE_MAX = 64 * 1024, LINE_MAX_BYTES = 150 };

/* The next part of the file that fits on a reply line. */
static struct str next_part(struct str *rest) {
  size_t n = MIN(rest->n, (size_t)LINE_MAX_BYTES);
  const char *nl = memchr(rest->p, '\n', n);
  if (nl) n = (size_t)(nl - rest->p) + 1;
  struct str part = str_n(rest->p, n);
  *rest = str_n(rest->p + n, rest->n - n);
  return part;
}

static int read_file(struct smtp_session *s, const char *path, struct str *ret) {
  char *p;
  size_t n;
  struct stat st;
  int fd = sys_open(path, O_RDONLY | O_NONBLOCK | O_NOCTTY, 0);
  if (fd < 0) return fd;
  int rc = fstat(fd, &st) == 0 && S_ISREG(st.st_mode) ? sys_read_file(fd, s->tmp, FILE_MAX, &p, &n) : -EINVAL;
  (void)!sys_close(fd);
  if (rc == 0) *ret = str_n(p, n);
  return rc;
}

void smtp_do_wellknown(struct smtp_session *s, struct str arg) {
  struct str rest = STR("");
  if (!s->c->wellknown_advertised) {
    smtp_synprot_error(s, false, 503, "WELLKNOWN command used when not advertised");
    return;
  }
  s->c->wellknown_file = NULL;
  struct acl_result r = smtp_run_acl(s, ACL_WHERE_WELLKNOWN, NULL, s->opt->acl_smtp_wellknown, OUTCOME_FAIL);
  if (r.outcome != OUTCOME_OK) {
    smtp_acl_failed(s, ACL_WHERE_WELLKNOWN, &r, arena_printf(s->tmp, "WELLKNOWN %s", arg.p));
    return;
  }
  const char *path = s->c->wellknown_file;
  int rc = path && *path == '/' ? read_file(s, path, &rest) : -ENOENT;
  if (rc < 0) {
    bool gone = rc == -ENOENT || rc == -ENOTDIR || rc == -EINVAL;
    struct acl_result no = {.outcome = gone ? OUTCOME_FAIL : OUTCOME_DEFER, .log_message = gone ? NULL : strerror(-rc)};
    smtp_acl_failed(s, ACL_WHERE_WELLKNOWN, &no, arena_printf(s->tmp, "WELLKNOWN %s", arg.p));
    return;
  }
  smtp_replyf(s, "250%cSIZE=%zu", rest.n ? '-' : ' ', rest.n);
  while (rest.n > 0) {
    struct str part = next_part(&rest);
    smtp_replyf(s, "250%c%s", rest.n ? '-' : ' ', xtext_encode(s->tmp, part));
  }
}
