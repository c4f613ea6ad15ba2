/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Parsing the command line.  Floor: main.  Manual ch. 5.
 *
 * One table of options.  An option with a value takes it from the same argument or from the next one, as the row says; the longest matching name
 * wins, an exact match before all.  The caller of a setuid program writes these texts: nothing here trusts them. */
#include "cmdline.h"

#include <limits.h>

#include "base/base62.h"
#include "base/ip.h"
#include "base/timeutil.h"
#include "os/debug.h"

enum arg_kind {
  ARG_NONE,      /* exactly the name */
  ARG_NEXT,      /* value is the next argument */
  ARG_EITHER,    /* glued or next */
  ARG_GLUED,     /* glued, may be empty */
};

struct parse {
  struct cmdline *c;
  const char *error;
  char **next;       /* arguments not looked at yet */
};

struct cmd_option {
  const char *name;
  enum arg_kind arg;
  bool (*set)(struct parse *p, const struct cmd_option *o, const char *value); /* NULL: accepted and ignored */
  size_t offset;
  int number;
};

static bool fail(struct parse *p, const char *fmt, ...) PRINTF(2, 3);
static bool fail(struct parse *p, const char *fmt, ...) {
  va_list ap;
  va_start(ap, fmt);
  p->error = arena_vprintf(p->c->a, fmt, ap);
  va_end(ap);
  return false;
}

/* ---- Setters ---- */

static bool set_flag(struct parse *p, const struct cmd_option *o, const char *value) {
  (void)value;
  *(bool *)(void *)((char *)p->c + o->offset) = true;
  return true;
}

static bool set_text(struct parse *p, const struct cmd_option *o, const char *value) {
  *(const char **)(void *)((char *)p->c + o->offset) = value;
  return true;
}

/* What goes into lines of files and of headers. */
static bool set_line(struct parse *p, const struct cmd_option *o, const char *value) {
  if (strpbrk(value, "\r\n")) return fail(p, "exim: the text after %s must not have a line end\n", o->name);
  return set_text(p, o, value);
}

/* A daemon does nothing else; to show its version or configuration is no action of that kind. */
static bool goes_with_daemon(enum cmd_action a) {
  return a == CMD_DAEMON || a == CMD_QUEUE_RUN || a == CMD_VERSION || a == CMD_PRINT || a == CMD_HELP || a == CMD_INFO;
}

static bool set_action(struct parse *p, const struct cmd_option *o, const char *value) {
  enum cmd_action before = p->c->action, now = (enum cmd_action)o->number;
  (void)value;
  if (p->c->action_set && ((before == CMD_DAEMON && !goes_with_daemon(now)) || (now == CMD_DAEMON && !goes_with_daemon(before))))
    return fail(p, "exim: incompatible command-line options or arguments\n");
  p->c->action = (enum cmd_action)o->number;
  p->c->action_set = true;
  return true;
}

static bool set_info(struct parse *p, const struct cmd_option *o, const char *value) {
  p->c->help_for = value;
  return set_action(p, o, NULL);
}

static bool set_smtp(struct parse *p, const struct cmd_option *o, const char *value) {
  p->c->ignore_dots |= o->number == CMD_SMTP;
  return set_action(p, o, value);
}

static bool set_daemon(struct parse *p, const struct cmd_option *o, const char *value) {
  p->c->daemon_foreground = o->number == 1;
  p->c->background_smtp = true;
  return set_action(p, &(struct cmd_option){.number = CMD_DAEMON}, value);
}

static bool set_inetd_wait(struct parse *p, const struct cmd_option *o, const char *value) {
  int64_t sec = 0;
  (void)o;
  if (*value && !time_parse_interval(str_c(value), false, &sec)) return fail(p, "exim: bad time value -bw%s: abandoned\n", value);
  p->c->inetd_wait = true;
  p->c->inetd_timeout_sec = (int)MIN(sec, (int64_t)INT_MAX);
  return set_action(p, &(struct cmd_option){.number = CMD_DAEMON}, NULL);
}

