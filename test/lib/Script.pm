# SPDX-License-Identifier: GPL-2.0-or-later
#
# Script.pm - runs the script of one case.
#
# The language is that of the Exim suite: one command a line, some followed by
# data lines up to "****". test/README has it on a page. A script is played
# inside the sandbox, in the test directory; what the commands print goes to
# test-stdout, test-stderr and their -server twins there. Failures are thrown
# as objects { kind => fail|skip, reason => text }.

package Script;

use strict;
use warnings;
use Socket qw(AF_INET SOCK_STREAM SOL_SOCKET SO_REUSEADDR INADDR_LOOPBACK pack_sockaddr_in);
use Sandbox ();

use constant {
  PID_FILE_TRIES => 30, PID_FILE_NAP => 0.3, SETTLE_NAP => 0.3, LOCK_NAP => 0.1,
  END_LIMIT => 30, LEFT_TRIES => 200, COMMAND_LIMIT => 240,
};

my $OUT = '>>test-stdout 2>>test-stderr';
my @FLAGS = qw(no_message_check no_msglog_check no_munge no_stderr_check no_stdout_check rmfiltertest sortlog);

# $o: dir, number, text, world (for substitutions), probe (what the program can do), groups, config_owner
sub new {
  my ($class, %o) = @_;
  my $self = bless {
    %o, lines => [split /\n/, $o{text}, -1], line_number => 0, flags => {}, custom => undef,
    servers => [], locks => [], keep_open => [], waited_pid => undef,
  }, $class;
  pop @{ $self->{lines} } if @{ $self->{lines} } && $self->{lines}[-1] eq '';
  $self->scan_flags();
  return $self;
}

sub throw {
  my ($kind, $reason) = @_;
  die { kind => $kind, reason => $reason };
}

sub fail {
  my ($self, $reason) = @_;
  throw('fail', "script line $self->{line_number}: $reason");
}

# ---- reading ----

sub scan_flags {
  my ($self) = @_;
  my $is_port_wanted = 0;
  for my $line (@{ $self->{lines} }) {
    for my $flag (@FLAGS) {
      $self->{flags}{$flag} = 1 if $line =~ /^$flag\b/;
    }
    $is_port_wanted = 1 if $line =~ /\bPORT_DYNAMIC\b/;
    $self->{flags}{is_ipv6_case} = 1 if $line =~ /^need_ipv6\b/;
  }
  $self->open_dynamic_port() if $is_port_wanted;
}

sub open_dynamic_port {
  my ($self) = @_;
  socket my $s, AF_INET, SOCK_STREAM, 0 or die "socket: $!\n";
  setsockopt $s, SOL_SOCKET, SO_REUSEADDR, 1;
  for my $port (1024 .. 65535) {
    next unless bind $s, pack_sockaddr_in($port, INADDR_LOOPBACK);
    listen $s, 10 or die "listen: $!\n";
    $self->{port_dynamic} = $self->{world}{port_dynamic} = $port;
    $self->{listener} = $s;
    return;
  }
  die "no free port\n";
}

sub next_line {
  my ($self) = @_;
  return undef unless @{ $self->{lines} };
  $self->{line_number}++;
  return shift @{ $self->{lines} };
}

sub substituted {
  my ($self, $text) = @_;
  return Sandbox::substitute($text, $self->{world});
}

# Joins continued lines and substitutes.
sub command_from {
  my ($self, $line) = @_;
  $line =~ s/\s+$//;
  while ($line =~ s/\\$//) {
    my $more = $self->next_line() // last;
    $more =~ s/^\s+|\s+$//g;
    $line .= $more;
  }
  return $self->substituted($line);
}

# The data lines of the command just read, without the closing one, which may be missing at the end of
# the script.
sub data_lines {
  my ($self, $end) = @_;
  $end //= qr/^\*{4}\s*$/;
  my @data;
  while (defined(my $line = $self->next_line())) {
    return @data if $line =~ $end;
    push @data, $line;
  }
  return @data;
}

# ---- running ----

