/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The pipe transport: a message to the standard input of a command.  Floor: drivers.  Manual ch. 29.
 *
 * The command line is split into words first and each word expanded after, so that expansion can never make more words.  No part of the command may be
 * tainted; only $pipe_addresses brings in addresses, as words of their own, and only a command from the configuration can ask for it.
 * The process already runs as the recipient's user.  Message and output travel at the same time (poll), so that a command that talks while it
 * reads cannot block us; output is bounded by max_output, the whole by timeout, and a command that overdoes either is killed with its group. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/vec.h"
#include "os/child.h"
#include "os/debug.h"
#include "os/sys.h"
#include "policy/match.h"
#include "transport_command.h"
#include "transports/drivers.h"

struct pipe_opts {
#define OPT_ROW(name, type, def, flags) OPT_FIELD_##type(name)
#include "transports/pipe_options.def"
#undef OPT_ROW
};

#define OPT_ROW(n, t, d, f) OPT_TABLE_ROW(struct pipe_opts, n, t, d, f)
static const struct option pipe_options[] = {
#include "transports/pipe_options.def"
};
#undef OPT_ROW

enum { NO_TIMEOUT_SEC = 10 * 366 * 86400, SHELL_SIGNAL_BASE = 128 };

static const char default_prefix[] = "From ${if def:return_path{$return_path}{MAILER-DAEMON}} ${tod_bsdinbox}\n";

struct pipe_job {
  struct delivery *d;
  struct pipe_opts *ob;
  struct vec argv;        /* const char *, NULL at the end */
  const char *command;    /* as it was given: what expansion brings may be secret */
  struct child child;
  deadline_ms deadline;
  struct strbuf output;
  bool overdone, timed_out;
};

/* temp_errors: numbers, or an asterisk alone. */
static bool are_codes(struct arena *a, const char *list) {
  const char *item;
  int sep = -':', v;
  if (!list || strcmp(list, "*") == 0) return true;
  while ((item = list_next(a, &list, &sep)))
    if (!str_parse_int(str_c(item), &v) || v < 0) return false;
  return true;
}

static const char *pipe_init(struct arena *a, struct config *c, struct transport *t) {
  struct pipe_opts *ob = t->ob;
  (void)c;
  if (ob->return_output && ob->return_fail_output)
    return arena_printf(a, "both return_output and return_fail_output set for %s transport", t->name);
  if (ob->use_shell && (ob->allow_commands || ob->restrict_to_path))
    return arena_printf(a, "both %s and use_shell set for %s transport", ob->allow_commands ? "allow_commands" : "restrict_to_path", t->name);
  if (ob->log_output && ob->log_fail_output)
    return arena_printf(a, "both log_output and log_fail_output set for the %s transport", t->name);
  if (!are_codes(a, ob->temp_errors)) return arena_printf(a, "temp_errors must be a list of numbers or an asterisk for the %s transport", t->name);
  t->permits_core = ob->permit_coredump;
  t->names_recipients = ob->use_bsmtp;
  /* Stuffed dots take the place of check_string; the rest is for -bP. */
  if (ob->use_bsmtp) {
    ob->check_string = ".";
    ob->escape_string = "..";
    if (!opt_was_set(t->ob_block, "message_suffix")) ob->message_suffix = NULL;
  } else if (!opt_was_set(t->ob_block, "message_prefix")) {
    ob->message_prefix = default_prefix;
  }
  return NULL;
}

static bool set_result(struct pipe_job *j, enum outcome result, int err, const char *text) {
  transport_set_results(j->d->addrs, result, err, text);
  return false;
}

static bool misconfigured(struct pipe_job *j, const char *message) {
  transport_set_misconfigured(j->d->addrs, 0, message);
  return false;
}

static void freeze(struct pipe_job *j) {
  for (struct address *a = j->d->addrs; a; a = a->next) a->special_action = SPECIAL_FREEZE;
}