static bool set_list(struct parse *p, const struct cmd_option *o, const char *value) {
  static const struct {
    const char *flags;
    bool sorted;
    enum queue_list_kind kind;
  } forms[] = {{"", true, QUEUE_LIST_NORMAL},          {"a", true, QUEUE_LIST_PLUS_GENERATED},  {"u", true, QUEUE_LIST_UNDELIVERED},
               {"i", true, QUEUE_LIST_IDS},            {"r", false, QUEUE_LIST_NORMAL},         {"ra", false, QUEUE_LIST_PLUS_GENERATED},
               {"ru", false, QUEUE_LIST_UNDELIVERED},  {"ri", false, QUEUE_LIST_IDS}};
  (void)o;
  for (size_t i = 0; i < ARRAY_SIZE(forms); i++) {
    if (strcmp(value, forms[i].flags) != 0) continue;
    p->c->list_sorted = forms[i].sorted;
    p->c->list_kind = forms[i].kind;
    return set_action(p, &(struct cmd_option){.number = CMD_LIST}, NULL);
  }
  return fail(p, "exim abandoned: unknown, malformed, or incomplete option -bp%s\n", value);
}

/* "ip", "ip.port" or "[ip]:port"; who uses it splits it again. */
static bool check_ip_text(struct parse *p, const char *value) {
  char *copy = str_dup(p->c->a, str_c(value));
  if (!ip_text_kind(copy, NULL) && copy[0] != '[' && !strchr(copy, ':')) {
    char *dot = strrchr(copy, '.');
    if (dot) *dot = 0;
    if (!ip_text_kind(copy, NULL)) return fail(p, "exim abandoned: \"%s\" is not an IP address\n", value);
  }
  return true;
}

static bool set_address(struct parse *p, const struct cmd_option *o, const char *value) {
  return check_ip_text(p, value) && set_text(p, o, value);
}

static bool set_host_check(struct parse *p, const struct cmd_option *o, const char *value) {
  if (!check_ip_text(p, value)) return false;
  p->c->check_ip = value;
  p->c->check_callout = o->number == 1;
  return set_action(p, &(struct cmd_option){.number = CMD_HOST_CHECK}, NULL);
}

static bool set_expand_message(struct parse *p, const struct cmd_option *o, const char *value) {
  p->c->expand_message = value;
  return set_action(p, o, NULL);
}

/* An action and its file.  -bf and -bF may stand together. */
static bool set_file_action(struct parse *p, const struct cmd_option *o, const char *value) {
  return set_text(p, o, value) && set_action(p, o, NULL);
}

static bool set_macro(struct parse *p, const struct cmd_option *o, const char *value) {
  struct arena *a = p->c->a;
  size_t n = 0, count = 0;
  (void)o;
  while (ch_isspace(*value)) value++;
  if (!ch_isupper(*value)) return fail(p, "exim: macro name set by -D must start with an upper case letter\n");
  while (ch_isalnum(value[n]) || value[n] == '_') n++;
  const char *v = value + n;
  while (ch_isspace(*v)) v++;
  if (*v && *v++ != '=') return fail(p, "exim: malformed macro definition -D%s\n", value);
  while (ch_isspace(*v)) v++;
  struct macro *m = ARENA_NEW(a, struct macro);
  m->name = str_dup(a, str_n(value, n));
  m->value = v;
  m->from_command_line = true;
  for (const struct macro *old = p->c->macros; old; old = old->next, count++)
    if (strcmp(old->name, m->name) == 0) return fail(p, "exim: duplicated -D in command line\n");
  if (count >= 10) return fail(p, "exim: too many -D options on command line\n");
  m->next = p->c->macros;
  p->c->macros = m;
  return true;
}

static bool set_debug(struct parse *p, const struct cmd_option *o, const char *value) {
  (void)o;
  p->c->debug = true;
  if (*value == 'd') {
    p->c->debug_daemon_only = true;
    value++;
  }
  if (!debug_parse(value, &p->c->debug_bits)) return fail(p, "exim: unknown debug_selector setting: %s\n", value);
  return true;
}