sub run {
  my ($self) = @_;
  while (defined(my $line = $self->next_line())) {
    next if $line =~ /^\s*$/ || ($line =~ /^#/ && $line !~ /^###\s/);
    $self->run_command($line);
  }
  $self->end_servers();
  $self->end_locks();
}

sub run_command {
  my ($self, $line) = @_;
  my %want = (is_not => '', status => 0, env => {});
  if ($line =~ /^(~)?(\d+)\s*(?:([A-Z]+)=(\S+))?\s*$/) {
    %want = (is_not => $1 // '', status => $2, env => defined $3 ? { $3 => $4 } : {});
    $line = $self->next_line() // $self->fail('no command after the expected status');
  }
  my $command = $self->command_from($line);
  my $status = $self->dispatch($command, \%want);
  return unless defined $status;
  my $is_as_wanted = $want{is_not} ? $status != $want{status} : $status == $want{status};
  return if $is_as_wanted;
  my $shown = substr $command, 0, 70;
  my $reason = "exit status $status (wanted $want{is_not}$want{status}) from: $shown";
  $self->fail($reason) if $status >= 126;
  $self->{bad_status} //= "script line $self->{line_number}: $reason";
}

my @DISPATCH = (
  [qr/^(?:no_|sortlog|rmfiltertest)/, sub { undef }],
  [qr/^need_(\w+)/, \&check_need],
  [qr/^###\s/, \&do_heading],
  [qr/^killdaemon\b/, \&do_killdaemon],
  [qr/^sleep\s+(\d+)/, sub { Sandbox::nap($_[3]); undef }],
  [qr/^millisleep\s+(\d+)/, sub { Sandbox::nap($_[3] / 1000); undef }],
  [qr/^gnutls\b/, \&do_gnutls],
  [qr/^munge\s+(\S+)/, sub { $_[0]{custom} = $_[3]; undef }],
  [qr/^dump\s+(\S+)/, \&do_dump],
  [qr/^echo\s+(.*)/, sub { print STDERR "$_[3]\n"; undef }],
  [qr/^cat2\s+(.*)/, sub { $_[0]->run_as('caller', "cat $_[3] 2>&1 >test-stderr") }],
  [qr/^sudo\s+((?:mkdir|rmdir|rm|mv|cp|chown|chmod)\b.*)/, sub { $_[0]->run_as('root', "$_[3] $OUT") }],
  [qr/^((?:ln|ls|du|mkdir|mkfifo|touch|cp|cat)\b.*)/, sub { $_[0]->run_as('caller', "$_[3] $OUT") }],
  [qr/^(exiqgrep|exinext|exigrep|eximstats|exim_id_update|dbmbuild)\b\s*(.*)/, \&do_tool],
  [qr/^exim_lock\s+(.*)/, \&do_lock],
  [qr/^client(?:-\w+)?\b/, \&do_client],
  [qr/^server\b\s*(.*)/, \&do_server],
  [qr/^(?:cat)?write\s/, \&do_write],
  [qr/^background\b/, \&do_background],
  [qr/^(?:[A-Z][A-Z0-9_]*=\S*\s+)*(?:\d+\s+)?(?:sudo\s+)?exim(?:_\w+)?(?:\s|$)/, \&do_exim],
);

# Handlers get the command, the wanted status and what their pattern captured. They return the exit
# status, or undef when there is none to check.
sub dispatch {
  my ($self, $command, $want) = @_;
  for my $entry (@DISPATCH) {
    my ($re, $handler) = @$entry;
    next unless $command =~ $re;
    return $handler->($self, $command, $want, $command =~ $re);
  }
  $self->fail("unknown command: $command");
}

sub prepare_outputs {
  for my $name (qw(test-stdout test-stderr)) {
    next if -e $name;
    Sandbox::spew($name, '', 0644);
    chown @Sandbox::CALLER{qw(uid gid)}, $name;
  }
}

sub start_as {
  my ($self, $who, $command, %more) = @_;
  prepare_outputs();
  return Sandbox::start($command, {
    as => $who, dir => $self->{dir}, number => $self->{number}, groups => $self->{groups}, %more,
  });
}

sub status_of {
  my ($self, $pid, $command) = @_;
  my $status = Sandbox::wait_for($pid, COMMAND_LIMIT);
  if (!defined $status) {
    kill 'KILL', $pid;
    $self->fail('no end after ' . COMMAND_LIMIT . "s: $command");
  }
  return $status & 127 ? 128 + ($status & 127) : $status >> 8;
}

sub run_as {
  my ($self, $who, $command, %more) = @_;
  return $self->status_of($self->start_as($who, $command, %more), $command);
}

# Runs a command with bytes on its stdin. Returns (status, whether the pipe broke).
sub run_with_input {
  my ($self, $who, $command, $writer, %more) = @_;
  pipe my $read, my $write or die "pipe: $!\n";
  my $pid = $self->start_as($who, $command, stdin => $read, %more);
  close $read;
  binmode $write;
  my $is_broken = $writer->($write);
  close $write;
  my $status = $self->status_of($pid, $command);
  return $is_broken ? undef : $status;
}

sub append_file {
  my ($name, $text) = @_;
  my $is_new = !-e $name;
  open my $f, '>>:raw', $name or die "cannot write $name: $!\n";
  print {$f} $text;
  close $f;
  chown @Sandbox::CALLER{qw(uid gid)}, $name if $is_new;
}

# ---- small commands ----

sub check_need {
  my ($self, $command, $want, $what) = @_;
  return undef if $what eq 'ipv4' || $what eq 'ipv6';
  return undef if $what eq 'largefiles' && ($self->{probe}{off_t} // 8) > 4;
  return undef if $what eq 'move_frozen_messages' && $self->{probe}{support}{move_frozen_messages};
  throw('skip', "needs $what");
}

sub do_heading {
  my ($self, $command) = @_;
  append_file($_, "$command\n") for qw(test-stdout test-stderr test-stdout-server test-stderr-server);
  return undef;
}

sub do_gnutls {
  my ($self) = @_;
  return undef unless -r 'aux-fixed/gnutls-params';
  my $to = 'spool/gnutls-params-2236';
  Sandbox::spew($to, Sandbox::slurp('aux-fixed/gnutls-params'), 0400);
  chown @{ $self->{world} }{qw(exim_uid exim_gid)}, $to;
  return undef;
}

# ---- dump: hints databases ----

sub sort_key {
  my ($line) = @_;
  my ($key) = $line =~ /(\S+)/;
  $key //= '';
  $key =~ s/\Q$Sandbox::IPV4\E/ip4.ip4.ip4.ip4/g;
  $key =~ s/\b$Sandbox::PORTS{N}\b/PORT_N/g;
  return $key;
}

sub sorted_dump {
  my ($name, $text) = @_;
  if ($name eq 'retry') {
    my @records = grep { /\S/ } split /\n(?=  )/, "\n$text";
    s/^\s+|\s+$//g for @records;
    return join '', map { "  $_\n" } sort { sort_key($a) cmp sort_key($b) } @records;
  }
  my @lines = split /^/, $text;
  @lines = sort { substr("$a\0" x 2, 21) cmp substr("$b\0" x 2, 21) } @lines if $name eq 'callout';
  @lines = sort { sort_key($a) cmp sort_key($b) } @lines if $name eq 'seen';
  return join '', @lines;
}

sub do_dump {
  my ($self, $command, $want, $name) = @_;
  my $file = 'test-dump';
  my $status = $self->run_as('caller', "./eximdir/exim_dumpdb $self->{dir}/spool $name >$file 2>>test-stderr");
  append_file('test-stdout', '+' x 27 . "\n" . sorted_dump($name, Sandbox::slurp($file) // ''));
  unlink $file;
  return $status;
}

# ---- utilities ----

sub do_tool {
  my ($self, $command, $want, $tool, $args) = @_;
  my $d = $self->{dir};
  my %line = (
    exiqgrep => "./eximdir/exiqgrep -E ./eximdir/exim -C $d/test-config $args",
    exinext => "./eximdir/exinext -DEXIM_PATH=$d/eximdir/exim -C $d/test-config $args",
    exigrep => "./eximdir/exigrep $args $d/spool/log/mainlog",
    eximstats => "./eximdir/eximstats $args $d/spool/log/mainlog",
    exim_id_update => "./eximdir/exim_id_update $args $d/spool/input",
    dbmbuild => "./eximdir/exim_dbmbuild " . join(' ', map { "$d/$_" } split ' ', $args),
  );
  my $who = $tool eq 'exim_id_update' ? 'root' : 'caller';
  my $shell = "$line{$tool} >>test-stdout 2>>" . ($tool eq 'exiqgrep' ? 'test-stdout' : 'test-stderr') .
    "; echo $tool exit code = \$? >>test-stdout";
  $self->write_config() unless -e 'test-config';
  $self->run_as($who, $shell);
  return 0;
}

sub do_lock {
  my ($self, $command, $want, $args) = @_;
  pipe my $read, my $write or die "pipe: $!\n";
  my $pid = $self->start_as('caller', "./eximdir/exim_lock $args >>test-stdout", stdin => $read);
  close $read;
  push @{ $self->{locks} }, { pid => $pid, pipe => $write };
  Sandbox::nap(LOCK_NAP);
  return undef;
}

sub end_locks {
  my ($self) = @_;
  while (my $lock = shift @{ $self->{locks} }) {
    close delete $lock->{pipe};
    Sandbox::wait_for($lock->{pid}, END_LIMIT);
  }
}

# ---- client, server, write ----

sub put_lines {
  my ($self, $pipe, @lines) = @_;
  for my $line (@lines) {
    syswrite_all($pipe, "$line\n") or return 1;
  }
  return 0;
}

sub syswrite_all {
  my ($pipe, $bytes) = @_;
  my $done = 0;
  while ($done < length $bytes) {
    my $n = syswrite $pipe, $bytes, length($bytes) - $done, $done;
    return 0 unless defined $n;
    $done += $n;
  }
  return 1;
}

sub do_client {
  my ($self, $command) = @_;
  my @data = map { $self->substituted($_) } $self->data_lines();
  my ($program, $args) = split /\s+/, $command, 2;
  $self->fail("there is no bin/$program") unless -x "bin/$program";
  return $self->run_with_input('caller', "./bin/$program $args $OUT", sub { $self->put_lines($_[0], @data) });
}

sub do_server {
  my ($self, $command, $want, $args) = @_;
  my @data = $self->data_lines();
  $self->reap_servers(1);
  my $pid_file = "$self->{dir}/aux-var/server-daemon.pid";
  unlink $pid_file;
  pipe my $read, my $write or die "pipe: $!\n";
  my $pid = $self->start_as('caller', "./bin/server -oP $pid_file $args >>test-stdout-server", stdin => $read);
  close $read;
  $self->put_lines($write, @data, '++++');
  push @{ $self->{servers} }, { pid => $pid, pipe => $write };
  $self->wait_for_file($pid_file) unless $args =~ /(?:^|\s)-i\s/;
  return undef;
}

# Ends the server that was started, after the command that talked to it.
sub reap_servers {
  my ($self, $is_status_ignored) = @_;
  while (my $server = shift @{ $self->{servers} }) {
    close delete $server->{pipe};
    my $status = Sandbox::wait_for($server->{pid}, END_LIMIT + 60);
    $self->fail('server did not end') unless defined $status;
    next if $status == 0 || $is_status_ignored;
    $self->{bad_status} //= "script line $self->{line_number}: server exit status " . ($status >> 8);
  }
}

sub end_servers {
  my ($self) = @_;
  $self->reap_servers(1);
}

sub wait_for_file {
  my ($self, $name) = @_;
  my $tries = PID_FILE_TRIES * PID_FILE_NAP / 0.02;
  while ($tries-- > 0) {
    return if -s $name;
    Sandbox::reap();
    Sandbox::nap(0.02);
  }
  $self->{bad_status} //= "script line $self->{line_number}: no pid file $name";
}

sub do_write {
  my ($self, $command) = @_;
  my ($word, $name, @specs) = split ' ', $command;
  my @lines;
  if (@specs) {
    my ($is_split, @after);
    for my $line ($self->data_lines()) {
      if (!$is_split && $line =~ /^\+{4}\s*$/) {
        $is_split = 1;
      } else {
        push @{ $is_split ? \@after : \@lines }, $line;
      }
    }
    push @lines, (map { sized_lines($_) } @specs), @after if $is_split;
  } else {
    @lines = $self->data_lines();
  }
  my $text = join '', map { "$_\n" } @lines;
  Sandbox::spew($name, $text, 0644);
  chown @Sandbox::CALLER{qw(uid gid)}, $name;
  append_file('test-stdout', '=' x 10 . "\n$text" . '=' x 10 . "\n") if $word eq 'catwrite';
  return undef;
}

# "COUNTxLEN[=lead]": COUNT lines of LEN bytes with their newline.
sub sized_lines {
  my ($spec) = @_;
  my ($count, $length, $lead) = $spec =~ /^(\d+)x(\d+)(?:=(.*))?$/ or die "bad size $spec\n";
  $lead //= '';
  $lead =~ tr/_/ /;
  my $fill = $length - length($lead) - 1;
  return map { $lead . 'a' x ($fill > 0 ? $fill : 0) } 1 .. $count;
}

sub do_background {
  my ($self) = @_;
  my $line = $self->substituted($self->next_line() // $self->fail('background without a command'));
  $self->data_lines();
  prepare_outputs();
  open my $in, '<', 'test-stdout' or die "cannot read test-stdout: $!\n";
  $self->{waited_pid} = $self->start_as('caller', "exec $line >>test-stdout 2>>test-stderr-server", stdin => $in);
  Sandbox::nap(SETTLE_NAP);
  return undef;
}

# ---- exim ----

sub write_config {
  my ($self) = @_;
  my $text = $self->{config_text} // $self->fail('the case has no configuration');
  Sandbox::spew('test-config', $self->substituted($text), 0644);
  chown @{ $self->{config_owner} }, 'test-config';
}

# Message ids on the queue, oldest first.
sub queued_ids {
  my ($self, $args) = @_;
  my ($queue) = $args =~ /(-qG\S+)/;
  $queue //= '';
  my $d = $self->{dir};
  $self->run_as('caller', "$d/eximdir/exim -bp $queue -DEXIM_PATH=$d/eximdir/exim -C $d/test-config >test-queue 2>/dev/null");
  my @ids = (Sandbox::slurp('test-queue') // '') =~ /^\s*\d+[smhdw]\s+\S+\s+(\S+)/mg;
  unlink 'test-queue';
  my %key = map { my @p = split /-/; $_ => "$p[0] $p[2]" } @ids;
  return sort { $key{$a} cmp $key{$b} || $a cmp $b } @ids;
}

sub with_message_ids {
  my ($self, $args) = @_;
  return $args unless $args =~ /\$msg\d/;
  my @ids = $self->queued_ids($args);
  my %wanted = map { $_ => 1 } $args =~ /\$msg(\d+)/g;
  for my $n (sort { $b <=> $a } keys %wanted) {
    $self->fail("message $n of " . @ids . ' on the queue') if $n > @ids || $n < 1;
    $args =~ s/\$msg$n(?!\d)/$ids[$n - 1]/g;
  }
  return $args;
}

sub do_exim {
  my ($self, $command, $want) = @_;
  my ($env, $hold, $sudo, $suffix, $args) =
    $command =~ /^((?:[A-Z][A-Z0-9_]*=\S*\s+)*)(?:(\d+)\s+)?(sudo\s+)?exim(_\w+)?(?:\s+(.*))?$/s
    or $self->fail("cannot read: $command");
  $args = ' ' . ($args // '') . ' ';
  $self->write_config();
  $args = $self->with_message_ids($args);
  my $program = "$self->{dir}/eximdir/exim" . ($suffix // '');
  my $who = defined $sudo ? 'root' : 'caller';
  my $line = "$env$program -DEXIM_PATH=$program -C $self->{dir}/test-config";
  return $self->run_daemon($who, $line, $args, $want) if $args =~ / -DSERVER=server / && $args !~ / -DNOTDAEMON /;
  return $self->run_wait_mode($who, $line, $args, $want, $1) if $args =~ / -DSERVER=wait:(\d+) /;
  my $err = $args =~ / -DSERVER=server / ? 'test-stderr-server' : 'test-stderr';
  my @data = $self->data_lines();
  my $status = $self->run_with_input($who, "$line$args>>test-stdout 2>>$err", sub {
    my ($pipe) = @_;
    my $is_broken = $self->feed($pipe, @data);
    Sandbox::nap($hold) if $hold;
    return $is_broken;
  }, env => $want->{env});
  $self->reap_servers(0);
  $self->end_locks();
  return $status;
}

sub interpreted {
  my ($text) = @_;
  my %plain = (n => "\n", r => "\r", t => "\t", 0 => "\0", a => "\a", e => "\e", f => "\f", b => "\b");
  $text =~ s/\\(?:x\{([0-9A-Fa-f]+)\}|x([0-9A-Fa-f]{1,2})|([0-7]{2,3})|(.))/
    defined $1 ? chr hex $1 : defined $2 ? chr hex $2 : defined $3 ? chr oct $3 : $plain{$4} \/\/ $4/ge;
  return $text;
}

# Sends the data lines of an exim command. Returns true when the other side stopped reading.
sub feed {
  my ($self, $pipe, @data) = @_;
  for my $raw (@data) {
    my $line = $self->substituted($raw);
    if ($line =~ /^:(eval|noeol|sleep|file):(.*)$/s) {
      my ($word, $rest) = ($1, $2);
      $rest =~ s{^\s+}{} if $word eq 'file';
      if ($word eq 'sleep') {
        Sandbox::nap($rest);
        next;
      }
      $line = $word eq 'eval' ? interpreted($rest) : $word eq 'noeol' ? $rest : Sandbox::slurp($rest) // '';
    } else {
      $line .= "\n";
    }
    syswrite_all($pipe, $line) or return 1;
  }
  return 0;
}

sub make_log_dir {
  my ($self) = @_;
  Sandbox::make_dir('spool/log', 0755, @{ $self->{world} }{qw(exim_uid exim_gid)}) unless -d 'spool/log';
}

sub run_daemon {
  my ($self, $who, $line, $args, $want) = @_;
  $self->make_log_dir();
  my $pid_file = "$self->{dir}/spool/exim-daemon.pid";
  if ($args =~ /-oP\s+(\S+)/) {
    $pid_file = $1;
    $args =~ s/ -bd / -bdf /;
  } else {
    $args =~ s/ -bd / -bdf -oP $pid_file /;
  }
  pipe my $read, my $write or die "pipe: $!\n";
  $self->data_lines();
  my $pid = $self->start_as($who, "$line$args>>test-stdout 2>>test-stderr-server", stdin => $read, env => $want->{env});
  close $read;
  push @{ $self->{keep_open} }, $write;
  $self->wait_for_file($pid_file);
  return undef;
}

sub run_wait_mode {
  my ($self, $who, $line, $args, $want, $port) = @_;
  $self->make_log_dir();
  $self->data_lines();
  $self->{waited_pid} = $self->start_as($who, "exec $line$args>>test-stdout 2>>test-stderr-server",
    stdin => $self->{listener}, env => $want->{env});
  Sandbox::nap(SETTLE_NAP);
  return undef;
}

sub do_killdaemon {
  my ($self) = @_;
  my @pids = defined $self->{waited_pid} ? ($self->{waited_pid}) : daemon_pids();
  for my $pid (@pids) {
    kill 'TERM', $pid;
    next if defined Sandbox::wait_for($pid, END_LIMIT);
    kill 'KILL', $pid;
    $self->fail("daemon $pid did not end");
  }
  $self->{waited_pid} = undef;
  Sandbox::reap();
  unlink glob 'spool/exim-daemon.*';
  return 0;
}

sub daemon_pids {
  my @pids;
  for my $file (glob 'spool/exim-daemon.*') {
    push @pids, (Sandbox::slurp($file) // '') =~ /^(\d+)/mg;
  }
  return @pids;
}

# Ends what the case left running, by pid. Returns descriptions of processes that had no pid file.
sub clean_up {
  my ($self) = @_;
  @{ $self->{keep_open} } = ();
  for my $pid (daemon_pids(), defined $self->{waited_pid} ? $self->{waited_pid} : ()) {
    kill 'INT', $pid;
    Sandbox::wait_for($pid, 3);
  }
  $self->end_servers();
  $self->end_locks();
  for (1 .. LEFT_TRIES) {
    Sandbox::reap();
    return () unless Sandbox::processes();
    Sandbox::nap(0.04);
  }
  my @left = Sandbox::processes();
  kill 'KILL', map { $_->[0] } @left;
  Sandbox::reap();
  return map { $_->[1] } @left;
}

1;
