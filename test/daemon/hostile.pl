# SPDX-License-Identifier: GPL-2.0-or-later
# What users of the machine, slow peers and a full disk can do to the mail of others: nothing.
use strict;
use warnings;
use IO::Socket::INET;
use POSIX ();
use Socket qw(AF_UNIX SOCK_STREAM PF_UNSPEC);

sub delivered { my ($lab, $who) = @_; return scalar(() = $lab->log('main') =~ /=> \Q$who\E /g) }

# ---- files of users --------------------------------------------------------------------------------------------------

part('forward files' => sub {
    my ($lab) = @_;
    my $home = "$lab->{dir}/home";
    mkdir $home or die;
    DaemonLab::spew("$home/real", "joe\@far.test\n");
    DaemonLab::spew("$home/secret", "gone\@far.test\n");
    symlink 'real', "$home/.forward-link" or die;
    symlink 'secret', "$home/.forward-secret" or die;
    symlink '/dev/zero', "$home/.forward-device" or die;
    POSIX::mkfifo("$home/.forward-pipe", 0600) or die;
    chown((getpwnam 'games')[2, 3], glob("$home/* $home/.forward-*"));
    chown 0, 0, "$home/secret";
    chmod 0600, "$home/secret";
    $lab->write_configuration(routers => <<"ROUTER");
forward:
  driver = redirect
  domains = local.test
  local_part_suffix = -*
  check_local_user
  file = $home/.forward\${if match{\$local_part_suffix}{link}{-link}{\${if match{\$local_part_suffix}{secret}{-secret}{\${if match{\$local_part_suffix}{device}{-device}{-pipe}}}}}}
ROUTER
    my %want = (
        link => qr/^joe\@far\.test\n/m,
        secret => qr/cannot be resolved at this time: failed to open .*: Permission denied/,
        device => qr/cannot be resolved at this time: .* is not a regular file/,
        pipe => qr/cannot be resolved at this time: .* is not a regular file/,
    );
    for my $kind (sort keys %want) {
        my $got = $lab->exim('', '-bt', "games-$kind\@local.test");
        check("a $kind", $got =~ $want{$kind}, $got);
    }
});

1;