static bool set_errors(struct parse *p, const struct cmd_option *o, const char *value) {
  if (strcmp(value, "e") == 0) {
    p->c->errors_to_stderr = false;
    p->c->error_exit = 0;
  } else if (strcmp(value, "m") == 0 || strcmp(value, "w") == 0) {
    p->c->errors_to_stderr = false;
    p->c->error_exit = 1;
  } else if (strcmp(value, "p") == 0 || strcmp(value, "q") == 0) {
    p->c->errors_to_stderr = true;
    p->c->error_exit = 1;
  } else {
    return fail(p, "exim abandoned: unknown, malformed, or incomplete option %s%s\n", o->name, value);
  }
  return true;
}

enum { OD_BACKGROUND, OD_FOREGROUND, OD_QUEUE, OD_QUEUE_SMTP };

static bool set_delivery(struct parse *p, const struct cmd_option *o, const char *value) {
  (void)value;
  if (o->number == OD_QUEUE_SMTP) { /* goes with the others */
    p->c->queue_smtp = true;
    return true;
  }
  p->c->deliver_background = o->number == OD_BACKGROUND;
  p->c->deliver_foreground = o->number == OD_FOREGROUND;
  p->c->queue_only = o->number == OD_QUEUE;
  return true;
}

static bool set_time(struct parse *p, const struct cmd_option *o, const char *value) {
  int64_t *to = (int64_t *)(void *)((char *)p->c + o->offset);
  if (!time_parse_interval(str_c(value), false, to)) return fail(p, "exim: bad time value %s: abandoned\n", value);
  return true;
}

/* The number may be left out: one message then. */
static bool set_batch_max(struct parse *p, const struct cmd_option *o, const char *value) {
  (void)o;
  if (!*value) value = *p->next && ch_isdigit(**p->next) ? *p->next++ : "1";
  if (!str_parse_i64(str_c(value), &p->c->max_messages_per_connection) || p->c->max_messages_per_connection < 0)
    return fail(p, "exim: number expected after -oB\n");
  return true;
}

static bool set_protocol(struct parse *p, const struct cmd_option *o, const char *value) {
  (void)o;
  if (!*value || strpbrk(value, "\r\n")) return fail(p, "exim abandoned: unknown, malformed, or incomplete option -p\n");
  const char *colon = strchr(value, ':');
  p->c->om_protocol = colon ? str_dup(p->c->a, str_n(value, (size_t)(colon - value))) : value;
  if (colon) p->c->om_host = colon + 1;
  return true;
}

static bool set_perl(struct parse *p, const struct cmd_option *o, const char *value) {
  (void)value;
  p->c->perl_start = o->number ? CMD_PERL_NOW : CMD_PERL_LATER;
  return true;
}

static bool set_bounce(struct parse *p, const struct cmd_option *o, const char *value) {
  (void)o;
  if (*value && !msgid_is_valid(str_c(value)))
    return fail(p, "exim abandoned: unknown, malformed, or incomplete option -E%s\n", value);
  p->c->is_bounce = true;
  p->c->bounce_of = *value ? value : NULL;
  return true;
}

static bool set_message_ref(struct parse *p, const struct cmd_option *o, const char *value) {
  (void)o;
  if (!msgid_is_valid(str_c(value))) return fail(p, "exim: -oMm must be a valid message ID\n");
  p->c->om_message_ref = value;
  return true;
}

/* The number does not matter, but one it has to be. */
static bool set_hops(struct parse *p, const struct cmd_option *o, const char *value) {
  int hops;
  (void)o;
  return str_parse_int(str_c(value), &hops) ? true : fail(p, "exim abandoned: unknown, malformed, or incomplete option -h\n");
}

static bool set_syslog_tag(struct parse *p, const struct cmd_option *o, const char *value) {
  (void)o;
  if (strlen(value) > 32) return fail(p, "exim: the -L syslog name is too long: \"%s\"\n", value);
  p->c->syslog_tag = value;
  return true;
}

static bool set_dots_and_extract(struct parse *p, const struct cmd_option *o, const char *value) {
  (void)o;
  (void)value;
  p->c->ignore_dots = p->c->extract_recipients = true;
  return true;
}

/* ---- Queue runs ---- */

