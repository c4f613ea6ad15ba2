# SPDX-License-Identifier: GPL-2.0-or-later
#
# Sandbox.pm - the small world in which one case runs.
#
# A case gets its own mount, network, host name, IPC and process namespaces:
# fixed ports never collide, users exist without touching the machine, and no
# process survives the case. This module prepares the store that all cases share
# (an edited copy of /etc, the suite's tree with substitutions done, the patched
# program) and, inside the namespaces, sets the world up and runs commands as
# the caller or as root. test/README lists the users and addresses.

package Sandbox;

use strict;
use warnings;
use Fcntl qw(:DEFAULT :mode);
use File::Basename qw(dirname basename);
use File::Find ();
use POSIX qw(:sys_wait_h);
use Socket qw(AF_INET AF_INET6 SOCK_DGRAM SOCK_STREAM inet_pton inet_ntop);

# Four letters: some expected sizes in the Exim suite depend on the length of the login.
our %CALLER = (name => 'olaf', uid => 4001, gid => 4001, group => 'olaf', gecos => 'Probe User');
our %EXIM   = (name => 'eximtest', uid => 4002, gid => 4002, group => 'eximtest');
our $HOSTNAME = 'myhost.harness.test';
our $IPV4 = '192.0.2.10';
our $IPV6 = '2001:db8:1:2:3:4:5:10'; # eight groups: written in one way only
our %PORTS = (N => 1223, S => 1224, D => 1225, D2 => 1226, D3 => 1227, D4 => 1228);

# Far from the pids of a freshly made namespace, which would be suspiciously small numbers.
use constant FIRST_PID => 20000;

my @HELPERS = qw(client client-gnutls client-anytls server fakens mtpscript iefbr14 showids fd);
my @TOOLS = qw(exim_dumpdb exim_lock exinext exigrep eximstats exiqgrep exim_msgdate exim_id_update exim_dbmbuild);

# ---- files ----

sub slurp {
  my ($path) = @_;
  open my $f, '<:raw', $path or return undef;
  local $/;
  my $text = <$f>;
  return defined $text ? $text : '';
}

sub spew {
  my ($path, $text, $mode) = @_;
  open my $f, '>:raw', $path or die "cannot write $path: $!\n";
  print {$f} $text or die "cannot write $path: $!\n";
  close $f or die "cannot write $path: $!\n";
  chmod $mode, $path if defined $mode;
}

sub make_dir {
  my ($path, $mode, $uid, $gid) = @_;
  mkdir $path or $!{EEXIST} or die "cannot make $path: $!\n";
  chmod $mode, $path;
  chown $uid, $gid, $path if defined $uid;
}

sub run_quietly {
  my @cmd = @_;
  system(@cmd) == 0 or die "command failed: @cmd\n";
}

# ---- substitutions (confs, scripts, aux-var-src, dnszones-src) ----

# $w: dir exim_user exim_group number port_dynamic mail_group
sub substitute {
  my ($text, $w) = @_;
  $text =~ s/\bCALLER\b/$CALLER{name}/g;
  $text =~ s/\bCALLERGROUP\b/$CALLER{group}/g;
  $text =~ s/\bCALLER_UID\b/$CALLER{uid}/g;
  $text =~ s/\bCALLER_GID\b/$CALLER{gid}/g;
  $text =~ s/\bCLAMSOCKET\b/$w->{dir}\/eximdir\/clam_sock/g;
  $text =~ s/\bDIR\//$w->{dir}\//g;
  $text =~ s/\bEXIMGROUP\b/$w->{exim_group}/g;
  $text =~ s/\bEXIMUSER\b/$w->{exim_user}/g;
  $text =~ s/\bHOSTIPV4\b/$IPV4/g;
  $text =~ s/\bHOSTIPV6\b/$IPV6/g;
  $text =~ s/\bHOSTNAME\b/$HOSTNAME/g;
  $text =~ s/(?:\b|(?<=_))PORT_D\b/$PORTS{D}/g;
  $text =~ s/\bPORT_$_\b/$PORTS{$_}/g for qw(D2 D3 D4 N S);
  $text =~ s/\bTESTNUM\b/$w->{number}/g;
  $text =~ s/(?:\b|(?<=_))V4NET/224/g;
  $text =~ s/\bV6NET:?/ff00:/g;
  $text =~ s/\bPORT_DYNAMIC\b/$w->{port_dynamic}/g if defined $w->{port_dynamic};
  $text =~ s/\bMAILGROUP\b/$w->{mail_group}/g;
  return $text;
}