/* ---- the command line ------------------------------------------------------------------------------------- */

/* The transport's own command is the administrator's to mend, so the message waits; one from a filter is its author's: that delivery fails. */
static bool not_expanded(struct pipe_job *j, const char *what) {
  struct delivery *d = j->d;
  const char *text = arena_printf(d->arena, "Expansion of %s in %s transport failed: %s", what, d->transport->name, d->x->error ? d->x->error : "");
  return d->addrs->is_pipe ? set_result(j, OUTCOME_FAIL, 0, text) : misconfigured(j, text);
}

static bool add_word(struct pipe_job *j, const char *command, const char *word, bool expand) {
  struct delivery *d = j->d;
  struct arena *a = d->arena;
  if (strcmp(word, "$pipe_addresses") == 0) {
    for (const struct address *addr = d->addrs; addr; addr = addr->next) vec_push(&j->argv, arena_strdup(a, addr->address));
    return true;
  }
  const char *text = expand ? expand_string(d->x, word) : word;
  if (!text) return not_expanded(j, arena_printf(a, "\"%s\" from command \"%s\"", word, command));
  if (is_tainted(text))
    return set_result(j, OUTCOME_FAIL, 0, arena_printf(a, "Tainted arg %zu for %s transport command: '%s'", j->argv.n, d->transport->name, text));
  vec_push(&j->argv, arena_strdup(a, text));
  return true;
}

/* A filter's command sees the numbers and $thisaddress as they were when the filter obeyed it. */
static void restore_filter_values(struct delivery *d) {
  const struct address *addr = d->addrs;
  if (!addr->pipe_expandn) return;
  d->x->s.ncaptures = addr->pipe_expand_count;
  for (int i = 0; i < addr->pipe_expand_count; i++) d->x->s.captures[i] = addr->pipe_expandn[i];
  d->x->this_address = addr->pipe_this_address;
}

static bool add_address_pipe_words(struct pipe_job *j, const char *command) {
  struct str rest = str_c(command);
  const char *w;
  while ((w = transport_next_word(j->d->arena, &rest)))
    if (!add_word(j, command, w, j->d->addrs->allow_expand_pipe)) return false;
  return true;
}

static bool split_command(struct pipe_job *j, const char *command, bool expand, const char *address_pipe) {
  struct str rest = str_c(command);
  const char *w;
  while ((w = transport_next_word(j->d->arena, &rest))) {
    if (address_pipe && strcmp(w, "$address_pipe") == 0) {
      if (!add_address_pipe_words(j, address_pipe)) return false;
    } else if (!add_word(j, command, w, expand)) {
      return false;
    }
  }
  return true;
}

static bool shell_command(struct pipe_job *j, const char *command, bool expand) {
  j->d->x->recipients_for_shell = true;
  const char *text = expand ? expand_string(j->d->x, command) : command;
  j->d->x->recipients_for_shell = false;
  if (!text) return not_expanded(j, arena_printf(j->d->arena, "command \"%s\"", command));
  if (expand_taint_refused(j->d->x, text, arena_printf(j->d->arena, "command for %s transport", j->d->transport->name)))
    return misconfigured(j, j->d->x->error);
  vec_push(&j->argv, arena_strdup(j->d->arena, "/bin/sh"));
  vec_push(&j->argv, arena_strdup(j->d->arena, "-c"));
  vec_push(&j->argv, arena_strdup(j->d->arena, text));
  return true;
}