/* Flags of -q, and of -R and -S: returns the rest. */
static const char *queue_flags(struct queue_run_opts *r, const char *s, bool is_q) {
  if (is_q && *s == 'q') {
    r->two_stage = true;
    s++;
  }
  if (is_q && *s == 'i') {
    r->first_only = true;
    s++;
  }
  if (*s == 'f') {
    r->forced = true;
    s++;
    if (*s == 'f') {
      r->force_thaw = true;
      s++;
    }
  }
  if (is_q && *s == 'l') {
    r->local_only = true;
    s++;
  }
  return s;
}

static bool next_is_id(struct parse *p) {
  return *p->next && msgid_is_valid(str_c(*p->next));
}

static bool set_selector(struct parse *p, const struct cmd_option *o, const char *value);

static bool set_queue(struct parse *p, const struct cmd_option *o, const char *value) {
  struct cmdline *c = p->c;
  const char *s = queue_flags(&c->run, value, true);
  int64_t sec = 0;
  (void)o;
  c->queue_run = true;
  if (*s == 'R' || *s == 'S') return set_selector(p, &(struct cmd_option){.name = *s == 'R' ? "-R" : "-S", .number = *s == 'S'}, s + 1);
  if (*s == 'G') {
    const char *slash = strchr(++s, '/');
    size_t n = slash ? (size_t)(slash - s) : strlen(s);
    c->run.name = str_dup(c->a, str_n(s, n));
    if (!config_queue_name_is_valid(c->run.name)) return fail(p, "exim: bad name of a queue: -q%s\n", value);
    s = slash ? slash + 1 : s + n;
  }
  if (!*s && !c->action_set && *p->next && **p->next != '-' && !next_is_id(p)) s = *p->next++;
  if (*s && !time_parse_interval(str_c(s), false, &sec)) return fail(p, "exim: bad time value -q%s: abandoned\n", value);
  c->queue_interval_sec = (int)sec;
  if (!sec && !c->action_set && next_is_id(p)) {
    c->run.start_id = *p->next++;
    if (next_is_id(p)) c->run.stop_id = *p->next++;
  }
  if (c->action_set) return true;
  return set_action(p, &(struct cmd_option){.number = sec ? CMD_DAEMON : CMD_QUEUE_RUN}, NULL);
}

/* -R and -S: flags glued, the string in the next argument (or glued when no flag fits). */
static bool set_selector(struct parse *p, const struct cmd_option *o, const char *value) {
  struct cmdline *c = p->c;
  bool is_sender = o->number == 1, is_regex = *value == 'r';
  struct queue_run_opts before = c->run;
  const char *s = queue_flags(&c->run, value + is_regex, false);
  const char *text = NULL;
  if (*s) {
    c->run = before;
    is_regex = false;
    text = value;
  } else if (*p->next) {
    text = *p->next++;
  } else {
    return fail(p, "exim: string expected after %s\n", o->name);
  }
  if (is_sender) {
    c->run.match_sender = text;
    c->run.sender_is_regex = is_regex;
  } else {
    c->run.match_recipient = text;
    c->run.recipient_is_regex = is_regex;
  }
  c->queue_run = true;
  return c->action_set ? true : set_action(p, &(struct cmd_option){.number = CMD_QUEUE_RUN}, NULL);
}

/* ---- -M ---- */

enum { M_MIN_ONE_ID = 0, M_ONE_ID = 1, M_ID_AND_ADDRESS = 2, M_ID_AND_ADDRESSES = 3 };

