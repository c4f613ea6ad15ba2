/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Arbitrary datagrams to the queue manager: what is taken can be written again and reads the same. */
#include "queue_notice.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  struct queue_notice n, again;
  char buf[QUEUE_NOTICE_MAX];
  struct queue_answer answer;
  if (queue_answer_read(str_n((const char *)data, size), &answer)) {
    char again_buf[QUEUE_ANSWER_MAX];
    INVARIANT(queue_answer_write(again_buf, &answer) <= sizeof again_buf);
  }
  if (!queue_notice_read(str_n((const char *)data, size), &n)) return 0;
  size_t written = queue_notice_write(buf, &n);
  INVARIANT(written == size && memcmp(buf, data, size) == 0);
  INVARIANT(queue_notice_read(str_n(buf, written), &again) && again.kind == n.kind && again.hold_smtp == n.hold_smtp);
  return 0;
}