/* Is the command in allow_commands, or permitted by restrict_to_path? */
static bool is_permitted(struct pipe_job *j, const char *cmd, const char *line) {
  struct delivery *d = j->d;
  if (!j->ob->allow_commands && !j->ob->restrict_to_path) return true;
  if (j->ob->allow_commands) {
    const char *list = expand_option(d->x, "allow_commands", j->ob->allow_commands), *item;
    int sep = -':';
    if (!list)
      return set_result(j, OUTCOME_DEFER, ERRNO_EXPANDFAIL, arena_printf(d->arena, "failed to expand string \"%s\" for %s transport: %s",
                                                                         j->ob->allow_commands, d->transport->name, d->x->error));
    while ((item = list_next(d->arena, &list, &sep)))
      if (strcmp(item, cmd) == 0) return true;
    if (!j->ob->restrict_to_path)
      return set_result(j, OUTCOME_FAIL, 0, arena_printf(d->arena, "\"%s\" command not permitted by %s transport", cmd, d->transport->name));
  }
  if (!strchr(cmd, '/')) return true;
  return set_result(j, OUTCOME_FAIL, 0, arena_printf(d->arena, "\"/\" found in \"%s\" (command for %s transport) - failed for security reasons",
                                                     line, d->transport->name));
}

static bool find_on_path(struct pipe_job *j) {
  struct delivery *d = j->d;
  const char *cmd = j->argv.v[0];
  if (*cmd == '/') return true;
  const char *path = expand_option(d->x, "path", j->ob->path), *item;
  int sep = -':';
  if (path && is_tainted(path)) return set_result(j, OUTCOME_DEFER, ERRNO_TAINT, "Tainted path for command not permitted");
  while (path && (item = list_next(d->arena, &path, &sep))) {
    char *file = arena_printf(d->arena, "%s/%s", item, cmd);
    if (access(file, F_OK) != 0) continue;
    j->argv.v[0] = file;
    return true;
  }
  return set_result(j, OUTCOME_FAIL, 0, arena_printf(d->arena, "\"%s\" command not found for %s transport", cmd, d->transport->name));
}

static bool build_command(struct pipe_job *j) {
  struct delivery *d = j->d;
  const struct address *addr = d->addrs;
  const char *from_address = NULL, *command = j->ob->command;
  bool expand = true;
  if (addr->is_pipe) {
    from_address = addr->address + (*addr->address == '|');
    from_address += strspn(from_address, " \t");
    if (!j->ob->force_command) {
      command = from_address;
      expand = addr->allow_expand_pipe;
    }
  }
  if (!command || !*command)
    return set_result(j, OUTCOME_DEFER, 0, arena_printf(d->arena, "no command specified for %s transport", d->transport->name));
  if (expand_taint_refused(d->x, command, arena_printf(d->arena, "command for %s transport", d->transport->name)))
    return misconfigured(j, d->x->error);
  restore_filter_values(d);
  j->command = command;
  bool ok = j->ob->use_shell ? shell_command(j, command, expand)
                             : split_command(j, command, expand, j->ob->force_command ? from_address : NULL);
  if (!ok) return false;
  if (!j->argv.n)
    return set_result(j, OUTCOME_DEFER, 0, arena_printf(d->arena, "no command specified for %s transport", d->transport->name));
  if (!is_permitted(j, j->argv.v[0], command) || !find_on_path(j)) return false;
  vec_push(&j->argv, NULL);
  return true;
}

enum { ENV_MAX = 49 }; /* what is always there included */

/* ---- environment ------------------------------------------------------------------------------------------ */

static void put_env(struct arena *a, struct vec *env, const char *name, const char *value) {
  if (value) vec_push(env, arena_printf(a, "%s=%s", name, value));
}