static const struct {
  const char *suffix;
  enum cmd_message_action action;
  enum queue_action queue_action;
  int shape;
} message_options[] = {
    {"", CMD_M_DELIVER, QUEUE_REMOVE, M_MIN_ONE_ID},
    {"ar", CMD_M_QUEUE_ACTION, QUEUE_ADD_RECIPIENT, M_ID_AND_ADDRESSES},
    {"c", CMD_M_DELIVER_DUE, QUEUE_REMOVE, M_MIN_ONE_ID},
    {"es", CMD_M_QUEUE_ACTION, QUEUE_EDIT_SENDER, M_ID_AND_ADDRESS},
    {"f", CMD_M_QUEUE_ACTION, QUEUE_FREEZE, M_MIN_ONE_ID},
    {"G", CMD_M_QUEUE_ACTION, QUEUE_MOVE, M_MIN_ONE_ID},
    {"g", CMD_M_QUEUE_ACTION, QUEUE_GIVE_UP, M_MIN_ONE_ID},
    {"mad", CMD_M_QUEUE_ACTION, QUEUE_MARK_ALL_DELIVERED, M_MIN_ONE_ID},
    {"md", CMD_M_QUEUE_ACTION, QUEUE_MARK_DELIVERED, M_ID_AND_ADDRESSES},
    {"rm", CMD_M_QUEUE_ACTION, QUEUE_REMOVE, M_MIN_ONE_ID},
    {"t", CMD_M_QUEUE_ACTION, QUEUE_THAW, M_MIN_ONE_ID},
    {"vb", CMD_M_QUEUE_ACTION, QUEUE_SHOW_BODY, M_ONE_ID},
    {"vc", CMD_M_QUEUE_ACTION, QUEUE_SHOW_COPY, M_ONE_ID},
    {"vh", CMD_M_QUEUE_ACTION, QUEUE_SHOW_HEADER, M_ONE_ID},
    {"vl", CMD_M_QUEUE_ACTION, QUEUE_SHOW_LOG, M_ONE_ID},
};

/* All that follows belongs to -M. */
static bool take_ids(struct parse *p, int shape, const char *option) {
  size_t n = 0;
  if (!*p->next) return fail(p, "exim: no message ids given after %s option\n", option);
  for (; *p->next; n++) {
    const char *arg = *p->next++;
    bool must_be_id = shape == M_MIN_ONE_ID || shape == M_ONE_ID || n == 0;
    if (must_be_id && !msgid_is_valid(str_c(arg))) return fail(p, "exim: malformed message id %s after %s option\n", arg, option);
    vec_push(&p->c->args, (void *)(uintptr_t)arg);
  }
  if (shape == M_ONE_ID && n != 1) return fail(p, "*** Only one message can be listed at once\n");
  return true;
}

static bool set_message(struct parse *p, const struct cmd_option *o, const char *value) {
  struct cmdline *c = p->c;
  (void)o;
  if (strcmp(value, "set") == 0) { /* no action of its own: -be is */
    if (!*p->next) return fail(p, "exim: no message ids given after -Mset option\n");
    if (!msgid_is_valid(str_c(*p->next))) return fail(p, "exim: malformed message id %s after -Mset option\n", *p->next);
    c->expand_spooled = *p->next++;
    return true;
  }
  if (*value == 'G') {
    c->move_to = value[1] ? value + 1 : *p->next ? *p->next++ : NULL;
    if (!c->move_to || !config_queue_name_is_valid(c->move_to)) return fail(p, "exim: queue name expected after -MG\n");
    value = "G";
  }
  if (strcmp(value, "CG") == 0) { /* no action of its own: what is submitted goes to that queue */
    if (!*p->next || !config_queue_name_is_valid(*p->next)) return fail(p, "exim: queue name expected after -MCG\n");
    p->c->run.name = *p->next++;
    return true;
  }
  if (*value == 'C')
    return fail(p, "exim: option -M%s is not supported by this build\n", value);
  for (size_t i = 0; i < ARRAY_SIZE(message_options); i++) {
    if (strcmp(value, message_options[i].suffix) != 0) continue;
    c->message_action = message_options[i].action;
    c->queue_action = message_options[i].queue_action;
    c->message_option = arena_printf(c->a, "-M%s", value);
    if (!take_ids(p, message_options[i].shape, c->message_option)) return false;
    return set_action(p, &(struct cmd_option){.number = CMD_MESSAGE}, NULL);
  }
  return fail(p, "exim abandoned: unknown, malformed, or incomplete option -M%s\n", value);
}

/* -atrn HOST DOMAINS */
static bool set_atrn(struct parse *p, const struct cmd_option *o, const char *value) {
  if (!*p->next) return fail(p, "exim: host and domains expected after -atrn\n");
  p->c->atrn_host = value;
  p->c->atrn_domains = *p->next++;
  return set_action(p, o, NULL);
}

/* ---- The table ---- */

#define FLAG(n, field) {n, ARG_NONE, set_flag, offsetof(struct cmdline, field), 0}
#define TEXT(n, kind, field) {n, kind, set_text, offsetof(struct cmdline, field), 0}
#define ACTION(n, act) {n, ARG_NONE, set_action, 0, act}
#define IGNORED(n, kind) {n, kind, NULL, 0, 0}

