# SPDX-License-Identifier: GPL-2.0-or-later
#
# What the crash tests stand on: a directory with configuration and spool, exim runs with planned faults, an SMTP
# sink that records what it was sent, readers of mailboxes, and the checker of spool states.
#
#   my $lab = CrashLab->new(exim => 'build/exim', dir => $scratch);   # starts the sink
#   my $r = $lab->run_exim([qw(-qff)], EXIM_KILL => 'any:7:before');  # status, output, trace of calls
#   $lab->close;                                                      # ends the sink
#
# Everything lies below one directory; the sink listens on free ports of 127.0.0.1 and 127.0.0.2.
package CrashLab;
use strict;
use warnings;
use Digest::MD5 qw(md5_hex);
use File::Path qw(make_path remove_tree);
use IO::Handle;
use IO::Select;
use IO::Socket::INET;
use IO::Socket::UNIX;
use POSIX ();
use Socket qw(AF_UNIX SOCK_STREAM PF_UNSPEC);
use Time::HiRes qw(time sleep);

use constant TRACE_FD => 9;
use constant EXIM_WAIT_SEC => 30;

sub new {
    my ($class, %o) = @_;
    my $self = bless { exim => $o{exim}, dir => $o{dir}, counter => 0, options => $o{options} // '' }, $class;
    ($self->{uid}, $self->{gid}) = (getpwnam('mail'))[2, 3];
    make_path($self->{dir});
    chmod 0755, $self->{dir};
    $self->start_sink;
    $self->write_configuration;
    $self->clear;
    return $self;
}

sub slurp { my ($p) = @_; open my $f, '<:raw', $p or return ''; local $/; return scalar(<$f>) // '' }
sub spew { my ($p, $t) = @_; open my $f, '>:raw', $p or die "$p: $!\n"; print $f $t; close $f or die "$p: $!\n" }

# Empty spool and mailboxes.
sub clear {
    my ($self) = @_;
    for my $d (qw(spool mail)) {
        remove_tree("$self->{dir}/$d");
        mkdir "$self->{dir}/$d" or die "$self->{dir}/$d: $!\n";
        chown $self->{uid}, $self->{gid}, "$self->{dir}/$d";
    }
    unlink "$self->{dir}/sink.log";
}

sub write_configuration {
    my ($self) = @_;
    spew("$self->{dir}/conf", <<"CONF");
primary_hostname = mx.crash.test
qualify_domain = local.test
spool_directory = $self->{dir}/spool
log_file_path = $self->{dir}/spool/log/%slog
keep_environment =
tls_advertise_hosts =
acl_smtp_rcpt = accept
acl_smtp_data = accept
remote_max_parallel = 1
check_spool_space = 0
$self->{options}
begin routers
boxes:
  driver = accept
  domains = local.test
  local_parts = mbox
  transport = mbox
maildirs:
  driver = accept
  domains = local.test
  transport = maildir
one:
  driver = manualroute
  domains = one.test
  route_list = * 127.0.0.1
  self = send
  transport = smtp
two:
  driver = manualroute
  domains = two.test
  route_list = * 127.0.0.2
  self = send
  transport = smtp
begin transports
mbox:
  driver = appendfile
  file = $self->{dir}/mail/mbox
  lock_retries = 1
maildir:
  driver = appendfile
  directory = $self->{dir}/mail/maildir
  maildir_format
  create_directory
smtp:
  driver = smtp
  port = $self->{port}
  allow_localhost
begin retry
* * F,1h,1s
CONF
}

# ---- exim runs --------------------------------------------------------------------------------------------------------

# Start exim with stdin and stdout on one end of a socket pair; %env plants the faults.
sub start_exim {
    my ($self, $args, %env) = @_;
    pipe my $trace_r, my $trace_w or die "pipe: $!\n";
    socketpair my $ours, my $theirs, AF_UNIX, SOCK_STREAM, PF_UNSPEC or die "socketpair: $!\n";
    my $pid = fork // die "fork: $!\n";
    if (!$pid) {
        POSIX::setsid();
        POSIX::dup2(fileno($theirs), 0);
        POSIX::dup2(fileno($theirs), 1);
        open my $err, '>>', "$self->{dir}/stderr" or POSIX::_exit(126);
        POSIX::dup2(fileno($err), 2);
        POSIX::dup2(fileno($trace_w), TRACE_FD);
        delete $ENV{$_} for grep { /^EXIM_/ } keys %ENV;
        @ENV{ keys %env } = values %env;
        $ENV{EXIM_SYSLOG_FD} = TRACE_FD;
        exec { $self->{exim} } $self->{exim}, '-C', "$self->{dir}/conf", @$args or POSIX::_exit(127);
    }
    close $theirs;
    close $trace_w;
    $ours->autoflush(1);
    return { pid => $pid, io => $ours, trace => $trace_r, buffer => '' };
}

# Wait until the program and all its descendants have gone (they share the trace pipe).
sub finish_exim {
    my ($self, $run) = @_;
    close $run->{io} if $run->{io};
    my ($text, $deadline) = ('', time + EXIM_WAIT_SEC);
    my $select = IO::Select->new($run->{trace});
    while (1) {
        my $left = $deadline - time;
        if ($left <= 0 || !$select->can_read($left)) {
            kill 'KILL', -$run->{pid};
            $run->{hung} = 1;
            last;
        }
        my $n = sysread $run->{trace}, $text, 65536, length $text;
        last unless $n;
    }
    waitpid $run->{pid}, 0;
    $run->{status} = $?;
    $run->{calls} = [map { my ($pid, $name, $all, $nth, $depth) = split / /; { pid => $pid, name => $name, all => $all, nth => $nth, depth => $depth } } split /\n/, $text];
    return $run;
}

# A run that is given text on stdin and whose output is collected.
sub run_exim {
    my ($self, $args, $input, %env) = @_;
    my $run = $self->start_exim($args, %env);
    local $SIG{PIPE} = 'IGNORE';
    syswrite $run->{io}, $input if length($input // '');
    shutdown $run->{io}, 1;
    my $out = '';
    my $deadline = time + EXIM_WAIT_SEC;
    my $select = IO::Select->new($run->{io});
    while (time < $deadline && $select->can_read($deadline - time)) {
        last unless sysread $run->{io}, $out, 65536, length $out;
    }
    $run->{output} = $out;
    return $self->finish_exim($run);
}

# ---- messages and the reception client --------------------------------------------------------------------------------

sub new_message {
    my ($self, $body_bytes) = @_;
    my $token = sprintf 'token-%d-%d', $$, ++$self->{counter};
    my $body = ".begins with a dot\nFrom the start of a line\n";
    my $i = 0;
    $body .= sprintf("%06d %s\n", $i++, 'abcdefghijklmnopqrstuvwxyz' x 2) while length($body) < $body_bytes;
    $body .= "end of $token\n";
    return { token => $token, body => $body, digest => md5_hex($body), text => "Subject: crash test\nX-Token: $token\n\n$body" };
}

sub read_reply {
    my ($run) = @_;
    my $select = IO::Select->new($run->{io});
    while (1) {
        if ($run->{buffer} =~ s/\A((?:\d{3}-[^\n]*\n)*(\d{3})(?: [^\n]*)?\r?\n)//) { return $2 }
        return 0 unless $select->can_read(EXIM_WAIT_SEC);
        my $n = sysread $run->{io}, $run->{buffer}, 65536, length $run->{buffer};
        return 0 unless $n;
    }
}

# One SMTP session over stdin: the code of the final reply, 0 when the connection ended without one.
sub send_smtp {
    my ($self, $message, $recipients, $chunking, %env) = @_;
    local $SIG{PIPE} = 'IGNORE';
    my $run = $self->start_exim(['-bs'], %env);
    my $wire = $message->{text};
    $wire =~ s/^\./../mg unless $chunking;
    $wire =~ s/\n/\r\n/g;
    my @steps = ([undef, 2], ["EHLO client.test\r\n", 2], ["MAIL FROM:<sender\@out.test>\r\n", 2], map { ["RCPT TO:<$_>\r\n", 2] } @$recipients);
    if ($chunking) {
        my $half = int(length($wire) / 2);
        push @steps, [sprintf("BDAT %d\r\n", $half) . substr($wire, 0, $half), 2],
            [sprintf("BDAT %d LAST\r\n", length($wire) - $half) . substr($wire, $half), 2];
    }
    else { push @steps, ["DATA\r\n", 3], ["$wire.\r\n", 2] }
    my $code = 0;
    my @codes;
    for my $step (@steps) {
        my ($command, $class) = @$step;
        if (defined $command) { print { $run->{io} } $command or last }
        $code = read_reply($run);
        push @codes, $code;
        last if int($code / 100) != $class;
    }
    my $final = @codes == @steps ? $code : int(($codes[-1] // 0) / 100) >= 4 ? $codes[-1] : 0;
    if ($final) { print { $run->{io} } "QUIT\r\n" and read_reply($run) }
    $self->finish_exim($run);
    $run->{code} = $final;
    $run->{codes} = \@codes;
    return $run;
}

# Submission on the command line: exit status 0 counts as 250.
sub submit {
    my ($self, $message, $recipients, $options, %env) = @_;
    my $run = $self->run_exim([@$options, '-oi', '-f', 'sender@out.test', @$recipients], $message->{text}, %env);
    $run->{code} = $run->{status} == 0 ? 250 : $run->{status} & 127 ? 0 : 451;
    return $run;
}

# ---- the sink -----------------------------------------------------------------------------------------------------------

sub start_sink {
    my ($self) = @_;
    my (@listen, $port);
    for (1 .. 50) {
        my $first = IO::Socket::INET->new(Listen => 20, LocalAddr => '127.0.0.1', Proto => 'tcp') or next;
        $port = $first->sockport;
        my $second = IO::Socket::INET->new(Listen => 20, LocalAddr => '127.0.0.2', LocalPort => $port, Proto => 'tcp') or next;
        @listen = ($first, $second);
        last;
    }
    die "no free port\n" unless @listen;
    $self->{port} = $port;
    my $pid = fork // die "fork: $!\n";
    if (!$pid) {
        $SIG{PIPE} = 'IGNORE';
        $SIG{TERM} = sub { POSIX::_exit(0) };
        $self->sink_loop(@listen);
    }
    $self->{sink_pid} = $pid;
}

sub close {
    my ($self) = @_;
    return unless $self->{sink_pid};
    kill 'TERM', $self->{sink_pid};
    waitpid $self->{sink_pid}, 0;
    delete $self->{sink_pid};
}

sub sink_loop {
    my ($self, @listen) = @_;
    my $select = IO::Select->new(@listen);
    while (1) {
        for my $l ($select->can_read) {
            my $c = $l->accept or next;
            eval { $self->sink_session($c, $l->sockhost); 1 } or warn "sink: $@";
            CORE::close($c);
        }
    }
}

# Record first, say 250 afterwards: what was recorded and not acknowledged is the window the protocol leaves open.
sub sink_record {
    my ($self, $host, $recipients, $data) = @_;
    $data =~ s/\r\n/\n/g;
    my ($head, $body) = split /\n\n/, $data, 2;
    my $token = $head =~ /^X-Token: (\S+)/m ? $1 : '-';
    open my $f, '>>', "$self->{dir}/sink.log" or die "sink.log: $!\n";
    syswrite $f, join(' ', ++$self->{transactions}, $host, $token, md5_hex($body // ''), @$recipients) . "\n";
}

sub sink_session {
    my ($self, $c, $host) = @_;
    my @recipients;
    my $data = '';
    my $say = sub { syswrite $c, "$_[0]\r\n" };
    $say->('220 sink.test ESMTP');
    while (defined(my $line = <$c>)) {
        if ($line =~ /^EHLO/i) { $say->("250-sink.test\r\n250-PIPELINING\r\n250-8BITMIME\r\n250 CHUNKING") }
        elsif ($line =~ /^MAIL/i) { @recipients = (); $data = ''; $say->('250 ok') }
        elsif ($line =~ /^RCPT TO:<([^>]*)>/i) { push @recipients, $1; $say->('250 ok') }
        elsif ($line =~ /^DATA/i) {
            $say->('354 go');
            while (1) {
                $line = <$c> // return;
                last if $line eq ".\r\n";
                $line =~ s/^\.//;
                $data .= $line;
            }
            $self->sink_record($host, \@recipients, $data);
            $say->('250 stored');
        }
        elsif ($line =~ /^BDAT (\d+)( LAST)?/i) {
            my ($n, $last) = ($1, $2);
            while ($n > 0) {
                my $part = q();
                my $got = read $c, $part, $n;
                return unless $got;
                $data .= $part;
                $n -= $got;
            }
            $self->sink_record($host, \@recipients, $data) if $last;
            $say->('250 stored');
        }
        elsif ($line =~ /^QUIT/i) { $say->('221 bye'); return }
        else { $say->('250 ok') }
    }
}

# ---- what was delivered -------------------------------------------------------------------------------------------------

# { recipient => number of complete copies }, for one message; wrong copies are complained about.
sub deliveries {
    my ($self, $message, $complain) = @_;
    my %n;
    for (split /\n/, slurp("$self->{dir}/sink.log")) {
        my ($transaction, $host, $token, $digest, @recipients) = split / /;
        next unless $token eq $message->{token};
        $complain->("transaction $transaction to $host holds other bytes") if $digest ne $message->{digest};
        $n{$_}++ for @recipients;
    }
    for my $p (glob "$self->{dir}/mail/maildir/new/* $self->{dir}/mail/maildir/cur/*") {
        my ($head, $body) = split /\n\n/, slurp($p), 2;
        next unless $head =~ /^X-Token: \Q$message->{token}\E$/m;
        if (md5_hex($body // '') eq $message->{digest}) { $n{'md@local.test'}++ }
        else { $complain->("a maildir file holds other bytes") }
    }
    my $box = slurp("$self->{dir}/mail/mbox");
    (my $quoted = $message->{body}) =~ s/^From />From /mg;
    while ($box =~ /^From [^\n]*\n(.*?)\n\n/msg) {
        my ($head, $at) = ($1, pos $box);
        next unless $head =~ /^X-Token: \Q$message->{token}\E$/m;
        $n{'mbox@local.test'}++ if substr($box, $at, length $quoted) eq $quoted;
    }
    return \%n;
}

# Transactions the sink has recorded: number => [recipients].
sub transactions {
    my ($self, $message) = @_;
    my %t;
    for (split /\n/, slurp("$self->{dir}/sink.log")) {
        my ($transaction, $host, $token, $digest, @recipients) = split / /;
        $t{$transaction} = \@recipients if $token eq $message->{token};
    }
    return \%t;
}

# With split_spool_directory they lie a letter deeper.
sub input_files {
    my ($self, $pattern) = @_;
    return map { glob "$self->{dir}/spool/input/$_$pattern" } '', '?/';
}

# Recipients that the spool says are done.
sub journaled {
    my ($self) = @_;
    my %done;
    for my $p ($self->input_files('*-J')) { $done{$_} = 1 for split /\n/, slurp($p) }
    for my $p ($self->input_files('*-H')) {
        my $h = slurp($p);
        $done{$1} = 1 while $h =~ /^[YN][YN] (\S+)$/mg;
    }
    return \%done;
}

# ---- the spool checker --------------------------------------------------------------------------------------------------

# id => set of letters: D, H, J and h for hdr.ID.
sub spool_states {
    my ($self) = @_;
    my (%state, @strange);
    for my $path ($self->input_files('*')) {
        my ($name) = $path =~ m{([^/]+)\z};
        next if $self->{options} =~ /^split_spool_directory$/m && $name =~ /^\w$/ && -d $path;
        if ($name =~ /^([0-9A-Za-z]{6}-[0-9A-Za-z]{11}-[0-9A-Za-z]{4})-([DHJ])$/) { $state{$1}{$2} = 1 }
        elsif ($name =~ /^hdr\.([0-9A-Za-z]{6}-[0-9A-Za-z]{11}-[0-9A-Za-z]{4})$/) { $state{$1}{h} = 1 }
        else { push @strange, $name }
    }
    return (\%state, \@strange);
}

# Is the message itself there?  (A report about a failed submission does not count.)
sub is_queued {
    my ($self, $message) = @_;
    return scalar grep { slurp($_) =~ /^\d{3,}[ \w*] X-Token: \Q$message->{token}\E$/m } $self->input_files('*-H');
}

# Only the states that the durability protocol has; $quiet also forbids leftovers of a killed process.
sub check_spool {
    my ($self, $quiet, $complain) = @_;
    my ($states, $strange) = $self->spool_states;
    $complain->("file $_ in input") for @$strange;
    for my $id (sort keys %$states) {
        my $s = join '', sort keys %{ $states->{$id} };
        if ($s =~ /H/) {
            $complain->("$id has files $s") unless $s =~ /^DH(J)?(h)?$/ && !($quiet && $s =~ /h/);
        }
        elsif ($quiet) { $complain->("$id left files $s") }
    }
}

# Half an hour goes by: a mailbox's lock file whose owner was killed no longer counts (lockfile_timeout).
sub age_locks {
    my ($self) = @_;
    unlink glob "$self->{dir}/mail/*.lock";
}

# Make leftovers look old and let a queue run find them: nothing may stay.
sub check_leftovers_go {
    my ($self, $complain) = @_;
    my ($states) = $self->spool_states;
    return unless %$states;
    my $old = time - 7200;
    utime $old, $old, grep { -f } $self->input_files('*');
    $self->run_exim(['-q'], '');
    ($states) = $self->spool_states;
    for my $id (sort keys %$states) {
        $complain->("$id still has files " . join('', sort keys %{ $states->{$id} })) unless $states->{$id}{H};
    }
}

1;