static bool build_environment(struct pipe_job *j, struct vec *env) {
  struct delivery *d = j->d;
  struct arena *a = d->arena;
  const struct address *addr = d->addrs;
  const struct address *owner = addr->is_pipe && addr->parent ? addr->parent : addr;
  const char *local = owner->local_part ? owner->local_part : "";
  put_env(a, env, "LOCAL_PART", local);
  put_env(a, env, "LOGNAME", local);
  put_env(a, env, "USER", local);
  put_env(a, env, "LOCAL_PART_PREFIX", owner->prefix ? owner->prefix : "");
  put_env(a, env, "LOCAL_PART_SUFFIX", owner->suffix ? owner->suffix : "");
  put_env(a, env, "DOMAIN", owner->domain ? owner->domain : "");
  put_env(a, env, "HOME", d->home ? d->home : "");
  put_env(a, env, "MESSAGE_ID", d->msg->id);
  const char *path = expand_option(d->x, "path", j->ob->path);
  put_env(a, env, "PATH", path ? path : "");
  bool is_whole = strchr(owner->address, '@') != NULL; /* the system filter's own has no domain */
  put_env(a, env, "RECIPIENT", is_whole ? owner->address : arena_printf(a, "%s@%s", owner->address, owner->domain ? owner->domain : ""));
  put_env(a, env, "QUALIFY_DOMAIN", d->cfg->qualify_domain);
  put_env(a, env, "SENDER", d->msg->sender ? d->msg->sender : "");
  put_env(a, env, "SHELL", "/bin/sh");
  if (addr->host_list) put_env(a, env, "HOST", addr->host_list->name);
  put_env(a, env, "TZ", getenv("TZ"));
  if (j->ob->environment) {
    const char *list = expand_string(d->x, j->ob->environment), *item;
    int sep = -':';
    if (!list)
      return set_result(j, OUTCOME_DEFER, 0, arena_printf(a, "failed to expand string \"%s\" for %s transport: %s",
                                                                         j->ob->environment, d->transport->name, d->x->error));
    while ((item = list_next(a, &list, &sep))) {
      if (env->n >= ENV_MAX)
        return set_result(j, OUTCOME_DEFER, E2BIG, arena_printf(a, "too many environment settings for %s transport", d->transport->name));
      vec_push(env, arena_strdup(a, item));
    }
  }
  vec_push(env, NULL);
  return true;
}

/* ---- talking to the command ------------------------------------------------------------------------------- */

/* Read what there is.  False at the end of the output. */
static bool read_output(struct pipe_job *j) {
  char buf[4096];
  ssize_t n = sys_read(j->child.out_fd, buf, sizeof buf);
  if (n == -EAGAIN) return true;
  if (n <= 0) {
    close(j->child.out_fd);
    j->child.out_fd = -1;
    return false;
  }
  if (j->overdone) return true;
  strbuf_add_t(&j->output, buf, (size_t)n, TAINTED); /* up to one piece more than max_output */
  if (j->ob->max_output > 0 && (int64_t)j->output.n > j->ob->max_output) {
    DEBUG(D_TRANSPORT) debug_printf("Too much output from pipe - killed\n");
    strbuf_adds(&j->output, "\n\n*** Too much output - remainder discarded ***\n");
    j->overdone = true;
    child_kill(&j->child);
  }
  return true;
}

/* Wait until the command's input takes bytes (or its end of output when want_write is false).  0 or -ETIMEDOUT. */
static int wait_command(struct pipe_job *j, bool want_write, bool *ret_writable) {
  struct pollfd p[2] = {{.fd = want_write ? j->child.in_fd : -1, .events = POLLOUT}, {.fd = j->child.out_fd, .events = POLLIN}};
  int n = poll(p, 2, deadline_poll_ms(j->deadline));
  if (n < 0 && errno != EINTR) return -errno;
  if (n == 0) {
    j->timed_out = true;
    return -ETIMEDOUT;
  }
  if (n > 0 && p[1].revents) (void)read_output(j);
  *ret_writable = n > 0 && p[0].revents != 0;
  return 0;
}

static int feed(void *ctx, const void *data, size_t n) {
  struct pipe_job *j = ctx;
  const char *p = data;
  while (n) {
    bool writable = false;
    int r = wait_command(j, true, &writable);
    if (r < 0) return r;
    if (!writable) continue;
    ssize_t w = write(j->child.in_fd, p, n);
    if (w < 0 && errno != EAGAIN && errno != EINTR) return -errno;
    if (w > 0) {
      p += w;
      n -= (size_t)w;
    }
  }
  return 0;
}

