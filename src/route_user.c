/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Users and groups for routers: check_local_user, user, group, require_files.  Floor: drivers.  Manual ch. 15, 23.
 *
 * What the password file says is trusted and clean; names asked for may be hostile and are only looked up.  Texts are copied
 * into the context's arena.  finduser_retries repeats a failed lookup, one second apart. */
#include "route_priv.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <pwd.h>

#include "os/log.h"
#include "os/priv.h"
#include "os/signals.h"
#include "os/sys.h"

static struct {
  int retries;      /* finduser_retries */
  size_t max_name;  /* max_username_length, 0 none */
} lookups;

void route_set_find_user(int retries, int64_t max_name) {
  lookups.retries = retries;
  lookups.max_name = (size_t)MAX(max_name, 0);
}

static bool parse_id(const char *s, uint32_t *ret) {
  uint64_t v;
  if (!ch_isdigit(s[0]) || !str_parse_u64(str_c(s), &v) || v >= UINT32_MAX) return false;
  *ret = (uint32_t)v;
  return true;
}

static bool is_plain_trouble(int err) {
  static const int reasons[] = {EMFILE, ENFILE, ENOMEM, EIO, EAGAIN, EINTR, ETIMEDOUT};
  for (size_t i = 0; i < ARRAY_SIZE(reasons); i++)
    if (err == reasons[i]) return true;
  return false;
}

/* Not "there is no such user": nobody could look; errno says why.  What a name service that is not there at all leaves in errno differs, and the manual
 * (finduser_retries) knows it.  A source that could not be read is also hidden by the next one of nsswitch.conf, which does not know the name: so
 * the first one is tried here. */
static bool could_not_look(void) {
  if (is_plain_trouble(errno)) return true;
  int fd = sys_open("/etc/passwd", O_RDONLY, 0);
  if (fd >= 0) (void)!sys_close(fd);
  errno = fd < 0 ? -fd : 0;
  return is_plain_trouble(errno);
}

static struct passwd *pw_ask(const char *name) {
  errno = 0;
  return getpwnam(name);
}

/* errno says why there is none. */
static struct passwd *pw_find(const char *name) {
  errno = 0;
  /* A name the account data base cannot hold is not asked for. */
  if (!*name || strlen(name) > 255 || strchr(name, ':') || strchr(name, '\n')) return NULL;
  if (lookups.max_name > 0 && strlen(name) > lookups.max_name) return NULL;
  struct passwd *pw = pw_ask(name);
  for (int i = 0; !pw && i < lookups.retries; i++) {
    pause_ms(1000);
    pw = pw_ask(name);
  }
  return pw;
}

enum outcome route_look_for_user(struct arena *a, const char *name_or_number, struct passwd_entry *ret) {
  uint32_t id;
  bool is_number = parse_id(name_or_number, &id);
  struct passwd *pw = is_number ? getpwuid((uid_t)id) : pw_find(name_or_number);
  if (!pw && is_number) {
    *ret = (struct passwd_entry){.uid = (uid_t)id, .gid = (gid_t)-1};
    return OUTCOME_OK;
  }
  if (!pw) return could_not_look() ? OUTCOME_DEFER : OUTCOME_FAIL;
  *ret = (struct passwd_entry){.name = arena_strdup_t(a, pw->pw_name, UNTAINTED),
                               .dir = arena_strdup_t(a, pw->pw_dir, UNTAINTED),
                               .gecos = arena_strdup_t(a, pw->pw_gecos ? pw->pw_gecos : "", UNTAINTED),
                               .shell = arena_strdup_t(a, pw->pw_shell ? pw->pw_shell : "", UNTAINTED),
                               .uid = pw->pw_uid,
                               .gid = pw->pw_gid};
  return OUTCOME_OK;
}

bool route_find_user(struct arena *a, const char *name_or_number, struct passwd_entry *ret) {
  return route_look_for_user(a, name_or_number, ret) == OUTCOME_OK;
}

const char *route_exim_login(struct arena *a, const struct config *cfg) {
  struct passwd_entry pw;
  const char *uid = arena_printf(a, "%lu", (unsigned long)cfg->exim_uid);
  return route_find_user(a, uid, &pw) && pw.name ? pw.name : "exim";
}

bool route_find_group(const char *name_or_number, gid_t *ret) {
  uint32_t id;
  if (parse_id(name_or_number, &id)) {
    *ret = (gid_t)id;
    return true;
  }
  struct group *gr = getgrnam(name_or_number);
  for (int i = 0; !gr && i < lookups.retries; i++) {
    pause_ms(1000);
    gr = getgrnam(name_or_number);
  }
  if (!gr) return false;
  *ret = gr->gr_gid;
  return true;
}

/* Nobody to be: the postmaster reads of it. */
static enum route_result told(const struct address *addr) {
  log_write(LS_ALWAYS, LOG_MAIN | LOG_PANIC, "%s", addr->message);
  return ROUTE_DEFER;
}

/* One id option: literal, or a text to expand.  text_out: the expanded name, NULL when it was a literal. */
static enum route_result id_option(struct route_ctx *rc, struct router *r, struct address *addr, const char *option,
                                   const struct opt_id *o, const char **ret_text) {
  *ret_text = o->text;
  if (!o->expand) return ROUTE_OK;
  const char *s = expand_string(rc->x, o->expand);
  if (s) {
    *ret_text = s;
    return ROUTE_OK;
  }
  addr->message = arena_printf(rc->x->a, "Failed to expand %s string \"%s\" for the %s router: %s",
                               strcmp(option, "user") == 0 ? "user" : "group", o->expand, r->name,
                               rc->x->error ? rc->x->error : "");
  return told(addr);
}