static const struct cmd_option options[] = {
    IGNORED("--", ARG_NONE),
    ACTION("--help", CMD_HELP),
    FLAG("--plan", plan),
    ACTION("--version", CMD_VERSION),
    {"-atrn", ARG_NEXT, set_atrn, 0, CMD_ATRN},
    IGNORED("-B", ARG_EITHER),
    {"-bd", ARG_NONE, set_daemon, 0, 0},
    {"-bdf", ARG_NONE, set_daemon, 0, 1},
    ACTION("-be", CMD_EXPAND),
    {"-bem", ARG_NEXT, set_expand_message, 0, CMD_EXPAND},
    {"-bF", ARG_NEXT, set_file_action, offsetof(struct cmdline, system_filter_file), CMD_TEST_FILTER},
    {"-bf", ARG_NEXT, set_file_action, offsetof(struct cmdline, filter_file), CMD_TEST_FILTER},
    TEXT("-bfd", ARG_NEXT, filter_domain),
    TEXT("-bfl", ARG_NEXT, filter_local_part),
    TEXT("-bfp", ARG_NEXT, filter_prefix),
    TEXT("-bfs", ARG_NEXT, filter_suffix),
    {"-bh", ARG_NEXT, set_host_check, 0, 0},
    {"-bhc", ARG_NEXT, set_host_check, 0, 1},
    ACTION("-bi", CMD_ALIASES),
    {"-bI:", ARG_GLUED, set_info, 0, CMD_INFO},
    ACTION("-bm", CMD_SUBMIT),
    {"-bmalware", ARG_NEXT, set_file_action, offsetof(struct cmdline, malware_file), CMD_MALWARE},
    FLAG("-bnq", no_qualify),
    ACTION("-bP", CMD_PRINT),
    {"-bp", ARG_GLUED, set_list, 0, 0},
    ACTION("-bpc", CMD_COUNT),
    ACTION("-brt", CMD_TEST_RETRY),
    ACTION("-brw", CMD_TEST_REWRITE),
    {"-bS", ARG_NONE, set_smtp, 0, CMD_BATCH_SMTP},
    {"-bs", ARG_NONE, set_smtp, 0, CMD_SMTP},
    ACTION("-bt", CMD_TEST_ADDRESS),
    ACTION("-bV", CMD_VERSION),
    ACTION("-bv", CMD_VERIFY_RECIPIENT),
    ACTION("-bvs", CMD_VERIFY_SENDER),
    {"-bw", ARG_GLUED, set_inetd_wait, 0, 0},
    TEXT("-C", ARG_EITHER, config_files),
    {"-D", ARG_GLUED, set_macro, 0, 0},
    {"-d", ARG_GLUED, set_debug, 0, 0},
    IGNORED("-dropcr", ARG_NONE),
    {"-E", ARG_GLUED, set_bounce, 0, 0},
    {"-e", ARG_GLUED, set_errors, 0, 0},
    TEXT("-F", ARG_EITHER, full_name),
    TEXT("-f", ARG_EITHER, sender),
    FLAG("-G", gateway),
    {"-h", ARG_EITHER, set_hops, 0, 0},
    FLAG("-i", ignore_dots),
    {"-L", ARG_EITHER, set_syslog_tag, 0, 0},
    {"-M", ARG_GLUED, set_message, 0, 0},
    IGNORED("-m", ARG_NONE),
    FLAG("-N", dont_deliver),
    FLAG("-n", no_labels),
    IGNORED("-O", ARG_EITHER),
    TEXT("-oA", ARG_EITHER, alias_file),
    {"-oB", ARG_GLUED, set_batch_max, 0, 0},
    {"-odb", ARG_NONE, set_delivery, 0, OD_BACKGROUND},
    IGNORED("-odd", ARG_NONE),
    {"-odf", ARG_NONE, set_delivery, 0, OD_FOREGROUND},
    {"-odi", ARG_NONE, set_delivery, 0, OD_FOREGROUND},
    {"-odq", ARG_NONE, set_delivery, 0, OD_QUEUE},
    {"-odqs", ARG_NONE, set_delivery, 0, OD_QUEUE_SMTP},
    {"-oe", ARG_GLUED, set_errors, 0, 0},
    FLAG("-oi", ignore_dots),
    FLAG("-oitrue", ignore_dots),
    {"-oMa", ARG_NEXT, set_address, offsetof(struct cmdline, om_address), 0},
    {"-oMaa", ARG_NEXT, set_line, offsetof(struct cmdline, om_auth_name), 0},
    {"-oMai", ARG_NEXT, set_line, offsetof(struct cmdline, om_auth_id), 0},
    {"-oMas", ARG_NEXT, set_line, offsetof(struct cmdline, om_auth_sender), 0},
    {"-oMi", ARG_NEXT, set_address, offsetof(struct cmdline, om_interface), 0},
    {"-oMm", ARG_NEXT, set_message_ref, 0, 0},
    {"-oMr", ARG_NEXT, set_line, offsetof(struct cmdline, om_protocol), 0},
    {"-oMs", ARG_NEXT, set_line, offsetof(struct cmdline, om_host), 0},
    {"-oMt", ARG_NEXT, set_line, offsetof(struct cmdline, om_ident), 0},
    IGNORED("-om", ARG_NONE),
    IGNORED("-oo", ARG_NONE),
    TEXT("-oP", ARG_NEXT, pid_file),
    ACTION("-oPX", CMD_REMOVE_PID),
    {"-or", ARG_EITHER, set_time, offsetof(struct cmdline, receive_timeout_sec), 0},
    {"-os", ARG_EITHER, set_time, offsetof(struct cmdline, smtp_receive_timeout_sec), 0},
    FLAG("-ov", verbose),
    TEXT("-oX", ARG_NEXT, listen),
    FLAG("-oY", no_notifier),
    {"-p", ARG_GLUED, set_protocol, 0, 0},
    {"-pd", ARG_NONE, set_perl, 0, 0},
    {"-ps", ARG_NONE, set_perl, 0, 1},
    {"-q", ARG_GLUED, set_queue, 0, 0},
    {"-qR", ARG_GLUED, set_selector, 0, 0},
    {"-qS", ARG_GLUED, set_selector, 0, 1},
    {"-R", ARG_GLUED, set_selector, 0, 0},
    TEXT("-r", ARG_EITHER, sender),
    {"-S", ARG_GLUED, set_selector, 0, 1},
    TEXT("-Tqt", ARG_NEXT, run.ages),
    FLAG("-t", extract_recipients),
    {"-ti", ARG_NONE, set_dots_and_extract, 0, 0},
    FLAG("-tls-on-connect", tls_on_connect),
    IGNORED("-U", ARG_NONE),
    FLAG("-v", verbose),
    IGNORED("-x", ARG_NONE),
    IGNORED("-X", ARG_EITHER),
    TEXT("-z", ARG_NEXT, log_line),
};

