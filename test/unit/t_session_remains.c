/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A session leaves nothing behind in its process (smtp_connections_per_process): all variables of the program that live as long as the process are
 * compared before and after a session, by name; so are the descriptors, and the bytes that the client sent are looked for in its memory. */
#include "unit.h"

#include <dirent.h>
#include <elf.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "daemon_priv.h"
#include "smtp_session.h"

extern char __data_start, _edata, __bss_start, _end; /* of the linker */

/* These count, or keep what belongs to the configuration; none holds anything of a client. */
static const char *const may_change[] = {
  "last_id",      /* numbers of message ids */
  "log_state",    /* when a log file's name was last looked at, the id of the newest message (checked apart) */
  "sys_state",    /* counts of calls */
  "range",        /* memory that is free again */
  "regexes",      /* how often patterns of the configuration were used */
};

static struct config *cfg;

static const char conf_text[] =
  "primary_hostname = mx.test.ex\nspool_directory = %s\nlog_file_path = %s/%%slog\nkeep_environment =\ntls_advertise_hosts =\nhost_lookup =\n"
  "queue_only\ncheck_spool_space = 0\ncheck_spool_inodes = 0\nsmtp_enforce_sync = false\n"
  "domainlist ours = test.ex : ^more\\\\d+\\.test\n"
  "acl_smtp_connect = c\nacl_smtp_helo = c\nacl_smtp_mail = m\nacl_smtp_rcpt = r\nacl_smtp_data = d\nacl_smtp_quit = c\n"
  "begin acl\n"
  "c:\n  accept set acl_c_seen = $acl_c_seen,${lookup{${sender_helo_name}}lsearch{%s}{$value}{none}}\n"
  "m:\n  deny senders = refused@b\n  accept set acl_m_who = $sender_address\n"
  "r:\n  deny local_parts = bad\n       message = not for ${uc:$local_part}\n"
  "  accept domains = +ours\n         condition = ${if match{$local_part}{^(.)(.*)}{${if eq{$1}{x}{no}{yes}}}}\n         control = submission\n"
  "         add_header = X-Seen: $acl_c_seen\n"
  "d:\n  warn control = freeze\n  accept condition = ${if match{$h_subject:}{(?i)spam}{no}{yes}}\n"
  "begin authenticators\nplain:\n  driver = plaintext\n  public_name = PLAIN\n  server_condition = ${if eq{$auth3}{HUSH%%HUSH}}\n"
  "  server_set_id = $auth2\n  server_advertise_condition = true\n";

/* AUTH PLAIN of jack and HUSH%HUSH. */
#define SESSION(mark)                                                                                                                     \
  "EHLO host-" mark ".test\r\nAUTH PLAIN AGphY2sASFVTSCVIVVNI\r\nMAIL FROM:<from-" mark "@a.test> SIZE=100\r\nRCPT TO:<bad@test.ex>\r\n" \
  "RCPT TO:<to-" mark "@test.ex>\r\nRCPT TO:<x@more7.test>\r\nDATA\r\nSubject: subject-" mark "\r\n\r\nbody-" mark "\r\n.\r\n"         \
  "MAIL FROM:<refused@b>\r\nVRFY who-" mark "@test.ex\r\nNONSENSE " mark "\r\nMAIL FROM:<half-" mark "@a.test>\r\nQUIT\r\n"

static int setup(void **state) {
  if (scratch_setup(state) < 0 || mkdir(scratch_path("spool"), 0700) < 0 || mkdir(scratch_path("log"), 0700) < 0) return -1;
  const char *table = scratch_path("table");
  FILE *f = fopen(table, "we");
  if (!f || fputs("host-one.test: 1\n", f) < 0 || fclose(f) != 0) return -1;
  cfg = session_config("conf", conf_text, scratch_path("spool"), scratch_path("log"), table);
  if (!cfg) return -1;
  session_log(cfg);
  return 0;
}

static void serve(const char *input) {
  struct arena *a = arena_new("session");
  const char *codes = session_codes(a, session_run(a, cfg, str_c(input), NULL, 0));
  CHECK_STR("replies", codes, "220 250 235 250 550 250 550 354 250 550 252 500 250 221");
  arena_free(a);
  daemon_session_forget();
}

/* ---- the variables of the program ---- */

struct image {
  unsigned char *data, *bss;
};

/* By hand: between variables there are bytes that a sanitizer forbids to read. */
__attribute__((no_sanitize("address"), noinline)) static void copy(unsigned char *to, const volatile char *from, const volatile char *end) {
  while (from < end) *to++ = (unsigned char)*from++;
}

static struct image take(void) {
  struct image m = {malloc((size_t)(&_edata - &__data_start) + 1), malloc((size_t)(&_end - &__bss_start) + 1)};
  assert_true(m.data && m.bss);
  copy(m.data, &__data_start, &_edata);
  copy(m.bss, &__bss_start, &_end);
  return m;
}

static void drop(struct image m) {
  free(m.data);
  free(m.bss);
}

/* The program's file, for its names. */
static const unsigned char *own_file(void) {
  struct stat st;
  int fd = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
  assert_true(fd >= 0 && fstat(fd, &st) == 0);
  void *p = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
  assert_true(p != MAP_FAILED);
  close(fd);
  return p;
}

