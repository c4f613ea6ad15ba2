/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * mtpscript.c - a scripted SMTP or LMTP peer on stdin and stdout.
 *
 *   mtpscript <script> [+]<log>
 *
 * Run by the program under test as the command of an lmtp or pipe transport.
 * Lines of the script that begin with a digit are sent; others say how the next
 * line from the other side must begin; "." takes lines up to a lone dot. The
 * log ("+": appended to) shows both sides. Test tool, no floor; foreign lines
 * are cut at a bounded buffer.
 */
#include <ctype.h>
#include <errno.h>
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { LINE_SIZE = 10240, READ_TIMEOUT_MS = 5000, EXIT_TIMEOUT = 99 };

struct peer {
  FILE *log;
  size_t in_at, in_end;
  char in[LINE_SIZE];
};

static bool
get_byte(struct peer *p, char *ret) {
  if (p->in_at == p->in_end) {
    struct pollfd f = { .fd = 0, .events = POLLIN };
    int rc;
    do
      rc = poll(&f, 1, READ_TIMEOUT_MS);
    while (rc < 0 && errno == EINTR);
    if (rc == 0) {
      fprintf(p->log, "Server timed out\n");
      fclose(p->log);
      exit(EXIT_TIMEOUT);
    }
    ssize_t n = read(0, p->in, sizeof p->in);
    if (n <= 0)
      return false;
    p->in_at = 0;
    p->in_end = (size_t)n;
  }
  *ret = p->in[p->in_at++];
  return true;
}

static size_t
trim_length(const char *line, size_t n) {
  while (n > 0 && isspace((unsigned char)line[n - 1]))
    n--;
  return n;
}

/* Reads one line, trims and logs it. Returns false at end of file. */
static bool
take_line(struct peer *p, char *line) {
  size_t n = 0;
  while (n + 1 < LINE_SIZE && get_byte(p, &line[n]))
    if (line[n++] == '\n')
      break;
  if (n == 0)
    return false;
  line[trim_length(line, n)] = '\0';
  fprintf(p->log, "<<< %s\n", line);
  return true;
}

/* Plays a line that waits for the other side. Returns false when the play is over. */
static bool
play_waiting(struct peer *p, const char *want) {
  char line[LINE_SIZE];
  bool is_body = strcmp(want, ".") == 0;
  bool want_eof = strcmp(want, "*eof") == 0;
  fprintf(p->log, "%s\n", want);
  do {
    if (!take_line(p, line)) {
      fprintf(p->log, "%s EOF read from client\n", want_eof ? "Expected" : "Unexpected");
      return false;
    }
  } while (is_body && strcmp(line, ".") != 0);
  if (is_body || strncmp(line, want, strlen(want)) == 0)
    return true;
  fprintf(p->log, "Comparison failed - bailing out\n");
  return false;
}

static bool
play_line(struct peer *p, const char *line) {
  if (isdigit((unsigned char)line[0])) {
    fprintf(p->log, "%s\n", line);
    printf("%s\r\n", line);
    fflush(stdout);
    return true;
  }
  if (strncmp(line, "*sleep ", 7) == 0) {
    struct timespec t = { .tv_sec = strtol(line + 7, NULL, 10) };
    while (nanosleep(&t, &t) < 0 && errno == EINTR)
      continue;
    return true;
  }
  return play_waiting(p, line);
}

static int
fail(const char *what, const char *name) {
  printf("500 %s %s: %s\r\n", what, name, strerror(errno));
  return 1;
}

int
main(int argc, char **argv) {
  static struct peer p;
  char *line = NULL;
  size_t size = 0;
  ssize_t n;
  if (argc < 3) {
    printf("500 mtpscript needs a script and a log\r\n");
    return 1;
  }
  FILE *script = fopen(argv[1], "r");
  if (script == NULL)
    return fail("cannot read", argv[1]);
  bool want_append = argv[2][0] == '+';
  p.log = fopen(argv[2] + want_append, want_append ? "a" : "w");
  if (p.log == NULL)
    return fail("cannot write", argv[2]);
  while ((n = getline(&line, &size, script)) >= 0) {
    line[trim_length(line, (size_t)n)] = '\0';
    if (!play_line(&p, line))
      break;
  }
  free(line);
  fclose(script);
  fclose(p.log);
  return 0;
}