/* what: "prefix" or "suffix". */
static int feed_extra(struct pipe_job *j, const char *what, const char *text) {
  struct delivery *d = j->d;
  if (!text || !*text) return 0;
  const char *s = expand_string(d->x, text);
  if (s) return feed(j, s, strlen(s));
  d->write_fault = (struct write_fault){.is_complete = true, .text = arena_printf(d->arena, "Expansion of \"%s\" (%s for %s transport) failed: %s", text, what,
                                                                                  d->transport->name, d->x->error ? d->x->error : "")};
  return -EPROTO;
}

static int write_message(struct pipe_job *j) {
  const struct opt_block *set = j->d->transport->ob_block;
  struct write_opts o = transport_write_opts(j->d->transport);
  o.crlf = j->ob->use_crlf;
  o.check_string = j->ob->check_string;
  o.escape_string = j->ob->escape_string;
  o.dot_stuff = j->ob->use_bsmtp;
  const char *prefix = opt_was_set(set, "message_prefix") ? j->ob->message_prefix : j->ob->use_bsmtp ? NULL : default_prefix;
  const char *suffix = opt_was_set(set, "message_suffix") || !j->ob->use_bsmtp ? j->ob->message_suffix : NULL;
  int r = feed_extra(j, "prefix", prefix);
  if (r == 0 && j->ob->use_bsmtp) r = transport_write_bsmtp_envelope(j->d, j->ob->use_crlf, feed, j);
  if (r == 0) r = transport_write_message(j->d, &o, feed, j, NULL);
  if (r == 0) r = feed_extra(j, "suffix", suffix);
  if (r == 0 && j->ob->use_bsmtp) r = j->ob->use_crlf ? feed(j, ".\r\n", 3) : feed(j, ".\n", 2);
  return r;
}

/* The command has its input; collect output until it is done.  Raw wait status, or -errno. */
static int finish_command(struct pipe_job *j, int *ret_status) {
  close(j->child.in_fd);
  j->child.in_fd = -1;
  while (j->child.out_fd >= 0) {
    bool unused;
    if (wait_command(j, false, &unused) < 0) break;
  }
  if (j->timed_out) child_kill(&j->child);
  if (j->child.out_fd >= 0) close(j->child.out_fd);
  int r = child_wait(&j->child, j->timed_out ? deadline_in_sec(5) : j->deadline, ret_status);
  if (r == -ETIMEDOUT) j->timed_out = true;
  return r;
}

/* ---- what it meant ---------------------------------------------------------------------------------------- */

/* Meanings of exit codes by sysexits.h convention. */
static const struct {
  int code;
  const char *text;
} exit_meanings[] = {
  {64, "usage or syntax error"}, {65, "error in input data"},      {66, "input data missing"},  {67, "user nonexistent"},
  {68, "host nonexistent"},     {69, "service or program unavailable"},      {70, "internal software error"},
  {71, "internal operating system error"}, {72, "system file missing"}, {73, "can't create output file"}, {74, "input/output error"},
  {75, "temporary error"},       {76, "protocol error"},    {77, "permission denied"},  {78, "configuration error"},
  {127, "unable to exec or command does not exist"},
};

static bool is_temporary(struct pipe_job *j, int code) {
  const char *list = j->ob->temp_errors, *item;
  int sep = -':', v;
  if (!list) return false;
  if (strcmp(list, "*") == 0) return true;
  while ((item = list_next(j->d->arena, &list, &sep)))
    if (str_parse_int(str_c(item), &v) && v == code) return true;
  return false;
}

/* Who is to have what the command says, NULL: nobody, so that it counts for nothing. */
static const char *output_reader(const struct pipe_job *j) {
  const struct delivery *d = j->d;
  const char *reader = d->addrs->prop.errors_address ? d->addrs->prop.errors_address : d->msg->sender;
  return reader && *reader ? reader : NULL;
}

