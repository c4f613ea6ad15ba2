/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The signer: a process of the daemon that alone holds the private keys of TLS and does what needs them.  Floor: os.  doc/tls.txt.
 *
 * The acceptor forks it before it reads a certificate; it and its sessions have the certificates from the signer, and keys that only ask.  A
 * request is one message on a socket that all sessions share, with the descriptor on which to answer; a few threads of the signer read from it.
 * Who starts the signer keeps both ends: what is asked while there is none waits for the next one.  A session must close its copy of the far end,
 * or it could read what others ask.
 * The signer reads its files again when they have changed, and knows the keys before the last for a while: sessions may have the certificate of
 * before, and a new certificate may come before its key. */
#ifndef OS_TLS_SIGNER_H
#define OS_TLS_SIGNER_H

#include <sys/types.h>

#include "base/arena.h"
#include "base/macros.h"
#include "os/tls.h"

enum { TLS_SIGNER_PAIRS_MAX = 32 };

/* The asking side, in the parameters of a handshake (struct tls_params). */
struct tls_signer {
  int fd;                          /* towards the signer */
  unsigned generation;             /* counts the signers: with another one a self-signed key is another, too */
  pid_t child;                     /* the signer, where it is a child of the one who asks and must start the next one himself; else 0 */
};

/* Which files; strings belong to the caller and live as long as the process. */
struct tls_signer_plan {
  struct { const char *certificate, *privatekey; } pairs[TLS_SIGNER_PAIRS_MAX];
  unsigned npairs;                 /* 0: a self-signed pair for own_name */
  const char *own_name;
};

/* Can a signer serve these parameters?  Not when keys are named by URLs (PKCS #11), or there are too many, or too few. */
bool tls_signer_plan(struct arena *a, const struct tls_params *p, struct tls_signer_plan *ret);
/* The two ends: ret[0] for those who ask, ret[1] for the signer.  0 or -errno. */
MUST_CHECK int tls_signer_sockets(int ret[2]);
/* In a process of its own without root's rights: close all but fd (the signer's end), serve until the process that forked it, parent, ends.
 * TERM, INT and HUP are ignored: sessions that are still there may need it. */
NORETURN void tls_signer_run(const struct tls_signer_plan *plan, int fd, pid_t parent);

#endif