static enum route_result get_uid(struct route_ctx *rc, struct router *r, struct address *addr) {
  const struct opt_id *o = &r->o.user;
  if (!o->is_set && !o->expand) return ROUTE_OK;
  const char *text;
  enum route_result res = id_option(rc, r, addr, "user", o, &text);
  if (res != ROUTE_OK) return res;
  struct passwd_entry pw;
  if (!o->expand && o->is_set) {
    addr->uid = (uid_t)o->id;
    addr->uid_set = true;
    if (text && route_find_user(rc->x->a, text, &pw) && pw.gid != (gid_t)-1) {
      addr->gid = pw.gid;
      addr->gid_set = true;
    }
    return ROUTE_OK;
  }
  if (!route_find_user(rc->x->a, text, &pw)) {
    addr->message = arena_printf(rc->x->a, "Failed to find user \"%s\" from expanded string \"%s\" for the %s router", text,
                                 o->expand, r->name);
    addr->basic_errno = ERRNO_UIDFAIL;
    return told(addr);
  }
  addr->uid = pw.uid;
  addr->uid_set = true;
  if (pw.gid != (gid_t)-1) {
    addr->gid = pw.gid;
    addr->gid_set = true;
  }
  return ROUTE_OK;
}

static enum route_result get_gid(struct route_ctx *rc, struct router *r, struct address *addr) {
  const struct opt_id *o = &r->o.group;
  if (!o->is_set && !o->expand) return ROUTE_OK;
  const char *text;
  enum route_result res = id_option(rc, r, addr, "group", o, &text);
  if (res != ROUTE_OK) return res;
  if (!o->expand && o->is_set) {
    addr->gid = (gid_t)o->id;
  } else if (!route_find_group(text, &addr->gid)) {
    addr->message = arena_printf(rc->x->a, "Failed to find group \"%s\" from expanded string \"%s\" for the %s router", text,
                                 o->expand, r->name);
    addr->basic_errno = ERRNO_GIDFAIL;
    return told(addr);
  }
  addr->gid_set = true;
  return ROUTE_OK;
}

static enum route_result get_dir(struct route_ctx *rc, struct router *r, struct address *addr, const char *option,
                                 const char *value, const char **ret) {
  if (!value) return ROUTE_OK;
  const char *s = expand_string(rc->x, value);
  if (s) {
    *ret = *s ? s : NULL;
    return ROUTE_OK;
  }
  if (rc->x->forced_fail) return ROUTE_OK;
  addr->message = arena_printf(rc->x->a, "failed to expand %s \"%s\" for %s router: %s", option, value, r->name,
                               rc->x->error ? rc->x->error : "");
  return ROUTE_DEFER;
}

enum route_result route_get_user(struct route_ctx *rc, struct router *r, struct address *addr) {
  if (rc->pw) {
    addr->uid = rc->pw->uid;
    addr->gid = rc->pw->gid;
    addr->uid_set = addr->gid_set = true;
    addr->local_user = true;
    addr->home_dir = rc->pw->dir;
  } else {
    addr->home_dir = rc->x->home;
  }
  addr->initgroups = r->o.initgroups;
  enum route_result res = get_uid(rc, r, addr);
  if (res == ROUTE_OK) res = get_gid(rc, r, addr);
  if (res == ROUTE_OK)
    res = get_dir(rc, r, addr, "transport_home_directory", r->o.transport_home_directory, &addr->home_dir);
  if (res == ROUTE_OK)
    res = get_dir(rc, r, addr, "transport_current_directory", r->o.transport_current_directory, &addr->current_dir);
  return res;
}

/* May uid:gid use those mode bits (r=4, x=1)? */
static bool mode_allows(const struct stat *st, uid_t uid, gid_t gid, unsigned bit) {
  unsigned shift = st->st_uid == uid ? 6 : st->st_gid == gid ? 3 : 0;
  return uid == 0 || ((st->st_mode >> shift) & bit) != 0;
}

int route_file_exists(uid_t uid, gid_t gid, bool has_user, const char *path) {
  int rc = priv_access_as(has_user ? 0 : (uid_t)-1, has_user ? 0 : (gid_t)-1, path, 0);
  struct stat st;
  if (rc == -EPERM || rc == -EINVAL) rc = stat(path, &st) == 0 ? 0 : -errno;
  if (rc == -ENOENT || rc == -ENOTDIR) return 0;
  if (rc < 0) return rc;
  if (!has_user) return 1;
  /* The rough check of the manual: x on each directory of the path, r on the file. */
  char buf[4096];
  size_t n = strlen(path);
  if (n >= sizeof(buf)) return -ENAMETOOLONG;
  for (size_t i = 1; i <= n; i++) {
    if (i < n && path[i] != '/') continue;
    memcpy(buf, path, i);
    buf[i] = '\0';
    if (stat(buf, &st) < 0) return errno == ENOENT ? 0 : -errno;
    if (!mode_allows(&st, uid, gid, i < n ? 1 : 4)) return -EACCES;
  }
  return 1;
}