static void judge_code(struct pipe_job *j, int code) {
  struct arena *a = j->d->arena;
  struct strbuf b = strbuf_new(a);
  strbuf_addf(&b, "Child process of %s transport returned %d", j->d->transport->name, code);
  for (size_t i = 0; i < ARRAY_SIZE(exit_meanings); i++)
    if (exit_meanings[i].code == code) strbuf_addf(&b, " (could mean %s)", exit_meanings[i].text);
  int signal = code - SHELL_SIGNAL_BASE; /* as shells have it */
  if (signal > 0) strbuf_addf(&b, " (could mean shell command ended by signal %d (%s))", signal, strsignal(signal));
  strbuf_addl(&b, " from command: ", (const char *)j->argv.v[0], NULL); /* arguments may be secrets */
  bool is_report = j->ob->return_output && j->output.n > 0 && output_reader(j); /* what it says is the reason to fail */
  bool temporary = !is_report && is_temporary(j, code);
  set_result(j, temporary ? OUTCOME_DEFER : OUTCOME_FAIL, temporary ? 0 : ERRNO_PIPEFAIL, b.p);
  for (struct address *addr = j->d->addrs; addr; addr = addr->next)
    if (!addr->user_message) addr->user_message = "local delivery failed"; /* the command's name is not for the sender */
}

static void judge_status(struct pipe_job *j, int status) {
  struct arena *a = j->d->arena;
  const char *name = j->d->transport->name;
  if (WIFSIGNALED(status)) {
    const char *text = arena_printf(a, "Child process of %s transport (running command \"%s\") was terminated by signal %d (%s)", name,
                                    j->command, WTERMSIG(status), strsignal(WTERMSIG(status)));
    if (j->ob->freeze_signal) {
      set_result(j, OUTCOME_DEFER, 0, text);
      freeze(j);
    } else if (!j->ob->ignore_status) {
      set_result(j, OUTCOME_FAIL, ERRNO_PIPEFAIL, text);
    }
    return;
  }
  int code = WEXITSTATUS(status);
  if (code != 0 && !j->ob->ignore_status) judge_code(j, code);
}

/* Output to be returned or logged, as a text: what it may hold is bounded by max_output. */
static void keep_output(struct pipe_job *j) {
  struct delivery *d = j->d;
  const struct pipe_opts *ob = j->ob;
  enum outcome result = d->addrs->result;
  bool wanted = (ob->return_output || ob->return_fail_output) && output_reader(j);
  bool logged = ob->log_output || (ob->log_fail_output && result == OUTCOME_FAIL) || (ob->log_defer_output && result == OUTCOME_DEFER);
  if (!j->output.n || (!wanted && !logged)) return;
  for (size_t i = 0; i < j->output.n; i++)
    if (!j->output.p[i]) j->output.p[i] = '?';
  for (struct address *a = d->addrs; a; a = a->next) {
    a->return_output = j->output.p;
    a->return_file_when = !wanted ? ADDR_RETURN_NONE : ob->return_output ? ADDR_RETURN_ALWAYS : ADDR_RETURN_ON_FAIL;
    a->log_output = logged && a == d->addrs;
  }
}

/* The command is there and cannot be run now: it is being written, its file system does not answer, the system is out of something. */
static bool is_passing(int err) {
  static const int passing[] = {EAGAIN, ENOMEM, EMFILE, ENFILE, ETXTBSY, EIO, ESTALE, ETIMEDOUT, ENOLINK};
  for (size_t i = 0; i < ARRAY_SIZE(passing); i++)
    if (err == passing[i]) return true;
  return false;
}