# ---- the store: made once, outside ----

sub edit_table {
  my ($path, @lines) = @_;
  my %taken = map { (split /:/)[0] => 1 } @lines;
  my %id = map { (split /:/)[2] => 1 } @lines;
  my $old = slurp($path) // '';
  my @kept = grep { my @f = split /:/; @f < 3 || !($taken{ $f[0] } || $id{ $f[2] }) } split /\n/, $old;
  spew($path, join('', map { "$_\n" } @kept, @lines), 0644);
}

sub make_etc {
  my ($etc, $home, $extra) = @_;
  run_quietly('cp', '-a', '/etc', $etc);
  my @users = ([\%CALLER, $home, '/bin/sh', $CALLER{gecos}], [\%EXIM, '/nonexistent', '/usr/sbin/nologin', '']);
  push @users, [{ %$extra, group => $extra->{name} }, '/nonexistent', '/usr/sbin/nologin', ''] if $extra;
  edit_table("$etc/passwd", map { "$_->[0]{name}:x:$_->[0]{uid}:$_->[0]{gid}:$_->[3]:$_->[1]:$_->[2]" } @users);
  edit_table("$etc/group", "$CALLER{group}:x:$CALLER{gid}:",
    map { "$_->[0]{group}:x:$_->[0]{gid}:$CALLER{name}" } @users[1 .. $#users]);
  my $short = (split /\./, $HOSTNAME)[0];
  for my $name (qw(hosts resolv.conf nsswitch.conf)) {
    unlink "$etc/$name";
  }
  spew("$etc/hosts", "127.0.0.1 localhost\n::1 localhost\n$IPV4 $HOSTNAME $short\n$IPV6 $HOSTNAME $short\n", 0644);
  spew("$etc/resolv.conf", "nameserver 127.0.0.1\noptions timeout:1 attempts:1\n", 0644);
  spew("$etc/nsswitch.conf", "passwd: files\ngroup: files\nshadow: files\nhosts: files dns\n", 0644);
}

# Copies the program under test and switches its harness mode on: the mark ">>>running<<<" becomes
# "<<<testing>>>", and the version, which stands before the mark "<<eximversion>>", becomes "x.yz".
sub patch_program {
  my ($from, $to) = @_;
  my $bytes = slurp($from) // die "cannot read $from: $!\n";
  my $is_marked = $bytes =~ s/>>>running<<</<<<testing>>>/;
  my $is_versioned = $bytes =~ s/([0-9][\w.+~-]{3,})(\0+<<eximversion>>)/"x.yz" . pad_version(length($1) - 4) . $2/e;
  spew($to, $bytes, 0755);
  return $is_marked && $is_versioned;
}

sub pad_version {
  my ($n) = @_;
  return $n > 0 ? "\0" . '*' x ($n - 1) : '';
}

sub make_dns_zones {
  my ($from, $to, $w) = @_;
  make_dir($to, 0755);
  if (opendir my $d, $from) {
    for my $name (grep { !/^\./ } readdir $d) {
      my $new = $name;
      $new =~ s/^db\.ip4\.V4NET$/db.ip4.224/;
      $new =~ s/^db\.ip6\.V6NET$/db.ip6.0.0.f.f/;
      spew("$to/$new", substitute(slurp("$from/$name"), $w), 0644);
    }
  }
  my ($short, $domain) = split /\./, $HOSTNAME, 2;
  spew("$to/db.$domain", "; the host itself\n\nPASS ON NOT FOUND\n\n$short     A     $IPV4\n$short     AAAA  $IPV6\n", 0644);
  my ($first, @rest) = split /\./, $IPV4;
  add_reverse("$to/db.ip4.$first", join('.', reverse @rest));
  my @groups = map { sprintf '%04x', hex } split /:/, $IPV6;
  my $head = join '.', reverse split //, shift @groups;
  add_reverse("$to/db.ip6.$head", join('.', reverse split //, join '', @groups));
}

sub add_reverse {
  my ($path, $name) = @_;
  open my $f, '>>:raw', $path or die "cannot write $path: $!\n";
  print {$f} "\n$name     PTR  $HOSTNAME.\n";
  close $f;
}

sub make_aux_var {
  my ($from, $to, $w) = @_;
  make_dir($to, 0755);
  if (opendir my $d, $from) {
    for my $name (grep { !/^\./ } readdir $d) {
      my ($number) = $name =~ /^(\d+)/;
      spew("$to/$name", substitute(slurp("$from/$name"), { %$w, number => $number // 0 }), 0644);
    }
  }
  symlink '/bin/sh', "$to/sh";
}

sub copy_tools {
  my ($eximdir, $tool_dirs) = @_;
  for my $tool (@TOOLS) {
    my ($found) = grep { -x } map { "$_/$tool" } @$tool_dirs;
    run_quietly('cp', '-L', $found, "$eximdir/$tool") if defined $found;
  }
}

sub make_eximdir {
  my ($eximdir, $o) = @_;
  make_dir($eximdir, 0750);
  copy_tools($eximdir, $o->{tool_dirs});
  my $is_patched = patch_program($o->{exim}, "$eximdir/exim");
  run_quietly('cp', "$eximdir/exim", "$eximdir/exim_exim");
  return $is_patched;
}

# Gives the tree its owners; set-id bits last, because chown clears them.
sub own_tree {
  my ($tree, $w) = @_;
  run_quietly('chown', '-Rh', "$CALLER{uid}:$CALLER{gid}", $tree);
  run_quietly('chmod', '-R', 'u+w,go-w', $tree);
  run_quietly('chgrp', '-R', $w->{exim_gid}, "$tree/eximdir");
  chmod 0755, glob "$tree/eximdir/*";
  chmod 0750, "$tree/eximdir";
  chown 0, 0, "$tree/eximdir/exim";
  chmod 04755, "$tree/eximdir/exim";
  chown $w->{exim_uid}, $w->{exim_gid}, "$tree/eximdir/exim_exim";
  chmod 06755, "$tree/eximdir/exim_exim";
}

# $o: suite bin exim tool_dirs; $w as for substitute() plus exim_uid exim_gid
sub make_tree {
  my ($tree, $o, $w) = @_;
  make_dir($tree, 0755);
  for my $name (qw(aux-fixed confs)) {
    make_dir("$tree/$name", 0755);
    run_quietly('cp', '-a', "$o->{suite}/$name/.", "$tree/$name") if -d "$o->{suite}/$name";
  }
  make_aux_var("$o->{suite}/aux-var-src", "$tree/aux-var", $w);
  make_dns_zones("$o->{suite}/dnszones-src", "$tree/dnszones", $w);
  make_dir("$tree/bin", 0755);
  for my $helper (@HELPERS) {
    run_quietly('cp', '-P', "$o->{bin}/$helper", "$tree/bin/$helper") if -e "$o->{bin}/$helper";
  }
  my $is_patched = make_eximdir("$tree/eximdir", $o);
  own_tree($tree, $w);
  return $is_patched;
}

# ---- inside: network, mounts ----

use constant {
  SIOCSIFADDR => 0x8916, SIOCSIFFLAGS => 0x8914, SIOCSIFNETMASK => 0x891c, SIOCGIFINDEX => 0x8933,
  IFF_UP => 1,
};

sub set_up_network {
  socket my $s, AF_INET, SOCK_DGRAM, 0 or die "socket: $!\n";
  my $flags = pack 'a16 s x22', 'lo', IFF_UP;
  ioctl $s, SIOCSIFFLAGS, $flags or die "cannot bring lo up: $!\n";
  add_ipv4($s, 'lo:1', $IPV4);
  my $index_request = pack 'a16 i x20', 'lo', 0;
  ioctl $s, SIOCGIFINDEX, $index_request or die "no index of lo: $!\n";
  my $index = unpack 'x16 i', $index_request;
  socket my $s6, AF_INET6, SOCK_DGRAM, 0 or return;
  my $request = pack 'a16 I i', inet_pton(AF_INET6, $IPV6), 128, $index;
  ioctl $s6, SIOCSIFADDR, $request or warn "cannot add $IPV6: $!\n";
}

sub add_ipv4 {
  my ($s, $name, $ip) = @_;
  for my $pair ([SIOCSIFADDR, $ip], [SIOCSIFNETMASK, '255.255.255.255']) {
    my $request = pack 'a16 S n a4 x16', $name, AF_INET, 0, inet_pton(AF_INET, $pair->[1]);
    ioctl $s, $pair->[0], $request or die "cannot set address $ip: $!\n";
  }
}

# Makes the world of one case. Returns nothing; dies with a reason.
sub enter {
  my ($store, $run_dir) = @_;
  spew('/proc/sys/kernel/hostname', $HOSTNAME);
  eval { spew('/proc/sys/kernel/ns_last_pid', FIRST_PID) };
  run_quietly('mount', '--bind', "$store/etc", '/etc');
  run_quietly('mount', '-t', 'tmpfs', '-o', 'mode=755,size=512m', 'runtest', $run_dir);
  set_up_network();
  run_quietly('cp', '-a', "$store/tree", "$run_dir/test");
  make_dir("$run_dir/home", 0755, @CALLER{qw(uid gid)});
  chdir "$run_dir/test" or die "cannot enter $run_dir/test: $!\n";
  umask 022;
}

# ---- inside: processes ----

my %status; # pid => wait status of reaped processes

# Collects every process that ended; orphans of the case come to us too.
sub reap {
  while ((my $pid = waitpid -1, WNOHANG) > 0) {
    $status{$pid} = $?;
  }
}

# Waits for a process; undef when it has not ended after the limit (seconds).
sub wait_for {
  my ($pid, $limit) = @_;
  my $deadline = defined $limit ? time() + $limit : undef;
  my $nap = 0.002;
  for (;;) {
    reap();
    return delete $status{$pid} if exists $status{$pid};
    return 0 if !kill(0, $pid) && !exists $status{$pid};
    return undef if defined $deadline && time() >= $deadline;
    nap($nap);
    $nap = 0.02 if ($nap *= 1.5) > 0.02;
  }
}

sub nap {
  select undef, undef, undef, $_[0];
}

sub become {
  my ($who) = @_;
  return if $who eq 'root';
  my @groups = ($CALLER{gid}, $CALLER{gid}, @{ $_[1] });
  $) = join ' ', @groups;
  POSIX::setgid($CALLER{gid});
  POSIX::setuid($CALLER{uid});
  die "cannot become $CALLER{name}\n" if $< != $CALLER{uid} || $> != $CALLER{uid};
}

sub clean_environment {
  my ($who, $dir, $number, $more) = @_;
  my $path = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin';
  my %new = (PATH => $path, TERM => $ENV{TERM} // 'dumb', SHELL => "$dir/aux-var/sh",
    USER => $who eq 'root' ? 'root' : $CALLER{name}, EXIM_TEST_NUMBER => $number);
  $new{$_} = $ENV{$_} for grep { /^EXIM_TEST_/ && $_ ne 'EXIM_TEST_NUMBER' } keys %ENV;
  %ENV = (%new, %{ $more || {} });
}

# Starts a shell command. $o: as (caller|root), dir, number, env, groups, stdin (file handle or undef)
sub start {
  my ($command, $o) = @_;
  my $pid = fork;
  die "cannot fork: $!\n" unless defined $pid;
  return $pid if $pid;
  $SIG{PIPE} = $SIG{ALRM} = $SIG{TERM} = 'DEFAULT';
  if (defined $o->{stdin}) {
    open STDIN, '<&', $o->{stdin} or POSIX::_exit(126);
  } else {
    open STDIN, '<', '/dev/null' or POSIX::_exit(126);
  }
  eval {
    clean_environment($o->{as}, $o->{dir}, $o->{number}, $o->{env});
    become($o->{as}, $o->{groups});
  };
  POSIX::_exit(126) if $@;
  { exec '/bin/sh', '-c', $command }
  POSIX::_exit(127);
}

# Processes of this world besides ourselves: list of [pid, command line].
sub processes {
  my @found;
  opendir my $d, '/proc' or return;
  for my $pid (grep { /^\d+$/ && $_ != $$ } readdir $d) {
    my $state = slurp("/proc/$pid/stat") // next;
    next if $state =~ /^\d+ \(.*\) Z/s;
    my $command = slurp("/proc/$pid/cmdline") // '';
    $command =~ tr/\0/ /;
    push @found, [$pid, $command] if length $command;
  }
  return @found;
}

1;