/* The variable at an address; "?" when nobody knows. */
static const char *name_of(const unsigned char *file, const char *address) {
  const Elf64_Ehdr *head = (const void *)file;
  const Elf64_Shdr *sections = (const void *)(file + head->e_shoff);
  for (int i = 0; i < head->e_shnum; i++) {
    if (sections[i].sh_type != SHT_SYMTAB) continue;
    const Elf64_Sym *symbols = (const void *)(file + sections[i].sh_offset);
    const char *names = (const char *)(file + sections[sections[i].sh_link].sh_offset);
    size_t n = sections[i].sh_size / sizeof *symbols;
    uintptr_t base = 0;
    for (size_t k = 0; k < n; k++)
      if (strcmp(names + symbols[k].st_name, "_edata") == 0) base = (uintptr_t)&_edata - symbols[k].st_value;
    for (size_t k = 0; k < n; k++) {
      if (ELF64_ST_TYPE(symbols[k].st_info) != STT_OBJECT) continue;
      if ((uintptr_t)address - base - symbols[k].st_value < symbols[k].st_size) return names + symbols[k].st_name;
    }
  }
  return "?";
}

/* A compiler may make several variables of one structure: "last_id.1". */
static bool is_expected(const char *name) {
  size_t n = strcspn(name, ".");
  for (size_t i = 0; i < ARRAY_SIZE(may_change); i++)
    if (strlen(may_change[i]) == n && strncmp(name, may_change[i], n) == 0) return true;
  return strncmp(name, "__", 2) == 0 || strncmp(name, "completed.", 10) == 0; /* the compiler's and the C library's */
}

static void compare(const unsigned char *file, const unsigned char *before, const unsigned char *after, const char *start, size_t n) {
  for (size_t i = 0; i < n; i++) {
    if (before[i] == after[i]) continue;
    const char *name = name_of(file, start + i);
    if (!is_expected(name)) fail_msg("the variable %s (at +%zu) was changed by a session", name, i);
  }
}

static void no_variable_is_changed(void **state) {
  (void)state;
  const unsigned char *file = own_file();
  CHECK_STR("names are found", name_of(file, (const char *)&cfg), "cfg");
  serve(SESSION("one"));
  serve(SESSION("one"));
  struct image before = take();
  serve(SESSION("two"));
  struct image after = take();
  compare(file, before.data, after.data, &__data_start, (size_t)(&_edata - &__data_start));
  compare(file, before.bss, after.bss, &__bss_start, (size_t)(&_end - &__bss_start));
  drop(before);
  drop(after);
  assert_null(log_message_id());
}

/* ---- descriptors and memory ---- */

enum { BLOCK = 1 << 20, MAPPING_MAX = 1 << 30 };

static int count_descriptors(void) {
  int n = 0;
  DIR *d = opendir("/proc/self/fd");
  assert_non_null(d);
  while (readdir(d)) n++;
  closedir(d);
  return n;
}

static void no_descriptor_stays_open(void **state) {
  (void)state;
  serve(SESSION("one"));
  int before = count_descriptors();
  for (int i = 0; i < 20; i++) serve(SESSION("two"));
  CHECK_INT("descriptors", count_descriptors(), before);
}

/* Writable memory of this process that holds the text, but for the stack, where the text itself is; 0 none.  Its own copy is the text backwards. */
__attribute__((no_sanitize("address"), noinline)) static int count_in_memory(const char *backwards) {
  char line[512], text[64], *p = text;
  for (const char *b = backwards + strlen(backwards); b > backwards;) *p++ = *--b;
  size_t n = (size_t)(p - text);
  int found = 0;
  FILE *maps = fopen("/proc/self/maps", "re");
  int mem = open("/proc/self/mem", O_RDONLY | O_CLOEXEC);
  assert_true(maps && mem >= 0);
  unsigned char *block = mmap(NULL, BLOCK, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  assert_true(block != MAP_FAILED);
  while (fgets(line, sizeof line, maps)) {
    unsigned long from, to;
    if (sscanf(line, "%lx-%lx rw", &from, &to) != 2 || strstr(line, "rw-") == NULL || strstr(line, "[stack]")) continue;
    if (to - from > MAPPING_MAX || (uintptr_t)block - from < to - from) continue;
    for (ssize_t got; from < to && (got = pread(mem, block, MIN(BLOCK, to - from), (off_t)from)) > 0; from += (unsigned long)got)
      for (unsigned char *at = block; (at = memmem(at, (size_t)got - (size_t)(at - block), text, n)) != NULL; at++) found++;
  }
  munmap(block, BLOCK);
  close(mem);
  fclose(maps);
  return found;
}

/* What the client said is in no memory that was given back. */
static void nothing_said_stays_in_memory(void **state) {
  (void)state;
  arena_wipe_released();
  serve(SESSION("one"));
  /* Made here, so that the program has no copy: what was said is the text of SESSION("two") with other letters in it. */
  char input[sizeof SESSION("two")];
  memcpy(input, SESSION("two"), sizeof input);
  for (char *p = input; (p = strstr(p, "two")) != NULL;) memcpy(p, "qzx", 3);
  serve(input);
  memset(input, 0, sizeof input);
  static const char *const backwards[] = {"xzq-tsoh", "xzq-morf", "xzq-ot", "xzq-ydob", "xzq-tcejbus", "xzq-flah"};
  for (size_t i = 0; i < ARRAY_SIZE(backwards); i++) CHECK_INT(backwards[i], count_in_memory(backwards[i]), 0);
}

int main(void) {
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(no_variable_is_changed),
    cmocka_unit_test(no_descriptor_stays_open),
    cmocka_unit_test(nothing_said_stays_in_memory),
  };
  return cmocka_run_group_tests(tests, setup, scratch_teardown);
}