static void exec_failed(struct pipe_job *j, int err) {
  if (j->ob->freeze_exec_fail) {
    set_result(j, OUTCOME_DEFER, 0, arena_printf(j->d->arena, "pipe process failed to exec \"%s\"", (const char *)j->argv.v[0]));
    freeze(j);
  } else if (is_passing(err)) {
    set_result(j, OUTCOME_DEFER, err, arena_printf(j->d->arena, "Failed to create child process for %s transport: %s", j->d->transport->name,
                                                   strerror(err)));
  } else if (j->ob->ignore_status) {
    set_result(j, OUTCOME_OK, 0, NULL);
  } else {
    judge_code(j, 127);
  }
}

static void run_command(struct pipe_job *j, const struct vec *env) {
  struct delivery *d = j->d;
  struct child_spec spec = {.argv = (const char *const *)j->argv.v, .envp = (const char *const *)env->v, .uid = (uid_t)-1, .gid = (gid_t)-1,
                            .cwd = d->cwd, .umask = (int)j->ob->umask, .new_session = true, .stdin_fd = -1, .stdout_fd = -1};
  int r = child_run(&spec, &j->child);
  if (r < 0) {
    exec_failed(j, -r);
    return;
  }
  j->deadline = deadline_in_sec(j->ob->timeout > 0 ? j->ob->timeout : NO_TIMEOUT_SEC);
  (void)fcntl(j->child.in_fd, F_SETFL, O_NONBLOCK);
  int w = write_message(j), status = 0, err = 0;
  bool is_cut = w == -EPROTO && d->write_fault.text;
  if (is_cut) child_kill(&j->child); /* it must not take a part for the whole */
  r = finish_command(j, &status);
  set_result(j, OUTCOME_OK, 0, NULL);
  if (is_cut) {
    bool is_whole = d->write_fault.is_complete; /* a sentence of its own */
    char *text = arena_strdup(d->arena, transport_write_error(d, w, "", &err));
    bool hard = err == ETIMEDOUT && !j->ob->timeout_defer;
    if (!is_whole) text[0] = ch_upper(text[0]);
    if (err == ETIMEDOUT) set_result(j, hard ? OUTCOME_FAIL : OUTCOME_DEFER, hard ? ERRNO_PIPEFAIL : 0, "transport filter timeout while writing to pipe");
    else transport_set_misconfigured(d->addrs, err, text);
  } else if (j->timed_out) {
    set_result(j, j->ob->timeout_defer ? OUTCOME_DEFER : OUTCOME_FAIL, j->ob->timeout_defer ? 0 : ERRNO_PIPEFAIL, "pipe delivery process timed out");
  } else if (r < 0) {
    set_result(j, OUTCOME_DEFER, -r, arena_printf(d->arena, "Wait() failed for child process of %s transport: %s", d->transport->name, strerror(-r)));
  } else {
    judge_status(j, status);
  }
  if (d->addrs->result == OUTCOME_OK && w < 0 && w != -EPIPE) {
    const char *text = w == -EPROTO && d->x->error ? d->x->error : "error while writing to pipe";
    set_result(j, OUTCOME_DEFER, -w, text);
  }
  keep_output(j);
}

static bool pipe_deliver(struct delivery *d) {
  struct pipe_job j = {.d = d, .ob = d->transport->ob, .argv = vec_new(d->arena), .output = strbuf_new_t(d->arena, TAINTED, 64)};
  struct vec env = vec_new(d->arena);
  if (transport_size_refused(d)) return true;
  if (!build_command(&j) || !build_environment(&j, &env)) return true;
  if (d->dont_deliver) {
    transport_set_results(d->addrs, OUTCOME_OK, 0, "delivery bypassed by -N option");
    return true;
  }
  run_command(&j, &env);
  return true;
}

const struct transport_driver pipe_transport = {
  .name = "pipe",
  .options = pipe_options,
  .option_count = ARRAY_SIZE(pipe_options),
  .ob_size = sizeof(struct pipe_opts),
  .is_local = true,
  .init = pipe_init,
  .deliver = pipe_deliver,
};