/* The row for an argument: the exact name, else the longest name that takes a glued value. */
static const struct cmd_option *find_option(const char *arg) {
  const struct cmd_option *best = NULL;
  size_t best_len = 0;
  for (size_t i = 0; i < ARRAY_SIZE(options); i++) {
    const struct cmd_option *o = &options[i];
    size_t n = strlen(o->name);
    if (strcmp(arg, o->name) == 0) return o;
    bool glued = o->arg == ARG_EITHER || o->arg == ARG_GLUED;
    if (glued && n > best_len && strncmp(arg, o->name, n) == 0) {
      best = o;
      best_len = n;
    }
  }
  return best;
}

/* Some options name what they miss; the rest get the general message. */
static bool value_missing(struct parse *p, const struct cmd_option *o) {
  if (strcmp(o->name, "-bf") == 0 || strcmp(o->name, "-bF") == 0) return fail(p, "exim: file name expected after %s\n", o->name);
  if (strcmp(o->name, "-oA") == 0 || strncmp(o->name, "-bf", 3) == 0) return fail(p, "exim: string expected after %s\n", o->name);
  if (strcmp(o->name, "-O") == 0 || strcmp(o->name, "-X") == 0) return fail(p, "exim: string expected after %s\n", o->name);
  if (strcmp(o->name, "-or") == 0 || strcmp(o->name, "-os") == 0) return fail(p, "exim: bad time value %s: abandoned\n", o->name);
  if (strcmp(o->name, "-atrn") == 0) return fail(p, "exim: host and domains expected after -atrn\n");
  if (strcmp(o->name, "-z") == 0) return fail(p, "exim: file name expected after -z\n");
  if (strncmp(o->name, "-oM", 3) == 0) return fail(p, "exim: data expected after %s\n", o->name);
  return fail(p, "exim abandoned: unknown, malformed, or incomplete option %s\n", o->name);
}

