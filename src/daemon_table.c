/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The acceptor's table of session processes: who is served by which, and which of them wait for another connection.  Floor: flows.
 *
 * A process that waits was told nothing yet of its next client; the newest is taken first, so that those nobody needs grow old and are told to end
 * (the end of file on their socket).  What a process sends is foreign: it may have been taken over.  A byte means "done" when it was busy, and
 * anything else that it is to end. */
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "daemon_priv.h"
#include "os/fd_message.h"

void session_table_init(struct session_table *t, struct arena *a, bool has_idle) {
  *t = (struct session_table){.a = a, .poll_fd = has_idle ? epoll_create1(EPOLL_CLOEXEC) : -1};
}

static struct session_slot *free_slot(struct session_table *t) {
  for (int i = 0; i < t->nslots; i++)
    if (!t->slots[i].pid) return &t->slots[i];
  int more = t->nslots ? t->nslots : 64;
  struct session_slot *grown = ARENA_NEW_N(t->a, struct session_slot, (size_t)(t->nslots + more));
  if (t->nslots) memcpy(grown, t->slots, (size_t)t->nslots * sizeof(*grown));
  struct session_slot *slot = &grown[t->nslots];
  t->slots = grown;
  t->nslots += more;
  return slot;
}

int session_table_count_of(const struct session_table *t, const struct ip *ip) {
  int n = 0;
  for (int i = 0; i < t->nslots; i++)
    if (t->slots[i].pid && t->slots[i].state == SESSION_BUSY && ip_equal(&t->slots[i].peer.ip, ip)) n++;
  return n;
}

static void set_state(struct session_table *t, struct session_slot *slot, enum session_state state) {
  t->busy += (state == SESSION_BUSY) - (slot->state == SESSION_BUSY);
  t->idle += (state == SESSION_IDLE) - (slot->state == SESSION_IDLE);
  slot->state = state;
}

/* It ends with what it does now.  Closing the descriptor takes it out of the epoll set, too. */
static void retire(struct session_table *t, struct session_slot *slot) {
  if (slot->fd >= 0) close(slot->fd);
  slot->fd = -1;
  if (slot->state == SESSION_IDLE) set_state(t, slot, SESSION_LEAVING);
}

void session_table_add(struct session_table *t, pid_t pid, const struct net_end *peer, int fd, unsigned generation) {
  struct session_slot *slot = free_slot(t);
  *slot = (struct session_slot){.pid = pid, .state = SESSION_LEAVING /* not counted yet */, .peer = *peer, .fd = fd, .generation = generation};
  set_state(t, slot, SESSION_BUSY);
  struct epoll_event e = {.events = EPOLLIN, .data.u32 = (uint32_t)(slot - t->slots)};
  if (fd >= 0 && epoll_ctl(t->poll_fd, EPOLL_CTL_ADD, fd, &e) < 0) retire(t, slot);
}

static struct session_slot *newest_idle(struct session_table *t) {
  struct session_slot *best = NULL;
  for (int i = 0; i < t->nslots; i++) {
    struct session_slot *slot = &t->slots[i];
    if (slot->pid && slot->state == SESSION_IDLE && (!best || slot->idle_since_ms > best->idle_since_ms)) best = slot;
  }
  return best;
}

bool session_table_hand_over(struct session_table *t, const struct session_job *job, int fd, unsigned generation) {
  struct session_slot *slot;
  while (t->idle > 0 && (slot = newest_idle(t)) != NULL) {
    if (slot->generation == generation && fd_message_send(slot->fd, job, sizeof *job, fd, MSG_DONTWAIT) == 0) {
      slot->peer = job->peer;
      set_state(t, slot, SESSION_BUSY);
      return true;
    }
    retire(t, slot);
  }
  return false;
}

void session_table_note_done(struct session_table *t) {
  struct epoll_event events[64];
  int n;
  do {
    n = t->poll_fd < 0 ? 0 : epoll_wait(t->poll_fd, events, (int)ARRAY_SIZE(events), 0);
    for (int i = 0; i < n; i++) {
      struct session_slot *slot = &t->slots[events[i].data.u32];
      char bytes[2];
      if (slot->fd < 0) continue;
      if (recv(slot->fd, bytes, sizeof bytes, MSG_DONTWAIT) == 1 && slot->state == SESSION_BUSY) {
        set_state(t, slot, SESSION_IDLE);
        slot->idle_since_ms = time_mono_ms();
      } else {
        retire(t, slot);
      }
    }
  } while (n == (int)ARRAY_SIZE(events));
}

void session_table_retire_all(struct session_table *t) {
  for (int i = 0; i < t->nslots; i++)
    if (t->slots[i].pid) retire(t, &t->slots[i]);
}

void session_table_retire_idle(struct session_table *t) {
  int64_t now = time_mono_ms();
  if (t->idle == 0 || now - t->looked_ms < SESSION_IDLE_LOOK_MS) return;
  t->looked_ms = now;
  for (int i = 0; i < t->nslots; i++) {
    struct session_slot *slot = &t->slots[i];
    if (slot->pid && slot->state == SESSION_IDLE && now - slot->idle_since_ms >= SESSION_IDLE_MS) retire(t, slot);
  }
}

bool session_table_ended(struct session_table *t, pid_t pid, struct net_end *ret_peer) {
  for (int i = 0; i < t->nslots; i++) {
    struct session_slot *slot = &t->slots[i];
    if (slot->pid != pid) continue;
    retire(t, slot);
    set_state(t, slot, SESSION_LEAVING);
    slot->pid = 0;
    *ret_peer = slot->peer;
    return true;
  }
  return false;
}

void session_table_leave(const struct session_table *t) {
  if (t->poll_fd < 0) return;
  close(t->poll_fd);
  for (int i = 0; i < t->nslots; i++)
    if (t->slots[i].pid && t->slots[i].fd >= 0) close(t->slots[i].fd);
}