static bool parse_option(struct parse *p, const char *arg) {
  if (strcmp(arg, "-oM") == 0) return fail(p, "exim: data expected after -oM\n");
  const struct cmd_option *o = find_option(arg);
  if (!o) return fail(p, "exim abandoned: unknown, malformed, or incomplete option %s\n", arg);
  const char *value = arg + strlen(o->name);
  if (o->arg == ARG_NEXT || (o->arg == ARG_EITHER && !*value)) {
    if (!*p->next) return value_missing(p, o);
    value = *p->next++;
  }
  return o->set ? o->set(p, o, value) : true;
}

static void apply_program_name(struct cmdline *c) {
  const char *s = c->program;
  if (strcmp(s, "mailq") == 0) c->action = CMD_LIST;
  else if (strcmp(s, "rsmtp") == 0) c->action = CMD_BATCH_SMTP;
  else if (strcmp(s, "newaliases") == 0) c->action = CMD_ALIASES;
  else if (strcmp(s, "runq") == 0) {
    c->action = CMD_QUEUE_RUN;
    c->queue_run = true;
  } else if (strcmp(s, "rmail") == 0) {
    c->ignore_dots = true;
    c->error_exit = 0;
    return;
  } else {
    return;
  }
  c->action_set = true;
}

/* Actions that read a message do not go together with those that do something else. */
static bool check_combination(struct parse *p) {
  const struct cmdline *c = p->c;
  bool reads_message = c->action == CMD_SUBMIT || c->action == CMD_BATCH_SMTP;
  bool bad = (c->extract_recipients && !reads_message && !c->expand_message && c->action != CMD_VERSION && c->action != CMD_PRINT) ||
             ((c->action == CMD_QUEUE_RUN || c->action == CMD_TEST_FILTER || c->action == CMD_ATRN) && c->args.n > 0) ||
             (c->sender && (c->action == CMD_SMTP || c->action == CMD_BATCH_SMTP || c->action == CMD_DAEMON)) || /* the client says MAIL */
             (c->queue_run && c->action != CMD_DAEMON && c->action != CMD_QUEUE_RUN && c->action != CMD_VERSION && c->action != CMD_LIST && c->action != CMD_COUNT &&
              !(c->action == CMD_MESSAGE && c->run.name));
  return bad ? fail(p, "exim: incompatible command-line options or arguments\n") : true;
}

bool cmdline_parse(struct cmdline *c, struct arena *a, int argc, char **argv, const char **ret_error) {
  *c = (struct cmdline){.a = a, .error_exit = 1, .receive_timeout_sec = -1, .smtp_receive_timeout_sec = -1,
                        .max_messages_per_connection = -1, .list_sorted = true};
  c->args = vec_new(a);
  const char *slash = argc > 0 ? strrchr(argv[0], '/') : NULL;
  c->program = slash ? slash + 1 : argc > 0 ? argv[0] : "exim";
  apply_program_name(c);
  struct parse p = {.c = c, .next = argc > 0 ? argv + 1 : argv};
  bool ok = true;
  while (ok && *p.next) {
    const char *arg = *p.next++;
    if (arg[0] != '-') {
      vec_push(&c->args, (void *)(uintptr_t)arg);
      /* From the first other argument on, all are: an address or a text may begin with "-". */
      while (*p.next) vec_push(&c->args, *p.next++);
      continue;
    }
    ok = parse_option(&p, arg);
  }
  if (ok) ok = check_combination(&p);
  if (!ok) *ret_error = p.error;
  return ok;
}
